{{/* The time between scrapes: Prometheus wants a unit. */}}
{{- define "metallb.interval" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ printf "%ds" (int .) }}{{- end -}}
{{- end -}}

{{/* What endpoints of all monitors have in common: (dict "root" . "monitor" … "tlsConfig" … "relabel" true).

     Token and authority are named as objects: a Prometheus that scrapes for users, as the one of OpenShift, refuses
     monitors that name files in its own pod. */}}
{{- define "metallb.scrape" -}}
path: /metrics
honorLabels: true
scheme: https
authorization:
  credentials:
    name: {{ include "metallb.fullname" .root }}-metrics-token
    key: token
{{- /* Helm adds the default to a map of the user, who did not mean it when he names an authority. */}}
{{- $tls := .tlsConfig | default dict }}
{{- if or $tls.ca $tls.caFile }}
{{- $tls = omit $tls "insecureSkipVerify" }}
{{- end }}
{{- with $tls }}
tlsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.interval }}
interval: {{ include "metallb.interval" . }}
{{- end }}
{{- if .relabel }}
{{- with .monitor.metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.relabelings }}
relabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The annotations of a Service that a monitor selects: (dict "root" . "own" …). */}}
{{- define "metallb.scrapedService" -}}
{{- $all := dict -}}
{{- if .root.Values.prometheus.scrapeAnnotations -}}
{{- $all = dict "prometheus.io/scrape" "true" "prometheus.io/scheme" "https" -}}
{{- end -}}
{{- with merge (dict) .own $all -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Ports of a component that Prometheus scrapes: name → number. */}}
{{- define "metallb.metricsPorts" -}}
metricshttps: {{ .root.Values.prometheus.metricsPort }}
{{- if and (eq .component "speaker") (eq (include "metallb.backend" .root) "frr") }}
frrmetricshttps: {{ .root.Values.speaker.frr.metricsPort }}
{{- end }}
{{- end -}}

{{/* Lets Prometheus find what to scrape: (dict "name" … "namespace" … "labels" … "prometheus" …). */}}
{{- define "metallb.prometheusRights" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}-prometheus
  namespace: {{ .namespace | quote }}
  labels: {{- .labels | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [pods, services, endpoints]
    verbs: [get, list, watch]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}-prometheus
  namespace: {{ .namespace | quote }}
  labels: {{- .labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}-prometheus
subjects:
  - kind: ServiceAccount
    name: {{ .prometheus.serviceAccount }}
    namespace: {{ .prometheus.namespace }}
{{- end -}}
