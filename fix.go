package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// This file has the order of things: who is asked when, and what follows a rename.

// observe lists the links and default routes as they are now. The primary is not known by that.
func (c *rtnl) observe() (w world, err error) {
	if w.links, err = c.links(); err != nil {
		return w, err
	}
	w.routes, err = c.defaultRoutes()
	return w, err
}

// devices names the ENIs that IMDS can be asked by: up, and with an IPv4 address. Names, because that
// is what SO_BINDTODEVICE takes. Where the kernel does not tell, that is none.
func (c *rtnl) devices() []string {
	links, _ := c.links()
	addressed, _ := c.addressed()
	var out []string
	for _, l := range links {
		if l.eni() && l.up && slices.Contains(addressed, l.index) {
			out = append(out, l.name)
		}
	}
	return out
}

// look asks IMDS for the primary ENI, observes the world, waits for that ENI if it has not been probed
// yet, and judges. On an error the world is as much as was seen.
func (c *call) look(l *limit, nl *rtnl) (w world, v verdict, err error) {
	primary, unanswered := c.imds.primaryMAC(l, func() []string {
		c.log.info("imds: no answer yet; asking on, by every ENI")
		return nl.devices()
	})
	see := func() error {
		w, err = nl.observe()
		w.primary = primary
		if err == nil && unanswered == nil {
			v, err = judge(w, c.names)
		}
		return err
	}
	if !errors.Is(see(), errLate) {
		return w, v, errors.Join(unanswered, err)
	}
	c.log.info("%v; waiting for it", err)
	start := time.Now()
	over := await(l, func() (bool, error) {
		err := see()
		return err == nil, unless(err, errLate)
	})
	if errors.Is(err, errLate) && over != nil {
		err = fmt.Errorf("%w, after waiting %v: %w", err, time.Since(start).Round(time.Millisecond), over)
	}
	return w, v, err
}

// unless is err, or nil where that is the one expected: for what is worth another try.
func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// mend is fix where there is something to rename: it renames, sees to it that default
// traffic follows, and reports what has become of it.
func (c *call) mend(l *limit, nl *rtnl, was world, v verdict) (int, error) {
	l.heed() // from here on
	active := activeUnits(l, c.units)
	r := &renaming{nl: nl, log: c.log, before: was.links}
	err := l.expired() // but a signal that came before the first change is obeyed
	if err == nil {
		err = r.rename(v.wishes)
	}
	if err != nil {
		return c.conclude(report{world: was}, v, err)
	}
	c.follow(l, r, was, active)
	w, err := nl.observe()
	w.primary = was.primary
	if err == nil {
		v, err = judge(w, c.names)
	}
	if err == nil && was.carriers() != nil && w.carriers() == nil {
		v = verdict{code: codeRoute, note: v.note + ", and there was one before; " + routeCure}
	}
	return c.conclude(report{world: w, renamed: renamed(was.links, w.links)}, v, err)
}

// follow puts back what the links lost, has the network manager apply its configuration by the
// new names, and, where default traffic left by some link before, waits until it leaves by the
// primary. A manager that is being restarted makes its own routes; where it has not by the
// deadline, those that were lost are put back.
func (c *call) follow(l *limit, r *renaming, was world, active []string) {
	restarted := c.restart(r, active)
	if was.carriers() == nil {
		return
	}
	if !restarted {
		var end func()
		l, end = l.within(followTime, fmt.Errorf("not within %v", followTime))
		defer end()
	}
	err := await(l, func() (bool, error) {
		w, err := r.nl.observe()
		if err != nil {
			return false, err
		}
		w.primary = was.primary
		p, err := w.primaryLink()
		return w.traffic(p) == byPrimary, err
	})
	if err == nil {
		return
	}
	c.log.warn("default traffic does not leave by the primary ENI yet: %v", err)
	if !restarted || !errors.Is(err, errInterrupted) { // else the manager is still at it
		r.restore(everything)
	}
}

// restart puts back what the links lost and restarts those units. It reports whether it did.
func (c *call) restart(r *renaming, active []string) bool {
	if len(active) == 0 {
		r.restore(everything)
		return false
	}
	r.restore(item.managed)
	if err := restartUnits(active); err != nil {
		c.log.warn("%v", err)
		r.restore(everything)
		return false
	}
	c.log.info("restarting %s", active)
	return true
}
