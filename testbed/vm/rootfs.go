package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// This file makes the roots of a run: Debian's, with eni0 installed as docs/ami.md says it, the
// reporter, and what a setup wants. They are made anew for each run, so that nothing of an older
// eni0 can be in them.

// overlay is what roots have beside Debian's packages and eni0: overlay/every is in all of them,
// the other folders are layers, for setups to choose from.
//
//go:embed all:overlay
var overlay embed.FS

// masked are units that would only make the boot longer: what waits for a person, for an hour or
// for a clock.
var masked = []string{"getty@tty1.service", "serial-getty@ttyS0.service", "console-getty.service", "e2scrub_reap.service",
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
	"systemd-hwdb-update.service", "systemd-update-utmp.service",
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
	"/etc/initramfs-tools/hooks/eni0":                  "initramfs-tools/hooks/eni0",
	"/etc/initramfs-tools/scripts/init-premount/eni0":  "initramfs-tools/scripts/init-premount/eni0",
	"/usr/share/doc/eni0/docs/fleet.md":                "docs/fleet.md",
	"/usr/share/doc/eni0/docs/incident.md":             "docs/incident.md",
}

// programs are what is compiled for each run, by where it goes.
var programs = map[string]string{eni0Path: "eni0", guestPath: "eni0/testbed/vm/guest"}

// A tree is a root of this run: a copy of a base, with eni0 in it as a user would install it.
type tree struct {
	*root
	dir string // where it is
}

// compile compiles eni0, as it is shipped, and the guest's program, into a folder. Both are static:
// in a bare initramfs there is nothing to link with.
func compile(ctx context.Context, dir, arch string) error {
	env := []string{"CGO_ENABLED=0", "GOARCH=" + cmp.Or(arch, "amd64")}
	for path, name := range programs {
		// Without -buildvcs=false the build fails in a clone that belongs to another user.
		build := []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + path, name}
		if err := execute(ctx, env, build...); err != nil {
			return err
		}
	}
	return nil
}

// module returns the folder of the module that is tested.
func module(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
}

// plant makes the tree of a base, with the programs in a folder, or with the one for the guest and a
// package of eni0.
func (b *base) plant(ctx context.Context, dir, compiled, deb string) (*tree, error) {
	t := &tree{b.root, dir}
	if err := execute(ctx, nil, "cp", "-a", "--reflink=auto", b.dir, dir); err != nil {
		return nil, err
	}
	for path := range programs {
		if err := execute(ctx, nil, "cp", compiled+path, dir+path); err != nil {
			return nil, err
		}
	}
	if deb == "" {
		return t, t.install(ctx)
	}
	const file = "/tmp/eni0.deb"
	if err := execute(ctx, nil, "cp", deb, dir+file); err != nil {
		return nil, err
	}
	return t, errors.Join(t.execute(ctx, "dpkg", "--install", file), os.Remove(dir+file))
}

// install copies the product's files into the tree.
func (t *tree) install(ctx context.Context) error {
	module, err := module(ctx)
	if err != nil {
		return err
	}
	for to, from := range installed {
		b, err := os.ReadFile(filepath.Join(module, from))
		if err != nil {
			return err
		}
		is, err := os.Stat(filepath.Join(module, from))
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if is.Mode()&0o100 != 0 {
			mode = 0o755
		}
		if err := t.write(to, b, mode); err != nil {
			return err
		}
	}
	return nil
}

// makeDisk makes a disk of the tree as a setup wants it. What it works on is a copy whose files are
// the tree's own (hard links), so nothing may write into them.
func (t *tree) makeDisk(ctx context.Context, s *setup, disk string) error {
	own := &tree{t.root, disk + ".root"}
	if err := execute(ctx, nil, "cp", "-al", t.dir, own.dir); err != nil {
		return err
	}
	if err := own.configure(s); err != nil {
		return err
	}
	if err := own.enable(ctx, s); err != nil {
		return err
	}
	if err := own.image(ctx, disk); err != nil {
		return err
	}
	return os.RemoveAll(own.dir)
}

// configure writes the setup's layers, and what a freshly installed system lacks. Without a
// machine-id systemd would take each boot for the first, and write units and users.
func (t *tree) configure(s *setup) error {
	for _, layer := range append([]string{"every"}, s.layers...) {
		if err := t.lay(layer); err != nil {
			return err
		}
		for _, c := range changes[layer] {
			if err := t.change(c); err != nil {
				return err
			}
		}
	}
	files := map[string]string{"/etc/machine-id": strings.Repeat("0a", 16), "/etc/hostname": "vm",
		"/etc/fstab": "/dev/vda / ext4 defaults 0 0"}
	if !slices.Contains(s.units, cloudInitUnit) {
		files["/etc/cloud/cloud-init.disabled"] = "" // its generator looks for that
	}
	for path, text := range files {
		if err := t.write(path, []byte(text+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// lay writes one layer of the overlay. NetworkManager reads no keyfile that others can read.
func (t *tree) lay(layer string) error {
	from := "overlay/" + layer
	return fs.WalkDir(overlay, from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := overlay.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(path, ".nmconnection") {
			mode = 0o600
		}
		return t.write(strings.TrimPrefix(path, from), b, mode)
	})
}

// change changes a file of a package.
func (t *tree) change(c change) error {
	b, err := os.ReadFile(filepath.Join(t.dir, c.path))
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(c.from)) {
		return fmt.Errorf("%s: there is no %q", c.path, c.from)
	}
	return t.write(c.path, bytes.ReplaceAll(b, []byte(c.from), []byte(c.to)), 0o644)
}

// enable enables the units, as a user does, and masks what is not wanted.
func (t *tree) enable(ctx context.Context, s *setup) error {
	for _, order := range [][]string{
		append([]string{"enable", "eni0.service", "vm-report.service"}, s.units...),
		{"set-default", "multi-user.target"},
		append(append([]string{"mask"}, masked...), s.idle()...),
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
	return execute(ctx, nil, "mkfs.ext4", "-q", "-F", "-d", t.dir, file, t.size)
}

// write writes a file of the tree, by its path in the guest. One that is there is not written into,
// for it may be that of other trees too.
func (t *tree) write(path string, text []byte, mode fs.FileMode) error {
	path = filepath.Join(t.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
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
