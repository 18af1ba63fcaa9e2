// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSharedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads SharedReads[int]
		made, began := 0, time.Now()
		slow := func(context.Context) (int, error) {
			made++
			n := made
			time.Sleep(500 * time.Millisecond) //nolint:forbidigo // virtual time
			return n, nil
		}
		expect := func(what string, notBefore time.Time, want int) {
			t.Helper()
			if got, err := reads.Get(t.Context(), "object", notBefore, slow); err != nil || got != want {
				t.Errorf("%s: read %d, %v; want read %d", what, got, err, want)
			}
		}
		go expect("who comes first", began, 1)
		synctest.Wait()
		go expect("who comes at the same time", began, 1)
		time.Sleep(300 * time.Millisecond) //nolint:forbidigo // virtual time
		later := time.Now()
		expect("who needs to know what is so after the read began", later, 2)
		expect("who comes a moment later", later, 2)
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		expect("who comes when the moment is over", later, 3)
		if made != 3 {
			t.Errorf("%d reads, want 3", made)
		}
	})
}
