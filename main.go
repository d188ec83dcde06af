// Eni0 makes sure that, on an EC2 instance with several network interfaces (ENIs), the link named
// eth0 is the primary ENI, and that default traffic leaves by it. `eni0 help` is its manual in
// short, README.md and man/eni0.8 are the long ones.
//
// To read it: this file, then rename.go (what is decided), fix.go (the order of things), rtnl.go
// and imds.go (the two who are asked), pins.go with netfiles.go, udevrules.go and profiles.go
// (which files tie an ENI to a name; process.go reads them), apply.go and keep.go (what is done,
// and undone), follow.go and manager.go (the network manager, and what a restart of it costs),
// loan.go and dhcp.go (how IMDS is asked before there is a network), log.go, chain.go (process 1).
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
	own, next := splitCommandLine(os.Args[1:], isKernelInit())
	code := runVerb(own, len(next) > 0, os.Stdout, log)
	log.flush()
	for _, command := range next {
		log.err("%v", execCommand(command)) // which comes back only if it can't be executed
		code = codeDoubt
	}
	log.flush()
	os.Exit(code)
}

// runVerb carries out a command line and returns the exit code. What is chained to it is executed
// whatever came out, by a signal too.
func runVerb(args []string, chained bool, stdout io.Writer, log logger) int {
	v, args, err := selectVerb(args)
	if err != nil {
		log.err("%v", err)
		fmt.Fprint(os.Stderr, helpText())
		return codeUsage
	}
	c := &call{verb: v.name, stdout: stdout, log: log}
	if c.verbOptions, err = parseArgs(v, args); err != nil {
		return c.usage(v, err)
	}
	ctx, cancel, notifySignals := runContext(c.timeout)
	defer cancel()
	c.notifySignals = notifySignals
	if chained {
		c.notifySignals()
	}
	code, err := verbFuncs()[v.name](ctx, c)
	if err != nil {
		log.err("%v", err)
	}
	return code
}

// verbFuncs are what carries out each verb of the table in flags.go.
func verbFuncs() map[string]func(context.Context, *call) (int, error) {
	return map[string]func(context.Context, *call) (int, error){
		"check": runCheck, "fix": runFix, "swap": runSwap, "imds": runIMDS, "route": runRoute, "version": runVersion, "help": runHelp,
	}
}

// runCheck says what is right and what is not, and changes nothing.
func runCheck(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		w, v, err := c.assess(ctx, nl)
		var steps []step
		if err == nil {
			steps, err = plan(w.links, v.targets)
		}
		return c.conclude(report{world: w, plan: steps}, v, err)
	})
}

// runFix makes it right.
func runFix(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, !c.dry, func(nl *rtnl) (int, error) {
		w, v, err := c.assess(ctx, nl)
		var steps []step
		if err == nil {
			steps, err = plan(w.links, v.targets)
		}
		switch {
		case err == nil && c.dry && !c.json:
			c.log.info("%s", v.note)
			warnOfRules(nl, steps, c.log)
			code, err := c.print(ipLines(w.links, steps, c.units))
			return max(code, v.code), err
		case err == nil && !c.dry && (len(steps) > 0 || c.isRestartOnly(v)):
			return c.applyFix(ctx, nl, w, involvedNames(w.links, v.targets))
		}
		return c.conclude(report{world: w, plan: steps}, v, err)
	})
}

// runSwap exchanges two names, whatever the links are.
func runSwap(ctx context.Context, c *call) (int, error) {
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
		targets, err := swapTargets(links, c.args[0], c.args[1])
		if err != nil {
			return codeDoubt, err
		}
		steps, err := plan(links, targets)
		if err != nil {
			return codeDoubt, err
		}
		if c.dry {
			warnOfRules(nl, steps, c.log)
			return c.print(ipLines(links, steps, c.units))
		}
		if err := context.Cause(ctx); err != nil {
			return codeDoubt, err
		}
		ignoreSignals() // nothing waits any more that a signal may end
		return c.applySwap(nl, m, was, targets)
	})
}

// applySwap is swap where there is something to rename. What a restart of the managers costs is put
// back; whether the names are the right ones nobody has asked.
func (c *call) applySwap(nl *rtnl, m managers, was network, targets map[int32]string) (int, error) {
	r := &renaming{nl: nl, log: c.log, before: was.links}
	if err := r.snapshotAndRename(m, targets); err != nil {
		return codeOf(err), err
	}
	if r.restartManagers(m) {
		ctx, cancel := settleContext()
		defer cancel()
		r.restoreAfterRestart(ctx, was)
	}
	return codeRight, nil
}

// runIMDS prints one path of the metadata.
func runIMDS(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		path, err := resolvePath(c.args[0])
		if err != nil {
			return codeUsage, err
		}
		q := metadataQuery{path: path, limit: outputLimit}
		if path == macPath {
			q = macQuery()
		}
		body, err := c.imds.fetch(ctx, q, c.imdsDevices(nl), nil)
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

// runRoute prints the address of the link that default traffic leaves by.
func runRoute(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		w, err := nl.observe()
		if err != nil {
			return codeDoubt, err
		}
		carriers := w.egressLinks()
		if len(carriers) == 0 {
			return codeDoubt, errors.New("route: there is no default route")
		}
		if len(carriers) > 1 {
			return codeDoubt, fmt.Errorf("route: default traffic leaves by %d links, which has no one answer", len(carriers))
		}
		out, _ := linkByIndex(w.links, carriers[0])
		return c.print(out.id().String() + "\n")
	})
}

// runVersion prints one line: the module's version, the commit where the build knows it, the
// toolchain.
func runVersion(_ context.Context, c *call) (int, error) {
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

// runHelp prints what there is, or what one verb takes.
func runHelp(_ context.Context, c *call) (int, error) {
	if len(c.args) == 0 {
		return c.print(helpText())
	}
	v, _, err := selectVerb(c.args)
	if err != nil {
		return codeUsage, err
	}
	return c.print(usageOf(v))
}
