package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// This file makes what a kernel starts from. Where systemd in the initramfs is not what a case is
// about, it is a small one of our own: that boots in a third of the time.

// The kinds of initramfs that a boot can start from.
const (
	small   = "small"   // ours: loads the disk's driver and mounts the root, where udev loads the NIC's
	ready   = "ready"   // the same, but it loads the NIC's too
	alone   = "alone"   // ours, and there is nothing else: eni0 and a reporter, no disk
	dracut  = "dracut"  // made by dracut, with the module 90eni0
	without = "without" // made by dracut without that module
	tools   = "tools"   // made by initramfs-tools, with its hook and script
)

// initrd makes an initramfs of that kind for a kernel.
func (t *tree) initrd(ctx context.Context, kind, release, file string) error {
	switch kind {
	case small:
		return t.pack(file, release, []string{"virtio_pci", "virtio_blk"}, nil)
	case ready:
		return t.pack(file, release, []string{"virtio_pci", "virtio_blk", "virtio_net"}, nil)
	case alone:
		return t.pack(file, release, []string{"virtio_pci", "virtio_net"}, []string{eni0Path})
	case dracut:
		return t.dracut(ctx, file, release, "", "virtio_pci virtio_blk")
	case tools:
		return t.fromTree(ctx, file, "mkinitramfs", "-o", madeIn, release)
	case without:
		return t.dracut(ctx, file, release, "eni0", "virtio_pci virtio_blk virtio_net")
	}
	return fmt.Errorf("no initramfs %q", kind)
}

// dracut makes an image as a user would, but a light one: modules that serve no virtual machine are
// left out, and with them the drivers. So the NIC's comes with 90eni0 or not at all.
func (t *tree) dracut(ctx context.Context, file, release, omit, drivers string) error {
	// All that finds a root which is not on a plain disk.
	const heavy = "kernel-modules kernel-modules-extra nvdimm qemu crypt dm overlay-root lunmask resume terminfo virtiofs "
	return t.fromTree(ctx, file, "dracut", "--quiet", "--force", "--no-hostonly", "--no-early-microcode", "--no-compress",
		"--tmpdir", "/tmp", "--omit", heavy+omit, "--add-drivers", drivers, madeIn, release)
}

// madeIn is where programs of the tree make an initramfs in it.
const madeIn = "/tmp/initrd"

// fromTree makes an initramfs with a program of the tree.
func (t *tree) fromTree(ctx context.Context, file string, args ...string) error {
	if err := t.execute(ctx, args...); err != nil {
		return err
	}
	made := t.dir + madeIn
	if err := execute(ctx, nil, "cp", made, file); err != nil {
		return err
	}
	return os.Remove(made)
}

// pack makes an initramfs whose first process is the guest's program, with modules and programs of
// the tree.
func (t *tree) pack(file, release string, modules, programs []string) error {
	folder := filepath.Join("/usr/lib/modules", release)
	order, err := t.insmod(folder, modules)
	if err != nil {
		return err
	}
	var a archive
	for _, dir := range []string{"usr", "usr/sbin", "sbin", "modules", "dev"} {
		a.add(dir, fs.ModeDir|0o755, nil)
	}
	for at, module := range order {
		err = a.copy(fmt.Sprintf("modules/%02d-%s", at, filepath.Base(module)), filepath.Join(t.dir, folder, module))
		if err != nil {
			return err
		}
	}
	for _, program := range append(programs, guestPath) {
		if err := a.copy(strings.TrimPrefix(program, "/"), t.dir+program); err != nil {
			return err
		}
	}
	for _, first := range []string{"init", "sbin/init"} {
		a.add(first, fs.ModeSymlink|0o777, []byte(guestPath))
	}
	return os.WriteFile(file, a.bytes(), 0o644)
}

// insmod returns the files of modules and of all that they depend on, in the order they want.
func (t *tree) insmod(folder string, names []string) ([]string, error) {
	dep, err := os.ReadFile(filepath.Join(t.dir, folder, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(t.dir, folder, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	return insmodOrder(string(dep), string(builtin), names)
}

// insmodOrder reads modules.dep, "kernel/a.ko: kernel/b.ko kernel/c.ko" if a needs both and b needs
// c, so that the last has to be loaded first: modules.dep(5). modules.builtin names what is in the
// kernel itself.
func insmodOrder(dep, builtin string, names []string) ([]string, error) {
	needs, file := make(map[string][]string), make(map[string]string)
	for line := range strings.Lines(dep) {
		path, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		needs[path], file[moduleName(path)] = strings.Fields(rest), path
	}
	for _, path := range strings.Fields(builtin) {
		file[moduleName(path)] = "" // nothing to load
	}
	var order []string
	for _, name := range names {
		path, known := file[name]
		if !known {
			return nil, fmt.Errorf("this kernel has no module %s", name)
		}
		deepest := slices.Clone(needs[path])
		slices.Reverse(deepest)
		for _, path := range append(deepest, path) {
			if path != "" && !slices.Contains(order, path) {
				order = append(order, path)
			}
		}
	}
	return order, nil
}

// moduleName is the name of the module in a file: "virtio_net" in
// "kernel/drivers/net/virtio_net.ko.xz".
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// An archive is a cpio archive in the format that the kernel unpacks: cpio(5), "New ASCII Format".
type archive struct {
	b     bytes.Buffer
	files int
}

// add appends a file, a folder, or a link, whose text is where it goes.
func (a *archive) add(name string, mode fs.FileMode, text []byte) {
	a.files++
	kind := uint32(0o100000)
	switch mode.Type() {
	case fs.ModeDir:
		kind = 0o040000
	case fs.ModeSymlink:
		kind = 0o120000
	}
	// ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	fmt.Fprintf(&a.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.files, kind|uint32(mode.Perm()), 0, 0, 1, 0, len(text), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.b.Write(text)
	a.pad()
}

// copy appends a file of this machine, executable.
func (a *archive) copy(name, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	a.add(name, 0o755, text)
	return nil
}

// pad fills up to the next word.
func (a *archive) pad() { a.b.Write(make([]byte, -a.b.Len()&3)) }

// bytes ends the archive and returns it.
func (a *archive) bytes() []byte {
	a.add("TRAILER!!!", 0, nil)
	return a.b.Bytes()
}
