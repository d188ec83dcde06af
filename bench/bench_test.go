package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// TestMain is the test binary, or one of the commands that the tests run.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) < 3 || os.Args[1] != "command":
		os.Exit(m.Run())
	case os.Args[2] == "eat": // 32 MiB
		eaten = touched(32 << 20)
	case os.Args[2] == "fail":
		os.Exit(3)
	}
	fmt.Println(strings.Join(os.Args[2:], " "))
}

var eaten []byte // by this process, and not to be collected

// touched is memory that is there.
func touched(size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	return b
}

// self is the argv of one of the commands of TestMain.
func self(t *testing.T, args ...string) []string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{exe, "command"}, args...)
}

func TestPeakIsTheChilds(t *testing.T) {
	eaten = touched(128 << 20) // wait4 would tell this, of a child that is a copy of us for a moment
	defer func() { eaten = nil }()
	for _, test := range []struct {
		does     string
		from, to int // MiB
	}{
		{"nothing", 1, 31},
		{"eat", 32, 96},
	} {
		argv := self(t, test.does)
		kib, err := peak(0, argv[0], argv[1:]...)
		if errors.Is(err, unix.EPERM) {
			t.Skip("ptrace is not allowed here")
		}
		if got := kib >> 10; err != nil || got < test.from || got > test.to {
			t.Errorf("peak(%s) = %d MiB, %v, want %d to %d", test.does, got, err, test.from, test.to)
		}
	}
}

func TestPeakWantsTheExitCode(t *testing.T) {
	argv := self(t, "fail")
	_, err := peak(3, argv[0], argv[1:]...)
	if errors.Is(err, unix.EPERM) {
		t.Skip("ptrace is not allowed here")
	}
	if err != nil {
		t.Errorf("peak(3, exits with 3) = %v, want nil", err)
	}
	if _, err := peak(0, argv[0], argv[1:]...); err == nil {
		t.Error("peak(0, exits with 3) = nil, want an error")
	}
}

func TestRunVerifies(t *testing.T) {
	for _, test := range []struct {
		what string
		does string
		side side
		want string // in the error
	}{
		{"all right", "right", side{says: "right\n"}, "<nil>"},
		{"the script finds the world wrong", "wrong", side{name: "check.sh", says: "right\n"}, `check.sh: "wrong\n", want "right\n"`},
		{"the names are wrong, and check knows", "fail", side{code: 3}, "<nil>"},
		{"the names are right, and check does not know", "right", side{code: 10}, "want exit code 10"},
		{"a command fails", "fail", side{}, "exit status 3, want exit code 0"},
	} {
		test.side.commands = func(names) [][]string { return [][]string{self(t, test.does)} }
		_, err := test.side.run(names{})
		if got := fmt.Sprint(err); !strings.Contains(got, test.want) {
			t.Errorf("%s: run() = %v, want %q", test.what, got, test.want)
		}
	}
}

// isolated runs one test in namespaces of its own. It tells whether this is there.
func isolated(t *testing.T) bool {
	if os.Getenv("BENCH_INSIDE") != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "BENCH_INSIDE=1")
	ec2.Isolate(cmd)
	out, err := cmd.CombinedOutput()
	if why := ec2.Refused(err); why != "" {
		t.Skip(why)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	return false
}

func TestCompare(t *testing.T) {
	if !isolated(t) {
		return
	}
	w, err := newWorld(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	idle := func(names) [][]string { return [][]string{self(t, "nothing")} }
	ours := side{name: "ours", commands: idle}
	for _, test := range []struct {
		what   string
		theirs side
		want   string // of the error
	}{
		{"both run", side{commands: idle}, "<nil>"},
		{"a program is missing", side{commands: idle, needs: []string{"no-such-program"}}, "not everything could be measured"},
		{"a swap that swaps nothing", side{commands: idle, swaps: true}, "theirs: the ENIs are called [eth0 eth1], want [eth1 eth0]"},
	} {
		test.theirs.name = "theirs"
		err := w.compare(3, contest{[]side{ours, test.theirs}, []pair{{"ours", "theirs", atMost(1, "")}}})
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("%s: compare() = %v, want %v", test.what, got, test.want)
		}
	}
}

func TestLacksNamesThePackage(t *testing.T) {
	s := side{needs: []string{"no-such-program"}}
	if got, want := s.lacks(), "there is no no-such-program: install the package no-such-program"; got != want {
		t.Errorf("lacks() = %q, want %q", got, want)
	}
	if got, want := packageOf("ip"), "iproute2"; got != want {
		t.Errorf("packageOf(ip) = %q, want %q", got, want)
	}
	s = side{cannot: errors.New("mount /sys: operation not permitted")}
	if got, want := s.lacks(), "mount /sys: operation not permitted"; got != want {
		t.Errorf("lacks() = %q, want %q", got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		times []time.Duration
		want  time.Duration
	}{
		{[]time.Duration{5}, 5},
		{[]time.Duration{9, 1, 2}, 2},
		{[]time.Duration{9, 1, 2, 4}, 3},
	} {
		if got := median(test.times); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.times, got, test.want)
		}
	}
}

func TestWants(t *testing.T) {
	for _, test := range []struct {
		want want
		got  float64
		said string
	}{
		{atMost(0.15, ""), 0.15, "at most 0.15: met"},
		{atMost(0.15, ""), 0.1501, "at most 0.15: MISSED"},
		{atMost(2200000, "bytes"), 2200001, "at most 2200000 bytes: MISSED"},
		{lessThan(0.5), 0.4999, "less than 0.5: met"},
		{lessThan(0.5), 0.5, "less than 0.5: MISSED"},
	} {
		l := line{}.judged(test.want, test.got)
		if got := l.want + ": " + l.met; got != test.said {
			t.Errorf("judged(%v) = %q, want %q", test.got, got, test.said)
		}
	}
}
