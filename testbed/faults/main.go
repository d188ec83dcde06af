//go:build linux && amd64

// Faults breaks eni0 at each of its system calls, in a pocket EC2, and looks at what is left.
//
//	go run ./testbed/faults [-every N] [SCENARIO...]
//
// For N = 1, 2, ... it kills eni0 at the Nth system call (SIGKILL), or makes that call return each
// of the errors that it can return, or has the kernel refuse one of the messages in a datagram that
// changes something; until a run comes to its end before. After each run the names are all as before
// or all as wished, the exit code says which, no address, route or lock of eni0's is left, and the
// next fix comes to the right end. After a SIGKILL they may be left, and the next fix removes them.
// A link that was set up and had no address yet stays up then. Where Go's runtime can't do without
// the call it ends the process, as a SIGKILL does, with exit code 2.
//
// The scenarios are fix, boot (before any network: fix borrows one), swap, and manager (fix, which
// restarts a network manager). Without one the first three are tried, which takes some minutes; the
// last takes hours, as each fault there may be waited out for 20 s.
//
//	-every N   only each Nth system call, beginning with one at random
//
// System calls that Go's runtime makes for itself are left out: memory, threads, signals, waiting.
// The exit code is 0 if all came out right, 1 if not or if it could not be tried, 2 for usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"eni0/testbed/ec2"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("faults: ")
	os.Exit(run(filepath.Base(os.Args[0]), os.Args[1:]))
}

// inside is the name under which this program starts itself in a namespace.
const inside = "faults-inside"

// run does what the program was started for, by the name it was started under.
func run(name string, args []string) int {
	switch name {
	case "systemctl":
		return ec2.Systemctl(args, os.Stdout)
	case inside:
		return sweepIn(args[0], args[1])
	}
	chosen, every, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		log.Print(err)
		return 2
	}
	dir, err := os.MkdirTemp("", "faults-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = ec2.Furnish(context.Background(), dir)
	}
	if err != nil {
		log.Print(err)
		return 1
	}
	code := 0
	for _, c := range chosen {
		cmd := exec.Command("/proc/self/exe", c, strconv.Itoa(every))
		cmd.Args[0] = inside
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		ec2.Isolate(cmd)
		if err := cmd.Run(); err != nil {
			if why := ec2.Refused(err); why != "" {
				err = errors.New(why)
			}
			log.Printf("%s: %v", c, err)
			code = 1
		}
	}
	return code
}

// parse reads the command line: the scenarios to try, and how many system calls to go on by.
func parse(args []string) (chosen []string, every int, err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.IntVar(&every, "every", 1, "only each `N`th system call")
	flags.SetOutput(io.Discard) // one line about what is wrong, not the usage
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(os.Stdout)
			flags.Usage()
		}
		return nil, 0, err
	}
	if every < 1 {
		return nil, 0, fmt.Errorf("-every %d: want at least 1", every)
	}
	if chosen = flags.Args(); len(chosen) == 0 {
		chosen = []string{"fix", "boot", "swap"}
	}
	for _, c := range chosen {
		if !slices.Contains(scenarioNames(), c) {
			return nil, 0, fmt.Errorf("no scenario: %s; there are %s", c, strings.Join(scenarioNames(), ", "))
		}
	}
	return chosen, every, nil
}

// sweepIn tries one scenario in this process's namespace.
func sweepIn(name, every string) int {
	n, err := strconv.Atoi(every)
	if err != nil {
		log.Print(err)
		return 1
	}
	s, err := newSweep(name, n, 1+rand.IntN(n))
	if err != nil {
		log.Print(err)
		return 1
	}
	if err := s.all(); err != nil {
		log.Printf("%s: %v", name, err)
		return 1
	}
	fmt.Printf("%s: %d system calls; %d times killed, %d errors (%d of them ended Go's runtime), %d messages refused; %d wrong\n",
		name, s.calls, s.kills, s.errors, s.crashes, s.refusals, s.wrong)
	if s.wrong > 0 {
		return 1
	}
	return 0
}
