package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A world is an instance with two ENIs and a network manager, in this process's namespaces.
type world struct {
	*ec2.Instance
	manager *ec2.Manager
	dir     string // where the files of the other sides are
	noSys   error  // why /sys does not show the links of this namespace
}

// names are what the ENIs are called, by device index: {"eth0", "eth1"} is right.
type names [2]string

// swapped is n after a swap.
func (n names) swapped() names { return names{n[1], n[0]} }

// measure prints the figures that are had inside.
func measure(dir, rounds string) error {
	n, err := strconv.Atoi(rounds)
	if err != nil {
		return err
	}
	w, err := newWorld(dir)
	if err != nil {
		return err
	}
	var left error
	for _, figures := range []func() error{
		w.tellApart, // which are none
		func() error { return w.compare(n, w.checks()) },
		w.weigh,
		func() error { return w.compare(n, w.swaps()) },
	} {
		switch err := figures(); {
		case errors.Is(err, errLeftOut):
			left = err
		case err != nil:
			return err
		}
	}
	return left // what was launched ends with this process, and sooner than it could be closed
}

// newWorld launches the instance, in the right order, and starts its network manager.
func newWorld(dir string) (*world, error) {
	i, err := ec2.Launch([]int{0, 1})
	if err != nil {
		return nil, err
	}
	m, err := i.Manage()
	if err != nil {
		return nil, err
	}
	w := &world{Instance: i, manager: m, dir: dir}
	// A sysfs shows the links of the namespace that it was mounted in. The mount stays in ours: what
	// a user namespace mounts does not propagate (mount_namespaces(7)).
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	w.noSys = os.NewSyscallError("mount /sys", unix.Mount("sysfs", "/sys", "sysfs", flags, ""))
	right := names{"eth0", "eth1"}
	return w, errors.Join(w.writeMap(right), w.writeMap(right.swapped()))
}

// writeMap writes a map for ifrename: iftab(5).
func (w *world) writeMap(n names) error {
	var b bytes.Buffer
	for device, name := range n {
		mac := w.MAC(device)
		fmt.Fprintf(&b, "%s mac %s\n", name, net.HardwareAddr(mac[:]))
	}
	return os.WriteFile(w.mapFile(n), b.Bytes(), 0o644)
}

// mapFile is where ifrename finds that the ENIs are to be called n.
func (w *world) mapFile(n names) string { return filepath.Join(w.dir, "iftab-"+n[0]) }

// look asks the kernel what the ENIs are called.
func (w *world) look() (n names, err error) {
	links, err := net.Interfaces()
	for _, l := range links {
		for device := range n {
			if mac := w.MAC(device); bytes.Equal(l.HardwareAddr, mac[:]) {
				n[device] = l.Name
			}
		}
	}
	return n, err
}

// become makes the world right or wrong, with the default route where the manager has it then.
func (w *world) become(wrong bool) error {
	n, err := w.look()
	if err != nil || (n[0] != "eth0") == wrong {
		return err
	}
	if _, err := w.once(w.quietSwap()); err != nil {
		return err
	}
	return w.manager.Apply()
}

// tellApart makes sure that eni0 and the script know a wrong world from a right one.
func (w *world) tellApart() error {
	for _, wrong := range []bool{true, false} {
		if err := w.become(wrong); err != nil {
			return err
		}
		check, script := w.check(), w.script()
		if wrong {
			check.code, script.says = 10, "wrong\n"
		}
		if _, err := w.once(check); err != nil {
			return err
		}
		if script.lacks() != "" {
			continue // its lines will say so
		}
		if _, err := w.once(script); err != nil {
			return err
		}
	}
	return nil
}
