package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Exit codes, the same for every verb. flags.go has their table.
const (
	codeRight  = 0  // eth0 is the primary ENI, and no default route leaves by another ENI
	codeDoubt  = 1  // could not tell or could not do it; the world is as it was
	codeUsage  = 2  // the command line is wrong
	codeNames  = 10 // the names are wrong; fix would rename
	codeRoute  = 11 // the names are right, but default traffic leaves by another link
	codeBroken = 12 // a rename broke off and could not be put back
)

// A codedError carries the exit code that goes with it, where that is not codeDoubt.
type codedError struct {
	code int
	error
}

// Unwrap is for errors.Is and errors.AsType.
func (e codedError) Unwrap() error { return e.error }

// codeOf is the exit code that goes with an error.
func codeOf(err error) int {
	if coded, ok := errors.AsType[codedError](err); ok {
		return coded.code
	}
	return codeDoubt
}

// A verdict is what judge found.
type verdict struct {
	code    int
	targets map[int32]string // index -> name; empty where nothing is to be renamed
	note    string           // the verdict in words, for people
	pinned  bool             // with codeRoute: a file ties an ENI to another name than it has
}

// judge is the whole decision: the table of the README. With names, a default route that
// already leaves by the primary does not excuse a wrong name. Its errors are errLate, and doubts
// that only a person can settle: two ENIs with one address, eth0 in foreign hands.
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
	wishes, err := targetNames(w.links, p)
	if err != nil {
		return verdict{}, err
	}
	if len(wishes) == 0 {
		return w.routeOnly(p), nil
	}
	return verdict{code: codeNames, targets: wishes, note: wrongNames(p, leaves)}, nil
}

// undisturbed is the verdict where default traffic leaves by the primary: that and the holder of
// eth0 keep their names. What else has a temporary name gets its own.
func (w world) undisturbed(p link) verdict {
	wishes := interruptedTargets(w.links, p)
	resolveConflicts(w.links, wishes, p)
	switch {
	case len(wishes) > 0:
		return verdict{code: codeNames, targets: wishes, note: "default traffic leaves by the primary ENI, but an earlier rename of another was not finished"}
	case p.name == primaryName:
		return w.routeOnly(p)
	}
	note := fmt.Sprintf("default traffic leaves by the primary ENI, though that is called %s; a rename would disturb it", p.name)
	return verdict{code: codeRight, note: note}
}

// routeOnly is the verdict where no name is to be changed.
func (w world) routeOnly(p link) verdict {
	who := primaryName + " is the primary ENI"
	if p.name != primaryName {
		who = fmt.Sprintf("the primary ENI is called %s, which is not a kernel name: names are left alone", p.name)
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
	note := fmt.Sprintf("%s, but default traffic leaves by another link, %s; a rename can't cure that", who, strings.Join(names, " and "))
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

// isUnfinished reports whether a rename of the primary's broke off: it has a temporary name, or
// another ENI was on its way to eth0 or to the primary's own name.
func isUnfinished(links []link, primary link) bool {
	return slices.ContainsFunc(links, func(l link) bool {
		final, _ := finalName(l.name)
		return l.index == primary.index && isTemporary(l.name) || l.eni() && (final == primaryName || final == primary.name)
	})
}

// A egressKind is what default traffic leaves by, as judge sees it.
type egressKind int

const (
	egressNone    egressKind = iota // there is no default route
	egressPrimary                   // all live hops of the default route are the primary ENI's
	egressOther                     // at least one is not
)

// egress tells what default traffic leaves by.
func (w world) egress(primary link) egressKind {
	carriers := w.egressLinks()
	switch {
	case carriers == nil:
		return egressNone
	case slices.Equal(carriers, []int32{primary.index}):
		return egressPrimary
	}
	return egressOther
}

// targetNames says which ENIs are to be called what: the primary eth0; what a temporary name
// stands for, finished; whoever holds eth0 now, the name that the primary leaves. All others keep
// theirs: nobody but the primary has a right to a certain name.
func targetNames(links []link, primary link) (map[int32]string, error) {
	holder, held := linkByName(links, primaryName)
	if held && !holder.eni() {
		return nil, fmt.Errorf("%s is no ENI (kind %q): left alone", holder, holder.kind)
	}
	wishes := interruptedTargets(links, primary)
	if primary.name != primaryName {
		wishes[primary.index] = primaryName
	}
	if held && holder.index != primary.index {
		wishes[holder.index] = primary.name
	}
	resolveConflicts(links, wishes, primary)
	return wishes, nil
}

// interruptedTargets are the names that temporary ones stand for, of all ENIs but the primary.
func interruptedTargets(links []link, primary link) map[int32]string {
	wishes := map[int32]string{}
	for _, l := range links {
		if final, ok := finalName(l.name); ok && l.eni() && l.index != primary.index {
			wishes[l.index] = final
		}
	}
	return wishes
}

// resolveConflicts replaces wishes for a name that can't be had, because somebody else has it by
// now, by the lowest free ethN. eth0 is the primary's.
func resolveConflicts(links []link, wishes map[int32]string, primary link) {
	taken := takenNames(links, wishes)
	taken[primaryName] = true
	for _, holder := range []bool{false, true} { // a temporary name is the older claim
		for _, l := range links {
			if wishes[l.index] == "" || l.index == primary.index || (l.name == primaryName) != holder {
				continue // no wish, or the primary's, or not its turn
			}
			wishes[l.index] = freeName(wishes[l.index], taken)
		}
	}
}

// networkLost says what a machine has lost that had the network was and has now: the default route
// of the family that decided, or the primary's address of that family. It has lost that too if it
// never was there, but a link that has been renamed carried default traffic: that was to follow.
// Nil is nothing that counts; a primary that was pulled out is not lost by a rename.
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
	follows := slices.ContainsFunc(nameChanges(was.links, now.links), func(s step) bool { return slices.Contains(r.liveLinks(), s.index) })
	if (addressed || follows) && !now.hasAddress(p, r.ipv6) {
		return fmt.Errorf("%s has no %s address", p, family)
	}
	return nil
}

// verdictAfterRename is the verdict after a rename that worked. The names were right then: where
// they can't be looked at again, or somebody else has changed them since, that is not "nothing was
// changed".
func verdictAfterRename(was, now world, v verdict, err error) (verdict, error) {
	switch {
	case err != nil:
		return v, codedError{codeRoute, fmt.Errorf("renamed, but what has become of it can't be told: %w", err)}
	case v.code == codeNames:
		return v, codedError{codeBroken, fmt.Errorf("renamed, but somebody else has renamed since: %s", v.note)}
	case was.egressLinks() != nil && now.egressLinks() == nil:
		return verdict{code: codeRoute, note: v.note + ", and there was one before"}, nil
	}
	return v, nil
}
