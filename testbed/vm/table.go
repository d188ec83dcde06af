package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// This file is what the user sees.

// A row is what came of a job.
type row struct {
	*job
	took time.Duration
	*verdict
}

// format is that of a row: case, systemd, kernel, time, verdict, and what was seen.
const format = "%-9s  %-7s  %-6s  %5s  %-5s  %s\n"

// heading prints the heading of the table.
func heading(w io.Writer) {
	fmt.Fprintf(w, format, "case", "systemd", "kernel", "took", "", "what was seen")
}

// print prints a row, and for one that went wrong what the logs end with.
func (r *row) print(w io.Writer) {
	word := "right"
	if len(r.faults) > 0 {
		word = "WRONG"
	}
	took, seen := fmt.Sprintf("%.0f s", r.took.Seconds()), r.words+": "+strings.Join(r.notes, "; ")
	fmt.Fprintf(w, format, r.testCase.name, systemds[r.suite], r.kernel, took, word, seen)
	for _, f := range r.faults {
		fmt.Fprintf(w, format, "", "", "", "", "", "- "+f)
	}
	if len(r.faults) > 0 {
		r.printLogs(w, few)
	}
}

// How many lines of a log are printed.
const (
	few   = 25
	whole = 100_000
)

// printLogs prints how a job's logs end: of each boot the console, and what the journal has about
// names.
func (j *job) printLogs(w io.Writer, lines int) {
	for _, b := range j.boots {
		console, _ := os.ReadFile(b.console()) // "" where it never came to that
		journal, _ := os.ReadFile(b.journal())
		fmt.Fprintf(w, "--- %s\n%s\n", b.console(), tail(clean(string(console)), lines))
		fmt.Fprintf(w, "--- %s\n%s\n", b.journal(), tail(only(string(journal), "eni0", "renamed", "networkd"), lines))
	}
}

// journal is where a boot's journal goes, as text.
func (b *boot) journal() string { return filepath.Join(b.Dir, "journal") }

// keepJournal writes the journal for people to read, and after it what a live fix said.
func (s *observation) keepJournal(file string) error {
	var text bytes.Buffer
	for _, e := range s.journal {
		fmt.Fprintf(&text, "%10.3f %s: %s\n", e.at.Seconds(), e.unit, e.text)
	}
	if fix := s.Report.Fix; fix != nil {
		for line := range strings.Lines(fix.Output) {
			fmt.Fprintf(&text, "eni0 fix: %s", line)
		}
	}
	return os.WriteFile(file, text.Bytes(), 0o644)
}

// only returns the lines with one of the words in them.
func only(text string, words ...string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		for _, word := range words {
			if strings.Contains(line, word) {
				kept.WriteString(line)
				break
			}
		}
	}
	return kept.String()
}

// forTerminal is what is on a console for the eye only: the line that systemd writes again and
// again while it waits, colours, cursor movements (ECMA-48), carriage returns.
var forTerminal = regexp.MustCompile(`(?m)^.* Job .* running \(.*\n|\x1b\[[0-9;?]*[A-Za-z]|\x1b[Mc]|\r`)

// clean drops what is for a terminal, and what the BIOS said before it cleared the screen.
func clean(console string) string {
	const cleared = "\x1b[2J"
	if at := strings.LastIndex(console, cleared); at >= 0 {
		console = console[at:]
	}
	return forTerminal.ReplaceAllString(console, "")
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
