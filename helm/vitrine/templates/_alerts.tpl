{{/*
The rules: those of files/rules.yaml, which `cargo run -p observability` makes of the metrics' own table, for this release's
namespace; and those that are about pods, whose page is docs/kubernetes.md.
*/}}
{{- define "vitrine.alerts" -}}
{{- $rule := .Values.monitoring.prometheusRule -}}
{{- $here := printf "namespace=%q" .Release.Namespace -}}
{{- $mine := printf "namespace=%q,pod=~%q" .Release.Namespace (printf "%s-.*" (include "vitrine.fullname" .)) -}}
{{- $own := .Files.Get "files/rules.yaml" | replace "@namespace@" .Release.Namespace | replace "@name@" (include "vitrine.fullname" .) | replace "@runbooks@" $rule.runbookUrl -}}
{{- range fromYamlArray $own }}
{{- if eq (default "" .alert) "VitrineOldestJob" }}
{{- $_ := set . "expr" (regexReplaceAll "> [0-9]+$" .expr (printf "> %v" $rule.queueSeconds)) }}
{{- end }}
{{- if and .annotations (not $rule.runbookUrl) }}
{{- $_ := unset .annotations "runbook_url" }}
{{- end }}
{{ list . | toYaml }}
{{- end }}
{{- $alerts := list
  (dict "name" "VitrineWorkersMissing" "for" "15m" "severity" "warning"
    "expr" (printf "kube_deployment_status_replicas_available{%s,deployment=~%q} < kube_deployment_spec_replicas{%s,deployment=~%q}" $here (printf "%s-worker-.*" (include "vitrine.fullname" .)) $here (printf "%s-worker-.*" (include "vitrine.fullname" .)))
    "summary" "the pool {{ $labels.deployment }} has fewer workers than it should")
  (dict "name" "VitrineRestarts" "for" "0m" "severity" "warning"
    "expr" (printf "increase(kube_pod_container_status_restarts_total{%s}[30m]) > 3" $mine)
    "summary" "{{ $labels.pod }} was started again {{ $value }} times within 30 minutes")
-}}
{{- $scaled := false -}}
{{- range .Values.workerPools -}}
{{- $pool := include "vitrine.pool" (dict "root" $ "pool" .) | fromJson -}}
{{- if eq $pool.autoscaling.mode "keda" }}{{ $scaled = true }}{{ end -}}
{{- end -}}
{{- if $scaled -}}
{{- $alerts = append $alerts (dict "name" "VitrineScalerFails" "for" "10m" "severity" "warning"
    "expr" (printf "sum by (scaledObject) (increase(keda_scaler_detail_errors_total{exported_namespace=%q,scaledObject=~%q}[10m])) > 0" .Release.Namespace (printf "%s-worker-.*" (include "vitrine.fullname" .)))
    "summary" "KEDA cannot tell how many workers {{ $labels.scaledObject }} needs, and keeps to the fallback") -}}
{{- end -}}
{{- range $alerts }}
- alert: {{ .name }}
  expr: {{ .expr | quote }}
  for: {{ .for }}
  labels: {severity: {{ .severity }}}
  annotations:
    summary: {{ .summary | quote }}
{{- end }}
{{- end }}
