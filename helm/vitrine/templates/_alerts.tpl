{{/*
The alerts, each of which asks for this release's metrics only. Those that are about pods (`kubernetes`) have no runbook but
docs/kubernetes.md.
*/}}
{{- define "vitrine.alerts" -}}
{{- $m := include "vitrine.metrics" . | fromYaml -}}
{{- $here := printf "namespace=%q" .Release.Namespace -}}
{{- $mine := printf "namespace=%q,pod=~%q" .Release.Namespace (printf "%s-.*" (include "vitrine.fullname" .)) -}}
{{- $queue := .Values.monitoring.prometheusRule.queueSeconds -}}
{{- $alerts := list
  (dict "name" "VitrineNoLeader" "for" "1m" "severity" "critical"
    "expr" (printf "sum(%s{%s}) != 1" $m.leader $here)
    "summary" "not exactly one scheduler leads: {{ $value }}")
  (dict "name" "VitrineMetricsMissing" "for" "5m" "severity" "critical"
    "expr" (printf "absent(%s{%s})" $m.leader $here)
    "summary" "no scheduler is scraped, so that no other alert can be trusted, and pools are scaled to their fallback")
  (dict "name" "VitrineGatewayFailures" "for" "5m" "severity" "critical"
    "expr" (printf "sum(rate(%s{%s,code=~\"5..\"}[5m])) / sum(rate(%s{%s}[5m])) > 0.01 and sum(rate(%s{%s}[5m])) > 0.1" $m.requests $here $m.requests $here $m.requests $here)
    "summary" "{{ $value | humanizePercentage }} of requests are answered with a server's error")
  (dict "name" "VitrineServerFaults" "for" "5m" "severity" "critical"
    "expr" (printf "sum(rate(%s{%s,outcome=\"server\"}[5m])) / sum(rate(%s{%s}[5m])) > 0.05 and sum(rate(%s{%s}[5m])) > 0.05" $m.jobs $here $m.jobs $here $m.jobs $here)
    "summary" "{{ $value | humanizePercentage }} of jobs fail by a fault of the cluster's")
  (dict "name" "VitrineOldestJob" "for" "10m" "severity" "warning"
    "expr" (printf "max by (model) (%s{%s}) > %v" $m.queueOldest $here $queue)
    "summary" "the oldest job for {{ $labels.model }} waits for {{ $value | humanizeDuration }}")
  (dict "name" "VitrineModelWithoutWorker" "for" "5m" "severity" "critical"
    "expr" (printf "sum by (model) (%s{%s}) > 0 unless on (model) sum by (model) (%s{%s,state=\"ready\"}) > 0" $m.queueDepth $here $m.replicas $here)
    "summary" "{{ $value }} jobs wait for {{ $labels.model }}, which no worker has ready")
  (dict "name" "VitrineWorkersDie" "for" "0m" "severity" "warning"
    "expr" (printf "sum(increase(%s{%s,reason=~\"died|silent\"}[15m])) > 2" $m.departures $here)
    "summary" "{{ $value }} workers were lost within 15 minutes")
  (dict "kubernetes" true "name" "VitrineWorkersMissing" "for" "15m" "severity" "warning"
    "expr" (printf "kube_deployment_status_replicas_available{%s,deployment=~%q} < kube_deployment_spec_replicas{%s,deployment=~%q}" $here (printf "%s-worker-.*" (include "vitrine.fullname" .)) $here (printf "%s-worker-.*" (include "vitrine.fullname" .)))
    "summary" "the pool {{ $labels.deployment }} has fewer workers than it should")
  (dict "kubernetes" true "name" "VitrineRestarts" "for" "0m" "severity" "warning"
    "expr" (printf "increase(kube_pod_container_status_restarts_total{%s}[30m]) > 3" $mine)
    "summary" "{{ $labels.pod }} was started again {{ $value }} times within 30 minutes")
-}}
{{- $scaled := false -}}
{{- range .Values.workerPools -}}
{{- $pool := include "vitrine.pool" (dict "root" $ "pool" .) | fromJson -}}
{{- if eq $pool.autoscaling.mode "keda" }}{{ $scaled = true }}{{ end -}}
{{- end -}}
{{- if $scaled -}}
{{- $alerts = append $alerts (dict "kubernetes" true "name" "VitrineScalerFails" "for" "10m" "severity" "warning"
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
    {{- if and $.Values.monitoring.prometheusRule.runbookUrl (not .kubernetes) }}
    runbook_url: {{ printf "%s%s.md" $.Values.monitoring.prometheusRule.runbookUrl .name }}
    {{- end }}
{{- end }}
{{- end }}
