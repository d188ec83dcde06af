package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// This file carries out a plan, and puts names back where the kernel refuses a part of it. There is
// one order: plan, one datagram, look again. Whatever fails in between, the names are then as
// before, or the error says where each link stands.

// A renaming is the one change this program makes, and what it cost.
type renaming struct {
	nl            *rtnl
	log           logger
	before        []link         // the links as they are when it begins
	toRename      []link         // those of them that are to be renamed
	down          map[int32]bool // the links that had to go down, by index
	snapshotLinks map[int32]bool // the links of which kept has what they had
	snapshot      []netObject    // what they had, before they went down or a manager was restarted
}

// attempts is how often a rename is planned anew where a name was taken in between: the kernel lets
// others in between the messages of a datagram, and a driver that registers takes the first free
// ethN.
const maxAttempts = 5

// rename grants the targets, all of them or none. On Linux 6.2 and newer nothing is lost by it;
// before that links go down and up, and what that costs them is to be restored. If it fails the
// names are as before, or the error's code is codeBroken.
func (r *renaming) rename(targets map[int32]string) error {
	r.toRename = slices.DeleteFunc(slices.Clone(r.before), func(l link) bool { return targets[l.index] == "" })
	// From here on a failure puts names back before it returns.
	err := r.tryRename(r.before, targets)
	for tries := 1; errors.Is(err, unix.EEXIST) && tries < maxAttempts; tries++ {
		var now []link
		if now, err = r.nl.links(); err == nil {
			err = r.tryRename(now, targets)
		}
	}
	if err != nil {
		return r.putNamesBack(renameError(err))
	}
	return nil
}

// tryRename is one attempt: plan by how the links stand now, one datagram, look again.
func (r *renaming) tryRename(now []link, targets map[int32]string) error {
	way := displaceNewcomers(r.before, now, targets)
	steps, err := plan(now, way)
	if err != nil {
		return err
	}
	for _, l := range now {
		if way[l.index] != targets[l.index] {
			r.log.warn("%s came in between: it is to be %s", l, way[l.index])
		}
	}
	if err := r.renameLinks(steps, targets); err != nil {
		return err
	}
	return r.verifyRenamed(targets) // the kernel's word is good, a look is better
}

// renameLinks carries out the steps that lead to the targets, or bounces the links, and has up what
// was up.
func (r *renaming) renameLinks(steps []step, targets map[int32]string) error {
	err := r.nl.execute(renameRequests(steps))
	if errors.Is(err, unix.EBUSY) { // Linux before 6.2 will not rename a link that is up
		err = r.renameWhileDown(targets)
	}
	if err != nil {
		return err
	}
	return r.bringUp()
}

// bringUp takes up what an attempt before took down and did not come to take up again.
func (r *renaming) bringUp() error {
	if len(r.down) == 0 {
		return nil
	}
	now, err := r.nl.links()
	if err != nil {
		return err
	}
	var ups []nlMessage
	for _, l := range linksDown(now, r.down) {
		ups = append(ups, setLink(l.index, "", unix.IFF_UP, unix.IFF_UP))
	}
	return r.nl.execute(ups)
}

// renameError says what people can do about a refused rename: rtnetlink_rcv_msg of
// net/core/rtnetlink.c answers EPERM to each message where CAP_NET_ADMIN is missing.
func renameError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("rename: %w: run as root or with CAP_NET_ADMIN", err)
	}
	return fmt.Errorf("rename: %w", err)
}

// renameWhileDown renames links that are up by taking them down meanwhile. Some steps of the plan
// may have been carried out (of links that are down), so it plans again.
func (r *renaming) renameWhileDown(targets map[int32]string) error {
	links, err := r.nl.links()
	if err != nil {
		return err
	}
	steps, err := plan(links, displaceNewcomers(r.before, links, targets))
	if err != nil {
		return err
	}
	up := map[int32]bool{}
	for _, s := range steps {
		if l, _ := linkByIndex(links, s.index); l.up {
			up[s.index] = true
		}
	}
	if err := r.takeSnapshot(links, up); err != nil {
		return err
	}
	for _, l := range links {
		if up[l.index] && !r.down[l.index] {
			r.log.info("%s goes down for its rename: this kernel renames no link that is up", l)
		}
	}
	if r.down == nil {
		r.down = map[int32]bool{}
	}
	maps.Copy(r.down, up)
	return r.nl.execute(downUpRequests(steps, up))
}

// takeSnapshot remembers what those links have, but for links that were noted before: on the way
// back they may have lost some of it already.
func (r *renaming) takeSnapshot(links []link, which map[int32]bool) error {
	fresh := map[int32]bool{}
	for index := range which {
		if !r.snapshotLinks[index] {
			fresh[index] = true
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	kept, err := snapshotOf(r.nl, links, fresh)
	if err != nil {
		return err
	}
	if r.snapshotLinks == nil {
		r.snapshotLinks = map[int32]bool{}
	}
	maps.Copy(r.snapshotLinks, fresh)
	r.snapshot = append(r.snapshot, kept...)
	return nil
}

// restore puts back what the links had and pick picks, by what they have now. A thing that can't be
// put back is an error in the log, not of the rename: that stands.
func (r *renaming) restore(pick func(before, now []netObject) []netObject) {
	if len(r.snapshot) == 0 {
		return
	}
	var made []netObject
	links, err := r.nl.links()
	if err == nil {
		made, err = r.restoreOn(links, pick)
	}
	for _, i := range made {
		r.log.info("put back %s", i.description)
	}
	if err != nil {
		r.log.err("%v", err)
	}
}

// restoreAfterDown puts back what links have lost by going down. What a manager makes again when
// it is restarted is held back until then, if one will be.
func (r *renaming) restoreAfterDown(managed bool) {
	if len(r.down) == 0 {
		return
	}
	r.restore(func(before, now []netObject) []netObject {
		return slices.DeleteFunc(missingObjects(before, now), func(i netObject) bool {
			return managed && i.isManaged()
		})
	})
}

// restoreOn is restore for the links that are still there.
func (r *renaming) restoreOn(links []link, pick func(before, now []netObject) []netObject) ([]netObject, error) {
	now, err := snapshotOf(r.nl, links, r.snapshotLinks)
	if err != nil {
		return nil, err
	}
	lost := slices.DeleteFunc(pick(r.snapshot, now), func(i netObject) bool {
		return slices.ContainsFunc(i.links, func(index int32) bool {
			_, there := linkByIndex(links, index)
			return index != anyLink && !there
		})
	})
	return recreateAll(r.nl, lost)
}

// verifyRenamed looks again: the plan made from a fresh dump must be empty, and what was up be up.
// Then each link's change is logged, and what it means for policy rules.
func (r *renaming) verifyRenamed(targets map[int32]string) error {
	now, err := r.nl.links()
	if err != nil {
		return err
	}
	steps, err := plan(now, displaceNewcomers(r.before, now, targets))
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		return fmt.Errorf("%s: it did not come to that", steps[0])
	}
	if down := linksDown(now, r.down); len(down) > 0 {
		return fmt.Errorf("%s: did not come up again", down[0])
	}
	steps = nameChanges(r.toRename, now)
	for _, s := range steps {
		r.log.info("%s", s)
	}
	warnOfRules(r.nl, steps, r.log)
	return nil
}

// putNamesBack undoes what was done of a rename that failed because of why, and returns that with
// the exit code: codeDoubt, as nothing has changed then, or codeBroken where that was not possible.
// What the links lost on the way they get back in both cases.
func (r *renaming) putNamesBack(why error) error {
	back := r.tryPutNamesBack()
	for tries := 1; back != nil && tries < maxAttempts; tries++ {
		back = r.tryPutNamesBack()
	}
	r.restoreAfterDown(false)
	if back == nil {
		return codedError{codeDoubt, why}
	}
	return codedError{codeBroken, fmt.Errorf("%w; and that could not be undone: %s", why, r.linkStates())}
}

// tryPutNamesBack is one attempt: undo what a fresh look shows, in one datagram as in rename, then
// take up what was up. Its error is only a reason to try again.
func (r *renaming) tryPutNamesBack() error {
	now, err := r.nl.links()
	if err != nil {
		return err
	}
	targets := undoTargets(r.toRename, now)
	steps, err := plan(now, displaceNewcomers(r.before, now, targets))
	if err != nil {
		return err
	}
	if err := r.renameLinks(steps, targets); err != nil {
		return err
	}
	if where := r.linkStates(); where != "" {
		return errors.New(where)
	}
	return nil
}

// linkStates says where each link stands that is not where it was, or is down because of us; "" is
// none. It is the message of codeBroken, so that a person can take it from there.
func (r *renaming) linkStates() string {
	now, err := r.nl.links()
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, l := range now {
		old, ok := linkByIndex(r.toRename, l.index)
		switch {
		case ok && old.name != l.name:
			out = append(out, fmt.Sprintf("%s (index %d) was %s and is %s", l.id(), l.index, old.name, l.name))
		case r.down[l.index] && !l.up:
			out = append(out, fmt.Sprintf("%s is down", l))
		}
	}
	return strings.Join(out, ", ")
}

// warnOfRules warns of policy rules that go by a name which by those steps becomes another link's.
func warnOfRules(nl *rtnl, steps []step, log logger) {
	names := map[string]bool{}
	for _, s := range steps {
		names[s.from], names[s.to] = true, true
	}
	rules, err := nl.rules()
	if err != nil {
		log.warn("policy rules: %v", err)
	}
	for _, rule := range rules {
		if names[rule.iif] || names[rule.oif] {
			log.warn("%s goes by name, which by this rename means another link", rule)
		}
	}
}
