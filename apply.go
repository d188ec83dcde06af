package main

// This file carries out a rename: plan, one datagram, and a look whether the links are as planned.
// If that fails it puts the names back, or says where each link stands. It decides no names: those
// are in the targets.

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A renaming is one rename of links, and what is needed to undo it.
type renaming struct {
	nl            *rtnl
	log           logger
	before        []link           // all links when it begins
	toRename      []link           // those of them that are to be renamed
	down          map[int32]bool   // indexes of the links that were set down for it
	snapshotLinks map[int32]bool   // indexes of the links whose objects are in snapshot
	snapshot      []*netObject     // from before links went down or a manager was restarted
	lost          []*netObject     // of the snapshot, what could not be put back
	ipv6MTUs      map[int32]uint32 // what net.ipv6.conf.DEV.mtu is to be again, by a link's index
	// judgeAgain returns the links and the targets as of now; nil where the targets stay the same.
	judgeAgain func() ([]link, map[int32]string, error)
}

// maxAttempts is how often a rename is planned again where others change links meanwhile: a driver
// can register a link between two messages of a datagram, and that gets the first free ethN; and a
// link can be detached.
const maxAttempts = 5

// rename gives the links their target names, all of them or none. On Linux 6.2 and newer nothing is
// lost by it. On older kernels links go down and up, and restartManagers has to follow. After an
// error the names are as before, or its code is codeBroken.
func (r *renaming) rename(targets map[int32]string) error {
	// From here on a failure puts names back before it returns.
	sent, err := r.tryRename(r.before, targets)
	for tries := 1; sent && err != nil && tries < maxAttempts && !errors.Is(err, unix.EPERM); tries++ {
		r.log.warn("%v: looking again", err)
		var now []link
		if now, targets, err = r.targetsNow(targets); err == nil {
			sent, err = r.tryRename(now, targets)
		}
	}
	if err != nil {
		return r.putNamesBack(renameError(err))
	}
	return nil
}

// targetsNow returns the links as they are now, and their targets.
func (r *renaming) targetsNow(targets map[int32]string) ([]link, map[int32]string, error) {
	if r.judgeAgain != nil {
		return r.judgeAgain()
	}
	now, err := r.nl.links()
	return now, targets, err
}

// tryRename is one attempt: a plan from the links as they are now, one datagram, and a new look. It
// reports whether the kernel was asked.
func (r *renaming) tryRename(now []link, targets map[int32]string) (sent bool, err error) {
	for _, l := range r.before {
		if _, ok := linkByIndex(r.toRename, l.index); !ok && targets[l.index] != "" {
			r.toRename = append(r.toRename, l)
		}
	}
	all := displaceNewcomers(r.before, now, targets)
	steps, err := plan(now, all)
	if err != nil {
		return false, err
	}
	for _, l := range now {
		if all[l.index] != targets[l.index] {
			r.log.warn("%s came in between: it is to be %s", l, all[l.index])
		}
	}
	if err := r.renameLinks(steps, targets); err != nil {
		return true, err
	}
	return true, r.verifyRenamed(targets)
}

// renameLinks carries out the steps. Where the kernel renames no link that is up, it sets the links
// down for it, and up again.
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

// bringUp sets up the links that an earlier attempt has set down and not up again.
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

// renameError adds to EPERM what a person can do: rtnetlink_rcv_msg of net/core/rtnetlink.c returns
// that for each message without CAP_NET_ADMIN.
func renameError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return errorf("rename: %w: run as root or with CAP_NET_ADMIN", err)
	}
	return errorf("rename: %w", err)
}

// renameWhileDown sets links that are up down for their rename. It plans again, because the steps
// of links that are down may have been carried out already.
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
	// A bridge or bond of such a link may lose its carrier for a moment, and what goes with that.
	if err := r.takeSnapshot(links, stackedOn(links, up, true)); err != nil {
		return err
	}
	down := stackedOn(links, up, false)
	r.noteDown(links, up, down)
	lost := r.lostBy(down)
	requests := downUpRequests(links, steps, up, lost)
	requests = append(requests, twinRequests(r.snapshot, lost)...)
	err = r.executeLinks(append(requests, prefixRequests(r.snapshot, down)...))
	if errors.Is(err, unix.EMSGSIZE) {
		r.log.warn("%d objects do not fit into one datagram: they are put back after the rename, "+
			"and would be lost if eni0 were killed before", len(lost))
		err = r.executeLinks(downUpRequests(links, steps, up, nil))
	}
	return err
}

// noteDown notes which links are set down, and of all that go down with them what can't be put back
// by the datagram.
func (r *renaming) noteDown(links []link, up, down map[int32]bool) {
	if r.down == nil {
		r.down, r.ipv6MTUs = map[int32]bool{}, map[int32]uint32{}
	}
	for _, l := range links {
		if up[l.index] && !r.down[l.index] {
			r.log.info("%s goes down for its rename: this kernel renames no link that is up", l)
		}
		if down[l.index] && l.ipv6MTU != 0 && l.ipv6Ready && l.carrier {
			r.ipv6MTUs[l.index] = l.ipv6MTU
		}
	}
	maps.Copy(r.down, up)
}

// lostBy lists the objects that are lost when those links go down, and have to be put back. It
// warns of those that can't be.
func (r *renaming) lostBy(down map[int32]bool) []*netObject {
	down[anyLink] = true
	return filter(r.snapshot, func(o *netObject) bool {
		if !o.isLostWhenDown() || !o.isOf(down) {
			return false
		}
		if o.renewed {
			r.log.warn("%s goes: the kernel makes another in its place", o.description)
		}
		if o.partial {
			r.log.warn("%s: its hops by links that are down are lost", o.description)
		}
		return !o.automatic
	})
}

// executeLinks sends requests as one datagram and returns the first refusal of one about a link.
// What else is refused is put back later, if it is missing then. Where the verdicts did not fit
// into the socket's buffer, a look at the links tells what came of it.
func (r *renaming) executeLinks(requests []nlMessage) error {
	err := r.nl.executeBut(requests, func(m nlMessage, _ error) bool {
		return m.typ != unix.RTM_SETLINK
	})
	return ignoreError(err, unix.ENOBUFS)
}

// takeSnapshot adds the objects of those links to the snapshot. A link that is in it already is
// left out, because it may have lost some of its objects since.
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

// restore creates those objects of the snapshot again that pick returns. It logs an error for each
// that can't be created: the rename stands all the same.
func (r *renaming) restore(pick func(before, now []*netObject) []*netObject) {
	if err := r.tryRestore(pick); err != nil {
		r.log.err("%v", err)
	}
}

// tryRestore is restore without a log of what can't be created: its error has the reason for each.
// Links that are gone get nothing.
func (r *renaming) tryRestore(pick func(before, now []*netObject) []*netObject) error {
	if len(r.snapshot) == 0 {
		return nil
	}
	links, err := r.nl.links()
	if err != nil {
		return err
	}
	r.restoreIPv6MTUs(links)
	now, err := snapshotOf(r.nl, links, r.snapshotLinks)
	if err != nil {
		return err
	}
	missing := filter(pick(r.snapshot, now), func(o *netObject) bool {
		return !o.automatic && !slices.ContainsFunc(o.links, func(index int32) bool {
			_, there := linkByIndex(links, index)
			return index != anyLink && !there
		})
	})
	made, refused, err := recreateAll(r.nl, missing)
	for _, o := range made {
		r.log.info("put back %s", o.description)
	}
	r.lost = refused
	return err
}

// restoreIPv6MTUs sets net.ipv6.conf.DEV.mtu of links that have been down. When a link is ready for
// IPv6 again, that becomes the link's own MTU: addrconf_notify of net/ipv6/addrconf.c.
func (r *renaming) restoreIPv6MTUs(links []link) {
	for index, mtu := range r.ipv6MTUs {
		l, ok := linkByIndex(links, index)
		if ok && !l.ipv6Ready {
			continue
		}
		delete(r.ipv6MTUs, index)
		if !ok || l.ipv6MTU == mtu {
			continue
		}
		text := strconv.Itoa(int(mtu))
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+l.name+"/mtu", []byte(text), 0)
		if err != nil {
			r.log.warn("net.ipv6.conf.%s.mtu: not put back to %d: %v", l.name, mtu, err)
			continue
		}
		r.log.info("put back net.ipv6.conf.%s.mtu", l.name)
	}
}

// restoreAfterDown creates again what links have lost by going down and what is not back by now.
func (r *renaming) restoreAfterDown() {
	if len(r.down) > 0 {
		r.restore(missingObjects)
	}
}

// awaitRestored creates again what links have lost by going down, until all of it is back. Some of
// it takes a while: the kernel refuses a next hop by a link that has no carrier yet
// (rtm_to_nh_config of net/ipv4/nexthop.c), a route from an IPv6 address that is being tested, and
// one that leads to what a router advertisement brings. For that the kernel asks by itself (RFC
// 4861, 6.3.7: 3 times in 12 s).
func (r *renaming) awaitRestored() {
	awaited := filter(r.snapshot, func(o *netObject) bool { return !o.renewed })
	if len(r.down) == 0 || len(awaited) == 0 {
		return
	}
	ctx, cancel := detachedTimeout(restoreTimeout)
	defer cancel()
	var refused error
	_ = await(ctx, func() (bool, error) {
		refused = r.tryRestore(func(_, now []*netObject) []*netObject {
			awaited = missingObjects(awaited, now)
			return awaited
		})
		missing := slices.ContainsFunc(awaited, isAutomatic) || len(r.ipv6MTUs) > 0
		return refused == nil && !missing, nil
	})
	if refused != nil {
		r.log.err("%v", refused)
	}
	if len(r.ipv6MTUs) > 0 {
		r.log.warn("net.ipv6.conf: the MTU of %d links is not put back: they have no carrier yet",
			len(r.ipv6MTUs))
	}
	for _, o := range filter(awaited, isAutomatic) {
		r.log.warn("%s: no router advertisement has brought it back", o.description)
	}
}

// restoreTimeout is for router advertisements, and all else that awaitRestored waits for.
const restoreTimeout = 12 * time.Second

// verifyRenamed checks with a new dump that no rename is left to do and that no link is down that
// was up. Then it logs each rename, and warns of policy rules.
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
		return errorf("%s: it did not come to that", steps[0])
	}
	if down := linksDown(now, r.down); len(down) > 0 {
		return errorf("%s: did not come up again", down[0])
	}
	steps = nameChanges(r.toRename, now)
	for _, s := range steps {
		r.log.info("%s", s)
	}
	warnOfRules(r.nl, steps, r.log)
	return nil
}

// putNamesBack undoes a rename that failed because of why. It returns why with codeDoubt, or with
// codeBroken where the names could not be put back. In both cases links get back what they lost.
func (r *renaming) putNamesBack(why error) error {
	back := r.tryPutNamesBack()
	for tries := 1; back != nil && tries < maxAttempts; tries++ {
		back = r.tryPutNamesBack()
	}
	r.awaitRestored()
	if back == nil {
		return why
	}
	err := errorf("%w; and that could not be undone: %s", why, r.linkStates())
	return taggedError{err, errBroken}
}

// tryPutNamesBack is one attempt, as tryRename is. After an error another attempt may work.
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

// linkStates describes each link that has another name than before, or that is down since. It is
// the message of codeBroken, so that a person can finish. "" means that there is none.
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
			out = append(out,
				fmt.Sprintf("%s (index %d) was %s and is %s", l.id(), l.index, old.name, l.name))
		case r.down[l.index] && !l.up:
			out = append(out, fmt.Sprintf("%s is down", l))
		}
	}
	return strings.Join(out, ", ")
}

// warnOfRules warns of policy rules that select by a name which the steps give to another link.
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
