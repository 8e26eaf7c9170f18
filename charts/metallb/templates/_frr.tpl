{{/* FRR in a pod: beside the speaker, and in frr-k8s' own pods. The two differ in images, names and one file. */}}

{{/* A volume that lives as long as the pod. */}}
{{- define "metallb.emptyDirs" -}}
{{- range . }}
- name: {{ . }}
  emptyDir: {}
{{- end }}
{{- end -}}

{{/* Mounts of volume → path. */}}
{{- define "metallb.mounts" -}}
{{- range $name, $path := . }}
- name: {{ $name }}
  mountPath: {{ $path }}
{{- end }}
{{- end -}}

{{/* FRR's daemons, with the options that differ: (dict "zebra" "…" "bgpd" "…"). */}}
{{- define "metallb.frrStartup" -}}
{{- $idle := list "ospfd" "ospf6d" "ripd" "ripngd" "isisd" "pimd" "ldpd" "nhrpd" "eigrpd" "babeld" "sharpd" "pbrd" "fabricd" "vrrpd" -}}
daemons: |
  bgpd=yes
  bfdd=yes
  {{- range $idle }}
  {{ . }}=no
  {{- end }}
  vtysh_enable=yes
  zebra_options="-A 127.0.0.1 -s 90000000 {{ .zebra }}--limit-fds 100000"
  bgpd_options="-A 127.0.0.1 {{ .bgpd }}--limit-fds 100000"
  staticd_options="-A 127.0.0.1 --limit-fds 100000"
  bfdd_options="-A 127.0.0.1 --limit-fds 100000"
  {{- range $idle }}
  {{ . }}_options="-A {{ hasSuffix "6d" . | or (hasSuffix "ngd" .) | ternary "::1" "127.0.0.1" }}"
  {{- end }}
vtysh.conf: |
  service integrated-vtysh-config
frr.conf: |
  frr version 8.0
  frr defaults traditional
  hostname Router
  line vty
  log stdout informational
{{- end -}}

{{/* Copies the start-up files, which FRR wants to own: (dict "image" … "policy" … "resources" …). */}}
{{- define "metallb.copyFrrFiles" -}}
- name: cp-frr-files
  image: {{ .image | quote }}
  {{- include "metallb.containerFields" . | nindent 2 }}
  command: ["/bin/sh", "-c", "cp -rLf /tmp/frr/* /etc/frr/"]
  securityContext:
    runAsNonRoot: true
    runAsUser: 100
    runAsGroup: 101
  volumeMounts:
    {{- include "metallb.mounts" (dict "frr-startup" "/tmp/frr" "frr-conf" "/etc/frr") | nindent 4 }}
{{- end -}}

{{/* Hands a program to a container of another image: (dict "name" … "program" … "volume" … "image" …). */}}
{{- define "metallb.copyProgram" -}}
- name: {{ .name }}
  image: {{ .image | quote }}
  {{- include "metallb.containerFields" . | nindent 2 }}
  command: ["/cp-tool", "/{{ .program }}", "/etc/{{ .volume }}/{{ .program }}"]
  securityContext:
    runAsNonRoot: true
    runAsUser: 65534
  volumeMounts:
    {{- include "metallb.mounts" (dict .mount (printf "/etc/%s" .volume)) | nindent 4 }}
{{- end -}}

{{/* The daemons: (dict "image" … "port" … "liveness" … "startup" …); "tini", "start" and "security" may be given. */}}
{{- define "metallb.frrContainer" -}}
- name: frr
  image: {{ .image | quote }}
  {{- include "metallb.containerFields" . | nindent 2 }}
  command:
    - {{ .tini | default "/sbin/tini" | quote }}
    - "--"
    - {{ .start | default "/usr/lib/frr/docker-start" | quote }}
  env:
    - name: TINI_SUBREAPER
      value: "true"
  securityContext:
    {{- with .security }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsUser: 0
    capabilities:
      add: [NET_ADMIN, NET_RAW, SYS_ADMIN, NET_BIND_SERVICE]
    {{- end }}
  volumeMounts:
    {{- include "metallb.mounts" (dict "frr-sockets" "/var/run/frr" "frr-conf" "/etc/frr" "frr-tmp" "/var/tmp/frr" "frr-lib" "/var/lib/frr") | nindent 4 }}
  {{- if .liveness.enabled }}
  livenessProbe:
    httpGet:
      path: /livez
      port: {{ .port }}
      scheme: HTTPS
    {{- include "metallb.probeNumbers" .liveness | nindent 4 }}
  {{- end }}
  {{- if .startup.enabled }}
  startupProbe:
    httpGet:
      path: /livez
      port: {{ .port }}
      scheme: HTTPS
    failureThreshold: {{ .startup.failureThreshold }}
    periodSeconds: {{ .startup.periodSeconds }}
  {{- end }}
{{- end -}}

{{- define "metallb.reloaderContainer" -}}
- name: reloader
  image: {{ .image | quote }}
  {{- include "metallb.containerFields" . | nindent 2 }}
  command: ["/etc/frr_reloader/frr-reloader.sh"]
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsUser: 0
  volumeMounts:
    {{- include "metallb.mounts" (dict "frr-sockets" "/var/run/frr" "frr-conf" "/etc/frr" "reloader" "/etc/frr_reloader" "frr-log" "/var/log/frr") | nindent 4 }}
{{- end -}}

{{/* Metrics and health of the daemons: (dict "image" … "port" … "tls" … "secret" …). */}}
{{- define "metallb.frrMetricsContainer" -}}
- name: frr-metrics
  image: {{ .image | quote }}
  {{- include "metallb.containerFields" . | nindent 2 }}
  command: ["/etc/frr_metrics/frr-metrics"]
  args:
    - --metrics-port={{ .port }}
    - --metrics-bind-address=0.0.0.0
    {{- if .secret }}
    - --tls-cert-file=/etc/metrics/tls.crt
    - --tls-private-key-file=/etc/metrics/tls.key
    {{- end }}
    {{- include "metallb.tlsFlags" .tls | nindent 4 }}
  env:
    - name: VTYSH_HISTFILE
      value: /dev/null
  ports:
    - name: frrmetricshttps
      containerPort: {{ .port }}
      protocol: TCP
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsUser: 0
  volumeMounts:
    {{- include "metallb.mounts" (dict "frr-sockets" "/var/run/frr" "frr-conf" "/etc/frr" "metrics" "/etc/frr_metrics") | nindent 4 }}
    {{- if .secret }}
    - name: metrics-certs
      mountPath: /etc/metrics
      readOnly: true
    {{- end }}
{{- end -}}

{{/* Beside the speaker. */}}
{{- define "metallb.frrImage" -}}
{{- include "metallb.reference" .Values.speaker.frr.image -}}
{{- end -}}

{{- define "metallb.frrInitContainers" -}}
{{- $values := .Values.speaker }}
{{- $speaker := include "metallb.image" (dict "root" . "image" $values.image) }}
{{- $policy := $values.image.pullPolicy }}
{{- include "metallb.copyFrrFiles" (dict "image" (include "metallb.frrImage" .) "policy" $values.frr.image.pullPolicy "resources" $values.initContainers.cpFrrFiles.resources) }}
{{ include "metallb.copyProgram" (dict "name" "cp-reloader" "program" "frr-reloader.sh" "mount" "reloader" "volume" "frr_reloader" "image" $speaker "policy" $policy "resources" $values.initContainers.cpReloader.resources) }}
{{ include "metallb.copyProgram" (dict "name" "cp-metrics" "program" "frr-metrics" "mount" "metrics" "volume" "frr_metrics" "image" $speaker "policy" $policy "resources" $values.initContainers.cpMetrics.resources) }}
{{- end -}}

{{- define "metallb.frrContainers" -}}
{{- $values := .Values.speaker }}
{{- $common := dict "image" (include "metallb.frrImage" .) "policy" $values.frr.image.pullPolicy "port" $values.frr.metricsPort }}
{{- $frr := dict "resources" $values.frr.resources "liveness" $values.livenessProbe "startup" $values.startupProbe "tini" $values.frr.tiniPath "start" $values.frr.dockerStartPath "security" $values.frr.securityContext }}
{{- include "metallb.frrContainer" (merge $frr $common) }}
{{ include "metallb.reloaderContainer" (merge (dict "resources" $values.reloader.resources) $common) }}
{{ include "metallb.frrMetricsContainer" (merge (dict "resources" $values.frrMetrics.resources "tls" .Values.tls "secret" .Values.tls.speakerMetricsTLSSecret) $common) }}
{{- end -}}

{{- define "metallb.frrVolumes" -}}
{{- include "metallb.emptyDirs" (list "frr-sockets" "frr-conf" "reloader" "metrics" "frr-tmp" "frr-lib" "frr-log") }}
- name: frr-startup
  configMap:
    defaultMode: 420
    name: {{ include "metallb.fullname" . }}-frr-startup
{{- end -}}
