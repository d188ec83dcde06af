package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"eni0/testbed/ec2"
	"eni0/testbed/vm/guestreport"

	"golang.org/x/sys/unix"
)

// The most that the kernel may take to make again what it makes of itself when a link comes up.
const afterUp = 10 * time.Second

// unmanaged is what a system without a network manager goes through: a script configures the links
// by name, and later an operator has the names put right, twice.
func unmanaged() error {
	for kind, at := range map[string]string{"proc": "/proc", "devtmpfs": "/dev"} {
		if err := mount(kind, at); err != nil {
			return err
		}
	}
	r := guestreport.Report{Teller: os.Args[0]}
	err := configure()
	if err != nil {
		return err
	}
	time.Sleep(afterUp / 5) // IPv6 addresses are tested for as long
	if r.Settled, err = guestreport.Look(); err != nil {
		return err
	}
	twice := []string{eni0, "fix", "-restart", ""}
	for _, command := range [][]string{nil, twice, twice} {
		stage := new(guestreport.Stage)
		if command != nil {
			if stage.Fix, err = carryOut(command...); err != nil {
				return err
			}
			awaitState(r.Stages[0].Whole)
		}
		if stage.Whole, err = ec2.State(); err != nil {
			return err
		}
		if stage.Renames, err = renames(); err != nil {
			return err
		}
		r.Stages = append(r.Stages, stage)
	}
	if r.After, err = guestreport.Look(); err != nil {
		return err
	}
	return tell(&r)
}

// configure takes the links up, gives each the address that is its own, and makes the default
// route of what is called eth0.
func configure() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := ec2.SetUp(l.Name, true); err != nil {
			return err
		}
		if l.Flags&net.FlagLoopback != 0 {
			continue
		}
		subnet := l.HardwareAddr[5] // the primary's is 1: 10.0.1.0/24
		own := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, subnet, 10}), 24)
		if err := ec2.AddAddr(l.Name, own); err != nil {
			return err
		}
		if l.Name != "eth0" {
			continue
		}
		router := netip.AddrFrom4([4]byte{10, 0, subnet, 2})
		if err := ec2.AddRoute(ec2.Route{Dev: l.Name, Via: router}); err != nil {
			return err
		}
	}
	return nil
}

// carryOut runs a program, and returns what came of it.
func carryOut(args ...string) (*guestreport.Fix, error) {
	start := time.Now()
	cmd := exec.Command(args[0], args[1:]...)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	took := time.Since(start).Milliseconds()
	return &guestreport.Fix{Code: cmd.ProcessState.ExitCode(), Output: string(out), Took: took}, nil
}

// awaitState waits until all is as it was. What never is so again is reported as it is.
func awaitState(want []string) {
	for until := time.Now().Add(afterUp); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if now, err := ec2.State(); err == nil && slices.Equal(now, want) {
			return
		}
	}
}

// renames counts the kernel's own lines about names: dev_change_name() of net/core/dev.c.
func renames() (int, error) {
	const readAll = 3 // SYSLOG_ACTION_READ_ALL, linux/syslog.h
	log := make([]byte, 1<<20)
	n, err := unix.Klogctl(readAll, log)
	if err != nil {
		return 0, fmt.Errorf("the kernel's log: %w", err)
	}
	return strings.Count(string(log[:n]), ": renamed from "), nil
}
