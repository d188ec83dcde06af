package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// This file carries out a plan, and puts names back where the kernel refuses a part of it. There is one
// order: plan, one datagram, look again. Whatever fails in between, the names are then as before, or the
// error says where each link stands.

// A codedError carries the exit code that goes with it, where that is not codeDoubt.
type codedError struct {
	code int
	error
}

// Unwrap is for errors.Is and errors.AsType.
func (e codedError) Unwrap() error { return e.error }

// A renaming is the one change this program makes, and what it cost.
type renaming struct {
	nl     *rtnl
	log    logger
	before []link         // the links as they were
	down   map[int32]bool // the links that had to go down, by index
	kept   []item         // what they had; nil where none had to
}

// rename grants the wishes, all of them or none. On Linux 6.2 and newer nothing is lost by it;
// before that links go down and up, and what that cost them is in lost(). If it fails the names
// are as before, or the error's code is codeBroken.
func (r *renaming) rename(wishes map[int32]string) error {
	steps, err := plan(r.before, wishes)
	if err != nil || len(steps) == 0 {
		return err
	}
	// From here on a failure puts names back before it returns.
	err = r.nl.carryOut(renames(steps))
	if errors.Is(err, unix.EBUSY) { // Linux before 6.2 will not rename a link that is up
		err = r.bounce(wishes)
	}
	var now []link
	if err == nil {
		now, err = r.settled(wishes) // the kernel's word is good, a look is better
	}
	if err == nil {
		r.report(now)
		return nil
	}
	return r.putNamesBack(refusal(err))
}

// refusal says what people can do about a refused rename: rtnetlink_rcv_msg of
// net/core/rtnetlink.c answers EPERM to each message where CAP_NET_ADMIN is missing.
func refusal(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("rename: %w: run as root or with CAP_NET_ADMIN", err)
	}
	return fmt.Errorf("rename: %w", err)
}

// bounce renames links that are up by taking them down meanwhile. Some steps of the plan may
// have been carried out (of links that are down), so it plans again.
func (r *renaming) bounce(wishes map[int32]string) error {
	links, err := r.nl.links()
	if err != nil {
		return err
	}
	steps, err := plan(links, wishes)
	if err != nil {
		return err
	}
	up := map[int32]bool{}
	for _, s := range steps {
		if l, _ := byIndex(links, s.index); l.up {
			up[s.index] = true
		}
	}
	if r.down == nil { // else this is the way back
		if r.kept, err = r.nl.belongings(links, up); err != nil {
			return err
		}
		r.down = up
		for _, l := range links {
			if up[l.index] {
				r.log.info("%s goes down for its rename: this kernel renames no link that is up", l)
			}
		}
	}
	return r.nl.carryOut(bounces(steps, up))
}

// lost lists what is missing of what the links had. Empty on Linux 6.2 and newer, where none went down.
func (r *renaming) lost() ([]item, error) {
	if len(r.kept) == 0 {
		return nil, nil
	}
	now, err := r.nl.belongings(r.before, r.down)
	if err != nil {
		return nil, err
	}
	return missing(r.kept, now), nil
}

// restore puts back what is missing of what the links had, but for the items that but holds back.
// A thing that can't be put back is an error in the log, not of the rename: that stands.
func (r *renaming) restore(but func(item) bool) {
	var made []item
	lost, err := r.lost()
	if err == nil {
		made, err = r.nl.putBack(slices.DeleteFunc(lost, but))
	}
	for _, i := range made {
		r.log.info("put back %s", i.words)
	}
	if err != nil {
		r.log.err("%v", err)
	}
}

// everything is for restore: nothing is left out.
func everything(item) bool { return false }

// settled looks again: the plan made from a fresh dump must be empty, and what was up be up.
func (r *renaming) settled(wishes map[int32]string) (now []link, err error) {
	if now, err = r.nl.links(); err != nil {
		return nil, err
	}
	steps, err := plan(now, wishes)
	if err != nil {
		return nil, err
	}
	if len(steps) > 0 {
		return nil, fmt.Errorf("%s: it did not come to that", steps[0])
	}
	if down := stillDown(now, r.down); len(down) > 0 {
		return nil, fmt.Errorf("%s: did not come up again", down[0])
	}
	return now, nil
}

// putNamesBack undoes what was done of a rename that failed because of why, and returns that with
// the exit code: codeDoubt, as nothing has changed then, or codeBroken where a name could not be put
// back. What the links lost on the way they get back in both cases.
func (r *renaming) putNamesBack(why error) error {
	for range 3 { // a rename can bring another link to light that is in the way
		if r.tryNamesBack() == nil {
			r.restore(everything)
			return codedError{codeDoubt, why}
		}
	}
	r.restore(everything)
	return codedError{codeBroken, fmt.Errorf("%w; and the names could not be put back: %s", why, r.standing())}
}

// tryNamesBack is one attempt: undo what a fresh look shows, in one datagram as in rename, then take
// up what was up. Its error is only a reason to try again.
func (r *renaming) tryNamesBack() error {
	now, err := r.nl.links()
	if err != nil {
		return err
	}
	wishes := undo(r.before, now)
	steps, err := plan(now, wishes)
	if err != nil {
		return err
	}
	err = r.nl.carryOut(renames(steps))
	if errors.Is(err, unix.EBUSY) { // as in rename
		err = r.bounce(wishes)
	}
	if err != nil {
		return err
	}
	var ups []message
	for _, l := range stillDown(now, r.down) {
		ups = append(ups, setLink(l.index, "", unix.IFF_UP, unix.IFF_UP))
	}
	if err := r.nl.carryOut(ups); err != nil {
		return err
	}
	_, err = r.settled(wishes)
	return err
}

// standing says where each link stands that is not where it was: for the message of codeBroken, so
// that a person can take it from there.
func (r *renaming) standing() string {
	now, err := r.nl.links()
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, l := range now {
		old, ok := byIndex(r.before, l.index)
		switch {
		case ok && old.name != l.name:
			out = append(out, fmt.Sprintf("%s (index %d) was %s and is %s", l.id(), l.index, old.name, l.name))
		case r.down[l.index] && !l.up:
			out = append(out, fmt.Sprintf("%s is down", l))
		}
	}
	return strings.Join(out, ", ")
}

// report logs each link's change, and what that means for policy rules.
func (r *renaming) report(now []link) {
	steps := renamed(r.before, now)
	for _, s := range steps {
		r.log.info("%s", s)
	}
	r.nl.warnOfRules(steps, r.log)
}

// warnOfRules warns of policy rules that go by a name which by those steps becomes another link's.
func (c *rtnl) warnOfRules(steps []step, log logger) {
	names := map[string]bool{}
	for _, s := range steps {
		names[s.from], names[s.to] = true, true
	}
	rules, err := c.rules()
	if err != nil {
		log.warn("policy rules: %v", err)
	}
	for _, rule := range rules {
		if names[rule.iif] || names[rule.oif] {
			log.warn("%s goes by name, which by this rename means another link", rule)
		}
	}
}

// carryOut sends requests as one datagram and returns the first refusal, which is the one that
// counts: what follows it in a plan can only be refused because of it.
func (c *rtnl) carryOut(requests []message) error {
	if len(requests) == 0 {
		return nil
	}
	verdicts, err := c.send(requests)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v != nil {
			return v
		}
	}
	return nil
}
