package main

// This file has the order of things in one run: ask IMDS, judge, look for files that pin names,
// rename, restart the managers, report. How each is done is in the files that do it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A call is one run of a verb.
type call struct {
	verbOptions
	verb   string
	stdout io.Writer
	log    logger
	locked bool // this is the only eni0 that changes this network namespace
	// fix has begun to rename, or to restart managers.
	changed bool
	// From its call on, signals cancel the context: see runContext.
	notifySignals func()

	files     []configFile // of configFiles
	unread    []error
	filesRead bool
}

// work calls fn with an rtnetlink socket and, if alone, with the lock.
func (c *call) work(ctx context.Context, alone bool, fn func(*rtnl) (int, error)) (int, error) {
	nl, err := dialRtnl()
	if err != nil {
		return c.concludeUnseen(err)
	}
	defer nl.close()
	if alone {
		unlock, held, err := acquireLock(ctx, min(foreignTimeout, c.timeout/4), c.log)
		if err != nil && c.verb == "fix" {
			w, _ := nl.observe() // the error of the lock is the one to be seen
			return c.conclude(report{world: w}, verdict{}, err)
		}
		if err != nil {
			return codeDoubt, err
		}
		c.locked = held
		defer unlock()
	}
	return fn(nl)
}

// concludeUnseen is the answer where there is no socket.
func (c *call) concludeUnseen(err error) (int, error) {
	if c.json {
		return c.conclude(report{}, verdict{}, err)
	}
	return codeDoubt, err
}

// conclude completes a report and prints it. If it can't be printed the code is codeDoubt, but
// where fix has changed something it stays the code of that.
func (c *call) conclude(r report, v verdict, err error) (int, error) {
	r.verb, r.code, r.note = c.verb, v.code, v.note
	if err != nil {
		r.code, r.note, r.err = codeOf(err), "", err.Error()
	}
	r.reason = reasonOf(r.code, err)
	writeErr := r.write(c.stdout, c.json)
	if writeErr != nil && !c.changed {
		r.code = codeDoubt
	}
	return r.code, errors.Join(err, writeErr)
}

// reasonOf returns a word for what came out, which stays the same while messages change.
func reasonOf(code int, err error) string {
	for _, r := range jsonReasons() {
		if r.code == code && (r.is == nil || errors.Is(err, r.is)) {
			return r.word
		}
	}
	return ""
}

// A reason is a word of the JSON.
type reason struct {
	word string
	code int
	is   error // what makes it; nil where the code says it all
}

// jsonReasons lists the words of the JSON. Of several that fit, the first counts.
func jsonReasons() []reason {
	return []reason{
		{"right", codeRight, nil},
		{"names", codeNames, nil},
		{"route", codeRoute, nil},
		{"broken", codeBroken, nil},
		{"interrupted", codeDoubt, errInterrupted},
		{"locked", codeDoubt, errLocked},
		{"pinned", codeDoubt, errPinned},
		{"unread", codeDoubt, errUnread},
		{"undone", codeDoubt, errUndone},
		{"two-enis", codeDoubt, errTwoENIs},
		{"foreign", codeDoubt, errForeignName},
		{"foreign", codeDoubt, errNotENI},
		{"not-permitted", codeDoubt, unix.EPERM},
		{"late", codeDoubt, errNotProbed},
		{"no-eni", codeDoubt, errNoENI},
		{"imds-off", codeDoubt, errIMDSOff},
		{"imds-silent", codeDoubt, errNoMetadata},
		{"failed", codeDoubt, nil},
	}
}

// errPinned means that a file ties an ENI to another name than it is to have.
var errPinned = errors.New("pinned")

// errUnread means that there may be such a file, because not all can be read.
var errUnread = errors.New("can't tell whether a file gives an ENI another name")

// print writes text to stdout. Where it can't the code is codeDoubt. It is not inlined, as it is
// called in many places.
//
//go:noinline
func (c *call) print(text string) (int, error) {
	if _, err := io.WriteString(c.stdout, text); err != nil {
		return codeDoubt, err
	}
	return codeRight, nil
}

// widenAfter is how long IMDS is asked by the routing table alone: at most a fourth of the budget.
const widenAfter = time.Second

// asker returns what asks IMDS. The primary ENI's address it believes if an ENI has it.
func (c *call) asker(nl *rtnl, q metadataQuery) imdsAsker {
	a := imdsAsker{nl: nl, log: c.log, query: q, endpoint: c.imds,
		widen: min(widenAfter, c.timeout/4)}
	if q.path == macPath {
		a.believe = believeMAC
	}
	if c.verb != "fix" || c.dry {
		a.advice = "`eni0 fix` gets a temporary one"
	}
	return a
}

// findPrimary asks IMDS for the address of the primary ENI. Only a fix may use temporary addresses,
// and the first of them is the first change: from there on a signal ends the run in order.
func (c *call) findPrimary(ctx context.Context, nl *rtnl) (hwaddr, error) {
	a := c.asker(nl, macQuery())
	if c.verb == "fix" && c.locked {
		if err := reclaim(nl, c.log, c.notifySignals); err != nil {
			return hwaddr{}, err
		}
		a.mayBorrow = c.notifySignals
	}
	body, err := a.fetch(ctx)
	if err != nil {
		return hwaddr{}, err
	}
	return parseMAC(body)
}

// believeMAC believes an address that is an ENI's.
func believeMAC(links []link, body []byte) error {
	mac, err := parseMAC(body)
	if err != nil {
		return err
	}
	_, err = world{links: links, primary: mac}.primaryLink()
	if errors.Is(err, errNotProbed) {
		return err
	}
	return nil // also if two ENIs have it: judge refuses that
}

// assess asks IMDS for the primary ENI, looks at links and routes, and judges. With an error it
// returns as much of the world as it saw.
func (c *call) assess(ctx context.Context, nl *rtnl) (world, verdict, error) {
	primary, imdsErr := c.findPrimary(ctx, nl)
	if imdsErr != nil {
		w, err := nl.observe()
		return w, verdict{}, errors.Join(imdsErr, err)
	}
	w, v, err := c.judgeNow(nl, primary)
	if errors.Is(err, errNotProbed) && ctx.Err() == nil {
		return c.assess(ctx, nl) // the ENI has just gone
	}
	return c.addAdvice(ctx, w, v, err)
}

// judgeNow looks at links and routes and judges them.
func (c *call) judgeNow(nl *rtnl, primary hwaddr) (world, verdict, error) {
	w, err := nl.observe()
	w.primary = primary
	if err != nil {
		return w, verdict{}, err
	}
	v, err := judge(w, c.names)
	return w, v, err
}

// applyFix is fix where there is something to rename, or a manager to restart. It looks and judges
// again first: systemctl may have taken its time.
func (c *call) applyFix(ctx context.Context, nl *rtnl, w world, names []string, restartOnly bool) (
	int, error) {
	c.notifySignals()
	m := findManagers(ctx, c.units, names, c.log)
	was, err := nl.observeNetwork(w.primary)
	var v verdict
	if err == nil {
		v, err = judge(was.world, c.names)
	}
	if err == nil {
		err = c.checkPins(was.world, v)
	}
	if err == nil {
		err = context.Cause(ctx) // before the first change, a signal ends the run
	}
	if err != nil || len(v.targets) == 0 && !(restartOnly && c.isRestartOnly(v)) {
		return c.conclude(report{world: was.world}, v, err)
	}
	r := &renaming{nl: nl, log: c.log, before: was.links}
	r.judgeAgain = func() ([]link, map[int32]string, error) {
		now, v, err := c.judgeNow(nl, w.primary)
		if err == nil {
			err = c.checkPins(now, v)
		}
		return now.links, v.targets, err
	}
	c.changed = true
	if err = r.snapshotAndRename(m, v.targets); err == nil {
		err = r.reconfigure(was, m)
	}
	now, v, lookErr := c.judgeNow(nl, w.primary)
	if err == nil {
		v, err = verdictAfterRename(was.world, now, v, lookErr)
	}
	if p, _ := now.primaryLink(); v.code == codeRoute && len(m.units) > 0 {
		v.note += fmt.Sprintf("; a restart of %s has not changed that: see %s",
			strings.Join(m.units, " "), m.statusCommand(p))
	}
	renamed := nameChanges(was.links, now.links)
	return c.conclude(report{world: now, renamed: renamed, lost: r.lost}, v, err)
}

// addAdvice makes an error of a verdict against which a file pins names, and adds to codeRoute what
// a person can do. The files are read only in these cases.
func (c *call) addAdvice(ctx context.Context, w world, v verdict, err error) (
	world, verdict, error) {
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
	files, unread := c.configFiles()
	if pins := findPins(files, w.links, names); len(pins) > 0 {
		v.pinned = true
		v.note += "; " + pins[0].String()
		return w, v, nil
	}
	for _, err := range unread {
		c.log.warn("%v: %v", errUnread, err)
	}
	return w, c.suggestRestart(ctx, v), nil
}

// checkPins returns an error where a file pins another name on an ENI that is to be renamed, or may
// do so because it can't be read. After a rename, a network manager that compares both device and
// name would leave that ENI unconfigured.
func (c *call) checkPins(w world, v verdict) error {
	if len(v.targets) == 0 {
		return nil
	}
	var errs []error
	files, unread := c.configFiles()
	for _, p := range findPins(files, w.links, v.targets) {
		errs = append(errs, errorf("%w: %v", errPinned, p))
	}
	for _, err := range unread {
		errs = append(errs, errorf("%w: %v", errUnread, err))
	}
	return errors.Join(errs...)
}

// configFiles returns the files that may give names to devices, and why others can't be read. It
// reads them once.
func (c *call) configFiles() (files []configFile, unread []error) {
	if !c.filesRead {
		c.files, c.unread = readConfigFiles("")
		c.filesRead = true
	}
	return c.files, c.unread
}

// suggestRestart adds to codeRoute the command that restarts the network managers that run, unless
// the command line says to restart none.
func (c *call) suggestRestart(ctx context.Context, v verdict) verdict {
	units := c.units
	if !c.restartGiven {
		units, _ = parseUnits(defaultUnits) // no error is possible
	}
	if v.code != codeRoute || len(units) == 0 {
		return v
	}
	running, unknown := managers{log: c.log}.activeUnits(ctx, units)
	switch {
	case len(running) == 0 && unknown:
		return v
	case len(running) == 0:
		v.note += "; no network manager runs that eni0 knows, " +
			"and `ip route show default` tells who made the route"
		return v
	}
	v.note += fmt.Sprintf("; `eni0 fix -restart %s` may", strings.Join(running, ","))
	return v
}

// isRestartOnly reports whether this is a fix that only restarts managers, because the names are
// right.
func (c *call) isRestartOnly(v verdict) bool {
	return v.code == codeRoute && !v.pinned && c.restartGiven && len(c.units) > 0
}
