package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// The number of ENIs that an instance can have here.
const fewest, most = 2, 15

// options are what the command line asks for.
type options struct {
	enis     int    // -enis 3; 0 where it was not given
	order    []int  // -order 2,0,1
	launches int    // -launches 1000; 0 is one, to be shown
	beside   bool   // -beside 1000: the launches are runs beside a program that changes links
	seed     uint64 // -seed 1: of the first launch; each has the next
	boot     bool   // -boot
	shell    bool   // -sh
}

// How far an instance has got.
const (
	early      = "early" // nothing is configured
	configured = "late"  // a network manager is at work
)

// stage is how far the instance is to have got.
func (o options) stage() string {
	if o.boot {
		return early
	}
	return configured
}

// kind is what each launch is for, and the flag that asks for it.
func (o options) kind() string {
	if o.beside {
		return "beside"
	}
	return "launches"
}

// parse reads the command line. An error of it is one line.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("testbed", flag.ContinueOnError)
	f.SetOutput(io.Discard) // one line about what is wrong, not the usage
	f.IntVar(&o.enis, "enis", 0, "launch with `N` ENIs (2 to 15)")
	f.Func("order", "the device index of eth0, eth1, ... (`2,0,1`)", func(s string) (err error) {
		o.order, err = parseOrder(s)
		return err
	})
	f.IntVar(&o.launches, "launches", 0, "`N` launches in random order, each verified")
	beside := f.Int("beside", 0, "`N` runs beside a program that changes links at random")
	f.Uint64Var(&o.seed, "seed", rand.Uint64N(1e9), "the launches of the run that printed seed `S`")
	f.BoolVar(&o.boot, "boot", false, "early in the boot, with no network yet")
	f.BoolVar(&o.shell, "sh", false, "leave me inside with a shell")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printUsage(f)
		}
		return o, err
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.beside = given["beside"]; o.beside && !given["launches"] {
		o.launches = *beside
	}
	return o, o.check(given, f.Args())
}

// check finds what does not go together, and fills in the order.
func (o *options) check(given map[string]bool, rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case given["enis"] && (o.enis < fewest || o.enis > most):
		return fmt.Errorf("-enis %d: want %d to %d", o.enis, fewest, most)
	case given["order"] && given["enis"] && len(o.order) != o.enis:
		return fmt.Errorf("-order names %d ENIs, but -enis %d", len(o.order), o.enis)
	case given["launches"] && o.beside:
		return errors.New("-launches and -beside: want one of them")
	case (given["launches"] || o.beside) && o.launches < 1:
		return fmt.Errorf("%d launches: want at least 1", o.launches)
	case o.launches > 0 && (given["sh"] || given["order"] || given["boot"]):
		return errors.New("-launches and -beside go with none of -sh, -order and -boot: " +
			"their launches are random")
	case given["seed"] && o.launches == 0:
		return errors.New("-seed goes with -launches and -beside")
	}
	if o.order == nil {
		o.order = wrongOrder(max(o.enis, fewest))
	}
	return nil
}

// wrongOrder is each ENI one name too low, and the primary behind all of them: 1,2,0.
func wrongOrder(enis int) []int {
	order := make([]int, enis)
	for at := range order {
		order[at] = (at + 1) % enis
	}
	return order
}

// parseOrder reads "2,0,1", each of the numbers from 0 up once.
func parseOrder(s string) ([]int, error) {
	var order []int
	for field := range strings.SplitSeq(s, ",") {
		device, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%q is no device index", field)
		}
		order = append(order, device)
	}
	if n := len(order); n < fewest || n > most {
		return nil, fmt.Errorf("%d ENIs: want %d to %d", n, fewest, most)
	}
	for device := range order {
		if !slices.Contains(order, device) {
			return nil, fmt.Errorf("want each of 0 to %d once", len(order)-1)
		}
	}
	return order, nil
}

// formatOrder writes what parseOrder reads.
func formatOrder(order []int) string {
	var s []string
	for _, device := range order {
		s = append(s, strconv.Itoa(device))
	}
	return strings.Join(s, ",")
}

// printUsage is the answer to -h.
func printUsage(f *flag.FlagSet) {
	fmt.Println("usage: go run ./testbed [-enis N] [-order 2,0,1] [-boot] [-sh]\n" +
		"       go run ./testbed -launches N [-enis N] [-seed S]\n" +
		"       go run ./testbed -beside N [-enis N] [-seed S]")
	f.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		fmt.Printf("  %-16s %s\n", strings.TrimSpace("-"+f.Name+" "+name), usage)
	})
}
