package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// show runs check, fix and check on one instance, and shows it before and after. It returns the
// exit code of the program.
func show(ctx context.Context, order, stage string) int {
	return onInstance(order, stage, os.Stdout, func(t *trial) (bool, error) { return t.demonstrate(ctx) })
}

// demonstrate is the show itself. It tells whether all came out right.
func (t *trial) demonstrate(ctx context.Context) (bool, error) {
	before, err := ec2.Look()
	if err != nil {
		return false, err
	}
	fmt.Printf("An EC2 instance with %d ENIs. %s\n\n", len(t.order), t.story())
	t.draw(before, before)
	after, faults, err := t.carryOut(ctx, before)
	if err != nil {
		return false, err
	}
	fmt.Print("\nNow:\n\n")
	t.draw(after, before)
	t.conclude(faults, len(after.State))
	return len(faults) == 0, nil
}

// story says what the instance is an example of.
func (t *trial) story() string {
	switch {
	case !t.wrong():
		return "They came up in the right order: there is nothing to do."
	case t.early():
		return "As in one launch of 10,000 they came up in the wrong order.\n" +
			"No network is configured yet: every link is down, and whatever is called eth0 would be given the default route."
	}
	return "As in one launch of 10,000 they came up in the wrong order,\n" +
		"and whatever is called eth0 was given the default route:"
}

// draw shows the links by name, and where default traffic leaves. Those that had another name in
// before are marked.
func (t *trial) draw(now, before ec2.Snapshot) {
	fmt.Printf("  %-10s %-19s %-11s %s\n", "name", "address", "IPv4", "ENI")
	byName := make(map[string]int)
	for device := range t.order {
		byName[t.nameOf(now, device)] = device
	}
	for at := range t.order {
		name := fmt.Sprintf("eth%d", at)
		device, found := byName[name]
		if !found {
			fmt.Printf("  %-10s %s\n", name, paint(red, "nothing is called so"))
			continue
		}
		role := "secondary"
		if device == 0 {
			role = "PRIMARY"
		}
		line := fmt.Sprintf("  %-10s %-19s %-11s %-11s%s", name, t.Hex(device), t.ipv4(device), role, t.notes(now, before, device))
		fmt.Println(strings.TrimRight(line, " "))
	}
}

// ipv4 is the address of an ENI, in words.
func (t *trial) ipv4(device int) string {
	if t.early() {
		return "none"
	}
	return t.Addr(device).String()
}

// notes says of an ENI what is not in its columns: its name before, and that default traffic leaves
// by it.
func (t *trial) notes(now, before ec2.Snapshot, device int) string {
	was := ""
	if name := t.nameOf(before, device); name != t.nameOf(now, device) {
		was = "was " + name
	}
	if now.Leaves != t.Addr(device) || t.early() {
		return was
	}
	colour := red
	if device == 0 {
		colour = green
	}
	return fmt.Sprintf("%-10s", was) + paint(colour, "==> default traffic, by "+t.Router(device).String())
}

// meaning is what an exit code of eni0 says.
func meaning(code int) string {
	switch code {
	case 0:
		return "right"
	case 1:
		return "could not tell, or could not do it"
	case 2:
		return "usage"
	case 10:
		return "names are wrong"
	case 11:
		return "names are right, the default route is not"
	case 12:
		return "a rename broke off"
	}
	return "not a code of eni0"
}

// conclude says how it came out.
func (t *trial) conclude(faults []string, things int) {
	if len(faults) > 0 {
		fmt.Printf("\n%s\n  %s\n", paint(red, "It did NOT come out right:"), strings.Join(faults, "\n  "))
		return
	}
	now := "and default traffic leaves by it"
	if t.early() {
		now = "and no link is up"
		for device, types := range t.served() {
			fmt.Printf("\nDHCP at %s saw: %s", t.Hex(device), cmp.Or(strings.Join(types, ", "), "nothing"))
		}
		fmt.Println()
	}
	fmt.Printf("\n%s eth0 is the primary ENI, %s. Nothing else has changed:\n"+
		"%d links, addresses, routes, neighbours and rules were compared.\n", paint(green, "It came out right:"), now, things)
}

// The colours of a terminal: ECMA-48, SGR.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

// paint puts s in a colour where that is seen and wanted (https://no-color.org).
func paint(colour, s string) string {
	if _, off := os.LookupEnv("NO_COLOR"); off || !isTerminal(os.Stdout) {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// isTerminal tells whether somebody looks at what is written to f.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
