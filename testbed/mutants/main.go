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
	if *build {
		fmt.Printf("%d lines were broken, %d of them do not compile\n", len(chosen), wrong)
		return min(wrong, 1)
	}
	fmt.Printf("%d lines were broken, %d of them were not noticed\n", len(chosen), wrong)
	if wrong > 0 {
		return 1
	}
	return 0
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

// breakAll tries the mutants, some at a time, each of these in a copy of its own, and returns how many were not noticed, or could not be built.
func breakAll(chosen []mutant, build bool) (wrong int, err error) {
	var (
		next    = make(chan mutant)
		mu      sync.Mutex
		workers sync.WaitGroup
	)
	atOnce := 2 * runtime.NumCPU() // most of a test is waiting
	if chosen[0].boot != "" {
		atOnce = 1 // a boot wants the machine for itself
	}
	for range min(atOnce, len(chosen)) {
		dir, err := os.MkdirTemp("", "mutants-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
			return 0, err
		}
		workers.Go(func() {
			for m := range next {
				begin := time.Now()
				by, tryErr := m.try(dir, build)
				mu.Lock()
				switch {
				case tryErr != nil:
					wrong++
					fmt.Printf("NOT TRIED: %s: %v\n", m, tryErr)
				case build:
				case by == "":
					wrong++
					fmt.Printf("NOT NOTICED: %s (%.0f s)\n", m, time.Since(begin).Seconds())
				default:
					fmt.Printf("%s: noticed by %s (%.0f s)\n", m, by, time.Since(begin).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range chosen {
		next <- m
	}
	close(next)
	workers.Wait()
	return wrong, err
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
	if out, err := inModule(dir, "go", "build", "-o", os.DevNull, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile: %s", out)
	}
	if build {
		return "", nil
	}
	if m.boot != "" {
		kernel, name, _ := strings.Cut(m.boot, " ")
		out, err := inModule(dir, "go", "run", "./testbed/vm", "-kernel", kernel, "-case", name).CombinedOutput()
		if err == nil {
			return "", nil
		}
		if !strings.Contains(string(out), " WRONG ") {
			return "", fmt.Errorf("the boot could not be tried: %s", out)
		}
		return "a boot of " + m.boot, nil
	}
	if by = failedTest(dir, m.tests, 2*time.Minute); by != "" {
		return by, nil
	}
	if by = failedTest(dir, ".", 15*time.Minute); by != "" {
		by += ", which is not among " + m.tests
	}
	return by, nil
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
	cmd := inModule(dir, "go", "test", "-count=1", "-failfast", "-timeout="+limit.String(), "-run", names, ".")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	if found := regexp.MustCompile(`--- FAIL: (\S+)`).FindSubmatch(out); found != nil {
		return string(found[1])
	}
	return "go test: " + firstLine(string(out))
}

// firstLine is the first line of a text.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// inModule is a command in the copy of the module.
func inModule(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false "+os.Getenv("GOFLAGS"))
	return cmd
}
