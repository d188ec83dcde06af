package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// documents are the README and the files of docs/, by their names.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("docs/*.[my]*")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d documents (%v), want 7 or more", len(files), err)
	}
	texts := map[string]string{}
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}

// eni0Line returns the arguments of a line of eni0: one of an indented block, or of a list of commands in YAML.
func eni0Line(file, line string) (string, bool) {
	line = strings.TrimRight(line, "\n")
	if filepath.Ext(file) == ".yaml" {
		line = strings.ReplaceAll(line, "{{ timeout }}", "5s")
		return strings.CutPrefix(strings.TrimLeft(line, " "), "- eni0 ")
	}
	return strings.CutPrefix(line, "    eni0 ")
}

// Each line of eni0 in the documents does something, on an instance whose names are wrong. Those with systemd-run and
// journalctl are in a case of testbed/vm, and the others of image-builder.yaml in docs/schema and .ci/packages.
func TestKernelDocs(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	tried := 0
	texts := documents(t)
	for _, file := range slices.Sorted(maps.Keys(texts)) { // swap changes what follows
		for line := range strings.Lines(texts[file]) {
			command, ok := eni0Line(file, line)
			if !ok {
				continue
			}
			tried++
			r := l.finish(l.command(strings.Fields(command)...))
			if r.code == codeUsage || r.code == codeDoubt || r.stdout+r.stderr == "" && !strings.HasSuffix(command, "/usr/bin/env true") {
				t.Errorf("%s: eni0 %s: code %d\n%s%s", file, command, r.code, r.stdout, r.stderr)
			}
		}
	}
	if tried < 10 {
		t.Errorf("%d lines of eni0 in the documents, want 10 or more", tried)
	}
}

// Each link in the documents leads to a file that is there.
func TestDocLinks(t *testing.T) {
	for file, text := range documents(t) {
		for _, part := range strings.Split(text, "](")[1:] {
			to, _, _ := strings.Cut(part, ")")
			if strings.Contains(to, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), to)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if lines := strings.Count(documents(t)["README.md"], "\n"); lines > 150 {
		t.Errorf("the README has %d lines, want 150 at most", lines)
	}
}
