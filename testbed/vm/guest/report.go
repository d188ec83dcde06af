package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"eni0/testbed/vm/guestreport"

	"golang.org/x/sys/unix"
)

// Where before leaves its note for report.
const note = "/run/vm-before.json"

// The most that report waits for the network; and for scripts to have configured it once more.
const (
	patience     = 60 * time.Second
	morePatience = 3 * time.Minute
)

// early is a socket that PID 1 makes before it starts anything.
const early = "/run/systemd/journal/socket"

// commands are the system's own words about itself.
var commands = map[string]string{
	"networkd": "networkctl list --no-legend --no-pager",
	"nm":       "nmcli -t -f DEVICE,TYPE,STATE device",
	"ifupdown": "ifquery --state",
	"failed":   "systemctl --failed --no-legend --plain --no-pager",
	"units": "systemctl show --no-pager eni0.service systemd-networkd.service NetworkManager.service networking.service" +
		" cloud-init-local.service -p Id,ActiveState,CPUUsageNSec," +
		"InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic",
	"rules":      "ip -4 rule",
	"datasource": "cat /run/cloud-init/result.json", // is there when cloud-init is through
	"changed":    "find /etc /usr /var/lib /boot -xdev -type f -newer " + early,
	"journal": "journalctl -b -o json --no-pager " +
		"--output-fields=MESSAGE,_TRANSPORT,UNIT,_SYSTEMD_UNIT,_PID,SYSLOG_IDENTIFIER,_SOURCE_MONOTONIC_TIMESTAMP",
}

// before notes the links for report, when a network manager is started for the first time.
func before() error {
	if _, err := os.Stat(note); err == nil {
		return nil
	}
	state, err := guestreport.Look()
	if err != nil {
		return err
	}
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return os.WriteFile(note, b, 0o600)
}

// report tells what there is when all has settled. What it could not find out it tells too: a
// machine that does not end is waited for.
func report() error {
	r := &guestreport.Report{Teller: os.Args[0], Commands: make(map[string]string)}
	if err := find(r); err != nil {
		r.Wrong = err.Error()
	}
	return tell(r)
}

// find waits until all has settled, fixes what is wrong if the kernel's command line says so, and
// asks. It asks the tools last, so that their words are about the end.
func find(r *guestreport.Report) error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	words := strings.Fields(string(cmdline))
	scripted := slices.Contains(words, "vm.policy")
	if r.Settled, err = settle(scripted); err != nil {
		return err
	}
	if b, err := os.ReadFile(note); err == nil {
		if err := json.Unmarshal(b, &r.Before); err != nil {
			return err
		}
	}
	if slices.Contains(words, "vm.docs") {
		if err := runDocs(r); err != nil {
			return err
		}
	}
	if slices.Contains(words, "vm.down") {
		if err := downUp(r); err != nil {
			return err
		}
	}
	if err := operate(r, words); err != nil {
		return err
	}
	if slices.Contains(words, "vm.stack") {
		if err := stackEach(r); err != nil {
			return err
		}
	}
	if err := tryKinds(r, words); err != nil {
		return err
	}
	for name, command := range commands {
		r.Commands[name] = output(command)
	}
	return nil
}

// operate runs the operator's command that words ask for. Where a script configures the network
// there is nobody to follow, so it looks once more.
func operate(r *guestreport.Report, words []string) (err error) {
	for word, command := range operators {
		if !slices.Contains(words, word) {
			continue
		}
		if err := live(r, slices.Contains(words, "vm.hand"), command); err != nil {
			return err
		}
		if slices.Contains(words, "vm.policy") {
			r.After, err = settle(true)
		}
	}
	return err
}

// tryKinds swaps names beside objects of each kind if the kernel's command line says so.
func tryKinds(r *guestreport.Report, words []string) error {
	for every, word := range map[int]string{1: "vm.kinds", 20: "vm.kinds20"} {
		if slices.Contains(words, word) {
			return swapKinds(r, every)
		}
	}
	return nil
}

// settle waits until the network is configured, by scripts too where they are, and systemd has
// nothing left to start. What never settles is reported as it is.
func settle(scripted bool) (*guestreport.State, error) {
	limit := patience
	if scripted {
		limit = morePatience
	}
	for until := time.Now().Add(limit); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		s, err := guestreport.Look()
		if err != nil {
			return nil, err
		}
		done := s.Leaves() != "" && addressed(s) && configured(len(s.Links))
		if done && (!scripted || policed(s)) {
			break
		}
	}
	output("systemctl is-system-running --wait")
	return guestreport.Look()
}

// policed tells whether amazon-ec2-net-utils is through: it has written what networkd has read
// since, a rule for the secondary and other metrics than networkd's own.
func policed(s *guestreport.State) bool {
	const own = 1024 // DHCP_ROUTE_METRIC, systemd's networkd-dhcp-common.h
	for _, r := range s.Routes {
		if r.To.Bits() == 0 && r.Metric == own {
			return false
		}
	}
	return strings.Contains(output("ip -4 rule"), "lookup 10001")
}

// addressed tells whether every link has an address.
func addressed(s *guestreport.State) bool {
	for _, l := range s.Links {
		if !slices.ContainsFunc(l.Addrs, isIPv4) {
			return false
		}
	}
	return true
}

// isIPv4 tells whether an address with its length is IPv4's.
func isIPv4(addr string) bool { return strings.Contains(addr, ".") }

// configured tells whether networkd says so of n links, where it runs; networkctl reads the same
// files.
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

// live is a fix, and what there was before and after it; with some things that were made by hand
// before.
func live(r *guestreport.Report, byHand bool, command []string) error {
	r.Dumps = append(r.Dumps, dump())
	if byHand {
		if err := makeByHand(r.Settled); err != nil {
			return err
		}
	}
	r.Dumps = append(r.Dumps, dump())
	p, err := pingPrimary(r.Settled)
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	if err := fix(r, command); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // so that what is not for good can be seen to fail
	r.Fix.Pings = p.end()
	r.Dumps = append(r.Dumps, dump())
	r.After, err = guestreport.Look()
	return err
}

// runDocs runs the commands of the documents, as they stand there, in their order.
func runDocs(r *guestreport.Report) error {
	for _, name := range []string{"fleet.md", "incident.md"} {
		text, err := os.ReadFile("/usr/share/doc/eni0/docs/" + name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			command, isIndented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
			if !isIndented || !isCommand(command) {
				continue
			}
			ran, err := carryOut("/bin/sh", "-c", command)
			if err != nil {
				return err
			}
			r.Docs = append(r.Docs, guestreport.Doc{Line: command, Output: ran.Output, Code: ran.Code})
		}
	}
	return nil
}

// isCommand tells whether an indented line of a document is a command that can be run in the machine.
func isCommand(line string) bool {
	program, _, _ := strings.Cut(line, " ")
	return slices.Contains([]string{"eni0", "systemd-run", "journalctl", "ip", "uname"}, program)
}

// downUp takes the primary, which is called eth1, down and up: the least that a rename can cost where
// it has to.
func downUp(r *guestreport.Report) error {
	p, err := pingPrimary(r.Settled)
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	output("ip link set eth1 down")
	output("ip link set eth1 up")
	time.Sleep(3 * time.Second)
	r.Down = p.end()
	r.Settled, err = settle(false)
	return err
}

// operators are what an operator runs, by the word on the kernel's command line: eni0, in two ways,
// or the same swap with ip(8), where Linux before 6.2 renames no link that is up.
var operators = map[string][]string{
	"vm.fix":   {eni0, "fix"},
	"vm.names": {eni0, "fix", "-names"},
	"vm.swap": {"/bin/sh", "-ec", `
		ip link set eth0 name swap || {
			ip link set eth0 down; ip link set eth1 down; ip link set eth0 name swap
		}
		ip link set eth1 name eth0; ip link set swap name eth1; ip link set eth0 up; ip link set eth1 up
		systemctl restart systemd-networkd; sleep 10`},
}

// fix runs a command as an operator would, and measures how long it takes until default traffic has
// another way, unless it is by the primary already.
func fix(r *guestreport.Report, command []string) error {
	was := r.Settled.MAC(r.Settled.Leaves())
	start := time.Now()
	moved, ended := make(chan int64), make(chan struct{})
	go func() { moved <- follow(was, start, ended) }()
	var err error
	r.Fix, err = carryOut(append([]string{"systemd-run", "--wait", "--pipe", "--collect"}, command...)...)
	close(ended)
	traffic := <-moved
	if err != nil {
		return err
	}
	r.Fix.Traffic = traffic
	return nil
}

// follow waits until default traffic leaves by another link than that with an address, and returns
// after how many milliseconds it did; -1 for not before the fix had ended.
func follow(was string, start time.Time, ended <-chan struct{}) int64 {
	for was != primaryMAC {
		s, err := guestreport.Look()
		if err == nil && s.Leaves() != "" && s.MAC(s.Leaves()) != was {
			return time.Since(start).Milliseconds()
		}
		select {
		case <-ended:
			return -1
		case <-time.After(20 * time.Millisecond):
		}
	}
	return 0
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

// tell sends the report and ends the machine. It does so by itself: a machine that is shut down
// takes longer, and its shutdown is nobody's concern here.
func tell(r *guestreport.Report) error {
	args, err := os.ReadFile("/proc/1/cmdline")
	if err != nil {
		return err
	}
	r.Args = strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line, err := os.OpenFile(serialLine(), os.O_WRONLY|unix.O_NOCTTY, 0)
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

// serialLine is the device of the second serial line. On arm64 the first one is of another kind,
// and the two are numbered each for itself.
func serialLine() string {
	if runtime.GOARCH == "arm64" {
		return "/dev/ttyS0"
	}
	return "/dev/ttyS1"
}
