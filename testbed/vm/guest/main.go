// Guest runs inside a virtual machine. By the name it was started under it is the first process of an
// initramfs, or it reports what has become of the links.
//
//	/init              loads the drivers, then eni0 takes its place if the initramfs has it,
//	                   else the root on the disk is mounted and its init takes over
//	/init live         configures the links by name, has eni0 put the names right, twice, and reports
//	vm-guest before    notes the links before the network is configured
//	vm-guest report    waits until it is, reports, and ends the machine
//	anything else      reports at once, and ends the machine: a command at the end of a chain
//
// It is one static program without a shell, for a bare initramfs has none. The report goes to the
// second serial line as one JSON object.
package main

import (
	"fmt"
	"os"

	"eni0/testbed/vm/guestreport"

	"golang.org/x/sys/unix"
)

func main() {
	var err error
	switch {
	case os.Args[0] == "/init":
		err = start()
	case len(os.Args) == 2 && os.Args[1] == "before":
		err = before()
	case len(os.Args) == 2 && os.Args[1] == "report":
		err = report()
	default:
		err = bare()
	}
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "vm-guest: %v\n", err)
	if os.Getpid() == 1 {
		end() // what PID 1 leaves unsaid the console has
	}
	os.Exit(1)
}

// bare reports where nobody has mounted anything.
func bare() error {
	r := guestreport.Report{Teller: os.Args[0]}
	_, err := os.Stat("/proc/self")
	r.Bare = os.IsNotExist(err)
	if r.Bare {
		if err := mount("proc", "/proc"); err != nil {
			return err
		}
	}
	if err := mount("devtmpfs", "/dev"); err != nil {
		return err
	}
	if r.Settled, err = guestreport.Look(); err != nil {
		return err
	}
	return tell(&r)
}

// mount mounts a file system that needs no device, where it always is.
func mount(kind, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, at, kind, 0, ""); err != nil && err != unix.EBUSY { // EBUSY: it is mounted
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return nil
}

// end makes the machine end, with all that was written on its disk.
func end() {
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
