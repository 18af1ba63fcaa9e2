// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `package p

const limit = 10

var (
	first, second = 1, 2
	judge         = func(n int) bool { return n > limit }
)

type list[K comparable, V any] struct{ keys []K }

func (l *list[K, V]) add(key K) { l.keys = append(l.keys, key) }

type counter struct{ n int }

func (c counter) add(n int) int { return c.n + n }

func add(a, b int) int {
	// The sum.
	sum := a + b // of both
	if sum > limit {
		sum = limit
	}
	log(
		sum,
		"sum",
	)
	return sum
}

func judgeAll(a, b bool, c int) (int, bool) {
	switch {
	case a && !b:
		return 1, true
	case b, !a && c > 0:
		log(c, "c")
	default:
		return 2, !(a || b) && c > 1
	}
	for range c {
		log(c, "again")
	}
	log(c, "end")
	return 3, false
}

func log(any, string) {}

func wait(c, d chan int) {
	select {
	case <-c:
	case <-d:
		log(0, "d")
	}
	for {
		if f := func() bool { return true }; f() {
			break
		} else if limit > 1 {
			continue
		}
	}
}
`

// testTree has the source in a package named in a directory below another, beside a test and a package of files that repeat a name.
func testTree(t *testing.T) *tree {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"a/p/p.go":      source,
		"a/p/p_test.go": "package p\n\nfunc add(a, b int) int { return 0 }\n",
		"q/one.go":      "//go:build one\n\npackage q\n\nfunc f() {}\n",
		"q/two.go":      "//go:build !one\n\npackage q\n\nfunc f() {}\n",
		"q/three.go":    "package q\n\nfunc g() int { return 1 }\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newTree(root)
}

func TestApply(t *testing.T) {
	for _, test := range []struct {
		name     string
		in       string
		change   change
		old, new string // what differs in the source
	}{
		{"expression", "a/p.add", replace("a + b", "a - b"), "a + b", "a - b"},
		{"expression written another way", "a/p.add", replace("log(sum, /* the */ \"sum\")", "log(a, b)"), "log(\n\t\tsum,\n\t\t\"sum\",\n\t)", "log(a, b)"},
		{"one of a list by several", "a/p.judgeAll", replace("!a && c > 0", "!a, c == 7"), "case b, !a && c > 0:", "case b, !a, c == 7:"},
		{"operation as operand", "a/p.judgeAll", replace("c > 1", "a || b"), "&& c > 1", "&& (a || b)"},
		{"condition that is never true", "a/p.add", never("sum > limit"), "if sum > limit {", "if (sum > limit) && false {"},
		{"condition that is always true", "a/p.judgeAll", always("!(a || b)"), "!(a || b) && c > 1", "((!(a || b)) || true) && c > 1"},
		{"condition that is negated", "a/p.judgeAll", negate("a && !b"), "case a && !b:", "case !(a && !b):"},
		{"statement", "a/p.add", replace("sum = limit", "sum++; sum--"), "sum = limit\n", "sum++; sum--\n"},
		{"statement with a body", "a/p.add", replace("if sum > limit {…}", "sum++"), "if sum > limit {\n\t\tsum = limit\n\t}", "sum++"},
		{"statement with its body written another way", "a/p.add", remove("if sum > limit { sum = limit; }"), "if sum > limit {\n\t\tsum = limit\n\t}", ""},
		{"statement with an else", "a/p.wait", replace("if limit > 1 {…}", "{ break }"), "if limit > 1 {\n\t\t\tcontinue\n\t\t}", "{ break }"},
		{"statement that is deleted", "a/p.judgeAll", remove(`log(c, "end")`), `log(c, "end")`, ""},
		{"loop that is deleted", "a/p.judgeAll", remove("for range c {…}"), "for range c {\n\t\tlog(c, \"again\")\n\t}", ""},
		{"statement after another", "a/p.add", insertAfter("sum := a + b", "sum++"), "sum := a + b", "sum := a + b\nsum++\n"},
		{"statement before another", "a/p.add", insertBefore("return sum", "sum++"), "return sum", "sum++\nreturn sum"},
		{"case clause that is deleted", "a/p.judgeAll", remove("case a && !b:"), "case a && !b:\n\t\treturn 1, true", ""},
		{"case clause of several expressions", "a/p.judgeAll", remove("case b, !a && c>0:"), "case b, !a && c > 0:\n\t\tlog(c, \"c\")", ""},
		{"default clause", "a/p.judgeAll", replace("default:", "default: return 0, a"), "default:\n\t\treturn 2, !(a || b) && c > 1", "default: return 0, a"},
		{"clause of a select", "a/p.wait", remove("case <-d:"), "case <-d:\n\t\tlog(0, \"d\")", ""},
		{"clause without a body", "a/p.wait", remove("case <-c:"), "case <-c:", ""},
		{"method of a pointer to a generic type", "a/p.list.add", remove("l.keys = append(l.keys, key)"), "l.keys = append(l.keys, key)", ""},
		{"method of a value", "a/p.counter.add", replace("c.n + n", "n"), "c.n + n", "n"},
		{"constant", "a/p.limit", replace("10", "11"), "limit = 10", "limit = 11"},
		{"variable of several", "a/p.second", replace("2", "3"), "= 1, 2", "= 1, 3"},
		{"function in a variable", "a/p.judge", negate("n > limit"), "n > limit", "!(n > limit)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if n := strings.Count(source, test.old); n != 1 {
				t.Fatalf("the source has %q %d times", test.old, n)
			}
			got, err := testTree(t).apply(test.in, test.change)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(source, test.old, test.new, 1); string(got.source) != want {
				t.Errorf("got\n%s\nwant\n%s", got.source, want)
			}
			if filepath.Base(got.file) != "p.go" {
				t.Errorf("changed %s", got.file)
			}
		})
	}
}

func TestApplyFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		in     string
		change change
		want   string
	}{
		{"no match", "a/p.add", replace("a * b", "a"), `a/p.add has no expression "a * b"`},
		{"match elsewhere alone", "a/p.judgeAll", replace("a + b", "a"), `a/p.judgeAll has no expression "a + b"`},
		{"part of a text", "a/p.add", replace("su", "a"), `a/p.add has no expression "su"`},
		{"expression in place of a statement", "a/p.add", remove("a + b"), `a/p.add has no statement "a + b"`},
		{"ambiguous", "a/p.add", replace("limit", "1"), `a/p.add has expression "limit" 2 times: `},
		{"ambiguous, with the places", "a/p.judgeAll", never("b"), "p.go:33, "},
		{"no such function", "a/p.subtract", remove("return"), "there is no a/p.subtract"},
		{"no such method", "a/p.list.remove", remove("return"), "there is no a/p.list.remove"},
		{"function of a test", "a/p.add", replace("0", "1"), `a/p.add has no expression "0"`},
		{"several functions", "q.f", remove("return"), "there are 2 of q.f: "},
		{"no such package", "b.f", remove("return"), `there is no Go package in "b"`},
		{"no name", "q", remove("return"), `"q" is not of the form dir.Func or dir.Type.Method`},
		{"no syntax", "a/p.add", never("a +"), `pattern "a +": `},
		{"several statements", "a/p.add", remove("sum = limit; return sum"), "2 statements in place of one"},
		{"result is no syntax", "a/p.add", replace("a + b", "a +"), `a/p.add: replacing "a + b" by "a +": `},
		{"no change", "a/p.add", replace("a + b", "a+b"), `a/p.add: replacing "a + b" changes nothing`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := testTree(t).apply(test.in, test.change)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
}

func TestApplyFindsTheFile(t *testing.T) {
	got, err := testTree(t).apply("q.g", replace("1", "2"))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(got.file) != "three.go" || string(got.source) != "package q\n\nfunc g() int { return 2 }\n" {
		t.Errorf("got %s:\n%s", got.file, got.source)
	}
}

func TestFailureIn(t *testing.T) {
	for _, test := range []struct {
		name, output, want string
		found              bool
	}{
		{"test", "--- FAIL: TestLines (0.00s)\n    lines_test.go:1: no\nFAIL\nFAIL\texample.com/p\t0.1s\n", "TestLines", true},
		{"history", "--- FAIL: TestSimulation (1s)\n    simulation_test.go:90: seed 12: a connection was deleted: x\nFAIL\n", "TestSimulation, seed 12: a connection was deleted", true},
		{"crash", "panic: nil map\n\ngoroutine 7 [running]:\nFAIL\texample.com/p\t0.1s\n", "panic: nil map", true},
		{"does not compile", "# example.com/p\np.go:3:2: undefined: x\nFAIL\texample.com/p [build failed]\nFAIL\n", "does not compile:\n# example.com/p\np.go:3:2: undefined: x", false},
		{"one package does not compile", "--- FAIL: TestLines (0.00s)\nFAIL\texample.com/p\t0.1s\nFAIL\texample.com/q [build failed]\n", "does not compile:", false},
		{"time is up", "panic: test timed out after 10m0s\n\trunning tests:\nFAIL\texample.com/p\t600s\n", "no test fails: panic: test timed out after 10m0s", false},
		{"nothing runs", "go: no such tool\n", "the tests do not run:\ngo: no such tool", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			how, err := failureIn([]byte(test.output))
			switch {
			case test.found && (err != nil || how != test.want):
				t.Errorf("got %q, error %v, want %q", how, err, test.want)
			case !test.found && (err == nil || !strings.HasPrefix(err.Error(), test.want)):
				t.Errorf("got %q, error %v, want error %q", how, err, test.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	all := []mutant{{name: "claims are ignored"}, {name: "suspend is ignored"}, {name: "a pause never ends"}}
	for _, test := range []struct {
		words []string
		want  int
	}{{nil, 3}, {[]string{"ignored"}, 2}, {[]string{"claims", "pause"}, 2}, {[]string{"retain"}, 0}} {
		if got := choose(all, test.words); len(got) != test.want {
			t.Errorf("%q choose %d, want %d", test.words, len(got), test.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	if err := summarize(3, map[string]int{"simulation": 2, "scene": 1}); err != nil {
		t.Errorf("all were found, got error %v", err)
	}
	if err := summarize(4, map[string]int{"simulation": 2, "scene": 1}); err == nil || err.Error() != "1 of 4 mutants were not found" {
		t.Errorf("got error %v for one that was not found", err)
	}
}
