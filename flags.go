package main

// This file is the command line: the verbs, their flags, the help, and what is wrong with the
// arguments. It only reads the arguments; main.go carries out the verbs.

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

// selectVerb returns the verb and what follows it. Without a verb, or if flags come first, it is
// check.
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
	return verb{}, nil, errorf("%q: no such verb", name)
}

// splitCommandLine separates the arguments of eni0 from the commands after them. The first command
// that can be executed is, after the verb. On the kernel's command line a COMMAND begins with / and
// has no -- before it: the kernel cuts that line at a second -- (parse_args of kernel/params.c:
// "Stop at --").
func splitCommandLine(args []string, isInit bool) (own []string, next [][]string) {
	if _, _, err := selectVerb(args); isInit && err != nil {
		// The kernel puts its unknown parameters first: unknown_bootoption of init/main.c.
		args = args[max(0, slices.Index(args, "fix")):]
	}
	own = args
	i := slices.IndexFunc(args, func(a string) bool {
		return a == "--" || isInit && strings.HasPrefix(a, "/")
	})
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
	if isInit && os.Args[0] != defaultInit { // else it would execute itself for ever
		next = append(next, []string{defaultInit})
	}
	return own, next
}

// A verb is one thing that eni0 does.
type verb struct {
	name             string
	usage            string // of the arguments
	does             string // one line
	more             string // a second line, for `eni0 help VERB`
	flags            []string
	budget           time.Duration // the default of -timeout
	minArgs, maxArgs int
	accepts          func(args []string) error // returns what is wrong with the arguments
}

// briefBudget is the default of -timeout for what only looks, and for verbs without that flag.
const briefBudget = 5 * time.Second

// verbs lists all verbs in the order of the help.
func verbs() []verb {
	const long = time.Minute
	return []verb{
		{name: "check",
			does:  "say whether eth0 is the primary ENI and default traffic leaves by it",
			more:  "Changes nothing. Without a verb, this is what eni0 does.",
			flags: []string{"timeout", "imds", "json", "names"}, budget: briefBudget},
		{name: "fix", usage: "[-- COMMAND ARG...]",
			does:  "make it so: rename, and see to it that default traffic follows",
			more:  "With a COMMAND it always ends by executing that, whatever came out.",
			flags: []string{"timeout", "imds", "json", "names", "n", "restart"}, budget: long},
		{name: "swap", usage: "A B", minArgs: 2, maxArgs: 2, accepts: acceptNames,
			does:  "exchange the names of two links, whatever they are",
			flags: []string{"timeout", "n", "restart"}, budget: long},
		{name: "imds", usage: "PATH", minArgs: 1, maxArgs: 1, accepts: acceptPath,
			does:  "print /latest/meta-data/PATH; a PATH with a leading / from the root",
			flags: []string{"timeout", "imds"}, budget: briefBudget},
		{name: "route", does: "print the MAC of the ENI that carries default traffic",
			flags: []string{"timeout"}, budget: briefBudget},
		{name: "version", does: "print the version"},
		{name: "help", usage: "[VERB]", maxArgs: 1, accepts: acceptVerb,
			does: "print this, or what a verb takes"},
	}
}

// acceptNames accepts two valid names. The loopback is refused: when it goes down it loses more
// than this program restores.
func acceptNames(args []string) error {
	if args[0] == args[1] {
		return errorf("%q twice: a link can't be swapped with itself", args[0])
	}
	if slices.Contains(args, "lo") {
		return errors.New("lo: the loopback keeps its name")
	}
	return errors.Join(validName(args[0]), validName(args[1]))
}

// acceptPath accepts what can be in a request line.
func acceptPath(args []string) error {
	_, err := resolvePath(args[0])
	return err
}

// acceptVerb accepts the name of a verb, or nothing.
func acceptVerb(args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, _, err := selectVerb(args)
	return err
}

// exitCodes is the table of the help. A test compares those of the man page and the README with it.
func exitCodes() [][2]string {
	return [][2]string{
		{"0", "nothing to do, or done: names are right or not to be changed, " +
			"and default traffic leaves by no other ENI than the primary"},
		{"1", "could not tell, or could not do it; " +
			"nothing was changed, or everything was put back"},
		{"2", "usage"},
		{"10", "names are wrong; fix would rename (only from check and fix -n)"},
		{"11", "names are right (now) or not to be changed, " +
			"but default traffic leaves by another ENI: renaming can't cure it"},
		{"12", "a rename broke off and could not be put back: " +
			"the message says where each link stands"},
	}
}

// helpText is the output of `eni0 help`.
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

// usageOf is the output of `eni0 help VERB`, and follows a usage error.
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
	timeout      time.Duration // of the whole run; 0 for verbs without that flag
	imds         endpoint
	json         bool
	names        bool     // names decide, whatever the routes say
	dry          bool     // -n
	units        []string // systemd-networkd.service
	restartGiven bool     // -restart stands on the command line
	args         []string // the arguments after the flags
}

// A verbFlag is a flag of one or more verbs. flagsOf declares all of them, for the command line and
// the help; a test compares the README and the man page with that.
type verbFlag struct {
	name   string
	value  string // the name of its value in the help: D, URL; "" for a boolean flag
	preset string // the default
	does   string
}

// flagsOf lists the flags that v has. A flag means the same in every verb.
func flagsOf(v verb) []verbFlag {
	all := []verbFlag{
		{"timeout", "D", v.budget.String(), "the budget of the whole run, D such as 1.5s"},
		{"imds", "URL", defaultIMDS, "ask the IMDS at URL"},
		{"json", "", "false", "print one JSON object"},
		{"names", "", "false", "names decide, whatever the routes say (for boot)"},
		{"n", "", "false", "say what would be done, as ip(8) commands, and do nothing"},
		{"restart", "UNITS", defaultUnits, "after a rename restart these UNITS, " +
			"with commas between them, if they run;\n'' restarts none"},
	}
	return filter(all, func(f verbFlag) bool { return slices.Contains(v.flags, f.name) })
}

// set sets the option of a flag.
func (o *verbOptions) set(name, value string) (err error) {
	switch name {
	case "timeout":
		o.timeout, err = parseBudget(value)
	case "imds":
		o.imds, err = parseEndpoint(value)
	case "json":
		o.json, err = parseSwitch(value)
	case "names":
		o.names, err = parseSwitch(value)
	case "n":
		o.dry, err = parseSwitch(value)
	case "restart":
		o.units, err = parseUnits(value)
	}
	return err
}

// parseBudget reads a duration of more than 0.
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

// parseSwitch reads the value of a boolean flag.
func parseSwitch(s string) (bool, error) {
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("neither true nor false")
	}
	return on, nil
}

// parseArgs reads the flags and arguments of v. After -h or -help the error is flag.ErrHelp.
func parseArgs(v verb, args []string) (o verbOptions, err error) {
	set := flag.NewFlagSet(v.name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // call.usage writes the error and the usage
	for _, f := range flagsOf(v) {
		if err := o.set(f.name, f.preset); err != nil {
			return o, errorf("-%s: %w", f.name, err)
		}
		declare := set.Func
		if f.value == "" {
			declare = set.BoolFunc
		}
		declare(f.name, f.does, func(s string) error {
			o.restartGiven = o.restartGiven || f.name == "restart"
			return o.set(f.name, s)
		})
	}
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.args = set.Args()
	switch {
	case len(o.args) > v.maxArgs && strings.HasPrefix(o.args[v.maxArgs], "-"):
		return o, errorf("%q: flags stand between the verb and its arguments",
			o.args[v.maxArgs])
	case len(o.args) > v.maxArgs && v.name == "fix":
		return o, errorf("%q: a COMMAND stands after --", o.args[0])
	case len(o.args) > v.maxArgs:
		return o, errorf("what is %q?", o.args[v.maxArgs])
	case len(o.args) < v.minArgs:
		return o, errors.New("too few arguments")
	case v.accepts == nil:
		return o, nil
	}
	return o, v.accepts(o.args)
}
