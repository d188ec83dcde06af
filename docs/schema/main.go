// Schema checks one of the documents for AWS in docs/ by what AWS publishes of its form. With the
// name of a step it also prints the commands of that step, as the script that AWS makes of them:
//
//	go -C docs/schema run . ../image-builder.yaml install
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: schema FILE [STEP]")
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	doc, found := check(filepath.Base(args[0]), b)
	if len(found) > 0 {
		return errors.New(strings.Join(found, "\n"))
	}
	if len(args) == 1 {
		return nil
	}
	script := script(doc, args[1])
	if script == "" {
		return fmt.Errorf("%s: no step %s that has commands", args[0], args[1])
	}
	_, err = fmt.Print(script)
	return err
}

// check returns a document, and what is wrong with it by the rules for the file of this name.
func check(name string, b []byte) (*yaml.Node, []string) {
	rules := map[string]rule{"ssm-eni0.yaml": commandDocument, "image-builder.yaml": component}
	r, ok := rules[name]
	if !ok {
		return nil, []string{name + ": no rules for it"}
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return nil, []string{err.Error()}
	}
	if err := n.Decode(new(any)); err != nil { // a field that is there twice
		return nil, []string{err.Error()}
	}
	if len(n.Content) != 1 {
		return nil, []string{name + ": empty"}
	}
	return n.Content[0], r(name, n.Content[0])
}

// script returns the commands of the step of this name, or "".
func script(n *yaml.Node, step string) string {
	if name := field(n, "name"); name != nil && name.Value == step {
		inputs := field(n, "inputs")
		for _, key := range []string{"commands", "runCommand"} {
			if commands := field(inputs, key); commands != nil {
				return lines(commands)
			}
		}
	}
	for _, c := range n.Content {
		if s := script(c, step); s != "" {
			return s
		}
	}
	return ""
}

// lines joins the texts of a list.
func lines(n *yaml.Node) string {
	var b strings.Builder
	for _, c := range n.Content {
		b.WriteString(strings.TrimSuffix(c.Value, "\n") + "\n")
	}
	return b.String()
}
