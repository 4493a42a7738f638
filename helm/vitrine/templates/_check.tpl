{{/* What the schema cannot say of values that do not go together. Each sentence names the value, and what to do. */}}
{{- define "vitrine.check" -}}
{{- $values := .Values -}}
{{- if gt (len (include "vitrine.fullname" .)) 28 -}}
{{- fail (printf "fullnameOverride: %q has more than 28 characters, with which names of pools would not fit" (include "vitrine.fullname" .)) -}}
{{- end -}}
{{- if not $values.models -}}
{{- fail "models: name at least one model, with the volume of modelVolumes where its folder lies" -}}
{{- end -}}
{{- $volumes := dict -}}
{{- range $values.modelVolumes -}}
{{- if hasKey $volumes .name }}{{ fail (printf "modelVolumes: two are called %q" .name) }}{{ end -}}
{{- $_ := set $volumes .name . -}}
{{- $own := or (hasKey . "emptyDir") (hasKey . "ephemeral") -}}
{{- if and $own (not .fill) -}}
{{- fail (printf "modelVolumes: %q is empty in each new pod; say with fill which container is to fill it" .name) -}}
{{- end -}}
{{- if and .fill (not $own) -}}
{{- fail (printf "modelVolumes: %q has fill, which is for emptyDir and ephemeral: other volumes are mounted read-only" .name) -}}
{{- end -}}
{{- end -}}
{{- $models := dict -}}
{{- range $values.models -}}
{{- $name := printf "%s@%s" .name (default "" .revision) -}}
{{- if hasKey $models $name }}{{ fail (printf "models: %q is named twice" .name) }}{{ end -}}
{{- $_ := set $models $name true -}}
{{- $_ := set $models .name true -}}
{{- if not (hasKey $volumes .volume) -}}
{{- fail (printf "models: %q lies in the volume %q, which modelVolumes does not have" .name .volume) -}}
{{- end -}}
{{- end -}}
{{- $pools := dict -}}
{{- range $values.workerPools -}}
{{- $pool := include "vitrine.pool" (dict "root" $ "pool" .) | fromJson -}}
{{- if hasKey $pools .name }}{{ fail (printf "workerPools: two are called %q" .name) }}{{ end -}}
{{- $_ := set $pools .name true -}}
{{- range $pool.models -}}
{{- if not (hasKey $models .) }}{{ fail (printf "workerPools: %q is to run %q, which is none of models" $pool.name .) }}{{ end -}}
{{- end -}}
{{- if and $pool.holdsRanks (eq $.Values.tls.mode "none") -}}
{{- fail (printf "workerPools: %q has holdsRanks, for which workers dial each other: that needs TLS, and tls.mode is none" $pool.name) -}}
{{- end -}}
{{- /* The ranks of a model are processes of one pod, but where pods hold ranks for each other. */}}
{{- range $values.models -}}
{{- $ranks := int (default 1 .ranks) -}}
{{- $named := or (has .name $pool.models) (has (printf "%s@%s" .name (default "" .revision)) $pool.models) -}}
{{- if and $named (not $pool.holdsRanks) (gt (int $pool.gpus.count) 0) (ne (default "" .device) "cpu") (gt $ranks (int $pool.gpus.count)) -}}
{{- fail (printf "workerPools: %q is to run %q on %d ranks, a GPU each, and its workers have %d; set gpus.count of the pool" $pool.name .name $ranks (int $pool.gpus.count)) -}}
{{- end -}}
{{- end -}}
{{- if $pool.gpus.dra.deviceClassName -}}
{{- if eq (int $pool.gpus.count) 0 }}{{ fail (printf "workerPools: %q has gpus.dra and gpus.count 0" $pool.name) }}{{ end -}}
{{- if semverCompare "<1.32-0" $.Capabilities.KubeVersion.Version -}}
{{- fail (printf "workerPools: %q asks for devices by gpus.dra, which needs Kubernetes 1.32 or newer; this is %s" $pool.name $.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- $scaling := $pool.autoscaling -}}
{{- if and (eq $scaling.mode "keda") (not $scaling.serverAddress) -}}
{{- fail (printf "workerPools: %q is scaled by KEDA; set autoscaling.serverAddress to where Prometheus is" $pool.name) -}}
{{- end -}}
{{- if and (eq $scaling.mode "hpa") (not $scaling.externalMetric) -}}
{{- fail (printf "workerPools: %q is scaled by an external metric; set autoscaling.externalMetric to its name" $pool.name) -}}
{{- end -}}
{{- if and (ne $scaling.mode "none") (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "workerPools: %q has autoscaling.minReplicas above maxReplicas" $pool.name) -}}
{{- end -}}
{{- if and (eq $scaling.mode "hpa") (lt (int $scaling.minReplicas) 1) -}}
{{- fail (printf "workerPools: %q has autoscaling.minReplicas 0, from which only KEDA can scale up" $pool.name) -}}
{{- end -}}
{{- end -}}
{{- if $values.canary.enabled -}}
{{- if not $values.canary.keySecretName }}{{ fail "canary.keySecretName: name the Secret with the canary's API key, under `key`" }}{{ end -}}
{{- if and (include "vitrine.gateway.tls" .) (not $values.canary.host) -}}
{{- fail "canary.host: gateways have TLS, so name the address that their certificate is for" -}}
{{- end -}}
{{- end -}}
{{- $etcd := $values.etcd -}}
{{- if and (not $etcd.trial.enabled) (not $etcd.endpoints) -}}
{{- fail "etcd.endpoints: name the members of etcd, or set etcd.trial.enabled to try the chart with one of its own" -}}
{{- end -}}
{{- if and $etcd.trial.enabled $etcd.endpoints -}}
{{- fail "etcd.endpoints and etcd.trial.enabled: set one of them, for state is in one place" -}}
{{- end -}}
{{- $schemes := dict -}}
{{- range $etcd.endpoints }}{{ $_ := set $schemes (urlParse .).scheme true }}{{ end -}}
{{- if gt (len $schemes) 1 }}{{ fail "etcd.endpoints: either all by https, or all by http" }}{{ end -}}
{{- if and (hasKey $schemes "https") (eq $values.tls.mode "none") (not $etcd.tlsSecretName) -}}
{{- fail "etcd.tlsSecretName: etcd is dialled by https, and with tls.mode none there is no other certificate to show it" -}}
{{- end -}}
{{- if and $etcd.user (not $etcd.passwordSecretName) }}{{ fail "etcd.passwordSecretName: needed with etcd.user" }}{{ end -}}
{{- $objects := $values.objectStore -}}
{{- if and $objects.persistentVolumeClaim.enabled $objects.s3.bucket -}}
{{- fail "objectStore: set s3.bucket or persistentVolumeClaim.enabled, for objects are in one place" -}}
{{- end -}}
{{- if not (or $objects.persistentVolumeClaim.enabled $objects.s3.bucket) -}}
{{- fail "objectStore: set s3.bucket, or persistentVolumeClaim.enabled" -}}
{{- end -}}
{{- if and (hasPrefix "http://" $objects.s3.endpoint) (not $objects.s3.plaintext) -}}
{{- fail "objectStore.s3.plaintext: the endpoint is plain http, by which results could be read on the way; set it where the network is trusted" -}}
{{- end -}}
{{- if eq $values.tls.mode "secrets" -}}
{{- $roles := list "scheduler" "worker" -}}
{{- if $etcd.trial.enabled }}{{ $roles = concat $roles (list "gateway" "etcd") }}{{ end -}}
{{- if and (hasKey $schemes "https") (not $etcd.tlsSecretName) }}{{ $roles = append $roles "gateway" }}{{ end -}}
{{- range $roles -}}
{{- if not (get $values.tls.secrets .) }}{{ fail (printf "tls.secrets.%s: needed with tls.mode secrets" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.tls.mode "certManager") (not $values.tls.certManager.createAuthority) (not $values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name: name an issuer, or set createAuthority" -}}
{{- end -}}
{{- $gatewayTls := $values.gateway.tls -}}
{{- if $gatewayTls.certManager.enabled -}}
{{- if not $gatewayTls.certManager.issuerRef.name }}{{ fail "gateway.tls.certManager.issuerRef.name: name who makes the gateways' certificate" }}{{ end -}}
{{- if not (include "vitrine.hosts" . | fromJsonArray) }}{{ fail "gateway.publicUrl: needed for gateway.tls.certManager, which makes a certificate for its host" }}{{ end -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.host) }}{{ fail "ingress.host: needed with ingress.enabled" }}{{ end -}}
{{- if and $values.grpcRoute.enabled (not $values.grpcRoute.parentRefs) }}{{ fail "grpcRoute.parentRefs: name the Gateway that the route belongs to" }}{{ end -}}
{{- if and $values.grpcRoute.enabled (not $values.gateway.grpc.enabled) }}{{ fail "grpcRoute: gateways have no gRPC; set gateway.grpc.enabled" }}{{ end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs: name the Gateway that the route belongs to" }}{{ end -}}
{{- if and $values.gateway.autoscaling.enabled (gt (int $values.gateway.autoscaling.minReplicas) (int $values.gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling: minReplicas is above maxReplicas" -}}
{{- end -}}
{{- end }}
