// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"io"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// TB is what this package needs of a testing.TB.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(cleanup func())
	Error(arguments ...any)
	Fatal(arguments ...any)
}

// StartFor starts a world for a test, by Start or StartBare, and stops it when the test ends.
func StartFor(t TB, start func(context.Context) (*World, error)) *World {
	t.Helper()
	log.SetLogger(logr.Discard())
	world, err := start(t.Context())
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// StartControllersFor is StartControllers until the test ends.
func (w *World) StartControllersFor(t TB, more ...string) {
	t.Helper()
	controllers, err := w.StartControllers(io.Discard, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(controllers.Kill)
}
