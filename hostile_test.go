package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hostileReplies are what a server may send in place of a reply, to PUT or to GET.
func hostileReplies() map[string]replyFunc {
	raw := func(text string) replyFunc {
		return func(_ *rawServer, conn *net.TCPConn, _ string) { _, _ = conn.Write([]byte(text)) }
	}
	endless := func(head, piece string, pause time.Duration) replyFunc {
		return func(_ *rawServer, conn *net.TCPConn, _ string) {
			_, err := conn.Write([]byte(head))
			for err == nil {
				_, err = conn.Write([]byte(piece))
				time.Sleep(pause)
			}
		}
	}
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	mega := strings.Repeat("x", 1<<20)
	all := map[string]replyFunc{
		"nothing, and it waits":           func(_ *rawServer, conn *net.TCPConn, _ string) { _, _ = conn.Read(make([]byte, 1)) },
		"a reset":                         func(_ *rawServer, conn *net.TCPConn, _ string) { _ = conn.SetLinger(0) },
		"a redirect":                      raw("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/other\r\nContent-Length: 0\r\n\r\n"),
		"a byte at a time":                endless("", "H", 20*time.Millisecond),
		"a header at a time":              endless("HTTP/1.1 200 OK\r\n", "X: y\r\n", 20*time.Millisecond),
		"a body that drips":               endless("HTTP/1.1 200 OK\r\n\r\n", "x", 20*time.Millisecond),
		"a body without an end":           endless("HTTP/1.1 200 OK\r\n\r\n", mega, 0),
		"4 GiB":                           endless("HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n", mega, 0),
		"one chunk of 2 GiB":              endless(chunked+"7fffffff\r\n", mega, 0),
		"chunks of a byte without an end": endless(chunked, "1\r\nx\r\n", 0),
		"an endless chunk extension":      endless(chunked+"1;", mega, 0),
		"endless trailers":                endless(chunked+"0\r\n", "X: y\r\n", 0),
		"a head without an end":           endless("HTTP/1.1 200 OK\r\nX: ", mega, 0),
		"a status line without an end":    endless("HTTP/1.1 200 ", mega, 0),
		"interim replies without an end":  endless("", "HTTP/1.1 100 Continue\r\n\r\n", 0),
		"NULs":                            raw(strings.Repeat("\x00", 4096)),
		"TLS":                             raw("\x15\x03\x01\x00\x02\x02\x28"),
		"SSH":                             raw("SSH-2.0-OpenSSH_9.2\r\n"),
		"an echo of the request":          func(_ *rawServer, conn *net.TCPConn, head string) { _, _ = conn.Write([]byte(ok(head))) },
		"an echo as a header": func(_ *rawServer, conn *net.TCPConn, head string) {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n" + head))
		},
		"a terminal's control characters": raw(status("503 \x1b[2J\x1b]0;owned\x07")),
	}
	for _, w := range wires {
		all["a wire: "+w.world] = raw(w.wire)
	}
	for _, code := range []string{"204 No Content", "301 Moved", "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "405 Not Allowed", "407 Proxy", "413 Too Large",
		"418 Teapot", "429 Too Many Requests", "500 Internal", "502 Bad Gateway", "503 Busy", "504 Timeout", "999 What"} {
		all["status "+code] = raw(status(code))
	}
	for world, body := range map[string]string{"two addresses": aMAC + "\n" + aMAC, "an address too long": aMAC + ":02", "a word": "null", "HTML": "<html>0a:ff:00:00:00:01</html>",
		"a multicast address": "01:00:5e:00:00:01", "no address": "00:00:00:00:00:00", "another's": "0e:00:00:00:00:99"} {
		all["a body: "+world] = raw(ok(body))
	}
	return all
}

// peakMemory returns the most memory that a process has had at once, in KiB, when it has ended. The kernel's own figure
// (ru_maxrss) is also that of who has started it.
func peakMemory(pid int) (peak int) {
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, line, found := strings.Cut(string(b), "VmHWM:")
		if err != nil || !found { // it has ended
			return peak
		}
		_, _ = fmt.Sscan(line, &peak)
		time.Sleep(10 * time.Millisecond)
	}
}

// built is the program as it is shipped, but for its symbols.
func (l *lab) built() string {
	l.Helper()
	program := filepath.Join(l.TempDir(), "eni0")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		l.Fatalf("go build: %v: %s", err, out)
	}
	return program
}

// hostile carries out a command that meets a hostile server: it has to end with code 1, in its budget, and in 16 MiB. It
// returns what that says, and the memory in KiB; 0 where it has ended before that could be looked at.
func (l *lab) hostile(cmd *exec.Cmd, budget time.Duration, world string) (out string, peak int) {
	l.Helper()
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	start := time.Now()
	if err := cmd.Start(); err != nil {
		l.Errorf("%s: %v", world, err)
		return "", 0
	}
	memory := make(chan int)
	go func() { memory <- peakMemory(cmd.Process.Pid) }()
	_ = cmd.Wait() // the code tells
	took, code := time.Since(start), cmd.ProcessState.ExitCode()
	if peak = <-memory; code != codeDoubt || took > budget+2*time.Second || peak > 16<<10 {
		l.Errorf("%s: code %d after %v with %d KiB, want code %d: %s", world, code, took, peak, codeDoubt, b.String())
	}
	return b.String(), peak
}

// Whatever a server sends: the run ends in its budget with code 1, in 16 MiB, nothing is changed, and no part of a token is shown.
func TestKernelHostileIMDS(t *testing.T) {
	l, m := managed(t, 1, 0)
	if l == nil {
		return
	}
	m.Hold()
	program := l.built()
	const budget = 500 * time.Millisecond
	kinds, measured := 0, atomic.Int32{}
	l.unchanged(func() {
		turn := make(chan bool, 8)
		var all sync.WaitGroup
		for world, reply := range hostileReplies() {
			for _, method := range []string{"PUT", "GET"} {
				if world == "a wire: chunks" && method == "PUT" || method == "PUT" && strings.HasPrefix(world, "a body: ") {
					continue // a token may be any text
				}
				kinds++
				var s *rawServer
				l.must(l.Do(func() error {
					listener, err := net.Listen("tcp", "169.254.169.254:0")
					if err == nil {
						s = serve(t, listener, func(s *rawServer, conn *net.TCPConn, head string) {
							if method == "GET" && strings.HasPrefix(head, "PUT ") {
								_, _ = conn.Write([]byte(ok(aToken)))
								return
							}
							reply(s, conn, head)
						})
					}
					return err
				}))
				all.Go(func() {
					turn <- true
					defer func() { <-turn }()
					cmd := exec.Command(program, "check", "-timeout", budget.String(), "-imds", "http://"+s.host)
					cmd.Env = []string{"PATH="}
					out, peak := l.hostile(cmd, budget, world+" to "+method)
					measured.Add(int32(min(1, peak)))
					for n := range len(aToken) - 8 {
						if strings.Contains(out, aToken[n:n+8]) {
							t.Errorf("%s to %s: shows a part of the token: %s", world, method, out)
							break
						}
					}
					if strings.ContainsAny(out, "\x1b\x00\x07") {
						t.Errorf("%s to %s: shows control characters: %q", world, method, out)
					}
				})
			}
		}
		all.Wait()
	})
	if t.Logf("%d kinds", kinds); kinds < 120 || measured.Load() < 100 {
		t.Errorf("only %d kinds, and the memory of %d runs", kinds, measured.Load())
	}
}
