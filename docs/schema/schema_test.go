package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	ssm     = "ssm-eni0.yaml"
	builder = "image-builder.yaml"
)

func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("../*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v (%v), want 2 files", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if _, found := check(name, []byte(document(t, name))); len(found) > 0 {
			t.Errorf("%s: %s", name, strings.Join(found, "\n"))
		}
	}
}

// Each of these changes breaks a document, and is found.
func TestBroken(t *testing.T) {
	for _, c := range []struct{ words, name, old, new, want string }{
		{"unknown field", ssm, "description: Says", "summary: Says", ".summary: unknown field"},
		{"unknown field of a parameter", ssm, "allowedPattern:", "pattern:", ".parameters.timeout.pattern: unknown field"},
		{"unknown field of a step", ssm, "    precondition:", "    condition:", ".mainSteps[0].condition: unknown field"},
		{"the name of another action's input", ssm, "runCommand:", "commands:", ".inputs.commands: unknown field"},
		{"field of schema version 1.2", ssm, "mainSteps:", "runtimeConfig:", ".runtimeConfig: unknown field"},
		{"wrong action", ssm, "aws:runShellScript", "aws:runShelScript", `.action: "aws:runShelScript", want`},
		{"no action", ssm, "- action: aws:runShellScript\n    name: check", "- name: check", ".action: missing"},
		{"no commands", ssm, "runCommand:", "commands:", ".inputs.runCommand: missing"},
		{"no name", ssm, "    name: check\n", "", ".mainSteps[0].name: missing"},
		{"no version", ssm, `schemaVersion: "2.2"`, "", ".schemaVersion: missing"},
		{"no steps", ssm, document(t, ssm)[strings.Index(document(t, ssm), "mainSteps:"):], "", ".mainSteps: missing"},
		{"another version", ssm, `"2.2"`, `"0.3"`, `.schemaVersion: "0.3", want 2.2`},
		{"version a number", ssm, `"2.2"`, "2.2", ".schemaVersion: !!float, want !!str"},
		{"time a number", ssm, `"120"`, "120", ".inputs.timeoutSeconds: !!int, want !!str"},
		{"commands a text", ssm, "runCommand:\n        - eni0", "runCommand: eni0", ".inputs.runCommand: !!str of 0, want a list"},
		{"inputs a list", ssm, "inputs:\n", "inputs: []\n    x:\n", ".inputs: !!seq, want an object"},
		{"type of another document", ssm, "type: String", "type: Integer", `.type: "Integer", want String`},
		{"pattern that is none", ssm, "(ms|s|m)", "(ms|s|m", ".allowedPattern: error parsing regexp"},
		{"default that does not fit", ssm, "default: 5s", "default: 5h", ".default: \"5h\" does not fit"},
		{"platform that is none", ssm, "- Linux", "- linux", `.StringEquals[1]: "linux", want`},
		{"no such parameter", ssm, "{{ timeout }}", "{{ timeouts }}", "{{ timeouts }}: no such parameter"},
		{"a field twice", ssm, "    name: check\n", "    name: check\n    name: again\n", "already defined"},
		{"no YAML", ssm, "mainSteps:", "mainSteps: [", "yaml: "},

		{"unknown field", builder, "phases:", "stages:", ".stages: unknown field"},
		{"unknown field of a step", builder, "action: S3Download", "action: S3Download\n        timeout: 60", ".steps[0].timeout: unknown field"},
		{"the name of another action's input", builder, "commands:", "runCommand:", ".inputs.runCommand: unknown field"},
		{"wrong action", builder, "S3Download", "S3download", `.action: "S3download", want`},
		{"no inputs", builder, document(t, builder)[strings.Index(document(t, builder), "        inputs:\n          - "):strings.Index(document(t, builder), "      - name: install")], "", ".steps[0].inputs: missing"},
		{"no destination", builder, "            destination: /tmp/eni0.package\n", "", ".inputs[0].destination: missing"},
		{"no commands", builder, "commands:", "runCommand:", ".inputs.commands: missing"},
		{"no version", builder, "schemaVersion: 1.0\n", "", ".schemaVersion: missing"},
		{"another version", builder, "schemaVersion: 1.0\n", "schemaVersion: 1\n", ".schemaVersion: !!int"},
		{"no phases", builder, document(t, builder)[strings.Index(document(t, builder), "phases:"):], "", ".phases: missing"},
		{"a phase without steps", builder, document(t, builder)[strings.LastIndex(document(t, builder), "    steps:"):], "", ".phases[1].steps: missing"},
		{"inputs an object", builder, "          - source:", "            source:", ".inputs: !!map of 4, want a list"},
		{"a command with a colon", builder, "- systemctl enable", `- echo "on: $(date)"; systemctl enable`, ".commands[2]: !!map, want !!str"},
		{"time a text", builder, "action: S3Download", "action: S3Download\n        timeoutSeconds: 1m", ".timeoutSeconds: !!str, want !!int"},
		{"a word that is none", builder, "action: S3Download", "action: S3Download\n        onFailure: Stop", `.onFailure: "Stop", want`},
		{"parameters an object", builder, "  - package:\n      type", "  package:\n      type", ".parameters: !!map of 2, want a list"},
		{"type of SSM's", builder, "type: string", "type: String", `.type: "String", want string`},
		{"a short name", builder, "- package:", "- p:", `the name "p" does not fit`},
		{"no such parameter", builder, "{{ package }}", "{{ packages }}", "{{ packages }}: no such parameter"},
		{"a parameter without quotes", builder, `"{{ package }}"`, "s3://{{ package }}", "{{ package }}: not in quotes"},
		{"a phase twice", builder, "name: validate", "name: build", "a second build"},
		{"a step twice", builder, "name: install", "name: download", "a second download"},
		{"a phase that is none", builder, "name: validate", "name: check", `.name: "check", want build`},
	} {
		text := document(t, c.name)
		if !strings.Contains(text, c.old) {
			t.Errorf("%s: %s: there is no %q", c.name, c.words, c.old)
			continue
		}
		_, found := check(c.name, []byte(strings.Replace(text, c.old, c.new, 1)))
		if !strings.Contains(strings.Join(found, "\n"), c.want) {
			t.Errorf("%s: %s: found %q, want %q", c.name, c.words, found, c.want)
		}
	}
}

// ran runs the script of a step as Image Builder does, by bash, where there are no other programs than these
// scripts, by name, which write down how they were called.
func ran(t *testing.T, step string, programs map[string]string) (calls, output string, ok bool) {
	t.Helper()
	doc, _ := check(builder, []byte(document(t, builder)))
	dir := t.TempDir()
	for name, text := range programs {
		text = "#!/bin/sh\necho " + name + ` "$@" >>` + dir + "/calls\n" + text + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/input.sh", []byte(script(doc, step)), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(bash, dir+"/input.sh")
	c.Env = []string{"PATH=" + dir}
	out, err := c.CombinedOutput()
	b, _ := os.ReadFile(dir + "/calls") // there is none where nothing was called
	return string(b), string(out), err == nil
}

// .ci/packages runs the same commands in a root of Debian's, with the true programs.
func TestInstall(t *testing.T) {
	dpkg := "dpkg -i /tmp/eni0.package\n"
	rest := "systemctl enable eni0.service\nrm /tmp/eni0.package\n"
	for _, c := range []struct {
		words    string
		programs map[string]string
		calls    string
		ok       bool
	}{
		{"Debian", map[string]string{"dpkg": ""}, dpkg + rest, true},
		{"RPM", map[string]string{"rpm": ""}, "rpm -U /tmp/eni0.package\n" + rest, true},
		{"Debian with rpm", map[string]string{"dpkg": "", "rpm": ""}, dpkg + rest, true},
		{"the package is refused", map[string]string{"dpkg": "exit 1"}, dpkg, false},
		{"neither", nil, "", false},
	} {
		programs := map[string]string{"systemctl": "", "rm": ""}
		for name, text := range c.programs {
			programs[name] = text
		}
		calls, output, ok := ran(t, "install", programs)
		if calls != c.calls || ok != c.ok {
			t.Errorf("%s: called %q, %v, want %q, %v\n%s", c.words, calls, ok, c.calls, c.ok, output)
		}
	}
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		words                 string
		eni0, systemctl, grep string
		ok, warns             bool
	}{
		{"all is well", "", "", "", true, false},
		{"net.ifnames=0 is not set yet", "", "", "exit 1", true, true},
		{"eni0 does not run", "exit 127", "", "", false, false},
		{"the unit is not enabled", "", "exit 1", "", false, false},
	} {
		_, output, ok := ran(t, "look", map[string]string{"eni0": c.eni0, "systemctl": c.systemctl, "grep": c.grep})
		if ok != c.ok || strings.Contains(output, "has no net.ifnames=0") != c.warns {
			t.Errorf("%s: %v, want %v, and a warning %v: %s", c.words, ok, c.ok, c.warns, output)
		}
	}
}
