package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A statement of policy, as go/build/deps_test.go is one: who may know whom.
func TestLayers(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || !slices.Contains(files, "rename.go") {
		t.Fatalf("%v, %v: where is rename.go?", files, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if strings.HasSuffix(name, "_test.go") {
				continue // tests may look at us with other eyes
			}
			if slices.Contains([]string{"net", "net/http", "os/exec", "unsafe", "reflect", "C"}, path) {
				t.Errorf("%s imports %s: too large or too clever for this binary", name, path)
			}
			if name == "rename.go" && !slices.Contains([]string{"errors", "fmt", "slices", "strings"}, path) {
				t.Errorf("rename.go imports %s: it decides, and touches nothing", path)
			}
		}
	}
}

func TestModuleNeedsOnlySys(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, w := range strings.Fields(string(text)) {
		if !strings.HasPrefix(w, "v") { // its version
			words = append(words, w)
		}
	}
	if got, want := strings.Join(words[min(4, len(words)):], " "), "require golang.org/x/sys"; got != want {
		t.Errorf("go.mod: %q, want %q", got, want)
	}
}
