package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

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
	case os.Args[2] == "leave a link up":
		if err := ec2.SetUp("eth0", true); err != nil {
			os.Exit(1)
		}
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
	w, err := newWorld(t.TempDir(), 0, 1)
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
		err := w.compare(3, comparison{[]side{ours, test.theirs}, []pair{{"ours", "theirs", atMost(1, "")}}})
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("%s: compare() = %v, want %v", test.what, got, test.want)
		}
	}
}

func TestOnceWantsAllAsBefore(t *testing.T) {
	if !isolated(t) {
		return
	}
	w, err := newWorld(t.TempDir(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ does, want string }{
		{"nothing", "<nil>"},
		{"leave a link up", "/0a:ff:00:00:00:01 down"},
	} {
		s := side{commands: func(names) [][]string { return [][]string{self(t, test.does)} }}
		_, err := w.once(s)
		if got := fmt.Sprint(err); !strings.Contains(got, test.want) {
			t.Errorf("%s: once() = %v, want %q", test.does, got, test.want)
		}
	}
}

func TestGate(t *testing.T) {
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct{ status, put, get int }{{401, 200, 401}, {503, 503, 503}} {
		g := &gate{Handler: ok, unready: unready{get: test.status}}
		for _, ready := range []bool{false, true} {
			g.open.Store(ready)
			if ready {
				test.put, test.get = 200, 200
			}
			for method, want := range map[string]int{"PUT": test.put, "GET": test.get} {
				w := httptest.NewRecorder()
				g.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
				if w.Code != want {
					t.Errorf("%d, ready %v: %s = %d, want %d", test.status, ready, method, w.Code, want)
				}
			}
			if at := g.answered.Load(); (at != nil) != ready {
				t.Errorf("%d, ready %v: answered at %v, want a time when it is ready", test.status, ready, at)
			}
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

func TestLacksTheProgramOnTheSDK(t *testing.T) {
	w := &world{dir: t.TempDir()}
	for _, want := range []string{"bench/sdk was not built", ""} {
		for _, s := range []side{w.sdkCheck(), w.sdkFix()} {
			if got := s.lacks(); got != want {
				t.Errorf("%s: lacks() = %q, want %q", s.name, got, want)
			}
		}
		if err := os.WriteFile(w.sdkFile(), nil, 0o755); err != nil {
			t.Fatal(err)
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
		{atMost(2750000, "bytes"), 2750001, "at most 2750000 bytes: MISSED"},
		{lessThan(0.5), 0.4999, "less than 0.5: met"},
		{lessThan(0.5), 0.5, "less than 0.5: MISSED"},
	} {
		l := figure{}.judged(test.want, test.got)
		if got := l.want + ": " + l.met; got != test.said {
			t.Errorf("judged(%v) = %q, want %q", test.got, got, test.said)
		}
	}
}
