package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A result is what one launch came to.
type result struct {
	seed  uint64        // launches it again
	order []int         // 2,0,1
	stage string        // early
	took  time.Duration // of its fix
	with  string        // its mishaps
	said  string        // what it said, if it failed
	err   error         // how it ended: nil if all came out right
}

// launches launches instance after instance, as many at a time as there are processors, until all
// are done or one has failed. It returns the exit code of the program.
func launches(ctx context.Context, o options) int {
	more, stop := context.WithCancel(ctx)
	defer stop()
	sum := tally{want: o.launches, with: map[string]int{}, begin: time.Now(), terminal: isTerminal(os.Stdout)}
	for r := range results(more, o) {
		if r.err != nil && more.Err() != nil {
			continue // it was told to end
		}
		if _, ended := exitCode(r.err); !ended {
			stop() // it could not be tried, nor can the others
			complain(r.err)
			continue
		}
		sum.add(r)
		if r.err != nil {
			stop() // one is enough to look into
			sum.report(r, o)
		}
	}
	if ctx.Err() != nil {
		sum.clear()
		log.Print("interrupted")
	}
	return sum.conclude(o)
}

// results makes the launches and hands over what they come to, in the order in which they end.
// Whoever calls it reads until the channel is closed: no goroutine is left then, and no launch.
func results(ctx context.Context, o options) <-chan result {
	seeds := make(chan uint64)
	out := make(chan result)
	var workers sync.WaitGroup
	for range 4 * runtime.NumCPU() { // most of a launch is waiting
		workers.Go(func() {
			for seed := range seeds {
				out <- launch(ctx, o.kind(), seed, o.enis)
			}
		})
	}
	go func() {
		defer close(seeds)
		for n := range o.launches {
			select {
			case seeds <- o.seed + uint64(n):
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() {
		workers.Wait()
		close(out)
	}()
	return out
}

// launch tries one launch, of that kind, in namespaces of its own.
func launch(ctx context.Context, kind string, seed uint64, enis int) result {
	order, stage, _ := draw(seed, enis)
	said, err := isolated(ctx, kind, strconv.FormatUint(seed, 10), strconv.Itoa(enis)).CombinedOutput()
	r := result{seed: seed, order: order, stage: stage, said: string(said), err: err}
	lines := strings.Split(strings.TrimSpace(r.said), "\n")
	took, with, _ := strings.Cut(lines[len(lines)-1], " ")
	if us, err := strconv.Atoi(took); err == nil {
		r.took, r.with = time.Duration(us)*time.Microsecond, with
	}
	return r
}

// A tally counts launches.
type tally struct {
	want     int // how many there are to be
	done     int
	early    int // of done, how many were early in their boot
	wrong    int // of done, how many came up in the wrong order
	fixed    int // of wrong, how many were put right
	verified int // of done, how many came out right
	took     []time.Duration
	with     map[string]int // how many had a mishap
	begin    time.Time
	terminal bool
}

// add counts one launch, and shows how far we are.
func (s *tally) add(r result) {
	s.done++
	s.took = append(s.took, r.took)
	for name := range strings.SplitSeq(r.with, ", ") {
		if name != "" {
			s.with[name]++
		}
	}
	if r.stage == early {
		s.early++
	}
	wrong := r.order[0] != 0
	if wrong {
		s.wrong++
	}
	if r.err == nil {
		s.verified++
	}
	if wrong && r.err == nil {
		s.fixed++
	}
	line := fmt.Sprintf("%d of %d launches, %d wrong at launch, %d fixed", s.done, s.want, s.wrong, s.fixed)
	switch {
	case s.terminal:
		fmt.Printf("\r%s\x1b[K", line)
	case s.done%50 == 0 && s.done < s.want:
		fmt.Println(line)
	}
}

// clear ends the progress line.
func (s *tally) clear() {
	if s.terminal {
		fmt.Print("\r\x1b[K")
	}
}

// report says what went wrong with a launch, and how to see it again.
func (s *tally) report(r result, o options) {
	s.clear()
	fmt.Printf("This launch, in the order %s, %s, did not come out right:\n%s\n"+
		"See it again: go run ./testbed -%s 1 -seed %d", formatOrder(r.order), r.stage, r.said, o.kind(), r.seed)
	if o.enis != 0 {
		fmt.Printf(" -enis %d", o.enis)
	}
	fmt.Println()
}

// conclude is the line of totals, and the exit code.
func (s *tally) conclude(o options) int {
	if s.done == 0 {
		return 1 // and somebody has said why
	}
	s.clear()
	fmt.Printf("%d launches: %d early in the boot, %d wrong at launch, %d fixed, %d verified, %.1f s, seed %d\n",
		s.done, s.early, s.wrong, s.fixed, s.verified, time.Since(s.begin).Seconds(), o.seed)
	for _, name := range slices.Sorted(maps.Keys(s.with)) {
		fmt.Printf("  %-14s %d\n", name, s.with[name])
	}
	slices.Sort(s.took)
	fmt.Printf("fix took %.1f ms (median), %.1f ms (99th percentile)\n",
		milliseconds(s.took[len(s.took)/2]), milliseconds(s.took[len(s.took)*99/100]))
	if s.verified < s.want {
		return 1
	}
	return 0
}

// milliseconds are for people.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
