package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// checkScript is the other side of `eni0 check`.
//
//go:embed check.sh
var checkScript []byte

// binaries builds eni0 into dir, and shows what the binaries are like. The last one built is for this
// machine.
func binaries(ctx context.Context, dir string) error {
	archs := slices.DeleteFunc([]string{"amd64", "arm64"}, func(a string) bool { return a == runtime.GOARCH })
	for _, arch := range append(archs, runtime.GOARCH) {
		size, err := build(ctx, dir, arch)
		if err != nil {
			return err
		}
		l := line{what: "binary, linux/" + arch, ours: fmt.Sprintf("%d bytes", size)}
		if arch == "amd64" { // the want is of this one
			l.judge("at most 2200000", size <= 2200000)
		}
		l.print()
	}
	packages, err := run1(ctx, goCommand(ctx, runtime.GOARCH, "list", "-deps", "eni0"))
	if err != nil {
		return err
	}
	l := line{what: "its packages", ours: fmt.Sprint(len(packages))}
	l.judge("no net", !slices.Contains(packages, "net"))
	l.print()
	return nil
}
