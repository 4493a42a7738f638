{{/*
The roles' files of settings. Each is made as a tree, into which the role's extraSettings go, and then written as TOML. What is
secret never lies in a tree, but in files that a tree names.
*/}}

{{- define "vitrine.settings.gateway" -}}
{{- $secret := include "vitrine.gateway.tls" . -}}
{{- $gateway := dict "upload_folder" "/var/lib/vitrine/uploads" -}}
{{- with include "vitrine.publicUrl" . }}{{ $_ := set $gateway "public_url" . }}{{ end -}}
{{- if hasPrefix "https://" (include "vitrine.publicUrl" .) }}{{ $_ := set $gateway "https" true }}{{ end -}}
{{- with .Values.gateway.oidc.settings }}
{{- $oidc := deepCopy . -}}
{{- if $.Values.gateway.oidc.secretName }}{{ $_ := set $oidc "client_secret_file" "/etc/vitrine/oidc/client-secret" }}{{ end -}}
{{- $_ := set $gateway "oidc" $oidc -}}
{{- end }}
{{- $tree := dict
    "listen" (printf "%s:8000" .Values.bindAddress)
    "health" (printf "%s:8100" .Values.bindAddress)
    "drain" (printf "%ds" (int .Values.gateway.drainSeconds))
    "plaintext" (empty $secret)
    "store" (include "vitrine.settings.store" (dict "root" . "role" "gateway") | fromJson)
    "objects" (include "vitrine.settings.objects" . | fromJson)
    "gateway" $gateway -}}
{{- if .Values.gateway.grpc.enabled }}{{ $_ := set $tree "grpc_listen" (printf "%s:8001" .Values.bindAddress) }}{{ end -}}
{{- if $secret -}}
{{- $_ := set $tree "tls_certificate" "/etc/vitrine/public/tls.crt" -}}
{{- $_ := set $tree "tls_key" "/etc/vitrine/public/tls.key" -}}
{{- end -}}
{{- include "vitrine.toml" (mustMergeOverwrite $tree (deepCopy .Values.gateway.extraSettings)) -}}
{{- end }}

{{- define "vitrine.settings.scheduler" -}}
{{- $models := list -}}
{{- range .Values.models -}}
{{- $model := .name -}}
{{- with .revision }}{{ $model = printf "%s@%s" $model . }}{{ end -}}
{{- $model = printf "%s=%s" $model (include "vitrine.model.folder" .) -}}
{{- with .dtype }}{{ $model = printf "%s,dtype=%s" $model . }}{{ end -}}
{{- with .device }}{{ $model = printf "%s,device=%s" $model . }}{{ end -}}
{{- with .ranks }}{{ $model = printf "%s,ranks=%d" $model (int .) }}{{ end -}}
{{- with .residency }}{{ $model = printf "%s,residency=%s" $model . }}{{ end -}}
{{- $models = append $models $model -}}
{{- end -}}
{{- $tree := dict
    "listen" (printf "%s:7000" .Values.bindAddress)
    "health" (printf "%s:8100" .Values.bindAddress)
    "plaintext" (eq .Values.tls.mode "none")
    "token_file" "/etc/vitrine/worker/token"
    "models" $models
    "store" (include "vitrine.settings.store" (dict "root" . "role" "scheduler") | fromJson)
    "objects" (include "vitrine.settings.objects" . | fromJson) -}}
{{- if ne .Values.tls.mode "none" }}{{ $_ := set $tree "tls" (include "vitrine.settings.certificates" "tls" | fromJson) }}{{ end -}}
{{- include "vitrine.toml" (mustMergeOverwrite $tree (deepCopy .Values.scheduler.extraSettings)) -}}
{{- end }}

{{/* Takes root and pool (with its defaults). */}}
{{- define "vitrine.settings.worker" -}}
{{- $tree := dict
    "schedulers" (include "vitrine.schedulers" .root | fromJsonArray)
    "health" (printf "%s:8100" .root.Values.bindAddress)
    "token_file" "/etc/vitrine/worker/token"
    "slots" .pool.slots -}}
{{- if ne .root.Values.tls.mode "none" }}{{ $_ := set $tree "tls" (include "vitrine.settings.certificates" "tls" | fromJson) }}{{ end -}}
{{- if .pool.holdsRanks }}{{ $_ := set $tree "ranks_listen" (printf "%s:7100" .root.Values.bindAddress) }}{{ end -}}
{{- include "vitrine.toml" (mustMergeOverwrite $tree (deepCopy .pool.extraSettings)) -}}
{{- end }}

{{- define "vitrine.settings.certificates" -}}
{{- $folder := printf "/etc/vitrine/%s" . -}}
{{- dict "authority" (printf "%s/ca.crt" $folder) "certificate" (printf "%s/tls.crt" $folder) "key" (printf "%s/tls.key" $folder) | toJson -}}
{{- end }}

{{- define "vitrine.settings.store" -}}
{{- $etcd := .root.Values.etcd -}}
{{- $store := dict "endpoints" (include "vitrine.etcd.endpoints" .root | fromJsonArray) -}}
{{- with $etcd.namespace }}{{ $_ := set $store "namespace" . }}{{ end -}}
{{- $name := $etcd.serverName -}}
{{- if include "vitrine.etcd.tls" . -}}
{{- $_ := set $store "tls" (include "vitrine.settings.certificates" "etcd" | fromJson) -}}
{{- if $etcd.trial.enabled }}{{ $name = "etcd.vitrine.internal" }}{{ end -}}
{{- end -}}
{{- with $name }}{{ $_ := set $store "server_name" . }}{{ end -}}
{{- if $etcd.user -}}
{{- $_ := set $store "user" $etcd.user -}}
{{- $_ := set $store "password_file" "/etc/vitrine/etcd-user/password" -}}
{{- end -}}
{{- toJson $store -}}
{{- end }}

{{- define "vitrine.settings.objects" -}}
{{- if .Values.objectStore.persistentVolumeClaim.enabled -}}
{{- dict "folder" "/var/lib/vitrine/objects" | toJson -}}
{{- else -}}
{{- $s3 := .Values.objectStore.s3 -}}
{{- $objects := dict "bucket" $s3.bucket "region" $s3.region -}}
{{- with $s3.endpoint }}{{ $_ := set $objects "endpoint" . }}{{ end -}}
{{- if $s3.plaintext }}{{ $_ := set $objects "plaintext" true }}{{ end -}}
{{- if $s3.secretName }}{{ $_ := set $objects "secret_access_key_file" "/etc/vitrine/bucket/secret-access-key" }}{{ end -}}
{{- toJson $objects -}}
{{- end -}}
{{- end }}

{{/* A tree as TOML: what is no section first, then the sections. */}}
{{- define "vitrine.toml" -}}
{{- include "vitrine.toml.section" (dict "tree" . "path" "") | trim -}}
{{- end }}

{{- define "vitrine.toml.section" -}}
{{- range $key, $value := .tree }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "vitrine.toml.key" $key }} = {{ include "vitrine.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .tree }}
{{- if kindIs "map" $value }}
{{- $name := include "vitrine.toml.key" $key }}
{{- $path := ternary $name (printf "%s.%s" $.path $name) (empty $.path) }}

[{{ $path }}]
{{- include "vitrine.toml.section" (dict "tree" $value "path" $path) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is no plain word, as a group's name may be, is quoted. */}}
{{- define "vitrine.toml.key" -}}
{{ regexMatch "^[A-Za-z0-9_-]+$" . | ternary . (toRawJson .) }}
{{- end }}

{{/* YAML's whole numbers may come as floats, which programs refuse where they want whole ones. */}}
{{- define "vitrine.toml.value" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ toJson . }}{{ end -}}
{{- else if kindIs "slice" . -}}
[{{ range $index, $one := . }}{{ if $index }}, {{ end }}{{ include "vitrine.toml.value" $one }}{{ end }}]
{{- else -}}
{{- toRawJson . -}}
{{- end -}}
{{- end }}
