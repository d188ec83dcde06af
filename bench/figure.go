package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A figure is one line of the report.
type figure struct {
	what  string // check
	ours  string // 3.10 ms
	other string // check.sh 37.02 ms
	ratio string // 0.08
	want  string // at most 0.15
	met   string // met, MISSED
}

// heading prints what the columns are.
func heading() {
	figure{"", "eni0", "the other side", "ratio", "want", ""}.print()
}

// print prints l.
func (l figure) print() {
	s := fmt.Sprintf("%-28s %13s   %-28s %5s   %-21s  %s", l.what, l.ours, l.other, l.ratio, l.want, l.met)
	fmt.Println(strings.TrimRight(s, " "))
}

// A want is what a figure is to be.
type want struct {
	words string
	met   func(got float64) bool
}

func atMost(most float64, unit string) want {
	words := "at most " + strconv.FormatFloat(most, 'f', -1, 64) + " " + unit
	return want{strings.TrimSpace(words), func(got float64) bool { return got <= most }}
}

func lessThan(limit float64) want {
	return want{fmt.Sprintf("less than %v", limit), func(got float64) bool { return got < limit }}
}

// judged is l with what is wanted of it, and whether got is that.
func (l figure) judged(w want, got float64) figure {
	l.want, l.met = w.words, met(w.met(got))
	return l
}

// met says whether it is.
func met(yes bool) string {
	if yes {
		return "met"
	}
	return "MISSED"
}

// beside is what stands beside ours: a name and a time.
func beside(name string, d time.Duration) string {
	return fmt.Sprintf("%-18s%10s", name, milliseconds(d))
}

// milliseconds is a time in the report.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
