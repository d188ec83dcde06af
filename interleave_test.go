package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// A foreignChange is what another program does to the links between two messages of a datagram. It returns false where
// the kernel would refuse it.
type foreignChange struct {
	world string
	on    int32 // the link's index
	do    func(links []link) ([]link, bool)
}

// foreignChanges are all that concern these links: each is deleted, each is renamed, and a new one comes, with any name
// that matters.
func foreignChanges(links []link) (all []foreignChange) {
	matter := []string{"eth0", "eth1", "eth2", "eth9", "eni0-eth0", "eni0-eth1", "x"}
	inUse := func(links []link, name string) bool { _, ok := linkByName(links, name); return ok }
	for _, l := range links {
		all = append(all, foreignChange{fmt.Sprintf("index %d is deleted", l.index), l.index, func(links []link) ([]link, bool) {
			return slices.DeleteFunc(slices.Clone(links), func(o link) bool { return o.index == l.index }), true
		}})
		for _, name := range matter {
			all = append(all, foreignChange{fmt.Sprintf("index %d is renamed to %s", l.index, name), l.index, func(links []link) ([]link, bool) {
				out := granted(links, map[int32]string{l.index: name})
				return out, !inUse(links, name)
			}})
		}
	}
	for _, kind := range []string{"", "bridge"} {
		for _, name := range matter {
			all = append(all, foreignChange{fmt.Sprintf("a new link (%q) is called %s", kind, name), 99, func(links []link) ([]link, bool) {
				return append(slices.Clone(links), link{index: 99, name: name, kind: kind, addr: eniAddr(99), ethernet: true}), !inUse(links, name)
			}})
		}
	}
	return all
}

// tryOnPaper carries out a plan for the targets as tryRename does, on paper, with a foreign change before step at (-1: none). It
// returns the links after it, and what a new look would find left to do.
func tryOnPaper(before, now []link, targets map[int32]string, at int, f foreignChange) (after []link, err error) {
	steps, err := plan(now, displaceNewcomers(before, now, targets))
	if err != nil {
		return now, err
	}
	for i := range len(steps) + 1 {
		if i == at {
			var legal bool
			if now, legal = f.do(now); !legal {
				return nil, errIllegal
			}
		}
		if i < len(steps) {
			now, _ = onPaper(now, steps[i]) // the kernel goes on after a refusal
		}
	}
	left, err := plan(now, displaceNewcomers(before, now, targets))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%s is left to do", left[0])
	}
	return now, err
}

var errIllegal = errors.New("the kernel would refuse the foreign change")

// renameBeside is a rename as apply.go does it, beside one foreign change: again after a refusal, with the targets judged
// anew, and undone in the end.
func renameBeside(before []link, primary hwaddr, at int, f foreignChange) (now []link, err error) {
	v, err := judge(world{links: before, primary: primary}, true)
	if err != nil {
		return before, err
	}
	targets, toRename := v.targets, map[int32]bool{}
	now = before
	for tries := range maxAttempts {
		for index := range targets {
			toRename[index] = true
		}
		if now, err = tryOnPaper(before, now, targets, at, f); err == nil || errors.Is(err, errIllegal) {
			return now, err
		}
		at = -1
		if v, err = judge(world{links: now, primary: primary}, true); err != nil || tries == maxAttempts-1 {
			break
		}
		targets = v.targets
	}
	ours := slices.DeleteFunc(slices.Clone(before), func(l link) bool { return !toRename[l.index] })
	for range maxAttempts {
		back := undoTargets(ours, now)
		undone, undoErr := tryOnPaper(before, now, back, -1, f)
		if now = undone; undoErr == nil {
			break
		}
	}
	return now, err
}

// foreignWorlds are the bridges that there may be beside n ENIs, in all up to 4 links: each has a name that eni0 may want.
func foreignWorlds(n int) [][]link {
	bridge := func(index int32, name string) link {
		return link{index: index, name: name, kind: "bridge", addr: eniAddr(int(index)), ethernet: true}
	}
	worlds := [][]link{nil}
	for _, a := range []string{"eni0-eth0", "eni0-eth1", "eth9"} {
		if n < 4 {
			worlds = append(worlds, []link{bridge(50, a)})
		}
		for _, b := range []string{"eni0-eth0", "eni0-eth1", "eni0-#2", "eni0-#3"} {
			if n < 3 && a != b {
				worlds = append(worlds, []link{bridge(50, a), bridge(51, b)})
			}
		}
	}
	return worlds
}

// With one foreign change between any two messages, of up to 4 links in any order: no name is left half-way that the next
// fix would not finish, all is as wished or as before, and no link of others is renamed but one that has just taken a
// name that was ours.
func TestOneForeignChange(t *testing.T) {
	tried := 0
	for n := 2; n <= 4; n++ {
		for _, foreign := range foreignWorlds(n) {
			for position := 1; position < n; position++ { // 0 is right already
				tried += tryForeignChanges(t, append(enis("eth0 eth1 eth2 eth3")[:n:n], foreign...), position)
			}
		}
	}
	if t.Logf("%d interleavings", tried); tried < 5000 {
		t.Errorf("only %d interleavings were tried", tried)
	}
}

// tryForeignChanges tries each foreign change before each step, with the primary at that position, and returns how many
// there were.
func tryForeignChanges(t *testing.T, before []link, position int) (tried int) {
	t.Helper()
	primary := before[position].id()
	for _, f := range foreignChanges(before) {
		for at := range 8 {
			now, err := renameBeside(before, primary, at, f)
			if errors.Is(err, errIllegal) {
				continue
			}
			tried++
			if fault := judgeBeside(before, now, primary, f, err); fault != nil {
				t.Errorf("%q, the primary is eth%d, %s before step %d: %q: %v (%v)", names(before), position, f.world, at, names(now), fault, err)
			}
		}
	}
	return tried
}

// judgeBeside returns what is not as it has to be.
func judgeBeside(before, now []link, primary hwaddr, f foreignChange, err error) error {
	was, _ := f.do(before)
	for _, l := range now {
		// A bridge has the name that it had, or the one that it was given.
		old, _ := linkByIndex(before, l.index)
		given, _ := linkByIndex(was, l.index)
		if l.kind == "bridge" && l.name != old.name && l.name != given.name {
			return fmt.Errorf("a bridge was %s and is %s", given.name, l.name)
		}
	}
	v, judgeErr := judge(world{links: now, primary: primary}, true)
	asBefore := true
	for _, l := range now {
		old, ok := linkByIndex(before, l.index)
		asBefore = asBefore && (!ok || old.name == l.name)
	}
	if len(v.targets) == 1 && v.targets[f.on] != "" && isTemporary(nameOf(now, f.on)) {
		return nil // it has been given one of our temporary names: verdictAfterRename says that names are wrong
	}
	for _, l := range allENIs(now) {
		if err == nil && isTemporary(l.name) && l.index != f.on {
			return fmt.Errorf("index %d is left with a temporary name", l.index)
		}
	}
	switch {
	case err == nil && (judgeErr != nil || len(v.targets) > 0):
		return fmt.Errorf("said to be right, but %v, %v", v.targets, judgeErr)
	case err != nil && judgeErr == nil && !asBefore && len(v.targets) > 0:
		// Somebody else's name stands in the way of one of ours, and the next fix goes on from there.
		if next, err := tryOnPaper(now, now, v.targets, -1, f); err != nil {
			return fmt.Errorf("torn: the next fix makes %q: %w", names(next), err)
		}
	}
	return nil
}

// nameOf is the name of a link.
func nameOf(links []link, index int32) string {
	l, _ := linkByIndex(links, index)
	return l.name
}
