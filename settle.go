package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file is what follows a rename: the network managers apply their configuration by the new
// names, what that costs is put back, and where the machine has lost its network by it the names
// are put back too.

const (
	settleTimeout = 20 * time.Second      // after the managers' job, for the network to be there
	quietPeriod   = time.Second           // without a change, before what is missing is taken for lost
	pollInterval  = 50 * time.Millisecond // between two looks, so that the manager has the processor
)

// snapshotAndRename is rename, with a note before of what the links have: a manager that is to be
// told of the new names may remove it.
func (r *renaming) snapshotAndRename(m managers, targets map[int32]string) error {
	if len(m.units) > 0 {
		if err := r.takeSnapshot(r.before, snapshotSet(r.before, targets)); err != nil {
			return err
		}
	}
	return r.rename(targets)
}

// reconfigure has the managers apply their configuration by the new names, and puts back what the
// renames and the restart have cost. Where nobody is told there is nothing to wait for. Its error
// is that of an undo: codeDoubt, or codeBroken where that did not work.
func (r *renaming) reconfigure(was network, m managers) error {
	if !r.restartManagers(m) {
		return nil
	}
	ctx, cancel := settleContext()
	defer cancel()
	if lost := r.waitSettled(ctx, was, r.routeFollowed); lost != nil && len(r.toRename) > 0 {
		return r.undoRename(was, m, lost)
	}
	r.restoreAfterRestart(ctx, was)
	return nil
}

// restartManagers has the managers apply their configuration, and reports whether anybody was told.
// What links have lost by going down they get back before, or where nobody makes it again, at once.
func (r *renaming) restartManagers(m managers) bool {
	r.restoreAfterDown(len(m.units) > 0)
	now, err := r.nl.links()
	if err != nil {
		r.log.warn("%v", err)
	}
	told := m.restart("try-restart", nameChanges(r.toRename, now))
	if !told {
		r.restoreAfterDown(false)
	}
	return told
}

// settleContext begins when the managers are done. It is none of the run's context, so that no
// signal and no deadline of the run cuts it short.
func settleContext() (context.Context, context.CancelFunc) {
	return detachedTimeout(settleTimeout)
}

// waitSettled waits until done says so of the network, and still does after quietTime: a manager
// that has been restarted may only be about to change something. It returns what the machine has
// lost at the last look that worked.
func (r *renaming) waitSettled(ctx context.Context, was network, done func(was, now network) bool) (lost error) {
	good := false
	look := func() (bool, error) {
		now, err := r.nl.observeNetwork(was.primary)
		if err == nil {
			lost, good = networkLost(was, now), done(was, now)
		}
		if !good {
			sleep(ctx, pollInterval)
		}
		return good, nil
	}
	for ctx.Err() == nil {
		if await(ctx, look) == nil && sleep(ctx, quietPeriod) {
			if good, _ = look(); good {
				return nil
			}
		}
		sleep(ctx, pollInterval)
	}
	if !good && lost == nil {
		r.log.warn("the network is not as it should be yet: %v", context.Cause(ctx))
	}
	return lost
}

// routeFollowed reports whether the network is as a rename, or a restart alone, is to make it:
// nothing is lost, and default traffic leaves by the primary, if what carried it before was
// renamed.
func (r *renaming) routeFollowed(was, now network) bool {
	carried := slices.ContainsFunc(was.egressLinks(), func(index int32) bool {
		_, ours := linkByIndex(r.toRename, index)
		return ours || len(r.toRename) == 0
	})
	p, err := now.primaryLink()
	return err == nil && networkLost(was, now) == nil && (!carried || now.egress(p) == egressPrimary)
}

// undoRename puts the names back, because with the new ones the machine has lost its network, and
// has the managers apply their configuration again.
func (r *renaming) undoRename(was network, m managers, lost error) error {
	r.log.err("%v: putting the names back", lost)
	p, _ := was.primaryLink() // which was found before the rename
	err := r.putNamesBack(fmt.Errorf("with the new names, %v after %s was told, %w: see %s",
		settleTimeout, strings.Join(slices.Concat(m.units, m.boundUnits), " "), lost, m.statusCommand(p)))
	if codeOf(err) == codeBroken {
		return err
	}
	r.restore(missingObjects) // whatever becomes of the managers, this was the network
	m.restart(m.restartVerb(), nil)
	ctx, cancel := settleContext()
	defer cancel()
	if r.waitSettled(ctx, was, func(was, now network) bool { return networkLost(was, now) == nil }) == nil {
		r.restoreAfterRestart(ctx, was)
		return err
	}
	r.restore(missingObjects) // all of it belongs here, as the names are those of before
	now, lookErr := r.nl.observeNetwork(was.primary)
	if lost = networkLost(was, now); lookErr == nil && lost != nil {
		err = codedError{codeDoubt, fmt.Errorf("%w; the names are as before, but %w", err, lost)}
	}
	return err
}

// restoreAfterRestart puts back what nobody has any more after a manager was restarted. It waits
// until the renamed links have leases again, where they had some, and until nothing changes for a
// while: what a manager's own files give to a link by its name comes only then.
func (r *renaming) restoreAfterRestart(ctx context.Context, was network) {
	if !slices.ContainsFunc(r.snapshot, func(i netObject) bool { return !i.transient }) {
		return
	}
	err := await(ctx, func() (bool, error) {
		now, err := r.nl.observeNetwork(was.primary)
		return err == nil && r.haveLeases(was, now), err
	})
	if err == nil {
		err = awaitQuiet(ctx, quietPeriod)
	}
	if err != nil {
		r.log.warn("links, addresses or routes still change, what is missing is put back all the same: %v",
			err)
	}
	r.restore(lostObjects)
}

// haveLeases reports whether all renamed links have an address by a lease or a router
// advertisement that had one. One that was made by hand does not come back by itself.
func (r *renaming) haveLeases(was, now network) bool {
	return !slices.ContainsFunc(r.toRename, func(l link) bool {
		return slices.ContainsFunc([]bool{false, true}, func(ipv6 bool) bool {
			return was.hasLease(l, ipv6) && !now.hasAddress(l, ipv6)
		})
	})
}

// hasLease reports whether l has an address with a lifetime.
func (n network) hasLease(l link, ipv6 bool) bool {
	return slices.ContainsFunc(n.addresses, func(a address) bool {
		leased := a.scope < scopeLink && a.flags&unix.IFA_F_PERMANENT == 0
		return a.index == l.index && a.ipv6 == ipv6 && leased
	})
}

// snapshotSet is the set of the links of which it is noted what they have before a manager is
// restarted: all ENIs, as it may remove things from any of them, and what is to be renamed.
func snapshotSet(links []link, targets map[int32]string) map[int32]bool {
	set := map[int32]bool{}
	for _, e := range allENIs(links) {
		set[e.index] = true
	}
	for index := range targets {
		set[index] = true
	}
	return set
}
