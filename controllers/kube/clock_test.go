// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

type dated func() string

func (d dated) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {d()}}}, nil
}

func TestClockIsTheAPIServers(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ours is ahead": -time.Hour, "ours is behind": time.Hour, "both agree": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var clock Clock
				date := func() string { return time.Now().Add(skew).UTC().Format(http.TimeFormat) }
				ask := func() {
					if _, err := clock.Wrap(dated(func() string { return date() })).RoundTrip(httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
						t.Fatal(err)
					}
				}
				<-time.After(700 * time.Millisecond)
				ask()
				date = func() string { return "soon" } // says nothing
				ask()
				<-time.After(time.Minute)
				if off := time.Now().Add(skew).Sub(clock.Now()); off < 0 || off > time.Second {
					t.Errorf("the API server's clock is ahead of it by %s", off)
				}
			})
		})
	}
}
