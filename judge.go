package main

// This file decides what is right: judge compares links and routes with what IMDS says. It imports
// nothing that can touch the machine.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Exit codes, the same for every verb. flags.go has their table.
const (
	codeRight  = 0  // eth0 is the primary ENI, and no default route leaves by another ENI
	codeDoubt  = 1  // could not tell or could not do it; nothing is changed
	codeUsage  = 2  // the command line is wrong
	codeNames  = 10 // the names are wrong; fix would rename
	codeRoute  = 11 // the names are right, but default traffic leaves by another link
	codeBroken = 12 // a rename broke off and could not be put back
)

// A codedError is an error with an exit code other than codeDoubt.
type codedError struct {
	code int
	error
}

// Unwrap is for errors.Is and errors.AsType.
func (e codedError) Unwrap() error { return e.error }

// codeOf returns the exit code of an error.
func codeOf(err error) int {
	if coded, ok := errors.AsType[codedError](err); ok {
		return coded.code
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
// ENIs have the primary's address, or eth0 is the name of a link that is no ENI.
func judge(w world, names bool) (verdict, error) {
	p, err := w.primaryLink()
	if err != nil {
		return verdict{}, err
	}
	leaves := w.egress(p)
	if !isKernelName(p.name) && !isTemporary(p.name) {
		return w.routeOnly(p), nil // an image with predictable names: nothing to do here
	}
	if leaves == egressPrimary && !names && !isUnfinished(w.links, p) {
		return w.undisturbed(p), nil
	}
	targets, err := targetNames(w.links, p)
	if err != nil {
		return verdict{}, err
	}
	if len(targets) == 0 {
		return w.routeOnly(p), nil
	}
	return verdict{code: codeNames, targets: targets, note: wrongNames(p, leaves)}, nil
}

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
	return verdict{code: codeRight, note: note}
}

// routeOnly is the verdict where no name is to be changed.
func (w world) routeOnly(p link) verdict {
	who := primaryName + " is the primary ENI"
	if p.name != primaryName {
		who = fmt.Sprintf("the primary ENI is called %s, which is not a kernel name: "+
			"names are left alone", p.name)
	}
	switch w.egress(p) {
	case egressNone:
		return verdict{code: codeRight, note: who + "; there is no default route"}
	case egressPrimary:
		return verdict{code: codeRight, note: who + ", and default traffic leaves by it"}
	}
	var names []string
	for _, index := range w.egressLinks() {
		l, _ := linkByIndex(w.links, index)
		names = append(names, visible(l.name))
	}
	note := fmt.Sprintf("%s, but default traffic leaves by another link, %s; "+
		"a rename can't cure that", who, strings.Join(names, " and "))
	return verdict{code: codeRoute, note: note}
}

// wrongNames says what is wrong with the names.
func wrongNames(p link, t egressKind) string {
	if p.name == primaryName {
		return primaryName + " is the primary ENI, but an earlier rename was not finished"
	}
	who := fmt.Sprintf("the primary ENI is called %s, not %s", p.name, primaryName)
	switch t {
	case egressNone:
		return who + "; there is no default route"
	case egressPrimary:
		return who + ", though default traffic leaves by it"
	}
	return who + ", and default traffic leaves by another link"
}

// isUnfinished reports whether a rename of the primary broke off: the primary has a temporary name,
// or the temporary name of another ENI stands for eth0 or for the primary's present name.
func isUnfinished(links []link, primary link) bool {
	return slices.ContainsFunc(links, func(l link) bool {
		final, _ := finalName(l.name)
		return l.index == primary.index && isTemporary(l.name) ||
			l.eni() && (final == primaryName || final == primary.name)
	})
}

// An egressKind is what default traffic leaves by.
type egressKind int

const (
	egressNone    egressKind = iota // there is no default route
	egressPrimary                   // all live hops of the default route are the primary ENI's
	egressOther                     // at least one is not
)

// egress returns what default traffic leaves by.
func (w world) egress(primary link) egressKind {
	links := w.egressLinks()
	switch {
	case links == nil:
		return egressNone
	case slices.Equal(links, []int32{primary.index}):
		return egressPrimary
	}
	return egressOther
}

// targetNames returns the names that ENIs are to have (index -> name): the primary eth0; an ENI
// with a temporary name the one that this stands for; the ENI that has the name eth0 now the
// present name of the primary. All others keep their names: only the primary must have a certain
// one.
func targetNames(links []link, primary link) (map[int32]string, error) {
	holder, held := linkByName(links, primaryName)
	if held && !holder.eni() {
		return nil, fmt.Errorf("%s is no ENI (kind %q): left alone", holder, holder.kind)
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
func interruptedTargets(links []link, primary link) map[int32]string {
	targets := map[int32]string{}
	for _, l := range links {
		if final, ok := finalName(l.name); ok && l.eni() && l.index != primary.index {
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
	for _, holdsEth0 := range []bool{false, true} { // a temporary name is the older claim
		for _, l := range links {
			isTurn := (l.name == primaryName) == holdsEth0
			if isTurn && targets[l.index] != "" && l.index != primary.index {
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
	r, routed := was.defaultRoute()
	family := "IPv4"
	if r.ipv6 {
		family = "IPv6"
	}
	if _, ok := now.bestRoute(r.ipv6); routed && !ok {
		return fmt.Errorf("there is no %s default route", family)
	}
	old, err := was.primaryLink()
	addressed := err == nil && was.hasAddress(old, r.ipv6)
	follows := slices.ContainsFunc(nameChanges(was.links, now.links), func(s step) bool {
		return slices.Contains(r.liveLinks(), s.index)
	})
	if (addressed || follows) && !now.hasAddress(p, r.ipv6) {
		return fmt.Errorf("%s has no %s address", p, family)
	}
	return nil
}

// verdictAfterRename is the verdict after a rename that worked: v and err are what judge says of
// now. Where that is an error, or another program has renamed since, the code must not say that
// nothing was changed.
func verdictAfterRename(was, now world, v verdict, err error) (verdict, error) {
	switch {
	case err != nil:
		err = fmt.Errorf("renamed, but what has become of it can't be told: %w", err)
		return v, codedError{codeRoute, err}
	case v.code == codeNames:
		err = fmt.Errorf("renamed, but somebody else has renamed since: %s", v.note)
		return v, codedError{codeBroken, err}
	case was.egressLinks() != nil && now.egressLinks() == nil:
		return verdict{code: codeRoute, note: v.note + ", and there was one before"}, nil
	}
	return v, nil
}
