package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A meddler changes links at random while eni0 is at work: it makes, renames and deletes links of
// its own, plugs ENIs in, and renames ENIs, takes them down, and moves them to another namespace
// and back.
type meddler struct {
	*trial
	dice    *rand.Rand
	pause   time.Duration  // between two changes, at most
	changes []func() error // what it does
	changed int            // how many changes the kernel has carried out
	made    int            // links of its own, and
	given   map[int]string // the names of its own links, which are no ENIs: index -> name
	away    map[int]bool   // the ENIs that are in the other namespace, by device index
	touched map[int]bool   // the ENIs that it has renamed or moved, by device index
	down    map[int]bool   // the ENIs that it has taken down
	plugged int            // how many ENIs it has plugged in
}

// meddledNames are the names that it gives to links of its own: those that eni0 gives, and others.
var meddledNames = []string{"eth0", "eth1", "eth2", "eth7", "eni0-eth0", "eni0-eth1", "br0"}

// newMeddler draws what it does, and how often.
func newMeddler(t *trial, dice *rand.Rand) *meddler {
	m := &meddler{trial: t, dice: dice, given: map[int]string{},
		away: map[int]bool{}, touched: map[int]bool{}, down: map[int]bool{}}
	m.pause = []time.Duration{1, 50 * time.Microsecond, time.Millisecond}[dice.IntN(3)]
	// To make or delete a link takes the kernel milliseconds, to rename one a hundredth of that.
	m.changes = append(slices.Repeat([]func() error{m.rename}, 16), m.create, m.delete)
	if dice.IntN(2) == 0 {
		few := slices.Repeat([]func() error{m.renameENI, m.setENI}, 2)
		m.changes = slices.Concat(m.changes, few, []func() error{m.plug, m.moveENI, m.returnENI})
	}
	return m
}

// run makes changes until done is closed.
func (m *meddler) run(done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-time.After(time.Duration(m.dice.Int64N(int64(m.pause)))):
		}
		switch err := m.changes[m.dice.IntN(len(m.changes))](); {
		case err == nil:
			m.changed++
		case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENODEV), errors.Is(err, errNothing):
			// the name is taken; eni0 has renamed the link; there is none to be changed
		default:
			return err
		}
	}
}

// errNothing means that there is no link that a change could be about.
var errNothing = errors.New("nothing to change")

// name draws a name.
func (m *meddler) name() string { return meddledNames[m.dice.IntN(len(meddledNames))] }

// own draws one of the links that are its own.
func (m *meddler) own() (index int, err error) {
	if len(m.given) == 0 {
		return 0, errNothing
	}
	all := slices.Sorted(maps.Keys(m.given)) // in an order, so that a seed says which
	return all[m.dice.IntN(len(all))], nil
}

// create makes a link that is no ENI.
func (m *meddler) create() error {
	if len(m.given) > 3 {
		return errNothing
	}
	name := m.name()
	m.made++
	mac := [6]byte{2, 0, 0, 1, byte(m.made >> 8), byte(m.made)}
	if err := ec2.AddBridge(name, mac); err != nil {
		return err
	}
	l, err := linkOf(mac) // not by its name: eni0 may have swapped that
	if err == nil {
		m.given[l.Index] = name
	}
	return err
}

// rename renames a link of its own.
func (m *meddler) rename() error {
	index, err := m.own()
	if err != nil {
		return err
	}
	name := m.name()
	if err := ec2.Rename(index, name); err != nil {
		return err
	}
	m.given[index] = name
	return nil
}

// delete deletes a link of its own.
func (m *meddler) delete() error {
	index, err := m.own()
	if err != nil {
		return err
	}
	err = deleteIndex(index)
	if err == nil {
		delete(m.given, index)
	}
	return err
}

// deleteIndex deletes a link by its index: swap may have given it another name.
func deleteIndex(index int) error {
	l, err := net.InterfaceByIndex(index)
	if err != nil {
		return err
	}
	return ec2.Delete(l.Name)
}

// plug plugs an ENI in, with one of the names that matter most.
func (m *meddler) plug() error {
	if m.plugged == 3 {
		return errNothing
	}
	name := fmt.Sprintf("eth%d", m.dice.IntN(3))
	mac := [6]byte{0x0a, 0xff, 0, 0, 1, byte(m.plugged)}
	if err := ec2.AddVeth(name, mac, fmt.Sprintf("peer%d", m.plugged), -1); err != nil {
		return err
	}
	m.plugged++
	return nil
}

// eni draws an ENI that is here.
func (m *meddler) eni() (device int, l net.Interface, err error) {
	device = m.dice.IntN(len(m.order))
	l, err = m.find(device)
	return device, l, err
}

// find finds an ENI.
func (t *trial) find(device int) (net.Interface, error) { return linkOf(t.MAC(device)) }

// linkOf finds a link by its address.
func linkOf(mac [6]byte) (net.Interface, error) {
	links, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, err
	}
	for _, l := range links {
		if bytes.Equal(l.HardwareAddr, mac[:]) {
			return l, nil
		}
	}
	return net.Interface{}, unix.ENODEV
}

// renameENI renames an ENI.
func (m *meddler) renameENI() error {
	device, l, err := m.eni()
	if err == nil {
		err = ec2.Rename(l.Index, fmt.Sprintf("eth%d", m.dice.IntN(len(m.order)+2)))
	}
	if err == nil {
		m.touched[device] = true
	}
	return err
}

// setENI takes an ENI down, or up.
func (m *meddler) setENI() error {
	device, l, err := m.eni()
	up := m.dice.IntN(2) == 0
	if err == nil {
		err = ec2.SetUp(l.Name, up)
	}
	if err == nil {
		m.down[device] = m.down[device] || !up
	}
	return err
}

// moveENI moves an ENI to another namespace.
func (m *meddler) moveENI() error {
	device, l, err := m.eni()
	if err == nil {
		err = m.Take(l.Index, awayName(device))
	}
	if err == nil {
		m.touched[device], m.away[device], m.down[device] = true, true, true
	}
	return err
}

// returnENI moves an ENI back.
func (m *meddler) returnENI() error {
	device := m.dice.IntN(len(m.order))
	if !m.away[device] {
		return errNothing
	}
	if err := m.Return(awayName(device)); err != nil {
		return err
	}
	m.away[device] = false
	return m.callKernelName(device, m.dice.IntN(len(m.order)+2))
}

// awayName is the name of an ENI in the other namespace.
func awayName(device int) string { return fmt.Sprintf("away%d", device) }

// callKernelName names an ENI ethN.
func (m *meddler) callKernelName(device, n int) error {
	l, err := m.find(device)
	if err != nil {
		return err
	}
	return ec2.Rename(l.Index, fmt.Sprintf("eth%d", n))
}

// tidy deletes what it has made, moves back what it has moved, and gives that the name of an ENI.
func (m *meddler) tidy() error {
	var errs []error
	for index := range m.given {
		errs = append(errs, deleteIndex(index))
	}
	for device, away := range m.away {
		if away {
			errs = append(errs, m.Return(awayName(device)))
		}
		errs = append(errs, m.callKernelName(device, 20+device))
	}
	return errors.Join(errs...)
}

// tryBeside is one run of eni0 beside a meddler, and one after it. It says something only if that
// did not come out right, and returns the exit code of the program.
func tryBeside(ctx context.Context, seed, enis string) int {
	order, stage, dice, err := drawAgain(seed, enis)
	if err != nil {
		log.Print(err)
		return 1
	}
	var out bytes.Buffer
	return onInstance(formatOrder(order), stage, &out, func(t *trial) (bool, error) {
		if !t.early() {
			t.manager.Hold() // it follows nobody
		}
		m := newMeddler(t, dice)
		code, faults, err := m.beside(ctx)
		if err != nil || len(faults) > 0 {
			fmt.Printf("%s\n%s\n", out.String(), strings.Join(faults, "\n"))
		}
		with := fmt.Sprintf("code %d", code)
		if strings.Contains(out.String(), "looking again") {
			with += ", planned again"
		}
		if m.changed >= 5 {
			with += ", 5 changes or more"
		}
		fmt.Println(m.took.Microseconds(), with) // for the tally
		return len(faults) == 0, err
	})
}

// beside runs eni0 beside the meddler, and looks at what is left; then without it.
func (m *meddler) beside(ctx context.Context) (code int, faults []string, err error) {
	before, err := ec2.Look()
	if err != nil {
		return 0, nil, err
	}
	args, err := m.command()
	if err != nil {
		return 0, nil, err
	}
	for range 2 {
		if err := m.create(); err != nil && !errors.Is(err, unix.EEXIST) {
			return 0, nil, err
		}
	}
	done, ended := make(chan struct{}), make(chan error)
	go func() { ended <- m.run(done) }()
	begin := time.Now()
	code, err = m.eni0(ctx, args)
	m.took = time.Since(begin)
	close(done)
	if err := errors.Join(err, <-ended); err != nil {
		return code, nil, err
	}
	after, err := ec2.Look()
	if err != nil {
		return code, nil, err
	}
	for _, f := range m.judgeBeside(args, code, before, after) {
		faults = append(faults, fmt.Sprintf("eni0 %s: code %d: %s", args, code, f))
	}
	if err := m.tidy(); err != nil {
		return code, faults, err
	}
	more, err := m.finish(ctx)
	return code, append(faults, more...), err
}

// command draws what eni0 is to do. IMDS is on the loopback link half of the time, where changes of
// links do not keep eni0 from it.
func (m *meddler) command() (string, error) {
	switch m.dice.IntN(4) {
	case 0:
		other := max(1, slices.Index(m.order, 0))
		return fmt.Sprintf("swap -restart= -timeout=1s eth0 eth%d", other), nil
	case 1:
		return "fix -names -restart= -timeout=1s", nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go http.Serve(l, m.Metadata()) // until this process ends
	return "fix -names -restart= -timeout=1s -imds http://" + l.Addr().String(), nil
}

// judgeBeside returns what is not as it has to be right after a run.
func (m *meddler) judgeBeside(args string, code int, before, after ec2.Snapshot) (faults []string) {
	fault := func(format string, a ...any) { faults = append(faults, fmt.Sprintf(format, a...)) }
	isFix := strings.HasPrefix(args, "fix")
	for index, name := range m.given {
		l, err := net.InterfaceByIndex(index)
		if err == nil && !isFix && strings.Contains(args, l.Name) {
			continue // swap is for links of any kind
		}
		if err != nil || l.Name != name {
			fault("a link that is no ENI was called %s, and is now %v (%v)", name, l, err)
		}
	}
	for mac, name := range after.Names {
		if strings.HasPrefix(mac, "0a:ff:") && strings.HasPrefix(name, "eni0-") && code != 12 {
			fault("%s is left with the name %s", mac, name)
		}
	}
	for device := range m.order {
		was, is := m.nameOf(before, device), m.nameOf(after, device)
		switch {
		case m.touched[device]:
		case is == "":
			fault("device %d, which was %s, is gone", device, was)
		case code == 1 && is != was:
			fault("device %d was %s and is %s", device, was, is)
		case isFix && code != 1 && code != 12 && device == 0 && is != "eth0":
			fault("the primary is called %s", is)
		}
	}
	if !slices.Contains([]int{0, 1, 11, 12}, code) {
		fault("no code of %s", args)
	}
	return faults
}

// finish has the next fix put the names right, with nobody beside it.
func (m *meddler) finish(ctx context.Context) (faults []string, err error) {
	for at := range m.order { // so that IMDS can be asked, if nothing else is left
		l, err := m.find(at)
		if err == nil && m.down[at] {
			err = ec2.SetUp(l.Name, true)
		}
		if err != nil {
			return nil, err
		}
	}
	code, err := m.eni0(ctx, "fix -names -restart= -timeout=10s")
	if err != nil {
		return nil, err
	}
	after, err := ec2.Look()
	if name := m.nameOf(after, 0); name != "eth0" || code != 0 && code != 11 {
		faults = append(faults, fmt.Sprintf("the next fix: code %d, and the primary is called %s", code, name))
	}
	for mac, name := range after.Names {
		if strings.HasPrefix(name, "eni0-") {
			faults = append(faults, fmt.Sprintf("%s is called %s after the next fix", mac, name))
		}
	}
	return faults, err
}
