package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The table of exit codes stands in the help, the README and the man page: three times the same.
func TestExitCodesAreSaidAlike(t *testing.T) {
	var want [][2]string
	for _, c := range exitCodes() {
		want = append(want, [2]string{c[0], plainText(c[1])})
	}
	for _, place := range []struct {
		name string
		rows *regexp.Regexp // its groups are a code and the words
	}{
		{"README.md", regexp.MustCompile("(?m)^\\|[ `]*(\\d+)[ `]*\\|([^|\n]*)\\|[ \t]*$")},
		{"man/eni0.8", regexp.MustCompile(`(?m)^\.TP.*\n\.BR?[ "]+(\d+)"?[ \t]*\n((?:(?:[^.'\n]|\.[BIR]+ ).*\n)+)`)},
	} {
		text, err := os.ReadFile(place.name)
		if err != nil {
			t.Error(err)
			continue
		}
		var got [][2]string
		for _, row := range place.rows.FindAllStringSubmatch(string(text), -1) {
			got = append(got, [2]string{row[1], plainText(row[2])})
		}
		if !slices.Equal(got, want) {
			t.Errorf("exit codes of %s:\n%q, want\n%q", place.name, got, want)
		}
	}
}

// docs/fleet.md has the words of the JSON, each with its code, and docs/incident.md what to do after each.
func TestReasonsOfTheDocs(t *testing.T) {
	want := map[string]int{}
	for _, r := range jsonReasons() {
		want[r.word] = r.code
	}
	for file, row := range map[string]string{
		"docs/fleet.md":    "(?m)^\\| `(?P<word>[a-z-]+)` \\| (?P<code>\\d+) \\|[^|\n]*\\|$",
		"docs/incident.md": "(?m)^\\| (?P<code>\\d+) \\| `(?P<word>[a-z-]+)` \\|",
	} {
		said, rows := map[string]int{}, regexp.MustCompile(row)
		for _, m := range rows.FindAllStringSubmatch(documents(t)[file], -1) {
			code, err := strconv.Atoi(m[rows.SubexpIndex("code")])
			if err != nil {
				t.Fatal(err)
			}
			said[m[rows.SubexpIndex("word")]] = code
		}
		if !maps.Equal(said, want) {
			t.Errorf("%s has the reasons %v, want %v", file, said, want)
		}
	}
}

// Each error has its word.
func TestReasonOf(t *testing.T) {
	for _, c := range []struct {
		code int
		err  error
		want string
	}{
		{codeRight, nil, "right"}, {codeNames, nil, "names"}, {codeRoute, nil, "route"},
		{codeBroken, errors.New("a rename broke off"), "broken"},
		{codeDoubt, taggedError{errors.New("status 503"), errNoMetadata}, "imds-silent"},
		{codeDoubt, taggedError{taggedError{fmt.Errorf("status 403: %w", errIMDSOff), errFinal}, errNoMetadata}, "imds-off"},
		{codeDoubt, taggedError{fmt.Errorf("eth1: %w", errNotProbed), errNoMetadata}, "late"},
		{codeDoubt, taggedError{errNoENI, errNoMetadata}, "no-eni"},
		{codeDoubt, taggedError{errors.Join(errors.New("status 503"), fmt.Errorf("imds: %w", errInterrupted)), errNoMetadata}, "interrupted"},
		{codeDoubt, permissionError(kernelError{op: "RTM_NEWADDR", errno: unix.EPERM}), "not-permitted"},
		{codeDoubt, renameError(kernelError{op: "RTM_SETLINK", errno: unix.EPERM}), "not-permitted"},
		{codeDoubt, fmt.Errorf("lock: %w", errLocked), "locked"},
		{codeDoubt, fmt.Errorf("so %w", errUndone), "undone"},
		{codeDoubt, errors.Join(fmt.Errorf("%w: a file", errPinned)), "pinned"},
		{codeDoubt, errors.Join(fmt.Errorf("%w: %w", errUnread, unix.EACCES)), "unread"},
		{codeDoubt, unix.ENOMEM, "failed"},
	} {
		if got := reasonOf(c.code, c.err); got != c.want {
			t.Errorf("reasonOf(%d, %v) = %q, want %q", c.code, c.err, got, c.want)
		}
	}
	two := world{links: enis("eth0 eth1"), primary: eniAddr(2)}
	two.links[1].addr = two.links[0].addr
	for want, w := range map[string]world{
		"two-enis": two, "foreign": {links: enis("ens5 eth0"), primary: eniAddr(2)}, "late": {links: enis("eth0"), primary: eniAddr(9)},
	} {
		if _, err := judge(w, false); reasonOf(codeDoubt, err) != want {
			t.Errorf("reasonOf(%v) = %q, want %q", err, reasonOf(codeDoubt, err), want)
		}
	}
}

// The man page has the flags in the order of the help: the same ones, of the same verbs, with the same
// defaults.
func TestFlagsOfTheManPage(t *testing.T) {
	known := flagsOf(verb{flags: flagsOfAll()})
	entries := strings.Split(section(t, "man/eni0.8", ".SH FLAGS\n", "\n.SH"), ".TP\n")[1:]
	if len(entries) != len(known) {
		t.Fatalf("the man page has %d flags, want %d", len(entries), len(known))
	}
	for i, f := range known {
		head, text, _ := strings.Cut(entries[i], "\n")
		if got, want := plainText(strings.ReplaceAll(head, `"`, "")), strings.TrimSpace("-"+f.name+" "+f.value); got != want {
			t.Errorf("the man page has %q, want %q", got, want)
		}
		said := []string{"(" + strings.Join(havers(f.name), ", ") + ")"}
		if f.name == "timeout" {
			said = []string{budgets()} // instead: every verb that waits has it
		} else if f.value != "" {
			said = append(said, f.preset)
		}
		for _, want := range said {
			if !strings.Contains(plainText(text), want) {
				t.Errorf("-%s in the man page:\n%s\nwant %q in it", f.name, text, want)
			}
		}
	}
}

// The README has them too, in a paragraph.
func TestFlagsOfTheREADME(t *testing.T) {
	text := section(t, "README.md", "### Flags\n", "\n###")
	var got, want []string
	for _, m := range regexp.MustCompile("[ \n]`-([a-z]+)").FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	for _, f := range flagsOf(verb{flags: flagsOfAll()}) {
		want = append(want, f.name)
	}
	if !slices.Equal(got, want) || !strings.Contains(plainText(text), budgets()) {
		t.Errorf("the README has the flags %q, want %q; and want %q in\n%s", got, want, budgets(), text)
	}
}

// section is what stands in a file between two strings.
func section(t *testing.T, file, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	_, rest, begins := strings.Cut(string(text), from)
	inside, _, ends := strings.Cut(rest, to)
	if err != nil || !begins || !ends {
		t.Fatalf("%s: %v, want %q and after it %q", file, err, from, to)
	}
	return inside
}

// flagsOfAll names the flags that any verb has.
func flagsOfAll() (names []string) {
	for _, v := range verbs() {
		names = append(names, v.flags...)
	}
	return names
}

// havers are the verbs that have a flag.
func havers(name string) (havers []string) {
	for _, v := range verbs() {
		if slices.Contains(v.flags, name) {
			havers = append(havers, v.name)
		}
	}
	return havers
}

// budgets is how a text says the defaults of -timeout: "60s for fix and swap".
func budgets() string {
	var long []string
	for _, v := range verbs() {
		if v.budget == time.Minute {
			long = append(long, v.name)
		}
	}
	return "60s for " + strings.Join(long, " and ")
}

// plainText takes off what Markdown and roff(7) need to say the same thing, and evens out the
// white space.
func plainText(s string) string {
	s = regexp.MustCompile(`\\f(?:[BIRP]|\(..|\[[^]]*\])`).ReplaceAllString(s, "") // fonts
	s = regexp.MustCompile(`(?m)^\.[BIR]+ `).ReplaceAllString(s, "")               // and by macro
	s = regexp.MustCompile(`\\\(aq|\\\[aq\]`).ReplaceAllString(s, "'")
	s = strings.NewReplacer(`\-`, "-", `\&`, "", `\|`, "|", "`", "", "*", "", `\`, "").Replace(s)
	return strings.Join(strings.Fields(s), " ")
}

// What plainText makes equal, it makes equal to the help; and nothing else.
func TestPlainText(t *testing.T) {
	for in, want := range map[string]string{
		"`fix` would  rename\n": "fix would rename",
		`\fBfix\fR \-n`:         "fix -n",
		".B fix\nwould":         "fix would",
		`can\(aqt`:              "can't",
		`can\[aq]t \f[B]x\f[]`:  "can't x",
		"fix - n":               "fix - n",
	} {
		if got := plainText(in); got != want {
			t.Errorf("plainText(%q) = %q, want %q", in, got, want)
		}
	}
}

// The codes themselves are those of rename.go, each once and in order.
func TestExitCodesAreComplete(t *testing.T) {
	var got []string
	for _, c := range exitCodes() {
		got = append(got, c[0])
		if !strings.Contains(helpText(), "\n  "+c[0]+strings.Repeat(" ", 4-len(c[0]))+c[1]+"\n") {
			t.Errorf("helpText() =\n%s\nwant %q in it", helpText(), c)
		}
	}
	var want []string
	for _, code := range []int{codeRight, codeDoubt, codeUsage, codeNames, codeRoute, codeBroken} {
		want = append(want, jsonNumber(code))
	}
	if !slices.Equal(got, want) {
		t.Errorf("exitCodes() = %v, want %v", got, want)
	}
}

// Command lines that are taken, and what is made of them.
var commandLines = []struct {
	line string
	verb string
	want verbOptions
}{
	{"", "check", verbOptions{timeout: 5 * time.Second}},
	{"check", "check", verbOptions{timeout: 5 * time.Second}},
	{"-json", "check", verbOptions{timeout: 5 * time.Second, json: true}},
	{"--json", "check", verbOptions{timeout: 5 * time.Second, json: true}},
	{"-json=false", "check", verbOptions{timeout: 5 * time.Second}},
	{"-json=0 -names=T", "check", verbOptions{timeout: 5 * time.Second, names: true}},
	{"--json=true --names=false", "check", verbOptions{timeout: 5 * time.Second, json: true}},
	{"-names -names=false", "check", verbOptions{timeout: 5 * time.Second}},
	{"check -names -timeout 90s", "check", verbOptions{timeout: 90 * time.Second, names: true}},
	{"check -timeout=1m30s", "check", verbOptions{timeout: 90 * time.Second}},
	{"check --timeout 1m30s -json", "check", verbOptions{timeout: 90 * time.Second, json: true}},
	{"check -timeout 1s --timeout=2s", "check", verbOptions{timeout: 2 * time.Second}},
	{"check -json --", "check", verbOptions{timeout: 5 * time.Second, json: true}},
	{"check -imds http://127.0.0.1:8080", "check", verbOptions{timeout: 5 * time.Second, imds: endpoint{netip.MustParseAddr("127.0.0.1"), 8080, "127.0.0.1:8080"}}},
	{"check -imds http://10.0.0.1/", "check", verbOptions{timeout: 5 * time.Second, imds: endpoint{netip.MustParseAddr("10.0.0.1"), 80, "10.0.0.1"}}},
	{"fix", "fix", verbOptions{timeout: time.Minute}},
	{"fix -n -names -json", "fix", verbOptions{timeout: time.Minute, dry: true, names: true, json: true}},
	{"fix -restart a.service,b.service", "fix", verbOptions{timeout: time.Minute, units: []string{"a.service", "b.service"}}},
	{"fix -restart=", "fix", verbOptions{timeout: time.Minute, units: []string{}}},
	{"swap eth0 eth1", "swap", verbOptions{timeout: time.Minute, args: []string{"eth0", "eth1"}}},
	{"swap -n -restart= eth0 eth1", "swap", verbOptions{timeout: time.Minute, dry: true, units: []string{}, args: []string{"eth0", "eth1"}}},
	{"swap - -n", "swap", verbOptions{timeout: time.Minute, args: []string{"-", "-n"}}},
	{"swap -n -- -- -n", "swap", verbOptions{timeout: time.Minute, dry: true, args: []string{"--", "-n"}}},
	{"swap -- -a -b", "swap", verbOptions{timeout: time.Minute, args: []string{"-a", "-b"}}},
	{"imds mac", "imds", verbOptions{timeout: 5 * time.Second, args: []string{"mac"}}},
	{"imds -timeout 1ns /latest/user-data", "imds", verbOptions{timeout: 1, args: []string{"/latest/user-data"}}},
	{"route", "route", verbOptions{timeout: 5 * time.Second}},
	{"route -timeout 1s", "route", verbOptions{timeout: time.Second}},
	{"version", "version", verbOptions{}},
	{"help", "help", verbOptions{}},
	{"help fix", "help", verbOptions{args: []string{"fix"}}},
	{"--help", "help", verbOptions{}},
	{"-h fix", "help", verbOptions{args: []string{"fix"}}},
}

func TestParse(t *testing.T) {
	standard := func(v verb, o verbOptions) verbOptions { // what holds where no flag says otherwise
		if o.imds == (endpoint{}) && slices.Contains(v.flags, "imds") {
			o.imds = endpoint{netip.MustParseAddr("169.254.169.254"), 80, "169.254.169.254"}
		}
		if o.units == nil && slices.Contains(v.flags, "restart") {
			o.units = strings.Split(defaultUnits, ",")
		}
		return o
	}
	for _, row := range commandLines {
		v, args, err := selectVerb(strings.Fields(row.line))
		var got verbOptions
		if err == nil {
			got, err = parseArgs(v, args)
		}
		if err != nil || v.name != row.verb {
			t.Errorf("%q: verb %q, %v, want %q", row.line, v.name, err, row.verb)
		}
		if want := standard(v, row.want); !sameOptions(got, want) {
			t.Errorf("%q: parseArgs() = %+v, want %+v", row.line, got, want)
		}
	}
}

// sameOptions compares options; a list that is empty is as good as none.
func sameOptions(a, b verbOptions) bool {
	lists := slices.Equal(a.units, b.units) && slices.Equal(a.args, b.args)
	return lists && a.timeout == b.timeout && a.imds == b.imds && a.json == b.json && a.names == b.names && a.dry == b.dry
}

// Command lines that are wrong.
var wrongLines = []struct {
	args []string
	verb string // whose usage is shown; "" is the whole help
	why  string
}{
	{[]string{"chek"}, "", `"chek": no such verb`},
	{[]string{""}, "", `"": no such verb`},
	{[]string{"Check"}, "", `"Check": no such verb`},
	{[]string{"-x"}, "check", `check: flag provided but not defined: -x`},
	{[]string{"-verbose"}, "check", "flag provided but not defined: -verbose"},
	{[]string{"--verbose=3"}, "check", "flag provided but not defined: -verbose"},
	{[]string{"-JSON"}, "check", "flag provided but not defined: -JSON"},
	{[]string{"-jso"}, "check", "flag provided but not defined: -jso"},
	{[]string{"---json"}, "check", `bad flag syntax: ---json`},
	{[]string{"-=json"}, "check", `bad flag syntax: -=json`},
	{[]string{"--=json"}, "check", `bad flag syntax: --=json`},
	{[]string{"-a\nb"}, "check", `flag provided but not defined: -a\nb`},
	{[]string{"check", "-x", "-h"}, "check", "flag provided but not defined: -x"},
	{[]string{"check", "-n"}, "check", "flag provided but not defined: -n"},
	{[]string{"check", "-restart", "a"}, "check", "flag provided but not defined: -restart"},
	{[]string{"check", "eth0"}, "check", `what is "eth0"?`},
	{[]string{"check", "--", "true"}, "check", `what is "true"?`},
	{[]string{"check", "-json", "true"}, "check", `what is "true"?`},
	{[]string{"check", "-json=perhaps"}, "check", `check: invalid boolean value "perhaps" for -json: neither true nor false`},
	{[]string{"check", "-json="}, "check", `invalid boolean value "" for -json: neither true nor false`},
	{[]string{"check", "-timeout"}, "check", "check: flag needs an argument: -timeout"},
	{[]string{"check", "-json", "--timeout"}, "check", "flag needs an argument: -timeout"},
	{[]string{"check", "-timeout="}, "check", `invalid value "" for flag -timeout: not a duration`},
	{[]string{"check", "-timeout", "-json"}, "check", `invalid value "-json" for flag -timeout: not a duration`},
	{[]string{"check", "--timeout", "5"}, "check", `check: invalid value "5" for flag -timeout: not a duration such as 10s or 1m30s`},
	{[]string{"check", "-timeout", "0"}, "check", `invalid value "0" for flag -timeout: must be more than nothing`},
	{[]string{"check", "-timeout", "-1s"}, "check", `invalid value "-1s" for flag -timeout: must be more than nothing`},
	{[]string{"check", "-imds", "https://169.254.169.254"}, "check", `invalid value "https://169.254.169.254" for flag -imds: not a URL`},
	{[]string{"check", "-imds", "ftp://169.254.169.254"}, "check", "ftp"},
	{[]string{"check", "-imds", "169.254.169.254"}, "check", "http://ADDRESS"},
	{[]string{"check", "-imds", "http://imds.local"}, "check", "names are not resolved"},
	{[]string{"check", "-imds", "http://fd00:ec2::254"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.1:0"}, "check", `not a port: "0"`},
	{[]string{"check", "-imds", "http://127.0.0.1:65536"}, "check", `not a port: "65536"`},
	{[]string{"check", "-imds", "http://127.0.0.1/latest"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.1.5"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.256"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.01"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", ""}, "check", "http://ADDRESS"},
	{[]string{"fix", "-restart", "a b"}, "fix", `for flag -restart: "a b": not a unit's name`},
	{[]string{"fix", "-restart", "a,"}, "fix", `"": not a unit's name`},
	{[]string{"fix", "-restart", "-a"}, "fix", `"-a": not a unit's name`},
	{[]string{"fix", "-restart=/etc/a.service"}, "fix", "not a unit's name"},
	{[]string{"fix", "true"}, "fix", `"true": a COMMAND stands after --`},
	{[]string{"swap"}, "swap", "too few arguments"},
	{[]string{"swap", "eth0"}, "swap", "too few arguments"},
	{[]string{"swap", "eth0", "eth1", "eth2"}, "swap", `what is "eth2"?`},
	{[]string{"swap", "eth0", "eth1", "-n"}, "swap", "flags stand between the verb and its arguments"},
	{[]string{"swap", "eth0", "eth0"}, "swap", "can't be swapped with itself"},
	{[]string{"swap", "eth/0", "eth1"}, "swap", `"eth/0"`},
	{[]string{"swap", "eth0", "sixteen-bytes-of"}, "swap", "at most 15 bytes"},
	{[]string{"swap", "", "eth1"}, "swap", "can't be empty"},
	{[]string{"swap", "-json", "eth0", "eth1"}, "swap", "flag provided but not defined: -json"},
	{[]string{"swap", "-imds", "http://127.0.0.1", "eth0", "eth1"}, "swap", "flag provided but not defined: -imds"},
	{[]string{"imds"}, "imds", "too few arguments"},
	{[]string{"imds", "mac", "mac"}, "imds", `what is "mac"?`},
	{[]string{"imds", ""}, "imds", "empty"},
	{[]string{"imds", "a b"}, "imds", `"a b"`},
	{[]string{"imds", "mac\r\nX: y"}, "imds", `"mac\r\nX: y"`},
	{[]string{"imds", "mac\x7f"}, "imds", "control characters"},
	{[]string{"imds", "é"}, "imds", "beyond ASCII"},
	{[]string{"route", "-json"}, "route", "flag provided but not defined: -json"},
	{[]string{"route", "eth0"}, "route", `what is "eth0"?`},
	{[]string{"version", "-timeout", "1s"}, "version", "flag provided but not defined: -timeout"},
	{[]string{"version", "1"}, "version", `what is "1"?`},
	{[]string{"help", "fix", "swap"}, "help", `what is "swap"?`},
	{[]string{"help", "chek"}, "help", `"chek": no such verb`},
	{[]string{"help", "-x"}, "help", "flag provided but not defined: -x"},
}

// The exit code is 2, the log says why, the verb's usage follows on stderr, and stdout stays empty.
func TestWrongCommandLines(t *testing.T) {
	for _, row := range wrongLines {
		code, next, stdout, stderr := runCaptured(t, row.args...)
		usage := "usage: eni0 " + row.verb
		if row.verb == "" {
			usage = ""
		}
		why, rest, _ := strings.Cut(stderr, "\n")
		if code != codeUsage || stdout != "" || len(next) > 0 || !strings.Contains(why, row.why) || !strings.HasPrefix(rest, usage) {
			t.Errorf("%q: code %d, stdout %q, stderr:\n%s\nwant code 2, %q and %q", row.args, code, stdout, stderr, row.why, usage)
		}
	}
}

// runCaptured is main up to the commands that it is to execute next, with its log and what it prints to
// stderr in one string.
func runCaptured(t *testing.T, args ...string) (code int, next [][]string, stdout, stderr string) {
	t.Helper()
	r, w, err := os.Pipe() // the longest usage fits into a pipe
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out, err2 bytes.Buffer
	own, next := splitCommandLine(args, false)
	code = runVerb(own, len(next) > 0, &out, logger{to: w})
	_ = w.Close()
	if _, err := err2.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return code, next, out.String(), err2.String()
}

// Whatever is wrong with the flags of fix, COMMAND is executed: as PID 1 there is nobody else.
func TestCommandOfWrongFix(t *testing.T) {
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{"fix", "-x", "--", "/sbin/init"}, []string{"/sbin/init"}},
		{[]string{"fix", "-timeout", "soon", "--", "/sbin/init", "--", "-x"}, []string{"/sbin/init", "--", "-x"}},
		{[]string{"fix", "-timeout", "--", "/sbin/init"}, []string{"/sbin/init"}},
		{[]string{"fix", "what", "--", "/sbin/init", "3"}, []string{"/sbin/init", "3"}},
	} {
		code, next, _, stderr := runCaptured(t, row.args...)
		if code != codeUsage || len(next) != 1 || !slices.Equal(next[0], row.want) {
			t.Errorf("%q: code %d, next %q, want 2 and %q\n%s", row.args, code, next, row.want, stderr)
		}
	}
}

// Who asks a verb for help gets it on stdout, and that is no error.
func TestHelpOfVerbs(t *testing.T) {
	for _, v := range verbs() {
		for _, ask := range []string{"-h", "-help", "--help"} {
			code, _, stdout, stderr := runCaptured(t, v.name, ask)
			if code != codeRight || stdout != usageOf(v) || stderr != "" {
				t.Errorf("%s %s: code %d, stdout %q, stderr %q, want 0 and the usage", v.name, ask, code, stdout, stderr)
			}
		}
		var out bytes.Buffer
		code, err := runHelp(context.Background(), &call{stdout: &out, verbOptions: verbOptions{args: []string{v.name}}})
		if code != codeRight || err != nil || out.String() != usageOf(v) {
			t.Errorf("help %s: code %d, %v, stdout %q, want the usage", v.name, code, err, out.String())
		}
	}
}

// The usage of a verb says what it is for and, in one column, what its flags are, each once and with what
// holds if it is not given.
func TestUsage(t *testing.T) {
	lines := map[string]string{
		"timeout": "  -timeout D      the budget of the whole run, D such as 1.5s (default 5s)\n",
		"imds":    "  -imds URL       ask the IMDS at URL (default http://169.254.169.254)\n",
		"json":    "  -json           print one JSON object\n",
		"names":   "  -names          names decide, whatever the routes say (for boot)\n",
		"n":       "  -n              say what would be done, as ip(8) commands, and do nothing\n",
		"restart": "  -restart UNITS  after a rename restart these UNITS, with commas between them, if they run;\n" +
			"                  '' restarts none (default " + defaultUnits + ")\n",
	}
	for _, v := range verbs() {
		want := "\n"
		if len(v.flags) > 0 {
			want = "\n\n"
		}
		for _, name := range v.flags {
			want += lines[name]
		}
		if v.budget == time.Minute {
			want = strings.Replace(want, "default 5s", "default 1m0s", 1)
		}
		text := usageOf(v)
		if !strings.HasPrefix(text, "usage: eni0 "+v.name) || !strings.Contains(text, "\n"+v.does+"\n") || !strings.HasSuffix(text, want) || strings.Contains(strings.TrimSuffix(text, want), "\n  -") {
			t.Errorf("usage of %s:\n%s\nwant what it does, and at the end%s", v.name, text, want)
		}
		if !strings.Contains(helpText(), v.does) {
			t.Errorf("helpText() =\n%s\nwant %q in it", helpText(), v.does)
		}
	}
}

// Each verb of the table is carried out, and no other.
func TestVerbFuncs(t *testing.T) {
	funcs := verbFuncs()
	for _, v := range verbs() {
		if funcs[v.name] == nil {
			t.Errorf("nothing carries out %s", v.name)
		}
		delete(funcs, v.name)
	}
	for name := range funcs {
		t.Errorf("%s is no verb", name)
	}
}

// One line with the program's name, the toolchain and the platform, and no empty word in it.
func TestVersion(t *testing.T) {
	var out bytes.Buffer
	code, err := runVersion(context.Background(), &call{stdout: &out})
	if code != codeRight || err != nil || !regexp.MustCompile(`^eni0 \S+ (\S+ )?go1\.\S+( \S+)* linux/\w+\n$`).MatchString(out.String()) {
		t.Errorf("version() = %d, %v, %q", code, err, out.String())
	}
}
