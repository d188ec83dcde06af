package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	aToken = "AQAEAOaB9K5uSecretSecretSecretSecret-LIGtHu_1K8Wp3A=="
	aMAC   = "0a:ff:00:00:00:01"
)

// at is the endpoint at an address such as 127.0.0.1:8080.
func at(t *testing.T, address string) endpoint {
	t.Helper()
	e, err := parseEndpoint("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// fetch asks at an endpoint as the verb imds does.
func (e endpoint) fetch(t *testing.T, ctx context.Context, q metadataQuery) ([]byte, error) {
	t.Helper()
	nl, err := dialRtnl()
	if err != nil {
		return nil, err
	}
	defer nl.close()
	return imdsAsker{nl: nl, log: logger{to: io.Discard}, query: q, endpoint: e, widen: widenAfter}.fetch(ctx)
}

// fetchMAC asks at an endpoint for mac, and believes what it says.
func (e endpoint) fetchMAC(t *testing.T, ctx context.Context) (hwaddr, error) {
	t.Helper()
	body, err := e.fetch(t, ctx, macQuery())
	if err != nil {
		return hwaddr{}, err
	}
	return parseMAC(body)
}

// patient is a context that ends only if something has gone wrong.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := detachedTimeout(20 * time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A stranger is a server over TCP whose replies are made by hand.
type rawServer struct {
	endpoint
	listener net.Listener
	handlers sync.WaitGroup
	mu       sync.Mutex
	heads    []string // of the requests, as they came
}

// A replyFunc answers one connection, which has sent head.
type replyFunc func(s *rawServer, conn *net.TCPConn, head string)

func listen(t *testing.T, reply replyFunc) *rawServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, listener, reply)
}

// serve answers each connection by reply until the test is over.
func serve(t *testing.T, listener net.Listener, reply replyFunc) *rawServer {
	s := &rawServer{endpoint: at(t, listener.Addr().String()), listener: listener}
	s.handlers.Go(func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			s.handlers.Go(func() {
				defer conn.Close()
				reply(s, conn.(*net.TCPConn), s.readHead(conn))
			})
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *rawServer) close() {
	_ = s.listener.Close()
	s.handlers.Wait()
}

func (s *rawServer) readHead(conn net.Conn) string {
	r, head := bufio.NewReader(conn), ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if head += line; err != nil {
			return head
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads = append(s.heads, head)
	return head
}

// requests lists the heads that begin with method; "" is all.
func (s *rawServer) requests(method string) (heads []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heads {
		if method == "" || strings.HasPrefix(h, method+" ") {
			heads = append(heads, h)
		}
	}
	return heads
}

// scripted answers the nth PUT by the nth of puts, the nth GET by that of gets; the last one for ever.
func scripted(t *testing.T, puts, gets []string) *rawServer {
	t.Helper()
	return listen(t, script(puts, gets))
}

func script(puts, gets []string) replyFunc {
	return func(s *rawServer, conn *net.TCPConn, head string) {
		method, _, _ := strings.Cut(head, " ")
		replies := map[string][]string{"PUT": puts, "GET": gets}[method]
		if n := min(len(s.requests(method)), len(replies)); n > 0 {
			_, _ = io.WriteString(conn, replies[n-1])
		}
	}
}

// silent takes connections and says nothing until they are given up.
func silent(t *testing.T) *rawServer {
	return listen(t, func(_ *rawServer, conn *net.TCPConn, _ string) { _, _ = io.Copy(io.Discard, conn) })
}

// ok is the reply of an IMDS that has body to say.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nServer: EC2ws\r\n\r\n%s", len(body), body)
}

// status is a reply that says no, in the manner of IMDS.
func status(line string) string {
	return "HTTP/1.1 " + line + "\r\nContent-Length: 5\r\nContent-Type: text/html\r\n\r\n<xml>"
}

// The requests as they are on the wire. There is no X-Forwarded-For, which IMDS answers by 403.
func TestAskRequests(t *testing.T) {
	s := scripted(t, []string{ok(aToken)}, []string{ok(aMAC)})
	if got, err := s.fetchMAC(t, patient(t)); err != nil || got != (hwaddr{10, 255, 0, 0, 0, 1}) {
		t.Fatalf("primaryMAC() = %v, %v, want %s", got, err, aMAC)
	}
	want := []string{
		"PUT /latest/api/token HTTP/1.1\r\nHost: " + s.host + "\r\nUser-Agent: eni0\r\nConnection: close\r\n" +
			"X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n",
		"GET /latest/meta-data/mac HTTP/1.1\r\nHost: " + s.host + "\r\nUser-Agent: eni0\r\nConnection: close\r\n" +
			"X-aws-ec2-metadata-token: " + aToken + "\r\n\r\n",
	}
	if got := s.heads; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("the server saw %q, want %q", got, want)
	}
}

// goServer is an IMDS that is net/http's, strict about tokens.
func goServer(t *testing.T, answer http.HandlerFunc) endpoint {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "60" || r.Header.Get("X-Forwarded-For") != "" || r.ContentLength != 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, aToken)
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token") != aToken {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return at(t, s.Listener.Addr().String())
}

func TestAskGoServer(t *testing.T) {
	big := strings.Repeat("user data\n", outputLimit/10)
	for _, c := range []struct {
		world  string
		answer http.HandlerFunc
		want   string
	}{
		{"a length", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI+" at "+r.Host) }, "/latest/meta-data/a/?b=%20 at HOST"},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, ""},
		{"nothing, in chunks", func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, ""},
		{"chunks", func(w http.ResponseWriter, _ *http.Request) {
			for _, word := range []string{"one ", "two ", "three"} {
				_, _ = io.WriteString(w, word)
				_ = http.NewResponseController(w).Flush()
			}
		}, "one two three"},
		{"early hints", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "late")
		}, "late"},
		{"4 MiB in one piece", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big) }, big},
		{"4 MiB in lines", func(w http.ResponseWriter, _ *http.Request) {
			for line := range strings.Lines(big) {
				_, _ = io.WriteString(w, line)
			}
		}, big},
	} {
		e := goServer(t, c.answer)
		got, err := e.fetch(t, patient(t), metadataQuery{path: "/latest/meta-data/a/?b=%20", limit: outputLimit})
		if want := strings.ReplaceAll(c.want, "HOST", e.host); err != nil || string(got) != want {
			t.Errorf("%s: ask() = %.40q (%d bytes), %v, want %.40q (%d bytes)", c.world, got, len(got), err, want, len(want))
		}
	}
}

// times is reply n times, and then what follows.
func times(n int, reply string, then ...string) []string {
	var out []string
	for range n {
		out = append(out, reply)
	}
	return append(out, then...)
}

// What is asked again until it is well: with the same token, unless that was refused.
func TestAskAgain(t *testing.T) {
	token, mac := ok(aToken), ok(aMAC)
	var all sync.WaitGroup
	for _, c := range []struct {
		world      string
		puts, gets []string
		tries      int // PUTs
		questions  int // GETs
	}{
		{"all is well at once", times(1, token), times(1, mac), 1, 1},
		{"fresh tokens are refused three times", times(1, token), times(3, status("401 Unauthorized"), mac), 4, 4},
		{"no tokens to be had at first: 401", times(2, status("401 Unauthorized"), token), times(1, mac), 3, 1},
		{"503 for a while, for the token", times(3, status("503 Service Unavailable"), token), times(1, mac), 4, 1},
		{"503 for a while, for the question", times(1, token), times(3, status("503 Service Unavailable"), mac), 1, 4},
		{"429", times(1, token), times(2, status("429 Too Many Requests"), mac), 1, 3},
		{"408, and 425", times(1, status("408 Request Timeout"), token), times(1, status("425 Too Early"), mac), 2, 2},
		{"garbage", times(1, "SSH-2.0-OpenSSH_9.6\r\n", token), times(1, "nonsense\r\n", mac), 2, 2},
		{"a token that is empty, then one with a line feed", times(1, ok(""), ok(aToken+"\n"), token), times(1, mac), 3, 1},
		{"a length that is two", times(1, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", token), times(1, mac), 2, 1},
		{"an endless head", times(1, "HTTP/1.1 200 "+strings.Repeat("O", headLimit), token), times(1, mac), 2, 1},
		{"an echo of the token", times(1, token), times(1, ok(aToken), mac), 1, 2},
		{"500 without a reason", times(1, status("500"), token), times(1, mac), 2, 1},
		{"mac is not there yet", times(1, token), times(2, status("404 Not Found"), mac), 1, 3},
		{"mac is empty at first", times(1, token), times(2, ok(""), mac), 1, 3},
		{"mac is not one at first", times(1, token), times(1, ok("not-yet"), mac), 1, 2},
		{"no reply", times(1, "", token), times(1, "", mac), 2, 2},
		{"a head cut short", times(1, "HTTP/1.1 20", token), times(1, "HTTP/1.1 200 OK\r\nContent-", mac), 2, 2},
		{"a body cut short", times(1, token[:len(token)-1], token), times(1, mac[:len(mac)-1], mac), 2, 2},
	} {
		s := scripted(t, c.puts, c.gets)
		all.Go(func() {
			if got, err := s.fetchMAC(t, patient(t)); err != nil || got.String() != aMAC {
				t.Errorf("%s: primaryMAC() = %v, %v, want %s", c.world, got, err, aMAC)
			}
			if puts, gets := len(s.requests("PUT")), len(s.requests("GET")); puts != c.tries || gets != c.questions {
				t.Errorf("%s: asked for %d tokens and %d times for the mac, want %d and %d", c.world, puts, gets, c.tries, c.questions)
			}
		})
	}
	all.Wait()
}

// A token is used until it is refused.
func TestAskTokensAreKept(t *testing.T) {
	s := scripted(t, []string{ok("token-1"), ok("token-2")},
		[]string{status("503 Busy"), status("503 Busy"), status("401 Unauthorized"), status("404 Not Found"), ok(aMAC)})
	if _, err := s.fetchMAC(t, patient(t)); err != nil {
		t.Fatal(err)
	}
	for n, token := range []string{"token-1", "token-1", "token-1", "token-2", "token-2"} {
		if head, want := s.requests("GET")[n], "\r\nX-aws-ec2-metadata-token: "+token+"\r\n"; !strings.Contains(head, want) {
			t.Errorf("GET %d is %q, want %q in it", n+1, head, want)
		}
	}
	if n := len(s.requests("PUT")); n != 2 {
		t.Errorf("asked for %d tokens, want 2", n)
	}
}

// A token that is older than its time to live is not used.
func TestAskTokensExpire(t *testing.T) {
	s := scripted(t, []string{ok("token-1"), ok("token-2")}, []string{ok(aMAC)})
	p := imdsPath{endpoint: s.endpoint, query: macQuery(), throttle: &throttle{}, timeout: requestTimeout}
	for _, age := range []time.Duration{0, 50 * time.Second, tokenTTL * time.Second} {
		p.since = p.since.Add(-age)
		if a := p.try(patient(t)); a.err != nil {
			t.Fatal(a.err)
		}
	}
	for n, token := range []string{"token-1", "token-1", "token-2"} {
		if head := s.requests("GET")[n]; !strings.Contains(head, "token: "+token+"\r\n") {
			t.Errorf("GET %d is %q, want %s in it", n+1, head, token)
		}
	}
}

// What asking again would not cure ends it at the first try.
func TestAskFinal(t *testing.T) {
	for _, c := range []struct {
		world, put, get string
		path            string
		want            string
		questions       int
	}{
		{"400 for the token", status("400 Bad Request"), "", macPath, `imds: token: status 400`, 0},
		{"403: IMDS is off", status("403 Forbidden"), "", macPath, `imds: token: status 403: IMDS is switched off, or a proxy or firewall answers in its place`, 0},
		{"404 for the token: no IMDSv2 here", status("404 Not Found"), "", macPath, `imds: token: status 404`, 0},
		{"400", ok(aToken), status("400 Bad Request"), macPath, `imds: /latest/meta-data/mac: status 400`, 1},
		{"403", ok(aToken), status("403 Forbidden"), macPath, `imds: /latest/meta-data/mac: status 403: IMDS is switched off, or a proxy or firewall answers in its place`, 1},
		{"404 on another path", ok(aToken), status("404 Not Found"), "/latest/user-data", `imds: /latest/user-data: status 404`, 1},
		{"204", ok(aToken), "HTTP/1.1 204 No Content\r\n\r\n", macPath, `imds: /latest/meta-data/mac: status 204`, 1},
		{"a redirect", ok(aToken), "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", macPath, `imds: /latest/meta-data/mac: status 301`, 1},
		{"a reason that would write to the terminal", ok(aToken), "HTTP/1.1 400 \x1b[2J\r\n\r\n", macPath, "imds: /latest/meta-data/mac: status 400", 1},
		{"a body too long by its length", ok(aToken), "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", macPath, "imds: /latest/meta-data/mac: more than 65536 bytes", 1},
	} {
		s := scripted(t, []string{c.put}, []string{c.get})
		q := macQuery()
		if c.path != macPath {
			q = metadataQuery{path: c.path, limit: bodyLimit}
		}
		got, err := s.fetch(t, patient(t), q)
		if err == nil || err.Error() != c.want || got != nil {
			t.Errorf("%s: ask() = %q, %v, want %s", c.world, got, err, c.want)
		}
		if puts, gets := len(s.requests("PUT")), len(s.requests("GET")); puts != 1 || gets != c.questions {
			t.Errorf("%s: %d PUTs and %d GETs, want 1 and %d", c.world, puts, gets, c.questions)
		}
	}
}

// A token goes into a header: what could end that, or is too long for one, never gets there.
func TestAskTokens(t *testing.T) {
	long := strings.Repeat("t", tokenLimit)
	var all sync.WaitGroup
	for _, c := range []struct{ world, token, want string }{
		{"a line break", aToken + "\r\nX-Forwarded-For: 10.0.0.1", "imds: token: not a token ("},
		{"a line feed at the end", aToken + "\n", "imds: token: not a token ("},
		{"a carriage return", "a\rb", "imds: token: not a token ("},
		{"a space", "a b", "imds: token: not a token ("},
		{"a tab", "a\tb", "imds: token: not a token ("},
		{"a NUL", "a\x00b", "imds: token: not a token ("},
		{"DEL", "a\x7fb", "imds: token: not a token ("},
		{"beyond ASCII", "a\u00e9b", "imds: token: not a token ("},
		{"nothing", "", "imds: token: not a token ("},
		{"4 KiB and a byte", long + "t", "imds: token: more than 4096 bytes"},
		{"4 KiB", long, ""},
	} {
		s := scripted(t, []string{ok(c.token)}, []string{ok(aMAC)})
		all.Go(func() {
			ctx, cancel := detachedTimeout(300 * time.Millisecond)
			defer cancel()
			got := ""
			if _, err := s.fetchMAC(t, ctx); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, c.want) || got != "" && c.want == "" {
				t.Errorf("a token with %s: %q, want %q", c.world, got, c.want)
			}
			gets := s.requests("GET")
			if sent := len(gets) > 0; sent != (c.want == "") || sent && !strings.Contains(gets[0], "token: "+c.token+"\r\n\r\n") {
				t.Errorf("a token with %s: the server saw %.100q", c.world, gets)
			}
		})
	}
	all.Wait()
}

// Nobody but the endpoint is asked: no redirect is followed, and no proxy of the environment's.
func TestAskNobodyElse(t *testing.T) {
	other := scripted(t, []string{ok(aToken)}, []string{ok(aMAC)})
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://"+other.host)
	}
	moved := "HTTP/1.1 302 Found\r\nLocation: http://" + other.host + macPath + "\r\nContent-Length: 0\r\n\r\n"
	for _, puts := range []string{moved, ok(aToken)} {
		s := scripted(t, []string{puts}, []string{moved})
		_, err := s.fetchMAC(t, patient(t))
		if err == nil || !strings.HasSuffix(err.Error(), `: status 302`) || len(s.requests("PUT")) != 1 {
			t.Errorf("redirected: %v after %d tries, want a 302 after one", err, len(s.requests("PUT")))
		}
	}
	if got := append(other.requests("PUT"), other.requests("GET")...); got != nil {
		t.Errorf("the other server was asked %q, want nothing", got)
	}
}

// reset ends the connection by RST.
func reset(_ *rawServer, conn *net.TCPConn, _ string) { _ = conn.SetLinger(0) }

// closedPort is an endpoint that refuses until file is made to listen; nobody else can.
func closedPort(t *testing.T) (e endpoint, file *os.File) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file = os.NewFile(uintptr(fd), "closed port")
	t.Cleanup(func() { _ = file.Close() })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at(t, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)), file
}

func refusing(t *testing.T) endpoint {
	e, _ := closedPort(t)
	return e
}

// full is an endpoint whose queue of connections is full: the next one is not answered.
func full(t *testing.T) endpoint {
	t.Helper()
	e, file := closedPort(t)
	if err := unix.Listen(int(file.Fd()), 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if conn, err := net.DialTimeout("tcp", e.host, 50*time.Millisecond); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	return e
}

// What is tried again until there is no time left, and what is said then.
func testAskGivesUp(t *testing.T) {
	var all sync.WaitGroup
	token, mac := []string{ok(aToken)}, "/latest/meta-data/mac: "
	for _, c := range []struct {
		world string
		at    func(*testing.T) endpoint
		want  string
	}{
		{"refused", refusing, "token: connect HOST: connection refused"},
		{"no answer to a SYN", full, "token: no answer"},
		{"reset", func(t *testing.T) endpoint { return listen(t, reset).endpoint }, "token: connection reset by peer"},
		{"silent", func(t *testing.T) endpoint { return silent(t).endpoint }, "token: no answer"},
		{"closed at once", func(t *testing.T) endpoint { return scripted(t, nil, nil).endpoint }, "token: the connection ended too early"},
		{"401", func(t *testing.T) endpoint { return scripted(t, token, []string{status("401 Unauthorized")}).endpoint }, mac + "status 401"},
		{"404 on mac", func(t *testing.T) endpoint { return scripted(t, token, []string{status("404 Not Found")}).endpoint }, mac + "status 404"},
		{"503", func(t *testing.T) endpoint { return scripted(t, []string{status("503 Busy")}, nil).endpoint }, "token: status 503"},
		{"503, and then silence", func(t *testing.T) endpoint {
			return listen(t, func(s *rawServer, conn *net.TCPConn, _ string) {
				if len(s.requests("PUT")) > 2 {
					_, _ = io.Copy(io.Discard, conn)
				}
				_, _ = io.WriteString(conn, status("503 Busy"))
			}).endpoint
		}, "token: status 503"},
		{"short", func(t *testing.T) endpoint { return scripted(t, token, []string{ok(aMAC)[:60]}).endpoint }, mac + "the connection ended too early"},
		{"not a MAC", func(t *testing.T) endpoint { return scripted(t, token, []string{ok("eth0\x07")}).endpoint }, mac + "the answer is not a MAC address"},
		{"two MACs", func(t *testing.T) endpoint {
			return scripted(t, token, []string{ok(aMAC + "\n0a:ff:00:00:00:02")}).endpoint
		}, mac + "the answer is not a MAC address"},
		{"nothing", func(t *testing.T) endpoint { return scripted(t, token, []string{ok("")}).endpoint }, mac + "the answer is not a MAC address"},
	} {
		e := c.at(t)
		all.Go(func() {
			ctx, cancel := detachedTimeout(900 * time.Millisecond)
			defer cancel()
			_, err := e.fetchMAC(t, ctx)
			want := regexp.MustCompile("^imds: " + regexp.QuoteMeta(strings.ReplaceAll(c.want, "HOST", e.host)) + ` \((1 try|\d+ tries) in [0-9.]+m?s\)$`)
			if err == nil || !want.MatchString(err.Error()) {
				t.Errorf("%s: primaryMAC() = %v, want %s", c.world, err, want)
			}
		})
	}
	all.Wait()
}

// Connections are refused at first, and some of the next are reset.
func TestAskOpenedLater(t *testing.T) {
	e, file := closedPort(t)
	time.AfterFunc(50*time.Millisecond, func() {
		if err := unix.Listen(int(file.Fd()), 10); err != nil {
			t.Error(err)
		}
		listener, err := net.FileListener(file)
		if err != nil {
			t.Error(err)
			return
		}
		answer := script([]string{ok(aToken)}, []string{ok(aMAC)})
		serve(t, listener, func(s *rawServer, conn *net.TCPConn, head string) {
			if len(s.requests("PUT")) < 3 {
				reset(s, conn, head)
				return
			}
			answer(s, conn, head)
		})
	})
	if got, err := e.fetchMAC(t, patient(t)); err != nil || got.String() != aMAC {
		t.Errorf("primaryMAC() = %v, %v, want %s", got, err, aMAC)
	}
}

// No part of the token is in an error, nor in what imds prints, whatever goes wrong with it in hand.
func TestAskTokenIsSecret(t *testing.T) {
	var all sync.WaitGroup
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, get := range []string{
		"", "HTTP/1.1 200 OK\r\n", status("400 Bad Request"), status("401 Unauthorized"), status("503 Busy"),
		ok("an echo: " + aToken), ok("a part: " + aToken[7:30]), ok(aToken[:16]), status("404 " + aToken), status(aToken),
		aToken + "\r\n\r\n", "HTTP/1.1 200 OK\r\n" + aToken + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + aToken + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + aToken + "\r\n\r\n", chunked + aToken + "\r\n", chunked + "5\r\nhello" + aToken + "\r\n",
		chunked + "5;" + aToken + "\r\nhello\r\n40\r\n" + strings.Repeat(aToken, 2)[:64] + "\r\n0\r\n\r\n",
	} {
		s := scripted(t, []string{ok(aToken)}, []string{get})
		all.Go(func() {
			for _, q := range []metadataQuery{macQuery(), {path: "/any", limit: bodyLimit}} {
				ctx, cancel := detachedTimeout(300 * time.Millisecond)
				body, err := s.fetch(t, ctx, q)
				if cancel(); err == nil || len(s.requests("GET")) == 0 {
					t.Errorf("fetch(%s) = %q, %v for %.30q, want an error", q.path, body, err, get)
					continue
				}
				for n := range len(aToken) - 4 {
					if strings.Contains(err.Error(), aToken[n:n+5]) {
						t.Errorf("fetch(%s) = %v, which has a part of the token", q.path, err)
					}
				}
			}
		})
	}
	all.Wait()
}

// endsSoon runs ask and fails the test unless it ends within seconds of its limit.
func endsSoon(t *testing.T, e endpoint, ctx context.Context) error {
	t.Helper()
	done := make(chan error)
	go func() {
		_, err := e.fetchMAC(t, ctx)
		done <- err
	}()
	<-ctx.Done()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Error("ask() goes on after the end of its limit")
		return nil
	}
}

// drip says a byte of an endless header every now and then.
func drip(_ *rawServer, conn *net.TCPConn, _ string) {
	_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: ")
	for err == nil {
		time.Sleep(5 * time.Millisecond)
		_, err = io.WriteString(conn, "x")
	}
}

// flood says as much as the other takes, which is not much.
func flood(_ *rawServer, conn *net.TCPConn, _ string) {
	_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	for err == nil {
		_, err = conn.Write(make([]byte, 1<<16))
	}
}

func TestAskEndsWithItsLimit(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("asking", func(t *testing.T) {
		var all sync.WaitGroup
		for world, e := range map[string]endpoint{
			"silent": silent(t).endpoint, "dripping": listen(t, drip).endpoint, "refused": refusing(t), "no answer to a SYN": full(t),
			"refused again and again": scripted(t, []string{status("401 no")}, nil).endpoint,
		} {
			all.Go(func() { testAskEnds(t, world, e) })
		}
		all.Wait()
	})
	waitForGoroutines(t, before)
}

func testAskEnds(t *testing.T, world string, e endpoint) {
	deadline, cancel := detachedTimeout(100 * time.Millisecond)
	defer cancel()
	if err := endsSoon(t, e, deadline); err == nil {
		t.Errorf("%s: ask() = nil at its deadline, want an error", world)
	}
	signal, interrupt := context.WithCancelCause(context.Background())
	time.AfterFunc(100*time.Millisecond, func() { interrupt(errInterrupted) })
	if err := endsSoon(t, e, signal); err == nil {
		t.Errorf("%s: ask() = nil when interrupted, want an error", world)
	}
	if err := endsSoon(t, e, signal); err == nil {
		t.Errorf("%s: ask() = nil under a limit that has ended, want an error", world)
	}
}

// waitForGoroutines fails the test unless the goroutines that are left over end.
func waitForGoroutines(t *testing.T, want int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, want %d:\n%s", runtime.NumGoroutine(), want, stacks[:runtime.Stack(stacks, true)])
}

// An answer, a final error and a way that is given up leave nobody behind either.
func TestAskLeavesNobodyBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("asking", func(t *testing.T) {
		for range 20 {
			if _, err := scripted(t, []string{ok(aToken)}, []string{ok(aMAC)}).fetchMAC(t, context.Background()); err != nil {
				t.Error(err)
			}
			for _, s := range []*rawServer{scripted(t, []string{status("403 no")}, nil), listen(t, flood)} {
				if _, err := s.fetchMAC(t, context.Background()); !isFinal(err) {
					t.Errorf("primaryMAC() = %v, want a final error", err)
				}
			}
		}
	})
	waitForGoroutines(t, before)
}

// The tries that are spoken of are those that the server saw, or one more, which was cut off.
func TestAskCountsTries(t *testing.T) {
	s := scripted(t, []string{status("503 Busy")}, nil)
	ctx, cancel := detachedTimeout(200 * time.Millisecond)
	defer cancel()
	_, err := s.fetchMAC(t, ctx)
	tries := len(s.requests("PUT"))
	if a, b := "("+countOf(tries, "try", "tries")+" in ", "("+countOf(tries+1, "try", "tries")+" in "; err == nil || !strings.Contains(err.Error(), a) && !strings.Contains(err.Error(), b) {
		t.Errorf("primaryMAC() = %v, want %s...", err, a)
	}
}

// This takes a second, and leaves nobody behind.
func TestAskPatiently(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("asking", testAskGivesUp)
	waitForGoroutines(t, before)
}

// aRace is a race with those links and addresses, as of its start, by the routing table so far.
func aRace(e endpoint, links []link, addresses []address) *race {
	a := imdsAsker{log: logger{to: io.Discard}, query: macQuery(), endpoint: e, widen: time.Hour, believe: believeMAC, mayBorrow: func() {}}
	return &race{imdsAsker: a, start: time.Now(), links: links, addresses: addresses}
}

// come lets paths of a race come to errors.
func (r *race) come(errs map[pathKey]error) {
	for k, err := range errs {
		p := r.find(k)
		if p == nil {
			l, _ := linkByIndex(r.links, k.index)
			p = &racePath{pathKey: k, name: l.name}
			r.paths = append(r.paths, p)
		}
		p.tries++
		p.err = err
	}
	slices.SortFunc(r.paths, func(a, b *racePath) int {
		return cmp.Or(cmp.Compare(a.index, b.index), strings.Compare(fmt.Sprint(a.pathKey), fmt.Sprint(b.pathKey)))
	})
}

// Which paths join, and when.
func TestRaceDue(t *testing.T) {
	v4, v6 := at(t, "169.254.169.254"), at(t, "[fd00:ec2::254]")
	eth := func(index int32, up bool) link {
		return link{index: index, name: fmt.Sprintf("eth%d", index-2), ethernet: true, up: up, addr: hwaddr{2, byte(index)}}
	}
	has := func(index int32, ip string) address {
		p := netip.MustParsePrefix(ip)
		return address{index: index, ip: p, ipv6: p.Addr().Is6()}
	}
	linkLocal := has(2, "fe80::1/64")
	linkLocal.scope = unix.RT_SCOPE_LINK
	temporary := has(2, "10.0.0.9/32")
	temporary.proto = tempProtoDown
	table, table6 := pathKey{}, pathKey{ipv6: true}
	refused, noRoute, off := fmt.Errorf("connect: %w", unix.ECONNREFUSED), fmt.Errorf("connect: %w", unix.ENETUNREACH), taggedError{errIMDSOff, errFinal}
	by := func(keys ...pathKey) []pathKey { return keys }
	eni := func(index int32) pathKey { return pathKey{index: index} }
	temp := func(index int32) pathKey { return pathKey{index: index, temporary: true} }
	two, ip := []link{eth(2, true), eth(3, false)}, []address{has(2, "10.0.0.2/24")}
	bridged := []link{eth(2, true), eth(3, true), eth(4, false), {index: 5, name: "br0", kind: "bridge", ethernet: true, up: true}}
	bridged[0].master, bridged[1].master = 5, 5
	vrf := []link{eth(2, true), {index: 5, name: "vrf0", kind: "vrf", up: true}}
	vrf[0].master = 5
	for _, c := range []struct {
		world     string
		endpoint  endpoint
		links     []link
		addresses []address
		come      map[pathKey]error // paths that have joined
		answered  bool              // by a path without a temporary address
		late      bool              // longer than widen
		want      []pathKey
	}{
		{"at first", v4, two, ip, nil, false, false, by(table)},
		{"nothing heard so far", v4, two, ip, map[pathKey]error{table: nil}, false, false, nil},
		{"refused", v4, two, ip, map[pathKey]error{table: refused}, false, false, nil},
		{"refused for long", v4, two, ip, map[pathKey]error{table: refused}, false, true, by(eni(2))},
		{"no route", v4, two, ip, map[pathKey]error{table: noRoute}, false, false, by(eni(2))},
		{"a prohibit route", v4, two, ip, map[pathKey]error{table: unix.EACCES}, false, false, by(eni(2))},
		{"a blackhole route", v4, two, ip, map[pathKey]error{table: unix.EINVAL}, false, false, by(eni(2))},
		{"an answer of no use", v4, two, ip, map[pathKey]error{table: errors.New("status 503")}, true, false, by(eni(2))},
		{"the ENI has joined", v4, two, ip, map[pathKey]error{table: refused, eni(2): refused}, false, true, nil},
		{"another ENI gets an address", v4, []link{eth(2, true), eth(3, true)}, append(ip, has(3, "10.0.0.3/24")), map[pathKey]error{table: refused, eni(2): refused}, false, true, by(eni(3))},
		{"before any network", v4, two, nil, map[pathKey]error{table: noRoute}, false, false, by(temp(2), temp(3))},
		{"an address of a link that is down", v4, two, []address{has(3, "10.0.0.2/24")}, map[pathKey]error{table: noRoute}, false, false, by(temp(2), temp(3))},
		{"an address while borrowing", v4, two, ip, map[pathKey]error{table: noRoute, temp(2): refused, temp(3): refused}, false, false, by(eni(2))},
		{"a temporary one", v4, two, []address{temporary}, map[pathKey]error{table: noRoute, temp(2): refused, temp(3): refused}, false, false, nil},
		{"one that does not say so", v4, two, []address{has(2, "10.0.0.9/32")}, map[pathKey]error{table: noRoute, temp(2): refused, temp(3): refused}, false, false, nil},
		{"IMDS has answered somewhere", v4, two, nil, map[pathKey]error{table: off}, true, false, nil},
		{"the ports of a bridge, and one that is free", v4, bridged, []address{has(5, "10.0.0.2/24")}, map[pathKey]error{table: refused}, false, true, nil},
		{"a VRF's port", v4, vrf, ip, map[pathKey]error{table: refused}, false, true, by(eni(2))},
		{"loopback", at(t, "127.0.0.1"), two, nil, map[pathKey]error{table: refused}, false, true, nil},
		{"IPv6 by -imds", v6, two, append(ip, has(2, "2001:db8::2/64")), map[pathKey]error{table6: noRoute}, false, false, by(pathKey{index: 2, ipv6: true})},
		{"IPv6 by -imds, nobody has an address", v6, two, append(ip, linkLocal), map[pathKey]error{table6: noRoute}, false, true, nil},
		{"IPv6 only", v4, two, []address{has(2, "2001:db8::2/64")}, map[pathKey]error{table: noRoute}, false, false, by(temp(2), temp(3), table6)},
		{"IPv6 too", v4, two, append(ip, has(2, "2001:db8::2/64")), map[pathKey]error{table: refused, table6: noRoute}, false, false, by(pathKey{index: 2, ipv6: true})},
	} {
		r := aRace(c.endpoint, c.links, c.addresses)
		r.come(c.come)
		r.answered, r.reached = c.answered, c.answered
		if c.late {
			r.widen = 0
		}
		var got []pathKey
		for _, e := range r.endpoints() {
			got = append(got, r.due(e)...)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: due() = %v, want %v", c.world, got, c.want)
		}
		if r.mayBorrow = nil; slices.ContainsFunc(r.due(v4), func(k pathKey) bool { return k.temporary }) {
			t.Errorf("%s: due() = %v where nothing may be borrowed", c.world, r.due(v4))
		}
	}
}

// The path of the routing table is alone for a second, and for a fourth of the budget at most.
func TestAskerWidens(t *testing.T) {
	for budget, want := range map[time.Duration]time.Duration{time.Minute: time.Second, 5 * time.Second: time.Second, time.Second: 250 * time.Millisecond} {
		c := &call{verbOptions: verbOptions{timeout: budget}}
		if got := c.asker(nil, macQuery()).widen; got != want {
			t.Errorf("with a budget of %v the ENIs join after %v, want %v", budget, got, want)
		}
	}
}

// When no answer can come any more, and what is said then.
func TestRaceIsOver(t *testing.T) {
	links := []link{{index: 2, name: "eth0", ethernet: true, up: true}, {index: 3, name: "eth1", ethernet: true, up: true}}
	off, busy, noRoute := taggedError{fmt.Errorf("status 403: %w", errIMDSOff), errFinal}, errors.New("status 503"), fmt.Errorf("connect: %w", unix.ENETUNREACH)
	table, eth0, eth1, temp0, temp1 := pathKey{}, pathKey{index: 2}, pathKey{index: 3}, pathKey{index: 2, temporary: true}, pathKey{index: 3, temporary: true}
	mayNot := permissionError(unix.EPERM)
	const said = "status 403: IMDS is switched off, or a proxy or firewall answers in its place"
	for _, c := range []struct {
		world string
		come  map[pathKey]error
		gone  pathKey
		over  bool
		want  []string
	}{
		{"nothing so far", map[pathKey]error{table: nil}, eth1, false, nil},
		{"the routing table's path alone", map[pathKey]error{table: off}, eth1, true, []string{"imds: " + said}},
		{"it, and an ENI that goes on", map[pathKey]error{table: off, eth0: busy}, eth1, false, []string{"imds: " + said, "imds: by eth0: status 503 (1 try in T)"}},
		{"it, and an ENI that has not said anything", map[pathKey]error{table: off, eth0: nil}, eth1, false, []string{"imds: " + said}},
		{"it, and both ENIs", map[pathKey]error{table: off, eth0: off, eth1: off}, table, true, []string{"imds: " + said, "imds: by eth0: " + said, "imds: by eth1: " + said}},
		{"both ENIs, and no route", map[pathKey]error{table: noRoute, eth0: off, eth1: off}, table, true, []string{"imds: by eth0: " + said, "imds: by eth1: " + said}},
		{"both ENIs, but the routing table's path goes on", map[pathKey]error{table: busy, eth0: off, eth1: off}, table, false, []string{"imds: status 503 (1 try in T)", "imds: by eth0: " + said, "imds: by eth1: " + said}},
		{"one ENI, and the other is gone", map[pathKey]error{table: noRoute, eth0: off, eth1: errLinkGone}, eth1, true, []string{"imds: by eth0: " + said, "imds: by eth1: link is gone (1 try in T)"}},
		{"a temporary address", map[pathKey]error{table: noRoute, temp0: off}, eth1, true, []string{"imds: by eth0: " + said}},
		{"IPv6 goes on where IPv4 has ended", map[pathKey]error{table: noRoute, eth0: off, {index: 2, ipv6: true}: busy}, eth1, true, []string{"imds: by eth0: " + said, "imds: by IPv6: by eth0: status 503 (1 try in T)"}},
		{"IPv4 goes on where IPv6 has ended", map[pathKey]error{table: noRoute, {index: 2, ipv6: true}: off, eth0: busy}, eth1, false, []string{"imds: by eth0: status 503 (1 try in T)", "imds: by IPv6: by eth0: " + said}},
		{"it may not borrow, and an address may come", map[pathKey]error{table: noRoute, temp0: mayNot, temp1: mayNot}, table, false, []string{"imds: by eth0: " + mayNot.Error() + " (1 try in T)", "imds: by eth1: " + mayNot.Error() + " (1 try in T)"}},
		{"it may not borrow by one", map[pathKey]error{table: noRoute, temp0: mayNot, temp1: off}, table, true, []string{"imds: by eth0: " + mayNot.Error() + " (1 try in T)", "imds: by eth1: " + said}},
		{"no route, and no other path", map[pathKey]error{table: noRoute}, eth1, false, []string{"imds: connect: network is unreachable (1 try in T)"}},
	} {
		addresses := []address{{index: 2, ip: netip.MustParsePrefix("10.0.0.2/24")}}
		if _, ok := c.come[temp0]; ok || len(c.come) == 1 {
			addresses = nil // and so nobody else to ask
		}
		r := aRace(at(t, "169.254.169.254"), links, addresses)
		r.answered, r.reached = true, true
		r.come(c.come)
		asked := slices.ContainsFunc(r.paths, func(p *racePath) bool { return p.index == 2 }) &&
			slices.ContainsFunc(r.paths, func(p *racePath) bool { return p.index == 3 })
		if c.over && !asked && r.isOver() {
			t.Errorf("%s: isOver() although an ENI that is up may get an address yet", c.world)
		}
		r.widen = 0
		if p := r.find(c.gone); p != nil && c.gone != table {
			p.gone = true
		}
		if got := r.isOver(); got != c.over {
			t.Errorf("%s: isOver() = %v, want %v", c.world, got, c.over)
		}
		got := ""
		if err := r.failure(context.Background(), nil); err.Error() != "imds: no answer yet" {
			got = regexp.MustCompile(`in [0-9.]+.?s\)`).ReplaceAllString(err.Error(), "in T)")
		}
		if want := strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s: failure() = %s, want %s", c.world, got, want)
		}
	}
}

// An answer is believed if it is an ENI of ours, whichever path it comes by, and whenever that is probed.
func TestRaceBelieves(t *testing.T) {
	ours, foreign := []byte("0a:ff:00:00:00:01\n"), []byte("0e:00:00:00:00:99")
	eth0 := link{index: 2, name: "eth0", ethernet: true, addr: hwaddr{0x0a, 0xff, 0, 0, 0, 1}}
	for _, c := range []struct {
		world  string
		links  []link
		bodies [][]byte
		want   string
	}{
		{"ours", []link{eth0}, [][]byte{ours}, string(ours)},
		{"a foreign one", []link{eth0}, [][]byte{foreign}, ""},
		{"ours after a foreign one", []link{eth0}, [][]byte{foreign, nil, ours}, string(ours)},
		{"not probed yet", nil, [][]byte{ours}, ""},
		{"a VLAN's", []link{{index: 3, name: "eth0.5", kind: "vlan", ethernet: true, addr: eth0.addr}}, [][]byte{ours}, ""},
		{"two have it: another may judge", []link{eth0, {index: 3, name: "eth1", ethernet: true, addr: eth0.addr}}, [][]byte{ours}, string(ours)},
	} {
		r := aRace(at(t, "169.254.169.254"), c.links, nil)
		for n, body := range c.bodies {
			r.paths = append(r.paths, &racePath{pathKey: pathKey{index: int32(n)}, body: body})
		}
		if got := string(r.believed()); got != c.want {
			t.Errorf("%s: believed() = %q, want %q", c.world, got, c.want)
		}
		if c.want == "" && !errors.Is(r.paths[0].err, errNotProbed) {
			t.Errorf("%s: the path's error is %v, want %v", c.world, r.paths[0].err, errNotProbed)
		}
	}
}

// A path asks by the index of its link, whatever the name of that is by now. By one that is not there nobody asks
// again.
func TestAskByDevice(t *testing.T) {
	for index, want := range map[int32]string{9999: "link is gone", 1: "connection refused"} {
		e := refusing(t)
		ctx, cancel := detachedTimeout(100 * time.Millisecond)
		var got []attempt
		p := imdsPath{endpoint: e, device: link{index: index, name: "former"}, query: macQuery(), throttle: &throttle{}, timeout: requestTimeout}
		end := p.ask(ctx, func(a attempt) { got = append(got, a) })
		cancel()
		if want := "token: connect " + e.host + ": " + want; len(got) == 0 || got[0].err.Error() != want || errors.Is(end, errLinkGone) != (len(got) == 1) {
			t.Errorf("ask(index %d) = %v after %+v, want %s", index, end, got, want)
		}
	}
}

// A token is an answer, even if nothing comes after it.
func TestAskTokenIsAnAnswer(t *testing.T) {
	s := scripted(t, []string{ok(aToken)}, []string{""})
	p := imdsPath{endpoint: s.endpoint, query: macQuery(), throttle: &throttle{}, timeout: requestTimeout}
	if a := p.try(patient(t)); a.status != 200 || a.err == nil || a.body != nil {
		t.Errorf("try() = %+v, want the status 200 and an error", a)
	}
	if a := p.try(patient(t)); a.status != 0 || a.err == nil {
		t.Errorf("try() with the same token = %+v, want an error alone", a)
	}
}

// A request that has met its limit has twice the time the next time, so that a slow IMDS is heard.
func TestAskOfTheSlow(t *testing.T) {
	const slow = 60 * time.Millisecond
	s := listen(t, func(s *rawServer, conn *net.TCPConn, head string) {
		time.Sleep(slow)
		script([]string{ok(aToken)}, []string{ok(aMAC)})(s, conn, head)
	})
	p := imdsPath{endpoint: s.endpoint, query: macQuery(), throttle: &throttle{}, timeout: slow / 4}
	ctx, cancel := context.WithCancel(patient(t))
	var got []attempt
	p.ask(ctx, func(a attempt) {
		if got = append(got, a); a.err == nil {
			cancel()
		}
	})
	if n := len(got); n < 3 || got[0].err.Error() != "token: no answer" || string(got[n-1].body) != aMAC || p.timeout < slow {
		t.Errorf("ask() = %+v with a limit of now %v, want no answer twice, and then %s", got, p.timeout, aMAC)
	}
}

// After a 429 the paths ask in turn, and less and less often.
func TestAskThrottled(t *testing.T) {
	s := scripted(t, []string{ok(aToken)}, []string{status("429 Too Many Requests")})
	ctx, cancel := detachedTimeout(900 * time.Millisecond)
	defer cancel()
	shared := &throttle{}
	var all sync.WaitGroup
	for range 9 {
		all.Go(func() {
			p := imdsPath{endpoint: s.endpoint, query: macQuery(), throttle: shared, timeout: requestTimeout, token: aToken, since: time.Now()}
			p.ask(ctx, func(attempt) {})
		})
	}
	all.Wait()
	// The 9 tries of the beginning, then after 50, 100, 200 and 400 ms one each, or two where the next path has
	// begun to wait before the last one had its 429.
	if n := len(s.requests("")); n < 9 || n > 9+2*4+1 {
		t.Errorf("9 paths asked %d times in 900ms, want at most 18", n)
	}
}

// A path that has its turn after a 429 of long ago keeps its own pauses.
func TestThrottleKeepsPauses(t *testing.T) {
	th := throttle{pause: time.Nanosecond}
	ctx, cancel := detachedTimeout(50 * time.Millisecond)
	defer cancel()
	if _, ok := th.wait(ctx, time.Hour); ok {
		t.Error("wait() did not wait for the path's own pause")
	}
	if _, ok := th.wait(patient(t), time.Nanosecond); !ok {
		t.Error("wait() did not come to its end")
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	for _, want := range []time.Duration{50, 100, 200, 400, 800, 1600, 2000, 2000} {
		_, round := th.state()
		th.slowDown(round)
		th.slowDown(round) // an answer to an earlier try
		if pause, _ := th.state(); pause != want*time.Millisecond {
			t.Errorf("pause = %v, want %dms", pause, want)
		}
	}
}

// wires are replies of any kind, read with a limit of 16 bytes.
var wires = []struct {
	world, wire string
	body        string
	err         string
	final       bool
}{
	{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "", false},
	{"more than the length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world", "hello", "", false},
	{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length:5 \r\n\r\nhello", "hello", "", false},
	{"no reason, and bare line feeds", "HTTP/1.0 200\nContent-Length: 5\n\nhello", "hello", "", false},
	{"until the end, HTTP/1.0", "HTTP/1.0 200 OK\r\nServer: busybox\r\n\r\nhello", "hello", "", false},
	{"until the end, HTTP/1.1", "HTTP/1.1 200 OK\r\n\r\nhello", "hello", "", false},
	{"until the end, which is at once", "HTTP/1.1 200 OK\r\n\r\n", "", "", false},
	{"no bytes", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "", false},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n", "hello0123456789", "", false},
	{"chunks with extensions", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n1 ; c=\"d\"\r\n!\r\n00;e\r\n\r\n", "hello!", "", false},
	{"chunks and trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n", "hello", "", false},
	{"no chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", "", false},
	{"a length beside chunks counts for nothing", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", "", false},
	{"interim replies first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", "", false},
	{"16 bytes by length", "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef", "0123456789abcdef", "", false},
	{"16 bytes until the end", "HTTP/1.1 200 OK\r\n\r\n0123456789abcdef", "0123456789abcdef", "", false},
	{"16 bytes in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n89abcdef\r\n0\r\n\r\n", "0123456789abcdef", "", false},
	{"17 by length", "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n0123456789abcdefg", "", "more than 16 bytes", true},
	{"17 until the end", "HTTP/1.1 200 OK\r\n\r\n0123456789abcdefg", "", "more than 16 bytes", true},
	{"17 in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n9\r\n89abcdefg\r\n0\r\n\r\n", "", "more than 16 bytes", true},
	{"nothing", "", "", "the connection ended too early", false},
	{"the status cut short", "HTTP/1.1 2", "", "the connection ended too early", false},
	{"the headers cut short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "", "the connection ended too early", false},
	{"short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "", "the connection ended too early", false},
	{"an interim reply and no more", "HTTP/1.1 100 Continue\r\n\r\n", "", "the connection ended too early", false},
	{"cut short in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell", "", "the connection ended too early", false},
	{"cut short at the end of a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", "", "the connection ended too early", false},
	{"cut short between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "", "the connection ended too early", false},
	{"a chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "", "a chunk that does not end", false},
	{"a size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", "", "not a chunk", false},
	{"an empty size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "", "not a chunk", false},
	{"a negative size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", "", "not a chunk", false},
	{"a size in C", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", "", "not a chunk", false},
	{"a size beyond 64 bits", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n", "", "not a chunk", false},
	{"2 GiB less a byte", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\nhello\r\n", "", "more than 16 bytes", true},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "", "not a content length", false},
	{"two lengths in one", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "", "not a content length", false},
	{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "", "not a content length", false},
	{"a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "", "not a content length", false},
	{"an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", "", "not a content length", false},
	{"a length beyond 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello", "", "not a content length", false},
	{"compressed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", "a transfer encoding other than chunked", false},
	{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", "", "not HTTP/1.0 or HTTP/1.1", false},
	{"HTTP/0.9", "0a:ff:00:00:00:01\n", "", "not HTTP/1.0 or HTTP/1.1", false},
	{"a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "", "not HTTP/1.0 or HTTP/1.1", false},
	{"a status with a sign", "HTTP/1.1 +20 OK\r\n\r\n", "", "not HTTP/1.0 or HTTP/1.1", false},
	{"a header that is none", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", "", "not a header", false},
	{"an endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", headLimit/5), "", "a head of more than 16384 bytes", false},
	{"an endless line", "HTTP/1.1 200 " + strings.Repeat("O", headLimit), "", "a head of more than 16384 bytes", false},
	{"endless interim replies", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", headLimit/20), "", "a head of more than 16384 bytes", false},
	{"a head of nearly 16 KiB", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", headLimit-100) + "\r\nContent-Length: 5\r\n\r\nhello", "hello", "", false},
}

func TestReadReply(t *testing.T) {
	for _, c := range wires {
		r, err := readReply(strings.NewReader(c.wire), 16)
		if c.err == "" && (err != nil || string(r.body) != c.body || r.status != 200) {
			t.Errorf("%s: readReply() = %d, %q, %v, want %q", c.world, r.status, r.body, err, c.body)
		}
		if c.err != "" && (err == nil || err.Error() != c.err || isFinal(err) != c.final) {
			t.Errorf("%s: readReply() = %q, %v (final %v), want %s (final %v)", c.world, r.body, err, isFinal(err), c.err, c.final)
		}
	}
}

// RFC 9112, 6.1: a client "MUST treat the message as if the framing is faulty".
func TestReadReplyChunksInHTTP10(t *testing.T) {
	r, err := readReply(strings.NewReader("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 16)
	if err == nil {
		t.Errorf("readReply(chunks in HTTP/1.0) = %q, want an error", r.body)
	}
}

// Of a reply that is not 200 the body is not waited for.
func TestReadReplyStatus(t *testing.T) {
	for _, rest := range []string{"Content-Length: 99\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nnonsense", "\r\n", "Content-Length: 99999999\r\n\r\n"} {
		r, err := readReply(strings.NewReader("HTTP/1.1 404 Not  Found\r\n"+rest), 16)
		if err != nil || r.status != 404 || r.body != nil {
			t.Errorf("readReply(404, %q) = %+v, %v, want a 404 without a body", rest, r, err)
		}
	}
}

// 64 KiB in small chunks, and 4 MiB in chunks such as servers make, are within the limits.
func TestReadReplyManyChunks(t *testing.T) {
	for _, c := range []struct{ size, total int }{{16, bodyLimit}, {1 << 10, outputLimit}, {1 << 15, outputLimit}} {
		chunk := fmt.Sprintf("%x\r\n%s\r\n", c.size, strings.Repeat("x", c.size))
		wire := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, c.total/c.size) + "0\r\n\r\n"
		if r, err := readReply(strings.NewReader(wire), c.total); err != nil || len(r.body) != c.total {
			t.Errorf("readReply(%d bytes in chunks of %d) = %d bytes, %v", c.total, c.size, len(r.body), err)
		}
	}
}

// endless reads as head, and then rest for ever.
type endless struct {
	head, rest string
	read       int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.head)
	if e.head = e.head[n:]; n == 0 {
		for n+len(e.rest) <= len(b) {
			n += copy(b[n:], e.rest)
		}
	}
	e.read += n
	return n, nil
}

func TestReadReplyEndless(t *testing.T) {
	const limit = 1 << 10
	for world, e := range map[string]*endless{
		"status":            {head: "HTTP/1.1 ", rest: "2"},
		"header":            {head: "HTTP/1.1 200 OK\r\n", rest: "x"},
		"headers":           {head: "HTTP/1.1 200 OK\r\n", rest: "X: y\n"},
		"interim replies":   {rest: "HTTP/1.1 100 \n\n"},
		"body":              {head: "HTTP/1.1 200 OK\r\n\r\n", rest: "x"},
		"body and a length": {head: "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", rest: "x"},
		"chunk's extension": {head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", rest: "x"},
		"chunk's size":      {head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", rest: "0"},
		"chunks":            {head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", rest: "1\nx\n"},
		"long extensions":   {head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", rest: "1;" + strings.Repeat("x", 1000) + "\nx\n"},
		"chunks of a KiB":   {head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", rest: "400\n" + strings.Repeat("x", 1<<10) + "\n"},
	} {
		r, err := readReply(e, limit)
		if err == nil {
			t.Errorf("endless %s: readReply() = %d bytes, %v, want an error", world, len(r.body), err)
		}
		if most := 2*headLimit + 2*limit + 4096; e.read > most {
			t.Errorf("endless %s: readReply() read %d bytes, want at most %d", world, e.read, most)
		}
	}
}

func TestParseMAC(t *testing.T) {
	want := hwaddr{0x0a, 0xff, 0x12, 0xab, 0xcd, 0xef}
	for _, s := range []string{"0a:ff:12:ab:cd:ef", "0A:FF:12:AB:CD:EF", "0a:ff:12:ab:cd:ef\n", " \t0a:ff:12:ab:cd:ef \r\n"} {
		if got, err := parseMAC([]byte(s)); err != nil || got != want {
			t.Errorf("parseMAC(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "0a:ff:12:ab:cd", "0a:ff:12:ab:cd:ef:00", "0a-ff-12-ab-cd-ef", "0aff.12ab.cdef", "0aff12abcdef", "0a:ff:12:ab:cd:eg", "0aff:12:ab:cd:ef:",
		":0a:ff:12:abcd:ef", "a:ff:12:ab:cd:ef", "0a:ff:12:ab:cd:ef 0a:ff:12:ab:cd:ee", "0a:ff:12:ab:cd:ef\n0a:ff:12:ab:cd:ee", "0a:ff:12:ab:cd:\nef", "0a:ff:12::ab:cdef",
	} {
		const want = "the answer is not a MAC address"
		if got, err := parseMAC([]byte(s)); err == nil || err.Error() != want {
			t.Errorf("parseMAC(%q) = %v, %v, want %s", s, got, err, want)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for s, want := range map[string]endpoint{
		defaultIMDS:                     {netip.MustParseAddr("169.254.169.254"), 80, "169.254.169.254"},
		"http://169.254.169.254/":       {netip.MustParseAddr("169.254.169.254"), 80, "169.254.169.254"},
		"http://[fd00:ec2::254]":        {netip.MustParseAddr("fd00:ec2::254"), 80, "[fd00:ec2::254]"},
		"http://[::1]:8080/":            {netip.MustParseAddr("::1"), 8080, "[::1]:8080"},
		"http://127.0.0.1:8080":         {netip.MustParseAddr("127.0.0.1"), 8080, "127.0.0.1:8080"},
		"http://255.255.255.255:65535/": {netip.MustParseAddr("255.255.255.255"), 65535, "255.255.255.255:65535"},
	} {
		if got, err := parseEndpoint(s); err != nil || got != want {
			t.Errorf("parseEndpoint(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	const form, quad, port = "not a URL of the form http://ADDRESS[:PORT]", "not an IPv4 address, nor an IPv6 address in brackets: ", "not a port"
	for s, want := range map[string]string{
		"": form, "169.254.169.254": form, "https://169.254.169.254": form, "HTTP://169.254.169.254": form, "http:/169.254.169.254": form,
		"http://": quad, "http://localhost": quad, "http://fd00:ec2::254": quad, "http://[1.2.3.4]": quad, "http://[::ffff:1.2.3.4]": quad, "http://[fe80::1%eth0]": quad, "http://[]": quad,
		"http://[::1]:": port, "http://[::1]:0": port, "http://[::1]8080": "not an IPv6 address in brackets", "http://[::1": "not an IPv6 address in brackets", "http://169.254.169": quad, "http://1.2.3.4.5": quad, "http://1.2.3.256": quad,
		"http://1.2.3.04": quad, "http://1.2.3.+4": quad, "http://1.2.3.": quad, "http://1.2.3.4/latest": quad, "http://1.2.3.4//": quad, "http://user@1.2.3.4": quad,
		"http:// 1.2.3.4": quad, "http://1.2.3.4\r\nX: y": quad, "http://1.2.3.4?": quad,
		"http://1.2.3.4:": port, "http://1.2.3.4:0": port, "http://1.2.3.4:65536": port, "http://1.2.3.4:-1": port, "http://1.2.3.4:http": port,
		"http://1.2.3.4:80:81": port, "http://1.2.3.4:80/latest": port, "http://1.2.3.4:80\r\nX: y": port,
	} {
		got, err := parseEndpoint(s)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("parseEndpoint(%q) = %v, %v, want %s", s, got, err, want)
		}
	}
}

func TestResolvePath(t *testing.T) {
	for path, want := range map[string]string{
		"mac": "/latest/meta-data/mac", "network/interfaces/macs/": "/latest/meta-data/network/interfaces/macs/",
		"/latest/user-data": "/latest/user-data", "/": "/", "/a?b=c#d": "/a?b=c#d", "%20": "/latest/meta-data/%20",
	} {
		if got, err := resolvePath(path); err != nil || got != want {
			t.Errorf("resolvePath(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
	if got, err := resolvePath(""); err == nil {
		t.Errorf("resolvePath(nothing) = %q, want an error", got)
	}
	for c := range 256 {
		path := "a" + string([]byte{byte(c)}) + "b"
		if got, err := resolvePath(path); (err == nil) != (c > ' ' && c < 0x7f) {
			t.Errorf("resolvePath(%q) = %q, %v", path, got, err)
		}
	}
}

// netHTTP reads a reply as net/http does; ok says that it is a 200 whose body is within the limit.
func netHTTP(wire []byte, limit int) (body []byte, ok bool) {
	r := bufio.NewReader(bytes.NewReader(wire))
	for {
		reply, err := http.ReadResponse(r, nil)
		switch {
		case err != nil:
			return nil, false
		case reply.StatusCode >= 100 && reply.StatusCode < 200:
			continue // interim: http.Transport skips them, ReadResponse does not
		}
		body, err := io.ReadAll(io.LimitReader(reply.Body, int64(limit)+1))
		return body, err == nil && reply.StatusCode == 200 && len(body) <= limit
	}
}

// What both read, both read alike.
func FuzzReadReply(f *testing.F) {
	for _, c := range wires {
		if len(c.wire) < 1000 { // go test takes its time over making long ones short
			f.Add([]byte(c.wire))
		}
	}
	f.Add([]byte("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := readReply(bytes.NewReader(wire), 16)
		if err != nil {
			return
		}
		if len(r.body) > 16 {
			t.Errorf("readReply() = %d bytes, want at most 16", len(r.body))
		}
		if want, ok := netHTTP(wire, 16); ok && r.status == 200 && !bytes.Equal(r.body, want) {
			t.Errorf("readReply() = %q, net/http: %q", r.body, want)
		}
	})
}

// The form with five colons is a MAC where it is one to net.ParseMAC; no other form is.
func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{aMAC, "0A-FF-00-00-00-01", " 0a:ff:00:00:00:01\n", "0a:ff:00:00:00:0g", "0a:ff:00:00:00:00:00:01", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		trimmed := strings.TrimSpace(s)
		want, err := net.ParseMAC(trimmed)
		valid := err == nil && len(trimmed) == 17 && strings.Count(trimmed, ":") == 5
		got, err := parseMAC([]byte(s))
		if (err == nil) != valid || valid && !bytes.Equal(got[:], want) {
			t.Errorf("parseMAC(%q) = %v, %v, want %v (a MAC: %v)", s, got, err, want, valid)
		}
	})
}

// What is stacked on an ENI that is up has its network by it.
func TestRaceHasNetwork(t *testing.T) {
	eth := func(index, master int32, up bool) link {
		return link{index: index, ethernet: true, master: master, up: up}
	}
	on := func(index, lower, master int32, kind string) link {
		return link{index: index, lower: lower, master: master, kind: kind, ethernet: true, up: true}
	}
	for _, c := range []struct {
		world string
		links []link
		want  string
	}{
		{"one is down", []link{{index: 1}, eth(2, 0, true), eth(3, 0, false)}, "[2]"},
		{"a bridge over both", []link{eth(2, 4, true), eth(3, 4, true), on(4, 0, 0, "bridge")}, "[2 3 4]"},
		{"a bridge over one that is down", []link{eth(2, 0, true), eth(3, 4, false), on(4, 0, 0, "bridge")}, "[2]"},
		{"a VLAN of a bridge of a bond, the highest first", []link{on(1, 5, 0, "vlan"), eth(2, 4, true), on(4, 0, 5, "bond"), on(5, 0, 0, "bridge")}, "[1 2 4 5]"},
		{"a macvlan", []link{eth(2, 0, true), on(7, 2, 0, "macvlan")}, "[2 7]"},
		{"a macvlan that is down", []link{eth(2, 0, true), {index: 7, lower: 2, kind: "macvlan", ethernet: true}}, "[2]"},
		{"a pod's veth, whose peer has the ENI's index elsewhere, and its bridge", []link{eth(2, 0, true), on(8, 2, 9, "veth"), on(9, 0, 0, "bridge")}, "[2]"},
		{"a namespace whose ENIs are veths", []link{on(2, 2, 4, "veth"), on(4, 0, 0, "bridge")}, "[2 4]"},
		{"a tunnel, and a dummy", []link{eth(2, 0, true), on(5, 0, 0, "dummy"), {index: 6, kind: "tun", up: true}}, "[2]"},
	} {
		var got []int32
		for index := range int32(10) {
			r := aRace(at(t, "169.254.169.254"), c.links, []address{{index: index, ip: netip.MustParsePrefix("10.0.0.2/24")}})
			if r.hasNetwork() {
				got = append(got, index)
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: hasNetwork() with an address of %v, want %s", c.world, got, c.want)
		}
	}
}
