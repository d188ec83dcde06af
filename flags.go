package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the command line: what there is to type, and what is wrong with what was typed.

// selectVerb finds the verb. Without one, or with flags at once, it is check.
func selectVerb(args []string) (verb, []string, error) {
	name := "check"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		name, args = "help", args[1:]
	} else if len(args) > 0 && strings.TrimLeft(args[0], "-") == "version" {
		name, args = "version", args[1:]
	}
	for _, v := range verbs() {
		if v.name == name {
			return v, args, nil
		}
	}
	return verb{}, nil, fmt.Errorf("%q: no such verb", name)
}

// splitCommandLine takes a command line apart: what is eni0's, and the commands of which the first
// that can be is executed afterwards. On the kernel's command line a COMMAND begins with / and has
// no -- before it: the kernel cuts that line at a second one (kernel/params.c, parse_args: "Stop at
// --").
func splitCommandLine(args []string, isInit bool) (own []string, next [][]string) {
	if _, _, err := selectVerb(args); isInit && err != nil {
		// What the kernel does not know it puts before: init/main.c, unknown_bootoption.
		args = args[max(0, slices.Index(args, "fix")):]
	}
	own = args
	i := slices.IndexFunc(args, func(a string) bool { return a == "--" || isInit && strings.HasPrefix(a, "/") })
	if i >= 0 && args[0] == "fix" {
		var command []string
		own, command = args[:i], args[i:]
		if command[0] == "--" {
			command = command[1:]
		}
		if len(command) > 0 {
			next = append(next, command)
		}
	}
	if isInit && os.Args[0] != defaultInit { // or it would go round and round
		next = append(next, []string{defaultInit})
	}
	return own, next
}

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
}

// verbs are all of them, in the order of the help.
func verbs() []verb {
	const brief, long = 5 * time.Second, time.Minute
	return []verb{
		{name: "check", does: "say whether eth0 is the primary ENI and default traffic leaves by it",
			more:  "Changes nothing. Without a verb, this is what eni0 does.",
			flags: []string{"timeout", "imds", "json", "names"}, budget: brief},
		{name: "fix", usage: "[-- COMMAND ARG...]", does: "make it so: rename, and see to it that default traffic follows",
			more:  "With a COMMAND it always ends by executing that, whatever came out.",
			flags: []string{"timeout", "imds", "json", "names", "n", "restart"}, budget: long},
		{name: "swap", usage: "A B", does: "exchange the names of two links, whatever they are",
			flags: []string{"timeout", "n", "restart"}, budget: long, minArgs: 2, maxArgs: 2, accepts: acceptNames},
		{name: "imds", usage: "PATH", does: "print /latest/meta-data/PATH; a PATH with a leading / from the root",
			flags: []string{"timeout", "imds"}, budget: brief, minArgs: 1, maxArgs: 1, accepts: acceptPath},
		{name: "route", does: "print the MAC of the link that carries default traffic",
			flags: []string{"timeout"}, budget: brief},
		{name: "version", does: "print the version"},
		{name: "help", usage: "[VERB]", does: "print this, or what a verb takes", maxArgs: 1, accepts: acceptVerb},
	}
}

// acceptNames takes two names that the kernel would, but not the loopback's: to go down costs it
// more than this program puts back.
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
	_, _, err := selectVerb(args)
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
		b.WriteString("\n")
	}
	for _, f := range flagsOf(v) {
		// A second line begins below the first, in column 18.
		does := strings.ReplaceAll(f.does, "\n", "\n"+strings.Repeat(" ", 18))
		if f.value != "" {
			does += fmt.Sprintf(" (default %s)", f.preset)
		}
		fmt.Fprintf(&b, "  %-14s  %s\n", strings.TrimSpace("-"+f.name+" "+f.value), does)
	}
	return b.String()
}

// verbOptions are the flags and arguments of any verb.
type verbOptions struct {
	timeout      time.Duration // of the whole run; 0 for verbs that wait for nothing
	imds         endpoint
	json         bool
	names        bool     // names decide, whatever the routes say
	dry          bool     // -n
	units        []string // systemd-networkd.service
	restartGiven bool     // -restart stands on the command line
	args         []string // what follows the flags
}

// A verbFlag is one flag that verbs can have. It is declared below and nowhere else: the command
// line and the help are made from that, and a test compares the README and the man page with it.
type verbFlag struct {
	name   string
	value  string // what the help calls its value: D, URL; "" for a switch, which is on or off
	preset string // the value where none is given
	does   string
	set    func(o *verbOptions, value string) error
}

// flagsOf lists the flags that v has. A flag means the same in every verb.
func flagsOf(v verb) []verbFlag {
	const restartDoes = "after a rename restart these UNITS, with commas between them, if they run;\n" +
		"'' restarts none"
	all := []verbFlag{
		{"timeout", "D", v.budget.String(), "the budget of the whole run, D such as 1.5s",
			func(o *verbOptions, s string) (err error) { o.timeout, err = parseBudget(s); return err }},
		{"imds", "URL", defaultIMDS, "ask the IMDS at URL",
			func(o *verbOptions, s string) (err error) { o.imds, err = parseEndpoint(s); return err }},
		{"json", "", "false", "print one JSON object",
			func(o *verbOptions, s string) (err error) { o.json, err = parseSwitch(s); return err }},
		{"names", "", "false", "names decide, whatever the routes say (for boot)",
			func(o *verbOptions, s string) (err error) { o.names, err = parseSwitch(s); return err }},
		{"n", "", "false", "say what would be done, as ip(8) commands, and do nothing",
			func(o *verbOptions, s string) (err error) { o.dry, err = parseSwitch(s); return err }},
		{"restart", "UNITS", defaultUnits, restartDoes,
			func(o *verbOptions, s string) (err error) { o.units, err = parseUnits(s); return err }},
	}
	return slices.DeleteFunc(all, func(f verbFlag) bool { return !slices.Contains(v.flags, f.name) })
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

// parseSwitch reads what may stand after the = of a switch.
func parseSwitch(s string) (bool, error) {
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("neither true nor false")
	}
	return on, nil
}

// parseArgs reads the flags and arguments of v, and refuses what can be refused without looking at
// the world. Its error is flag.ErrHelp where -h or -help was given.
func parseArgs(v verb, args []string) (o verbOptions, err error) {
	set := flag.NewFlagSet(v.name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // what is wrong is in the error, and the usage is of our own form
	for _, f := range flagsOf(v) {
		if err := f.set(&o, f.preset); err != nil {
			return o, fmt.Errorf("-%s: %w", f.name, err)
		}
		declare := set.Func
		if f.value == "" {
			declare = set.BoolFunc
		}
		declare(f.name, f.does, func(s string) error { return f.set(&o, s) })
	}
	if err := set.Parse(args); err != nil {
		return o, err
	}
	set.Visit(func(f *flag.Flag) { o.restartGiven = o.restartGiven || f.Name == "restart" })
	o.args = set.Args()
	switch {
	case len(o.args) > v.maxArgs && strings.HasPrefix(o.args[v.maxArgs], "-"):
		return o, fmt.Errorf("%q: flags stand between the verb and its arguments", o.args[v.maxArgs])
	case len(o.args) > v.maxArgs:
		return o, fmt.Errorf("what is %q?", o.args[v.maxArgs])
	case len(o.args) < v.minArgs:
		return o, errors.New("too few arguments")
	case v.accepts == nil:
		return o, nil
	}
	return o, v.accepts(o.args)
}
