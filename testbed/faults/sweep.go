//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"eni0/testbed/ec2"
	"eni0/testbed/kinds"
	"eni0/testbed/trace"

	"golang.org/x/sys/unix"
)

// A scenario is a command, and the world that it is carried out in.
type scenario struct {
	name    string
	command string
	boot    bool // before any network
	manager bool // a network manager runs, and is restarted
}

// scenarios are all of them. In each the primary ENI is called eth1.
var scenarios = []scenario{
	{name: "fix", command: "fix -restart '' -timeout 3s"},
	{name: "boot", command: "fix -names -timeout 3s", boot: true},
	{name: "manager", command: "fix -timeout 3s", manager: true},
	{name: "swap", command: "swap -restart '' -timeout 3s eth0 eth1"},
}

// scenarioNames are the names of all.
func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// A sweep tries all faults in one scenario.
type sweep struct {
	scenario
	*ec2.Instance
	m           *ec2.Manager
	every, from int
	before      []string // the state without names
	calls       int      // of a run that nothing happens to
	kills       int
	errors      int
	refusals    int
	crashes     int // of Go's runtime
	wrong       int
}

// newSweep launches the instance of a scenario.
func newSweep(name string, every, from int) (*sweep, error) {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	s := &sweep{scenario: scenarios[i], every: every, from: from}
	var err error
	if s.Instance, err = ec2.Launch([]int{1, 0}); err != nil || s.boot {
		return s, err
	}
	if s.m, err = s.Manage(); err == nil && s.manager {
		err = s.m.Systemd()
	}
	if err == nil {
		s.m.Hold() // it follows only when it is restarted
	}
	return s, err
}

// A fault is what happens to one run.
type fault struct {
	at      int // the number of the system call, from 1 on
	kill    bool
	errno   unix.Errno
	message int // the number of the message that the kernel refuses, from 1 on; 0 for none
}

// String is "killed at call 7", and so on.
func (f fault) String() string {
	switch {
	case f.kill:
		return fmt.Sprintf("killed at call %d", f.at)
	case f.message > 0:
		return fmt.Sprintf("message %d of call %d refused", f.message, f.at)
	}
	return fmt.Sprintf("%v at call %d", f.errno, f.at)
}

// all tries every fault, until a run ends before the call that it is to happen at.
func (s *sweep) all() (err error) {
	if s.before, err = s.state(); err != nil {
		return err
	}
	for at := s.from; ; at += s.every {
		call, ended, err := s.try(fault{at: at, kill: true})
		if err != nil {
			return err
		}
		if ended {
			s.calls = at - 1
			return nil
		}
		s.kills++
		for _, errno := range trace.Errnos(call.Call) {
			if _, _, err := s.try(fault{at: at, errno: errno}); err != nil {
				return err
			}
			s.errors++
		}
		for message := range call.messages {
			if _, _, err := s.try(fault{at: at, message: message + 1}); err != nil {
				return err
			}
			s.refusals++
		}
	}
}

// A callAt is the system call that a fault happened at.
type callAt struct {
	trace.Call
	messages int // the number of messages in it that change something
}

// try carries out one run with a fault, looks at what is left, and puts it back. It reports whether
// the run has ended before the call.
func (s *sweep) try(f fault) (at callAt, ended bool, err error) {
	var stderr bytes.Buffer
	cmd := eni0(s.command, &stderr)
	n := 0
	status, err := trace.Run(cmd, func(c trace.Call) trace.Action {
		if n++; n != f.at {
			return trace.Action{}
		}
		changes := trace.Changes(c)
		at = callAt{c, len(changes)}
		if f.message > 0 && f.message <= len(changes) {
			_ = changes[f.message-1].Refuse() // without it the run is as any other
		}
		return trace.Action{Kill: f.kill, Errno: f.errno}
	})
	if err != nil {
		return at, false, fmt.Errorf("%v: %w", f, err)
	}
	code := killed
	switch crash := strings.Contains(stderr.String(), "fatal error: "); {
	case crash && !f.kill:
		s.crashes++ // of Go's runtime, whose own calls must not fail
	case status.Exited():
		code = status.ExitStatus()
	}
	if err := s.judge(code); err != nil {
		s.wrong++
		fmt.Printf("%s: %v (%v): %v\n%s", s.name, f, at.Call, err, firstLines(stderr.String()))
	}
	return at, n < f.at, s.reset(f)
}

// killed is in place of an exit code.
const killed = -1

// judge returns what is not as it has to be after a run.
func (s *sweep) judge(code int) error {
	eth0, err := s.deviceAt("eth0")
	if err != nil {
		return err
	}
	eth1, err := s.deviceAt("eth1")
	if err != nil {
		return err
	}
	asBefore, asWished := eth0 == 1 && eth1 == 0, eth0 == 0 && eth1 == 1
	var errs []error
	if !asBefore && !asWished {
		errs = append(errs, fmt.Errorf("eth0 is device %d, eth1 is device %d", eth0, eth1))
	}
	switch {
	case code == killed:
	case (code == 0 || code == 11 || code == 12) && !asWished, code == 1 && !asBefore, code != 0 && code != 1 && code != 11 && code != 12:
		errs = append(errs, fmt.Errorf("exit code %d, but eth0 is device %d", code, eth0))
	}
	if code != killed {
		errs = append(errs, s.sameState())
	}
	return errors.Join(errs...)
}

// reset has the next fix put right what is left, verifies that, and makes the names wrong again.
func (s *sweep) reset(f fault) error {
	var stderr bytes.Buffer
	if err := eni0("fix -names -restart '' -timeout 10s", &stderr).Run(); err != nil && !isCode(err, 11) {
		s.wrong++
		fmt.Printf("%s: %v: the next fix: %v\n%s", s.name, f, err, stderr.String())
	}
	if device, err := s.deviceAt("eth0"); err != nil || device != 0 {
		s.wrong++
		fmt.Printf("%s: %v: eth0 is device %d after the next fix (%v)\n%s", s.name, f, device, err, stderr.String())
	}
	if s.boot { // after a SIGKILL
		for _, name := range []string{"eth0", "eth1"} { // a link without an address stays up
			if err := ec2.SetUp(name, false); err != nil {
				return err
			}
		}
	}
	if err := eni0("swap -restart '' eth0 eth1", &stderr).Run(); err != nil {
		return fmt.Errorf("%v: swap back: %w: %s", f, err, stderr.String())
	}
	if s.manager {
		if err := s.m.Apply(); err != nil {
			return err
		}
	}
	if err := s.sameState(); err != nil {
		s.wrong++
		fmt.Printf("%s: %v: after the next fix: %v\n", s.name, f, err)
		s.before, err = s.state()
		return err
	}
	return nil
}

// eni0 is that command; ” stands for an empty argument.
func eni0(command string, stderr io.Writer) *exec.Cmd {
	args := strings.Fields(command)
	for i, a := range args {
		if a == "''" {
			args[i] = ""
		}
	}
	cmd := exec.Command("eni0", args...)
	cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
	cmd.Stderr = stderr
	return cmd
}

// firstLines are the first lines of what a run has said.
func firstLines(text string) string {
	lines := strings.SplitAfterN(text, "\n", 6)
	return strings.Join(lines[:min(5, len(lines))], "")
}

// isCode reports whether a command has ended with that exit code.
func isCode(err error, code int) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && exit.ExitCode() == code
}

// deviceAt returns the device index of the ENI with that name.
func (s *sweep) deviceAt(name string) (int, error) {
	l, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", name, err)
	}
	for device := range 2 {
		if mac := s.MAC(device); bytes.Equal(mac[:], l.HardwareAddr) {
			return device, nil
		}
	}
	return -1, fmt.Errorf("%s is no ENI", name)
}

// state is all there is but names, and what a manager has moved.
func (s *sweep) state() ([]string, error) {
	all, err := ec2.State()
	return slices.DeleteFunc(all, func(line string) bool { return s.manager && s.m.Owns(line) }), err
}

// sameState returns what has changed in the state.
func (s *sweep) sameState() error {
	now, err := s.state()
	errs := []error{err}
	for _, d := range kinds.Differences(s.before, now) {
		errs = append(errs, errors.New(d))
	}
	return errors.Join(errs...)
}
