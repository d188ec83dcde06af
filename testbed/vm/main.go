// Vm boots real kernels with a real systemd in virtual machines, and sees whether eni0 does there what
// it is for. It prints a table as it goes, one row a case and kernel.
//
//	go run ./testbed/vm [-kernel 6.12] [-case a,b] [-cache DIR] [-deb FILE] [-v]
//
//	-kernel V    only that kernel: 6.1 (renames only links that are down), 6.12 or 7
//	-case LIST   only those cases
//	-cache DIR   where the roots and the kernels are kept, which are made at the first run
//	-deb FILE    a package of eni0 is installed, and not the files of this tree
//	-v           the consoles too
//
// The machines are QEMU's, emulated, with two or three virtio NICs. They boot Debian: where nothing else
// is said 12, with systemd 252 and systemd-networkd, which gives the default route to whatever is called
// eth0; else 13 or the next one, with systemd 257 and 262. IMDS is at 169.254.169.254 in a network
// namespace around each machine; DHCP is QEMU's. The first run makes the roots with mmdebstrap and takes
// minutes longer. It wants root, for that, and reaches nothing but Debian's packages.
//
// -h lists the cases. In the live ones of them, before the fix, an address, a route, a rule, a neighbour, a
// next hop and more are made by hand on both links; they have to be there afterwards, on the same link.
//
// Cases e tell what a machine loses meanwhile: echoes that the primary's router was asked for every 20
// ms from the primary's address. Some cases are for comparison, and only tried where -case names them:
// e-fix and e-hand, the same swap with eni0 and by hand; a-unit and a-none, when eth0 had its address,
// with the early unit and without eni0.
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
