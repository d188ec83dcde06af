package main

// This file is about renames: in which order, by which temporary names, how a swap is asked for,
// and which names undo it. It only computes; apply.go carries out what it returns.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// plan turns targets (index -> name) into renames in an order in which the kernel takes them, as no
// two links may have one name: k renames for a chain of k links, k+1 for a cycle of k. It refuses
// what the kernel would refuse: invalid names, names in use by links or as altnames, unknown links.
func plan(links []link, targets map[int32]string) ([]step, error) {
	if err := checkTargets(links, targets); err != nil {
		return nil, err
	}
	held := takenNames(links, nil)
	var pending []link
	for _, l := range links {
		if want, ok := targets[l.index]; ok && want != l.name {
			pending = append(pending, l)
		}
	}
	var steps []step
	for len(pending) > 0 {
		i := slices.IndexFunc(pending, func(l link) bool { return !held[targets[l.index]] })
		to := ""
		if i >= 0 {
			to = targets[pending[i].index]
		} else if i, to = pickTemporary(pending, targets, held); i < 0 { // only cycles are left
			return nil, errors.New("no temporary name is free")
		}
		l := &pending[i]
		steps = append(steps, step{l.index, l.id(), l.name, to})
		delete(held, l.name)
		held[to], l.name = true, to
		pending = filter(pending, func(l link) bool { return l.name != targets[l.index] })
	}
	return steps, nil
}

// checkTargets refuses targets that no order of renames can reach.
func checkTargets(links []link, targets map[int32]string) error {
	asked := map[string]bool{}
	known := 0
	for _, l := range links {
		want, ok := targets[l.index]
		if ok {
			known++
		}
		if !ok || want == l.name {
			continue // stays as it is
		}
		if err := validName(want); err != nil {
			return err
		}
		if asked[want] {
			return errorf("%s: two links can't both have that name", want)
		}
		asked[want] = true
	}
	if known < len(targets) {
		return errors.New("no such link any more")
	}
	return checkNamesFree(links, targets, asked)
}

// checkNamesFree refuses names that a link keeps, as its name or as an altname.
func checkNamesFree(links []link, targets map[int32]string, asked map[string]bool) error {
	for _, l := range links {
		want, ok := targets[l.index]
		if asked[l.name] && (!ok || want == l.name) {
			return errorf("%s is in use: %s is to keep it", l.name, l)
		}
		for _, a := range l.altnames {
			if asked[a] {
				return errorf("%s is an altname of %s: "+
					"`ip link property del dev %s altname %s` clears it", a, l, l.name, a)
			}
		}
	}
	return nil
}

// takenNames returns the names of the links that have no target, and all altnames. It is not
// inlined, as it is called in many places.
//
//go:noinline
func takenNames(links []link, targets map[int32]string) map[string]bool {
	taken := map[string]bool{}
	for _, l := range links {
		if targets[l.index] == "" {
			taken[l.name] = true
		}
		for _, a := range l.altnames {
			taken[a] = true
		}
	}
	return taken
}

// pickTemporary picks the link of a cycle that takes a temporary name, and that name: the first
// link for which tempPrefix and the final name are a valid name. Where no final name is short
// enough (10 bytes) it is the first link, as "eni0-#7" (its index in hex), which finalName refuses.
// It returns -1 where no temporary name is free.
func pickTemporary(pending []link, targets map[int32]string, held map[string]bool) (int, string) {
	for i, l := range pending {
		if temp := tempPrefix + targets[l.index]; validName(temp) == nil && !held[temp] {
			return i, temp
		}
	}
	for i, l := range pending {
		temp := fmt.Sprintf("%s#%x", tempPrefix, l.index)
		if validName(temp) == nil && !held[temp] {
			return i, temp
		}
	}
	return -1, ""
}

// isTemporary reports whether name is a temporary name, of this program or of another.
func isTemporary(name string) bool {
	return strings.HasPrefix(name, tempPrefix) || isForeignTemporary(name)
}

// isForeignTemporary reports whether name is one that other programs give to a link on its way to
// another: udev's rename3, and cloud-init's cirename0 (_rename_interfaces of cloudinit/net). It
// keeps such a name if that breaks off.
func isForeignTemporary(name string) bool {
	number, ok := strings.CutPrefix(strings.TrimPrefix(name, "ci"), "rename")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// finalName returns the name that a temporary name stands for, and whether it is a temporary name.
func finalName(name string) (string, bool) {
	final, ok := strings.CutPrefix(name, tempPrefix)
	if !ok || validName(final) != nil || final[0] == '#' || isTemporary(final) {
		return "", false
	}
	return final, true
}

// lacksFinalName reports whether name is a temporary name that does not tell which name it stands
// for: that of another program, or "eni0-#7".
func lacksFinalName(name string) bool {
	_, ok := finalName(name)
	return isTemporary(name) && !ok
}

// freeName returns want, or the lowest free ethN where want is taken or temporary, and marks it
// taken.
func freeName(want string, taken map[string]bool) string {
	for n := 0; taken[want] || isTemporary(want); n++ {
		want = fmt.Sprintf("eth%d", n)
	}
	taken[want] = true
	return want
}

// displaceNewcomers returns targets with those added for ENIs that were not there before and took
// one of the names in targets: they get the lowest free ethN.
func displaceNewcomers(before, now []link, targets map[int32]string) map[int32]string {
	wanted := map[string]bool{}
	for _, name := range targets {
		wanted[name] = true
	}
	out := map[int32]string{}
	for index, name := range targets {
		out[index] = name
	}
	taken := takenNames(now, nil)
	for name := range wanted {
		taken[name] = true
	}
	for _, l := range allENIs(now) {
		_, old := linkByIndex(before, l.index)
		if !old && isKernelName(l.name) && wanted[l.name] && targets[l.index] == "" {
			out[l.index] = freeName(l.name, taken)
		}
	}
	return out
}

// undoTargets returns the targets that give each link which is still there the name it had before.
func undoTargets(before, now []link) map[int32]string {
	targets := map[int32]string{}
	for _, l := range now {
		if old, ok := linkByIndex(before, l.index); ok && old.name != l.name {
			targets[l.index] = old.name
		}
	}
	return targets
}

// swapTargets returns the targets of `swap a b`. Where a temporary name shows that a swap of the
// two broke off, these are the renames that are left.
func swapTargets(links []link, a, b string) (map[int32]string, error) {
	la, okA := linkByName(links, a)
	lb, okB := linkByName(links, b)
	targets := map[int32]string{}
	if okA && okB {
		targets[la.index], targets[lb.index] = b, a
		return targets, nil
	}
	for _, l := range links {
		final, _ := finalName(l.name)
		switch {
		case final == a && okA:
			targets[la.index] = b
		case final == b && okB:
			targets[lb.index] = a
		case final != a && final != b:
			continue
		}
		targets[l.index] = final
		return targets, nil
	}
	if okA {
		a = b
	}
	isNumbered := func(l link) bool { return strings.HasPrefix(l.name, tempPrefix+"#") }
	if i := slices.IndexFunc(links, isNumbered); i >= 0 {
		return nil, errorf("%s: no such link; but a rename of %s broke off, "+
			"and `ip link set dev %s name %s` may be what is left of it",
			a, links[i], links[i].name, a)
	}
	return nil, errorf("%s: no such link", a)
}

// nameChanges lists the links that have another name now than before.
func nameChanges(before, now []link) []step {
	var out []step
	for _, l := range now {
		if old, ok := linkByIndex(before, l.index); ok && old.name != l.name {
			out = append(out, step{l.index, l.id(), old.name, l.name})
		}
	}
	return out
}

// linksDown lists the links of the set that are down.
func linksDown(links []link, set map[int32]bool) []link {
	return filter(links, func(l link) bool { return !l.up && set[l.index] })
}

// involvedNames lists the names that links lose or get by targets, sorted, each once; where targets
// is empty, those of all ENIs.
func involvedNames(links []link, targets map[int32]string) []string {
	var names []string
	if len(targets) == 0 {
		for _, e := range allENIs(links) {
			names = append(names, e.name)
		}
	}
	for _, l := range links {
		if targets[l.index] != "" {
			names = append(names, l.name, targets[l.index])
		}
	}
	var sorted []string
	for _, i := range sortedIndexes(len(names), func(i int) string { return names[i] }) {
		sorted = append(sorted, names[i])
	}
	return sorted
}
