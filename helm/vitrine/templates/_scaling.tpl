{{/* Up at once, down one at a time after a long look: a worker that goes takes minutes to come back. */}}
{{- define "vitrine.scaling.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
scaleDown:
  stabilizationWindowSeconds: {{ .scaleDownSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: 300}
{{- end }}
