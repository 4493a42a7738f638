{{/* Names and labels. */}}

{{- define "vitrine.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 28 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 28 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What never changes of a role's pods, by which they are found. Takes root, role and, for workers, pool. */}}
{{- define "vitrine.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .pool }}
vitrine.internal/pool: {{ . }}
{{- end }}
{{- end }}

{{- define "vitrine.labels" -}}
{{ include "vitrine.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: vitrine
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of pods: without the chart's version, which would begin every pod anew where nothing of it changes. */}}
{{- define "vitrine.podLabels" -}}
{{ include "vitrine.selector" . }}
app.kubernetes.io/part-of: vitrine
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes root and one of images. */}}
{{- define "vitrine.image" -}}
{{- $registry := ternary (printf "%s/" (trimSuffix "/" .root.Values.images.registry)) "" (not (empty .root.Values.images.registry)) -}}
{{- include "vitrine.image.named" (dict "image" .image "prefix" $registry "tag" .root.Chart.AppVersion) -}}
{{- end }}

{{- define "vitrine.image.named" -}}
{{- if .image.digest -}}
{{- printf "%s%s@%s" .prefix .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s%s:%s" .prefix .image.repository (default .tag .image.tag) -}}
{{- end -}}
{{- end }}

{{/* The host names by which clients know the gateways, as a list in JSON. */}}
{{- define "vitrine.hosts" -}}
{{- $hosts := list -}}
{{- with .Values.gateway.publicUrl }}{{ $hosts = append $hosts (urlParse .).hostname }}{{ end -}}
{{- if .Values.httpRoute.enabled }}{{ $hosts = concat $hosts .Values.httpRoute.hostnames }}{{ end -}}
{{- if .Values.grpcRoute.enabled }}{{ $hosts = concat $hosts .Values.grpcRoute.hostnames }}{{ end -}}
{{- if and .Values.ingress.enabled .Values.ingress.host }}{{ $hosts = append $hosts .Values.ingress.host }}{{ end -}}
{{- $hosts | uniq | toJson -}}
{{- end }}

{{- define "vitrine.publicUrl" -}}
{{- if .Values.gateway.publicUrl -}}
{{- .Values.gateway.publicUrl -}}
{{- else -}}
{{- with first (include "vitrine.hosts" . | fromJsonArray) }}{{ printf "https://%s" . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* The address that the canary asks. */}}
{{- define "vitrine.canary.host" -}}
{{- default (printf "http://%s-gateway:%v" (include "vitrine.fullname" .) .Values.gateway.service.port) .Values.canary.host -}}
{{- end }}

{{/* The addresses of all schedulers, as a list in JSON: workers look among them for the one that leads. */}}
{{- define "vitrine.schedulers" -}}
{{- $addresses := list -}}
{{- range until (int .Values.scheduler.replicas) -}}
{{- $addresses = append $addresses (printf "%s://%s-%d.%s" (include "vitrine.scheme" $) (include "vitrine.scheduler.name" $) . (include "vitrine.scheduler.domain" $)) -}}
{{- end -}}
{{- toJson $addresses -}}
{{- end }}

{{- define "vitrine.scheduler.name" -}}
{{- printf "%s-scheduler" (include "vitrine.fullname" .) -}}
{{- end }}

{{/* What follows a scheduler's own name in its address. */}}
{{- define "vitrine.scheduler.domain" -}}
{{- printf "%s.%s.svc.%s:7000" (include "vitrine.scheduler.name" .) .Release.Namespace .Values.clusterDomain -}}
{{- end }}

{{- define "vitrine.scheme" -}}
{{- ternary "http" "https" (eq .Values.tls.mode "none") -}}
{{- end }}

{{/* One pool with all that it does not say itself. Takes root and pool; gives JSON. */}}
{{- define "vitrine.pool" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.workerDefaults) (deepCopy .pool) | toJson -}}
{{- end }}

{{/* The models that a pool runs, or all without one, as a list in JSON. */}}
{{- define "vitrine.models" -}}
{{- $names := .names -}}
{{- $models := list -}}
{{- range .root.Values.models -}}
{{- if or (empty $names) (has .name $names) }}{{ $models = append $models . }}{{ end -}}
{{- end -}}
{{- toJson $models -}}
{{- end }}

{{/* Where a model's folder is, in every pod. */}}
{{- define "vitrine.model.folder" -}}
{{- printf "/models/%s/%s" .volume (default "" .path) | trimSuffix "/" -}}
{{- end }}

{{- define "vitrine.worker.token" -}}
{{- default (printf "%s-worker-token" (include "vitrine.fullname" .)) .Values.auth.workerTokenSecretName -}}
{{- end }}

{{- define "vitrine.objects.claim" -}}
{{- default (printf "%s-objects" (include "vitrine.fullname" .)) .Values.objectStore.persistentVolumeClaim.claimName -}}
{{- end }}

{{- define "vitrine.gateway.tls" -}}
{{- if .Values.gateway.tls.secretName -}}
{{- .Values.gateway.tls.secretName -}}
{{- else if .Values.gateway.tls.certManager.enabled -}}
{{- printf "%s-public-tls" (include "vitrine.fullname" .) -}}
{{- end -}}
{{- end }}

{{/* The Secret with a role's certificate; nothing without TLS. Takes root and role. */}}
{{- define "vitrine.role.tls" -}}
{{- if eq .root.Values.tls.mode "certManager" -}}
{{- printf "%s-%s-tls" (include "vitrine.fullname" .root) .role -}}
{{- else if eq .root.Values.tls.mode "secrets" -}}
{{- get .root.Values.tls.secrets .role -}}
{{- end -}}
{{- end }}

{{/* The Secret with what a role shows to etcd; nothing without TLS. Takes root and role. */}}
{{- define "vitrine.etcd.tls" -}}
{{- if hasPrefix "https://" (first (include "vitrine.etcd.endpoints" .root | fromJsonArray) | default "") -}}
{{- default (include "vitrine.role.tls" .) .root.Values.etcd.tlsSecretName -}}
{{- end -}}
{{- end }}

{{- define "vitrine.etcd.endpoints" -}}
{{- if .Values.etcd.trial.enabled -}}
{{- list (printf "%s://%s-etcd.%s.svc.%s:2379" (include "vitrine.scheme" .) (include "vitrine.fullname" .) .Release.Namespace .Values.clusterDomain) | toJson -}}
{{- else -}}
{{- .Values.etcd.endpoints | toJson -}}
{{- end -}}
{{- end }}

{{/* The port of a URL. */}}
{{- define "vitrine.port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "80" "443" (eq $url.scheme "http")) $port -}}
{{- end }}
