package main

import (
	"strings"
	"testing"
)

const kubernetesGoMod = `// This is a generated file. Do not edit directly.

module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	github.com/blang/semver/v4 v4.0.0
	k8s.io/api v0.0.0
	k8s.io/klog/v2 v2.140.0
)

require go.etcd.io/etcd/server/v3 v3.7.0 // indirect

replace (
	github.com/fork/me v1.0.0 => github.com/forked/me v1.0.1
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/sample-controller => ./staging/src/k8s.io/sample-controller
)
`

func TestBuildModuleFile(t *testing.T) {
	const want = `// Written by "controlplane -pin" from the go.mod file of Kubernetes v1.37.2.

module github.com/reporter-operator/reporter-operator/hack/controlplane/build

go 1.26.0

godebug default=go1.26

require (
	go.etcd.io/etcd/server/v3 v3.7.0
	k8s.io/kubernetes v1.37.2
)

replace (
	github.com/fork/me v1.0.0 => github.com/forked/me v1.0.1
	k8s.io/api => k8s.io/api v0.37.2
	k8s.io/sample-controller => k8s.io/sample-controller v0.37.2
)

tool (
	go.etcd.io/etcd/server/v3
	k8s.io/kubernetes/cmd/kube-apiserver
	k8s.io/kubernetes/cmd/kube-controller-manager
	k8s.io/kubernetes/cmd/kubectl
)
`
	got, err := buildModuleFile("v1.37.2", []byte(kubernetesGoMod))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBuildModuleFileRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a page that is no go.mod": {"<html>", "go.mod"},
		"one without etcd":         {strings.ReplaceAll(kubernetesGoMod, "go.etcd.io/etcd/server", "example.com/etcd"), etcdModule},
	} {
		_, err := buildModuleFile("v1.37.2", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one about %s", name, err, c.want)
		}
	}
}
