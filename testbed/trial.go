package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"eni0/testbed/ec2"
)

// A trial is an instance, with a network manager or before there is one, and eni0 at work in it.
type trial struct {
	*ec2.Instance
	manager *ec2.Manager // nil early in the boot
	order   []int        // the device index of eth0, eth1, ...
	mishaps mishaps
	took    time.Duration // of the fix
	out     io.Writer     // for what eni0 says
}

// onInstance launches an instance in this process's namespace, has fn tell whether all is right in
// it, and returns the program's exit code.
func onInstance(order, stage string, out io.Writer, fn func(*trial) (bool, error)) int {
	t, err := newTrial(order, stage, out)
	if err != nil {
		complain(err)
		return 1
	}
	right, err := fn(t)
	// The instance ends with this process, and sooner than it could be closed.
	if !t.early() {
		err = errors.Join(err, t.manager.Close())
	}
	if err != nil {
		log.Print(err)
		return 1
	}
	if !right {
		return 1
	}
	return 0
}

// newTrial launches the instance, and starts its network manager if it is to have got that far.
func newTrial(order, stage string, out io.Writer) (*trial, error) {
	devices, err := parseOrder(order)
	if err != nil {
		return nil, err
	}
	i, err := ec2.Launch(devices)
	if err != nil {
		return nil, err
	}
	t := &trial{Instance: i, order: devices, out: out}
	if stage == early {
		return t, nil
	}
	if t.manager, err = i.Manage(); err == nil {
		err = t.manager.Systemd()
	}
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return t, nil
}

// early tells whether there is no network manager yet.
func (t *trial) early() bool { return t.manager == nil }

// wrong tells whether the ENIs came up in the wrong order.
func (t *trial) wrong() bool { return t.order[0] != 0 }

// A step is one command of a trial, and the exit code that is right for it.
type step struct {
	args string // fix -names -timeout 10s
	want int    // 0
}

// fix is the command that puts names right.
func (t *trial) fix() string {
	switch {
	case t.early():
		return "fix -names -timeout 20s"
	case t.mishaps.killed: // before it had restarted the manager
		return "fix -timeout 20s -restart systemd-networkd.service"
	}
	return "fix -timeout 20s"
}

// wantFix is the exit code that is right for it.
func (t *trial) wantFix() int {
	if t.isPinned() {
		return 1
	}
	return 0
}

// steps are the commands of a trial.
func (t *trial) steps() []step {
	fix := step{t.fix(), t.wantFix()}
	if t.early() && t.mishaps.killed { // it may have left an address to ask by
		return []step{fix, fix}
	}
	if t.early() { // where nobody but fix makes a network to ask by
		return []step{{"check -timeout 100ms", 1}, fix, fix}
	}
	check, before := step{"check -timeout 20s", t.wantFix()}, 0
	switch {
	case t.isPinned():
		before = 1
	case t.wrong():
		before = 10 // names are wrong
	}
	if t.mishaps.killed {
		return []step{fix, check}
	}
	return []step{{check.args, before}, fix, check}
}

// carryOut runs the steps, and returns what they have made of before, and what is wrong with that.
func (t *trial) carryOut(ctx context.Context, before ec2.Snapshot) (after ec2.Snapshot, faults []string, err error) {
	for _, s := range t.steps() {
		fmt.Fprintln(t.out, "\n"+paint(bold, "$ eni0 "+s.args))
		start := time.Now()
		code, err := t.eni0(ctx, s.args)
		if err != nil {
			return after, nil, err
		}
		if t.took == 0 && s.args == t.fix() {
			t.took = time.Since(start)
		}
		fmt.Fprintln(t.out, paint(dim, fmt.Sprintf("[exit code %d: %s]", code, meaning(code))))
		if code != s.want {
			faults = append(faults, fmt.Sprintf("eni0 %s: exit code %d, want %d", s.args, code, s.want))
		}
	}
	if t.early() {
		faults = append(faults, released(t.served())...)
	} else {
		t.manager.Hold() // now it is not in the middle of something
	}
	after, err = ec2.Look()
	return after, append(faults, t.judge(before, after)...), err
}

// eni0 runs eni0, and returns its exit code.
func (t *trial) eni0(ctx context.Context, args string) (int, error) {
	cmd := command(ctx, "eni0", strings.Fields(args)...)
	cmd.Stdout, cmd.Stderr = t.out, t.out
	err := cmd.Run()
	if code, ended := exitCode(err); ended {
		return code, nil
	}
	return 0, fmt.Errorf("eni0 %s: %w", args, err)
}

// nameOf is the name of an ENI in a snapshot.
func (t *trial) nameOf(s ec2.Snapshot, device int) string { return s.Names[t.Hex(device)] }

// judge returns what is not as it should be after the last step, in words. Only two links may have
// another name, and only the manager's default route may have moved, if there is a manager.
func (t *trial) judge(before, after ec2.Snapshot) []string {
	var faults []string
	want := maps.Clone(before.Names)
	if !t.isPinned() {
		want[t.Hex(t.order[0])] = t.nameOf(before, 0) // who had eth0 gets the primary's name
		want[t.Hex(0)] = "eth0"                       // and the primary has eth0
	}
	for mac, name := range want {
		if got := after.Names[mac]; got != name {
			faults = append(faults, fmt.Sprintf("%s is called %q, want %q", mac, got, name))
		}
	}
	if want := t.exit(); after.Leaves != want {
		faults = append(faults, fmt.Sprintf("default traffic leaves by %s, want %s", after.Leaves, want))
	}
	for _, line := range difference(before.State, after.State) {
		if t.mishaps.killed && strings.HasPrefix(line[len("- "):], "link ") {
			continue // one that had no address yet stays up
		}
		// Where the names were right nothing at all may change.
		if t.early() || !t.wrong() || !t.manager.Owns(line[len("- "):]) {
			faults = append(faults, line)
		}
	}
	slices.Sort(faults)
	return faults
}

// exit is the address that default traffic is to leave by: none where there is no network.
func (t *trial) exit() netip.Addr {
	switch {
	case t.early():
		return netip.Addr{}
	case t.isPinned():
		return t.Addr(t.order[0])
	}
	return t.Addr(0)
}

// served is what the DHCP servers have seen, by device index.
func (t *trial) served() [][]string {
	var all [][]string
	for device := range t.order {
		var types []string
		for _, m := range t.DHCP(device).Seen() {
			types = append(types, m.Type)
		}
		all = append(all, types)
	}
	return all
}

// released finds what is wrong with what the DHCP servers have seen: each asks for an address, and
// whoever comes next at the boot gets the same, so it is never released.
func released(served [][]string) []string {
	var faults []string
	asked := false
	for device, types := range served {
		asked = asked || slices.Contains(types, "REQUEST")
		for _, typ := range types {
			if typ != "DISCOVER" && typ != "REQUEST" {
				faults = append(faults, fmt.Sprintf("device %d: DHCP saw %s", device, typ))
			}
		}
	}
	if !asked {
		faults = append(faults, "no DHCP server has seen a REQUEST")
	}
	return faults
}

// difference returns the lines that a has and b has not with "- ", and the other way round with "+
// ".
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
