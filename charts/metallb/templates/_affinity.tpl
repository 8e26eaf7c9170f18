{{/* The user's affinity, every alternative of required nodes narrowed to what the image is for:
     (dict "affinity" … "architectures" …). An alternative that says nothing matches no node, and stays so. */}}
{{- define "metallb.affinity" -}}
{{- $affinity := deepCopy (.affinity | default dict) -}}
{{- if .architectures -}}
{{- $expression := dict "key" "kubernetes.io/arch" "operator" "In" "values" .architectures -}}
{{- $node := $affinity.nodeAffinity | default dict -}}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution | default dict -}}
{{- $terms := list -}}
{{- range $required.nodeSelectorTerms -}}
{{- if or .matchExpressions .matchFields -}}
{{- $terms = append $terms (set . "matchExpressions" (append (.matchExpressions | default list) $expression)) -}}
{{- else -}}
{{- $terms = append $terms . -}}
{{- end -}}
{{- end -}}
{{- $terms = $terms | default (list (dict "matchExpressions" (list $expression))) -}}
{{- $required = set $required "nodeSelectorTerms" $terms -}}
{{- $node = set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $affinity = set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- with $affinity -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
