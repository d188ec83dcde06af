package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// This file asks the instance metadata service: IMDSv2 (a token by PUT, then GET with the token)
// over the little of HTTP/1.1 that it takes. At boot IMDS is often not ready, so it asks again
// until there is an answer, an error that asking again would not cure, or the end of the budget.
// What comes is a stranger's: bounded, checked before use, and quoted where it is shown.

// imdsENIs lists the ENIs that IMDS can be asked by: all but the ports of a bridge or bond.
func imdsENIs(links []link) []link {
	return slices.DeleteFunc(allENIs(links), func(l link) bool { return l.master != 0 })
}

// hasIPv4 reports whether the link of that index has an IPv4 address.
func hasIPv4(addresses []address, index int32) bool {
	return slices.ContainsFunc(addresses, func(a address) bool { return a.index == index && !a.ipv6 })
}

// linksOnENIs is the set of the ENIs that are up and of the links stacked on them.
func linksOnENIs(links []link) map[int32]bool {
	on := map[int32]bool{}
	for _, e := range allENIs(links) {
		if e.up {
			on[e.index] = true
		}
	}
	return stackedOn(links, on, true)
}

// imdsDevices names the ENIs that are up and have an IPv4 address. Names, because that is what
// SO_BINDTODEVICE takes.
func imdsDevices(nl *rtnl) ([]string, error) {
	links, err := nl.links()
	if err != nil {
		return nil, err
	}
	addresses, err := nl.addresses()
	var out []string
	for _, l := range imdsENIs(links) {
		if l.up && hasIPv4(addresses, l.index) {
			out = append(out, l.name)
		}
	}
	return out, err
}

// hasNetwork reports whether an ENI that is up, or a link stacked on one, has an IPv4 address.
func hasNetwork(nl *rtnl) (bool, error) {
	links, err := nl.links()
	if err != nil {
		return false, err
	}
	addresses, err := nl.addresses()
	on := linksOnENIs(links)
	return slices.ContainsFunc(links, func(l link) bool {
		return l.up && on[l.index] && hasIPv4(addresses, l.index)
	}), err
}

const (
	defaultIMDS  = "http://169.254.169.254"
	tokenPath    = "/latest/api/token"
	metadataPath = "/latest/meta-data/"
	macPath      = metadataPath + "mac" // the primary ENI's address; never device-number, which reads 0 until it has propagated

	tokenTTL = "60" // seconds; EC2 takes 1 to 21600
)

const (
	tryTimeout = 2 * time.Second       // for a token and the question
	firstPause = 20 * time.Millisecond // between tries
	maxPause   = 2 * time.Second
	widenAfter = time.Second // with no answer by then, every ENI is asked by

	// imdsMark is what systemd 261 and newer demand of IMDS clients: FWMARK_DEFAULT of
	// src/imds/imdsd.c.
	imdsMark = 0x7FFF0815
)

// An endpoint is where IMDS answers. It is IPv4: that one EC2 serves on every subnet, IPv6-only
// ones too, while fd00:ec2::254 has to be switched on (HttpProtocolIpv6).
type endpoint struct {
	addr netip.AddrPort // 169.254.169.254:80
	host string         // 169.254.169.254, as the Host header has it
}

// parseEndpoint reads a URL such as http://169.254.169.254 or http://127.0.0.1:8080. It takes
// nothing but an address and a port: names are not resolved, and the paths are fixed.
func parseEndpoint(s string) (endpoint, error) {
	host, ok := strings.CutPrefix(s, "http://")
	if !ok {
		return endpoint{}, errors.New("not a URL of the form http://ADDRESS[:PORT]")
	}
	e := endpoint{host: strings.TrimSuffix(host, "/")}
	quad, port, hasPort := strings.Cut(e.host, ":")
	addr, err := netip.ParseAddr(quad)
	if err != nil || !addr.Is4() {
		return endpoint{}, fmt.Errorf("not an IPv4 address: %q (names are not resolved)", quad)
	}
	portNumber := uint64(80)
	if hasPort {
		portNumber, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || portNumber == 0 {
		return endpoint{}, fmt.Errorf("not a port: %q", port)
	}
	e.addr = netip.AddrPortFrom(addr, uint16(portNumber))
	return e, nil
}

// loopback reports whether e is on this machine, where no ENI leads.
func (e endpoint) loopback() bool { return e.addr.Addr().IsLoopback() }

// resolvePath turns the PATH of `eni0 imds PATH` into that of a request.
func resolvePath(path string) (string, error) {
	if path == "" {
		return "", errors.New("PATH is empty")
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return "", fmt.Errorf("PATH %q: spaces, control characters and bytes beyond ASCII can't be asked for", path)
		}
	}
	if path[0] == '/' {
		return path, nil
	}
	return metadataPath + path, nil
}

// parseMAC reads six bytes in hex with colons. White space around them is let pass, nothing else.
func parseMAC(s []byte) (hwaddr, error) {
	var a hwaddr
	t := strings.TrimSpace(string(s))
	b, err := hex.DecodeString(strings.ReplaceAll(t, ":", ""))
	if err == nil && len(t) == 17 && copy(a[:], b) == 6 && strings.EqualFold(t, a.String()) {
		return a, nil
	}
	return hwaddr{}, fmt.Errorf("%.40q is not a MAC address", t)
}

// A metadataQuery is one path to ask for, and what is an answer to it.
type metadataQuery struct {
	path  string
	limit int                // bytes of the body
	valid func([]byte) error // nil: whatever comes is an answer
	late  bool               // 404 means not yet
}

// macQuery asks for the primary ENI's address. An empty body, or two addresses, are no answer
// yet; neither is 404, before the key is there.
func macQuery() metadataQuery {
	valid := func(body []byte) error { _, err := parseMAC(body); return err }
	return metadataQuery{macPath, bodyLimit, valid, true}
}

// fetchMAC asks for the primary ENI's address: see ask.
func (e endpoint) fetchMAC(ctx context.Context, devices func() ([]string, error),
	borrow func(*race) error) (hwaddr, error) {
	body, err := e.fetch(ctx, macQuery(), devices, borrow)
	if err != nil {
		return hwaddr{}, err
	}
	return parseMAC(body)
}

// fetch asks the way the routing table says, from the start to the end. Where that has no route, or
// has not answered after a second, others join it, and none is dropped for another: see widen. It
// goes on until a good answer by any way, an error that is final (see race.take), or the end of
// ctx. None of the goroutines it starts is left when it returns.
func (e endpoint) fetch(ctx context.Context, q metadataQuery, devices func() ([]string, error),
	borrow func(*race) error) ([]byte, error) {
	r := newRace(ctx)
	alone, noRoute := withTimeout(r.ctx, widenAfter)
	defer noRoute()
	r.start("", func() ([]byte, error) { return e.fetchBy(r.ctx, "", q, noRoute) })
	<-alone.Done()
	var err error
	if r.ctx.Err() == nil {
		err = e.addDevices(r, q, devices, borrow)
	}
	return r.result(err)
}

// addDevices has the ways by each of the devices join r or, where there are no devices, what borrow
// has to add, unless that is nil. Its error is about ways that could not join.
func (e endpoint) addDevices(r *race, q metadataQuery, devices func() ([]string, error),
	borrow func(*race) error) error {
	names, err := devices()
	if err == nil && len(names) == 0 && borrow != nil {
		return borrow(r)
	}
	for _, d := range names {
		r.start(d, func() ([]byte, error) { return e.fetchBy(r.ctx, d, q, func() {}) })
	}
	return err
}

// An pathResult is what one way to IMDS came to.
type pathResult struct {
	device string // eth1; "" is the way that the routing table says
	body   []byte
	err    error
}

// A race is some ways to IMDS tried at once: the first good answer wins.
type race struct {
	ctx        context.Context // of all the ways
	cancel     func()          // ends ctx
	running    sync.WaitGroup
	mu         sync.Mutex
	good       *pathResult
	tableErr   error   // what the routing table's way came to
	deviceErrs []error // what the others came to
	devices    int     // how many are asked by
	finals     int     // how many of them say that IMDS will not answer
	temporary  bool    // the routing table's way may lead over a borrowed network
}

// newRace is one whose ways end with ctx.
func newRace(ctx context.Context) *race {
	ctx, cancel := context.WithCancel(ctx)
	return &race{ctx: ctx, cancel: cancel}
}

// start tries one way.
func (r *race) start(device string, ask func() ([]byte, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if device != "" {
		r.devices++
	}
	r.running.Go(func() {
		body, err := ask()
		r.addResult(pathResult{device, body, err})
	})
}

// expectTemporary says that networks are going to be borrowed.
func (r *race) expectTemporary() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.temporary = true
}

// addResult notes what a way came to. An answer ends them all, and so does a final error that is
// believed.
func (r *race) addResult(a pathResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.device != "" && isFinal(a.err) {
		r.finals++
	}
	switch {
	case r.good != nil: // it comes too late
	case a.err == nil, isFinal(a.err) && r.trusts(a.device):
		r.good = &a
		r.cancel()
	case a.device == "":
		r.tableErr = a.err
	default:
		r.deviceErrs = append(r.deviceErrs, a.err)
	}
}

// trusts reports whether r believes a way that IMDS will not answer. It believes the routing
// table's, and all the others together: one of them may be nobody to believe. While networks are
// borrowed, the routing table's way may lead over one of those, and is nobody else then.
func (r *race) trusts(device string) bool {
	if device == "" {
		return !r.temporary
	}
	return r.finals == r.devices
}

// result waits until no way is tried any more. Where there is no answer the error says what each
// way came to, and why others could not join. That the routing table has no route goes without
// saying then.
func (r *race) result(others error) ([]byte, error) {
	r.running.Wait()
	r.cancel()
	if r.good != nil {
		return r.good.body, r.good.err
	}
	others = errors.Join(append(r.deviceErrs, others)...)
	if others != nil && errors.Is(r.tableErr, unix.ENETUNREACH) {
		return nil, others
	}
	return nil, errors.Join(r.tableErr, others)
}

// fetchBy tries one way until there is an answer, the error is final or ctx ends. The pauses are a
// sixteenth of the time so far, from 20 ms to 2 s, so that an IMDS which is late is not kept
// waiting for longer than that; less up to half of each at random, so that ways don't march in
// step. It calls noWay when the routing table has none.
func (e endpoint) fetchBy(ctx context.Context, device string, q metadataQuery, noWay func()) ([]byte, error) {
	start := time.Now()
	var last error
	for tries := 1; ; tries++ {
		body, err := e.fetchOnce(ctx, device, q)
		switch {
		case err == nil:
			return body, nil
		case isFinal(err), device != "" && errors.Is(err, unix.ENODEV): // it is gone, or has another name now
			return nil, fmt.Errorf("imds: %w", err)
		case last == nil || ctx.Err() == nil:
			last = err // but a try that l cut off says nothing
		}
		if errors.Is(err, unix.ENETUNREACH) {
			noWay()
		}
		pause := min(max(time.Since(start)/16, firstPause), maxPause)
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			err := fmt.Errorf("imds: %w (%s in %v)", last, countOf(tries, "try", "tries"), time.Since(start).Round(time.Millisecond))
			if cause := context.Cause(ctx); errors.Is(cause, errInterrupted) {
				err = fmt.Errorf("%w: %w", err, cause)
			}
			return nil, err
		}
	}
}

// fetchOnce is a new token and the question: two requests, at most 2 s.
func (e endpoint) fetchOnce(ctx context.Context, device string, q metadataQuery) ([]byte, error) {
	ctx, cancel := withTimeout(ctx, tryTimeout)
	defer cancel()
	token, err := e.roundTrip(ctx, device, "PUT", tokenPath, "X-aws-ec2-metadata-token-ttl-seconds: "+tokenTTL+"\r\nContent-Length: 0", tokenLimit)
	if err == nil {
		err = token.check(false)
	}
	if err == nil && !isPrintable(token.body) {
		err = finalError{errors.New("not a token")} // which goes into a header: no line breaks
	}
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	got, err := e.roundTrip(ctx, device, "GET", q.path, "X-aws-ec2-metadata-token: "+string(token.body), q.limit)
	if err == nil && (bytes.Contains(got.body, token.body) || strings.Contains(got.reason, string(token.body))) {
		err = finalError{errors.New("the reply has the token in it, which is not for show")}
	}
	if err == nil {
		err = got.check(q.late)
	}
	if err == nil && q.valid != nil {
		err = q.valid(got.body)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.path, err)
	}
	return got.body, nil
}

// roundTrip sends a request over a connection of its own and reads the reply.
func (e endpoint) roundTrip(ctx context.Context, device, method, path, header string, limit int) (reply, error) {
	conn, err := e.dial(ctx, device)
	if err != nil {
		return reply{}, fmt.Errorf("connect %s%s: %w", e.host, viaDevice(device), describeTimeout(err))
	}
	defer conn.Close()
	defer interruptAtEnd(ctx, conn)()
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: eni0\r\nConnection: close\r\n%s\r\n\r\n", method, path, e.host, header)
	if err != nil {
		return reply{}, fmt.Errorf("write%s: %w", viaDevice(device), describeTimeout(err))
	}
	r, err := readReply(conn, limit)
	if err != nil {
		return reply{}, fmt.Errorf("read%s: %w", viaDevice(device), describeTimeout(err))
	}
	return r, nil
}

// viaDevice is the way of an error message: " by eth1", or "" for the routing table's.
func viaDevice(device string) string {
	if device == "" {
		return ""
	}
	return " by " + device
}

// describeTimeout says of a deadline what it means to people, and of a *PathError only the errno.
func describeTimeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer")
	}
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

// dial connects by TCP, by the device unless that is "".
func (e endpoint) dial(ctx context.Context, device string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, imdsMark) // EPERM without CAP_NET_ADMIN: then not
	if device != "" {
		err = unix.BindToDevice(fd, device)
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: e.addr.Addr().As4(), Port: int(e.addr.Port())})
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "imds")
	defer interruptAtEnd(ctx, f)()
	if err := waitConnected(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// waitConnected waits until f's connect has come to an end, and returns how.
func waitConnected(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var connectErr error
	err = raw.Write(func(fd uintptr) bool {
		// connect(2), EINPROGRESS: writable means over, and SO_ERROR says how.
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if connectErr = err; err == nil && errno != 0 {
			connectErr = unix.Errno(errno)
		}
		_, err = unix.Getpeername(int(fd))
		return connectErr != nil || err != unix.ENOTCONN
	})
	if err != nil {
		return err
	}
	return connectErr
}
