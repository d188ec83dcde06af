package main

// This file asks IMDS by one network path: IMDSv2, which is a token by PUT and then GET with the
// token. At boot IMDS is often not ready, so it tries again until ctx ends or an error is final. By
// which paths to ask, and which answer to believe, is in imds.go.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tokenPath    = "/latest/api/token"
	metadataPath = "/latest/meta-data/"

	// The primary ENI's address. device-number would not do: it is 0 for every ENI at first.
	macPath = metadataPath + "mac"

	tokenTTL = 60 // seconds; EC2 takes 1 to 21600
)

const (
	requestTimeout = 2 * time.Second       // doubled each time that it was too short
	firstPause     = 20 * time.Millisecond // between two tries
	maxPause       = 2 * time.Second
	firstSlowPause = 50 * time.Millisecond // between two tries of all paths, after a 429

	// systemd 261 and newer let only sockets with this mark reach IMDS: FWMARK_DEFAULT of
	// src/imds/imdsd.c.
	imdsMark = 0x7FFF0815
)

// An endpoint is where IMDS answers.
type endpoint struct {
	addr netip.Addr // 169.254.169.254
	port uint16     // 80
	host string     // 169.254.169.254, as the Host header has it
}

// parseEndpoint reads a URL such as http://169.254.169.254 or http://[fd00:ec2::254]:80. There can
// be nothing but an address and a port in it: names are not resolved, and the paths are fixed.
func parseEndpoint(s string) (endpoint, error) {
	host, ok := strings.CutPrefix(s, "http://")
	if !ok {
		return endpoint{}, errors.New("not a URL of the form http://ADDRESS[:PORT]")
	}
	host = strings.TrimSuffix(host, "/")
	ip, port, hasPort := strings.Cut(host, ":")
	if in, ok := strings.CutPrefix(host, "["); ok { // RFC 3986, 3.2.2
		ip, port, ok = strings.Cut(in, "]")
		port, hasPort = strings.CutPrefix(port, ":")
		if !ok || port != "" && !hasPort {
			return endpoint{}, errors.New("not an IPv6 address in brackets, such as [fd00:ec2::254]")
		}
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Zone() != "" || addr.Is4In6() || addr.Is6() != strings.HasPrefix(host, "[") {
		return endpoint{}, errorf("not an IPv4 address, nor an IPv6 address in brackets: %q "+
			"(names are not resolved)", ip)
	}
	portNumber := uint64(80)
	if hasPort {
		portNumber, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || portNumber == 0 {
		return endpoint{}, errorf("not a port: %q", port)
	}
	return endpoint{addr, uint16(portNumber), host}, nil
}

// ipv6 reports whether e is reached by IPv6.
func (e endpoint) ipv6() bool { return e.addr.Is6() }

// resolvePath returns the path of the request for `eni0 imds PATH`.
func resolvePath(path string) (string, error) {
	if path == "" {
		return "", errors.New("PATH is empty")
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return "", errorf("PATH %q: spaces, control characters and bytes beyond ASCII "+
				"can't be asked for", path)
		}
	}
	if path[0] == '/' {
		return path, nil
	}
	return metadataPath + path, nil
}

// parseMAC reads six bytes in hex with colons, with white space around them or not.
func parseMAC(s []byte) (hwaddr, error) {
	t := strings.TrimSpace(string(s))
	a, ok := parseHwaddr(t)
	if ok && strings.EqualFold(t, a.String()) {
		return a, nil
	}
	return hwaddr{}, errors.New("the answer is not a MAC address")
}

// A metadataQuery is one path of the metadata, and what counts as an answer.
type metadataQuery struct {
	path  string
	limit int                // bytes of the body
	valid func([]byte) error // checks a body; nil where any body is an answer
	late  bool               // 404 means that the key is not there yet
}

// macQuery asks for the primary ENI's address. An empty body, or two addresses, are no answer yet.
func macQuery() metadataQuery {
	valid := func(body []byte) error { _, err := parseMAC(body); return err }
	return metadataQuery{macPath, bodyLimit, valid, true}
}

// An attempt is the result of one try by one path.
type attempt struct {
	status int    // of HTTP; 0 where there was no response
	body   []byte // an answer that the query takes; nil where there is an error
	err    error
}

// An imdsPath is a network path to IMDS, with what is remembered from one try to the next.
type imdsPath struct {
	endpoint
	device   link // the zero link for the path of the routing table
	query    metadataQuery
	throttle *throttle     // of all paths
	timeout  time.Duration // of one request
	token    string        // "" for none
	since    time.Time     // when the token was asked for
}

// ask asks until an error is final or errLinkGone, or ctx ends, and returns that. It tells of each
// attempt. A pause is a sixteenth of the time so far, from 20 ms to 2 s, less up to half of it at
// random so that the paths do not ask at the same time.
func (p *imdsPath) ask(ctx context.Context, tell func(attempt)) error {
	start := time.Now()
	for pause := time.Duration(0); ; {
		round, ok := p.throttle.wait(ctx, pause)
		if !ok {
			return context.Cause(ctx)
		}
		a := p.try(ctx)
		if a.status == 429 {
			p.throttle.slowDown(round)
		}
		tell(a)
		if isFinal(a.err) || errors.Is(a.err, errLinkGone) {
			return a.err
		}
		pause = min(max(time.Since(start)/16, firstPause), maxPause)
		pause -= rand.N(pause / 2)
	}
}

// errLinkGone means that a link is not there any more; before Linux 5.0, or not by that name.
var errLinkGone = errors.New("link is gone")

// A throttle slows down all paths once IMDS has said 429, which it counts for the whole ENI: then
// one of them asks after each pause, in turn.
type throttle struct {
	turn  sync.Mutex // held by the path that waits for its turn
	mu    sync.Mutex
	pause time.Duration // 0 before the first 429
	round int           // the number of pauses so far
}

// wait waits before a try: for the pause of a path of its own, and after a 429 then for its turn.
// It reports whether ctx has time left.
func (t *throttle) wait(ctx context.Context, own time.Duration) (round int, ok bool) {
	ok = sleep(ctx, own)
	pause, round := t.state()
	if pause == 0 || !ok {
		return round, ok
	}
	t.turn.Lock()
	defer t.turn.Unlock()
	pause, round = t.state()
	return round, sleep(ctx, pause)
}

// state returns the present pause and its number.
func (t *throttle) state() (pause time.Duration, round int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pause, t.round
}

// slowDown doubles the pause after a 429, unless that is an answer to a try of before the last
// time.
func (t *throttle) slowDown(round int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if round == t.round {
		t.pause = min(max(2*t.pause, firstSlowPause), maxPause)
		t.round++
	}
}

// try asks once, with the token that there is, or with a new one.
func (p *imdsPath) try(ctx context.Context) attempt {
	var a attempt
	if p.token == "" || time.Since(p.since) >= tokenTTL*time.Second {
		if a = p.getToken(ctx); a.err != nil {
			return a
		}
	}
	header := "X-aws-ec2-metadata-token: " + p.token
	r, err := p.roundTrip(ctx, "GET "+p.query.path, header, p.query.limit)
	if err == nil {
		err = r.check(p.query.late)
	}
	if err == nil && hasPartOf(r.body, p.token) {
		err = errors.New("the reply has the token in it, which is not for show")
	}
	if err == nil && p.query.valid != nil {
		err = p.query.valid(r.body)
	}
	if r.status == 401 {
		p.token = ""
	}
	if a.status = cmp.Or(r.status, a.status); err != nil { // a token was an answer too
		a.err = errorf("%s: %w", p.query.path, err)
		return a
	}
	a.body = r.body
	return a
}

// getToken gets a token.
func (p *imdsPath) getToken(ctx context.Context) attempt {
	p.token, p.since = "", time.Now()
	header := fmt.Sprintf("X-aws-ec2-metadata-token-ttl-seconds: %d\r\nContent-Length: 0", tokenTTL)
	r, err := p.roundTrip(ctx, "PUT "+tokenPath, header, tokenLimit)
	if err == nil {
		err = r.check(false)
	}
	if err == nil && !isPrintable(r.body) {
		err = errors.New("not a token")
	}
	if err != nil {
		return attempt{r.status, nil, errorf("token: %w", err)}
	}
	p.token = string(r.body)
	return attempt{status: r.status}
}

// hasPartOf reports whether text has 16 bytes of secret in it, or all of a shorter one.
func hasPartOf(text []byte, secret string) bool {
	size := min(len(secret), 16)
	for i := 0; i+size <= len(text); i++ { // up to 4 MiB, in which a secret is not sought so quickly
		if strings.Contains(secret, string(text[i:i+size])) {
			return true
		}
	}
	return false
}

// roundTrip sends a request, as "GET /latest", with a header over a new connection, and reads the
// reply, of whose body limit is the most. If it takes longer than p.timeout, the next may take
// twice as long: IMDS may be slow.
func (p *imdsPath) roundTrip(ctx context.Context, request, header string, limit int) (
	reply, error) {
	inTime, cancel := withTimeout(ctx, p.timeout)
	defer cancel()
	r, err := p.exchange(inTime, request, header, limit)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		p.timeout *= 2
	}
	return r, describeTimeout(err)
}

// exchange sends a request and reads the reply.
func (p *imdsPath) exchange(ctx context.Context, request, header string, limit int) (
	reply, error) {
	conn, err := p.dial(ctx)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return reply{}, err
	}
	if err != nil {
		return reply{}, errorf("connect %s: %w", p.host, err)
	}
	defer conn.Close()
	defer interruptAtEnd(ctx, conn)()
	_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: eni0\r\n"+
		"Connection: close\r\n%s\r\n\r\n", request, p.host, header)
	if err != nil {
		return reply{}, err
	}
	return readReply(conn, limit)
}

// dial opens a TCP connection, by the device unless that is "".
func (p *imdsPath) dial(ctx context.Context) (*os.File, error) {
	family := unix.AF_INET
	var to unix.Sockaddr
	if p.ipv6() {
		family = unix.AF_INET6
		to = &unix.SockaddrInet6{Addr: p.addr.As16(), Port: int(p.port)}
	} else {
		to = &unix.SockaddrInet4{Addr: p.addr.As4(), Port: int(p.port)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// Without CAP_NET_ADMIN there is no mark.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, imdsMark)
	if err := p.bindToDevice(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "imds")
	defer interruptAtEnd(ctx, f)()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err // f is not nil, so there is none
	}
	var connectErr error
	err = raw.Write(func(fd uintptr) bool {
		// While it goes on, connect(2) returns EALREADY; then the result: __inet_stream_connect of
		// net/ipv4/af_inet.c.
		connectErr = unix.Connect(int(fd), to)
		return connectErr != unix.EINPROGRESS && connectErr != unix.EALREADY
	})
	if err == nil {
		err = connectErr
	}
	if err != nil {
		_ = f.Close()
		return nil, p.linkError(err)
	}
	return f, nil
}

// bindToDevice binds a socket to the link of the path, by its index if the kernel can (Linux 5.0):
// another link can get the name meanwhile.
func (p *imdsPath) bindToDevice(fd int) error {
	if p.device.index == 0 {
		return nil
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(p.device.index))
	if err == unix.ENOPROTOOPT {
		err = p.linkError(unix.BindToDevice(fd, p.device.name))
	}
	return err
}

// linkError makes ENODEV errLinkGone.
func (p *imdsPath) linkError(err error) error {
	if p.device.index != 0 && errors.Is(err, unix.ENODEV) {
		return errLinkGone
	}
	return err
}
