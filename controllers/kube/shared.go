// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// Moment is for how long those who ask the API server the same share its answer.
	Moment = time.Second
	// readTimeout bounds how long an API server that does not answer keeps a worker.
	readTimeout = 10 * time.Second
)

// SharedReads has all who want the same of the API server in the same moment share one request. What was read is forgotten after that.
type SharedReads[T any] struct {
	// GoOn, if it is not nil, is called by each of those who have shared a request, before they go on.
	GoOn func(context.Context)

	group singleflight.Group
	mu    sync.Mutex
	known map[string]sharedRead[T]
}

type sharedRead[T any] struct {
	value T
	at    time.Time // before the API server was asked
}

// Get returns what was read at a time or later, and not longer ago than a moment. The request does not end with the caller that happened to
// be the first.
func (s *SharedReads[T]) Get(ctx context.Context, name string, notBefore time.Time, read func(context.Context) (T, error)) (T, error) {
	if recently := time.Now().Add(-Moment); recently.After(notBefore) {
		notBefore = recently
	}
	for {
		s.mu.Lock()
		known, found := s.known[name]
		s.mu.Unlock()
		if found && !known.at.Before(notBefore) {
			return known.value, nil
		}
		done := s.group.DoChan(name, func() (any, error) { return nil, s.share(context.WithoutCancel(ctx), name, read) })
		select {
		case result := <-done:
			if s.GoOn != nil {
				s.GoOn(ctx)
			}
			if result.Err != nil {
				return known.value, result.Err
			}
		case <-ctx.Done():
			return known.value, ctx.Err()
		}
	}
}

func (s *SharedReads[T]) share(ctx context.Context, name string, read func(context.Context) (T, error)) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	at := time.Now()
	value, err := read(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]sharedRead[T]{}
	}
	s.known[name] = sharedRead[T]{value, at}
	time.AfterFunc(Moment, s.forgetOld)
	return nil
}

func (s *SharedReads[T]) forgetOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(_ string, old sharedRead[T]) bool { return time.Since(old.at) >= Moment })
}
