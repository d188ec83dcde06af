package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file is what follows a rename: the network managers apply their configuration by the new names,
// what that costs is put back, and where the machine has lost its network by it the names are put
// back too.

const (
	settleTime = 20 * time.Second      // after the managers' job, for the network to be there
	quietTime  = time.Second           // without a change, before what is missing is taken for lost
	lookPause  = 50 * time.Millisecond // between two looks, so that the manager has the processor
)

// observeNetwork lists what a network consists of, with the primary as IMDS named it.
func (c *rtnl) observeNetwork(primary hwaddr) (n network, err error) {
	if n.world, err = c.observe(); err != nil {
		return n, err
	}
	n.primary = primary
	n.addresses, err = c.addresses()
	return n, err
}

// follow has the managers apply their configuration by the new names, and puts back what the renames
// and the restart have cost. Where nobody is told there is nothing to wait for. Its error is that
// of an undo: codeDoubt, or codeBroken where that did not work.
func (r *renaming) follow(was network, m managers) error {
	if !r.tell(m) {
		return nil
	}
	if lost := r.settle(was, r.satisfied); lost != nil && len(r.ours) > 0 {
		return r.undoRename(was, m, lost)
	}
	r.restoreAfterRestart(was)
	return nil
}

// tell has the managers apply their configuration, and reports whether they took the order. What links
// have lost by going down they get back before, or where nobody makes it again, at once.
func (r *renaming) tell(m managers) bool {
	r.restoreAfterDown(len(m.units) > 0)
	now, err := r.nl.links()
	if err != nil {
		r.log.warn("%v", err)
	}
	m.log = r.log // which is held: who reads it slowly is not to hold this up
	told := m.restart("try-restart", renamed(r.ours, now))
	if !told {
		r.restoreAfterDown(false)
	}
	r.log = r.log.release()
	return told
}

// settle waits until done says so of the network, for at most settleTime, and returns what the machine
// has lost then, by the last look that worked.
func (r *renaming) settle(was network, done func(was, now network) bool) (lost error) {
	l, end := newLimit().within(settleTime, fmt.Errorf("not within %v", settleTime))
	defer end()
	err := await(l, func() (bool, error) {
		now, err := r.nl.observeNetwork(was.primary)
		if err == nil {
			lost = networkLost(was, now)
			if done(was, now) {
				return true, nil
			}
		}
		l.sleep(lookPause)
		return false, nil
	})
	if err != nil && lost == nil {
		r.log.warn("the network is not as it should be yet: %v", err)
	}
	return lost
}

// satisfied reports whether the network is as a rename, or a restart alone, is to make it: nothing is
// lost, and default traffic leaves by the primary, if what carried it before was renamed.
func (r *renaming) satisfied(was, now network) bool {
	carried := slices.ContainsFunc(was.carriers(), func(index int32) bool {
		_, ours := byIndex(r.ours, index)
		return ours || len(r.ours) == 0
	})
	p, err := now.primaryLink()
	return err == nil && networkLost(was, now) == nil && (!carried || now.traffic(p) == byPrimary)
}

// undoRename puts the names back, because with the new ones the machine has lost its network, and has
// the managers apply their configuration again.
func (r *renaming) undoRename(was network, m managers, lost error) error {
	p, _ := was.primaryLink() // which was found before the rename
	why := fmt.Errorf("with the new names, %v after %s had applied its configuration, %w: see %s",
		settleTime, strings.Join(m.units, " "), lost, m.inspection(p))
	r.log.err("putting the names back: %v", why)
	err := r.putNamesBack(why)
	if codeOf(err) == codeBroken {
		return err
	}
	r.restore(missing) // whatever becomes of the managers, this was the network
	m.restart("restart", nil)
	if lost := r.settle(was, func(was, now network) bool { return networkLost(was, now) == nil }); lost != nil {
		r.log.err("the names are as before, and %v", lost)
	}
	r.restoreAfterRestart(was)
	return err
}

// restoreAfterDown puts back what links have lost by going down. What a manager makes again when it is
// restarted is held back until then, if one will be.
func (r *renaming) restoreAfterDown(managed bool) {
	if len(r.down) == 0 {
		return
	}
	r.restore(func(before, now []item) []item {
		return slices.DeleteFunc(missing(before, now), func(i item) bool { return managed && i.managed() })
	})
}

// restoreAfterRestart puts back what nobody has any more after a manager was restarted. It waits until the
// renamed links have addresses again, where they had some, and until nothing changes for a while:
// what a manager's own files give to a link by its name comes only then.
func (r *renaming) restoreAfterRestart(was network) {
	if !slices.ContainsFunc(r.kept, func(i item) bool { return !i.passing }) {
		return
	}
	l, end := newLimit().within(settleTime, fmt.Errorf("not within %v", settleTime))
	defer end()
	err := await(l, func() (bool, error) {
		now, err := r.nl.observeNetwork(was.primary)
		return err == nil && r.addressed(was, now), err
	})
	if err == nil {
		err = awaitQuiet(l, quietTime)
	}
	if err != nil {
		r.log.warn("the renamed links are not configured as before yet: %v", err)
	}
	r.restore(missingForGood)
}

// addressed reports whether all renamed links that had an IPv4 address have one.
func (r *renaming) addressed(was, now network) bool {
	return !slices.ContainsFunc(r.ours, func(l link) bool {
		return was.addressOn(l, false) && !now.addressOn(l, false)
	})
}
