package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]version{
		"v1.37.2":        "v1.37.2",
		"1.36.1":         "v1.36.1",
		" v1.36.1\n":     "v1.36.1",
		"v1.38.0-beta.0": "v1.38.0-beta.0",
	} {
		if got, err := parseVersion(in); err != nil || got != want {
			t.Errorf("parseVersion(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "v", "latest", "1.37", "v1.37", "v1.37.x", "v2.0.0", "v0.37.2", "v1.37.2+k3s1", "1.037.2", "../v1.37.2", "vv1.37.2"} {
		got, err := parseVersion(in)
		if err == nil {
			t.Errorf("parseVersion(%q) = %q; want an error", in, got)
		} else if !strings.Contains(err.Error(), string(defaultVersion)) {
			t.Errorf("parseVersion(%q): %q does not say what to write instead", in, err)
		}
	}
}

// What the tests run on is built from the same modules everywhere: the default, and what make test-oldest runs on.
func TestPinned(t *testing.T) {
	root, err := findRepository()
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(root.path("Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	oldest := regexp.MustCompile(`(?m)^OLDEST = (\S+)$`).FindSubmatch(makefile)
	if oldest == nil {
		t.Fatal("the Makefile does not say which Kubernetes is the oldest")
	}
	want := []string{string(oldest[1]), string(defaultVersion)}
	slices.Sort(want)
	modules, err := os.ReadDir(root.path("hack", "controlplane", "build"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, module := range modules {
		got = append(got, module.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are build modules of %q; want %q", got, want)
	}
	for _, name := range got {
		v, err := parseVersion(name)
		if err != nil || string(v) != name {
			t.Errorf("parseVersion(%q) = %q, %v", name, v, err)
		}
		if _, err := etcdVersion(root.pinned(v)); err != nil {
			t.Errorf("the build module of %s is not usable: %v", v, err)
		}
	}
}

func TestStaging(t *testing.T) {
	for v, want := range map[version]string{"v1.37.2": "v0.37.2", "v1.38.0-beta.0": "v0.38.0-beta.0"} {
		if got := v.staging(); got != want {
			t.Errorf("%s.staging() = %q; want %q", v, got, want)
		}
	}
}

func TestLdflags(t *testing.T) {
	for v, stamps := range map[version][]string{
		"v1.37.2":        {"gitVersion=v1.37.2", "gitMajor=1", "gitMinor=37"},
		"v1.38.0-beta.0": {"gitVersion=v1.38.0-beta.0", "gitMajor=1", "gitMinor=38+"},
	} {
		flags := strings.Fields(v.ldflags())
		for _, stamp := range stamps {
			for _, pkg := range []string{"k8s.io/component-base/version.", "k8s.io/client-go/pkg/version."} {
				if i := slices.Index(flags, pkg+stamp); i < 1 || flags[i-1] != "-X" {
					t.Errorf("%s.ldflags() = %q; want -X %s in it", v, flags, pkg+stamp)
				}
			}
		}
	}
}

func TestAlternatives(t *testing.T) {
	published := []string{"v1.9.0", "v1.35.4", "v1.36.10", "v1.36.9", "v1.37.2", "v1.38.0-beta.0"}
	for v, want := range map[version][]string{
		"v1.36.2": {"v1.36.10", "v1.36.9"},
		"v1.99.0": {"v1.37.2", "v1.36.10", "v1.35.4"},
	} {
		if got := alternatives(v, published); !slices.Equal(got, want) {
			t.Errorf("alternatives(%s) = %q; want %q", v, got, want)
		}
	}
}
