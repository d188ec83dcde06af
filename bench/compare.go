package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"eni0/bench/kit"
	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A side is one of those that are compared. Its commands, one after the other, are what is timed;
// the rest is how they must come out.
type side struct {
	name     string
	commands func(now names) [][]string
	code     int      // what each exits with
	says     string   // what is said must have this in it
	wrong    bool     // the names are made wrong before it, which is not timed
	swaps    bool     // the names are swapped by it, else left alone
	needs    []string // programs that may be missing
	cannot   error    // why it can't run here, whatever there is
}

// lacks says why s can't run here, "" if it can.
func (s side) lacks() string {
	for _, program := range s.needs {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("there is no %s: install the package %s", program, packageOf(program))
		}
	}
	if s.cannot != nil {
		return s.cannot.Error()
	}
	return ""
}

// packageOf is the package that a program comes in.
func packageOf(program string) string {
	if program == "ip" {
		return "iproute2"
	}
	return program
}

// same is a side's commands where they are the same whatever the names are now.
func same(commands ...string) func(names) [][]string {
	var argvs [][]string
	for _, c := range commands {
		argvs = append(argvs, strings.Fields(c))
	}
	return func(names) [][]string { return argvs }
}

func (w *world) check() side { return side{name: "check", commands: same("eni0 check")} }

func (w *world) script() side {
	argv := []string{filepath.Join(w.dir, "check.sh")}
	return side{name: "check.sh", commands: func(names) [][]string { return [][]string{argv} }, says: "right\n",
		needs: []string{"curl", "ip"}, cannot: w.noSys}
}

func (w *world) quietSwap() side {
	return side{name: "swap -restart ''", commands: same("eni0 swap -restart= eth0 eth1"), swaps: true}
}

// A comparison is sides, and the pairs of them that make figures.
type comparison struct {
	sides []side
	pairs []pair
}

// A pair is a figure: the median of one side by the median of another.
type pair struct {
	ours, theirs string
	want         want
}

// checks is what looking costs.
func (w *world) checks() comparison {
	fix := side{name: "fix, nothing to do", commands: same("eni0 fix")}
	return comparison{[]side{w.check(), fix, w.script(), w.sdkCheck()}, []pair{
		{"check", "check.sh", atMost(0.15, "")},
		{"check", "sdk check", lessThan(1)},
		{"fix, nothing to do", "check.sh", atMost(0.15, "")},
	}}
}

// swaps is what renaming costs.
func (w *world) swaps() comparison {
	w.manager.Hold() // a swap is nothing to it, and it would take a processor
	byMap := func(now names) [][]string { return [][]string{{"ifrename", "-t", "-c", w.mapFile(now.swapped())}} }
	byHand := same("ip link set dev eth0 name swapping", "ip link set dev eth1 name eth0", "ip link set dev swapping name eth1")
	return comparison{[]side{
		w.quietSwap(),
		{name: "ifrename -t", commands: byMap, swaps: true, needs: []string{"ifrename"}},
		{name: "three ip link set", commands: byHand, swaps: true, needs: []string{"ip"}},
		{name: "swap", commands: same("eni0 swap eth0 eth1"), swaps: true},
	}, []pair{
		{"swap -restart ''", "ifrename -t", atMost(1.5, "")},
		{"swap -restart ''", "three ip link set", lessThan(0.5)},
		{"swap", "ifrename -t", atMost(1.5, "")},
		{"swap", "three ip link set", lessThan(0.5)},
	}}
}

// errLeftOut is the error of a run in which something could not be measured.
var errLeftOut = errors.New("not everything could be measured")

// compare has the sides of a comparison take turns, and prints its pairs.
func (w *world) compare(rounds int, c comparison) error {
	lacks := map[string]string{}
	for _, s := range c.sides {
		lacks[s.name] = s.lacks()
	}
	able := slices.DeleteFunc(c.sides, func(s side) bool { return lacks[s.name] != "" })
	medians, err := w.takeTurns(rounds, able)
	if err != nil {
		return err
	}
	for _, p := range c.pairs {
		l := figure{what: p.ours, ours: milliseconds(medians[p.ours]), other: p.theirs + ": LEFT OUT: " + lacks[p.theirs]}
		if lacks[p.theirs] == "" {
			l = l.against(p, medians[p.ours], medians[p.theirs])
		} else {
			err = errLeftOut
		}
		l.print()
	}
	return err
}

// against is l with the other side of it, and the ratio judged.
func (l figure) against(p pair, ours, theirs time.Duration) figure {
	ratio := float64(ours) / float64(theirs)
	l.other = beside(p.theirs, theirs)
	l.ratio = fmt.Sprintf("%.2f", ratio)
	return l.judged(p.want, ratio)
}

// takeTurns runs the sides in turn, each round in another order, and returns the median of each.
func (w *world) takeTurns(rounds int, sides []side) (map[string]time.Duration, error) {
	times := map[string][]time.Duration{}
	for range rounds {
		for _, i := range rand.Perm(len(sides)) { // who comes after whom matters: caches are warm or cold
			took, err := w.once(sides[i])
			if err != nil {
				return nil, err
			}
			times[sides[i].name] = append(times[sides[i].name], took)
		}
	}
	medians := map[string]time.Duration{}
	for name, t := range times {
		medians[name] = kit.Median(t)
	}
	return medians, nil
}

// once runs a side once, times it and verifies what it has done.
func (w *world) once(s side) (time.Duration, error) {
	if s.wrong {
		if err := w.become(true); err != nil {
			return 0, err
		}
	}
	want, err := w.look()
	state, err2 := ec2.State()
	if err := errors.Join(err, err2); err != nil {
		return 0, err
	}
	took, err := s.run(want)
	if err != nil {
		return 0, err
	}
	if s.swaps {
		want = want.swapped()
	}
	got, err := w.look()
	if err == nil && got != want {
		err = fmt.Errorf("%s: the ENIs are called %v, want %v", s.name, got, want)
	}
	return took, errors.Join(err, w.unchanged(s, state))
}

// unchanged tells whether all but names is as it was. Where there is a manager it may not be.
func (w *world) unchanged(s side, before []string) error {
	if w.manager != nil {
		return nil
	}
	after, err := ec2.State()
	if err == nil && !slices.Equal(before, after) {
		err = fmt.Errorf("%s: left\n%s\nwant\n%s", s.name, strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	return err
}

// run runs the commands of s and times them. They must come out as they should.
func (s side) run(now names) (time.Duration, error) {
	said, err := memory() // a pipe would have to be read in the meantime
	if err != nil {
		return 0, err
	}
	defer said.Close()
	var cmds []*exec.Cmd
	for _, argv := range s.commands(now) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = said, said
		cmds = append(cmds, cmd)
	}
	begin := time.Now()
	for _, cmd := range cmds {
		err := cmd.Run()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != s.code {
			return 0, fmt.Errorf("%s: %v, want exit code %d\n%s", cmd, err, s.code, text(said))
		}
	}
	took := time.Since(begin)
	if got := text(said); !strings.Contains(got, s.says) {
		return 0, fmt.Errorf("%s: %q, want %q", s.name, got, s.says)
	}
	return took, nil
}

// memory is a file that is nowhere: memfd_create(2).
func memory() (*os.File, error) {
	fd, err := unix.MemfdCreate("said", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "said"), nil
}

// text is what has been written to f.
func text(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
