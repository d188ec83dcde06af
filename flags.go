package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// This file is the command line: what there is to type, and what is wrong with what was typed.

// A verb is one thing that eni0 does.
type verb struct {
	name             string
	usage            string // what stands after the name
	does             string // one line
	more             string // for `eni0 help VERB`
	flags            []string
	budget           time.Duration // what -timeout is if it is not given
	minArgs, maxArgs int
	accepts          func(args []string) error // says what is wrong with the arguments
	do               func(*limit, *call) (int, error)
}

// verbs are all of them, in the order of the help.
func verbs() []verb {
	const brief, long = 5 * time.Second, time.Minute
	return []verb{
		{name: "check", does: "say whether eth0 is the primary ENI and default traffic leaves by it",
			more:  "Changes nothing. Without a verb, this is what eni0 does.",
			flags: []string{"timeout", "imds", "json", "names"}, budget: brief, do: check},
		{name: "fix", usage: "[-- COMMAND ARG...]", does: "make it so: rename, and see to it that default traffic follows",
			more:  "With a COMMAND it always ends by executing that, whatever came out.",
			flags: []string{"timeout", "imds", "json", "names", "n", "restart"}, budget: long, do: fix},
		{name: "swap", usage: "A B", does: "exchange the names of two links, whatever they are",
			flags: []string{"timeout", "n", "restart"}, budget: long, minArgs: 2, maxArgs: 2, accepts: acceptNames, do: swap},
		{name: "imds", usage: "PATH", does: "print /latest/meta-data/PATH; a PATH with a leading / from the root",
			flags: []string{"timeout", "imds"}, budget: brief, minArgs: 1, maxArgs: 1, accepts: acceptPath, do: imds},
		{name: "route", does: "print the MAC of the link that carries default traffic",
			flags: []string{"timeout"}, budget: brief, do: carrier},
		{name: "version", does: "print the version", do: version},
		{name: "help", usage: "[VERB]", does: "print this, or what a verb takes", maxArgs: 1, accepts: acceptVerb, do: help},
	}
}

// acceptNames takes two names that the kernel would, but not the loopback's: to go down costs it more
// than this program puts back.
func acceptNames(args []string) error {
	if args[0] == args[1] {
		return fmt.Errorf("%q twice: a link can't be swapped with itself", args[0])
	}
	if slices.Contains(args, "lo") {
		return errors.New("lo: the loopback keeps its name")
	}
	return errors.Join(validName(args[0]), validName(args[1]))
}

// acceptPath takes what can stand in a request line.
func acceptPath(args []string) error {
	_, err := resolvePath(args[0])
	return err
}

// acceptVerb takes the name of a verb, or nothing.
func acceptVerb(args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, _, err := pick(args)
	return err
}

// exitCodes is the table of the help, the man page and the README, which a test holds equal.
func exitCodes() [][2]string {
	return [][2]string{
		{"0", "right: eth0 is the primary ENI (or was made so), and no default route leaves by another ENI"},
		{"1", "could not tell, or could not do it; nothing was changed, or everything was put back"},
		{"2", "usage"},
		{"10", "names are wrong; fix would rename (only from check and fix -n)"},
		{"11", "names are right (now), but default traffic leaves by another ENI: renaming can't cure it"},
		{"12", "a rename broke off and could not be put back: the message says where each link stands"},
	}
}

// helpText is `eni0 help`.
func helpText() string {
	var b strings.Builder
	b.WriteString("eni0 makes sure that eth0 is the primary ENI of an EC2 instance.\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, "  eni0 %-26s %s\n", strings.TrimSpace(v.name+" "+v.usage), v.does)
	}
	b.WriteString("\nExit codes:\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&b, "  %-3s %s\n", c[0], c[1])
	}
	return b.String()
}

// usageOf is `eni0 help VERB`, and what stands below a usage error.
func usageOf(v verb) string {
	var b strings.Builder
	synopsis := "eni0 " + v.name
	if len(v.flags) > 0 {
		synopsis += " [FLAGS]"
	}
	fmt.Fprintf(&b, "usage: %s\n%s\n", strings.TrimSpace(synopsis+" "+v.usage), v.does)
	if v.more != "" {
		fmt.Fprintln(&b, v.more)
	}
	if len(v.flags) > 0 {
		fmt.Fprintln(&b)
		set := new(options).flagSet(v)
		set.SetOutput(&b)
		set.PrintDefaults()
	}
	return b.String()
}

// options are the flags and arguments of any verb.
type options struct {
	timeout time.Duration // of the whole run; 0 for verbs that wait for nothing
	imds    endpoint
	json    bool
	names   bool     // names decide, whatever the routes say
	dry     bool     // -n
	units   []string // systemd-networkd.service
	args    []string // what follows the flags
}

// usage answers a command line that is wrong, on stderr, or that asks for help, on stdout.
func (c *call) usage(v verb, err error) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.stdout, usageOf(v))
		return codeRight
	}
	c.log.err("%s: %v", v.name, err)
	fmt.Fprint(os.Stderr, usageOf(v))
	return codeUsage
}

// flagSet declares the flags that v has, and sets all options to what they are without one. The
// same flag means the same in every verb.
func (o *options) flagSet(v verb) *flag.FlagSet {
	set := flag.NewFlagSet(v.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	o.imds, _ = parseEndpoint(defaultIMDS)
	o.units, _ = parseUnits(defaultUnits)
	for _, f := range v.flags {
		switch f {
		case "timeout":
			o.timeout = v.budget
			set.Func(f, fmt.Sprintf("the budget of the whole run, `D` such as 1.5s (default %v)", v.budget), setter(&o.timeout, parseBudget))
		case "imds":
			set.Func(f, "ask the IMDS at `URL` (default "+defaultIMDS+")", setter(&o.imds, parseEndpoint))
		case "json":
			set.BoolVar(&o.json, f, false, "print one JSON object")
		case "names":
			set.BoolVar(&o.names, f, false, "names decide, whatever the routes say (for boot)")
		case "n":
			set.BoolVar(&o.dry, f, false, "say what would be done, as ip(8) commands, and do nothing")
		case "restart":
			set.Func(f, "after a rename restart these `UNITS`, with commas between them, if they run;\n'' restarts none (default "+defaultUnits+")", setter(&o.units, parseUnits))
		}
	}
	return set
}

// parseBudget reads a duration, which must be more than nothing.
func parseBudget(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("not a duration such as 10s or 1m30s")
	}
	if d <= 0 {
		return 0, errors.New("must be more than nothing")
	}
	return d, nil
}

// setter makes a flag.Func of a parser.
func setter[T any](to *T, parse func(string) (T, error)) func(string) error {
	return func(s string) (err error) {
		*to, err = parse(s)
		return err
	}
}

// parse reads the flags and arguments of v, and refuses what can be refused without looking at the world.
func (c *call) parse(v verb, args []string) error {
	set := c.flagSet(v)
	if err := set.Parse(args); err != nil {
		return err
	}
	c.args = set.Args()
	switch {
	case len(c.args) > v.maxArgs && strings.HasPrefix(c.args[v.maxArgs], "-"):
		return fmt.Errorf("%q: flags stand between the verb and its arguments", c.args[v.maxArgs])
	case len(c.args) > v.maxArgs:
		return fmt.Errorf("what is %q?", c.args[v.maxArgs])
	case len(c.args) < v.minArgs:
		return errors.New("too few arguments")
	case v.accepts == nil:
		return nil
	}
	return v.accepts(c.args)
}
