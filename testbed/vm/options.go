package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kernels are those that are booted, by the beginnings of their releases.
var kernels = []string{"5.10", "6.1", "6.12", "7"}

// options are what the command line asks for.
type options struct {
	kernels []string    // "6.1"
	cases   []*testCase // in the order of the table
	cache   string      // a folder
	deb     string      // a package to install; "" installs from the tree
	verbose bool        // consoles, and the logs are kept
}

// parse reads the command line. An error of it is one line.
func parse(args []string) (*options, error) {
	o := &options{kernels: kernels, cases: cases()}
	f := flag.NewFlagSet("vm", flag.ContinueOnError)
	f.SetOutput(io.Discard) // one line about what is wrong, not the usage
	f.Func("kernel", "only kernel `V`: 5.10, 6.1, 6.12 or 7", o.pickKernel)
	f.Func("case", "only the cases in `LIST`: a,b", o.pickCases)
	f.StringVar(&o.cache, "cache", "", "keep the roots and the kernels in `DIR`")
	f.StringVar(&o.deb, "deb", "", "install the package `FILE` in place of the tree's files")
	f.BoolVar(&o.verbose, "v", false, "print the consoles too")
	if err := f.Parse(args); err != nil {
		if err == flag.ErrHelp {
			f.SetOutput(os.Stdout)
			f.PrintDefaults()
			for _, c := range append(cases(), onRequest()...) {
				fmt.Printf("case %-10s %s\n", c.name, c.words)
			}
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.cache != "" {
		return o, nil
	}
	dir, err := os.UserCacheDir()
	o.cache = filepath.Join(dir, "eni0-vm")
	return o, err
}

// pickKernel keeps one kernel.
func (o *options) pickKernel(v string) error {
	if !slices.Contains(kernels, v) {
		return fmt.Errorf("want one of %s", strings.Join(kernels, ", "))
	}
	o.kernels = []string{v}
	return nil
}

// pickCases keeps those cases.
func (o *options) pickCases(list string) error {
	names := strings.Split(list, ",")
	var known []string
	o.cases = nil
	for _, c := range append(cases(), onRequest()...) {
		known = append(known, c.name)
		if slices.Contains(names, c.name) {
			o.cases = append(o.cases, c)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("no case %q: want some of %s", name, strings.Join(known, ","))
		}
	}
	return nil
}
