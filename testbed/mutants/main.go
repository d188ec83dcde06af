// Mutants breaks eni0 in one line at a time, and sees whether the tests notice.
//
//	go run ./testbed/mutants [-boots] [-n] [WORD...]
//
// Each line of the list in list.go is changed in a copy of the module, and the tests that should notice
// are run; if they pass, all tests of eni0 are. Where a line matters only to kernels before 6.2 a boot has
// to notice: these lines are broken with -boots, which is what .ci/vm needs, and takes longer.
//
//	-boots   the lines that only a boot can notice, and no others
//	-n       only build each: a line that is broken has to compile
//	WORD     only lines whose file or description has that word
//
// It prints one line for each. The exit code is 0 if all were noticed, 1 if not or if it could not be
// tried, 2 for usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("mutants: ")
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code of the program.
func run(args []string) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	boots := flags.Bool("boots", false, "the lines that only a boot can notice")
	build := flags.Bool("n", false, "only build each")
	flags.SetOutput(io.Discard) // one line about what is wrong, not the usage
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stdout)
		flags.Usage()
		return 0
	case err != nil:
		log.Print(err)
		return 2
	}
	chosen := choose(*boots, flags.Args())
	if len(chosen) == 0 {
		log.Print("no line has these words")
		return 2
	}
	wrong, err := breakAll(chosen, *build)
	if err != nil {
		log.Print(err)
		return 1
	}
	what := "were not noticed"
	if *build {
		what = "do not compile"
	}
	fmt.Printf("%d lines were broken, %d of them %s\n", len(chosen), wrong, what)
	return min(wrong, 1)
}

// choose returns the mutants that the command line asks for.
func choose(boots bool, words []string) (chosen []mutant) {
	for _, m := range mutants {
		if boots != (m.boot != "") {
			continue
		}
		wanted := len(words) == 0
		for _, w := range words {
			wanted = wanted || strings.Contains(m.file+" "+m.what, w)
		}
		if wanted {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// breakAll tries the mutants, some at a time, each of these in a copy of the module, and returns how
// many were not noticed, or could not be built.
func breakAll(chosen []mutant, build bool) (wrong int, err error) {
	atOnce := 2 * runtime.NumCPU() // most of a test is waiting
	if chosen[0].boot != "" {
		atOnce = 1 // a boot wants the machine for itself
	}
	var copies []string
	for range min(atOnce, len(chosen)) {
		dir, err := os.MkdirTemp("", "mutants-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
			return 0, err
		}
		copies = append(copies, dir)
	}
	next := make(chan mutant)
	var failed atomic.Int32
	var workers sync.WaitGroup
	for _, dir := range copies {
		workers.Go(func() {
			for m := range next {
				if !m.report(dir, build) {
					failed.Add(1)
				}
			}
		})
	}
	for _, m := range chosen {
		next <- m
	}
	close(next)
	workers.Wait()
	return int(failed.Load()), nil
}

// report tries a mutant, prints what came of it, and reports whether that is as it should be.
func (m mutant) report(dir string, build bool) bool {
	begin := time.Now()
	by, err := m.try(dir, build)
	took := time.Since(begin).Seconds()
	switch {
	case err != nil:
		fmt.Printf("NOT TRIED: %s: %v\n", m, err)
		return false
	case build:
		return true
	case by == "":
		fmt.Printf("NOT NOTICED: %s (%.0f s)\n", m, took)
		return false
	}
	fmt.Printf("%s: noticed by %s (%.0f s)\n", m, by, took)
	return true
}

// try breaks one line in the copy of the module, and returns who notices: "" for nobody.
func (m mutant) try(dir string, build bool) (by string, err error) {
	file := filepath.Join(dir, m.file)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	broken, err := m.apply(string(text))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, []byte(broken), 0o644); err != nil {
		return "", err
	}
	defer os.WriteFile(file, text, 0o644) // the copy is removed in the end
	out, err := inModule(dir, "go", "build", "-o", os.DevNull, ".").CombinedOutput()
	switch {
	case err != nil:
		return "", fmt.Errorf("it does not compile: %s", out)
	case build:
		return "", nil
	case m.boot != "":
		return m.tryBoot(dir)
	}
	if by = failedTest(dir, m.tests, 2*time.Minute); by != "" {
		return by, nil
	}
	if by = failedTest(dir, ".", 15*time.Minute); by != "" {
		by += ", which is not among " + m.tests
	}
	return by, nil
}

// tryBoot boots the mutant, and returns what that was if it went wrong.
func (m mutant) tryBoot(dir string) (by string, err error) {
	kernel, name, _ := strings.Cut(m.boot, " ")
	boot := inModule(dir, "go", "run", "./testbed/vm", "-kernel", kernel, "-case", name)
	out, err := boot.CombinedOutput()
	switch {
	case err == nil:
		return "", nil
	case !strings.Contains(string(out), " WRONG "):
		return "", fmt.Errorf("the boot could not be tried: %s", out)
	}
	return "a boot of " + m.boot, nil
}

// apply returns the text of the file with the line broken.
func (m mutant) apply(text string) (string, error) {
	if n := strings.Count(text, m.old); n != 1 {
		return "", fmt.Errorf("%q is %d times in %s, want once", m.old, n, m.file)
	}
	return strings.Replace(text, m.old, m.new, 1), nil
}

// failedTest runs the tests with those names, and returns the first that fails: "" for none.
func failedTest(dir, names string, limit time.Duration) string {
	cmd := inModule(dir, "go", "test", "-count=1", "-failfast", "-timeout="+limit.String(),
		"-run", names, ".")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	if found := regexp.MustCompile(`--- FAIL: (\S+)`).FindSubmatch(out); found != nil {
		return string(found[1])
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return "go test: " + line
}

// inModule is a command in the copy of the module.
func inModule(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false "+os.Getenv("GOFLAGS"))
	return cmd
}
