// Vm boots real kernels with a real systemd in virtual machines, and sees whether eni0 does there what
// it is for. It prints a table as it goes, one row a case and kernel.
//
//	go run ./testbed/vm [-kernel 6.12] [-case a,b] [-cache DIR] [-v]
//
//	-kernel V    only that kernel: 6.1 (renames only links that are down), 6.12 or 7
//	-case LIST   only those cases
//	-cache DIR   where the roots and the kernels are kept, which are made at the first run
//	-v           the consoles too
//
// The machines are QEMU's, emulated, with two or three virtio NICs. They boot Debian: where nothing else
// is said 12, with systemd 252 and systemd-networkd, which gives the default route to whatever is called
// eth0; else 13 or the next one, with systemd 257 and 262. IMDS is at 169.254.169.254 in a network
// namespace around each machine; DHCP is QEMU's. The first run makes the roots with mmdebstrap and takes
// minutes longer. It wants root, for that, and reaches nothing but Debian's packages.
//
//	a   the right order, early unit: nothing is renamed; what that cost
//	b   the wrong order, early unit: eth0 is the primary before networkd starts
//	c   the same from a dracut image, before it switches to the root on the disk
//	d   the same in front of systemd, which is started whatever came out
//	d2  eni0 as the first process of all, with nothing mounted; it ends in COMMAND,
//	d3  or in /sbin/init where COMMAND does not exist,
//	d4  or where the kernel has cut its command line at a second "--";
//	d5  and in COMMAND too where there is no IMDS
//	e   live: a system that booted wrong, systemd-run --wait --pipe --collect eni0 fix
//	f   the primary is plugged in seconds after IMDS has named it
//	g   no IMDS: the boot goes on after the budget, names as they were, nothing left behind
//	h   IMDS refuses connections, then tokens, then answers
//	i   two boots of one disk with three NICs, in the wrong order, then in the right one: the
//	    second does nothing
//	j1  b with amazon-ec2-net-utils, which gives each ENI a metric and the secondary a policy rule;
//	j2  live there, where traffic leaves by the primary already: fix -names;
//	j3  and early, with an IMDS that is 10 seconds late
//	k1  cloud-init with EC2's data source, early unit from the first boot: a boot in the wrong order,
//	    then one of the same disk in the right one; systemd-networkd's files are written by cloud-init
//	k2  or by netplan, and a third boot in the wrong order, which finds files for the names
//	l1  pinned: .link and .network files as netplan writes them want address and name of each
//	    link, the names that it has: nothing is renamed, the unit fails and names the file
//	l2  the same by udev rules, with ifupdown
//	l3  the same by NetworkManager's keyfiles
//	l4  pinned rightly: files give eth0 to the primary, and udev can't, for the name is taken
//	l5  l1 by netplan's own generator, which writes to /run at the boot
//	m   b with NetworkManager, 1.42 and 1.52
//	n   b with ifupdown, "auto" in interfaces(5); n2 with "allow-hotplug"
//	o   b on systemd 257 and 262, with Linux 6.12 and 7
//	p1  d2 on arm64, with arm64's Linux 6.1
//	p2  there, live, where nobody manages the network: two fixes, which change names and nothing else
//
// l1-live, l2-live, l3-live, l5-live, m-live, n-live, n2-live and o-live are e there. Before such a fix (but for
// l) an address, a route, a rule, a neighbour and a next hop and more are made by hand on both links, and
// have to be there afterwards, on the same link.
//
// Cases e tell what a machine loses meanwhile: echoes that the primary's router was asked for every 20
// ms from the primary's address. Two more cases are for comparison, and only tried where -case names them:
//
//	e-fix   e with nothing made by hand before
//	e-hand  the same by ip(8) and a restart of systemd-networkd, without eni0
//
// What a case came to is judged by what a reporter in the machine read from the kernel, by the
// kernel's log, and by what systemd and the network manager say; never by eni0's own word, but for the
// code and the message that it has to give.
//
// The exit code is 0 if all went right, 1 if not or if it could not be tried, and 2 for usage and
// where a program is missing.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("vm: ")
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	code := run(ctx, os.Args)
	stop()
	os.Exit(code)
}

// run does what the program was started for, by the name it was started under.
func run(ctx context.Context, args []string) int {
	if args[0] == inside {
		return exitCode(world(), 1)
	}
	o, err := parse(args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = lacking()
	}
	if err != nil {
		return exitCode(err, 2)
	}
	return exitCode(o.boot(ctx), 1)
}

// exitCode logs an error and returns the code for it, or 0 where there is none.
func exitCode(err error, code int) int {
	if err == nil {
		return 0
	}
	log.Print(err)
	return code
}
