package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Each line of the list is in its file, once, so that a change of eni0 that the list does not follow is noticed.
func TestListIsUpToDate(t *testing.T) {
	if len(mutants) < 60 {
		t.Errorf("%d lines, want 60 or more", len(mutants))
	}
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		broken, err := m.apply(string(text))
		if err != nil || broken == string(text) {
			t.Errorf("%s: %v", m, err)
		}
		if (m.tests == "") == (m.boot == "") {
			t.Errorf("%s: want tests that notice, or a boot", m)
		}
	}
}
