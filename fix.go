package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// observe lists the links and default routes.
func (c *rtnl) observe() (w world, err error) {
	if w.links, err = c.links(); err != nil {
		return w, err
	}
	w.routes, err = c.defaultRoutes()
	return w, err
}

// devices names the ENIs that IMDS can be asked by: up, and with an IPv4 address.
func (c *rtnl) devices() ([]string, error) {
	links, err := c.links()
	if err != nil {
		return nil, err
	}
	addressed, err := c.addressed()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		if l.eni() && l.up && slices.Contains(addressed, l.index) {
			out = append(out, l.name)
		}
	}
	return out, nil
}

// look observes the world, asks IMDS for the primary ENI, waits for that ENI if it has not been
// probed yet, and judges. On an error the world is as much as was seen.
func (c *call) look(l *limit, nl *rtnl) (world, verdict, error) {
	w, err := nl.observe()
	if err != nil {
		return w, verdict{}, err
	}
	devices, err := nl.devices()
	if err != nil {
		return w, verdict{}, err
	}
	primary, err := c.imds.primaryMAC(l, devices)
	if err != nil {
		return w, verdict{}, err
	}
	var v verdict
	judgeAgain := func() error {
		w, err = nl.observe()
		if w.primary = primary; err == nil {
			v, err = judge(w, c.names)
		}
		return err
	}
	if !errors.Is(judgeAgain(), errLate) {
		return w, v, err
	}
	c.log.info("%v; waiting for it", err)
	start := time.Now()
	over := await(l, func() (bool, error) {
		err := judgeAgain()
		return err == nil, unless(err, errLate)
	})
	if errors.Is(err, errLate) && over != nil {
		err = fmt.Errorf("%w, after waiting %v: %w", err, time.Since(start).Round(time.Millisecond), over)
	}
	return w, v, err
}

// unless is err, or nil where it is expected.
func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// check is the verb: read-only.
func check(l *limit, c *call) (int, error) {
	nl, err := dialRtnl()
	if err != nil {
		return codeDoubt, err
	}
	defer nl.close()
	w, v, err := c.look(l, nl)
	var steps []step
	if err == nil {
		steps, err = plan(w.links, v.wishes)
	}
	return c.conclude(report{verb: "check", world: w, plan: steps}, v, err)
}

// conclude completes a report and prints it.
func (c *call) conclude(r report, v verdict, err error) (int, error) {
	r.code, r.note = v.code, v.note
	if err != nil {
		r.code, r.note, r.err = codeOf(err), "", err.Error()
	}
	if werr := r.write(c.stdout, c.json); werr != nil && err == nil {
		return codeDoubt, werr
	}
	return r.code, err
}

// fix is the verb: makes eth0 the primary ENI.
func fix(l *limit, c *call) (int, error) {
	nl, err := dialRtnl()
	if err != nil {
		return codeDoubt, err
	}
	defer nl.close()
	if !c.dry {
		unlock, err := lock(l)
		if err != nil {
			return codeDoubt, err
		}
		defer unlock()
	}
	w, v, err := c.look(l, nl)
	if err != nil {
		return c.conclude(report{verb: "fix", world: w}, v, err)
	}
	steps, err := plan(w.links, v.wishes)
	if c.dry {
		return c.wouldFix(w, v, steps, err)
	}
	if err != nil || len(steps) == 0 {
		return c.conclude(report{verb: "fix", world: w}, v, err)
	}
	return c.mend(l, nl, w, v)
}

// wouldFix is fix -n: the plan and nothing else.
func (c *call) wouldFix(w world, v verdict, steps []step, err error) (int, error) {
	if c.json || err != nil {
		return c.conclude(report{verb: "fix", world: w, plan: steps}, v, err)
	}
	c.log.info("%s", v.note)
	_, err = c.stdout.Write([]byte(ipLines(w.links, steps)))
	return v.code, err
}

// mend renames, sees to it that default traffic follows, and reports what has become of it.
func (c *call) mend(l *limit, nl *rtnl, was world, v verdict) (int, error) {
	active := activeUnits(l, c.units)
	r := &renaming{nl: nl, log: c.log}
	if err := r.rename(v.wishes); err != nil {
		return c.conclude(report{verb: "fix", world: was}, v, err)
	}
	c.follow(l, r, was, active)
	w, err := nl.observe()
	w.primary = was.primary
	if err == nil {
		v, err = judge(w, c.names)
	}
	return c.conclude(report{verb: "fix", world: w, renamed: renamed(was.links, w.links)}, v, err)
}

// renamed lists each link's change of name.
func renamed(before, now []link) []step {
	var out []step
	for _, l := range now {
		if old, ok := byIndex(before, l.index); ok && old.name != l.name {
			out = append(out, step{l.index, l.id(), old.name, l.name})
		}
	}
	return out
}

// follow puts back what the links lost, has the network manager apply its configuration by the
// new names, and, where default traffic left by some link before, waits until it leaves by the
// primary. A manager that is being restarted makes its own routes; where it has not by the
// deadline, those that were lost are put back.
func (c *call) follow(l *limit, r *renaming, was world, active []string) {
	restarted := c.restart(l, r, active)
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
	if err != nil {
		c.log.warn("default traffic has not followed: %v", err)
		r.restore(everything)
	}
}

// restart puts back what the links lost and restarts those units. It reports whether it did.
func (c *call) restart(l *limit, r *renaming, active []string) bool {
	if len(active) == 0 {
		r.restore(everything)
		return false
	}
	r.restore(item.managed)
	if err := restartUnits(l, active); err != nil {
		c.log.warn("%v", err)
		r.restore(everything)
		return false
	}
	c.log.info("restarting %s", active)
	return true
}

// swap is the verb: exchanges two names, whatever the links are.
func swap(l *limit, c *call) (int, error) {
	nl, err := dialRtnl()
	if err != nil {
		return codeDoubt, err
	}
	defer nl.close()
	if !c.dry {
		unlock, err := lock(l)
		if err != nil {
			return codeDoubt, err
		}
		defer unlock()
	}
	links, err := nl.links()
	if err != nil {
		return codeDoubt, err
	}
	wishes, err := exchange(links, c.args[0], c.args[1])
	if err != nil {
		return codeDoubt, err
	}
	steps, err := plan(links, wishes)
	if err != nil {
		return codeDoubt, err
	}
	if c.dry {
		_, err = c.stdout.Write([]byte(ipLines(links, steps)))
		return codeRight, err
	}
	active := activeUnits(l, c.units)
	r := &renaming{nl: nl, log: c.log}
	if err := r.rename(wishes); err != nil {
		return codeOf(err), err
	}
	// No judge says here which routes the manager will make, so all of them come back first.
	r.restore(everything)
	c.restart(l, r, active)
	return codeRight, nil
}

// imds is the verb: prints one path of the metadata.
func imds(l *limit, c *call) (int, error) {
	path, err := resolvePath(c.args[0])
	if err != nil {
		return codeUsage, err
	}
	nl, err := dialRtnl()
	if err != nil {
		return codeDoubt, err
	}
	defer nl.close()
	devices, err := nl.devices()
	if err != nil {
		return codeDoubt, err
	}
	q := question{path: path, limit: outputLimit}
	if path == macPath {
		q = macQuestion()
	}
	body, err := c.imds.ask(l, q, devices)
	if err != nil {
		return codeDoubt, err
	}
	_, err = c.stdout.Write(endLine(body))
	return codeRight, err
}

// endLine ends a text with a line feed if it does not; other bodies stay as they are.
func endLine(body []byte) []byte {
	text := !bytes.ContainsFunc(body, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0xfffd })
	if text && !bytes.HasSuffix(body, []byte("\n")) {
		return append(body, '\n')
	}
	return body
}

// routeVerb is the verb route: prints the address of the link that carries default traffic.
func routeVerb(l *limit, c *call) (int, error) {
	nl, err := dialRtnl()
	if err != nil {
		return codeDoubt, err
	}
	defer nl.close()
	defer l.expire(nl.file)()
	w, err := nl.observe()
	if err != nil {
		return codeDoubt, err
	}
	carriers := w.carriers()
	switch len(carriers) {
	case 0:
		return codeDoubt, errors.New("route: there is no default route")
	case 1:
		out, _ := byIndex(w.links, carriers[0])
		_, err := fmt.Fprintln(c.stdout, out.id())
		return codeRight, err
	}
	return codeDoubt, fmt.Errorf("route: default traffic leaves by %d links, which has no one answer", len(carriers))
}
