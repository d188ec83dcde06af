package main

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"sync/atomic"
	"time"

	"eni0/bench/kit"
)

// An unready is a way in which IMDS is not ready yet.
type unready struct {
	what string  // refused
	get  int     // the status that a GET is answered with, and a PUT too unless it gives tokens; 0: nothing listens
	most float64 // milliseconds that fix may be late
}

// givesTokens tells whether tokens are given out, which are not known yet, or nothing is there for them.
func (u unready) givesTokens() bool {
	return u.get == http.StatusUnauthorized || u.get == http.StatusNotFound
}

// A gate is IMDS that answers with a status until it is opened.
type gate struct {
	http.Handler
	unready
	open     atomic.Bool
	answered atomic.Pointer[time.Time] // the first GET after that
}

// ServeHTTP answers as IMDS does at that time of a boot.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fresh := r.Method == http.MethodPut && g.givesTokens()
	if !g.open.Load() && !fresh {
		w.WriteHeader(g.get)
		return
	}
	if r.Method == http.MethodGet {
		now := time.Now()
		g.answered.CompareAndSwap(nil, &now)
	}
	g.Handler.ServeHTTP(w, r)
}

// lateness shows how long after IMDS is ready fix has its answer, in a world without a network.
// That is to be soon, however long IMDS was not ready. What fix does with it takes as long as ever.
func (w *world) lateness(rounds int) error {
	defer w.Serve(w.Metadata())
	for _, u := range []unready{
		{"refused", 0, 100}, {"401", http.StatusUnauthorized, 100}, {"404", http.StatusNotFound, 100},
		{"503", http.StatusServiceUnavailable, 100}, {"429", http.StatusTooManyRequests, 2000},
	} {
		for _, after := range []time.Duration{0, 50, 100, 200, 400, 700, 1000} {
			after *= time.Millisecond
			var late []time.Duration
			for range rounds {
				l, err := w.wait(u, after)
				if err != nil {
					return fmt.Errorf("IMDS: %s until %v: %w", u.what, after, err)
				}
				late = append(late, l)
			}
			worst := slices.Max(late)
			l := figure{what: fmt.Sprintf("late: %s until %v", u.what, after), ours: milliseconds(kit.Median(late)),
				other: beside(fmt.Sprintf("worst of %d", rounds), worst)}
			l.judged(atMost(u.most, "ms"), float64(worst)/float64(time.Millisecond)).print()
		}
	}
	return nil
}

// wait has IMDS become ready that long after fix was started, and returns how long after that it
// has answered.
func (w *world) wait(u unready, after time.Duration) (time.Duration, error) {
	g := &gate{Handler: w.Metadata(), unready: u}
	before, became := http.Handler(g), func() error { g.open.Store(true); return nil }
	if u.get == 0 { // then it listens only when it is open
		g.open.Store(true)
		before, became = nil, func() error { return w.Serve(g) }
	}
	if err := w.Serve(before); err != nil {
		return 0, err
	}
	out, err := memory()
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.Command("eni0", "fix", "-names")
	cmd.Stdout, cmd.Stderr = out, out
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	time.Sleep(after - time.Since(begin))
	ready := time.Now()
	err = became()
	if err := errors.Join(cmd.Wait(), err); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, text(out))
	}
	at := g.answered.Load()
	if at == nil {
		return 0, fmt.Errorf("fix has asked nobody\n%s", text(out))
	}
	return at.Sub(ready), nil
}
