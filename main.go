// Eni0 makes sure that, on an EC2 instance with several network interfaces (ENIs), the link
// named eth0 is the primary ENI, and that default traffic leaves by it. `eni0 help` is its
// manual in short, README.md and man/eni0.8 are the long ones.
//
// To read it: this file, then rename.go (what is decided), fix.go (the order of things), rtnl.go
// and imds.go (the two who are asked), pins.go with netfiles.go, udevrules.go and profiles.go (which
// files tie an ENI to a name; process.go reads them), apply.go and keep.go (what is done, and
// undone), follow.go and manager.go (the network manager, and what a restart of it costs), loan.go
// and dhcp.go (how IMDS is asked before there is a network), log.go, chain.go (process 1).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"unicode/utf8"
)

// usage answers a command line that is wrong, on stderr, or that asks for help, on stdout.
func (c *call) usage(v verb, err error) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.stdout, usageOf(v))
		return codeRight
	}
	// Package flag shows the name of a flag as it was typed. The message is one line.
	c.log.err("%s: %s", v.name, strings.ReplaceAll(err.Error(), "\n", `\n`))
	fmt.Fprint(os.Stderr, usageOf(v))
	return codeUsage
}

func main() {
	signal.Ignore(syscall.SIGPIPE) // a log line into a closed pipe must not end us in the middle of things
	log := newLogger()
	own, next := chain(os.Args[1:], first())
	code := run(own, len(next) > 0, os.Stdout, log)
	log.flush()
	for _, command := range next {
		log.err("%v", execute(command)) // which comes back only if it can't be executed
		code = codeDoubt
	}
	log.flush()
	os.Exit(code)
}

// run carries out a command line and returns the exit code. What is chained to it is executed whatever
// came out, by a signal too.
func run(args []string, chained bool, stdout io.Writer, log logger) int {
	v, args, err := pick(args)
	if err != nil {
		log.err("%v", err)
		fmt.Fprint(os.Stderr, helpText())
		return codeUsage
	}
	c := &call{verb: v.name, stdout: stdout, log: log}
	if c.options, err = parseArgs(v, args); err != nil {
		return c.usage(v, err)
	}
	ctx, cancel, notifySignals := runContext(c.timeout)
	defer cancel()
	c.notifySignals = notifySignals
	if chained {
		c.notifySignals()
	}
	code, err := v.do(ctx, c)
	if err != nil {
		log.err("%v", err)
	}
	return code
}

// check says what is right and what is not, and changes nothing.
func check(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		w, v, err := c.look(ctx, nl)
		var steps []step
		if err == nil {
			steps, err = plan(w.links, v.wishes)
		}
		return c.conclude(report{world: w, plan: steps}, v, err)
	})
}

// fix makes it right.
func fix(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, !c.dry, func(nl *rtnl) (int, error) {
		w, v, err := c.look(ctx, nl)
		var steps []step
		if err == nil {
			steps, err = plan(w.links, v.wishes)
		}
		switch {
		case err == nil && c.dry && !c.json:
			c.log.info("%s", v.note)
			nl.warnOfRules(steps, c.log)
			code, err := c.print(ipLines(w.links, steps, c.units))
			return max(code, v.code), err
		case err == nil && !c.dry && (len(steps) > 0 || c.restartsOnly(v)):
			return c.mend(ctx, nl, w, namesOf(w.links, v.wishes))
		}
		return c.conclude(report{world: w, plan: steps}, v, err)
	})
}

// swap exchanges two names, whatever the links are.
func swap(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, !c.dry, func(nl *rtnl) (int, error) {
		var m managers
		if !c.dry {
			m = findManagers(ctx, c.units, c.args, c.log)
		}
		was, err := nl.observeLinks()
		if err == nil && len(m.units) > 0 { // else nothing is restarted that could cost more than names
			was, err = nl.observeNetwork(hwaddr{})
		}
		if err != nil {
			return codeDoubt, err
		}
		links := was.links
		wishes, err := exchange(links, c.args[0], c.args[1])
		if err != nil {
			return codeDoubt, err
		}
		steps, err := plan(links, wishes)
		if err != nil {
			return codeDoubt, err
		}
		if c.dry {
			nl.warnOfRules(steps, c.log)
			return c.print(ipLines(links, steps, c.units))
		}
		if err := context.Cause(ctx); err != nil {
			return codeDoubt, err
		}
		ignoreSignals() // nothing waits any more that a signal may end
		return c.exchangeNames(nl, m, was, wishes)
	})
}

// exchangeNames is swap where there is something to rename. What a restart of the managers costs is put
// back; whether the names are the right ones nobody has asked.
func (c *call) exchangeNames(nl *rtnl, m managers, was network, wishes map[int32]string) (int, error) {
	r := &renaming{nl: nl, log: c.log, before: was.links}
	if err := r.renameBeside(m, wishes); err != nil {
		return codeOf(err), err
	}
	if r.tell(m) {
		ctx, cancel := settleContext()
		defer cancel()
		r.restoreAfterRestart(ctx, was)
	}
	return codeRight, nil
}

// imds prints one path of the metadata.
func imds(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		path, err := resolvePath(c.args[0])
		if err != nil {
			return codeUsage, err
		}
		q := question{path: path, limit: outputLimit}
		if path == macPath {
			q = macQuestion()
		}
		body, err := c.imds.ask(ctx, q, c.everyENI(nl), nil)
		if err != nil {
			return codeDoubt, err
		}
		return c.print(endLine(string(body)))
	})
}

// endLine ends a text with a line feed if it does not; other bodies stay as they are.
func endLine(body string) string {
	text := !strings.ContainsFunc(body, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == utf8.RuneError })
	if text && !strings.HasSuffix(body, "\n") {
		return body + "\n"
	}
	return body
}

// carrier prints the address of the link that default traffic leaves by.
func carrier(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		w, err := nl.observe()
		if err != nil {
			return codeDoubt, err
		}
		carriers := w.carriers()
		if len(carriers) == 0 {
			return codeDoubt, errors.New("route: there is no default route")
		}
		if len(carriers) > 1 {
			return codeDoubt, fmt.Errorf("route: default traffic leaves by %d links, which has no one answer", len(carriers))
		}
		out, _ := byIndex(w.links, carriers[0])
		return c.print(out.id().String() + "\n")
	})
}

// version prints one line: the module's version, the commit where the build knows it, the toolchain.
func version(_ context.Context, c *call) (int, error) {
	name := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		name = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && !strings.Contains(name, s.Value[:min(12, len(s.Value))]) {
				name += " " + s.Value
			}
		}
	}
	return c.print(fmt.Sprintf("eni0 %s %s %s/%s\n", name, runtime.Version(), runtime.GOOS, runtime.GOARCH))
}

// help prints what there is, or what one verb takes.
func help(_ context.Context, c *call) (int, error) {
	if len(c.args) == 0 {
		return c.print(helpText())
	}
	v, _, err := pick(c.args)
	if err != nil {
		return codeUsage, err
	}
	return c.print(usageOf(v))
}
