package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"--addr", "127.0.0.1:0", "--busy", "ledger-db"}, write)
	}()

	lines := make(chan string, 100) // nobody who prints has to wait for a reader
	go func() {
		for printed := bufio.NewScanner(read); printed.Scan(); {
			lines <- printed.Text()
		}
	}()
	url, found := strings.CutPrefix(<-lines, "Reporter is at ")
	if !found {
		t.Fatalf("the first line is %q", url)
	}
	for line := range lines {
		if strings.HasSuffix(line, "Requests:") {
			break
		}
	}
	const path = "/v1/management/connections/019996b8-f3d1-7d2b-a192-6e91464d82fc"
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusConflict {
		t.Errorf("DELETE of a busy connection answers %d, not 409", resp.StatusCode)
	}
	if line := <-lines; !strings.Contains(line, " DELETE "+path+" 409 FET-1021 (") {
		t.Errorf("the request is logged as %q", line)
	}

	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// serve runs the command with more arguments, and returns where its Reporter is. It has to end well by the end of the test.
func serve(t *testing.T, arguments ...string) (url string) {
	t.Helper()
	read, write := io.Pipe()
	ended := make(chan error)
	go func() { ended <- run(t.Context(), append([]string{"--addr", "127.0.0.1:0"}, arguments...), write) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
	printed := bufio.NewScanner(read)
	printed.Scan()
	url, _ = strings.CutPrefix(printed.Text(), "Reporter is at ")
	go io.Copy(io.Discard, read) //nolint:errcheck // nobody who prints has to wait for a reader
	return url
}

// Every second change is made, and its answer lost; what only reads or tests is answered.
func TestLose(t *testing.T) {
	url := serve(t, "--lose", "2") + "/v1/management/connections/"
	for i, request := range []struct {
		method, path string
		isLost       bool
	}{
		{"DELETE", "019996b8-f3d1-7d2b-a192-6e91464d82fc", false},
		{"GET", "019996b9-174d-7a23-9f87-f7336d5ad98c", false},
		{"POST", "019996b9-174d-7a23-9f87-f7336d5ad98c/test", false},
		{"DELETE", "019996b9-174d-7a23-9f87-f7336d5ad98c", true},
		{"DELETE", "019996b9-3b1e-7475-bb50-c81bbb553432", false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), request.method, url+request.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if isLost := err != nil; isLost != request.isLost {
			t.Errorf("request %d gets %v, %v", i, resp, err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"019996b9-174d-7a23-9f87-f7336d5ad98c", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("after a deletion whose answer was lost, GET answers %d", resp.StatusCode)
	}
}

func TestMultiTenant(t *testing.T) {
	url := serve(t, "--multi-tenant")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/management/connections", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	list, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.Contains(string(list), `"configName":"internal-db"`) {
		t.Errorf("the list is %q, %v", list, err)
	}
}

func TestLoopbackOnly(t *testing.T) {
	for address, says := range map[string]string{
		"127.0.0.1:4006": "",
		"[::1]:0":        "",
		"localhost:4006": "",
		"0.0.0.0:4006":   "--addr 0.0.0.0:4006 is not a loopback address like 127.0.0.1:4006; this Reporter is for this machine only",
		":4006":          "--addr :4006 is not a loopback address like 127.0.0.1:4006; this Reporter is for this machine only",
		"example.com:80": "--addr example.com:80 is not a loopback address like 127.0.0.1:4006; this Reporter is for this machine only",
		"4006":           "--addr: address 4006: missing port in address",
	} {
		got := ""
		if err := checkLoopback(address); err != nil {
			got = err.Error()
		}
		if got != says {
			t.Errorf("--addr %s gets %q, not %q", address, got, says)
		}
	}
}

// Each request is a line, which ends with the id that the client gave it.
func TestRequestsAreLoggedWithTheirIDs(t *testing.T) {
	var printed bytes.Buffer
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		err := run(ctx, []string{"--addr", "127.0.0.1:0"}, write)
		_ = write.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(io.TeeReader(read, &printed))
	lines.Scan()
	url, _ := strings.CutPrefix(lines.Text(), "Reporter is at ")
	go func() {
		defer cancel()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/management/connections?page=1&limit=1", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("X-Request-ID", "29cb3859-8bc4-4dbc-9dd2-007656151bb0")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
	}()
	for lines.Scan() {
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`GET /v1/management/connections\?page=1&limit=1 200 \(\S+\) 29cb3859-8bc4-4dbc-9dd2-007656151bb0\n`).Match(printed.Bytes()) {
		t.Errorf("printed is %s", printed.String())
	}
}
