package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"eni0/testbed/vm/witness"

	"golang.org/x/sys/unix"
)

// Where before leaves its note for report.
const note = "/run/vm-before.json"

// The most that report waits for the network.
const patience = 60 * time.Second

// early is a socket that PID 1 makes before it starts anything.
const early = "/run/systemd/journal/socket"

// commands are the system's own words about itself.
var commands = map[string]string{
	"networkd": "networkctl list --no-legend --no-pager",
	"nm":       "nmcli -t -f DEVICE,TYPE,STATE device",
	"ifupdown": "ifquery --state",
	"failed":   "systemctl --failed --no-legend --plain --no-pager",
	"units": "systemctl show --no-pager eni0.service systemd-networkd.service NetworkManager.service networking.service" +
		" -p Id,ActiveState,CPUUsageNSec," +
		"InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic",
	"changed": "find /etc /usr /var/lib /boot -xdev -type f -newer " + early,
	"journal": "journalctl -b -o json --no-pager " +
		"--output-fields=MESSAGE,_TRANSPORT,UNIT,_SYSTEMD_UNIT,_PID,SYSLOG_IDENTIFIER,_SOURCE_MONOTONIC_TIMESTAMP",
}

// before notes the links for report, when a network manager is started for the first time.
func before() error {
	if _, err := os.Stat(note); err == nil {
		return nil
	}
	state, err := witness.Look()
	if err != nil {
		return err
	}
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return os.WriteFile(note, b, 0o600)
}

// report tells what there is when all has settled. What it could not find out it tells too: a machine that
// does not end is waited for.
func report() error {
	r := &witness.Report{Teller: os.Args[0], Commands: make(map[string]string)}
	if err := find(r); err != nil {
		r.Wrong = err.Error()
	}
	return tell(r)
}

// find waits until all has settled, fixes what is wrong if the kernel's command line says so, and asks. It
// asks the tools last, so that their words are about the end.
func find(r *witness.Report) error {
	if err := settle(r); err != nil {
		return err
	}
	if b, err := os.ReadFile(note); err == nil {
		if err := json.Unmarshal(b, &r.Before); err != nil {
			return err
		}
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if words := strings.Fields(string(cmdline)); slices.Contains(words, "vm.fix") {
		if err := live(r, slices.Contains(words, "vm.hand")); err != nil {
			return err
		}
	}
	for name, command := range commands {
		r.Commands[name] = output(command)
	}
	return nil
}

// settle waits until the network is configured and systemd has nothing left to start. What never
// settles is reported as it is.
func settle(r *witness.Report) (err error) {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if r.Settled, err = witness.Look(); err != nil {
			return err
		}
		if r.Settled.Leaves() != "" && addressed(r.Settled) && configured(len(r.Settled.Links)) {
			break
		}
	}
	output("systemctl is-system-running --wait")
	r.Settled, err = witness.Look()
	return err
}

// addressed tells whether every link has an address.
func addressed(s *witness.State) bool {
	for _, l := range s.Links {
		if !slices.ContainsFunc(l.Addrs, isIPv4) {
			return false
		}
	}
	return true
}

// isIPv4 tells whether an address with its length is IPv4's.
func isIPv4(addr string) bool { return strings.Contains(addr, ".") }

// configured tells whether networkd says so of n links, where it runs; networkctl reads the same files.
func configured(n int) bool {
	files, _ := filepath.Glob("/run/systemd/netif/links/*") // a good pattern
	if len(files) == 0 {
		return true
	}
	done := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), "ADMIN_STATE=configured\n") {
			done++
		}
	}
	return done == n
}

// live is a fix, and what there was before and after it; with some things that were made by hand before.
func live(r *witness.Report, byHand bool) error {
	r.Dumps = append(r.Dumps, dump())
	if byHand {
		if err := makeByHand(r.Settled); err != nil {
			return err
		}
	}
	r.Dumps = append(r.Dumps, dump())
	if err := fix(r); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // so that what is not for good can be seen to fail
	r.Dumps = append(r.Dumps, dump())
	var err error
	r.After, err = witness.Look()
	return err
}

// fix runs eni0 as an operator would, and measures how long it takes until default traffic has another way.
func fix(r *witness.Report) error {
	was := r.Settled.MAC(r.Settled.Leaves())
	start := time.Now()
	moved, ended := make(chan int64), make(chan struct{})
	go func() { moved <- follow(was, start, ended) }()
	cmd := exec.Command("systemd-run", "--wait", "--pipe", "--collect", eni0, "fix")
	out, err := cmd.CombinedOutput()
	close(ended)
	traffic := <-moved
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return err
	}
	r.Fix = &witness.Fix{Code: cmd.ProcessState.ExitCode(), Output: string(out),
		Took: time.Since(start).Milliseconds(), Traffic: traffic}
	return nil
}

// follow waits until default traffic leaves by another link than that with an address, and returns after how
// many milliseconds it did; -1 for not before the fix had ended.
func follow(was string, start time.Time, ended <-chan struct{}) int64 {
	for {
		s, err := witness.Look()
		if err == nil && s.Leaves() != "" && s.MAC(s.Leaves()) != was {
			return time.Since(start).Milliseconds()
		}
		select {
		case <-ended:
			return -1
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// output is what a command prints, and why it could not.
func output(command string) string {
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return err.Error()
	}
	return string(out)
}

// tell sends the report and ends the machine. It does so by itself: a machine that is shut down takes
// longer, and its shutdown is nobody's concern here.
func tell(r *witness.Report) error {
	args, err := os.ReadFile("/proc/1/cmdline")
	if err != nil {
		return err
	}
	r.Args = strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if _, err := line.Write(append(b, '\n')); err != nil {
		return err
	}
	unix.IoctlSetInt(int(line.Fd()), unix.TCSBRK, 1) // tcdrain(3)
	end()
	return nil
}
