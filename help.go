package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

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
			flags: []string{"timeout"}, budget: brief, do: routeVerb},
		{name: "version", does: "print the version", do: version},
		{name: "help", usage: "[VERB]", does: "print this, or what a verb takes", maxArgs: 1, accepts: acceptVerb, do: help},
	}
}

func acceptNames(args []string) error {
	if args[0] == args[1] {
		return fmt.Errorf("%q twice: a link can't be swapped with itself", args[0])
	}
	return errors.Join(validName(args[0]), validName(args[1]))
}

func acceptPath(args []string) error {
	_, err := resolvePath(args[0])
	return err
}

func acceptVerb(args []string) error {
	if len(args) == 0 {
		return nil
	}
	_, _, err := pick(args)
	return err
}

// help is the verb.
func help(_ *limit, c *call) (int, error) {
	text := helpText()
	if len(c.args) > 0 {
		v, _, err := pick(c.args)
		if err != nil {
			return codeUsage, err
		}
		text = usageOf(v)
	}
	_, err := io.WriteString(c.stdout, text)
	return codeRight, err
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

// version is the verb. One line: the module's version, the commit where the build knows it, and the toolchain.
func version(_ *limit, c *call) (int, error) {
	name := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		name = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && !strings.Contains(name, s.Value[:min(12, len(s.Value))]) {
				name += " " + s.Value
			}
		}
	}
	_, err := fmt.Fprintf(c.stdout, "eni0 %s %s %s/%s\n", name, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return codeRight, err
}
