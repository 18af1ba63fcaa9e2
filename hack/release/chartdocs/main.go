// SPDX-License-Identifier: Apache-2.0

// Command chartdocs writes the values of the chart, with the comments that values.yaml has on them, into the chart's README:
//
//	go -C hack/release run ./chartdocs ../../charts/reporter-operator
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	begin = "<!-- values -->\n"
	end   = "<!-- end of values -->\n"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chartdocs:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("say which directory the chart is in")
	}
	values, err := os.ReadFile(filepath.Join(arguments[0], "values.yaml")) //nolint:gosec // what the user names
	if err != nil {
		return err
	}
	table, err := tableOf(values)
	if err != nil {
		return fmt.Errorf("reading values.yaml: %w", err)
	}
	path := filepath.Join(arguments[0], "README.md")
	readme, err := os.ReadFile(path) //nolint:gosec // what the user names
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(readme, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return fmt.Errorf("%s has no place for the values, between %q and %q", path, begin, end)
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, after}, []byte(begin+table+end)), 0o644) //nolint:gosec // for everybody
}

// tableOf is a Markdown table of values, their defaults and their comments.
func tableOf(values []byte) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return "", err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return "", errors.New("it is no mapping")
	}
	table := "| value | default | meaning |\n|---|---|---|\n"
	rows, err := rowsOf("", document.Content[0])
	return table + rows, err
}

// rowsOf are those of a mapping. A key with a comment gets a row; one without is a mapping of keys that have.
func rowsOf(prefix string, mapping *yaml.Node) (rows string, err error) {
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := prefix + key.Value
		switch {
		case key.HeadComment != "":
			var content any
			if err := value.Decode(&content); err != nil {
				return "", err
			}
			standard, err := json.Marshal(content)
			if err != nil {
				return "", err
			}
			rows += fmt.Sprintf("| %#q | %#q | %s |\n", name, standard, sentences(key.HeadComment))
		case value.Kind == yaml.MappingNode:
			more, err := rowsOf(name+".", value)
			if err != nil {
				return "", err
			}
			rows += more
		default:
			return "", fmt.Errorf("%s has no comment that says what it means", name)
		}
	}
	return rows, nil
}

// sentences are a comment without its marks, on one line.
func sentences(comment string) string {
	var lines []string
	for line := range strings.Lines(comment) {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", `\|`)
}
