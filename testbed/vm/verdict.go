package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eni0/testbed/vm/guestreport"
)

// A verdict is what is to be said of a case, and what is wrong with it.
type verdict struct {
	notes  []string
	faults []string
}

// note adds something to be told.
func (v *verdict) note(format string, args ...any) {
	v.notes = append(v.notes, fmt.Sprintf(format, args...))
}

// want adds a fault unless all is as it should be.
func (v *verdict) want(right bool, format string, args ...any) {
	if !right {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// healthy wants what every good start ends in.
func (v *verdict) healthy(s *observation) {
	v.managing(s)
	v.state(s.Report.Settled)
	v.addresses(s.Report.Settled)
	v.before(s, "eth0")
}

// before wants the primary to have had that name when the network was about to be configured, and
// nothing left of what eni0 had borrowed.
func (v *verdict) before(s *observation, name string) {
	b := s.Report.Before
	if b == nil {
		v.want(false, "nobody looked before the network was configured")
		return
	}
	v.want(primary(b) == name, "before the network was configured the primary was %s", primary(b))
	v.clean(b)
}

// started wants names to have been wrong, and default traffic to have left by the link of a name.
func (v *verdict) started(now *guestreport.State, leaves string) {
	v.want(primary(now) == "eth1" && now.Leaves() == leaves,
		"it did not start wrong: the primary is %s, traffic leaves by %s", primary(now), now.Leaves())
}

// state wants the names and the default route right.
func (v *verdict) state(now *guestreport.State) {
	v.want(primary(now) == "eth0", "the primary is %s", primary(now))
	v.want(now.Leaves() == "eth0", "default traffic leaves by %q", now.Leaves())
}

// managing wants every link configured, and no unit failed. A networkd up to 257 can lose a link
// that was renamed under it, which is then "failed".
func (v *verdict) managing(s *observation) {
	v.configured(s)
	failed := strings.TrimSpace(s.Report.Commands["failed"])
	v.want(failed == "", "failed: %s", failed)
}

// configured wants every link configured, by the word of the manager.
func (v *verdict) configured(s *observation) {
	for _, name := range slices.Sorted(maps.Keys(s.managed)) {
		v.want(s.managed[name] == s.manager.good, "%s: %s is %s", s.manager.unit, name, s.managed[name])
	}
	links := s.Report.Settled.Links
	v.want(len(s.managed) == len(links),
		"%s knows %d links of %d", s.manager.unit, len(s.managed), len(links))
	for _, l := range links {
		v.want(!strings.HasPrefix(l.Name, "eni0-"), "%s is still called %s", l.MAC, l.Name)
	}
}

// pings tells what was lost of what goes by the primary while names changed.
func (v *verdict) pings(f *guestreport.Fix) {
	p := f.Pings
	v.note("%d of %d echoes by the primary were lost, at most %d ms without an answer", p.Lost, p.Sent, p.Gap)
}

// addresses wants each link to have the address that its network hands out.
func (v *verdict) addresses(now *guestreport.State) {
	for _, l := range now.Links {
		want := ""
		for device := range len(now.Links) {
			if l.MAC == mac(device) {
				want = fmt.Sprintf("%s/24", address(device))
			}
		}
		v.want(slices.Contains(l.Addrs, want),
			"%s (%s) has the addresses %v, want %s", l.Name, l.MAC, l.Addrs, want)
	}
}

// madeByHand wants everything that was made by hand before a fix to be there after it, on the link
// on which it was made.
func (v *verdict) madeByHand(s *observation) {
	dumps := s.Report.Dumps
	made, after := v.between(dumps[1], dumps[0]), v.between(dumps[2], nil)
	v.want(len(made) == madeOnEach*len(s.Report.After.Links),
		"%d things were made by hand: %v", len(made), made)
	for _, e := range made {
		v.want(slices.Contains(after, e),
			"made by hand and gone: %s on link %d: %s", e.Kind, e.Index, e.Text)
		for _, a := range after {
			moved := a.Kind == e.Kind && a.Text == e.Text && a.Index != e.Index
			v.want(!moved,
				"made by hand on link %d, and now on %d: %s %s", e.Index, a.Index, e.Kind, e.Text)
		}
	}
}

// advertised wants the default routes that routers have advertised to be as before the fix: one for
// each link.
func (v *verdict) advertised(s *observation) {
	before, err := s.Report.Dumps[1].Advertised()
	v.want(err == nil, "%v", err)
	after, err := s.Report.Dumps[2].Advertised()
	v.want(err == nil, "%v", err)
	v.want(len(guestreport.Without(before, after)) == 0 && len(before) == len(after),
		"default routes by routers' word: before %v, after %v", before, after)
}

// unchanged wants a fix to have left everything as it was.
func (v *verdict) unchanged(s *observation) {
	before, after := s.Report.Dumps[1], s.Report.Dumps[2]
	for _, e := range v.between(before, after) {
		v.want(false, "gone: %s on link %d: %s", e.Kind, e.Index, e.Text)
	}
	for _, e := range v.between(after, before) {
		v.want(false, "new: %s on link %d: %s", e.Kind, e.Index, e.Text)
	}
}

// madeOnEach is how many things the guest makes by hand on each link.
const madeOnEach = 10

// between returns what one dump has and another has not.
func (v *verdict) between(one, other guestreport.Dump) []guestreport.Entry {
	have, err := one.Entries()
	v.want(err == nil, "%v", err)
	others, err := other.Entries()
	v.want(err == nil, "%v", err)
	return guestreport.Without(have, others)
}

// clean wants links as the kernel made them: down, and with nothing on them.
func (v *verdict) clean(now *guestreport.State) {
	for _, l := range now.Links {
		v.want(!l.Up && len(l.Addrs) == 0,
			"left behind on %s: up %v, addresses %v", l.Name, l.Up, l.Addrs)
	}
	v.want(len(now.Routes) == 0, "left behind: routes %v", now.Routes)
}

// untouched wants no link to have had another name, ever.
func (v *verdict) untouched(s *observation) {
	for _, r := range s.renames() {
		v.want(false, "renamed at %s: %s", millis(r.at), r.text)
	}
}

// renamedInTime wants renames, all of them after one time and before the manager started.
func (v *verdict) renamedInTime(s *observation, after time.Duration) {
	renames, manager := s.renames(), s.units[s.manager.unit].starting
	v.want(len(renames) > 0, "nothing was renamed: it did not start wrong")
	for _, r := range renames {
		v.want(r.at > after && r.at < manager,
			"renamed at %s, want between %s and %s: %s", millis(r.at), millis(after), millis(manager), r.text)
	}
	if n := len(renames); n > 0 && renames[n-1].at < manager {
		v.note("renamed %s before %s", millis(manager-renames[n-1].at), s.manager.unit)
	}
}

// times tells what the early unit cost: by the times that PID 1 keeps of its units, and by the
// journal's. While it runs so does udev, and there is one processor: so the processor time of the
// unit too, with systemd's making of the sandbox; and how long it was from eni0's first word.
func (v *verdict) times(s *observation) {
	u := s.units["eni0.service"]
	v.want(u.state == "active", "eni0.service is %s", u.state)
	starting, _ := s.said("eni0.service", "Starting ")
	finished, found := s.said("eni0.service", "Finished ")
	if !found {
		v.want(false, "the journal does not say that eni0.service finished")
		return
	}
	v.note("the unit held the boot %s (by the journal %s), %s from eni0's first word, %s of processor",
		millis(u.held()), millis(finished.at-starting.at),
		millis(finished.at-s.first("eni0.service").at), millis(u.cpu))
}

// millis writes a time as people read it here.
func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// renamedBefore wants all renames to be before something, at which a unit said that word. The early
// unit is masked: it can't have done them.
func (v *verdict) renamedBefore(s *observation, unit, word, what string) {
	end, found := s.said(unit, word)
	v.want(found, "the journal does not say when %s", what)
	for _, r := range s.renames() {
		v.want(r.at < end.at, "renamed after %s, at %s: %s", what, millis(end.at), r.text)
	}
}

// inKernelLog wants eni0 to have said in the kernel's log what it did.
func (v *verdict) inKernelLog(s *observation) {
	_, logged := s.said("eni0", "->")
	v.want(logged, "eni0 left nothing in the kernel's log")
}
