package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docCommands are the lines of the README and of docs/ that begin with that program: of indented blocks.
func docCommands(t *testing.T, program string) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			command, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
			if ok && strings.HasPrefix(command, program+" ") {
				lines = append(lines, command)
			}
		}
	}
	return lines
}

// Each line of eni0 in the documents does something, on an instance whose names are wrong. Those with systemd-run and
// journalctl are in a case of testbed/vm.
func TestKernelDocs(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	lines := docCommands(t, "eni0")
	for _, line := range lines {
		r := l.finish(l.command(strings.Fields(line)[1:]...))
		if r.code == codeUsage || r.code == codeDoubt || r.stdout+r.stderr == "" && !strings.HasSuffix(line, "/usr/bin/env true") {
			t.Errorf("%s: code %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
	}
	if len(lines) < 8 {
		t.Errorf("%d lines of eni0 in the documents, want 8 or more", len(lines))
	}
}

// Each link in the documents leads to a file that is there.
func TestDocLinks(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d documents (%v), want 5 or more", len(files), err)
	}
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "](")[1:] {
			to, _, _ := strings.Cut(part, ")")
			if strings.Contains(to, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), to)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	readme, err := os.ReadFile("README.md")
	if lines := strings.Count(string(readme), "\n"); err != nil || lines > 150 {
		t.Errorf("the README has %d lines (%v), want 150 at most", lines, err)
	}
}
