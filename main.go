// Eni0 makes sure that, on an EC2 instance with several network interfaces (ENIs), the link named
// eth0 is the primary ENI, and that default traffic leaves by it. `eni0 help` is its manual in
// short, README.md, docs/ and man/eni0.8 are the long ones.
//
// The files by theme. Each uses only those above it; layers_test.go checks that.
//
// What there is, and what is right (these touch nothing):
//
//	world.go         links, routes, addresses, renames
//	rename.go        which renames lead to given names, and which undo them
//	judge.go         what is right, which names ENIs are to have, exit codes
//
// Which configuration files pin a name on an ENI (these touch nothing either):
//
//	glob.go          fnmatch(3)
//	configfile.go    what all of these files have in common
//	systemdfiles.go  .network and .link files
//	udevrules.go     udev rules
//	profiles.go      NetworkManager's profiles, ifcfg files
//	pins.go          the decision over all of them
//
// Bytes and values (no socket, no file):
//
//	nlmsg.go         messages of rtnetlink
//	snapshot.go      the requests that create again what a link has lost
//	downup.go        the datagram of a rename for which links go down
//	http.go          responses of IMDS
//	dhcpmsg.go       DHCPv4 messages
//	report.go        the table, the JSON, a plan as ip(8) commands
//
// The process and its sockets:
//
//	process.go       the deadline, signals, process 1, commands
//	log.go           the log
//	readconfig.go    reads the files for pins.go
//	rtnl.go          the rtnetlink socket
//	lock.go          one eni0 at a time
//	imdspath.go      asks IMDS by one network path
//	dhcp.go          gets a lease
//
// What is done:
//
//	keep.go          takes a snapshot of links, and creates again what is missing
//	manager.go       the network managers
//	apply.go         carries out a rename, or puts the names back
//	settle.go        what follows a rename
//	tempaddr.go      asks IMDS over a temporary address, before the network is configured
//	imds.go          asks IMDS by all paths at once, and decides which answer to believe
//
// The verbs, where reading can begin:
//
//	flags.go         the command line
//	fix.go           the order of things
//	main.go          one function for each verb
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// usage writes what is wrong with a command line to stderr, or help that was asked for to stdout.
func (c *call) usage(v verb, err error) (int, error) {
	if errors.Is(err, flag.ErrHelp) {
		return c.print(usageOf(v))
	}
	// The message is one line, even if the name of an unknown flag is not.
	c.log.err("%s: %s", v.name, strings.ReplaceAll(err.Error(), "\n", `\n`))
	c.log.text(usageOf(v))
	return codeUsage, nil
}

func main() {
	signal.Ignore(syscall.SIGPIPE) // a closed pipe must not end the process during a change
	log := newLogger()
	if err := checkFiles(); err != nil {
		log.err("%v", err)
		log.flush()
		os.Exit(codeDoubt)
	}
	own, next := splitCommandLine(os.Args[1:], isKernelInit())
	code := runVerb(own, len(next) > 0, os.Stdout, log)
	log.flush()
	for _, command := range next {
		log.err("%v", execCommand(command)) // it has returned, so it could not
		code = codeDoubt
	}
	log.flush()
	os.Exit(code)
}

// runVerb carries out a command line and returns the exit code. With chained a COMMAND follows,
// which must be executed even after a signal.
func runVerb(args []string, chained bool, stdout io.Writer, log logger) int {
	v, args, err := selectVerb(args)
	if err != nil {
		log.err("%v: `eni0 help` lists them", err)
		return codeUsage
	}
	options, usageErr := parseArgs(v, args)
	if usageErr != nil {
		options.timeout = briefBudget // there is only something to print
	}
	ctx, cancel, notifySignals := runContext(cmp.Or(options.timeout, briefBudget))
	defer cancel()
	c := &call{verbOptions: options, verb: v.name, log: log, notifySignals: notifySignals}
	if c.stdout = stdout; stdout == os.Stdout {
		c.stdout = outputWriter{ctx, unix.Stdout}
	}
	if chained {
		c.notifySignals()
	}
	var code int
	if usageErr != nil {
		code, err = c.usage(v, usageErr)
	} else {
		code, err = verbFuncs()[v.name](ctx, c)
	}
	if err != nil {
		log.err("%v", err)
	}
	return code
}

// verbFuncs has the function of each verb in flags.go.
func verbFuncs() map[string]func(context.Context, *call) (int, error) {
	return map[string]func(context.Context, *call) (int, error){
		"check": runCheck, "fix": runFix, "swap": runSwap, "imds": runIMDS, "route": runRoute,
		"version": runVersion, "help": runHelp,
	}
}

// runCheck reports what is right and what is not, and changes nothing.
func runCheck(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		w, v, err := c.assess(ctx, nl)
		var steps []step
		if err == nil {
			steps, err = plan(w.links, v.targets)
		}
		if v.code == codeNames {
			v.note += "; `eni0 fix` renames"
		}
		return c.conclude(report{world: w, plan: steps}, v, err)
	})
}

// runFix makes it right, or with -n prints how.
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
			if code, err := c.print(ipLines(w.links, steps, c.units)); err != nil {
				return code, err
			}
			return v.code, nil
		case err == nil && !c.dry && (len(steps) > 0 || c.isRestartOnly(v)):
			names := involvedNames(w.links, v.targets)
			return c.applyFix(ctx, nl, w, names, c.isRestartOnly(v))
		}
		return c.conclude(report{world: w, plan: steps}, v, err)
	})
}

// runSwap exchanges the names of two links.
func runSwap(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, !c.dry, func(nl *rtnl) (int, error) {
		var m managers
		if !c.dry {
			m = findManagers(ctx, c.units, c.args, c.log)
		}
		was, err := nl.observeLinks()
		if err == nil && len(m.units) > 0 { // for restoreAfterRestart
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
		ignoreSignals() // from here on a signal must not interrupt
		return c.applySwap(nl, m, was, targets)
	})
}

// applySwap renames, restarts the managers, and restores what that has removed. Whether default
// traffic leaves by the right link is not checked: that is not what swap is for.
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
		body, err := c.asker(nl, q).fetch(ctx)
		if err != nil {
			return codeDoubt, err
		}
		return c.print(endLine(string(body)))
	})
}

// endLine adds a line feed to a text that has none at its end. Other bodies stay as they are.
func endLine(body string) string {
	isText := !strings.ContainsFunc(body, func(c rune) bool {
		return c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == utf8.RuneError
	})
	if isText && !strings.HasSuffix(body, "\n") {
		return body + "\n"
	}
	return body
}

// runRoute prints the address of the ENI that default traffic leaves by.
func runRoute(ctx context.Context, c *call) (int, error) {
	return c.work(ctx, false, func(nl *rtnl) (int, error) {
		w, err := nl.observe()
		if err != nil {
			return codeDoubt, err
		}
		e := w.decidingEgress()
		enis := e.allENIs()
		if len(enis) == 0 {
			return codeDoubt, errorf("route: %s", w.noEgress(e))
		}
		if len(enis) > 1 {
			return codeDoubt, errorf("route: default traffic leaves by %d ENIs, %s, "+
				"which has no one answer", len(enis), w.namesOf(enis))
		}
		out, _ := linkByIndex(w.links, enis[0])
		return c.print(out.id().String() + "\n")
	})
}

// version is that of the last release, or of the next one with "-dev". `go version -m eni0` has the
// commit: to read it here costs 16 kB.
const version = "0.9.0-dev"

// runVersion prints the version, and the toolchain and the platform of the build.
func runVersion(_ context.Context, c *call) (int, error) {
	return c.print(fmt.Sprintf("eni0 %s %s %s/%s\n",
		version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
}

// runHelp prints all verbs, or the usage of one.
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
