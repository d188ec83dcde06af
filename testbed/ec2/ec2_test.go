package ec2

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// launch runs the calling test again in namespaces of its own and returns nil or, inside, the instance.
func launch(t *testing.T, order ...int) *Instance {
	t.Helper()
	if os.Getenv("EC2_INSIDE") == "" {
		again(t)
		return nil
	}
	i, err := Launch(order)
	if why := Refused(err); why != "" {
		t.Skip(why)
	}
	must(t, err)
	t.Cleanup(func() { must(t, i.Close()) })
	return i
}

// again is the outer half of launch.
func again(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "EC2_INSIDE=1")
	Isolate(cmd)
	out, err := cmd.CombinedOutput()
	if why := Refused(err); why != "" {
		t.Skip(why)
	}
	if err != nil {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("inside:\n%s", out)
	}
}

// must ends the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// state is the State, as one text.
func state(t *testing.T) string {
	t.Helper()
	lines, err := State()
	must(t, err)
	return strings.Join(lines, "\n") + "\n"
}

func TestLaunch(t *testing.T) {
	i := launch(t, 1, 0)
	if i == nil {
		return // it ran inside
	}
	for name, want := range map[string]int{"eth0": 1, "eth1": 0} {
		link, err := net.InterfaceByName(name)
		must(t, err)
		if got := i.device(*link); got != want || link.Flags&net.FlagUp != 0 {
			t.Errorf("%s is device %d, %s, want device %d, down", name, got, link.Flags, want)
		}
	}
	must(t, i.Close())
	links, err := net.Interfaces()
	if err != nil || slices.ContainsFunc(links, func(l net.Interface) bool { return i.device(l) >= 0 }) {
		t.Errorf("after Close: %v, %v, want no ENI", links, err)
	}
	second, err := Launch([]int{0, 1})
	must(t, err, second.Close(), second.Close())
}

func TestLaunchRefusesOrder(t *testing.T) {
	for _, order := range [][]int{nil, {1}, {0, 0}, {1, 2}, {0, -1}, make([]int, 16)} {
		if _, err := Launch(order); err == nil {
			t.Errorf("Launch(%v) = nil error, want one", order)
		}
	}
}

func TestManager(t *testing.T) {
	i := launch(t, 1, 2, 0)
	if i == nil {
		return // it ran inside
	}
	m, err := i.Manage()
	must(t, err)
	before := state(t)
	wantDefault(t, before, i, 1)
	must(t, m.Apply())
	if got := state(t); got != before {
		t.Errorf("a second Apply made\n%s\nwant\n%s", got, before)
	}

	events, err := subscribe(unix.RTNLGRP_IPV4_ROUTE)
	must(t, err)
	defer events.Close()
	swap(t, "eth0", "eth2")
	for range 2 { // the new route, and the end of the old one
		_, err := events.Read(make([]byte, 4096))
		must(t, err)
	}
	m.Hold() // now it is through
	after := state(t)
	wantDefault(t, after, i, 0)
	if without(after, m.Owns) != without(before, m.Owns) {
		t.Errorf("the swap made\n%s\nof\n%s\nwant another default route only", after, before)
	}

	swap(t, "eth0", "eth2")
	if got := state(t); got != after {
		t.Errorf("held, it made\n%s\nwant\n%s", got, after)
	}
	must(t, m.Apply(), m.Close())
	if got := state(t); got != before {
		t.Errorf("the swap back made\n%s\nwant\n%s", got, before)
	}
}

// swap exchanges two names while the links are up.
func swap(t *testing.T, a, b string) {
	t.Helper()
	rename := func(from, to string) error {
		return setLink(unix.RTM_SETLINK, 0, from, attr(nil, unix.IFLA_IFNAME, cstring(to)))
	}
	must(t, rename(a, "swap"), rename(b, a), rename("swap", b))
}

// wantDefault wants one default route, by that device.
func wantDefault(t *testing.T, state string, i *Instance, device int) {
	t.Helper()
	route := fmt.Sprintf("/%s via %s metric 512\n", hex(device), i.Router(device))
	if !strings.Contains(state, route) || strings.Count(state, " default/") != 1 {
		t.Errorf("want one default route by device %d, have\n%s", device, state)
	}
}

// without takes lines out of a text.
func without(text string, line func(string) bool) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), line), "\n")
}

func TestServe(t *testing.T) {
	i := launch(t, 1, 0)
	if i == nil {
		return // it ran inside
	}
	m, err := i.Manage()
	must(t, err, m.Close())
	for _, world := range []struct {
		says string
		h    http.Handler
		want string
	}{
		{"metadata", i.Metadata(), hex(0)},
		{"nothing", nil, "connection refused"},
		{"metadata again", i.Metadata(), hex(0)},
		{"when it was accepted", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, time.Since(Accepted(r)) < time.Minute)
		}), "true"},
		{"something else", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "huh") }), "huh"},
		{"metadata at last", i.Metadata(), hex(0)},
	} {
		must(t, i.Serve(world.h))
		if got := ask("/latest/meta-data/mac"); !strings.HasSuffix(got, world.want) {
			t.Errorf("%s: mac = %q, want %q", world.says, got, world.want)
		}
	}
}

// ask asks as a client of IMDSv2 does, and returns the answer or the error.
func ask(path string) string {
	token, err := exchange("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil {
		return err.Error()
	}
	body, err := exchange("GET", path, "X-aws-ec2-metadata-token", token)
	if err != nil {
		return err.Error()
	}
	return body
}

// exchange is one request with one header.
func exchange(method, path, key, value string) (string, error) {
	req, err := http.NewRequest(method, "http://"+imds+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set(key, value)
	req.Close = true // the next server will not know this connection
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestState(t *testing.T) {
	i := launch(t, 0, 1)
	if i == nil {
		return // it ran inside
	}
	m, err := i.Manage()
	must(t, err, m.Close())
	populate(t, i)
	before := state(t)
	t.Log("\n" + before)
	for _, want := range []string{
		"table 1000 10.9.0.0/16 tos 0 proto 186 scope 0 type 1 flags 0 dev 2/0a:ff:00:00:00:01 via 10.0.1.1 metric 7",
		"10.8.0.0/16 tos 0 proto 4 scope 0 type 1 flags 4",
		"hops {dev 2/0a:ff:00:00:00:01 weight 3 flags 0 via 10.0.1.1} {dev 3/0a:ff:00:00:00:02 weight 1 flags 0 via 10.0.2.1}",
		"address 192.0.2.1/24 dev ", "neighbour 10.0.1.9 dev 2/0a:ff:00:00:00:01 is 02:00:00:00:00:03",
		`iif "eth0"`, "from 10.0.2.10/32", "nexthop 11 family 2 scope 253 proto 4 flags 0 dev 2/0a:ff:00:00:00:01 via 10.0.1.1",
	} {
		if !strings.Contains(before, want) {
			t.Errorf("State() has no %q", want)
		}
	}
	must(t, DelRoute(Route{Dev: "eth0", Dst: netip.MustParsePrefix("10.8.0.0/16")}))
	swap(t, "eth0", "eth1")
	want := without(before, func(line string) bool { return strings.Contains(line, "10.8.0.0/16") })
	if got := state(t); got != want {
		t.Errorf("State() = \n%s\nwant\n%s", got, want)
	}
	must(t, SetUp("eth0", false)) // device 1 by now
	const link = "link 3/0a:ff:00:00:00:02 "
	if got := state(t); !strings.Contains(before, link+"up ") || !strings.Contains(got, link+"down ") {
		t.Errorf("a link that goes down makes\n%s\nof\n%s", got, before)
	}
	for line := range strings.SplitSeq(state(t), "\n") {
		if strings.HasPrefix(line, "nexthop 12 ") {
			t.Errorf("%q is there without its link", line)
		}
	}
}

// populate makes one of everything.
func populate(t *testing.T, i *Instance) {
	t.Helper()
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	must(t,
		AddVeth("v0", [6]byte{2, 0, 0, 0, 0, 1}, "v1", -1), SetUp("v0", true), SetUp("v1", true),
		AddBridge("br0", [6]byte{2, 0, 0, 0, 0, 2}), SetUp("br0", true), Delete("br0"),
		AddAltname("v0", "another-name-that-is-longer-than-others"),
		AddAddr("v0", p("192.0.2.1/24")),
		AddRoute(Route{Dev: "eth0", Dst: p("10.9.0.0/16"), Via: i.Router(0), Metric: 7, Table: 1000, Proto: 186}),
		AddRoute(Route{Dev: "eth0", Dst: p("10.8.0.0/16"), Via: a("172.16.0.1"), Onlink: true}),
		AddRoute(Route{Dst: p("10.7.0.0/16"), Multipath: []Hop{{"eth0", i.Router(0), 3}, {"eth1", i.Router(1), 0}}}),
		AddRoute(Route{Dev: "v0", Dst: p("10.5.0.0/16")}),
		AddNeighbour("eth0", a("10.0.1.9"), [6]byte{2, 0, 0, 0, 0, 3}),
		AddRule(Rule{IIF: "eth0", Table: 1000, Priority: 500}),
		AddRule(Rule{OIF: "v0", Table: 70}),
		AddRule(Rule{From: p("10.0.2.10/32"), Table: 1000, Priority: 501}),
		AddNextHop(11, "eth0", i.Router(0)), AddNextHop(12, "eth1", i.Router(1)), AddNextHopGroup(13, 11, 12),
		AddRoute(Route{Dst: p("10.6.0.0/16"), NextHop: 13}),
	)
	if !HasIPv6() {
		return
	}
	must(t,
		AddAddr("v0", p("2001:db8::1/64")),
		AddRoute(Route{Dev: "v0", Dst: p("2001:db8:1::/48"), Via: a("2001:db8::2")}),
		AddNeighbour("v0", a("2001:db8::9"), [6]byte{2, 0, 0, 0, 0, 3}),
		AddRule(Rule{OIF: "v0", V6: true, Table: 70}),
	)
}

func TestMetadataTokens(t *testing.T) {
	m := NewMetadata(2)
	const ttl, token = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	for _, c := range []struct {
		world, method, path string
		header              []string
		want                int
	}{
		{"no TTL", "PUT", "/latest/api/token", nil, 400},
		{"TTL too short", "PUT", "/latest/api/token", []string{ttl, "0"}, 400},
		{"TTL too long", "PUT", "/latest/api/token", []string{ttl, "21601"}, 400},
		{"by a proxy", "PUT", "/latest/api/token", []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
		{"another version", "PUT", "/2021-03-23/api/token", []string{ttl, "60"}, 403},
		{"right", "PUT", "/latest/api/token", []string{ttl, "60"}, 200},
		{"no token", "GET", "/latest/meta-data/mac", nil, 401},
		{"not a token", "GET", "/latest/meta-data/mac", []string{token, "x"}, 401},
		{"no such method", "POST", "/latest/meta-data/mac", nil, 405},
	} {
		if got := serve(m, c.method, c.path, c.header...).Code; got != c.want {
			t.Errorf("%s: %s %s = %d, want %d", c.world, c.method, c.path, got, c.want)
		}
	}
	if got := m.Requests(); got != 9 {
		t.Errorf("Requests() = %d, want 9", got)
	}
}

func TestMetadataKeys(t *testing.T) {
	m := NewMetadata(2)
	token := serve(m, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60").Body.String()
	get := func(path string) *httptest.ResponseRecorder {
		return serve(m, "GET", path, "X-aws-ec2-metadata-token", token)
	}
	for path, want := range map[string]string{
		"/":                                strings.Join(versions, "\n"),
		"/latest":                          "dynamic\nmeta-data\nuser-data",
		"/2021-03-23/":                     "dynamic\nmeta-data\nuser-data",
		"/latest/dynamic/":                 "instance-identity/",
		"/2009-04-04/meta-data/mac":        hex(0),
		"/2021-03-23/user-data":            "#!/bin/true\n",
		"/latest/meta-data/public-keys":    "0=key",
		"/latest/meta-data/public-keys/":   "0=key",
		"/latest/meta-data/public-keys/0":  "openssh-key",
		"/latest/meta-data/services/":      "domain\npartition",
		"/latest/meta-data/local-hostname": "ip-10-0-1-10.ec2.internal",
		"/latest/meta-data/network/interfaces/macs/" + hex(1): strings.Join([]string{"device-number", "interface-id",
			"local-hostname", "local-ipv4s", "mac", "owner-id", "security-group-ids", "security-groups", "subnet-id",
			"subnet-ipv4-cidr-block", "vpc-id", "vpc-ipv4-cidr-block", "vpc-ipv4-cidr-blocks"}, "\n"),
		"/latest/meta-data/network/interfaces/macs/" + hex(1) + "/local-ipv4s": "10.0.2.10",
		"/latest/meta-data/mac":                                                  hex(0),
		"/latest/meta-data/network":                                              "interfaces/",
		"/latest/meta-data/network/interfaces/macs/":                             hex(0) + "/\n" + hex(1) + "/",
		"/latest/meta-data/network/interfaces/macs/" + hex(1) + "/device-number": "1",
	} {
		if got := get(path).Body.String(); got != want {
			t.Errorf("GET %s = %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"/2021-03-24/meta-data/mac", "/latest/meta-data/iam/", "/latest/meta-data/mac/",
		"/latest/meta-data/network/interfaces/macs/" + hex(0) + "/network-card",
		"/latest/meta-data/network/interfaces/macs/" + hex(2) + "/", "/latest/dynamic/instance-identity/pkcs7"} {
		if got := get(path).Code; got != 404 {
			t.Errorf("GET %s = %d, want 404", path, got)
		}
	}
	var identity map[string]any
	err := json.Unmarshal(get("/latest/dynamic/instance-identity/document").Body.Bytes(), &identity)
	if err != nil || identity["region"] != region {
		t.Errorf("the document = %v, %v, want the region in it", identity, err)
	}
	m.Unset("mac")
	m.Refuse(1)
	m.Busy(1)
	for _, want := range []int{503, 401, 404} {
		if got := get("/latest/meta-data/mac").Code; got != want {
			t.Errorf("GET mac = %d, want %d", got, want)
		}
	}
}

// serve has m answer one request, without a network.
func serve(m *Metadata, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

func TestRefused(t *testing.T) {
	start := func(errno error) error { return &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: errno} }
	for _, c := range []struct {
		world string
		err   error
		want  bool
	}{
		{"all is well", nil, false},
		{"no user namespaces left", start(unix.ENOSPC), true},
		{"none in this kernel", start(unix.EINVAL), true},
		{"forbidden", start(unix.EPERM), true},
		{"no such program", start(unix.ENOENT), false},
		{"no capabilities inside", fmt.Errorf("lo up: %w", unix.EPERM), true},
		{"a mistake of ours", fmt.Errorf("route: %w", unix.EINVAL), false},
	} {
		if got := Refused(c.err); (got != "") != c.want {
			t.Errorf("%s: Refused(%v) = %q, want a sentence: %v", c.world, c.err, got, c.want)
		}
	}
}

func TestAttrs(t *testing.T) {
	b := attr(attr(nil, 3, []byte("eth0\x00")), 4|unix.NLA_F_NESTED, u32(1500))
	a, err := attrs(b)
	if err != nil || string(a[3]) != "eth0\x00" || number(a[4]) != 1500 {
		t.Errorf("attrs(%x) = %v, %v", b, a, err)
	}
	for _, bad := range [][]byte{b[:6], {3, 0, 1, 0}, {0, 0, 0, 0}, {255, 255, 1, 0}} {
		if a, err := attrs(bad); err == nil {
			t.Errorf("attrs(%x) = %v, want an error", bad, a)
		}
	}
}
