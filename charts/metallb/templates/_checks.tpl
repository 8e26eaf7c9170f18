{{/* What values can contradict each other in. Every message says what to change. */}}

{{- define "metallb.check" -}}
{{- $speaker := .Values.speaker }}
{{- $frrk8s := .Values.frrk8s }}
{{- $monitors := .Values.prometheus }}
{{- if .Values.configInline }}
{{- fail "configInline is gone since MetalLB 0.13: write IPAddressPool, L2Advertisement, BGPPeer and BGPAdvertisement resources instead, see docs/install/helm.md" }}
{{- end }}
{{- if not .Values.architectures }}
{{- fail "architectures must name at least one, such as amd64: that of the image and of the nodes to run on" }}
{{- end }}
{{- if and $speaker.frr.enabled (or $frrk8s.enabled $frrk8s.external) }}
{{- fail "speaker.frr.enabled excludes frrk8s.enabled and frrk8s.external: set only one of them, or none for native mode" }}
{{- end }}
{{- if and $frrk8s.enabled $frrk8s.external }}
{{- fail "frrk8s.enabled deploys frr-k8s and frrk8s.external uses another one: set only one of them" }}
{{- end }}
{{- if and (or $frrk8s.enabled $frrk8s.external) (not $speaker.enabled) }}
{{- fail "frrk8s.enabled and frrk8s.external need the speaker, who tells frr-k8s what to announce: set speaker.enabled=true" }}
{{- end }}
{{- if and $frrk8s.external (not $frrk8s.namespace) }}
{{- fail "frrk8s.external needs frrk8s.namespace, the namespace of the frr-k8s to use" }}
{{- end }}
{{- if and $speaker.enabled (not $speaker.memberlist.enabled) $speaker.nodeSelector }}
{{- fail "speaker.nodeSelector needs speaker.memberlist.enabled: without it speakers take every node for one that announces" }}
{{- end }}
{{- if or $speaker.securityContext.runAsNonRoot $speaker.securityContext.runAsUser }}
{{- fail "speaker.securityContext cannot make speakers other than root: their capability NET_RAW has no effect for anybody else. Take runAsNonRoot and runAsUser out" }}
{{- end }}
{{- if and $monitors.serviceMonitor.enabled $monitors.podMonitor.enabled }}
{{- fail "prometheus.serviceMonitor.enabled and prometheus.podMonitor.enabled would scrape everything twice: set only one of them" }}
{{- end }}
{{- if and (or $monitors.serviceMonitor.enabled $monitors.podMonitor.enabled) $monitors.rbacPrometheus (not (and $monitors.serviceAccount $monitors.namespace)) }}
{{- fail "monitors need prometheus.serviceAccount and prometheus.namespace to let Prometheus find the pods, or prometheus.rbacPrometheus=false" }}
{{- end }}
{{- range $component := list "controller" "speaker" }}
{{- $values := index $.Values $component }}
{{- if and $values.readinessProbe.enabled (ne (int $values.readinessProbe.port) (int $values.livenessProbe.port)) }}
{{- fail (printf "%s.readinessProbe.port must be %s.livenessProbe.port: one port answers both" $component $component) }}
{{- end }}
{{- end }}
{{- end -}}
