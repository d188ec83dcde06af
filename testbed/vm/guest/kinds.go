//go:build amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"eni0/testbed/kinds"
	"eni0/testbed/trace"
	"eni0/testbed/vm/guestreport"

	"golang.org/x/sys/unix"
)

// advertised is how long the kernel may take to have again what router advertisements bring.
const advertised = 15 * time.Second

// progress says on the console how far it is.
func progress(format string, args ...any) {
	line := fmt.Sprintf("vm-report: "+format+"\n", args...)
	_ = os.WriteFile("/dev/console", []byte(line), 0) // it is for people only
}

// swapNames is what is tried. Which link has which name does not matter: what there is is compared
// by index.
var swapNames = []string{"swap", "-restart", "", "eth0", "eth1"}

// swapKinds stops the network manager, makes objects of each kind on both links, and swaps the
// names again and again, also killed at each system call from the datagram on, or only at each 20th.
// After each of them all has to be as before.
func swapKinds(r *guestreport.Report, every int) error {
	output("systemctl stop systemd-networkd.socket systemd-networkd.service")
	k := new(guestreport.Kinds)
	r.Kinds = k
	if err := makeKinds(r.Settled); err != nil {
		return err
	}
	time.Sleep(advertised)
	before, err := kinds.Dump()
	if err != nil {
		return err
	}
	k.Made = len(before)
	progress("%d objects", k.Made)
	k.Routers = strings.Count(strings.Join(before, "\n"), " proto ra ")
	for range 2 {
		out, err := exec.Command(eni0, swapNames...).CombinedOutput()
		if k.Log += string(out); err != nil {
			k.Wrong = append(k.Wrong, fmt.Sprintf("swap: %v: %s", err, out))
		}
		k.Swaps++
		compare(k, before, "a swap", 0, kinds.Differences)
	}
	if err := killEach(k, before, every); err != nil {
		return err
	}
	return manyRoutes(k)
}

// makeKinds makes the objects. For router advertisements the kernel has to be told to heed them:
// networkd has told it not to.
func makeKinds(s *guestreport.State) error {
	links, err := numbered(s)
	if err != nil {
		return err
	}
	for _, l := range links {
		script := strings.NewReplacer("NAME", l.Name, "#", fmt.Sprint(l.Number)).Replace(`
			echo 1 >/proc/sys/net/ipv6/conf/NAME/accept_ra
			echo 0 >/proc/sys/net/ipv6/conf/NAME/addr_gen_mode
			ip link set NAME down; ip link set NAME up
			ip address replace 10.0.#.10/24 dev NAME
			ip link add link NAME name vlan#5 type vlan id 5; ip link set vlan#5 up; ip address add 10.8.#.1/24 dev vlan#5
			ip address add 2001:db8:8#::1/64 dev vlan#5; ip route add 10.9.#.0/24 via 10.8.#.2
			ip link add link NAME name vlan#6 type vlan id 6; ip address add 10.8.1#.1/24 dev vlan#6
			ip link add link NAME name mv# type macvlan; ip link set mv# up; ip address add 10.8.2#.1/24 dev mv#`)
		if out, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", l.Name, err, out)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	old := strings.HasPrefix(unix.ByteSliceToString(u.Release[:]), "5.10")
	return kinds.Make(links, func(args string) bool {
		isNew := strings.Contains(args, " managed") || strings.Contains(args, "resilient") || strings.HasSuffix(args, "nhid 2")
		return old && isNew // Linux 5.16 and 5.13
	})
}

// compare waits until all is as before, and notes what is not.
func compare(k *guestreport.Kinds, before []string, after string, wait time.Duration,
	differ func(before, now []string) []string) {
	var differences []string
	for until := time.Now().Add(wait); ; time.Sleep(200 * time.Millisecond) {
		now, err := kinds.Dump()
		if differences = differ(before, now); err != nil {
			differences = []string{err.Error()}
		}
		if len(differences) == 0 || time.Now().After(until) {
			break
		}
	}
	progress("%s: %q", after, differences)
	for _, d := range differences {
		k.Wrong = append(k.Wrong, after+": "+d)
	}
}

// afterKill are the differences that there may not be after a kill.
func afterKill(before, now []string) []string {
	return kinds.Differences(kinds.WithoutSysctls(before), kinds.WithoutSysctls(now))
}

// killEach kills a swap at each system call from the datagram on, or at each 20th.
func killEach(k *guestreport.Kinds, before []string, every int) error {
	for n := 1; ; n += every {
		cmd := exec.Command(eni0, swapNames...)
		calls, sent := 0, false
		status, err := trace.Run(cmd, func(c trace.Call) trace.Action {
			if sent {
				calls++
			}
			sent = sent || len(trace.Messages(c)) > 1
			return trace.Action{Kill: sent && calls == n}
		})
		if err != nil {
			return err
		}
		if status.Exited() {
			if k.Calls = n - 1; k.Calls == 0 {
				return errors.New("the swap sent no datagram of several messages")
			}
			return nil
		}
		k.Kills++
		compare(k, before, fmt.Sprintf("killed %d calls after the datagram", n), advertised, afterKill)
	}
}

// manyRoutes swaps where one of the links has 3,000 routes.
func manyRoutes(k *guestreport.Kinds) error {
	const file = "/run/routes"
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "route add 172.%d.%d.%d/32 via 10.0.1.2 metric 77\n", 16+i/65536, i/256%256, i%256)
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command("ip", "-batch", file).CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	before, err := kinds.Dump()
	if err != nil {
		return err
	}
	k.Routes = strings.Count(strings.Join(before, "\n"), "metric 77")
	if out, err := exec.Command(eni0, swapNames...).CombinedOutput(); err != nil {
		k.Wrong = append(k.Wrong, fmt.Sprintf("3,000 routes: %v: %s", err, out))
	}
	compare(k, before, "3,000 routes", 0, kinds.Differences)
	return nil
}
