// SPDX-License-Identifier: Apache-2.0

// Command mutants breaks the operator, in one place after the other, and fails if no test notices:
//
//	go run ./hack/mutants              # all of them: minutes
//	go run ./hack/mutants claim retain # those with one of these words in their name
//
// The tree is not touched: go test compiles the broken file in place of the right one (-overlay).
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// mutant is a fault that somebody could make.
type mutant struct {
	name string
	// in names the declaration that is changed: package-dir.Func, package-dir.Type.Method, or package-dir.constOrVar.
	in     string
	change change
	killer killer
}

// killer are the tests that must fail.
type killer struct {
	kind string // in the summary
	pkg  string // the package's directory
	run  string // the regular expression for go test -run
	args []string
}

func (k killer) String() string {
	return strings.Join(slices.Concat([]string{"./" + k.pkg, "-run", k.run}, k.args), " ")
}

var (
	errNotCompiling = errors.New("does not compile")
	errPasses       = errors.New("SURVIVES")
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	chosen := choose(mutants, words)
	if len(chosen) == 0 {
		return fmt.Errorf("no mutant has one of these words in its name: %s", strings.Join(words, " "))
	}
	// All are matched first: one that has become outdated is reported before minutes are spent on the others.
	broken, tree := make([]mutated, len(chosen)), newTree(".")
	var outdated []error
	for i, m := range chosen {
		var err error
		if broken[i], err = tree.apply(m.in, m.change); err != nil {
			outdated = append(outdated, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	if err := errors.Join(outdated...); err != nil {
		return err
	}
	var (
		mu    sync.Mutex
		found = map[string]int{} // by the kind of the killer
		group errgroup.Group
	)
	group.SetLimit(2) // one compiles while the other is tested
	for i, m := range chosen {
		group.Go(func() error {
			start := time.Now()
			how, err := m.killer.kill(broken[i])
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				how = err.Error()
			} else {
				found[m.killer.kind]++
			}
			fmt.Printf("%-62s %4.0fs  %s\n", m.name, time.Since(start).Seconds(), how)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return summarize(len(chosen), found)
}

// choose returns the mutants that have one of the words in their name, or all if there are no words.
func choose(all []mutant, words []string) []mutant {
	return slices.DeleteFunc(slices.Clone(all), func(m mutant) bool {
		return len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(m.name, word) })
	})
}

// summarize prints how many were found by what. It returns an error if that is not all of them.
func summarize(tried int, found map[string]int) error {
	total, by := 0, []string{}
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		total += found[kind]
		by = append(by, fmt.Sprintf("%d by %s", found[kind], kind))
	}
	fmt.Printf("%d of %d mutants were found: %s\n", total, tried, strings.Join(by, ", "))
	if total < tried {
		return fmt.Errorf("%d of %d mutants were not found", tried-total, tried)
	}
	return nil
}

// kill runs the tests that must fail with a broken file, and returns which of them did.
func (k killer) kill(broken mutated) (how string, err error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is in the directory for what is temporary
	file := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(file, broken.source, 0o600); err != nil {
		return "", err
	}
	absolute, err := filepath.Abs(broken.file)
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {absolute: file}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	// Without debug information, as most of the time is spent on linking.
	arguments := slices.Concat([]string{"test", "-count=1", "-vet=off", "-ldflags=-w", "-overlay", filepath.Join(dir, "overlay.json"), "./" + k.pkg, "-run", k.run}, k.args)
	output, err := exec.CommandContext(context.Background(), "go", arguments...).CombinedOutput() //nolint:gosec // arguments of our own
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", fmt.Errorf("%w: go test %s passes", errPasses, k)
	case !errors.As(err, &exit):
		return "", err
	}
	return failureIn(output)
}

var (
	notCompiled = regexp.MustCompile(`(?m)^FAIL\s.*\[(build|setup) failed\]$`)
	outOfTime   = regexp.MustCompile(`(?m)^panic: test timed out after .*$`)
	failedTest  = regexp.MustCompile(`(?m)^--- FAIL: (Test\w*)`)
	seed        = regexp.MustCompile(`seed \d+: [^:\n]*`)
	crash       = regexp.MustCompile(`(?m)^(panic|fatal error): .*$`)
)

// failureIn returns in a line how go test failed. No test counts as failed where the package does not compile, or where the time
// is up, which the load of the machine may cause.
func failureIn(output []byte) (string, error) {
	failed := failedTest.FindSubmatchIndex(output)
	switch {
	case notCompiled.Match(output):
		return "", fmt.Errorf("%w:\n%s", errNotCompiling, bytes.TrimSpace(output))
	case outOfTime.Match(output):
		return "", fmt.Errorf("no test fails: %s", outOfTime.Find(output))
	case failed != nil:
		how := string(output[failed[2]:failed[3]])
		if found := seed.Find(output[failed[1]:]); found != nil {
			how += ", " + string(found)
		}
		return how, nil
	case crash.Match(output):
		return string(crash.Find(output)), nil
	default:
		return "", fmt.Errorf("the tests do not run:\n%s", bytes.TrimSpace(output))
	}
}
