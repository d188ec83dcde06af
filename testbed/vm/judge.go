package main

import (
	"fmt"
	"reflect"
	"strings"

	"eni0/testbed/vm/guestreport"
)

// This file says of each case what it must come to. The facts are the guest's own reading of its
// links and routes, the kernel's log of renames, and what systemd and networkd say of their units
// and links; eni0's word is only quoted. Times are the guest's: all in one are by one clock.

// judgeRight judges a start in the right order.
func judgeRight(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	v.untouched(s[0])
	v.note("nothing renamed")
	v.times(s[0])
	return v
}

// judgeEarly judges a start in the wrong order with the early unit.
func judgeEarly(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	v.renamedInTime(s[0], s[0].units["eni0.service"].starting)
	v.times(s[0])
	return v
}

// judgeInitrd judges a start in the wrong order with eni0 in the initramfs only.
func judgeInitrd(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	v.renamedInTime(s[0], 0)
	// PID 1's last words in the initramfs.
	v.renamedBefore(s[0], "init.scope", "Switching root", "the root was switched")
	starting, _ := s[0].said("eni0-initrd.service", "Starting ")
	finished, found := s[0].said("eni0-initrd.service", "Finished ")
	v.want(found, "eni0-initrd.service did not finish")
	if found {
		v.note("in the initramfs, which waited %s for it", millis(finished.at-starting.at))
	}
	return v
}

// judgeTools judges a start in the wrong order with an initramfs that has no systemd.
func judgeTools(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	v.renamedInTime(s[0], 0)
	v.renamedBefore(s[0], "systemd", "running in system mode", "the root's systemd began")
	v.inKernelLog(s[0])
	return v
}

// judgeInFront judges a start in the wrong order with eni0 in front of systemd.
func judgeInFront(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	left, found := s[0].said("init.scope", "Switching root")
	v.want(found, "the journal does not say when the root was switched")
	v.renamedInTime(s[0], left.at)
	v.inKernelLog(s[0])
	v.want(s[0].Report.Args[0] == "/usr/lib/systemd/systemd", "PID 1 is %q", s[0].Report.Args)
	return v
}

// judgeFirst judges eni0 as the first process, with a COMMAND. There is no systemd, and so no
// journal.
func judgeFirst(s []*observation) *verdict { return judgeChain(s[0], guestPath, "eth0") }

// judgeFirstInVain judges eni0 as the first process where it can't find out anything.
func judgeFirstInVain(s []*observation) *verdict { return judgeChain(s[0], guestPath, "eth1") }

// judgeNowhere judges eni0 as the first process, with a COMMAND that does not exist.
func judgeNowhere(s []*observation) *verdict { return judgeChain(s[0], "/sbin/init", "eth0") }

// judgeChain judges eni0 as the first process: who came after it, and under which name it found the
// primary, with nothing else done to the links.
func judgeChain(s *observation, next, name string) *verdict {
	v := new(verdict)
	now := s.Report.Settled
	v.want(s.Report.Teller == next, "%s was executed, want %s", s.Report.Teller, next)
	v.want(s.Report.Bare, "something had mounted /proc")
	v.want(primary(now) == name, "the primary is %q", primary(now))
	v.clean(now)
	v.note("PID 1 went on as %s, the primary is %s", next, primary(now))
	return v
}

// judgeLive judges a fix on a running system.
func judgeLive(s []*observation) *verdict {
	v := new(verdict)
	r := s[0].Report
	v.want(primary(r.Settled) == "eth1" && r.Settled.Leaves() == "eth0",
		"it did not start wrong: the primary is %s, traffic leaves by %s", primary(r.Settled), r.Settled.Leaves())
	v.want(r.Fix.Code == 0, "code %d: %s", r.Fix.Code, strings.TrimSpace(r.Fix.Output))
	v.want(r.Fix.Traffic >= 0 && r.Fix.Traffic < 60_000, // -1: never
		"default traffic took %d ms to follow", r.Fix.Traffic)
	v.managing(s[0])
	v.state(r.After)
	v.addresses(r.After)
	v.madeByHand(s[0])
	v.advertised(s[0])
	v.note("code %d in %d ms with systemd-run, traffic by the primary after %d ms",
		r.Fix.Code, r.Fix.Took, r.Fix.Traffic)
	v.pings(r.Fix)
	return v
}

// docCodes are the exit codes of the commands of docs/, which run in the order in which they stand there, after
// a boot that the early unit has put right; 0 for all others.
var docCodes = map[string]int{"eni0 check -json": 10} // after the swap

// judgeDocs judges the commands of docs/.
func judgeDocs(s []*observation) *verdict {
	v := judgeEarly(s)
	for _, d := range s[0].Report.Docs {
		v.want(d.Code == docCodes[d.Line], "%s: code %d: %s", d.Line, d.Code, d.Output)
		if strings.HasPrefix(d.Line, "journalctl") && strings.Contains(d.Line, "renamed") {
			v.want(strings.Count(d.Output, "\n") == 1 && strings.Contains(d.Output, `"to":"eth0"`),
				"%s: %s", d.Line, d.Output)
		}
	}
	v.want(len(s[0].Report.Docs) >= 10, "%d commands, want 10 or more", len(s[0].Report.Docs))
	return v
}

// byStack is what eni0 is to say of default routes by links that are stacked on an ENI, or on none:
// the code of check, and the number of the ENI that route tells, which is the last of its address.
var byStack = map[string][2]int{
	"vlan eth0": {0, 1}, "macvlan eth0": {0, 1}, "ipvlan eth0": {0, 1}, "tun eth1": {0, 1},
	"vlan eth1": {11, 2}, "macvlan eth1": {11, 2}, "ipvlan eth1": {11, 2}, "bond eth1": {11, 2},
}

// judgeStacks judges what eni0 says of such default routes.
func judgeStacks(s []*observation) *verdict {
	v := new(verdict)
	v.state(s[0].Report.Settled)
	v.addresses(s[0].Report.Settled)
	for on, want := range byStack {
		mac := fmt.Sprintf("0a:ff:00:00:00:%02x", want[1])
		got := s[0].Report.Stacks[on]
		if got == nil {
			v.want(false, "%s was not tried", on)
			continue
		}
		lines := strings.Split(strings.TrimSpace(got.Output), "\n")
		v.want(got.Code == want[0] && lines[len(lines)-1] == mac,
			"%s: code %d, want %d and %s: %s", on, got.Code, want[0], mac, got.Output)
	}
	v.note("%d kinds of link, each judged by the ENI below", len(s[0].Report.Stacks))
	return v
}

// judgeKinds judges what became of objects of each kind.
func judgeKinds(s []*observation) *verdict {
	v := new(verdict)
	k := s[0].Report.Kinds
	if v.want(k != nil, "there is no report: %s", s[0].Report.Wrong); k == nil {
		return v
	}
	v.want(s[0].Report.Wrong == "", "%s", s[0].Report.Wrong)
	v.want(k.Made > 100 && k.Routers > 1, "only %d objects were made, %d by router advertisements", k.Made, k.Routers)
	v.want(k.Swaps == 2 && k.Kills > 3 && k.Routes >= 3000, "%d swaps, %d killed, %d routes", k.Swaps, k.Kills, k.Routes)
	for _, w := range k.Wrong {
		v.want(false, "%s", w)
	}
	v.note("%d objects, %d by router advertisements; %d swaps, %d more killed after the datagram, one with %d routes: all as before",
		k.Made, k.Routers, k.Swaps, k.Kills, k.Routes)
	return v
}

// judgeLate judges a start where the primary is plugged in late.
func judgeLate(s []*observation) *verdict {
	v := judgeEarly(s)
	v.want(s[0].Plugged, "the primary was never plugged in: IMDS was not asked for it")
	return v
}

// judgeNoIMDS judges a start in the wrong order where nobody answers: the boot goes on after the
// budget with the names as they were, however wrong, and the unit says why.
func judgeNoIMDS(s []*observation) *verdict {
	v := new(verdict)
	r, u := s[0].Report, s[0].units["eni0.service"]
	v.untouched(s[0])
	v.before(s[0], "eth1")
	v.want(primary(r.Settled) == "eth1", "the primary is %s", primary(r.Settled))
	v.want(r.Settled.Leaves() == "eth0",
		"the network was not configured: traffic leaves by %q", r.Settled.Leaves())
	failed := r.Commands["failed"] // a line for each: "eni0.service loaded failed failed ..."
	alone := strings.HasPrefix(failed, "eni0.service ") && strings.Count(failed, "\n") == 1
	v.want(alone, "failed: %q", failed)
	last := s[0].last("eni0.service")
	v.want(last != "", "the unit left nothing in the journal")
	v.note("the boot went on after %s: %q", millis(u.took()), last)
	return v
}

// judgeSlowIMDS judges a start in the wrong order where IMDS is not ready. That it was asked in
// vain is seen on the wire and by the server.
func judgeSlowIMDS(s []*observation) *verdict {
	v := judgeEarly(s)
	refused := 0
	for _, r := range s[0].Requests {
		if r.Status == 401 {
			refused++
		}
	}
	v.want(s[0].Asked > 1, "IMDS was asked %d times before it listened", s[0].Asked)
	v.want(refused == refusedTokens, "%d tokens were refused, want %d", refused, refusedTokens)
	v.note("refused %d connections, then %d tokens", s[0].Asked, refused)
	return v
}

// judgeTwice judges two starts of one disk: what the first has done, the second leaves alone.
func judgeTwice(s []*observation) *verdict {
	v := judgeEarly(s[:1])
	for _, file := range strings.Fields(s[0].Report.Commands["changed"]) {
		v.want(!leftBehind(file), "the first boot left %s", file)
	}
	second := judgeRight(s[1:])
	v.note("then: %s", strings.Join(second.notes, ", "))
	for _, f := range second.faults {
		v.want(false, "second boot: %s", f)
	}
	return v
}

// leftBehind tells whether a file could have to do with names of links.
func leftBehind(file string) bool {
	return strings.Contains(file, "eni0") || strings.Contains(file, "/udev/") || strings.Contains(file, "/network/")
}

// judgeEnforced judges a start in the wrong order with files that give eth0 to the primary. udev,
// whose they are, may or may not have carried them out: that can't rename a link to a name that is
// taken.
func judgeEnforced(s []*observation) *verdict {
	v := new(verdict)
	v.healthy(s[0])
	v.renamedInTime(s[0], 0)
	v.times(s[0])
	return v
}

// pinned is what has to come of names that are wrong, but tied to the links by a file.
type pinned struct {
	file   string // the beginning of its path
	leaves string // the link by which default traffic leaves without eni0
	code   int    // of a live fix
}

// judgeEarly judges a start with the early unit: it renames nothing and fails, and everything else
// is as without it.
func (p pinned) judgeEarly(s []*observation) *verdict {
	v := new(verdict)
	v.before(s[0], "eth1")
	p.same(v, s[0].Report.Settled)
	v.untouched(s[0])
	v.configured(s[0])
	failed := s[0].Report.Commands["failed"]
	alone := strings.HasPrefix(failed, "eni0.service ") && strings.Count(failed, "\n") == 1
	v.want(alone, "failed: %q", failed)
	last := s[0].last("eni0.service")
	v.want(strings.Contains(last, p.file), "the unit's last words do not name %s...: %q", p.file, last)
	v.note("%q", last)
	return v
}

// judgeLive judges a fix on a running system: it changes nothing.
func (p pinned) judgeLive(s []*observation) *verdict {
	v := new(verdict)
	r := s[0].Report
	p.same(v, r.Settled)
	v.untouched(s[0])
	v.managing(s[0])
	v.want(r.Fix.Code == p.code, "code %d, want %d: %s", r.Fix.Code, p.code, strings.TrimSpace(r.Fix.Output))
	v.want(p.code == 0 || strings.Contains(r.Fix.Output, p.file),
		"it does not name %s...: %q", p.file, r.Fix.Output)
	v.want(reflect.DeepEqual(r.Settled, r.After), "it was %v, and is %v", r.Settled, r.After)
	v.unchanged(s[0])
	v.note("code %d in %d ms with systemd-run: %q", r.Fix.Code, r.Fix.Took, strings.TrimSpace(r.Fix.Output))
	return v
}

// same wants the network as the files have it.
func (p pinned) same(v *verdict, now *guestreport.State) {
	v.want(primary(now) == "eth1", "the primary is %s, want eth1 as pinned", primary(now))
	v.want(now.Leaves() == p.leaves,
		"default traffic leaves by %q, want %s as without eni0", now.Leaves(), p.leaves)
	v.addresses(now)
}
