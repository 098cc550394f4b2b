{{- define "jenius-pay.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag }}{{ end }}
{{- end }}

{{- define "jenius-pay.labels" -}}
app.kubernetes.io/name: jenius-pay
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- /* A change of the settings replaces the pods. Their ConfigMap keeps its name: pods of before may still start with it. */}}
{{- define "jenius-pay.checksum" -}}
checksum/config: {{ toJson .Values.config | sha256sum }}
{{- end }}

{{- define "jenius-pay.small" -}}
requests: {cpu: 50m, memory: 64Mi}
limits: {cpu: "1", memory: 256Mi}
{{- end }}

{{- /* What every pod has in common. */}}
{{- define "jenius-pay.pod" -}}
serviceAccountName: jenius-pay
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "jenius-pay.container" -}}
envFrom:
  - configMapRef:
      name: jenius-pay
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: secrets
    mountPath: /run/secrets/jenius-pay
    readOnly: true
  - name: authorities
    mountPath: /run/authorities
    readOnly: true
{{- end }}

{{- /* A list of variables, each for a file of the secret. */}}
{{- define "jenius-pay.env" -}}
{{- range . }}
- name: {{ .variable }}
  value: /run/secrets/jenius-pay/{{ .file }}
{{- end }}
{{- end }}

{{- define "jenius-pay.volumes" -}}
- name: authorities
  configMap:
    name: jenius-pay-authorities
    optional: true
- name: secrets
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      {{- range .files }}
      - key: {{ .file }}
        path: {{ .file }}
      {{- end }}
{{- end }}

{{- /* The files that a role reads, as JSON: database, amqp, doku; with DOKU's keys come those of `secretFiles`. */}}
{{- define "jenius-pay.files" -}}
{{- $files := list }}
{{- if .database }}{{ $files = append $files (dict "variable" "DATABASE_URL_FILE" "file" "database-url") }}{{ end }}
{{- if .amqp }}{{ $files = append $files (dict "variable" "AMQP_URL_FILE" "file" "amqp-url") }}{{ end }}
{{- if .doku }}
{{- $files = append $files (dict "variable" "DOKU_SECRET_KEY_FILE" "file" "doku-secret-key") }}
{{- $files = append $files (dict "variable" "JENIUS_PAY__DOKU__PREVIOUS_SECRET_KEYS_FILE" "file" "doku-previous-secret-keys") }}
{{- range .more }}{{ $files = append $files (dict "variable" .variable "file" .key) }}{{ end }}
{{- end }}
{{- toJson $files }}
{{- end }}
