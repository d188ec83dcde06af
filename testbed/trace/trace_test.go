//go:build linux && amd64

package trace

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the command that is traced: it writes to its stdout, and says with its exit code whether that worked.
func TestMain(m *testing.M) {
	if os.Getenv("TRACE_WRITES") == "" {
		os.Exit(m.Run())
	}
	for range 3 {
		if _, err := unix.Write(1, []byte("x")); err != nil {
			os.Exit(int(err.(unix.Errno)))
		}
	}
	os.Exit(0)
}

// A command goes on as without a tracer, fails where it is to fail, and is killed where it is to be killed.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		world  string
		action Action // at the second write
		wrote  string
		exit   int // -1: killed
	}{
		{"left alone", Action{}, "xxx", 0},
		{"an error", Action{Errno: unix.ENOSPC}, "x", int(unix.ENOSPC)},
		{"killed", Action{Kill: true}, "x", -1},
	} {
		var out strings.Builder
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "TRACE_WRITES=1")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = w
		writes := 0
		status, err := Run(cmd, func(call Call) Action {
			if call.Number != unix.SYS_WRITE || call.Args[0] != 1 {
				return Action{}
			}
			if writes++; writes == 2 {
				return c.action
			}
			return Action{}
		})
		_ = w.Close()
		b := make([]byte, 10)
		n, _ := r.Read(b)
		out.Write(b[:n])
		_ = r.Close()
		exit := -1
		if status.Exited() {
			exit = status.ExitStatus()
		}
		if err != nil || out.String() != c.wrote || exit != c.exit {
			t.Errorf("%s: wrote %q, exit code %d (%v), want %q, %d", c.world, out.String(), exit, err, c.wrote, c.exit)
		}
	}
}
