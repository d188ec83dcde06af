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
	options
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
		return c.unable(err)
	}
	defer nl.close()
	if alone {
		unlock, err := lock(ctx, c.log)
		if err != nil {
			return c.unable(err)
		}
		defer unlock()
	}
	return fn(nl)
}

// unable is the answer where the world could not even be looked at.
func (c *call) unable(err error) (int, error) {
	if c.json {
		return c.conclude(report{}, verdict{}, err)
	}
	return codeDoubt, err
}

// conclude completes a report and prints it. Where that fails, a check has told nothing; but what fix
// has done stays done, and the code says what that was.
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

// everyENI is nl.devices for endpoint.ask, and tells people what is happening.
func (c *call) everyENI(nl *rtnl) func() ([]string, error) {
	return func() ([]string, error) {
		devices, err := nl.devices()
		switch {
		case len(devices) > 0:
			c.log.info("imds: no answer yet; asking on, by each of %s", plural(len(devices), "ENI", "ENIs"))
		case err == nil && !c.borrows():
			c.log.info("imds: no answer yet, and no ENI that is up has an address to ask by")
		}
		return devices, err
	}
}

// borrows reports whether this is a fix that may borrow a network.
func (c *call) borrows() bool { return c.verb == "fix" && !c.dry }

// borrow has borrowed networks join a race: at once if there is no way to IMDS, else if nothing has
// answered that way for a second. It borrows nothing where the ENIs have a network already, whose
// IMDS traffic the loan's route would take, or where none of them leads to the endpoint.
func (c *call) borrow(ctx context.Context, nl *rtnl) func(*race) error {
	return func(r *race) error {
		configured, err := nl.configured()
		if err != nil {
			return err
		}
		if configured || c.imds.loopback() {
			c.log.info("imds: no answer yet; asking on as the routing table says, borrowing nothing")
			return nil
		}
		c.notifySignals() // from here on there is something to give back
		return borrower{c.imds, macQuestion(), c.log}.join(r, nl)
	}
}

// primaryMAC asks IMDS which ENI is the primary. Where no ENI that is up has an address, fix may
// borrow a network for that.
func (c *call) primaryMAC(ctx context.Context, nl *rtnl) (hwaddr, error) {
	if !c.borrows() {
		return c.imds.primaryMAC(ctx, c.everyENI(nl), nil)
	}
	if err := nl.reclaim(c.log, c.notifySignals); err != nil {
		return hwaddr{}, err
	}
	return c.imds.primaryMAC(ctx, c.everyENI(nl), c.borrow(ctx, nl))
}

// look asks IMDS for the primary ENI, observes the world, waits for that ENI if it has not been probed
// yet, and judges. On an error the world is as much as was seen.
func (c *call) look(ctx context.Context, nl *rtnl) (world, verdict, error) {
	primary, unanswered := c.primaryMAC(ctx, nl)
	if unanswered != nil {
		w, err := nl.observe()
		return w, verdict{}, errors.Join(unanswered, err)
	}
	w, v, err := c.judgeNow(nl, primary)
	if !errors.Is(err, errLate) {
		return c.consider(ctx, w, v, err)
	}
	c.log.info("%v; waiting for it", err)
	start := time.Now()
	over := await(ctx, func() (bool, error) {
		w, v, err = c.judgeNow(nl, primary)
		return err == nil, unless(err, errLate)
	})
	if errors.Is(err, errLate) && over != nil {
		err = fmt.Errorf("%w, after waiting %v: %w", err, time.Since(start).Round(time.Millisecond), over)
	}
	return c.consider(ctx, w, v, err)
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

// mend is fix where there is something to rename, or a manager to restart: it does so, sees to it that
// default traffic follows, and reports what has become of it.
func (c *call) mend(ctx context.Context, nl *rtnl, w world, names []string) (int, error) {
	c.notifySignals()
	m := findManagers(ctx, c.units, names, c.log)
	was, err := nl.observeNetwork(w.primary) // systemctl may have taken its time
	var v verdict
	if err == nil {
		v, err = judge(was.world, c.names)
	}
	if err == nil {
		err = c.pinned(was.world, v)
	}
	if err == nil {
		err = context.Cause(ctx) // a signal that came before the first change is obeyed
	}
	if err != nil || len(v.wishes) == 0 && !c.restartsOnly(v) {
		return c.conclude(report{world: was.world}, v, err)
	}
	r := &renaming{nl: nl, log: c.log, before: was.links}
	if err = r.renameBeside(m, v.wishes); err == nil {
		err = r.follow(was, m)
	}
	now, v, lookErr := c.judgeNow(nl, w.primary)
	if err == nil {
		v, err = outcome(was.world, now, v, lookErr)
	}
	if p, _ := now.primaryLink(); v.code == codeRoute && len(m.units) > 0 {
		v.note += fmt.Sprintf("; a restart of %s has not changed that: see %s", strings.Join(m.units, " "), m.inspection(p))
	}
	return c.conclude(report{world: now, renamed: renamed(was.links, now.links)}, v, err)
}

// consider adds to a verdict what the files say that give names to devices, and what a person can do. They
// are read only where a rename is due or renaming can't help. Where one of them ties an ENI to another
// name, a network manager that wants both, the device and the name, would leave that ENI without any
// network after a rename.
func (c *call) consider(ctx context.Context, w world, v verdict, err error) (world, verdict, error) {
	if err == nil {
		err = c.pinned(w, v)
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
	return w, c.advise(ctx, v), nil
}

// pinned is the error where a file ties an ENI that is to be renamed to another name.
func (c *call) pinned(w world, v verdict) error {
	if len(v.wishes) == 0 {
		return nil
	}
	var errs []error
	for _, p := range findPins(c.configFiles(), w.links, v.wishes) {
		errs = append(errs, fmt.Errorf("pinned: %v", p))
	}
	return errors.Join(errs...)
}

// configFiles are the files that may give names to devices, read once. What can't be read is told once.
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

// advise adds to the verdict that a rename can't cure it what may, by the manager that runs. Where the
// command line says that none is to be restarted, none is asked for.
func (c *call) advise(ctx context.Context, v verdict) verdict {
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

// restartsOnly reports whether this is a fix that is to restart managers though names are right.
func (c *call) restartsOnly(v verdict) bool {
	return v.code == codeRoute && !v.pinned && c.restartGiven && len(c.units) > 0
}

// noteworthy is the set of the links of which it is noted what they have before a manager is restarted:
// all ENIs, as it may remove things from any of them, and what is to be renamed.
func noteworthy(links []link, wishes map[int32]string) map[int32]bool {
	set := map[int32]bool{}
	for _, e := range allENIs(links) {
		set[e.index] = true
	}
	for index := range wishes {
		set[index] = true
	}
	return set
}
