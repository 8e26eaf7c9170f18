{{/* Names and labels of a bundled frr-k8s: those of its own chart as a subchart of upstream's. */}}

{{- define "metallb.frrk8s.name" -}}
{{- default "frr-k8s" (index .Values "frr-k8s").nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "metallb.frrk8s.fullname" -}}
{{- $values := index .Values "frr-k8s" -}}
{{- $name := default "frr-k8s" $values.nameOverride -}}
{{- include "metallb.prefixed" (dict "override" $values.fullnameOverride "release" .Release.Name "name" $name) -}}
{{- end -}}

{{- define "metallb.frrk8s.selector" -}}
app.kubernetes.io/name: {{ include "metallb.frrk8s.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "metallb.frrk8s.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "metallb.frrk8s.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "metallb.frrk8s.account" -}}
{{- $account := (index .Values "frr-k8s").frrk8s.serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-controller" (include "metallb.frrk8s.fullname" .)) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{- define "metallb.frrk8s.image" -}}
{{- $image := (index .Values "frr-k8s").frrk8s.image -}}
{{- include "metallb.reference" (dict "repository" $image.repository "tag" ($image.tag | default "v0.0.25")) -}}
{{- end -}}

{{- define "metallb.frrk8s.pullSecrets" -}}
{{- with (index .Values "frr-k8s").imagePullSecrets | default .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where the pods run, of DaemonSet and cleaner alike: unless told otherwise, where the speakers do. */}}
{{- define "metallb.frrk8s.place" -}}
{{- $values := deepCopy (index .Values "frr-k8s").frrk8s -}}
{{- range $field := list "nodeSelector" "tolerations" "priorityClassName" -}}
{{- $_ := set $values $field (index $values $field | default (index $.Values.speaker $field)) -}}
{{- end -}}
{{- $_ := set $values "tolerateMaster" (and $values.tolerateMaster .Values.speaker.tolerateMaster) -}}
serviceAccountName: {{ include "metallb.frrk8s.account" . }}
hostNetwork: true
terminationGracePeriodSeconds: 10
nodeSelector: {{- include "metallb.nodeSelector" $values.nodeSelector | nindent 2 }}
{{- if or $values.tolerateMaster $values.tolerations }}
tolerations:
  {{- if $values.tolerateMaster }}
  {{- include "metallb.controlPlaneTolerations" . | nindent 2 }}
  {{- end }}
  {{- with $values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- include "metallb.frrk8s.pullSecrets" . }}
{{ include "metallb.podFields" (dict "values" $values) }}
{{- end -}}

{{/* The files that come along with frr-k8s' image. */}}
{{- define "metallb.frrk8s.copy" -}}
- name: {{ .name }}
  image: {{ .image | quote }}
  {{- include "metallb.containerFields" . | nindent 2 }}
  command: ["/bin/sh", "-c", "cp -f /{{ .program }} {{ .folder }}/"]
  securityContext:
    runAsNonRoot: true
    runAsUser: 65534
  volumeMounts:
    {{- include "metallb.mounts" (dict .mount .folder) | nindent 4 }}
{{- end -}}

{{- define "metallb.frrk8s.rotation" -}}
{{- if .disableCertRotation }}
- --disable-cert-rotation=true
{{- end }}
{{- if .restartOnRotatorSecretRefresh }}
- --restart-on-rotator-secret-refresh=true
{{- end }}
{{- end -}}
