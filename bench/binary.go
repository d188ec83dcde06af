package main

import (
	"context"
	"embed"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"eni0/bench/kit"
)

// scripts are the other sides.
//
//go:embed *.sh
var scripts embed.FS

// binaries builds eni0 into dir, and shows what comes of it. The last one built is for this
// machine.
func binaries(ctx context.Context, dir string) error {
	archs := slices.DeleteFunc([]string{"amd64", "arm64"}, func(a string) bool { return a == runtime.GOARCH })
	for _, arch := range append(archs, runtime.GOARCH) {
		size, err := build(ctx, arch, filepath.Join(dir, "eni0"))
		if err != nil {
			return err
		}
		l := figure{what: "binary, linux/" + arch, ours: fmt.Sprintf("%d bytes", size)}
		if arch == "amd64" {
			l = l.judged(atMost(2750000, "bytes"), float64(size))
		}
		l.print()
	}
	sdkBinary(ctx, dir)
	out, err := golang(ctx, runtime.GOARCH, "list", "-deps", "eni0")
	if err != nil {
		return err
	}
	packages := strings.Fields(out)
	l := figure{what: "packages", ours: fmt.Sprint(len(packages)), want: "no net", met: met(!slices.Contains(packages, "net"))}
	l.print()
	return nil
}

// sdkBinary builds the program on the SDK into dir, and shows its size beside eni0's. If it can't
// be built (it wants modules that eni0 does not), the lines beside it are left out.
func sdkBinary(ctx context.Context, dir string) {
	ours, err := os.Stat(filepath.Join(dir, "eni0"))
	if err == nil {
		err = kit.SDK(ctx, filepath.Join(dir, "sdk"))
	}
	if err != nil {
		log.Printf("bench/sdk: %v", err)
		return
	}
	theirs, err := os.Stat(filepath.Join(dir, "sdk"))
	if err != nil {
		log.Print(err)
		return
	}
	figure{what: "binary, beside the SDK's", ours: fmt.Sprintf("%d bytes", ours.Size()),
		other: fmt.Sprintf("%-18s%10d", "sdk", theirs.Size()),
		ratio: fmt.Sprintf("%.2f", float64(ours.Size())/float64(theirs.Size()))}.print()
}

// build builds eni0 as it is shipped, and returns its size in bytes.
func build(ctx context.Context, arch, binary string) (int64, error) {
	// Without -buildvcs=false the build fails in a clone that belongs to another user.
	_, err := golang(ctx, arch, "build", "-trimpath", "-ldflags=-s -w", "-buildvcs=false", "-o", binary, "eni0")
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// golang runs the go command, and returns what it says.
func golang(ctx context.Context, arch string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return string(out), nil
}

// installPrograms puts beside eni0 what else is to be found before the host's: a systemctl that says no,
// and never asks the host's systemd. It is also where the other sides have their files.
func installPrograms(dir string) error {
	no, err := exec.LookPath("false")
	if err != nil {
		return err
	}
	if err := os.Symlink(no, filepath.Join(dir, "systemctl")); err != nil {
		return err
	}
	return kit.Scripts(scripts, dir)
}
