{{/*
The names of metrics, by what they tell. Whatever asks Prometheus takes them from here, so that a metric that is renamed is
renamed in one place.
*/}}
{{- define "vitrine.metrics" -}}
leader: vitrine_scheduler_leader
queueDepth: vitrine_queue_depth
{{- end }}

{{/*
What a pool is scaled by: jobs that wait for its models. Where nothing waits there may be no series of it, which counts as
none waiting only while a scheduler is scraped: silence is no answer. Takes root and pool (with its defaults).
*/}}
{{- define "vitrine.pool.query" -}}
{{- if .pool.autoscaling.query -}}
{{- .pool.autoscaling.query -}}
{{- else -}}
{{- $metrics := include "vitrine.metrics" .root | fromYaml -}}
{{- $here := printf "namespace=%q" .root.Release.Namespace -}}
{{- $names := list -}}
{{- range .pool.models }}{{ $names = append $names (printf "%s(@.*)?" (regexQuoteMeta .)) }}{{ end -}}
{{- $models := ternary "" (printf ",model=~%q" (join "|" $names)) (empty $names) -}}
{{- printf "sum(%s{%s%s}) or (0 * sum(%s{%s}))" $metrics.queueDepth $here $models $metrics.leader $here -}}
{{- end -}}
{{- end }}
