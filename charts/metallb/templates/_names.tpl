{{/* Names and labels. They are upstream's, for selectors never change: an upgrade keeps the running workloads. */}}

{{- define "metallb.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The start of a name: (dict "root" . "override" … "release" … "name" …). */}}
{{- define "metallb.prefixed" -}}
{{- if .override -}}
{{- .override | trunc 63 | trimSuffix "-" -}}
{{- else if contains .name .release -}}
{{- .release | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .release .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "metallb.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- include "metallb.prefixed" (dict "override" .Values.fullnameOverride "release" .Release.Name "name" $name) -}}
{{- end -}}

{{- define "metallb.selector" -}}
app.kubernetes.io/name: {{ include "metallb.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "metallb.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "metallb.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The account of a component: (dict "root" . "component" "speaker"). */}}
{{- define "metallb.account" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "metallb.fullname" .root) .component) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{- define "metallb.memberlistSecret" -}}
{{- default (printf "%s-memberlist" (include "metallb.fullname" .)) .Values.speaker.secretName -}}
{{- end -}}

{{/* Who speaks BGP. */}}
{{- define "metallb.backend" -}}
{{- if and .Values.speaker.enabled .Values.speaker.frr.enabled -}}
frr
{{- else if or .Values.frrk8s.enabled .Values.frrk8s.external -}}
frr-k8s
{{- else -}}
native
{{- end -}}
{{- end -}}

{{/* Not empty when somebody answers admission and conversion. */}}
{{- define "metallb.webhooks" -}}
{{- if and .Values.controller.enabled (ne (.Values.controller.webhookMode | default "enabled") "disabled") -}}
true
{{- end -}}
{{- end -}}

{{/*
The image of a component: (dict "root" . "image" .Values.speaker.image). Values files made from upstream's defaults
name upstream's repositories, and no tag: what they mean is the default.
*/}}
{{- define "metallb.image" -}}
{{- $repository := .image.repository -}}
{{- if and (not .image.tag) (has $repository (list "quay.io/metallb/controller" "quay.io/metallb/speaker")) -}}
{{- $repository = "ghcr.io/metallb-rs/metallb" -}}
{{- end -}}
{{- include "metallb.reference" (dict "repository" $repository "tag" (.image.tag | default .root.Chart.AppVersion)) -}}
{{- end -}}

{{- define "metallb.reference" -}}
{{- $tag := toString .tag -}}
{{- .repository -}}{{- ternary "@" ":" (hasPrefix "sha256:" $tag) -}}{{- $tag -}}
{{- end -}}
