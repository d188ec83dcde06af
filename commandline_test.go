package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

func TestChain(t *testing.T) {
	const is, isNot = true, false
	for _, c := range []struct {
		world string
		first bool
		args  string
		own   string
		next  []string
	}{
		{"no COMMAND", isNot, "fix -n", "fix -n", nil},
		{"a COMMAND, and a second -- that is its own", isNot, "fix -n -- env -- true", "fix -n", []string{"env -- true"}},
		{"-- and nothing", isNot, "fix --", "fix", nil},
		{"-- before a path", isNot, "fix -- /sbin/x", "fix", []string{"/sbin/x"}},
		{"a path that is a flag's value", isNot, "fix -restart /x", "fix -restart /x", nil},
		{"only fix has a chain", isNot, "imds /latest -- x", "imds /latest -- x", nil},
		{"a word before is not the kernel's here", isNot, "quiet fix /sbin/x", "quiet fix /sbin/x", nil},
		{"nothing", isNot, "", "", nil},

		{"a COMMAND", is, "fix -n -- /bin/x a", "fix -n", []string{"/bin/x a", "/sbin/init"}},
		{"what the kernel leaves of a line with a second --", is, "fix -names", "fix -names", []string{"/sbin/init"}},
		{"a COMMAND without --", is, "fix -names /bin/x -- y", "fix -names", []string{"/bin/x -- y", "/sbin/init"}},
		{"words that the kernel does not know", is, "splash rhgb fix -n /bin/x", "fix -n", []string{"/bin/x", "/sbin/init"}},
		{"a word that is a verb", is, "help fix", "help fix", []string{"/sbin/init"}},
		{"a verb that is wrong", is, "fxi -- /bin/x", "fxi -- /bin/x", []string{"/sbin/init"}},
		{"nothing", is, "", "", []string{"/sbin/init"}},
	} {
		own, next := splitCommandLine(strings.Fields(c.args), c.first)
		var got []string
		for _, command := range next {
			got = append(got, strings.Join(command, " "))
		}
		if strings.Join(own, " ") != c.own || !slices.Equal(got, c.next) {
			t.Errorf("%s: chain(%q, %v) = %q, %q, want %q, %q", c.world, c.args, c.first, own, got, c.own, c.next)
		}
	}
}

// TestKernelContainer is eni0 as process 1 of a PID namespace, in a root that has nothing in it but programs:
// no /proc, no /sys, no /dev. It does what it was asked for and nothing else: the /sbin/init may be
// the host's. testbed/vm has the kernel's own process 1.
func TestKernelContainer(t *testing.T) {
	eni0, next := build(t, "."), build(t, "./testdata/next")
	for _, c := range []struct {
		world string
		args  string
		code  int
		wants []string // of what is printed, in this order
	}{
		{"a COMMAND", "fix -timeout 100ms -- /bin/next a b", 7, []string{"imds: ", "/bin/next a b is process 1"}},
		{"no such COMMAND", "fix -timeout 100ms -- /bin/no", 1, []string{"imds: ", "/bin/no: no such file"}},
		{"a COMMAND by its name", "fix -timeout 100ms -- next c", 7, []string{"imds: ", "next c is process 1"}},
		{"a COMMAND that is nowhere", "fix -timeout 100ms -- nowhere", 1, []string{"imds: ", "nowhere: not on $PATH"}},
		{"a flag that is wrong", "fix -names=7 -- /bin/next", 7, []string{"names", "/bin/next is process 1"}},
		{"no COMMAND", "fix -timeout 100ms", 1, []string{"imds: "}},
		{"a verb that is wrong", "fxi -names", 2, []string{"no such verb"}},
		{"another verb", "help fix", 0, []string{"usage: eni0 fix"}},
		{"no verb", "-timeout 100ms", 1, []string{"imds: "}},
	} {
		for _, session := range []bool{false, true} { // runc(8) makes one, unshare(1) does not
			cmd := firstProcess(t, eni0, next, strings.Fields(c.args))
			cmd.SysProcAttr.Setsid = session
			out, err := cmd.CombinedOutput()
			if why := ec2.Refused(err); why != "" {
				t.Skip(why)
			}
			if code := cmd.ProcessState.ExitCode(); code != c.code || !inOrder(string(out), c.wants) || strings.Contains(string(out), "/sbin/init is") {
				t.Errorf("%s (a session of its own: %v): eni0 %s: code %d, %v, want %d and %q\n%s", c.world, session, c.args, code, err, c.code, c.wants, out)
			}
		}
	}
}

// firstProcess is eni0 as process 1 in a root with two other programs, both of which are next.
func firstProcess(t *testing.T, eni0, next string, args []string) *exec.Cmd {
	t.Helper()
	root := t.TempDir()
	for at, program := range map[string]string{"/eni0": eni0, "/bin/next": next, "/sbin/init": next} {
		at = filepath.Join(root, at)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Link(program, at)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/eni0", args...)
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
