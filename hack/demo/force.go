// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killChildren kills all processes that this one has started, again and again until it ends itself: with nobody left to wait
// for, cleaning up does not take long. etcd, kube-apiserver and the operator have process groups of their own, so no signal of
// the terminal reaches them; they would stay for ever if this process just left.
func killChildren() {
	for {
		for _, pid := range children() {
			if syscall.Kill(-pid, syscall.SIGKILL) != nil { // it leads no group
				syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// children returns the ids of this process' children. There is no other portable way to learn those that libraries start.
func children() []int {
	command := exec.Command("ps", "-A", "-o", "pid=,ppid=") //nolint:noctx // it is over in no time
	output, err := command.Output()
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(fields[0]); err == nil && pid != command.Process.Pid {
			pids = append(pids, pid)
		}
	}
	return pids
}
