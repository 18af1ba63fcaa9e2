// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestWatchThatTheAPIServerEndsIsOpenedAgain(t *testing.T) {
	event := func(kind, version string) string {
		return `{"type":"` + kind + `","object":{"metadata":{"name":"x","resourceVersion":"` + version + `"}}}` + "\n"
	}
	errGone := errors.New("no more")
	watches := []string{event("DELETED", "8") + event("MODIFIED", "9"), event("DELETED", "10"), ""}
	var asked []string
	open := func(version string) (io.ReadCloser, error) {
		asked = append(asked, version)
		if len(watches) == 0 {
			return nil, errGone
		}
		next := watches[0]
		watches = watches[1:]
		return io.NopCloser(strings.NewReader(next)), nil
	}
	e := &ends{version: "7"}
	first, err := open(e.version)
	if err != nil {
		t.Fatal(err)
	}
	e.watch(t.Context(), first, open)
	times, err := e.seen()
	if len(times) != 2 || !errors.Is(err, errGone) {
		t.Errorf("%d resources have vanished, with the error %v", len(times), err)
	}
	if want := []string{"7", "9", "10", "10"}; !slices.Equal(asked, want) {
		t.Errorf("watched from %v, want %v", asked, want)
	}
}

func TestErrorOfAWatchEndsIt(t *testing.T) {
	e := &ends{}
	e.watch(t.Context(), io.NopCloser(strings.NewReader(`{"type":"ERROR","object":{"code":410}}`+"\n")), func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("")), nil
	})
	if _, err := e.seen(); err == nil || !strings.Contains(err.Error(), "410") {
		t.Errorf("the error is %v", err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := &ends{}
	e.watch(ctx, io.NopCloser(strings.NewReader("")), func(string) (io.ReadCloser, error) {
		t.Error("it is opened again")
		return nil, io.EOF
	})
	if _, err := e.seen(); err != nil {
		t.Error(err)
	}
}
