package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A statement of policy, as go/build/deps_test.go is one: rename.go decides and can touch
// nothing, nor can what reads the texts of files, and nobody drags in what is too large or too clever
// for this binary.
func TestLayers(t *testing.T) {
	pure := []string{"world.go", "rename.go", "judge.go", "glob.go", "configfile.go", "pins.go", "systemdfiles.go", "udevrules.go", "profiles.go"}
	decides := []string{`"bytes"`, `"errors"`, `"fmt"`, `"net/netip"`, `"slices"`, `"strings"`, `"unicode/utf8"`}
	never := []string{`"C"`, `"net"`, `"net/http"`, `"os/exec"`, `"reflect"`, `"unsafe"`}
	files, err := filepath.Glob("*.go")
	if err != nil || !slices.Contains(files, "rename.go") {
		t.Fatalf("no rename.go among %v (%v)", files, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil || strings.HasSuffix(name, "_test.go") {
			continue // what does not parse is the compiler's to complain of
		}
		for _, i := range file.Imports {
			if slices.Contains(never, i.Path.Value) || slices.Contains(pure, name) && !slices.Contains(decides, i.Path.Value) {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
	}
}

func TestModuleNeedsOnlySys(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	paths := regexp.MustCompile(`(?m)^.*/.*$`).FindAllString(string(text), -1) // whatever names a module but us
	if err != nil || len(paths) != 1 || !strings.HasPrefix(paths[0], "require golang.org/x/sys v") {
		t.Errorf("go.mod: %q, %v, want golang.org/x/sys and nothing else", paths, err)
	}
}
