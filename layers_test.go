package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the files of this package in their order: each uses only what is declared in those above
// it, and in itself.
var layers = []string{
	// What there is, and what is decided. The files down to report.go are pure.
	"world.go", "rename.go", "judge.go",
	"glob.go", "configfile.go", "systemdfiles.go", "udevrules.go", "profiles.go", "pins.go",
	"nlmsg.go", "snapshot.go", "downup.go", "http.go", "dhcpmsg.go", "report.go",
	// The process, and whoever owns a socket.
	"process.go", "log.go", "readconfig.go", "rtnl.go", "lock.go", "imdspath.go", "dhcp.go",
	// What is done.
	"keep.go", "manager.go", "apply.go", "settle.go", "tempaddr.go", "imds.go",
	// The verbs.
	"flags.go", "fix.go", "main.go",
}

// pureImports are the packages that the pure files may import: nothing in them can touch the world.
// Of unix they may use constants and types alone.
var pureImports = []string{
	"bufio", "bytes", "cmp", "encoding/binary", "encoding/hex", "errors", "fmt", "io", "maps", "math/bits", "net/netip",
	"slices", "strconv", "strings", "time", "unicode/utf8", "golang.org/x/sys/unix",
}

// decisionImports are those of the files that decide.
var decisionImports = []string{"bytes", "cmp", "errors", "fmt", "maps", "net/netip", "slices", "strings", "unicode/utf8"}

// bannedImports are too large for this binary, or can do what this program does by hand.
var bannedImports = []string{"C", "encoding/json", "net", "net/http", "os/exec", "reflect", "unsafe"}

// firstCodec and firstActor divide the layers: the files above firstCodec decide, those above
// firstActor are pure.
const (
	firstCodec = "nlmsg.go"
	firstActor = "process.go"
)

// A checkedPackage is this package without its tests, with types.
type checkedPackage struct {
	*types.Package
	fset  *token.FileSet
	files map[string]*ast.File
	info  types.Info
}

// checkPackage reads this package from its source.
func checkPackage(t *testing.T) *checkedPackage {
	t.Helper()
	p := &checkedPackage{fset: token.NewFileSet(), files: map[string]*ast.File{}}
	p.info.Defs, p.info.Uses = map[*ast.Ident]types.Object{}, map[*ast.Ident]types.Object{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p.files[name], all = file, append(all, file)
	}
	config := types.Config{Importer: importer.ForCompiler(p.fset, "source", nil)}
	if p.Package, err = config.Check("eni0", p.fset, all, &p.info); err != nil {
		t.Fatal(err)
	}
	return p
}

// file is the name of the file that pos is in.
func (p *checkedPackage) file(pos token.Pos) string { return p.fset.Position(pos).Filename }

// upward lists the uses of what is declared in a lower layer, by the order of the layers.
func (p *checkedPackage) upward(layers []string) (found []string) {
	for id, object := range p.info.Uses {
		if object.Pkg() != p.Package {
			continue
		}
		if slices.Index(layers, p.file(object.Pos())) > slices.Index(layers, p.file(id.Pos())) {
			found = append(found, p.fset.Position(id.Pos()).String()+": "+id.Name+" of "+p.file(object.Pos()))
		}
	}
	slices.Sort(found)
	return found
}

// Each file uses only what stands above it, and each has its place.
func TestLayers(t *testing.T) {
	p := checkPackage(t)
	for name := range p.files {
		if !slices.Contains(layers, name) {
			t.Errorf("%s has no place among the layers", name)
		}
	}
	for _, name := range layers {
		if p.files[name] == nil {
			t.Errorf("%s is among the layers, and there is no such file", name)
		}
	}
	for _, use := range p.upward(layers) {
		t.Errorf("%s, which is a layer below", use)
	}
	backwards := slices.Clone(layers)
	slices.Reverse(backwards)
	if n := len(p.upward(backwards)); n < 1000 {
		t.Errorf("%d uses go down: that many can't be all, so the test above sees nothing", n)
	}
}

// The pure files import nothing that can touch the world, and nobody drags in what is too large for
// this binary.
func TestImports(t *testing.T) {
	p := checkPackage(t)
	codec, actor := slices.Index(layers, firstCodec), slices.Index(layers, firstActor)
	for name, file := range p.files {
		layer := slices.Index(layers, name)
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(bannedImports, path) ||
				layer < codec && !slices.Contains(decisionImports, path) ||
				layer < actor && !slices.Contains(pureImports, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
	for id, object := range p.info.Uses {
		_, isFunc := object.(*types.Func)
		if isFunc && object.Pkg() != nil && object.Pkg().Path() == "golang.org/x/sys/unix" &&
			object.Parent() == object.Pkg().Scope() && slices.Index(layers, p.file(id.Pos())) < actor {
			t.Errorf("%v: the pure files call nothing of unix: %s", p.fset.Position(id.Pos()), id.Name)
		}
	}
}

// No local or parameter has the name of something of the package.
func TestNoShadowing(t *testing.T) {
	p := checkPackage(t)
	for id, object := range p.info.Defs {
		if object == nil || object.Parent() == nil || object.Parent() == p.Scope() {
			continue // a method, a field, or something of the package
		}
		if shadowed := p.Scope().Lookup(id.Name); shadowed != nil {
			t.Errorf("%v: %s is also declared at %v", p.fset.Position(id.Pos()), id.Name, p.fset.Position(shadowed.Pos()))
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
