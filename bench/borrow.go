package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// borrower is fix as it is run at boot, in a world that it finds right.
func (w *world) borrower() side {
	return side{name: "fix, borrowed network", commands: same("eni0 fix -names")}
}

// borrowScript is a script that does as much and no more.
func (w *world) borrowScript() side {
	argv := []string{filepath.Join(w.dir, "borrow.sh")}
	return side{name: "borrow.sh", commands: func(names) [][]string { return [][]string{argv} }, says: "right\n",
		needs: []string{"busybox", "curl", "ip"}, cannot: w.noSys}
}

// borrowers is what it costs to ask IMDS where no network is configured.
func (w *world) borrowers() contest {
	return contest{[]side{w.borrower(), w.borrowScript()}, []pair{
		{"fix, borrowed network", "borrow.sh", atMost(0.2, "")},
	}}
}

// putRight makes sure that the script and eni0 know a wrong world from a right one, and leaves it right.
func (w *world) putRight() error {
	script, fix := w.borrowScript(), w.borrower()
	script.says, fix.swaps = "wrong\n", true
	sides := []side{script, fix, w.borrowScript()}
	if script.lacks() != "" {
		sides = sides[1:2] // the line will say so
	}
	for _, s := range sides {
		if _, err := w.once(s); err != nil {
			return err
		}
	}
	return nil
}

// A moment is when something came to a server, and when the server had answered.
type moment struct {
	what     string // DISCOVER
	at       time.Time
	answered time.Time // the answer has been handed to the kernel
}

// A diary notes what IMDS is asked.
type diary struct {
	http.Handler
	mu      sync.Mutex
	moments []moment // in the order in which they were answered
}

// ServeHTTP has the handler answer, and notes that.
func (d *diary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.Handler.ServeHTTP(w, r)
	w.(http.Flusher).Flush() // not after we have returned
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moments = append(d.moments, moment{r.Method, ec2.Accepted(r), time.Now()})
}

// tear out what has been noted.
func (d *diary) tear() []moment {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.moments
	d.moments = nil
	return m
}

// The parts of a fix with a borrowed network, as the servers see it from outside.
var parts = [...]struct{ until, what string }{
	{"DISCOVER", "start, look, link up"},
	{"REQUEST", "offered"},
	{"PUT", "address, route, connect"},
	{"GET", "token, connect"},
	{"end", "give back, judge, report"},
}

// A dissection is a run of fix in its parts.
type dissection struct {
	parts   [len(parts)]time.Duration
	own     time.Duration // their sum
	servers time.Duration // the rest
}

// anatomy shows where the time of a fix with a borrowed network goes, by what its servers saw when.
func (w *world) anatomy(rounds int) error {
	d := &diary{Handler: w.Metadata()}
	if err := w.Serve(d); err != nil {
		return err
	}
	defer w.Serve(w.Metadata())
	var runs []dissection
	for range rounds {
		begin, end, moments, err := w.watch(d)
		if err != nil {
			return err
		}
		runs = append(runs, dissect(begin, end, moments))
	}
	m := middle(runs)
	line{what: "  without its servers", ours: milliseconds(m.own), other: beside("they take", m.servers)}.print()
	for n, p := range parts {
		line{what: "  until " + p.until, ours: milliseconds(m.parts[n]), other: p.what}.print()
	}
	return closing(rounds)
}

// watch runs fix once, and returns when it began, what the servers saw, and when it ended.
func (w *world) watch(d *diary) (begin, end time.Time, moments []moment, err error) {
	d.tear()
	before := len(w.DHCP(0).Seen())
	begin = time.Now()
	out, err := exec.Command("eni0", "fix", "-names").CombinedOutput()
	end = time.Now()
	if err != nil {
		return begin, end, nil, fmt.Errorf("fix: %w\n%s", err, out)
	}
	for _, m := range w.DHCP(0).Seen()[before:] {
		moments = append(moments, moment{m.Type, m.At, m.Answered})
	}
	moments, err = firsts(append(moments, d.tear()...))
	return begin, end, moments, err
}

// firsts is the first moment of each part but the last. There may be more: what got no answer is sent again.
func firsts(moments []moment) ([]moment, error) {
	var out []moment
	for _, p := range parts[:len(parts)-1] {
		n := slices.IndexFunc(moments, func(m moment) bool { return m.what == p.until })
		if n < 0 {
			return nil, fmt.Errorf("no %s among %v", p.until, moments)
		}
		out = append(out, moments[n])
	}
	return out, nil
}

// dissect takes a run apart: a part is from when one server has answered until the next one is asked.
func dissect(begin, end time.Time, moments []moment) (d dissection) {
	at := begin
	for n, m := range append(moments, moment{at: end, answered: end}) {
		d.parts[n] = m.at.Sub(at)
		d.own += d.parts[n]
		d.servers += m.answered.Sub(m.at)
		at = m.answered
	}
	return d
}

// middle is the mean of that half of the runs that is neither the fastest nor the slowest: unlike those
// of medians, its parts have its sum.
func middle(runs []dissection) (m dissection) {
	runs = slices.SortedFunc(slices.Values(runs), func(a, b dissection) int { return cmp.Compare(a.own, b.own) })
	runs = runs[len(runs)/4 : len(runs)-len(runs)/4]
	for _, r := range runs {
		for n := range r.parts {
			m.parts[n] += r.parts[n] / time.Duration(len(runs))
		}
		m.own += r.own / time.Duration(len(runs))
		m.servers += r.servers / time.Duration(len(runs))
	}
	return m
}

// closing shows what it takes to close a packet socket, and nothing else: the kernel waits until no
// processor can be using it any more (synchronize_net in packet_release, net/packet/af_packet.c).
func closing(rounds int) error {
	var times []time.Duration
	for range rounds {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		begin := time.Now()
		unix.Close(fd)
		times = append(times, time.Since(begin))
	}
	line{what: "  a packet socket's close", ours: milliseconds(median(times)), other: "by itself: mostly that end"}.print()
	return nil
}
