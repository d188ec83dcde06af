// Package kit is what the two programs of bench share: how the other sides are put where they are
// found, and the median.
package kit

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// SDK builds the program of ../sdk, a module of its own, as eni0 is shipped, static and stripped, and writes it to a file.
func SDK(ctx context.Context, file string) error {
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

// Scripts writes embedded scripts into dir.
func Scripts(scripts embed.FS, dir string) error {
	files, err := scripts.ReadDir(".")
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := scripts.ReadFile(f.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), b, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Median is the middle of the times, 0 for none.
func Median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
