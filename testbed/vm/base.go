package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// This file makes what is made once: a root without eni0, and with it the kernels. Whoever wants newer
// kernels deletes the cache.

// recipe is the command that makes the root, but for where: a small Debian 12, whose systemd is that of
// Amazon Linux 2023, with both kernels and dracut. Documentation is left out.
var recipe = []string{"mmdebstrap", "--quiet", "--variant=minbase", "--format=directory",
	"--include=systemd,systemd-sysv,udev,dbus,iproute2,kmod,dracut,linux-image-cloud-amd64,linux-image-6.12-cloud-amd64",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/zoneinfo/*",
	"bookworm"}

// needs are the programs without which nothing is tried, and where they are: Debian's packages.
var needs = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86",
	"mmdebstrap":         "mmdebstrap",
	"mkfs.ext4":          "e2fsprogs",
	"cp":                 "coreutils",
	"unshare":            "util-linux",
}

// lacking says in one line what has to be done before anything can be tried here.
func lacking() error {
	missing := make(map[string]bool)
	for program, in := range needs {
		if _, err := exec.LookPath(program); err != nil {
			missing[in] = true
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("to boot virtual machines: apt-get install %s", strings.Join(sorted(missing), " "))
	}
	if os.Geteuid() != 0 {
		return errors.New("run as root: only root can make a root file system")
	}
	return nil
}

// A base is the root as the recipe makes it. It is not changed by anybody.
type base struct {
	dir string // in the cache
}

// obtain returns the base from the cache, where it makes it if need be. The key is the recipe: whoever
// changes that gets a new one.
func obtain(ctx context.Context, cache string) (*base, error) {
	key := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(recipe, "\n"))))[:12]
	dir := filepath.Join(cache, "root-"+key)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return &base{dir}, nil
	}
	making := dir + ".new" // what broke off is not taken for the whole
	if err := os.RemoveAll(making); err != nil {
		return nil, err
	}
	command := append(recipe[:len(recipe):len(recipe)], making)
	// The kernel packages' hooks obey INITRD: no initramfs is wanted yet.
	if err := execute(ctx, []string{"INITRD=No"}, command...); err != nil {
		return nil, err
	}
	return &base{dir}, os.Rename(making, dir)
}

// lock takes a lock that the kernel frees with the process.
func lock(file string) (unlock func() error, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	return f.Close, nil
}

// kernel returns the release of the kernel whose release begins with v: "6.1.0-56-cloud-amd64" for "6.1".
func (b *base) kernel(v string) (string, error) {
	found, err := filepath.Glob(filepath.Join(b.dir, "boot", "vmlinuz-"+v+".*"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d kernels %s in %s", len(found), v, b.dir)
	}
	return strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-"), nil
}
