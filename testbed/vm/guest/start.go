package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The program under test, in the initramfs and on the disk.
const eni0 = "/usr/sbin/eni0"

// start is the first process of an initramfs: the kernel passes it what stands after "--" on its
// command line, and it passes that on.
func start() error {
	modules, err := filepath.Glob("/modules/*") // numbered in the order they want
	if err != nil {
		return err
	}
	for _, file := range modules {
		if err := load(file); err != nil {
			return err
		}
	}
	if len(os.Args) == 2 && os.Args[1] == "live" {
		return unmanaged()
	}
	if _, err := os.Stat(eni0); err == nil {
		return become(eni0)
	}
	if err := enter("/dev/vda"); err != nil {
		return err
	}
	return become("/usr/lib/systemd/systemd")
}

// load loads a module, packed or not: insmod(8), which a bare initramfs does not have.
func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if strings.HasSuffix(file, ".xz") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE // Linux 5.17 and newer unpack it themselves
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil {
		return fmt.Errorf("load %s: %w", file, err)
	}
	return nil
}

// enter makes the file system on a disk the root, as switch_root(8) does. The disk is probed a
// little after its driver was loaded.
func enter(disk string) error {
	if err := mount("devtmpfs", "/dev"); err != nil {
		return err
	}
	for range 100 {
		if _, err := os.Stat(disk); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	const root = "/sysroot"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	// Read-only until systemd-remount-fs.service, as on images of EC2.
	if err := unix.Mount(disk, root, "ext4", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	if err := unix.Mount("/dev", root+"/dev", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move /dev: %w", err)
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	return unix.Chroot(".")
}

// become runs a program in this one's place, with its arguments.
func become(program string) error {
	err := unix.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
	return fmt.Errorf("exec %s: %w", program, err)
}
