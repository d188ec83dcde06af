package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// This file has the order of things: who is asked when, and what follows a rename.

// A call is one run of a verb.
type call struct {
	verbOptions
	verb   string
	stdout io.Writer
	log    logger
	// It makes signals end the run's context instead of the process: see runContext.
	notifySignals func()

	files     []configFile // that may give names to devices
	filesRead bool
}

// work gives fn a socket to the kernel and, if alone, keeps every other eni0 waiting meanwhile.
func (c *call) work(ctx context.Context, alone bool, fn func(*rtnl) (int, error)) (int, error) {
	nl, err := dialRtnl()
	if err != nil {
		return c.concludeUnseen(err)
	}
	defer nl.close()
	if alone {
		unlock, err := acquireLock(ctx, c.log)
		if err != nil {
			return c.concludeUnseen(err)
		}
		defer unlock()
	}
	return fn(nl)
}

// concludeUnseen is the answer where the world could not even be looked at.
func (c *call) concludeUnseen(err error) (int, error) {
	if c.json {
		return c.conclude(report{}, verdict{}, err)
	}
	return codeDoubt, err
}

// conclude completes a report and prints it. Where that fails, a check has told nothing; but what
// fix has done stays done, and the code says what that was.
func (c *call) conclude(r report, v verdict, err error) (int, error) {
	r.verb, r.code, r.note = c.verb, v.code, v.note
	if err != nil {
		r.code, r.note, r.err = codeOf(err), "", err.Error()
	}
	unsaid := r.write(c.stdout, c.json)
	if unsaid != nil && r.code == codeRight && r.renamed == nil {
		r.code = codeDoubt
	}
	return r.code, errors.Join(err, unsaid)
}

// print writes the answer to stdout. Where it can't, nobody has been told.
func (c *call) print(text string) (int, error) {
	if _, err := io.WriteString(c.stdout, text); err != nil {
		return codeDoubt, err
	}
	return codeRight, nil
}

// imdsDevices is devices for endpoint.ask, and tells people what is happening.
func (c *call) imdsDevices(nl *rtnl) func() ([]string, error) {
	return func() ([]string, error) {
		names, err := imdsDevices(nl)
		switch {
		case len(names) > 0:
			c.log.info("imds: no answer yet; asking on, by each of %s", countOf(len(names), "ENI", "ENIs"))
		case err == nil && !c.mayBorrow():
			c.log.info("imds: no answer yet, and no ENI that is up has an address to ask by")
		}
		return names, err
	}
}

// mayBorrow reports whether this is a fix that may borrow a network.
func (c *call) mayBorrow() bool { return c.verb == "fix" && !c.dry }

// borrow has borrowed networks join a race: at once if there is no way to IMDS, else if nothing has
// answered that way for a second. It borrows nothing where the ENIs have a network already, whose
// IMDS traffic the loan's route would take, or where none of them leads to the endpoint.
func (c *call) borrow(ctx context.Context, nl *rtnl) func(*race) error {
	return func(r *race) error {
		configured, err := hasNetwork(nl)
		if err != nil {
			return err
		}
		if configured || c.imds.loopback() {
			c.log.info("imds: no answer yet; asking on as the routing table says, borrowing nothing")
			return nil
		}
		c.notifySignals() // from here on there is something to give back
		return tempAsker{c.imds, macQuery(), c.log}.joinRace(r, nl)
	}
}

// findPrimary asks IMDS which ENI is the primary. Where no ENI that is up has an address, fix may
// borrow a network for that.
func (c *call) findPrimary(ctx context.Context, nl *rtnl) (hwaddr, error) {
	if !c.mayBorrow() {
		return c.imds.fetchMAC(ctx, c.imdsDevices(nl), nil)
	}
	if err := reclaim(nl, c.log, c.notifySignals); err != nil {
		return hwaddr{}, err
	}
	return c.imds.fetchMAC(ctx, c.imdsDevices(nl), c.borrow(ctx, nl))
}

// assess asks IMDS for the primary ENI, observes the world, waits for that ENI if it has not been
// probed yet, and judges. On an error the world is as much as was seen.
func (c *call) assess(ctx context.Context, nl *rtnl) (world, verdict, error) {
	primary, unanswered := c.findPrimary(ctx, nl)
	if unanswered != nil {
		w, err := nl.observe()
		return w, verdict{}, errors.Join(unanswered, err)
	}
	w, v, err := c.judgeNow(nl, primary)
	if !errors.Is(err, errNotProbed) {
		return c.addAdvice(ctx, w, v, err)
	}
	c.log.info("%v; waiting for it", err)
	start := time.Now()
	over := await(ctx, func() (bool, error) {
		w, v, err = c.judgeNow(nl, primary)
		return err == nil, ignoreError(err, errNotProbed)
	})
	if errors.Is(err, errNotProbed) && over != nil {
		err = fmt.Errorf("%w, after waiting %v: %w", err, time.Since(start).Round(time.Millisecond), over)
	}
	return c.addAdvice(ctx, w, v, err)
}

// judgeNow observes the world and judges it.
func (c *call) judgeNow(nl *rtnl, primary hwaddr) (world, verdict, error) {
	w, err := nl.observe()
	w.primary = primary
	if err != nil {
		return w, verdict{}, err
	}
	v, err := judge(w, c.names)
	return w, v, err
}

// applyFix is fix where there is something to rename, or a manager to restart: it does so, sees to
// it that default traffic follows, and reports what has become of it.
func (c *call) applyFix(ctx context.Context, nl *rtnl, w world, names []string) (int, error) {
	c.notifySignals()
	m := findManagers(ctx, c.units, names, c.log)
	was, err := nl.observeNetwork(w.primary) // systemctl may have taken its time
	var v verdict
	if err == nil {
		v, err = judge(was.world, c.names)
	}
	if err == nil {
		err = c.checkPins(was.world, v)
	}
	if err == nil {
		err = context.Cause(ctx) // a signal that came before the first change is obeyed
	}
	if err != nil || len(v.targets) == 0 && !c.isRestartOnly(v) {
		return c.conclude(report{world: was.world}, v, err)
	}
	r := &renaming{nl: nl, log: c.log, before: was.links}
	if err = r.snapshotAndRename(m, v.targets); err == nil {
		err = r.reconfigure(was, m)
	}
	now, v, lookErr := c.judgeNow(nl, w.primary)
	if err == nil {
		v, err = verdictAfterRename(was.world, now, v, lookErr)
	}
	if p, _ := now.primaryLink(); v.code == codeRoute && len(m.units) > 0 {
		v.note += fmt.Sprintf("; a restart of %s has not changed that: see %s", strings.Join(m.units, " "), m.statusCommand(p))
	}
	return c.conclude(report{world: now, renamed: nameChanges(was.links, now.links)}, v, err)
}

// addAdvice adds to a verdict what the files say that give names to devices, and what a person can
// do. They are read only where a rename is due or renaming can't help. Where one of them ties an
// ENI to another name, a network manager that wants both, the device and the name, would leave that
// ENI without any network after a rename.
func (c *call) addAdvice(ctx context.Context, w world, v verdict, err error) (world, verdict, error) {
	if err == nil {
		err = c.checkPins(w, v)
	}
	if err != nil || v.code != codeRoute {
		return w, v, err
	}
	names := map[int32]string{}
	for _, e := range allENIs(w.links) {
		names[e.index] = e.name
	}
	if pins := findPins(c.configFiles(), w.links, names); len(pins) > 0 {
		v.pinned = true
		v.note += "; " + pins[0].String()
		return w, v, nil
	}
	return w, c.suggestRestart(ctx, v), nil
}

// checkPins is the error where a file ties an ENI that is to be renamed to another name.
func (c *call) checkPins(w world, v verdict) error {
	if len(v.targets) == 0 {
		return nil
	}
	var errs []error
	for _, p := range findPins(c.configFiles(), w.links, v.targets) {
		errs = append(errs, fmt.Errorf("pinned: %v", p))
	}
	return errors.Join(errs...)
}

// configFiles are the files that may give names to devices, read once. What can't be read is told
// once.
func (c *call) configFiles() []configFile {
	if !c.filesRead {
		files, warnings := readConfigFiles("")
		for _, err := range warnings {
			c.log.warn("%v", err)
		}
		c.files, c.filesRead = files, true
	}
	return c.files
}

// suggestRestart adds to the verdict that a rename can't cure it what may, by the manager that
// runs. Where the command line says that none is to be restarted, none is asked for.
func (c *call) suggestRestart(ctx context.Context, v verdict) verdict {
	units := c.units
	if !c.restartGiven {
		units, _ = parseUnits(defaultUnits) // which is a good list
	}
	if v.code != codeRoute || len(units) == 0 {
		return v
	}
	running, _ := managers{log: c.log}.activeUnits(ctx, units)
	if len(running) == 0 {
		v.note += "; no network manager runs that eni0 knows, and `ip route show default` tells who made the route"
		return v
	}
	v.note += fmt.Sprintf("; `eni0 fix -restart %s` may", strings.Join(running, ","))
	return v
}

// isRestartOnly reports whether this is a fix that is to restart managers though names are right.
func (c *call) isRestartOnly(v verdict) bool {
	return v.code == codeRoute && !v.pinned && c.restartGiven && len(c.units) > 0
}
