package main

// This file is what follows a rename: the network managers are restarted so that they apply their
// configuration by the new names, and it waits until the network has settled. Then it restores what
// the restart has removed, or puts the names back where the machine has lost its network.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	settleTimeout = 20 * time.Second // after the restart, for the network to be complete
	quietPeriod   = time.Second      // without a change, before missing objects count as lost

	reactionTimeout = 2 * time.Second        // for a manager to react to links that went down
	reactionPeriod  = 300 * time.Millisecond // without a change, after which it has reacted
)

// snapshotAndRename is rename, and before it a snapshot if managers are restarted later: they may
// remove objects.
func (r *renaming) snapshotAndRename(m managers, targets map[int32]string) error {
	if len(m.units) > 0 {
		if err := r.takeSnapshot(r.before, snapshotSet(r.before, targets)); err != nil {
			return err
		}
	}
	return r.rename(targets)
}

// reconfigure restarts the managers, waits until the network has settled, and restores what is
// lost. Without a manager it does not wait. It returns an error where it has put the names back,
// with codeDoubt, or could not, with codeBroken.
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

// restartManagers restarts the managers, and reports whether there was one. Without one it waits
// until everything is back that links have lost by going down.
func (r *renaming) restartManagers(m managers) bool {
	if len(m.units) > 0 {
		// Without a socket to listen at, restoreUntilQuiet restores nothing: so this comes first.
		r.restoreAfterDown()
		if len(r.down) > 0 {
			r.restoreUntilQuiet()
		}
	}
	now, err := r.nl.links()
	if err != nil {
		r.log.warn("%v", err)
	}
	told := m.restart("try-restart", nameChanges(r.toRename, now))
	if !told {
		r.awaitRestored()
	}
	return told
}

// restoreUntilQuiet restores objects as often as they are removed. A manager that hears that a link
// has been down removes the addresses of its leases (link_carrier_lost of systemd's networkd-link.c),
// and they would be missing until its restart has got other leases.
func (r *renaming) restoreUntilQuiet() {
	ctx, cancel := detachedTimeout(reactionTimeout)
	defer cancel()
	// An error means only that the restart comes before the manager is done.
	_ = awaitQuiet(ctx, reactionPeriod, r.restoreAfterDown)
}

// settleContext is for the wait after a restart, which neither a signal nor the deadline of the run
// may cut short.
func settleContext() (context.Context, context.CancelFunc) {
	return detachedTimeout(settleTimeout)
}

// waitSettled waits until done returns true, and does so again after quietPeriod: a manager may
// still be about to change something after its restart. It returns what the machine has lost, as of
// the last look.
func (r *renaming) waitSettled(ctx context.Context, was network,
	done func(was, now network) bool) (lost error) {
	good := false
	look := func() (bool, error) {
		now, err := r.nl.observeNetwork(was.primary)
		good = err == nil && done(was, now)
		if err == nil {
			lost = networkLost(was, now)
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

// routeFollowed reports whether the network is complete: nothing is lost, and default traffic
// leaves by the primary if the link it left by before was renamed, or if managers are restarted
// without a rename.
func (r *renaming) routeFollowed(was, now network) bool {
	before := was.decidingEgress()
	carried := len(r.toRename) == 0 && before.links != nil ||
		slices.ContainsFunc(r.toRename, func(l link) bool { return before.carries(l.index) })
	p, err := now.primaryLink()
	return err == nil && networkLost(was, now) == nil &&
		(!carried || now.decidingEgress().leavesBy(p) == egressPrimary)
}

// errUndone means that a rename has cost the machine its network.
var errUndone = errors.New("the names are put back")

// undoRename puts the names back, because the machine has lost its network with the new ones, and
// restarts the managers again.
func (r *renaming) undoRename(was network, m managers, lost error) error {
	r.log.err("%v: putting the names back", lost)
	p, _ := was.primaryLink() // there was one, or there would have been no rename
	restarted := strings.Join(slices.Concat(m.units, m.boundUnits), " ")
	err := r.putNamesBack(errorf("with the new names, %v after %s was told, %w, so %w: see %s",
		settleTimeout, restarted, lost, errUndone, m.statusCommand(p)))
	if codeOf(err) == codeBroken {
		return err
	}
	r.restore(missingObjects) // even if the managers fail, this is the network of before
	m.restart(m.restartVerb(), nil)
	ctx, cancel := settleContext()
	defer cancel()
	complete := func(was, now network) bool { return networkLost(was, now) == nil }
	if r.waitSettled(ctx, was, complete) == nil {
		r.restoreAfterRestart(ctx, was)
		return err
	}
	r.restore(missingObjects) // with the names of before, all of it belongs here
	now, lookErr := r.nl.observeNetwork(was.primary)
	if lost = networkLost(was, now); lookErr == nil && lost != nil {
		err = errorf("%w; the names are as before, but %w", err, lost)
	}
	return err
}

// restoreAfterRestart creates again what is lost after a restart of managers. Before that it waits
// until renamed links that had leases have them again, and until nothing changes for quietPeriod:
// only then is it known what the manager's own configuration gives to each link.
func (r *renaming) restoreAfterRestart(ctx context.Context, was network) {
	if !slices.ContainsFunc(r.snapshot, func(o *netObject) bool { return !o.transient }) {
		r.lost = nil // the manager makes all of it
		return
	}
	err := await(ctx, func() (bool, error) {
		now, err := r.nl.observeNetwork(was.primary)
		return err == nil && r.haveLeases(was, now), err
	})
	if err == nil {
		err = awaitQuiet(ctx, quietPeriod, func() {})
	}
	if err != nil {
		r.log.warn("links, addresses or routes still change, "+
			"what is missing is put back all the same: %v", err)
	}
	r.restore(lostObjects)
}

// haveLeases reports whether all renamed links that had an address with a lifetime have an address
// again. An address without a lifetime, made by hand, does not come back by itself.
func (r *renaming) haveLeases(was, now network) bool {
	return !slices.ContainsFunc(r.toRename, func(l link) bool {
		return slices.ContainsFunc([]bool{false, true}, func(ipv6 bool) bool {
			return was.hasLease(l, ipv6) && !now.hasAddress(l, ipv6)
		})
	})
}

// hasLease reports whether l has an address with a lifetime: of a lease or a router advertisement.
func (n network) hasLease(l link, ipv6 bool) bool {
	return slices.ContainsFunc(n.addresses, func(a address) bool {
		leased := a.scope < scopeLink && a.flags&unix.IFA_F_PERMANENT == 0
		return a.index == l.index && a.ipv6 == ipv6 && leased
	})
}

// snapshotSet returns the indexes of the links for a snapshot before a restart: all ENIs, because a
// manager may remove objects of any of them, and the links that are renamed.
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
