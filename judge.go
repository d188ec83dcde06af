package main

// This file decides what is right: judge compares links and routes with what IMDS says. It imports
// nothing that can touch the machine.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Exit codes, the same for every verb. flags.go has their table, docs/incident.md and docs/fleet.md
// what to do after each. To the units in systemd/ codeRoute is a success (SuccessExitStatus=).
const (
	codeRight  = 0  // names and default traffic are right, or not to be changed
	codeDoubt  = 1  // could not tell or could not do it; nothing is changed
	codeUsage  = 2  // the command line is wrong
	codeNames  = 10 // the names are wrong; fix would rename
	codeRoute  = 11 // the names are right, but default traffic leaves by another ENI
	codeBroken = 12 // a rename broke off and could not be put back
)

// errBroken means codeBroken.
var errBroken = errors.New("a rename broke off")

// codeOf returns the exit code of an error.
func codeOf(err error) int {
	if errors.Is(err, errBroken) {
		return codeBroken
	}
	return codeDoubt
}

// A verdict is the result of judge.
type verdict struct {
	code    int
	targets map[int32]string // index -> the name to be had; empty where nothing is to be renamed
	note    string           // the verdict in words
	pinned  bool             // with codeRoute: a file ties an ENI to another name than it has
}

// judge decides by the table of the README. With names, a wrong name counts even if default traffic
// leaves by the primary. It returns errNotProbed, or an error where only a person can decide: two
// ENIs have the primary's address, eth0 is the name of a link that is no ENI, or of a secondary ENI
// where the primary has no kernel name.
func judge(w world, names bool) (verdict, error) {
	p, err := w.primaryLink()
	if err != nil {
		return verdict{}, err
	}
	e := w.decidingEgress()
	if !isKernelName(p.name) && !isTemporary(p.name) { // an image with predictable names
		if other, ok := linkByName(w.links, primaryName); ok && isENI(w.links, other) {
			return verdict{}, errorf("the primary ENI is %s, %w, and yet %s is a secondary ENI",
				p, errForeignName, other)
		}
		return w.routeOnly(p), nil
	}
	if e.leavesBy(p) == egressPrimary && !names && !isUnfinished(w.links, p) {
		return w.undisturbed(p), nil
	}
	targets, err := targetNames(w.links, p)
	if err != nil {
		return verdict{}, err
	}
	if len(targets) == 0 {
		return w.routeOnly(p), nil
	}
	return verdict{code: codeNames, targets: targets, note: w.wrongNames(p)}, nil
}

// errNotENI means that a link has the name eth0 which this program does not rename.
var errNotENI = errors.New("no ENI")

// errForeignName means that a name is not of the kernel's form, so that somebody wanted it.
var errForeignName = errors.New("which is not a kernel name")

// undisturbed is the verdict where default traffic leaves by the primary: the primary and the link
// that has the name eth0 keep their names. Other ENIs with a temporary name get the name they were
// to have.
func (w world) undisturbed(p link) verdict {
	targets := interruptedTargets(w.links, p)
	resolveConflicts(w.links, targets, p)
	switch {
	case len(targets) > 0:
		const note = "default traffic leaves by the primary ENI, " +
			"but an earlier rename of another was not finished"
		return verdict{code: codeNames, targets: targets, note: note}
	case p.name == primaryName:
		return w.routeOnly(p)
	}
	note := fmt.Sprintf("default traffic leaves by the primary ENI, though that is called %s; "+
		"a rename would disturb it", p.name)
	return verdict{code: codeRight, note: note + w.egressNotes(p)}
}

// routeOnly is the verdict where no name is to be changed.
func (w world) routeOnly(p link) verdict {
	who := primaryName + " is the primary ENI"
	if p.name != primaryName {
		who = fmt.Sprintf("the primary ENI is called %s, %v: names are left alone",
			visible(p.name), errForeignName)
	}
	v := verdict{code: codeRight}
	e := w.decidingEgress()
	switch e.leavesBy(p) {
	case egressNone:
		v.note = who + "; " + w.noEgress(e)
	case egressPrimary:
		v.note = who + ", and default traffic leaves by it"
	default:
		v.code = codeRoute
		if !p.up {
			who += ", and is down"
		}
		v.note = fmt.Sprintf("%s, but default traffic leaves by another ENI, %s; "+
			"a rename can't cure that", who, w.namesOf(e.others(p)))
	}
	v.note += w.egressNotes(p)
	return v
}

// wrongNames says what is wrong with the names.
func (w world) wrongNames(p link) string {
	if p.name == primaryName {
		return primaryName + " is the primary ENI, but an earlier rename was not finished"
	}
	who := fmt.Sprintf("the primary ENI is called %s, not %s", visible(p.name), primaryName)
	e := w.decidingEgress()
	switch e.leavesBy(p) {
	case egressNone:
		who += "; " + w.noEgress(e)
	case egressPrimary:
		who += ", though default traffic leaves by it"
	default:
		who += ", and default traffic leaves by another ENI, " + w.namesOf(e.others(p))
	}
	return who + w.egressNotes(p)
}

// noEgress says why default traffic leaves by no ENI.
func (w world) noEgress(e egress) string {
	switch {
	case e.rejects != "":
		return "the default route is of the type " + e.rejects
	case e.passed != nil:
		return "no default route leaves by an ENI"
	}
	return "there is no default route"
}

// egressNotes says what else there is to know of the default routes: those that were passed over, a
// bridge or bond with more ENIs than the primary, and the other family.
func (w world) egressNotes(p link) (notes string) {
	e := w.decidingEgress()
	if e.passed != nil {
		notes += fmt.Sprintf("; the default route by %s is passed over, because that is on no ENI",
			w.namesOf(e.passed))
	}
	if all := e.allENIs(); e.leavesBy(p) == egressPrimary && len(all) > 1 {
		notes += fmt.Sprintf("; %s has more ENIs than the primary: %s",
			w.namesOf(e.links), w.namesOf(all))
	}
	if other := w.egress(true); !e.ipv6 && other.leavesBy(p) == egressOther {
		notes += "; IPv6 default traffic leaves by another ENI, " + w.namesOf(other.others(p))
	}
	return notes
}

// namesOf lists the names of links.
func (w world) namesOf(indexes []int32) string {
	var names []string
	for _, index := range indexes {
		l, _ := linkByIndex(w.links, index)
		names = append(names, visible(l.name))
	}
	return strings.Join(names, " and ")
}

// isUnfinished reports whether a rename of the primary broke off: the primary has a temporary name,
// or the temporary name of another ENI stands for eth0 or for the primary's present name.
func isUnfinished(links []link, primary link) bool {
	return slices.ContainsFunc(allENIs(links), func(l link) bool {
		final, _ := finalName(l.name)
		return l.index == primary.index && isTemporary(l.name) ||
			final == primaryName || final == primary.name
	})
}

// An egressKind is what default traffic leaves by, as seen from the primary.
type egressKind int

const (
	egressNone    egressKind = iota // no default route leaves by an ENI
	egressPrimary                   // all live hops leave by the primary, or may
	egressOther                     // at least one does not
)

// leavesBy returns what default traffic leaves by. It is not inlined, as it is called in many
// places.
//
//go:noinline
func (e egress) leavesBy(primary link) egressKind {
	switch {
	case e.links == nil:
		return egressNone
	case e.others(primary) == nil:
		return egressPrimary
	}
	return egressOther
}

// others lists the ENIs of the hops that do not leave by the primary.
func (e egress) others(primary link) []int32 {
	var rest egress
	for _, enis := range e.enis {
		if !slices.Contains(enis, primary.index) {
			rest.enis = append(rest.enis, enis)
		}
	}
	return rest.allENIs()
}

// targetNames returns the names that ENIs are to have (index -> name): the primary eth0; an ENI
// with a temporary name the one that this stands for; the ENI that has the name eth0 now the
// present name of the primary. All others keep their names: only the primary must have a certain
// one.
func targetNames(links []link, primary link) (map[int32]string, error) {
	holder, held := linkByName(links, primaryName)
	if held && !isENI(links, holder) {
		return nil, errorf("%s is %w (kind %q): left alone", holder, errNotENI, holder.kind)
	}
	targets := interruptedTargets(links, primary)
	if primary.name != primaryName {
		targets[primary.index] = primaryName
	}
	if held && holder.index != primary.index {
		targets[holder.index] = primary.name
	}
	resolveConflicts(links, targets, primary)
	return targets, nil
}

// interruptedTargets returns the names that temporary names stand for, of all ENIs but the primary.
// Where a temporary name does not tell, any free name will do: see freeName.
func interruptedTargets(links []link, primary link) map[int32]string {
	targets := map[int32]string{}
	for _, l := range allENIs(links) {
		final, ok := finalName(l.name)
		if lacksFinalName(l.name) {
			final, ok = l.name, true
		}
		if ok && l.index != primary.index {
			targets[l.index] = final
		}
	}
	return targets
}

// resolveConflicts replaces each target that another link has as its name by the lowest free ethN.
// eth0 is for the primary alone.
func resolveConflicts(links []link, targets map[int32]string, primary link) {
	taken := takenNames(links, targets)
	taken[primaryName] = true
	rank := func(l link) int { // the older claim comes first
		switch {
		case lacksFinalName(l.name):
			return 2 // any name will do
		case l.name == primaryName:
			return 1
		}
		return 0
	}
	for turn := range 3 {
		for _, l := range links {
			if rank(l) == turn && targets[l.index] != "" && l.index != primary.index {
				targets[l.index] = freeName(targets[l.index], taken)
			}
		}
	}
}

// networkLost returns as an error what the machine has lost from was to now: the default route of
// the family that decided, or the primary's address of that family. That address counts as lost,
// too, where there was none but a renamed link carried default traffic, which was to move to the
// primary. A primary that is not there any more was detached, and is not lost by the rename.
func networkLost(was, now network) error {
	p, err := now.primaryLink()
	if err != nil {
		return nil
	}
	e := was.decidingEgress()
	family := "IPv4"
	if e.ipv6 {
		family = "IPv6"
	}
	if e.links != nil && now.egress(e.ipv6).links == nil {
		return errorf("there is no %s default route", family)
	}
	old, err := was.primaryLink()
	addressed := err == nil && was.hasAddress(old, e.ipv6)
	follows := slices.ContainsFunc(nameChanges(was.links, now.links), func(s step) bool {
		return e.carries(s.index)
	})
	if (addressed || follows) && !now.hasAddress(p, e.ipv6) {
		return errorf("%s has no %s address", p, family)
	}
	return nil
}

// verdictAfterRename is the verdict after a rename that worked: v and err are what judge says of
// now. Where that is an error, or another program has renamed since, the code must not say that
// nothing was changed, and the message says where each link stands.
func verdictAfterRename(was, now world, v verdict, err error) (verdict, error) {
	if err == nil && v.code == codeNames {
		err = errorf("somebody else has renamed since: %s", v.note)
	}
	if err != nil {
		stands := ""
		for _, s := range nameChanges(was.links, now.links) {
			stands += fmt.Sprintf("; %s (index %d) was %s and is %s",
				s.addr, s.index, visible(s.from), visible(s.to))
		}
		return v, taggedError{errorf("renamed, but %w%s", err, stands), errBroken}
	}
	e := was.decidingEgress()
	if e.links != nil && now.egress(e.ipv6).links == nil {
		return verdict{code: codeRoute, note: v.note + ", and there was one before"}, nil
	}
	return v, nil
}
