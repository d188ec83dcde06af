package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A rule returns what is wrong with a value, which stands at a path in its document.
type rule func(path string, n *yaml.Node) []string

// fields are the rules of an object's fields, by name. A name that ends in ! is required.
type fields map[string]rule

// wrong returns one finding.
func wrong(path string, n *yaml.Node, format string, a ...any) []string {
	return []string{fmt.Sprintf("line %d: %s: ", n.Line, path) + fmt.Sprintf(format, a...)}
}

// all demands each of some rules.
func all(rules ...rule) rule {
	return func(path string, n *yaml.Node) (found []string) {
		for _, r := range rules {
			found = append(found, r(path, n)...)
		}
		return found
	}
}

// scalar demands one of some types, by their tags in YAML.
func scalar(tags ...string) rule {
	return func(path string, n *yaml.Node) []string {
		if slices.Contains(tags, n.ShortTag()) {
			return nil
		}
		return wrong(path, n, "%s, want %s", n.ShortTag(), strings.Join(tags, " or "))
	}
}

var text, integer, boolean = scalar("!!str"), scalar("!!int"), scalar("!!bool")

// version demands a version. AWS calls it a string, and its examples write a number.
func version(want string) rule {
	return all(scalar("!!str", "!!float"), value(want))
}

// oneOf demands one of some words.
func oneOf(words ...string) rule { return all(text, value(words...)) }

// value demands one of some values.
func value(words ...string) rule {
	return func(path string, n *yaml.Node) []string {
		if slices.Contains(words, n.Value) {
			return nil
		}
		return wrong(path, n, "%q, want %s", n.Value, strings.Join(words, " or "))
	}
}

// pattern demands a regular expression that SSM Agent can compile: it is written in Go.
func pattern(path string, n *yaml.Node) []string {
	if _, err := regexp.Compile(n.Value); err != nil {
		return wrong(path, n, "%v", err)
	}
	return text(path, n)
}

// hasDefault demands that the default of a parameter fits its pattern.
func hasDefault(path string, n *yaml.Node) []string {
	value, want := field(n, "default"), field(n, "allowedPattern")
	if value == nil || want == nil {
		return nil
	}
	if re, err := regexp.Compile(want.Value); err == nil && !re.MatchString(value.Value) {
		return wrong(path+".default", value, "%q does not fit %s", value.Value, want.Value)
	}
	return nil
}

// list demands a list of one or more of the same.
func list(item rule) rule {
	return func(path string, n *yaml.Node) (found []string) {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			return wrong(path, n, "%s of %d, want a list", n.ShortTag(), len(n.Content))
		}
		for i, c := range n.Content {
			found = append(found, item(fmt.Sprintf("%s[%d]", path, i), c)...)
		}
		return found
	}
}

// unique demands a list of objects that differ in a field.
func unique(name string, item rule) rule {
	return all(list(item), func(path string, n *yaml.Node) (found []string) {
		seen := map[string]bool{}
		for _, c := range n.Content {
			if f := field(c, name); f != nil && seen[f.Value] {
				found = append(found, wrong(path, f, "a second %s", f.Value)...)
			} else if f != nil {
				seen[f.Value] = true
			}
		}
		return found
	})
}

// object demands an object with the fields that are known, and no others.
func object(known fields) rule {
	return func(path string, n *yaml.Node) (found []string) {
		if n.Kind != yaml.MappingNode {
			return wrong(path, n, "%s, want an object", n.ShortTag())
		}
		for i := 0; i < len(n.Content); i += 2 {
			key, at := n.Content[i], path+"."+n.Content[i].Value
			r, ok := known[key.Value]
			if !ok {
				r, ok = known[key.Value+"!"]
			}
			if !ok {
				found = append(found, wrong(at, key, "unknown field")...)
				continue
			}
			found = append(found, r(at, n.Content[i+1])...)
		}
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if name, ok := strings.CutSuffix(name, "!"); ok && field(n, name) == nil {
				found = append(found, wrong(path+"."+name, n, "missing")...)
			}
		}
		return found
	}
}

// named demands an object whose fields have free names, of some form, and all the same rule.
func named(form *regexp.Regexp, r rule) rule {
	return func(path string, n *yaml.Node) (found []string) {
		if n.Kind != yaml.MappingNode {
			return wrong(path, n, "%s, want an object", n.ShortTag())
		}
		for i := 0; i < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if !form.MatchString(name) {
				found = append(found, wrong(path, n, "the name %q does not fit %v", name, form)...)
			}
			found = append(found, r(path+"."+name, n.Content[i+1])...)
		}
		return found
	}
}

// steps demands a list of steps. The rule of a step's inputs depends on its action.
func steps(actions map[string]rule, more fields) rule {
	return unique("name", func(path string, n *yaml.Node) []string {
		known := maps.Clone(more)
		known["name!"] = text
		known["action!"] = oneOf(slices.Sorted(maps.Keys(actions))...)
		known["inputs!"] = all()
		if action := field(n, "action"); action != nil && actions[action.Value] != nil {
			known["inputs!"] = actions[action.Value]
		}
		return object(known)(path, n)
	})
}

// field returns the value of a field, or nil.
func field(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

var reference = regexp.MustCompile(`{{\s*([^}\s]*)\s*}}`)

// references demands that what stands in double braces is a parameter. Image Builder wants quotes
// around it too.
func references(quoted bool) rule {
	return func(path string, n *yaml.Node) (found []string) {
		names := parameters(field(n, "parameters"))
		for _, s := range scalars(n) {
			for _, m := range reference.FindAllStringSubmatch(s.Value, -1) {
				if !slices.Contains(names, m[1]) {
					found = append(found, wrong(path, s, "%s: no such parameter", m[0])...)
				}
				if quoted && s.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
					found = append(found, wrong(path, s, "%s: not in quotes", m[0])...)
				}
			}
		}
		return found
	}
}

// parameters returns the names of an object's fields, or of those of a list of objects.
func parameters(n *yaml.Node) (names []string) {
	if n == nil {
		return nil
	}
	for i, c := range n.Content {
		if n.Kind == yaml.SequenceNode {
			names = append(names, parameters(c)...)
		} else if i%2 == 0 {
			names = append(names, c.Value)
		}
	}
	return names
}

// scalars returns the values in a document that have no parts.
func scalars(n *yaml.Node) (found []*yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		return []*yaml.Node{n}
	}
	for _, c := range n.Content {
		found = append(found, scalars(c)...)
	}
	return found
}
