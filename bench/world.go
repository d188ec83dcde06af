package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"eni0/testbed/ec2"
)

// A world is an instance with two ENIs, in this process's namespaces.
type world struct {
	*ec2.Instance
	manager *ec2.Manager // nil: no network is configured
	dir     string       // where the files of the other sides are
	noSys   error        // why /sys does not show the links of this namespace
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
	return errors.Join(managed(dir, n), bare(dir, n))
}

// managed prints the figures of an instance whose network is configured.
func managed(dir string, n int) error {
	w, err := newWorld(dir, 0, 1)
	if err != nil {
		return err
	}
	if w.manager, err = w.Manage(); err != nil {
		return err
	}
	err = all(
		w.tellApart, // which prints nothing
		func() error { return w.compare(n, w.checks()) },
		w.weigh,
		w.countCalls,
		func() error { return w.compare(n, w.fixes()) },
		func() error { return w.compare(n, w.swaps()) },
	)
	return errors.Join(err, w.manager.Close(), w.Close())
}

// bare prints the figures of an instance whose network nobody has configured yet.
func bare(dir string, n int) error {
	w, err := newWorld(dir, 1, 0)
	if err != nil {
		return err
	}
	err = all(
		w.putRight, // which prints nothing
		func() error { return w.compare(n, w.borrowers()) },
		func() error { return w.lateness(max(n/20, 3)) },
	)
	return errors.Join(err, w.Close())
}

// all prints figures until one of them fails. What was left out is told at the end.
func all(figures ...func() error) error {
	var left error
	for _, show := range figures {
		switch err := show(); {
		case errors.Is(err, errLeftOut):
			left = err
		case err != nil:
			return err
		}
	}
	return left
}

// newWorld launches the instance, its ENIs in that order.
func newWorld(dir string, order ...int) (*world, error) {
	i, err := ec2.Launch(order)
	if err != nil {
		return nil, err
	}
	w := &world{Instance: i, dir: dir, noSys: ec2.MountSys()}
	right := names{"eth0", "eth1"}
	return w, errors.Join(w.writeMap(right), w.writeMap(right.swapped()))
}

// writeMap writes a map for ifrename: iftab(5).
func (w *world) writeMap(n names) error {
	var b bytes.Buffer
	for device, name := range n {
		fmt.Fprintf(&b, "%s mac %s\n", name, w.Hex(device))
	}
	return os.WriteFile(w.mapFile(n), b.Bytes(), 0o644)
}

// mapFile is where ifrename finds that the ENIs are to be called n.
func (w *world) mapFile(n names) string { return filepath.Join(w.dir, "iftab-"+n[0]) }

// look asks the kernel what the ENIs are called.
func (w *world) look() (n names, err error) {
	all, err := ec2.Names()
	for device := range n {
		n[device] = all[w.Hex(device)]
	}
	return n, err
}

// become makes the world right or wrong, with the default route where the manager has it then.
func (w *world) become(wrong bool) error {
	n, err := w.look()
	if err != nil {
		return err
	}
	if (n[0] != "eth0") != wrong {
		if _, err := w.once(w.quietSwap()); err != nil {
			return err
		}
	}
	return w.manager.Apply() // a swap before may have left the default route where it was
}

// tellApart makes sure that eni0 and the other sides know a wrong world from a right one.
func (w *world) tellApart() error {
	for _, wrong := range []bool{true, false} {
		if err := w.become(wrong); err != nil {
			return err
		}
		check, script, sdk := w.check(), w.script(), w.sdkCheck()
		if wrong {
			check.code, script.says, sdk.says = 10, "wrong\n", "wrong\n"
		}
		for _, s := range []side{check, script, sdk} {
			if s.lacks() != "" {
				continue // its lines will say so
			}
			if _, err := w.once(s); err != nil {
				return err
			}
		}
	}
	return nil
}
