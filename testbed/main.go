// Testbed is a pocket EC2 to try eni0 in: namespaces, wires and servers, made in milliseconds and gone
// with the program. It needs Go and nothing else; root only where user namespaces are for root only.
//
//	go run ./testbed [-enis N] [-order 2,0,1] [-boot] [-sh]
//	go run ./testbed -launches N [-enis N] [-seed S]
//	go run ./testbed -beside N [-enis N] [-seed S]
//
// The first form launches an instance whose primary ENI came up as eth1, so that default traffic
// leaves by the wrong ENI, and runs the real binary in it: check, fix, check. It shows the links before
// and after as the kernel has them, and says whether all came out right.
//
//	-enis N      an instance with N ENIs (2 to 15)
//	-order LIST  the device index of eth0, eth1, ...: 2,0,1 makes the primary ENI (0) eth1
//	-boot        early in the boot: no network manager has run yet, every link is down, and fix has to
//	             borrow a network by DHCP to ask IMDS
//	-sh          runs nothing: leaves you inside with a shell, and eni0 on the PATH
//
// The second form launches N instances, each with its ENIs in random order and with routes, rules,
// neighbours and next hops at random, and verifies each of them: only the names that had to change
// have changed, and nothing but the default route with them. About half of them are early in their
// boot, with what DHCP servers and IMDS do then at random: there nothing but names may have changed.
// One in ten has a late primary, one in ten an IMDS that is not ready (it refuses, says 401, 404, 429
// or 503, or is slow), one in ten IPv6, one in twenty a gateway that answers in IMDS's place, one in
// fifty a file that pins the wrong names, and one in a hundred a fix that is killed at a random moment
// and started again.
//
//	-seed S      the launches of the run that printed seed S
//
// The third form has N runs of fix or swap, each beside a program that changes links at random all the
// while: it makes, renames and deletes links of its own, plugs ENIs in, and in half of the runs renames
// ENIs, takes them down, and moves them to another namespace and back. After each no link that is no ENI
// has got another name by eni0; no ENI has a temporary name, unless the code is 12; an ENI that the other
// program has not renamed or moved has its old name after code 1, and the primary is eth0 after 0. The
// next fix, with nobody beside it, puts the names right.
//
// What plays the network manager gives the default route to whatever is called eth0, when it starts and
// when it is restarted. systemctl is played by this program too; the host's is never asked for
// anything.
//
// The exit code is 0 if all was verified to be right, 1 if not or if it could not be tried, and 2 for
// usage.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("testbed: ")
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	code := run(ctx, filepath.Base(os.Args[0]), os.Args[1:])
	stop()
	os.Exit(code)
}

// inside is the name under which this program starts itself in a namespace.
const inside = "testbed-inside"

// run does what the program was started for, by the name it was started under.
func run(ctx context.Context, name string, args []string) int {
	switch {
	case name == "systemctl":
		return ec2.Systemctl(args, os.Stdout)
	case name == inside && args[0] == "launches":
		return tryLaunch(ctx, args[1], args[2])
	case name == inside && args[0] == "beside":
		return tryBeside(ctx, args[1], args[2])
	case name == inside && args[0] == "shell":
		return shell(ctx, args[1], args[2])
	case name == inside:
		return show(ctx, args[1], args[2])
	}
	return host(ctx, args)
}
