{{- define "spindle.labels" -}}
app.kubernetes.io/part-of: spindle
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "spindle.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{ if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}spindle-{{ .service }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- /* A password, and the user name where an operator's secret has it too. */ -}}
{{- define "spindle.login" -}}
{{- with .secret.usernameKey }}
- name: {{ $.prefix }}_USERNAME
  valueFrom: { secretKeyRef: { name: {{ $.secret.name }}, key: {{ . }} } }
{{- end }}
- name: {{ .prefix }}_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .secret.name }}, key: {{ .secret.key }} } }
{{- end }}

{{- /* A variable's text. A file's numbers are floats here, and a large one would be written as 6.7108864e+07. */ -}}
{{- define "spindle.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . | quote }}{{ else }}{{ quote . }}{{ end }}
{{- end }}
