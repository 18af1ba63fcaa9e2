module github.com/reporter-operator/reporter-operator/hack/controlplane

go 1.26.0

require golang.org/x/mod v0.42.0
