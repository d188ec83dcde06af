// Eni0 makes sure that, on an EC2 instance with several network interfaces (ENIs), the link
// named eth0 is the primary ENI, and that default traffic leaves by it. `eni0 help` is its
// manual in short, README.md and man/eni0.8 are the long ones.
//
// To read it: this file, then rename.go (what is decided), fix.go (the order of things), rtnl.go
// and imds.go (the two who are asked), apply.go and keep.go (what is done, and undone).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	log := newLogger()
	code, command := run(os.Args[1:], os.Stdout, log)
	if len(command) > 0 {
		// Comes back only if it can't be executed.
		log.err("%v", execute(command))
		code = codeDoubt
	}
	os.Exit(code)
}

// options are the flags and arguments of any verb.
type options struct {
	timeout time.Duration
	imds    endpoint
	json    bool
	names   bool
	dry     bool
	units   []string
	args    []string
}

// A call is one run of a verb.
type call struct {
	options
	stdout io.Writer
	log    logger
}

// run carries out a command line. It returns the exit code and, of fix, the COMMAND after --,
// which is to be executed whatever came out.
func run(args []string, stdout io.Writer, log logger) (code int, command []string) {
	v, args, err := pick(args)
	if err != nil {
		log.err("%v", err)
		fmt.Fprint(os.Stderr, helpText())
		return codeUsage, nil
	}
	if i := slices.Index(args, "--"); i >= 0 && v.name == "fix" {
		args, command = args[:i], args[i+1:]
	}
	c := &call{stdout: stdout, log: log}
	if err := c.parse(v, args); err != nil {
		return c.usage(v, err), command
	}
	code, err = v.do(wholeRun(c.timeout), c)
	if err != nil {
		log.err("%v", err)
		code = max(code, codeDoubt) // the answer may not have got out
	}
	return code, command
}

// pick finds the verb. Without one, or with flags at once, it is check.
func pick(args []string) (verb, []string, error) {
	name := "check"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		name, args = "help", args[1:]
	}
	for _, v := range verbs() {
		if v.name == name {
			return v, args, nil
		}
	}
	return verb{}, nil, fmt.Errorf("%q: no such verb", name)
}

// usage answers a command line that is wrong, or that asks for help.
func (c *call) usage(v verb, err error) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.stdout, usageOf(v))
		return codeRight
	}
	c.log.err("%s: %v", v.name, err)
	fmt.Fprint(os.Stderr, usageOf(v))
	return codeUsage
}

// flagSet declares the flags that v has.
func (o *options) flagSet(v verb) *flag.FlagSet {
	set := flag.NewFlagSet(v.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	o.imds, _ = parseEndpoint(defaultIMDS)
	o.units, _ = parseUnits(defaultUnits)
	for _, f := range v.flags {
		switch f {
		case "timeout":
			set.DurationVar(&o.timeout, f, v.budget, "the budget of the whole run, `D`")
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
	case slices.Contains(v.flags, "timeout") && c.timeout <= 0:
		return fmt.Errorf("-timeout %v: must be more than nothing", c.timeout)
	case len(c.args) > v.maxArgs:
		return fmt.Errorf("what is %q?", c.args[v.maxArgs])
	case len(c.args) < v.minArgs:
		return errors.New("too few arguments")
	case v.accepts == nil:
		return nil
	}
	return v.accepts(c.args)
}

// execute becomes command. It comes back only with an error.
func execute(command []string) error {
	path, err := lookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, command, os.Environ()))
}

// codeOf is the exit code that goes with an error.
func codeOf(err error) int {
	if coded, ok := errors.AsType[codedError](err); ok {
		return coded.code
	}
	return codeDoubt
}
