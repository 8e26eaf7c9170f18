{{/* What the pods of all components have in common. */}}

{{/* One line of a list of arguments where the value is set: (dict "flag" "lb-class" "value" …). */}}
{{- define "metallb.flag" -}}
{{- if and .value (kindIs "bool" .value) }}
- --{{ .flag }}
{{- else if .value }}
- {{ printf "--%s=%v" .flag .value | quote }}
{{- end }}
{{- end -}}

{{/* A flag that false and 0 do not leave out: (dict "flag" … "value" …). */}}
{{- define "metallb.setFlag" -}}
{{- if not (kindIs "invalid" .value) }}
- {{ printf "--%s=%v" .flag .value | quote }}
{{- end }}
{{- end -}}

{{- define "metallb.tlsFlags" -}}
{{- /* TLS 1.3 leaves no choice of suites; our programs refuse to start with one. */}}
{{- if eq .minVersion "VersionTLS12" }}
{{- include "metallb.flag" (dict "flag" "tls-cipher-suites" "value" .cipherSuites) }}
{{- end }}
{{- include "metallb.flag" (dict "flag" "tls-curve-preferences" "value" .curvePreferences) }}
{{- include "metallb.flag" (dict "flag" "tls-min-version" "value" .minVersion) }}
{{- end -}}

{{/* Arguments that controller and speaker share: (dict "root" . "component" "speaker"). */}}
{{- define "metallb.commonArgs" -}}
{{- $values := index .root.Values .component -}}
- --port={{ .root.Values.prometheus.metricsPort }}
- --health-probe-port={{ $values.livenessProbe.port }}
- --log-level={{ $values.logLevel }}
{{- include "metallb.flag" (dict "flag" "lb-class" "value" .root.Values.loadBalancerClass) }}
{{- end -}}

{{/* A variable from the pod itself: (dict "name" … "path" …). */}}
{{- define "metallb.fieldEnv" -}}
- name: {{ .name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ .path }}
{{- end -}}

{{/* Both probes: (dict "values" .Values.speaker "host" "127.0.0.1"). */}}
{{- define "metallb.probes" -}}
{{- $root := . -}}
{{- range $kind, $path := dict "livenessProbe" "/healthz" "readinessProbe" "/readyz" }}
{{- $probe := index $root.values $kind }}
{{- if $probe.enabled }}
{{ $kind }}:
  httpGet:
    {{- with $root.host }}
    host: {{ . }}
    {{- end }}
    path: {{ $path }}
    port: {{ $probe.port }}
  {{- include "metallb.probeNumbers" $probe | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "metallb.probeNumbers" -}}
initialDelaySeconds: {{ .initialDelaySeconds }}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
successThreshold: {{ .successThreshold }}
failureThreshold: {{ .failureThreshold }}
{{- end -}}

{{/* No way to more rights, no writing to the image, no capability but those given, which have an effect for root only. */}}
{{- define "metallb.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
{{- if .add }}
runAsUser: 0
{{- end }}
capabilities:
  {{- with .add }}
  add: {{- toYaml . | nindent 4 }}
  {{- end }}
  drop:
    - ALL
{{- end -}}

{{/* The pod's security context as given, with the usual system calls only. */}}
{{- define "metallb.podSecurity" -}}
{{- merge (dict) . (dict "seccompProfile" (dict "type" "RuntimeDefault")) | toYaml -}}
{{- end -}}

{{/* Linux nodes, narrowed by the user, who wins where both name a label. */}}
{{- define "metallb.nodeSelector" -}}
{{- merge (dict) . (dict "kubernetes.io/os" "linux") | toYaml -}}
{{- end -}}

{{/* Fields of a pod that are given as they are: (dict "values" … "pullSecrets" … "architectures" …). */}}
{{- define "metallb.podFields" -}}
{{- with .pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with include "metallb.affinity" (dict "affinity" .values.affinity "architectures" .architectures) }}
affinity: {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A container's pull policy and resources: (dict "policy" … "resources" …). */}}
{{- define "metallb.containerFields" -}}
{{- with .policy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- with .resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "metallb.controlPlaneTolerations" -}}
- key: node-role.kubernetes.io/master
  operator: Exists
  effect: NoSchedule
- key: node-role.kubernetes.io/control-plane
  operator: Exists
  effect: NoSchedule
{{- end -}}
