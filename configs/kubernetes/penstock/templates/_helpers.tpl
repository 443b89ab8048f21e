{{- define "penstock.labels" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* One container of a Ray pod. Called with a dict: root, name, resources, gpus. */}}
{{- define "penstock.container" -}}
name: {{ .name }}
image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
envFrom:
  - secretRef: { name: {{ .root.Values.secrets.environment }} }
env:
  - { name: RAY_AUTH_MODE, value: token }
  - name: RAY_AUTH_TOKEN
    valueFrom: { secretKeyRef: { name: {{ .root.Values.secrets.rayToken }}, key: auth_token } }
  # Serve's proxy must not believe X-Forwarded-For; `ip_limits.trusted_hops` says how many proxies stand in front.
  - { name: FORWARDED_ALLOW_IPS, value: "" }
  - { name: RAY_USAGE_STATS_ENABLED, value: "0" }
resources:
  limits: {{- include "penstock.amount" . | nindent 4 }}
  requests: {{- include "penstock.amount" . | nindent 4 }}
securityContext:
  allowPrivilegeEscalation: false
  runAsNonRoot: true
  runAsUser: 10001
  capabilities: { drop: [ALL] }
  seccompProfile: { type: RuntimeDefault }
volumeMounts:
  - { name: shm, mountPath: /dev/shm }
  - { name: state, mountPath: /state }
{{- end }}

{{- define "penstock.amount" -}}
cpu: {{ .resources.cpu | quote }}
memory: {{ .resources.memory }}
{{- if .gpus }}
nvidia.com/gpu: {{ .gpus }}
{{- end }}
{{- end }}

{{- define "penstock.pod" -}}
automountServiceAccountToken: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: 300 # a stream ends first: generate.deadline
containers:
  - {{- include "penstock.container" . | nindent 4 }}
    {{- with .ports }}
    ports: {{- toYaml . | nindent 6 }}
    {{- end }}
volumes:
  - name: shm # Ray's object store
    emptyDir: { medium: Memory, sizeLimit: 2Gi }
  - name: state # the ledger is PostgreSQL's; here lie what was not written to it yet, and caches
    emptyDir: {}
{{- end }}
