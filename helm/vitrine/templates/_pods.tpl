{{/* What the pods of all roles have alike. */}}

{{- define "vitrine.pod.security" -}}
runAsNonRoot: true
runAsUser: {{ .Values.userId }}
runAsGroup: {{ .Values.userId }}
fsGroup: {{ .Values.userId }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Takes whether the root file system may be written. */}}
{{- define "vitrine.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: {{ . }}
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
The head of a pod's spec. Kubernetes' variables about services are left out: they begin with the release's name, and so may
look like settings of the programs. Takes root, role, values and, for workers, pool.
*/}}
{{- define "vitrine.pod.head" -}}
serviceAccountName: {{ include "vitrine.fullname" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "vitrine.pod.security" .root | nindent 2 }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.extraAffinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := .root.Values.topologySpread }}
{{- if or $spread.node $spread.zone }}
topologySpreadConstraints:
{{- range $key, $when := dict "kubernetes.io/hostname" $spread.node "topology.kubernetes.io/zone" $spread.zone }}
{{- if $when }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels: {{- include "vitrine.selector" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes root, role and values. */}}
{{- define "vitrine.env" -}}
- name: VITRINE_LOG
  value: {{ .root.Values.logs.filter | quote }}
- name: VITRINE_LOG_FORMAT
  value: {{ .root.Values.logs.format | quote }}
- name: VITRINE_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- $s3 := .root.Values.objectStore.s3 }}
{{- if and (ne .role "worker") (include "vitrine.objects.secret" .root) }}
- name: VITRINE_OBJECTS__ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ $s3.secretName }}, key: access-key-id}}
{{- end }}
{{- if and $s3.caSecretName (not .root.Values.objectStore.persistentVolumeClaim.enabled) }}
- name: SSL_CERT_FILE
  value: /etc/vitrine/bucket-ca/ca.crt
{{- end }}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The Secret with the bucket's key, where there is one. */}}
{{- define "vitrine.objects.secret" -}}
{{- if not .Values.objectStore.persistentVolumeClaim.enabled }}{{ .Values.objectStore.s3.secretName }}{{ end -}}
{{- end }}

{{/*
Files that a role reads: its settings, and Secrets, by the folder of /etc/vitrine in which each lies, as a map in JSON.
Takes root and role.
*/}}
{{- define "vitrine.secrets" -}}
{{- $secrets := dict -}}
{{- $values := .root.Values -}}
{{- if ne .role "gateway" -}}
{{- with include "vitrine.role.tls" . }}{{ $_ := set $secrets "tls" . }}{{ end -}}
{{- $_ := set $secrets "worker" (include "vitrine.worker.token" .root) -}}
{{- else -}}
{{- with include "vitrine.gateway.tls" .root }}{{ $_ := set $secrets "public" . }}{{ end -}}
{{- with $values.gateway.oidc.secretName }}{{ $_ := set $secrets "oidc" . }}{{ end -}}
{{- end -}}
{{- if ne .role "worker" -}}
{{- with include "vitrine.etcd.tls" . }}{{ $_ := set $secrets "etcd" . }}{{ end -}}
{{- if $values.etcd.user }}{{ $_ := set $secrets "etcd-user" $values.etcd.passwordSecretName }}{{ end -}}
{{- with include "vitrine.objects.secret" .root }}{{ $_ := set $secrets "bucket" . }}{{ end -}}
{{- end -}}
{{- if and $values.objectStore.s3.caSecretName (not $values.objectStore.persistentVolumeClaim.enabled) -}}
{{- $_ := set $secrets "bucket-ca" $values.objectStore.s3.caSecretName -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end }}

{{/* Takes root, role, config (the ConfigMap's name), models and whole. */}}
{{- define "vitrine.volumes" -}}
- name: settings
  configMap: {name: {{ .config }}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- range $folder, $secret := include "vitrine.secrets" . | fromJson }}
- name: {{ $folder }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- if .root.Values.objectStore.persistentVolumeClaim.enabled }}
- name: objects
  persistentVolumeClaim: {claimName: {{ include "vitrine.objects.claim" .root }}}
{{- end }}
{{- range include "vitrine.volumes.named" . | fromJsonArray }}
{{- $volume := . }}
- name: models-{{ .name }}
{{- with .persistentVolumeClaim }}
  persistentVolumeClaim: {claimName: {{ .claimName }}, readOnly: true}
{{- end }}
{{- with .nfs }}
  nfs: {server: {{ .server }}, path: {{ .path }}, readOnly: true}
{{- end }}
{{- with .image }}
  image: {reference: {{ .reference }}, pullPolicy: {{ default "IfNotPresent" .pullPolicy }}}
{{- end }}
{{- with .csi }}
  csi: {{- merge (dict "readOnly" true) . | toYaml | nindent 4 }}
{{- end }}
{{- with .hostPath }}
  hostPath: {path: {{ .path }}, type: Directory}
{{- end }}
{{- if hasKey . "emptyDir" }}
  emptyDir: {{- toYaml .emptyDir | nindent 4 }}
{{- end }}
{{- with .ephemeral }}
  ephemeral:
    volumeClaimTemplate:
      metadata:
        labels: {{- include "vitrine.selector" $ | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ .size }}}}
{{- end }}
{{- end }}
{{- end }}

{{/*
The model volumes of a pod, as a list in JSON: those that its models lie in, or with `whole` all of them. Gateways leave out those
that each pod fills.
*/}}
{{- define "vitrine.volumes.named" -}}
{{- $used := list -}}
{{- range .models }}{{ $used = append $used .volume }}{{ end -}}
{{- $volumes := list -}}
{{- range .root.Values.modelVolumes -}}
{{- $own := or (hasKey . "emptyDir") (hasKey . "ephemeral") -}}
{{- if and (or $.whole (has .name $used)) (not (and $own (eq $.role "gateway"))) }}{{ $volumes = append $volumes . }}{{ end -}}
{{- end -}}
{{- toJson $volumes -}}
{{- end }}

{{/* Takes what volumes takes. */}}
{{- define "vitrine.mounts" -}}
- {name: settings, mountPath: /etc/vitrine/settings, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- range $folder, $secret := include "vitrine.secrets" . | fromJson }}
- {name: {{ $folder }}, mountPath: /etc/vitrine/{{ $folder }}, readOnly: true}
{{- end }}
{{- if .root.Values.objectStore.persistentVolumeClaim.enabled }}
- {name: objects, mountPath: /var/lib/vitrine/objects}
{{- end }}
{{- if .whole }}
{{- /* A model more in a volume is no change of the pod, which goes on. */}}
{{- range include "vitrine.volumes.named" . | fromJsonArray }}
- {name: models-{{ .name }}, mountPath: /models/{{ .name }}, readOnly: true}
{{- end }}
{{- else }}
{{- range .models }}
- name: models-{{ .volume }}
  mountPath: {{ include "vitrine.model.folder" . }}
  readOnly: true
  {{- with .path }}
  subPath: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Probes, of a thread and a port of their own. A process that waits for etcd, or whose models load, is alive: it fails the liveness
probe only when one of its parts is stuck, which takes 30 seconds of silence. A gateway or scheduler without etcd has not
started and will not by being killed, so its startup probe asks only whether it answers at all; a worker comes up without anybody.
Takes startup (a path) and seconds.
*/}}
{{- define "vitrine.probes" -}}
startupProbe:
  httpGet: {path: {{ .startup }}, port: health}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ divf .seconds 5 | ceil }}
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{/*
How long a role may take to end before it is killed, which must be more than it takes by its own settings: a gateway is kept for
preStop, lets clients follow their jobs for drain, and then needs at most 5 s to close; schedulers give up their office and workers
give back their jobs within 2 s.
*/}}
{{- define "vitrine.grace.gateway" -}}
{{- add .Values.gateway.preStopSeconds .Values.gateway.drainSeconds 15 -}}
{{- end }}
{{- define "vitrine.grace.others" -}}
30
{{- end }}
