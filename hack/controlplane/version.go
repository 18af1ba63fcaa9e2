package main

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// version is a complete Kubernetes version with its v, such as v1.37.2.
type version string

func parseVersion(s string) (version, error) {
	v := "v" + strings.TrimPrefix(strings.TrimSpace(s), "v")
	// Canonical completes v1.37 to v1.37.0 and drops build metadata: neither is
	// the name of a release.
	if semver.Canonical(v) != v || semver.Major(v) != "v1" {
		return "", fmt.Errorf("%q is not a Kubernetes release: write all three numbers, for example %s", s, defaultVersion)
	}
	return version(v), nil
}

// staging is the version under which Kubernetes publishes its own libraries:
// v0.37.2 of k8s.io/api belongs to Kubernetes v1.37.2.
func (v version) staging() string {
	return "v0" + strings.TrimPrefix(string(v), "v1")
}

// ldflags stamps the version as the build scripts of Kubernetes do. The
// binaries tell it at /version and reckon their feature gates and emulated
// version from it.
func (v version) ldflags() string {
	minor := strings.TrimPrefix(semver.MajorMinor(string(v)), "v1.")
	if semver.Prerelease(string(v)) != "" {
		minor += "+"
	}
	flags := []string{"-s", "-w"} // without debug information
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, stamp := range [][2]string{
			{"gitVersion", string(v)}, {"gitMajor", "1"}, {"gitMinor", minor},
		} {
			flags = append(flags, "-X", pkg+"."+stamp[0]+"="+stamp[1])
		}
	}
	return strings.Join(flags, " ")
}

// alternatives picks, from the published versions, the ones to offer to
// someone who asked for v: those of the same minor, or else the newest of each
// of the last three minors.
func alternatives(v version, published []string) []string {
	var same, newest []string
	for _, p := range slices.Backward(slices.SortedFunc(slices.Values(published), semver.Compare)) {
		switch {
		case semver.Prerelease(p) != "":
		case semver.MajorMinor(p) == semver.MajorMinor(string(v)):
			same = append(same, p)
		case len(newest) == 0 || len(newest) < 3 && semver.MajorMinor(p) != semver.MajorMinor(newest[len(newest)-1]):
			newest = append(newest, p)
		}
	}
	if len(same) > 0 {
		return same
	}
	return newest
}
