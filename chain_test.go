package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

func TestChain(t *testing.T) {
	if _, err := os.Stat(lastInit); err == nil {
		t.Log("there is an " + lastInit + " here, which only process 1 may fall back on")
	}
	for _, c := range []struct {
		world string
		args  string
		own   string
		next  []string
	}{
		{"no COMMAND", "fix -n", "fix -n", nil},
		{"a COMMAND, and a second -- that is its own", "fix -n -- env -- true", "fix -n", []string{"env -- true"}},
		{"-- and nothing", "fix --", "fix", nil},
		{"-- before a path", "fix -- /sbin/x", "fix", []string{"/sbin/x"}},
		{"a path, where this is not process 1", "fix -restart /x", "fix -restart /x", nil},
		{"only fix has a chain", "imds /latest -- x", "imds /latest -- x", nil},
		{"a word before is not the kernel's here", "quiet fix /sbin/x", "quiet fix /sbin/x", nil},
		{"nothing", "", "", nil},
	} {
		own, next := chain(strings.Fields(c.args), false)
		var got []string
		for _, command := range next {
			got = append(got, strings.Join(command, " "))
		}
		if strings.Join(own, " ") != c.own || !reflect.DeepEqual(got, c.next) {
			t.Errorf("%s: chain(%q) = %q, %q, want %q, %q", c.world, c.args, own, got, c.own, c.next)
		}
	}
}

// TestKernelFirst is eni0 as process 1 of a root that has nothing in it but programs: no /proc, no /sys, no
// /dev, nothing mounted.
func TestKernelFirst(t *testing.T) {
	eni0, next := build(t, "."), build(t, "./testdata/next")
	for _, c := range []struct {
		world    string
		programs string // in the root
		args     string
		code     int
		wants    []string // of what is printed, in this order
	}{
		{"a COMMAND", "/sbin/init /bin/next", "fix -timeout 100ms -- /bin/next a b", 7, []string{"imds: ", "/bin/next a b is process 1"}},
		{"a COMMAND without --", "/sbin/init /bin/next", "fix -names -timeout 100ms /bin/next", 7, []string{"imds: ", "/bin/next is process 1"}},
		{"words of the kernel's command line before", "/bin/next", "splash fix -timeout 100ms /bin/next", 7, []string{"imds: ", "/bin/next is process 1"}},
		{"no such COMMAND", "/sbin/init", "fix -timeout 100ms -- /bin/next", 7, []string{"/bin/next: no such file", "/sbin/init is process 1"}},
		{"a COMMAND without a path", "/sbin/init", "fix -timeout 100ms -- next", 7, []string{"next: not on $PATH", "/sbin/init is process 1"}},
		{"no COMMAND", "/sbin/init", "fix -timeout 100ms", 7, []string{"imds: ", "/sbin/init is process 1"}},
		{"no COMMAND and no init", "", "fix -timeout 100ms", 1, []string{"imds: "}},
		{"a flag that is wrong", "/sbin/init /bin/next", "fix -names=7 -- /bin/next", 7, []string{"names", "/bin/next is process 1"}},
		{"a verb that is wrong", "/sbin/init", "fxi -names", 7, []string{"no such verb", "/sbin/init is process 1"}},
		{"another verb", "/sbin/init", "help fix", 7, []string{"usage: eni0 fix", "/sbin/init is process 1"}},
		{"no verb", "/sbin/init", "-timeout 100ms", 7, []string{"imds: ", "/sbin/init is process 1"}},
		{"neither COMMAND nor init", "", "fix -timeout 100ms -- /bin/next", 1, []string{"/bin/next: no such file"}},
		{"it is the init itself", "", "/sbin/init", 1, []string{"imds: "}},
	} {
		cmd := firstProcess(t, eni0, next, strings.Fields(c.programs), strings.Fields(c.args))
		out, err := cmd.CombinedOutput()
		if why := ec2.Refused(err); why != "" {
			t.Skip(why)
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code || !inOrder(string(out), c.wants) || err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Errorf("%s: eni0 %s: code %d, %v, want %d and %q\n%s", c.world, c.args, code, err, c.code, c.wants, out)
		}
	}
}

// In a container process 1 is a process like any other: nothing follows that was not asked for.
func TestKernelContainer(t *testing.T) {
	eni0, next := build(t, "."), build(t, "./testdata/next")
	for args, code := range map[string]int{"fix -timeout 100ms": 1, "help fix": 0, "fxi": 2, "fix -timeout 100ms -- /sbin/init": 7} {
		cmd := firstProcess(t, eni0, next, []string{"/sbin/init"}, strings.Fields(args))
		cmd.SysProcAttr.Setsid = true // as runc(8) does
		out, err := cmd.CombinedOutput()
		if why := ec2.Refused(err); why != "" {
			t.Skip(why)
		}
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("eni0 %s: code %d, want %d\n%s", args, got, code, out)
		}
	}
}

// firstProcess is eni0 as process 1 in a root with those programs, all of which are testdata/next. What it
// takes for kthreadd is its own second thread: the process group is this test's, which reads 0 in there.
func firstProcess(t *testing.T, eni0, next string, programs, args []string) *exec.Cmd {
	t.Helper()
	root, self := t.TempDir(), "/eni0"
	if args[0] == lastInit {
		self, args = lastInit, []string{"fix", "-timeout", "100ms"}
	}
	put := func(program, at string) {
		t.Helper()
		at = filepath.Join(root, at)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Link(program, at)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range programs {
		put(next, p)
	}
	put(eni0, self)
	cmd := exec.Command(self, args...)
	cmd.Env = []string{"HOME=/", "TERM=linux"} // which is all that the kernel gives
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	ec2.Isolate(cmd)
	return cmd
}

// build builds a program that needs nothing beside it.
func build(t *testing.T, pkg string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no Go here to build with")
	}
	to := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return to
}

// inOrder reports whether text has those parts one after the other.
func inOrder(text string, parts []string) bool {
	for _, p := range parts {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return true
}
