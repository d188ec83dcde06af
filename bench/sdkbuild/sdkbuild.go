// Package sdkbuild builds the program of ../sdk, which is a module of its own.
package sdkbuild

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds the program as eni0 is shipped, static and stripped, and writes it to a file.
func Build(ctx context.Context, file string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "eni0").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "bench", "sdk")
	// Without -buildvcs=false the build fails in a clone that belongs to another user.
	cmd := exec.CommandContext(ctx, "go", "build", "-C", dir, "-trimpath", "-ldflags=-s -w",
		"-buildvcs=false", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
