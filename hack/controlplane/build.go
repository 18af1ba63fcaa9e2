package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/mod/modfile"
)

// A program is one binary of the control plane.
type program struct {
	name, pkg string
	takes     time.Duration // the first time, on two cores
}

// controlPlane lists the programs in the order of building. The ones that
// every test needs come first, and each profits from what is compiled before.
var controlPlane = []program{
	{"etcd", etcdModule, time.Minute},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 7 * time.Minute},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl", time.Minute},
	{controllerManager, "k8s.io/kubernetes/cmd/kube-controller-manager", 3 * time.Minute},
}

const controllerManager = "kube-controller-manager"

// provide builds into dir those programs of the control plane that it lacks.
func (r repository) provide(ctx context.Context, v version, dir string) error {
	if len(missing(dir)) == 0 {
		return nil
	}
	unlock, err := lock(ctx, r.path("bin", "controlplane", ".lock"))
	if err != nil {
		return err
	}
	defer unlock()

	todo := missing(dir) // anew: the lock may have been that of a run that built them
	if len(todo) == 0 {
		return nil
	}
	module, err := r.buildModule(ctx, v)
	if err != nil {
		return err
	}
	etcd, err := etcdVersion(module)
	if err != nil {
		return err
	}
	var total time.Duration
	for _, p := range todo {
		total += p.takes
	}
	log.Printf("building into %s from Go modules: about %s on two cores the first time", dir, minutes(total))
	for i, p := range todo {
		title := fmt.Sprintf("%s %s", p.name, v)
		if p.pkg == etcdModule {
			title = fmt.Sprintf("%s %s", p.name, etcd)
		}
		log.Printf("building %s (%d of %d): about %s", title, i+1, len(todo), minutes(p.takes))
		start := time.Now()
		if err := build(ctx, module, p, v, filepath.Join(dir, p.name)); err != nil {
			return fmt.Errorf("building %s: %w", title, err)
		}
		log.Printf("built %s in %s", title, time.Since(start).Round(time.Second))
	}
	return nil
}

// missing returns the programs that dir has no executable of.
func missing(dir string) []program {
	var list []program
	for _, p := range controlPlane {
		info, err := os.Stat(filepath.Join(dir, p.name))
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			list = append(list, p)
		}
	}
	return list
}

// build compiles one program.
func build(ctx context.Context, module string, p program, v version, binary string) error {
	return install(binary, func(partial string) error {
		_, err := goCommand(ctx, module, p.name, "build",
			"-v", // names the packages as they are compiled, which goCommand counts
			"-mod=readonly",
			"-buildvcs=false",
			"-trimpath",
			"-tags=selinux,notest,grpcnotrace", // what Kubernetes builds its releases with
			"-ldflags="+v.ldflags(),
			"-o", partial, p.pkg)
		return err
	})
}

// install has a file or a folder written under a name of its own next to path
// and gives it its right name when it is complete, so that no interruption
// leaves half of it behind. What an earlier attempt left is overwritten.
func install(path string, write func(partial string) error) error {
	partial := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".partial")
	defer os.RemoveAll(partial)
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("clearing away an earlier attempt: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	if err := write(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("installing it: %w", err)
	}
	return nil
}

// lock waits until no other run of this program builds something in the
// repository. The system releases it when the process ends, however it ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("locking the build: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the build: %w", err)
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking the build: %w", err)
		}
		if !told {
			log.Print("waiting for another build")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// etcdVersion is the version of etcd that a build module builds.
func etcdVersion(module string) (string, error) {
	path := filepath.Join(module, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the build module: %w", err)
	}
	f, err := modfile.ParseLax(path, text, nil)
	if err != nil {
		return "", fmt.Errorf("reading the build module: %w", err)
	}
	return requirement(f, etcdModule)
}

func minutes(d time.Duration) string {
	if d == time.Minute {
		return "1 minute"
	}
	return fmt.Sprintf("%.0f minutes", d.Minutes())
}
