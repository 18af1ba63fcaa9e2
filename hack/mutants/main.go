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

// mutant is a fault that somebody could make: one text of a file, which is there once, in place of another.
type mutant struct {
	name     string
	file     string
	old, new string
	// killer are the arguments of the go test that must fail.
	killer []string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	var (
		mu               sync.Mutex
		survivors, tried int
		group            errgroup.Group
	)
	group.SetLimit(2) // one compiles while the other is tested
	for _, m := range mutants {
		if len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(m.name, word) }) {
			continue
		}
		tried++
		group.Go(func() error {
			start := time.Now()
			how, err := m.kill()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				how = "SURVIVES: " + err.Error()
				survivors++
			}
			fmt.Printf("%-62s %4.0fs  %s\n", m.name, time.Since(start).Seconds(), how)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d mutants survive", survivors, tried)
	}
	fmt.Printf("All %d mutants were found.\n", tried)
	return nil
}

// kill runs the tests that must find the mutant, and says how they did.
func (m mutant) kill() (how string, err error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if count := strings.Count(string(source), m.old); count != 1 {
		return "", fmt.Errorf("what it changes is in %s %d times", m.file, count)
	}
	absolute, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil { //nolint:gosec // a file of our own
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {absolute: broken}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	arguments := slices.Concat([]string{"test", "-count=1", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json")}, m.killer)
	output, err := exec.CommandContext(context.Background(), "go", arguments...).CombinedOutput() //nolint:gosec // arguments of our own
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", fmt.Errorf("go test %s passes", strings.Join(m.killer, " "))
	case !errors.As(err, &exit):
		return "", err
	}
	return findingIn(output)
}

var seed = regexp.MustCompile(`seed \d+: [^:]*`)

// findingIn returns what a failed test says, in a line. One that does not compile has not been found by any test.
func findingIn(output []byte) (string, error) {
	var failed string
	for line := range bytes.Lines(output) {
		text := strings.TrimSpace(string(line))
		switch {
		case strings.HasPrefix(text, "--- FAIL: Test") && failed == "":
			failed = strings.Fields(text)[2]
		case failed != "" && seed.MatchString(text):
			return failed + ", " + seed.FindString(text), nil
		}
	}
	if failed == "" {
		return "", fmt.Errorf("the tests do not run:\n%s", output)
	}
	return failed, nil
}
