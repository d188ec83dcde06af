package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A network manager that is restarted removes what it did not make, as systemd-networkd does. All of it
// comes back, and what the manager's own files give to the name stays where it went.
func TestKernelRestartCosts(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.furnish()
	if ec2.HasIPv6() {
		l.furnishIPv6()
	}
	own := netip.MustParsePrefix("10.99.0.1/24") // of the manager's file for eth1
	l.must(ec2.AddRule(ec2.Rule{From: netip.MustParsePrefix("10.77.0.7/32"), Table: 77, Priority: 777}),
		ec2.AddAddr("eth0", netip.MustParsePrefix("10.77.0.7/24")),
		ec2.AddAddr("eth1", own))
	before := l.state()
	restarted := make(chan error, 1)
	lines := l.systemd("systemd-networkd.service")
	go func() {
		for !strings.Contains(<-lines, "try-restart") {
		}
		restarted <- l.flush(m, own)
	}()
	r := l.finish(l.command("fix"))
	l.must(<-restarted)
	if r.code != codeRight {
		t.Fatalf("fix: code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	l.wantNames("eth0", "eth1")
	l.says(r.stderr, "put back address 10.77.0.7/24 (index ")
	l.says(r.stderr, "put back rule 777")
	l.sameState(before, m.Owns, func(line string) bool { return strings.Contains(line, "10.99.0.") })
	if addrs := l.addrs("eth1"); !slices.Contains(addrs, own.String()) {
		t.Errorf("eth1 has %v, want %v, which followed the name", addrs, own)
	}
	if addrs := l.addrs("eth0"); slices.Contains(addrs, own.String()) {
		t.Errorf("eth0 has %v, want no %v any more", addrs, own)
	}
	l.unchanged(func() { l.run(codeRight, "fix") })
}

// What can't be put back is said in the JSON: here a route to whose gateway no route leads any more.
func TestKernelRestartLost(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	gateway := ec2.Route{Dev: "eth1", Dst: netip.MustParsePrefix("172.30.0.1/32")}
	behind := ec2.Route{Dev: "eth1", Dst: netip.MustParsePrefix("172.31.0.0/16"), Via: gateway.Dst.Addr()}
	l.must(ec2.AddRoute(gateway), ec2.AddRoute(behind), ec2.DelRoute(gateway))
	restarted := make(chan error, 1)
	l.onRestart(l.systemd("systemd-networkd.service"), func() error {
		behind.Dev = "eth0"
		restarted <- errors.Join(ec2.DelRoute(behind), m.Apply())
		return nil
	})
	r := l.run(codeRight, "fix", "-json")
	l.must(<-restarted)
	var got reportJSON
	l.must(json.Unmarshal([]byte(r.stdout), &got))
	if len(got.Lost) != 1 || !strings.HasPrefix(got.Lost[0], "route 172.31.0.0/16 table 254 (index ") {
		t.Errorf("lost %q, want the route to %v", got.Lost, behind.Dst)
	}
	l.says(r.stderr, "not put back: RTM_NEWROUTE: network is unreachable")
}

// A look that fails is no good one: here the second, after which the wait would be over.
func TestKernelWaitSettledBlind(t *testing.T) {
	l, m := managed(t, 0, 1)
	if l == nil {
		return
	}
	m.Hold()
	nl := l.dial()
	was, err := nl.observeNetwork(eniAddr(1))
	l.must(err)
	var log strings.Builder
	r := &renaming{nl: nl, log: logger{to: &log}}
	ctx, cancel := withTimeout(t.Context(), 2*quietPeriod)
	defer cancel()
	looks := 0
	lost := r.waitSettled(ctx, was, func(_, _ network) bool {
		looks++
		nl.close()
		return true
	})
	if looks != 1 || lost != nil || !strings.Contains(log.String(), "not as it should be yet") {
		t.Errorf("waitSettled() = %v after %d looks, logs %q", lost, looks, log.String())
	}
}

// The manager gets a lease seconds after its restart, and only then gives the link the address of its file.
func TestKernelRestartLeaseComesLate(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	nl := l.dial()
	defer nl.close()
	own, leased := netip.MustParsePrefix("10.99.0.1/24"), netip.PrefixFrom(l.Addr(1).Next(), 24)
	request := func(name string) []nlMessage {
		return []nlMessage{createRequest(unix.RTM_NEWADDR, unix.NLM_F_EXCL, l.anAddress(name, leased, unix.RT_SCOPE_UNIVERSE))}
	}
	l.must(ec2.AddAddr("eth1", own), l.delAddr("eth0", netip.PrefixFrom(l.Addr(1), 24)), nl.execute(request("eth0")))
	lines := l.systemd("systemd-networkd.service")
	until := filepath.Join(l.TempDir(), "restarted")
	l.must(unix.Mkfifo(until, 0o600))
	l.env = append(l.env, "SYSTEMCTL_UNTIL="+until)
	restarted := make(chan error, 1)
	l.onRestart(lines, func() error {
		err := errors.Join(l.delAddr("eth1", leased), l.delAddr("eth0", own), m.Apply(),
			l.delAddr("eth1", netip.PrefixFrom(l.Addr(1), 24)), os.WriteFile(until, nil, 0))
		time.Sleep(5 * quietPeriod / 2)
		nl := l.dial()
		defer nl.close()
		restarted <- errors.Join(err, nl.execute(request("eth1")), ec2.AddAddr("eth1", own))
		return nil
	})
	r := l.run(codeRight, "fix")
	l.must(<-restarted)
	l.wantNames("eth0", "eth1")
	if strings.Contains(r.stderr, "put back") || slices.Contains(l.addrs("eth0"), own.String()) {
		t.Errorf("%s\neth0 has %v, want no %v any more; eth1 %v", r.stderr, l.addrs("eth0"), own, l.addrs("eth1"))
	}
}

// With the new names the manager configures nothing: the names are put back, and the network is as before.
func TestKernelUndo(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("systemd-networkd.service")
	var restarts atomic.Int32
	failed := make(chan error, 1)
	go func() {
		for line := range lines {
			if !strings.Contains(line, "restart") {
				continue
			}
			if restarts.Add(1) == 1 { // no file fits any more
				failed <- ec2.DelRoute(ec2.Route{Dev: "eth1", Via: l.Router(1), Metric: 512, Proto: 16})
			}
		}
	}()
	var r result
	l.unchanged(func() { r = l.run(codeDoubt, "fix", "-timeout", "3s") })
	l.must(<-failed)
	l.wantNames("eth1", "eth0")
	l.says(r.stderr, "eni0: there is no IPv4 default route: putting the names back\n")
	l.says(r.stderr, "eni0: with the new names, 20s after systemd-networkd.service was told, there is no IPv4 default route, so the names are put back: see `networkctl status eth1`\n")
	l.says(r.stderr, "eni0: restarting systemd-networkd.service\neni0: there is no")
	if n := restarts.Load(); n != 2 {
		t.Errorf("%d restarts were ordered, want 2", n)
	}
	l.run(codeNames, "check")
}

// The primary loses its address: that counts though there is a default route.
func TestKernelUndoForAnAddress(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("systemd-networkd.service")
	l.onRestart(lines, func() error { return l.delAddr("eth0", netip.PrefixFrom(l.Addr(0), 24)) })
	l.unchanged(func() { l.says(l.run(codeDoubt, "fix").stderr, "has no IPv4 address") })
	l.wantNames("eth1", "eth0")
}

// The manager does not come up again: that is a restart too, after which the network may be lost.
func TestKernelUndoForAFailedRestart(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("systemd-networkd.service")
	l.env = append(l.env, "SYSTEMCTL_FAILS=try-restart")
	l.onRestart(lines, l.loseDefaultRoute)
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "fix").stderr, "systemctl try-restart -- systemd-networkd.service: exit code 1")
	})
	l.wantNames("eth1", "eth0")
}

// Units that systemd stops with a renamed link are started again: ifup@eth0.service of ifupdown.
func TestKernelBoundUnits(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("networking.service,ifup@eth0.service")
	l.env = append(l.env, "SYSTEMCTL_BOUND=ifup@eth0.service ifup@eth7.service")
	var asked []string
	applied := make(chan error)
	go func() {
		for line := range lines {
			asked = append(asked, line)
			switch {
			case strings.HasPrefix(line, "try-restart"):
				l.must(m.Apply())
			case strings.HasPrefix(line, "start"):
				applied <- nil
				return
			}
		}
	}()
	l.run(codeRight, "fix")
	l.must(<-applied)
	if last := asked[len(asked)-2:]; !slices.Equal(last, []string{"try-restart -- networking.service", "start -- ifup@eth0.service"}) {
		t.Errorf("systemctl was asked %q at last, want try-restart and start", last)
	}
	l.wantNames("eth0", "eth1")
}

// NetworkManager is restarted, and its profiles are activated by name, eth0 first; a link without a profile
// is disconnected.
func TestKernelNetworkManager(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	for _, c := range []struct {
		world, profiles string
		want            []string
	}{
		{"a profile for each", "uuid1=eth1 uuid0=eth0 uuid9=lo uuid7=", []string{
			"restart", "connection up uuid uuid0", "connection up uuid uuid1"}},
		{"one for eth0 only", "uuid0=eth0", []string{"restart", "connection up uuid uuid0", "device disconnect eth1"}},
		{"none that goes by name", "uuid7=", []string{"restart"}},
	} {
		lines := l.systemd("NetworkManager.service")
		l.env = append(l.env, "NMCLI_PROFILES="+c.profiles)
		var did []string
		done := make(chan error, 1)
		go func() {
			for line := range lines {
				if line == "end" {
					done <- nil
					return
				}
				if strings.HasPrefix(line, "try-restart") {
					line = "restart"
					l.must(m.Apply())
				}
				if !strings.HasPrefix(line, "is-active") && !strings.HasPrefix(line, "show") && !strings.Contains(line, "connection show") {
					did = append(did, strings.TrimPrefix(line, "-w 20 "))
				}
			}
		}()
		l.run(codeRight, "fix")
		l.must(l.noteEnd())
		l.must(<-done)
		if !slices.Equal(did, c.want) {
			t.Errorf("%s: it was told %q, want %q", c.world, did, c.want)
		}
		l.wantNames("eth0", "eth1")
		l.run(codeRight, "swap", "-restart", "", "eth0", "eth1")
		l.must(m.Apply())
	}
}

// A manager that takes the default routes away one after the other, some time after it says that it is done:
// that the one which is left first is the primary's is not the end of it.
func TestKernelUndoLater(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	byPrimary := ec2.Route{Dev: "eth1", Via: l.Router(0), Metric: 600}
	l.must(ec2.AddRoute(byPrimary))
	lines := l.systemd("systemd-networkd.service")
	l.onRestart(lines, func() error {
		err := l.loseDefaultRoute()
		time.Sleep(300 * time.Millisecond)
		byPrimary.Dev = "eth0"
		return errors.Join(err, ec2.DelRoute(byPrimary))
	})
	l.unchanged(func() {
		l.says(l.run(codeDoubt, "fix").stderr, "there is no IPv4 default route: putting the names back")
	})
	l.wantNames("eth1", "eth0")
}

// The manager removes a default route that was made by hand each time that it is restarted, also after the
// undo: it is put back then.
func TestKernelUndoOfAHandMadeRoute(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("systemd-networkd.service")
	go func() {
		for line := range lines {
			if !strings.Contains(line, "restart -- ") {
				continue
			}
			// By the name that the secondary has at that time.
			for _, name := range []string{"eth0", "eth1"} {
				_ = ec2.DelRoute(ec2.Route{Dev: name, Via: l.Router(1), Metric: 512, Proto: 16}) // it is on one of them
			}
		}
	}()
	l.unchanged(func() { l.run(codeDoubt, "fix") })
	l.wantNames("eth1", "eth0")
}

// Who reads the log of eni0 is stuck: neither the rename nor the undo waits for it.
func TestKernelStuckLog(t *testing.T) {
	t.Parallel() // it waits for settleTime
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := l.systemd("systemd-networkd.service")
	l.onRestart(lines, l.loseDefaultRoute)
	var fds [2]int
	l.must(unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	for err := error(nil); err == nil; { // until it is full
		_, err = unix.Write(fds[1], make([]byte, 4096))
	}
	l.must(unix.SetNonblock(fds[1], false))
	stuck := os.NewFile(uintptr(fds[1]), "a full pipe")
	defer stuck.Close()
	l.unchanged(func() {
		cmd := l.command("fix")
		cmd.Stderr = stuck
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != codeDoubt {
			t.Errorf("fix: %v, want code %d", cmd.ProcessState, codeDoubt)
		}
	})
	l.wantNames("eth1", "eth0")
}

// A manager that can't be asked for is not one that does not run: a warning says so.
func TestKernelNoSystemctl(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.env = append(l.env, "PATH=/nowhere")
	r := l.run(codeRoute, "fix")
	if l.says(r.stderr, "which network manager runs can't be told: systemctl: not on $PATH"); strings.Contains(r.stderr, "none runs") {
		t.Errorf("says that none runs: %s", r.stderr)
	}
	l.wantNames("eth0", "eth1")
}

// Names are right, and traffic leaves by another ENI: a manager is restarted where -restart is given, and
// only there.
func TestKernelRestartAlone(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.run(codeRoute, "fix", "-restart", "")
	l.unchanged(func() {
		r := l.run(codeRoute, "fix")
		l.says(r.stdout, "`eni0 fix -restart systemd-networkd.service` may")
		l.says(l.run(codeRoute, "check").stdout, "default traffic leaves by another ENI, eth1")
	})
	l.run(codeRight, "fix", "-restart", "systemd-networkd.service")
	l.wantNames("eth0", "eth1")
}

// noteEnd ends what the stand-ins have noted.
func (l *lab) noteEnd() error {
	for _, setting := range l.env {
		if file, ok := strings.CutPrefix(setting, "SYSTEMCTL_LOG="); ok {
			l.Setenv("SYSTEMCTL_LOG", file) // the last one counts
		}
	}
	return noteCall("end")
}

// addrs lists the addresses of the link of that name.
func (l *lab) addrs(name string) (out []string) {
	l.Helper()
	i, err := net.InterfaceByName(name)
	l.must(err)
	addrs, err := i.Addrs()
	l.must(err)
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// A manager that hears of links which have been down removes addresses. They are back before its restart.
func TestKernelRestoreUntilQuiet(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	nl, links := l.links()
	r := &renaming{nl: nl, log: logger{to: io.Discard}, before: links, down: map[int32]bool{links[1].index: true}}
	l.must(r.takeSnapshot(links, r.down))
	l.unchanged(func() {
		reacted := make(chan error)
		go func() {
			for range 2 {
				time.Sleep(reactionPeriod / 4)
				if err := l.delAddr("eth0", netip.PrefixFrom(l.Addr(1), 24)); err != nil {
					reacted <- err
					return
				}
			}
			reacted <- nil
		}()
		r.restoreUntilQuiet()
		l.must(<-reacted)
	})
}

// delAddr takes an IPv4 address off the link of that name.
func (l *lab) delAddr(name string, p netip.Prefix) error {
	nl := l.dial()
	defer nl.close()
	i, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	addresses, err := nl.addresses()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if a.index == int32(i.Index) && a.ip == p {
			return nl.execute([]nlMessage{{typ: unix.RTM_DELADDR, body: a.body}})
		}
	}
	return unix.EADDRNOTAVAIL
}

// flush removes all that the manager m did not make, and has m apply its configuration, in which what is
// called eth1 has the address own.
func (l *lab) flush(m *ec2.Manager, own netip.Prefix) error {
	nl := l.dial()
	defer nl.close()
	links, err := nl.links()
	if err != nil {
		return err
	}
	items, err := snapshotOf(nl, links, snapshotSet(links, nil))
	if err != nil {
		return err
	}
	for _, i := range slices.Backward(items) {
		if dhcp := i.requests[0].typ == unix.RTM_NEWADDR && strings.Contains(i.description, ".10/24"); dhcp || i.transient {
			continue // the manager's own
		}
		if i.requests[0].typ == unix.RTM_NEWNEXTHOP {
			id := i.requests[0].body[unix.SizeofNhmsg : unix.SizeofNhmsg+8] // NHA_ID, and nothing else
			i.requests[0].body = append(make([]byte, unix.SizeofNhmsg), id...)
		}
		i.requests[0].typ++ // RTM_DELx is RTM_NEWx + 1
		i.requests[0].flags = 0
		err := nl.execute(i.requests[:1])
		gone := errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) // with its next hop
		if err != nil && !gone {
			return fmt.Errorf("%s: %w", i.description, err)
		}
	}
	return errors.Join(m.Apply(), ec2.AddAddr("eth1", own))
}

// configure makes /etc this lab's own, with these files in it.
func (l *lab) configure(files map[string]string) {
	l.Helper()
	l.must(unix.Mount("none", "/etc", "tmpfs", 0, ""))
	for name, text := range files {
		l.must(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600))
	}
}

// Files that tie ENIs to the names they have at a boot with wrong ones. A network manager that wants both,
// device and name, would leave them without any network.
func TestKernelPinned(t *testing.T) {
	const network = "/etc/systemd/network/"
	for kind, files := range map[string]map[string]string{
		"netplan": {
			network + "10-netplan-eth1.link":    "[Match]\nPermanentMACAddress=0a:ff:00:00:00:01\n\n[Link]\nName=eth1\n",
			network + "10-netplan-eth1.network": "[Match]\nMACAddress=0a:ff:00:00:00:01\nName=eth1\n\n[Network]\nDHCP=ipv4\n",
			network + "10-netplan-eth0.network": "[Match]\nMACAddress=0a:ff:00:00:00:02\nName=eth0\n\n[Network]\nDHCP=ipv4\n",
		},
		"udev": {"/etc/udev/rules.d/70-persistent-net.rules": "" +
			`SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="0a:ff:00:00:00:01", NAME="eth1"` + "\n" +
			`SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="0a:ff:00:00:00:02", NAME="eth0"` + "\n"},
		"NetworkManager": {"/etc/NetworkManager/system-connections/b.nmconnection": "" +
			"[connection]\nid=b\ntype=ethernet\ninterface-name=eth1\n\n[ethernet]\nmac-address=0A:FF:00:00:00:01\n"},
		"ifcfg": {"/etc/sysconfig/network-scripts/ifcfg-eth1": "DEVICE=eth1\nHWADDR=0A:FF:00:00:00:01\nBOOTPROTO=dhcp\n"},
	} {
		t.Run(kind, func(t *testing.T) {
			l, _ := managed(t, 1, 0)
			if l == nil {
				return
			}
			l.configure(files)
			l.unchanged(func() {
				for _, args := range [][]string{{"check"}, {"fix", "-n"}, {"fix"}, {"fix", "-names", "-restart", ""}} {
					r := l.run(codeDoubt, args...)
					l.says(r.stderr, "pinned: /etc/")
					l.says(r.stderr, "0a:ff:00:00:00:01 to the name eth1, and it is to be called eth0")
				}
			})
			l.wantNames("eth1", "eth0")
		})
	}
}

// The same files where the kernel's order is right: 11, and the file that is behind it. No restart cures that.
func TestKernelPinnedOtherwise(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.run(codeRoute, "fix", "-restart", "")
	l.configure(map[string]string{"/etc/systemd/network/9.network": "[Match]\nMACAddress=0a:ff:00:00:00:01\nName=eth1\n"})
	l.unchanged(func() {
		for _, args := range [][]string{{"check"}, {"fix"}, {"fix", "-restart", "systemd-networkd.service"}} {
			r := l.run(codeRoute, args...)
			l.says(r.stdout, "/etc/systemd/network/9.network, line 3, ties the ENI 0a:ff:00:00:00:01 to the name eth1")
			if strings.Contains(r.stdout, "eni0 fix -restart") {
				t.Errorf("%v: advises a restart, which can't cure that: %s", args, r.stdout)
			}
		}
	})
}

// What pins nothing: files of the machine that this one was cloned from, files that agree, files for one
// of both only, what leads nowhere or is no file.
func TestKernelPinsNothing(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	l.configure(map[string]string{
		"/etc/systemd/network/10-a.network": "[Match]\nMACAddress=0a:ff:00:00:00:77\nName=eth1\n",
		"/etc/systemd/network/11-b.network": "[Match]\nMACAddress=0a:ff:00:00:00:01\nName=eth0\n",
		"/etc/systemd/network/12-c.network": "[Match]\nName=eth*\n",
		"/etc/systemd/network/13-d.network": "[Match]\nMACAddress=0a:ff:00:00:00:01\n",
	})
	l.must(os.Symlink("14-e.network", "/etc/systemd/network/14-e.network"), unix.Mkfifo("/etc/systemd/network/15-f.network", 0o600),
		os.Symlink("/dev/zero", "/etc/systemd/network/16-g.network"))
	l.run(codeRight, "fix")
	l.wantNames("eth0", "eth1")
}

// unreadable is a file that even root can't read.
const unreadable = "/sys/class/net/lo/speed"

// A file that can't be read may pin a name: 1, and nothing is changed.
func TestKernelUnread(t *testing.T) {
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	const file = "/etc/systemd/network/10-a.network"
	l.configure(map[string]string{"/etc/systemd/network/11-b.network": "[Match]\nName=eth*\n"})
	l.must(os.Symlink(unreadable, file))
	l.unchanged(func() {
		for _, args := range [][]string{{"check"}, {"fix", "-n"}, {"fix"}, {"fix", "-names", "-restart", ""}} {
			l.says(l.run(codeDoubt, args...).stderr,
				"can't tell whether a file gives an ENI another name: read "+file+": invalid argument")
		}
		l.says(l.run(codeDoubt, "check", "-json").stdout, `"reason":"unread"`)
	})
	l.must(os.Remove(file))
	l.run(codeRight, "fix")
	l.wantNames("eth0", "eth1")
}

// What root can read, an ordinary user may not.
func TestKernelUnreadByAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have a second user in its namespace")
	}
	l, _ := managed(t, 1, 0)
	if l == nil {
		return
	}
	const dir = "/etc/systemd/network"
	l.configure(map[string]string{dir + "/10-a.network": "[Match]\nName=eth*\n"}) // mode 0600
	for _, c := range []struct {
		mode os.FileMode // of the directory
		path string
	}{{0o755, dir + "/10-a.network"}, {0o700, dir}, {0o711, dir}} {
		l.must(os.Chmod(dir, c.mode))
		for _, args := range [][]string{{"check"}, {"fix", "-n"}} {
			cmd := l.command(args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, NoSetGroups: true}}
			r := l.finish(cmd)
			if r.code != codeDoubt {
				t.Errorf("%v: code %d, want %d: %s%s", args, r.code, codeDoubt, r.stdout, r.stderr)
			}
			l.says(r.stderr, "can't tell whether a file gives an ENI another name: read "+c.path+": permission denied")
		}
		l.run(codeNames, "check")
	}
}

// Where names are right, a file that can't be read is no reason to end with 1. But it may be behind what is wrong.
func TestKernelUnreadRightNames(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	l.run(codeRoute, "fix", "-restart", "")
	l.configure(map[string]string{"/etc/systemd/network/11-b.network": "[Match]\nName=eth*\n"})
	l.must(os.Symlink(unreadable, "/etc/systemd/network/10-a.network"))
	const warning = "eni0: can't tell whether a file gives an ENI another name: read /etc/systemd/network/10-a.network: "
	l.says(l.run(codeRoute, "check").stderr, warning)
}

// onRestart does something when the manager is restarted for the first time.
func (l *lab) onRestart(lines chan string, do func() error) {
	go func() {
		for !strings.Contains(<-lines, "try-restart") {
		}
		if err := do(); err != nil {
			l.Error(err)
		}
	}()
}

// loseDefaultRoute deletes the manager's default route, which is the secondary's, by its new name.
func (l *lab) loseDefaultRoute() error {
	return ec2.DelRoute(ec2.Route{Dev: "eth1", Via: l.Router(1), Metric: 512, Proto: 16})
}
