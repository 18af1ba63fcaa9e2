// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table, err := tableOf([]byte(`
image:
  # Where the image is,
  # without its tag.
  repository: ""
  pull:
    # A | B.
    policy: A
# What it needs.
resources:
  limits:
    memory: 1Mi
`))
	want := "| value | default | meaning |\n|---|---|---|\n" +
		"| `image.repository` | `\"\"` | Where the image is, without its tag. |\n" +
		"| `image.pull.policy` | `\"A\"` | A \\| B. |\n" +
		"| `resources` | `{\"limits\":{\"memory\":\"1Mi\"}}` | What it needs. |\n"
	if err != nil || table != want {
		t.Errorf("%v\n%s\nwant\n%s", err, table, want)
	}
	if _, err := tableOf([]byte("image:\n  tag: \"\"\n")); err == nil || !strings.Contains(err.Error(), "image.tag has no comment") {
		t.Errorf("a value without a comment: %v", err)
	}
}
