{{/* The names of config/ behind the release's name: the release reporter-operator has those of config/default. */}}
{{- define "reporter-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "reporter-operator.labels" -}}
app.kubernetes.io/name: reporter-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "reporter-operator.selector" -}}
app.kubernetes.io/name: reporter-operator
control-plane: controller-manager
{{- end -}}

{{- define "reporter-operator.image" -}}
{{- $repository := required "image.repository says where the image is: `make image-push IMG=…` builds and pushes it" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Whether the cluster gets MutatingAdmissionPolicies: not empty, if so. */}}
{{- define "reporter-operator.mutating" -}}
{{- if or (eq .Values.admissionPolicies.mutating "always") (and (eq .Values.admissionPolicies.mutating "auto")
  (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")) -}}
true
{{- end -}}
{{- end -}}
