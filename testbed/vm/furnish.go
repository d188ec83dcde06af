package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// This file makes the root of a run: Debian's, with eni0 installed as the README says it, a network
// configured by name as on EC2, and the reporter. It is made anew for each run, so that nothing of an
// older eni0 can be in it.

// overlay is what the root has beside Debian's packages and eni0.
//
//go:embed all:root
var overlay embed.FS

// masked are units that would only make the boot longer: what waits for a person, for an hour or for a clock.
var masked = []string{"getty@tty1.service", "serial-getty@ttyS0.service", "console-getty.service", "e2scrub_reap.service",
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
	"systemd-networkd-wait-online.service", "systemd-hwdb-update.service", "systemd-update-utmp.service",
	"systemd-update-utmp-runlevel.service", "systemd-logind.service", "systemd-user-sessions.service",
	"systemd-pstore.service", "systemd-tmpfiles-clean.timer", "ldconfig.service", "systemd-firstboot.service"}

// Where the programs are in the guest.
const (
	eni0Path  = "/usr/sbin/eni0"
	guestPath = "/usr/sbin/vm-guest"
)

// installed are the product's own files, by where they go.
var installed = map[string]string{
	"/usr/lib/systemd/system/eni0.service":             "systemd/eni0.service",
	"/usr/lib/systemd/system/eni0-initrd.service":      "systemd/eni0-initrd.service",
	"/usr/lib/dracut/modules.d/90eni0/module-setup.sh": "dracut/90eni0/module-setup.sh",
}

// A tree is the root of this run: a copy of the base, with eni0 in it as a user would install it.
type tree struct {
	dir    string // the root
	module string // the module that is tested, the folder of its go.mod
}

// plant makes the tree.
func (b *base) plant(ctx context.Context, dir string) (*tree, error) {
	t := &tree{dir: dir}
	if err := execute(ctx, nil, "cp", "-a", "--reflink=auto", b.dir, dir); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, err
	}
	t.module = filepath.Dir(strings.TrimSpace(string(out)))
	for _, step := range []func(context.Context) error{t.build, t.install, t.configure, t.enable} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// build compiles eni0, as it is shipped, and the guest's program. Both are static: in a bare initramfs
// there is nothing to link with.
func (t *tree) build(ctx context.Context) error {
	for path, name := range map[string]string{eni0Path: "eni0", guestPath: "eni0/testbed/vm/guest"} {
		// Without -buildvcs=false the build fails in a clone that belongs to another user.
		build := []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", t.dir + path, name}
		if err := execute(ctx, []string{"CGO_ENABLED=0"}, build...); err != nil {
			return err
		}
	}
	return nil
}

// install copies the product's files into the tree.
func (t *tree) install(context.Context) error {
	for to, from := range installed {
		b, err := os.ReadFile(filepath.Join(t.module, from))
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(from, ".sh") {
			mode = 0o755
		}
		if err := t.write(to, b, mode); err != nil {
			return err
		}
	}
	return nil
}

// configure writes the overlay, and what a freshly installed system lacks. Without a machine-id systemd
// would take each boot for the first, and write units and users.
func (t *tree) configure(context.Context) error {
	err := fs.WalkDir(overlay, "root", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := overlay.ReadFile(path)
		if err != nil {
			return err
		}
		return t.write(strings.TrimPrefix(path, "root"), b, 0o644)
	})
	if err != nil {
		return err
	}
	for path, text := range map[string]string{"/etc/machine-id": strings.Repeat("0a", 16), "/etc/hostname": "vm"} {
		if err := t.write(path, []byte(text+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// enable enables the units, as a user does, and masks what is not wanted.
func (t *tree) enable(ctx context.Context) error {
	for _, order := range [][]string{
		{"enable", "eni0.service", "vm-report.service", "systemd-networkd.service"},
		{"set-default", "multi-user.target"},
		append([]string{"mask"}, masked...),
	} {
		if err := t.execute(ctx, append([]string{"systemctl", "--quiet"}, order...)...); err != nil {
			return err
		}
	}
	return nil
}

// image makes a file system of the tree, in a file: without mounting, and mostly a hole.
func (t *tree) image(ctx context.Context, file string) error {
	boot := filepath.Join(t.dir, "boot") // the kernels are not read from there
	if err := os.RemoveAll(boot); err != nil {
		return err
	}
	if err := os.Mkdir(boot, 0o755); err != nil {
		return err
	}
	return execute(ctx, nil, "mkfs.ext4", "-q", "-F", "-d", t.dir, file, "640M")
}

// write writes a file of the tree, by its path in the guest.
func (t *tree) write(path string, text []byte, mode fs.FileMode) error {
	path = filepath.Join(t.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, mode)
}

// execute runs a program of the tree, with the tree as its root and with a /proc.
func (t *tree) execute(ctx context.Context, args ...string) error {
	enter := []string{"unshare", "--mount", "--pid", "--fork", "--root=" + t.dir, "--mount-proc", "--"}
	return execute(ctx, nil, append(enter, args...)...)
}

// execute runs a program, and returns what it printed where it went wrong.
func execute(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// sorted returns the keys of a set.
func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
