package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The JSON of schema 1 as a program would declare it that reads it.
type reportJSON struct {
	Schema  int         `json:"schema"`
	Verb    string      `json:"verb"`
	Code    int         `json:"code"`
	Reason  string      `json:"reason"`
	Note    string      `json:"note"`
	Error   string      `json:"error"`
	Primary string      `json:"primary"`
	Links   []linkJSON  `json:"links"`
	Routes  []routeJSON `json:"routes"`
	Egress  egressJSON  `json:"egress"`
	Plan    []stepJSON  `json:"plan"`
	Renamed []stepJSON  `json:"renamed"`
	Lost    []string    `json:"lost"`
}

type linkJSON struct {
	Index    int32    `json:"index"`
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	Altnames []string `json:"altnames"`
	Kind     string   `json:"kind"`
	Up       bool     `json:"up"`
	ENI      bool     `json:"eni"`
	Primary  bool     `json:"primary"`
	Carries  bool     `json:"carries"`
}

type routeJSON struct {
	Family string    `json:"family"`
	Metric uint32    `json:"metric"`
	Reject string    `json:"rejects"`
	Hops   []hopJSON `json:"hops"`
}

type egressJSON struct {
	IPv4 []string `json:"inet"`
	IPv6 []string `json:"inet6"`
}

type hopJSON struct {
	Index int32  `json:"index"`
	Link  string `json:"link"`
	Via   string `json:"via"`
	Dead  bool   `json:"dead"`
}

type stepJSON struct {
	Index   int32  `json:"index"`
	Address string `json:"address"`
	From    string `json:"from"`
	To      string `json:"to"`
}

// A world with something of everything.
func fullWorld() world {
	return world{
		links: []link{
			{index: 1, name: "lo"},
			{index: 2, name: "eth1", altnames: []string{"enp0s5", "ens5"}, addr: eniAddr(2), ethernet: true, up: true},
			{index: 3, name: "eth0", addr: eniAddr(2), perm: eniAddr(3), ethernet: true, up: true},
			{index: 4, name: `no"thing`, addr: eniAddr(4), ethernet: true},
			{index: 5, name: "br0", kind: "bridge", addr: eniAddr(5), ethernet: true, up: true},
			{index: 6, name: "eth0.10", kind: "vlan", addr: eniAddr(3), lower: 3, ethernet: true, up: true},
			{index: 7, name: "pod", kind: "veth", addr: eniAddr(7), ethernet: true, up: true},
		},
		routes: []route{
			{metric: 0, hops: []hop{{2, netip.MustParseAddr("10.0.1.1"), true}, {3, netip.MustParseAddr("10.0.2.1"), false}, {6, netip.Addr{}, false}}},
			{metric: 4294967295, hops: []hop{{2, netip.MustParseAddr("10.0.1.1"), false}}},
			{ipv6: true, metric: 1024, hops: []hop{{3, netip.MustParseAddr("fe80::1"), false}, {9, netip.MustParseAddr("fe80::2"), true}}},
			{ipv6: true, metric: 4294967295, rejects: "unreachable"},
		},
		primary: eniAddr(2),
	}
}

// wantFull is fullWorld in the JSON: of the links the ENIs and the VLAN that carries a route.
func wantFull() reportJSON {
	const a2, a3, a4 = "0a:ff:00:00:00:02", "0a:ff:00:00:00:03", "0a:ff:00:00:00:04"
	return reportJSON{
		Schema: 1, Verb: "fix", Code: 10, Reason: "names", Note: "names are\nwrong", Error: `not "done"`, Primary: a2,
		Links: []linkJSON{
			{2, "eth1", a2, []string{"enp0s5", "ens5"}, "", true, true, true, false},
			{3, "eth0", a3, []string{}, "", true, true, false, true},
			{4, `no"thing`, a4, []string{}, "", false, true, false, false},
			{6, "eth0.10", a3, []string{}, "vlan", true, false, false, true},
		},
		Routes: []routeJSON{
			{"inet", 0, "", []hopJSON{{2, "eth1", "10.0.1.1", true}, {3, "eth0", "10.0.2.1", false}, {6, "eth0.10", "", false}}},
			{"inet", 4294967295, "", []hopJSON{{2, "eth1", "10.0.1.1", false}}},
			{"inet6", 1024, "", []hopJSON{{3, "eth0", "fe80::1", false}, {9, "", "fe80::2", true}}},
			{"inet6", 4294967295, "unreachable", []hopJSON{}},
		},
		Egress:  egressJSON{[]string{"eth0"}, []string{"eth0"}},
		Plan:    []stepJSON{{2, a2, "eth1", "eni0-eth0"}, {3, a3, "eth0", "eth1"}},
		Renamed: []stepJSON{{4, a4, "a", "b"}},
		Lost:    []string{"route a"},
	}
}

// decodeReport reads one JSON object on one line, and nothing else.
func decodeReport(t *testing.T, text string) (got reportJSON) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if _, err := d.Token(); err != io.EOF || strings.Index(text, "\n") != len(text)-1 {
		t.Errorf("want one object on one line: %q", text)
	}
	return got
}

func TestReportJSON(t *testing.T) {
	r := report{
		verb: "fix", code: codeNames, reason: "names", note: "names are\nwrong", err: `not "done"`, world: fullWorld(),
		plan:    []step{{2, eniAddr(2), "eth1", "eni0-eth0"}, {3, eniAddr(3), "eth0", "eth1"}},
		renamed: []step{{4, eniAddr(4), "a", "b"}},
		lost:    []*netObject{{description: "route a"}},
	}
	var out bytes.Buffer
	if err := r.write(&out, true); err != nil {
		t.Fatal(err)
	}
	if got, want := decodeReport(t, out.String()), wantFull(); !reflect.DeepEqual(got, want) {
		t.Errorf("json() =\n%+v, want\n%+v", got, want)
	}
}

// Of an empty world too every field is there, and lists are lists, not null.
func TestReportJSONOfNothing(t *testing.T) {
	text := report{verb: "check", code: codeDoubt, err: "imds: no answer"}.json()
	want := `{"schema":1,"verb":"check","code":1,"reason":"","note":"","error":"imds: no answer","primary":"",` +
		`"links":[],"routes":[],"egress":{"inet":[],"inet6":[]},"plan":[],"renamed":[],"lost":[]}` + "\n"
	if text != want {
		t.Errorf("json() = %s, want %s", text, want)
	}
	decodeReport(t, text)
}

// While the primary is not known no ENI is it, not even one whose address is all zeros.
func TestReportOfUnknownPrimary(t *testing.T) {
	w := fullWorld()
	w.primary = hwaddr{}
	w.links = append(w.links, link{index: 7, name: "veth0", kind: "veth", ethernet: true})
	got := decodeReport(t, report{world: w}.json())
	for _, l := range got.Links {
		if l.Primary || got.Primary != "" {
			t.Errorf("json() = primary %q, link %+v, want no primary", got.Primary, l)
		}
	}
	if text := (report{world: w}).table(); strings.Contains(text, "primary") || strings.Contains(text, "secondary") {
		t.Errorf("table() =\n%s\nwant no ENI to be called primary or secondary", text)
	}
}

func TestReportTable(t *testing.T) {
	for _, row := range []struct {
		world  string
		report report
		want   string
	}{
		{"names are wrong", report{world: upWorld("eth1 eth0"), note: "the names are wrong"}, `
LINK             INDEX  ADDRESS            STATE  ROLE           DEFAULT ROUTES
eth1             2      0a:ff:00:00:00:02  up     primary ENI    via 10.0.2.1 metric 200
eth0             3      0a:ff:00:00:00:03  up     secondary ENI  via 10.0.3.1 metric 100  <- default traffic

the names are wrong.
`},
		{"something of everything", report{world: fullWorld()}, `
LINK             INDEX  ADDRESS            STATE  ROLE           DEFAULT ROUTES
eth1             2      0a:ff:00:00:00:02  up     primary ENI    via 10.0.1.1 metric 0 dead, via 10.0.1.1 metric 4294967295
eth0             3      0a:ff:00:00:00:03  up     secondary ENI  via 10.0.2.1 metric 0, via fe80::1 metric 1024  <- default traffic
no"thing         4      0a:ff:00:00:00:04  down   secondary ENI  -
eth0.10          6      0a:ff:00:00:00:03  up     vlan           metric 0  <- default traffic
`},
		{"IMDS did not answer", report{world: world{links: enis("eth0")}, err: "imds: no answer"}, `
LINK             INDEX  ADDRESS            STATE  ROLE           DEFAULT ROUTES
eth0             2      0a:ff:00:00:00:02  down   ENI            -
`},
		{"nothing was seen", report{err: "netlink: socket: permission denied"}, `
LINK             INDEX  ADDRESS            STATE  ROLE           DEFAULT ROUTES
`},
	} {
		var out bytes.Buffer
		if err := row.report.write(&out, false); err != nil {
			t.Fatal(err)
		}
		if got := "\n" + out.String(); got != row.want {
			t.Errorf("%s: table() =%s\nwant%s", row.world, got, row.want)
		}
	}
}

// upWorld is two ENIs that are up, with a default route each.
func upWorld(names string) world {
	w := world{links: enis(names), primary: eniAddr(2)}
	for i := range w.links {
		w.links[i].up = true
	}
	w.routes = []route{
		{metric: 200, hops: []hop{{2, netip.MustParseAddr("10.0.2.1"), false}}},
		{metric: 100, hops: []hop{{3, netip.MustParseAddr("10.0.3.1"), false}}},
	}
	return w
}

// A report that could not be written must not pass for an answer.
func TestReportNotWritten(t *testing.T) {
	r, w := io.Pipe()
	_ = r.CloseWithError(io.ErrNoProgress)
	for _, asJSON := range []bool{false, true} {
		if err := (report{}).write(w, asJSON); err != io.ErrNoProgress {
			t.Errorf("write(json: %v) = %v, want %v", asJSON, err, io.ErrNoProgress)
		}
	}
}

func TestIPLines(t *testing.T) {
	const note = "# before Linux 6.2 these go down for it, come up again, and get back what that costs: "
	swap := "ip link set dev eth1 name eni0-eth0\nip link set dev eth0 name eth1\nip link set dev eni0-eth0 name eth0\n"
	one := upWorld("eth1 eth0")
	one.links[0].up = false
	for _, row := range []struct {
		world string
		links []link
		after string
		want  string
	}{
		{"nothing to do", upWorld("eth0 eth1").links, "- -", ""},
		{"a free name, the link is down", enis("eth1"), "eth0", "ip link set dev eth1 name eth0\n"},
		{"a swap, both are down", enis("eth1 eth0"), "eth0 eth1", swap},
		{"a swap, both are up", upWorld("eth1 eth0").links, "eth0 eth1", note + "eth1 eth0\n" + swap},
		{"a swap, one is up", one.links, "eth0 eth1", note + "eth0\n" + swap},
	} {
		steps, err := plan(row.links, wishing(row.links, row.after))
		if err != nil {
			t.Fatal(err)
		}
		if got := ipLines(row.links, steps, nil); got != row.want {
			t.Errorf("%s: ipLines() =\n%swant\n%s", row.world, got, row.want)
		}
	}
}

func TestShell(t *testing.T) {
	for name, want := range map[string]string{"eth0": "eth0", "eni0-eth1": "eni0-eth1", "a;b": "'a;b'", "$(x)": "'$(x)'", "it's": `'it'\''s'`, "eni0-#7": "'eni0-#7'"} {
		if got := shellQuote(name); got != want {
			t.Errorf("shell(%q) = %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"eth0": "eth0", "a\x1b[2J": `"a\x1b[2J"`, "é": `"é"`} {
		if got := visible(name); got != want {
			t.Errorf("visible(%q) = %s, want %s", name, got, want)
		}
	}
}

// FuzzQuote holds quote to encoding/json: whatever comes is valid JSON, and UTF-8 comes back.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "eth0", `a"b\c`, "a\x00\x1f\x7f\n\t", "é\u2028\U0001F600", "\xff\xc3", "\ufffd", "</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal([]byte(jsonString(s)), &got); err != nil {
			t.Fatalf("quote(%q) = %s: %v", s, jsonString(s), err)
		}
		want := s
		if !utf8.ValidString(s) {
			want = string([]rune(s)) // each byte that is not UTF-8 is U+FFFD
		}
		if got != want {
			t.Errorf("quote(%q) = %s, which is %q, want %q", s, jsonString(s), got, want)
		}
	})
}

func TestLogger(t *testing.T) {
	for _, row := range []struct {
		what     string
		priority bool
		log      func(logger)
		want     string
	}{
		{"an error", true, func(l logger) { l.err("%s: %d", "a", 1) }, "<3>eni0: a: 1\n"},
		{"a warning", true, func(l logger) { l.warn("w") }, "<4>eni0: w\n"},
		{"an information", true, func(l logger) { l.info("i") }, "<6>eni0: i\n"},
		{"several lines", true, func(l logger) { l.err("a\nb%s", "\nc") }, "<3>eni0: a\n<3>eni0: b\n<3>eni0: c\n"},
		{"several lines to a terminal", false, func(l logger) { l.err("a\nb") }, "eni0: a\neni0: b\n"},
		{"each to a terminal", false, func(l logger) { l.err("e"); l.warn("w"); l.info("i") }, "eni0: e\neni0: w\neni0: i\n"},
		{"a rename", false, func(l logger) { l.info("%s", step{3, eniAddr(2), "eth1", "eth0"}) },
			"eni0: 0a:ff:00:00:00:02 (index 3): eth1 -> eth0\n"},
	} {
		var out bytes.Buffer
		row.log(logger{to: &out, priority: row.priority})
		if out.String() != row.want {
			t.Errorf("%s: %q, want %q", row.what, out.String(), row.want)
		}
	}
}

func TestToJournal(t *testing.T) {
	var is unix.Stat_t
	if err := unix.Fstat(2, &is); err != nil {
		t.Skip(err)
	}
	for _, row := range []struct {
		what, stream string
		want         bool
	}{
		{"$JOURNAL_STREAM is stderr's device and inode", fmt.Sprintf("%d:%d", is.Dev, is.Ino), true},
		{"it is another inode's: stderr was redirected", fmt.Sprintf("%d:%d", is.Dev, is.Ino+1), false},
		{"it is another device's", fmt.Sprintf("%d:%d", is.Dev+1, is.Ino), false},
		{"it is not set", "", false},
		{"it is none", "journal", false},
	} {
		if got := stderrIsJournal(row.stream); got != row.want {
			t.Errorf("%s: toJournal(%q) = %v, want %v", row.what, row.stream, got, row.want)
		}
	}
}

// Under the journal its prefixes are on from the start.
func TestNewLogger(t *testing.T) {
	var is unix.Stat_t
	if err := unix.Fstat(2, &is); err != nil || isKernelInit() {
		t.Skip("no stderr")
	}
	for stream, want := range map[string]bool{fmt.Sprintf("%d:%d", is.Dev, is.Ino): true, "": false} {
		t.Setenv("JOURNAL_STREAM", stream)
		got := newLogger()
		if q, ok := got.to.(*lineQueue); !ok || q.fd != 2 || got.priority != want {
			t.Errorf("$JOURNAL_STREAM %q: newLogger() = %v, want stderr, priority %v", stream, got, want)
		}
	}
}
