package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	if got, err := s.fetchMAC(patient(t), noDevices, nil); err != nil || got != (hwaddr{10, 255, 0, 0, 0, 1}) {
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
		got, err := e.fetch(patient(t), metadataQuery{path: "/latest/meta-data/a/?b=%20", limit: outputLimit}, noDevices, nil)
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

// What is asked again, with a new token each time, until it is well.
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
		{"503 for a while, for the question", times(1, token), times(3, status("503 Service Unavailable"), mac), 4, 4},
		{"429", times(1, token), times(2, status("429 Too Many Requests"), mac), 3, 3},
		{"500 without a reason", times(1, status("500"), token), times(1, mac), 2, 1},
		{"mac is not there yet", times(1, token), times(2, status("404 Not Found"), mac), 3, 3},
		{"mac is empty at first", times(1, token), times(2, ok(""), mac), 3, 3},
		{"mac is not one at first", times(1, token), times(1, ok("not-yet"), mac), 2, 2},
		{"no reply", times(1, "", token), times(1, "", mac), 3, 2},
		{"a head cut short", times(1, "HTTP/1.1 20", token), times(1, "HTTP/1.1 200 OK\r\nContent-", mac), 3, 2},
		{"a body cut short", times(1, token[:len(token)-1], token), times(1, mac[:len(mac)-1], mac), 3, 2},
	} {
		s := scripted(t, c.puts, c.gets)
		all.Go(func() {
			if got, err := s.fetchMAC(patient(t), noDevices, nil); err != nil || got.String() != aMAC {
				t.Errorf("%s: primaryMAC() = %v, %v, want %s", c.world, got, err, aMAC)
			}
			if puts, gets := len(s.requests("PUT")), len(s.requests("GET")); puts != c.tries || gets != c.questions {
				t.Errorf("%s: asked for %d tokens and %d times for the mac, want %d and %d", c.world, puts, gets, c.tries, c.questions)
			}
		})
	}
	all.Wait()
}

// Each question comes with the token that was asked for just before it.
func TestAskNewTokens(t *testing.T) {
	s := scripted(t, []string{ok("token-1"), ok("token-2"), ok("token-3")}, times(2, status("401 Unauthorized"), ok(aMAC)))
	if _, err := s.fetchMAC(patient(t), noDevices, nil); err != nil {
		t.Fatal(err)
	}
	for n, head := range s.requests("GET") {
		if want := fmt.Sprintf("\r\nX-aws-ec2-metadata-token: token-%d\r\n", n+1); !strings.Contains(head, want) {
			t.Errorf("GET %d is %q, want %q in it", n+1, head, want)
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
		{"400 for the token", status("400 Bad Request"), "", macPath, `imds: token: 400 "Bad Request"`, 0},
		{"403: IMDS is off", status("403 Forbidden"), "", macPath, `imds: token: 403 "Forbidden": IMDS is switched off`, 0},
		{"404 for the token: no IMDSv2 here", status("404 Not Found"), "", macPath, `imds: token: 404 "Not Found"`, 0},
		{"400", ok(aToken), status("400 Bad Request"), macPath, `imds: /latest/meta-data/mac: 400 "Bad Request"`, 1},
		{"403", ok(aToken), status("403 Forbidden"), macPath, `imds: /latest/meta-data/mac: 403 "Forbidden": IMDS is switched off`, 1},
		{"404 on another path", ok(aToken), status("404 Not Found"), "/latest/user-data", `imds: /latest/user-data: 404 "Not Found"`, 1},
		{"204", ok(aToken), "HTTP/1.1 204 No Content\r\n\r\n", macPath, `imds: /latest/meta-data/mac: 204 "No Content"`, 1},
		{"a redirect", ok(aToken), "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", macPath, `imds: /latest/meta-data/mac: 301 "Moved"`, 1},
		{"a reason that would write to the terminal", ok(aToken), "HTTP/1.1 400 \x1b[2J" + strings.Repeat("x", 99) + "\r\n\r\n", macPath,
			`imds: /latest/meta-data/mac: 400 "\x1b[2J` + strings.Repeat("x", 36) + `"`, 1},
		{"a body too long by its length", ok(aToken), "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", macPath, "imds: /latest/meta-data/mac: read: more than 65536 bytes", 1},
		{"not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", "", macPath, `imds: token: read: not HTTP: "SSH-2.0-OpenSSH_9.6"`, 0},
	} {
		s := scripted(t, []string{c.put}, []string{c.get})
		q := macQuery()
		if c.path != macPath {
			q = metadataQuery{path: c.path, limit: bodyLimit}
		}
		got, err := s.fetch(patient(t), q, noDevices, nil)
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
	for _, c := range []struct{ world, token, want string }{
		{"a line break", aToken + "\r\nX-Forwarded-For: 10.0.0.1", "imds: token: not a token"},
		{"a line feed at the end", aToken + "\n", "imds: token: not a token"},
		{"a carriage return", "a\rb", "imds: token: not a token"},
		{"a space", "a b", "imds: token: not a token"},
		{"a tab", "a\tb", "imds: token: not a token"},
		{"a NUL", "a\x00b", "imds: token: not a token"},
		{"DEL", "a\x7fb", "imds: token: not a token"},
		{"beyond ASCII", "a\u00e9b", "imds: token: not a token"},
		{"nothing", "", "imds: token: not a token"},
		{"4 KiB and a byte", long + "t", "imds: token: read: more than 4096 bytes"},
		{"4 KiB", long, ""},
	} {
		s := scripted(t, []string{ok(c.token)}, []string{ok(aMAC)})
		got := ""
		if _, err := s.fetchMAC(patient(t), noDevices, nil); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("a token with %s: %q, want %q", c.world, got, c.want)
		}
		gets := s.requests("GET")
		if sent := len(gets) > 0; sent != (c.want == "") || sent && !strings.Contains(gets[0], "token: "+c.token+"\r\n\r\n") {
			t.Errorf("a token with %s: the server saw %.100q", c.world, gets)
		}
	}
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
		_, err := s.fetchMAC(patient(t), noDevices, nil)
		if err == nil || !strings.HasSuffix(err.Error(), `: 302 "Found"`) || len(s.requests("PUT")) != 1 {
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
	t.Parallel()
	var all sync.WaitGroup
	token, mac := []string{ok(aToken)}, "/latest/meta-data/mac: "
	for _, c := range []struct {
		world string
		at    func(*testing.T) endpoint
		want  string
	}{
		{"refused", refusing, "token: connect HOST: connection refused"},
		{"no answer to a SYN", full, "token: connect HOST: no answer"},
		{"reset", func(t *testing.T) endpoint { return listen(t, reset).endpoint }, "token: read: connection reset by peer"},
		{"silent", func(t *testing.T) endpoint { return silent(t).endpoint }, "token: read: no answer"},
		{"closed at once", func(t *testing.T) endpoint { return scripted(t, nil, nil).endpoint }, "token: read: the connection ended too early"},
		{"401", func(t *testing.T) endpoint { return scripted(t, token, []string{status("401 Unauthorized")}).endpoint }, mac + `401 "Unauthorized"`},
		{"404 on mac", func(t *testing.T) endpoint { return scripted(t, token, []string{status("404 Not Found")}).endpoint }, mac + `404 "Not Found"`},
		{"503", func(t *testing.T) endpoint { return scripted(t, []string{status("503 Busy")}, nil).endpoint }, `token: 503 "Busy"`},
		{"503, and then silence", func(t *testing.T) endpoint {
			return listen(t, func(s *rawServer, conn *net.TCPConn, _ string) {
				if len(s.requests("PUT")) > 2 {
					_, _ = io.Copy(io.Discard, conn)
				}
				_, _ = io.WriteString(conn, status("503 Busy"))
			}).endpoint
		}, `token: 503 "Busy"`},
		{"short", func(t *testing.T) endpoint { return scripted(t, token, []string{ok(aMAC)[:60]}).endpoint }, mac + "read: the connection ended too early"},
		{"not a MAC", func(t *testing.T) endpoint { return scripted(t, token, []string{ok("eth0\x07")}).endpoint }, mac + `"eth0\a" is not a MAC address`},
		{"two MACs", func(t *testing.T) endpoint {
			return scripted(t, token, []string{ok(aMAC + "\n0a:ff:00:00:00:02")}).endpoint
		}, mac + `"0a:ff:00:00:00:01\n0a:ff:00:00:00:02" is not a MAC address`},
		{"nothing", func(t *testing.T) endpoint { return scripted(t, token, []string{ok("")}).endpoint }, mac + `"" is not a MAC address`},
	} {
		e := c.at(t)
		all.Go(func() {
			ctx, cancel := detachedTimeout(900 * time.Millisecond)
			defer cancel()
			_, err := e.fetchMAC(ctx, noDevices, nil)
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
	if got, err := e.fetchMAC(patient(t), noDevices, nil); err != nil || got.String() != aMAC {
		t.Errorf("primaryMAC() = %v, %v, want %s", got, err, aMAC)
	}
}

// The token is in no error, whatever goes wrong with it in hand.
func TestAskTokenIsSecret(t *testing.T) {
	var all sync.WaitGroup
	for _, get := range []string{
		"", "HTTP/1.1 200 OK\r\n", status("400 Bad Request"), status("401 Unauthorized"), status("503 Busy"), ok("no MAC"),
		ok("an echo: " + aToken), status("404 " + aToken), // which mac would be asked for again
		"nonsense\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
	} {
		s := scripted(t, []string{ok(aToken)}, []string{get})
		all.Go(func() {
			ctx, cancel := detachedTimeout(300 * time.Millisecond)
			defer cancel()
			_, err := s.fetchMAC(ctx, noDevices, nil)
			if err == nil || strings.Contains(err.Error(), "Secret") || len(s.requests("GET")) == 0 {
				t.Errorf("primaryMAC() = %v for %.30q, want an error without the token", err, get)
			}
		})
	}
	all.Wait()
}

// endsSoon runs ask and fails the test unless it ends within seconds of its limit.
func endsSoon(t *testing.T, e endpoint, ctx context.Context, devices ...string) error {
	t.Helper()
	done := make(chan error)
	go func() {
		_, err := e.fetch(ctx, macQuery(), func() ([]string, error) { return devices, nil }, nil)
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
			"no way, but by devices":  at(t, "255.255.255.255"), // to TCP that is ENETUNREACH
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
	if err := endsSoon(t, e, deadline, "lo", "no-such-device"); err == nil {
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
			if _, err := scripted(t, []string{ok(aToken)}, []string{ok(aMAC)}).fetchMAC(context.Background(), noDevices, nil); err != nil {
				t.Error(err)
			}
			for _, s := range []*rawServer{scripted(t, []string{status("403 no")}, nil), listen(t, flood)} {
				if _, err := s.fetchMAC(context.Background(), noDevices, nil); !isFinal(err) {
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
	_, err := s.fetchMAC(ctx, noDevices, nil)
	tries := len(s.requests("PUT"))
	if a, b := "("+countOf(tries, "try", "tries")+" in ", "("+countOf(tries+1, "try", "tries")+" in "; err == nil || !strings.Contains(err.Error(), a) && !strings.Contains(err.Error(), b) {
		t.Errorf("primaryMAC() = %v, want %s...", err, a)
	}
}

// These two take a second, and leave nobody behind.
func TestAskPatiently(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("asking", func(t *testing.T) {
		t.Run("gives up", testAskGivesUp)
		t.Run("by every device", testAskByEveryDevice)
	})
	waitForGoroutines(t, before)
}

// The first way is silent: after a second every device is asked by, those that fail with the rest.
func testAskByEveryDevice(t *testing.T) {
	t.Parallel()
	answer := script([]string{ok(aToken)}, []string{ok(aMAC)})
	s := listen(t, func(s *rawServer, conn *net.TCPConn, head string) {
		if len(s.requests("PUT")) == 1 {
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		answer(s, conn, head)
	})
	start := time.Now()
	got, err := s.fetchMAC(patient(t), func() ([]string, error) { return []string{"no-such-device", "lo", "another"}, nil }, nil)
	if err != nil || got.String() != aMAC {
		t.Errorf("primaryMAC() = %v, %v, want %s", got, err, aMAC)
	}
	if took := time.Since(start); took < widenAfter {
		t.Errorf("the devices were asked by after %v, want not before %v", took, widenAfter)
	}
}

// The end of the limit is no reason to begin to ask by the devices.
func TestAskDoesNotWidenAtTheEnd(t *testing.T) {
	s := silent(t)
	for range 5 {
		ctx, cancel := detachedTimeout(20 * time.Millisecond)
		_, err := s.fetch(ctx, macQuery(), func() ([]string, error) { return times(20, "lo"), nil }, nil)
		if cancel(); err == nil {
			t.Fatal("ask() = nil, want an error")
		}
	}
	s.close()
	if n := len(s.requests("")); n > 5 {
		t.Errorf("asked %d times in 5 runs that ended before they had waited for a second, want 5", n)
	}
}

// joins is a race of ways that come to those answers, and whether it is over when all have.
func joins(borrowed bool, answers ...pathResult) (r *race, over bool) {
	r = newRace(context.Background())
	if borrowed {
		r.expectTemporary()
	}
	for _, a := range answers {
		if a.device != "" {
			r.devices++
		}
	}
	for _, a := range answers {
		r.addResult(a)
	}
	return r, r.ctx.Err() != nil
}

// What ends a race, and what it says when nothing has.
func TestRace(t *testing.T) {
	off, busy, noRoute := finalError{errors.New("off")}, errors.New("busy"), fmt.Errorf("connect: %w", unix.ENETUNREACH)
	for _, c := range []struct {
		world    string
		borrowed bool
		answers  []pathResult
		also     error
		over     bool
		want     string
	}{
		{"an answer by the routing table's way", true, []pathResult{{"eth0", nil, busy}, {"", []byte(aMAC), nil}}, nil, true, ""},
		{"an answer by a device", false, []pathResult{{"", nil, busy}, {"eth1", []byte(aMAC), nil}}, nil, true, ""},
		{"the routing table's way is final", false, []pathResult{{"eth0", nil, busy}, {"", nil, off}}, nil, true, "off"},
		{"it may be one of the loans", true, []pathResult{{"eth0", nil, busy}, {"", nil, off}}, nil, false, "off\nbusy"},
		{"one of two devices is final", false, []pathResult{{"", nil, noRoute}, {"eth0", nil, off}, {"eth1", nil, busy}}, nil, false, "off\nbusy"},
		{"both are", true, []pathResult{{"eth0", nil, off}, {"eth1", nil, off}}, nil, true, "off"},
		{"nothing by any way", false, []pathResult{{"eth0", nil, busy}, {"", nil, errors.New("refused")}}, nil, false, "refused\nbusy"},
		{"no route, and nobody else to ask", false, []pathResult{{"", nil, noRoute}}, nil, false, "connect: network is unreachable"},
		{"no route, and others", true, []pathResult{{"", nil, noRoute}, {"eth0", nil, busy}}, nil, false, "busy"},
		{"no route, and no others to be had", true, []pathResult{{"", nil, noRoute}}, errors.New("no ENI"), false, "no ENI"},
	} {
		r, over := joins(c.borrowed, c.answers...)
		body, err := r.result(c.also)
		if over != c.over || c.want == "" && (err != nil || string(body) != aMAC) || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: over %v, %q, %v, want over %v, error %q", c.world, over, body, err, c.over, c.want)
		}
	}
}

// A device's name is in the errors.
func TestAskSaysTheDevice(t *testing.T) {
	for device, want := range map[string]string{"no-such-device": "connect HOST by no-such-device: no such device", "lo": "connect HOST by lo: connection refused ("} {
		e := refusing(t)
		ctx, cancel := detachedTimeout(30 * time.Millisecond)
		_, err := e.fetchBy(ctx, device, macQuery(), func() {})
		cancel()
		if want := "imds: token: " + strings.ReplaceAll(want, "HOST", e.host); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("persist(%s) = %v, want %s...", device, err, want)
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
	{"a chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "", "a chunk that does not end", true},
	{"a size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", "", `not a chunk: "hello"`, true},
	{"an empty size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "", `not a chunk: ""`, true},
	{"a negative size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", "", `not a chunk: "-5"`, true},
	{"a size in C", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", "", `not a chunk: "0x5"`, true},
	{"a size beyond 64 bits", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n", "", `not a chunk: "10000000000000005"`, true},
	{"2 GiB less a byte", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\nhello\r\n", "", "more than 16 bytes", true},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "", `content length "6"`, true},
	{"two lengths in one", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "", `content length "5, 5"`, true},
	{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "", `content length "-5"`, true},
	{"a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "", `content length "+5"`, true},
	{"an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", "", `content length ""`, true},
	{"a length beyond 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello", "", `content length "18446744073709551621"`, true},
	{"compressed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", `transfer encoding "gzip, chunked"`, true},
	{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", "", `not HTTP: "HTTP/2 200 OK"`, true},
	{"HTTP/0.9", "0a:ff:00:00:00:01\n", "", `not HTTP: "0a:ff:00:00:00:01"`, true},
	{"a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "", `not HTTP: "HTTP/1.1 20 OK"`, true},
	{"a status with a sign", "HTTP/1.1 +20 OK\r\n\r\n", "", `not HTTP: "HTTP/1.1 +20 OK"`, true},
	{"a header that is none", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", "", `not a header: "hello"`, true},
	{"an endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", headLimit/5), "", "a head of more than 16384 bytes", true},
	{"an endless line", "HTTP/1.1 200 " + strings.Repeat("O", headLimit), "", "a head of more than 16384 bytes", true},
	{"endless interim replies", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", headLimit/20), "", "a head of more than 16384 bytes", true},
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
		if err != nil || r.status != 404 || r.reason != "Not  Found" || r.body != nil {
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
		if !isFinal(err) {
			t.Errorf("endless %s: readReply() = %d bytes, %v, want a final error", world, len(r.body), err)
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
		want := fmt.Sprintf("%.40q is not a MAC address", s)
		if got, err := parseMAC([]byte(s)); err == nil || err.Error() != want {
			t.Errorf("parseMAC(%q) = %v, %v, want %s", s, got, err, want)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for s, want := range map[string]endpoint{
		defaultIMDS:                     {netip.MustParseAddr("169.254.169.254"), 80, "169.254.169.254"},
		"http://169.254.169.254/":       {netip.MustParseAddr("169.254.169.254"), 80, "169.254.169.254"},
		"http://127.0.0.1:8080":         {netip.MustParseAddr("127.0.0.1"), 8080, "127.0.0.1:8080"},
		"http://255.255.255.255:65535/": {netip.MustParseAddr("255.255.255.255"), 65535, "255.255.255.255:65535"},
	} {
		if got, err := parseEndpoint(s); err != nil || got != want {
			t.Errorf("parseEndpoint(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	const form, quad, port = "not a URL of the form http://ADDRESS[:PORT]", "not an IPv4 address", "not a port"
	for s, want := range map[string]string{
		"": form, "169.254.169.254": form, "https://169.254.169.254": form, "HTTP://169.254.169.254": form, "http:/169.254.169.254": form,
		"http://": quad, "http://localhost": quad, "http://[fd00:ec2::254]": quad, "http://169.254.169": quad, "http://1.2.3.4.5": quad, "http://1.2.3.256": quad,
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

// noDevices is for ask: there is no way but the routing table's.
func noDevices() ([]string, error) { return nil, nil }

// What is stacked on an ENI that is up has its network by it.
func TestOnENIs(t *testing.T) {
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
		{"a pod's veth, whose peer has the ENI's index elsewhere, and its bridge", []link{eth(2, 0, true), on(8, 2, 9, "veth"), on(9, 0, 0, "bridge")}, "[2]"},
		{"a namespace whose ENIs are veths", []link{on(2, 2, 4, "veth"), on(4, 0, 0, "bridge")}, "[2 4]"},
		{"a tunnel, and a dummy", []link{eth(2, 0, true), on(5, 0, 0, "dummy"), {index: 6, kind: "tun", up: true}}, "[2]"},
	} {
		if got := fmt.Sprint(slices.Sorted(maps.Keys(linksOnENIs(c.links)))); got != c.want {
			t.Errorf("%s: onENIs() = %s, want %s", c.world, got, c.want)
		}
	}
}
