package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/netip"
	"slices"

	"eni0/testbed/ec2"
)

// A trial is an instance with a network manager, and eni0 at work in it.
type trial struct {
	*ec2.Instance
	manager *ec2.Manager
	order   []int     // the device index of eth0, eth1, ...
	out     io.Writer // for what eni0 says
}

// onInstance launches an instance in this process's namespace, has fn tell whether all is right in
// it, and returns the program's exit code.
func onInstance(order string, out io.Writer, fn func(*trial) (bool, error)) int {
	t, err := newTrial(order, out)
	if err != nil {
		complain(err)
		return 1
	}
	right, err := fn(t)
	// The instance ends with this process, and sooner than it could be closed.
	if err := errors.Join(err, t.manager.Close()); err != nil {
		log.Print(err)
		return 1
	}
	if !right {
		return 1
	}
	return 0
}

// newTrial launches the instance, and starts its network manager.
func newTrial(order string, out io.Writer) (*trial, error) {
	devices, err := parseOrder(order)
	if err != nil {
		return nil, err
	}
	i, err := ec2.Launch(devices)
	if err != nil {
		return nil, err
	}
	m, err := i.Manage()
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return &trial{i, m, devices, out}, nil
}

// wrong tells whether the ENIs came up in the wrong order.
func (t *trial) wrong() bool { return t.order[0] != 0 }

// A step is one command of a trial, and the exit code that is right for it.
type step struct {
	verb string // check
	want int    // 10
}

// steps are the commands of a trial.
func (t *trial) steps() []step {
	before := 0
	if t.wrong() {
		before = 10 // names are wrong
	}
	return []step{{"check", before}, {"fix", 0}, {"check", 0}}
}

// carryOut runs the steps, and returns what they have made of before, and what is wrong with that.
func (t *trial) carryOut(ctx context.Context, before snapshot) (after snapshot, faults []string, err error) {
	for _, s := range t.steps() {
		fmt.Fprintln(t.out, "\n"+paint(bold, "$ eni0 "+s.verb))
		code, err := t.eni0(ctx, s.verb)
		if err != nil {
			return after, nil, err
		}
		fmt.Fprintln(t.out, paint(dim, fmt.Sprintf("[exit code %d: %s]", code, meaning(code))))
		if code != s.want {
			faults = append(faults, fmt.Sprintf("eni0 %s: exit code %d, want %d", s.verb, code, s.want))
		}
	}
	t.manager.Hold() // now it is not in the middle of something
	after, err = look()
	return after, append(faults, t.judge(before, after)...), err
}

// eni0 runs eni0, and returns its exit code.
func (t *trial) eni0(ctx context.Context, verb string) (int, error) {
	cmd := command(ctx, "eni0", verb)
	cmd.Stdout, cmd.Stderr = t.out, t.out
	err := cmd.Run()
	if code, ended := exitCode(err); ended {
		return code, nil
	}
	return 0, fmt.Errorf("eni0 %s: %w", verb, err)
}

// A snapshot is the instance as the kernel has it.
type snapshot struct {
	names  map[string]string // of the links, by address: "0a:ff:00:00:00:01": "eth1"
	leaves netip.Addr        // the address that default traffic leaves by, zero for none
	state  []string          // everything else
}

// look takes a snapshot. The manager must not be in the middle of something.
func look() (snapshot, error) {
	links, err := net.Interfaces()
	if err != nil {
		return snapshot{}, err
	}
	names := make(map[string]string, len(links))
	for _, l := range links {
		names[l.HardwareAddr.String()] = l.Name
	}
	state, err := ec2.State()
	return snapshot{names, leaves(), state}, err
}

// leaves has the kernel itself choose the way to the rest of the world, and says by which address that
// begins. A connected UDP socket has a way, and sends nothing.
func leaves() netip.Addr {
	conn, err := net.Dial("udp4", "192.0.2.1:9") // RFC 5737: an address that is nobody's
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
}

// nameOf is the name of an ENI in a snapshot.
func (t *trial) nameOf(s snapshot, device int) string { return s.names[t.hex(device)] }

// hex is the address of an ENI.
func (t *trial) hex(device int) string {
	mac := t.MAC(device)
	return net.HardwareAddr(mac[:]).String()
}

// judge returns what is not as it should be after the last step, in words. Only two links may have
// another name, and only the manager's default route may have moved.
func (t *trial) judge(before, after snapshot) []string {
	var faults []string
	want := maps.Clone(before.names)
	want[t.hex(t.order[0])] = t.nameOf(before, 0) // who had eth0 gets the primary's name
	want[t.hex(0)] = "eth0"                       // and the primary has eth0
	for mac, name := range want {
		if got := after.names[mac]; got != name {
			faults = append(faults, fmt.Sprintf("%s is called %q, want %q", mac, got, name))
		}
	}
	if after.leaves != t.Addr(0) {
		faults = append(faults, fmt.Sprintf("default traffic leaves by %s, want %s", after.leaves, t.Addr(0)))
	}
	for _, line := range difference(before.state, after.state) {
		// Where the names were right nothing at all may change.
		if !t.wrong() || !t.manager.Owns(line[len("- "):]) {
			faults = append(faults, line)
		}
	}
	slices.Sort(faults)
	return faults
}

// difference returns the lines that a has and b has not with "- ", and the other way round with "+ ".
func difference(a, b []string) []string {
	count := make(map[string]int)
	for _, line := range a {
		count[line]++
	}
	for _, line := range b {
		count[line]--
	}
	var lines []string
	for _, line := range slices.Sorted(maps.Keys(count)) {
		switch n := count[line]; {
		case n > 0:
			lines = append(lines, "- "+line)
		case n < 0:
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}
