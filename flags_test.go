package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
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
		want = append(want, number(code))
	}
	if !slices.Equal(got, want) {
		t.Errorf("exitCodes() = %v, want %v", got, want)
	}
}

// Command lines that are taken, and what is made of them.
var commandLines = []struct {
	line string
	verb string
	want options
}{
	{"", "check", options{timeout: 5 * time.Second}},
	{"check", "check", options{timeout: 5 * time.Second}},
	{"-json", "check", options{timeout: 5 * time.Second, json: true}},
	{"--json", "check", options{timeout: 5 * time.Second, json: true}},
	{"-json=false", "check", options{timeout: 5 * time.Second}},
	{"check -names -timeout 90s", "check", options{timeout: 90 * time.Second, names: true}},
	{"check -timeout=1m30s", "check", options{timeout: 90 * time.Second}},
	{"check -imds http://127.0.0.1:8080", "check", options{timeout: 5 * time.Second, imds: endpoint{[4]byte{127, 0, 0, 1}, 8080, "127.0.0.1:8080"}}},
	{"check -imds http://10.0.0.1/", "check", options{timeout: 5 * time.Second, imds: endpoint{[4]byte{10, 0, 0, 1}, 80, "10.0.0.1"}}},
	{"fix", "fix", options{timeout: time.Minute}},
	{"fix -n -names -json", "fix", options{timeout: time.Minute, dry: true, names: true, json: true}},
	{"fix -restart a.service,b.service", "fix", options{timeout: time.Minute, units: []string{"a.service", "b.service"}}},
	{"fix -restart=", "fix", options{timeout: time.Minute, units: []string{}}},
	{"swap eth0 eth1", "swap", options{timeout: time.Minute, args: []string{"eth0", "eth1"}}},
	{"swap -n -restart= eth0 eth1", "swap", options{timeout: time.Minute, dry: true, units: []string{}, args: []string{"eth0", "eth1"}}},
	{"swap -- -a -b", "swap", options{timeout: time.Minute, args: []string{"-a", "-b"}}},
	{"imds mac", "imds", options{timeout: 5 * time.Second, args: []string{"mac"}}},
	{"imds -timeout 1ns /latest/user-data", "imds", options{timeout: 1, args: []string{"/latest/user-data"}}},
	{"route", "route", options{timeout: 5 * time.Second}},
	{"route -timeout 1s", "route", options{timeout: time.Second}},
	{"version", "version", options{}},
	{"help", "help", options{}},
	{"help fix", "help", options{args: []string{"fix"}}},
	{"--help", "help", options{}},
	{"-h fix", "help", options{args: []string{"fix"}}},
}

func TestParse(t *testing.T) {
	standard := func(o options) options { // what holds where no flag says otherwise
		if o.imds == (endpoint{}) {
			o.imds = endpoint{[4]byte{169, 254, 169, 254}, 80, "169.254.169.254"}
		}
		if o.units == nil {
			o.units = []string{"systemd-networkd.service"}
		}
		return o
	}
	for _, row := range commandLines {
		v, args, err := pick(strings.Fields(row.line))
		c := &call{}
		if err == nil {
			err = c.parse(v, args)
		}
		if err != nil || v.name != row.verb {
			t.Errorf("%q: verb %q, %v, want %q", row.line, v.name, err, row.verb)
		}
		if got, want := c.options, standard(row.want); !sameOptions(got, want) {
			t.Errorf("%q: parse() = %+v, want %+v", row.line, got, want)
		}
	}
}

// sameOptions compares options; a list that is empty is as good as none.
func sameOptions(a, b options) bool {
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
	{[]string{"-x"}, "check", "-x"},
	{[]string{"-verbose"}, "check", "-verbose"},
	{[]string{"check", "-x"}, "check", "-x"},
	{[]string{"check", "-n"}, "check", "-n"},
	{[]string{"check", "-restart", "a"}, "check", "-restart"},
	{[]string{"check", "eth0"}, "check", `what is "eth0"?`},
	{[]string{"check", "--", "true"}, "check", `what is "true"?`},
	{[]string{"check", "-json=perhaps"}, "check", "perhaps"},
	{[]string{"check", "-timeout"}, "check", "needs an argument"},
	{[]string{"check", "-timeout", "5"}, "check", `"5"`},
	{[]string{"check", "-timeout", "0"}, "check", "must be more than nothing"},
	{[]string{"check", "-timeout", "-1s"}, "check", "must be more than nothing"},
	{[]string{"check", "-imds", "https://169.254.169.254"}, "check", `"https://169.254.169.254"`},
	{[]string{"check", "-imds", "ftp://169.254.169.254"}, "check", "ftp"},
	{[]string{"check", "-imds", "169.254.169.254"}, "check", "http://ADDRESS"},
	{[]string{"check", "-imds", "http://imds.local"}, "check", "names are not resolved"},
	{[]string{"check", "-imds", "http://[fd00:ec2::254]"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.1:0"}, "check", `not a port: "0"`},
	{[]string{"check", "-imds", "http://127.0.0.1:65536"}, "check", `not a port: "65536"`},
	{[]string{"check", "-imds", "http://127.0.0.1/latest"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.1.5"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.256"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", "http://127.0.0.01"}, "check", "not an IPv4 address"},
	{[]string{"check", "-imds", ""}, "check", "http://ADDRESS"},
	{[]string{"fix", "-restart", "a b"}, "fix", `"a b": not a unit's name`},
	{[]string{"fix", "-restart", "a,"}, "fix", `"": not a unit's name`},
	{[]string{"fix", "-restart", "-a"}, "fix", `"-a": not a unit's name`},
	{[]string{"fix", "-restart", "/etc/a.service"}, "fix", "not a unit's name"},
	{[]string{"fix", "true"}, "fix", `what is "true"?`},
	{[]string{"swap"}, "swap", "too few arguments"},
	{[]string{"swap", "eth0"}, "swap", "too few arguments"},
	{[]string{"swap", "eth0", "eth1", "eth2"}, "swap", `what is "eth2"?`},
	{[]string{"swap", "eth0", "eth1", "-n"}, "swap", "flags stand between the verb and its arguments"},
	{[]string{"swap", "eth0", "eth0"}, "swap", "can't be swapped with itself"},
	{[]string{"swap", "eth/0", "eth1"}, "swap", `"eth/0"`},
	{[]string{"swap", "eth0", "sixteen-bytes-of"}, "swap", "at most 15 bytes"},
	{[]string{"swap", "", "eth1"}, "swap", "can't be empty"},
	{[]string{"swap", "-json", "eth0", "eth1"}, "swap", "-json"},
	{[]string{"swap", "-imds", "http://127.0.0.1", "eth0", "eth1"}, "swap", "-imds"},
	{[]string{"imds"}, "imds", "too few arguments"},
	{[]string{"imds", "mac", "mac"}, "imds", `what is "mac"?`},
	{[]string{"imds", ""}, "imds", "empty"},
	{[]string{"imds", "a b"}, "imds", `"a b"`},
	{[]string{"imds", "mac\r\nX: y"}, "imds", `"mac\r\nX: y"`},
	{[]string{"imds", "mac\x7f"}, "imds", "control characters"},
	{[]string{"imds", "é"}, "imds", "beyond ASCII"},
	{[]string{"route", "-json"}, "route", "-json"},
	{[]string{"route", "eth0"}, "route", `what is "eth0"?`},
	{[]string{"version", "-timeout", "1s"}, "version", "-timeout"},
	{[]string{"version", "1"}, "version", `what is "1"?`},
	{[]string{"help", "fix", "swap"}, "help", `what is "swap"?`},
	{[]string{"help", "chek"}, "help", `"chek": no such verb`},
	{[]string{"help", "-x"}, "help", "-x"},
}

// The exit code is 2, the log says why, the verb's usage follows on stderr, and stdout stays empty.
func TestWrongCommandLines(t *testing.T) {
	for _, row := range wrongLines {
		code, command, stdout, stderr := runCaptured(t, row.args...)
		usage := "usage: eni0 " + row.verb
		if row.verb == "" {
			usage = helpText()
		}
		why, rest, _ := strings.Cut(stderr, "\n")
		if code != codeUsage || stdout != "" || len(command) > 0 || !strings.Contains(why, row.why) || !strings.HasPrefix(rest, usage) {
			t.Errorf("%q: code %d, stdout %q, stderr:\n%s\nwant code 2, %q and %q", row.args, code, stdout, stderr, row.why, usage)
		}
	}
}

// runCaptured is run with its log and what it prints to stderr in one string.
func runCaptured(t *testing.T, args ...string) (code int, command []string, stdout, stderr string) {
	t.Helper()
	r, w, err := os.Pipe() // the longest usage fits into a pipe
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	was := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = was }()
	var out, err2 bytes.Buffer
	code, command = run(args, &out, logger{to: w})
	_ = w.Close()
	if _, err := err2.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return code, command, out.String(), err2.String()
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
		code, command, _, stderr := runCaptured(t, row.args...)
		if code != codeUsage || !slices.Equal(command, row.want) {
			t.Errorf("%q: code %d, command %q, want 2 and %q\n%s", row.args, code, command, row.want, stderr)
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
		code, err := help(nil, &call{stdout: &out, options: options{args: []string{v.name}}})
		if code != codeRight || err != nil || out.String() != usageOf(v) {
			t.Errorf("help %s: code %d, %v, stdout %q, want the usage", v.name, code, err, out.String())
		}
	}
}

// The usage of a verb names each of its flags once, with what holds if it is not given.
func TestUsage(t *testing.T) {
	defaults := map[string]string{"timeout": "5s", "imds": "http://169.254.169.254", "restart": "systemd-networkd.service"}
	for _, v := range verbs() {
		text := usageOf(v)
		if !strings.HasPrefix(text, "usage: eni0 "+v.name) || !strings.Contains(text, v.does) || !strings.Contains(helpText(), v.does) {
			t.Errorf("usage of %s:\n%s", v.name, text)
		}
		for _, f := range v.flags {
			want := defaults[f]
			if f == "timeout" && v.budget == time.Minute {
				want = "1m0s"
			}
			i := strings.Index(text, "\n  -"+f)
			if i < 0 || !strings.Contains(text[i:], want) || strings.Count(text, "\n  -"+f+" ")+strings.Count(text, "\n  -"+f+"\n")+strings.Count(text, "\n  -"+f+"\t") != 1 {
				t.Errorf("usage of %s:\n%s\nwant -%s and %q", v.name, text, f, want)
			}
		}
	}
}

// One line with the program's name, the toolchain and the platform, and no empty word in it.
func TestVersion(t *testing.T) {
	var out bytes.Buffer
	code, err := version(nil, &call{stdout: &out})
	if code != codeRight || err != nil || !regexp.MustCompile(`^eni0 \S+ (\S+ )?go1\.\S+( \S+)* linux/\w+\n$`).MatchString(out.String()) {
		t.Errorf("version() = %d, %v, %q", code, err, out.String())
	}
}
