package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// This file is about the machine on which this program runs.

// needs are the programs without which nothing is tried, and where they are: Debian's packages.
var needs = map[string]string{
	"qemu-system-x86_64":  "qemu-system-x86",
	"qemu-system-aarch64": "qemu-system-arm",
	"mmdebstrap":          "mmdebstrap",
	"depmod":              "kmod",
	"mkfs.ext4":           "e2fsprogs",
	"cp":                  "coreutils",
	"unshare":             "util-linux",
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
