{{/* The time between scrapes: Prometheus wants a unit. */}}
{{- define "metallb.interval" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ printf "%ds" (int .) }}{{- end -}}
{{- end -}}

{{/* What endpoints of all monitors have in common: (dict "monitor" … "tlsConfig" … "relabel" true). */}}
{{- define "metallb.scrape" -}}
honorLabels: true
scheme: https
{{- with .tlsConfig }}
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

{{- define "metallb.bearerToken" -}}
bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
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
