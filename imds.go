package main

// This file asks the instance metadata service: IMDSv2, which is a token by PUT and then GET with
// the token. At boot IMDS is often not ready, so it tries again until there is an answer, a final
// error, or the end of the deadline. It asks by several network paths at once, and configures none
// of them.

import (
	"bytes"
	"context"
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

// imdsENIs lists the ENIs by which IMDS can be asked: all but the ports of a bridge or bond.
func imdsENIs(links []link) []link {
	return filter(allENIs(links), func(l link) bool { return l.master == 0 })
}

// hasIPv4 reports whether the link of that index has an IPv4 address.
func hasIPv4(addresses []address, index int32) bool {
	return slices.ContainsFunc(addresses, func(a address) bool {
		return a.index == index && !a.ipv6
	})
}

// linksOnENIs returns the set of the ENIs that are up and of the links stacked on them.
func linksOnENIs(links []link) map[int32]bool {
	on := map[int32]bool{}
	for _, e := range allENIs(links) {
		if e.up {
			on[e.index] = true
		}
	}
	return stackedOn(links, on, true)
}

// imdsDevices returns the names of the ENIs that are up and have an IPv4 address, for
// SO_BINDTODEVICE.
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

	// The primary ENI's address. device-number would not do: it is 0 for every ENI at first.
	macPath = metadataPath + "mac"

	tokenTTL = "60" // seconds; EC2 takes 1 to 21600
)

const (
	tryTimeout = 2 * time.Second       // for both requests
	firstPause = 20 * time.Millisecond // between two tries
	maxPause   = 2 * time.Second
	widenAfter = time.Second // without an answer for so long, each ENI is a path

	// systemd 261 and newer let only sockets with this mark reach IMDS: FWMARK_DEFAULT of
	// src/imds/imdsd.c.
	imdsMark = 0x7FFF0815
)

// An endpoint is where IMDS answers. It is IPv4: EC2 serves that on every subnet, also on one that
// has IPv6 only, while fd00:ec2::254 has to be switched on (HttpProtocolIpv6).
type endpoint struct {
	addr netip.Addr // 169.254.169.254
	port uint16     // 80
	host string     // 169.254.169.254, as the Host header has it
}

// parseEndpoint reads a URL such as http://169.254.169.254 or http://127.0.0.1:8080. There can be
// nothing but an address and a port in it: names are not resolved, and the paths are fixed.
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
	e.addr, e.port = addr, uint16(portNumber)
	return e, nil
}

// loopback reports whether e is on this machine, so that no ENI leads to it.
func (e endpoint) loopback() bool { return e.addr.IsLoopback() }

// resolvePath returns the path of the request for `eni0 imds PATH`.
func resolvePath(path string) (string, error) {
	if path == "" {
		return "", errors.New("PATH is empty")
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return "", fmt.Errorf("PATH %q: spaces, control characters and bytes beyond ASCII "+
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
	return hwaddr{}, fmt.Errorf("%.40q is not a MAC address", t)
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

// fetchMAC asks for the primary ENI's address: see fetch.
func (e endpoint) fetchMAC(ctx context.Context, devices func() ([]string, error),
	borrow func(*race) error) (hwaddr, error) {
	body, err := e.fetch(ctx, macQuery(), devices, borrow)
	if err != nil {
		return hwaddr{}, err
	}
	return parseMAC(body)
}

// fetch asks by several network paths at once. The one of the routing table is asked by from the
// start. Where there is no route, or no answer after a second, others are added: see addDevices. No
// path is given up for another. It ends with an answer by any path, with a final error (see
// race.addResult), or with ctx. All goroutines that it started have ended when it returns.
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

// addDevices adds the path by each of the devices to r. Where there are no devices, borrow, unless
// it is nil, adds paths. The error is why a path could not be added.
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

// A pathResult is the result of one network path to IMDS.
type pathResult struct {
	device string // eth1; "" for the path of the routing table
	body   []byte
	err    error
}

// A race asks IMDS by several network paths at once: the first answer ends it.
type race struct {
	ctx        context.Context // of all paths
	cancel     func()          // ends ctx
	running    sync.WaitGroup
	mu         sync.Mutex
	winner     *pathResult
	tableErr   error   // of the path of the routing table
	deviceErrs []error // of the others
	devices    int     // the number of the others
	finals     int     // how many of them have a final error
	temporary  bool    // the path of the routing table may lead over a temporary address
}

// newRace returns a race that ends with ctx.
func newRace(ctx context.Context) *race {
	ctx, cancel := context.WithCancel(ctx)
	return &race{ctx: ctx, cancel: cancel}
}

// start asks by one path: ask does it.
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

// expectTemporary is to be called before there are temporary addresses.
func (r *race) expectTemporary() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.temporary = true
}

// addResult takes the result of a path. An answer ends the race, and so does a final error that is
// trusted.
func (r *race) addResult(a pathResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.device != "" && isFinal(a.err) {
		r.finals++
	}
	switch {
	case r.winner != nil: // too late
	case a.err == nil, isFinal(a.err) && r.trusts(a.device):
		r.winner = &a
		r.cancel()
	case a.device == "":
		r.tableErr = a.err
	default:
		r.deviceErrs = append(r.deviceErrs, a.err)
	}
}

// trusts reports whether a final error by that path ends the race. One of the routing table does;
// one by a device only if all others have a final error too, because behind one ENI something else
// may answer in place of IMDS. With temporary addresses the path of the routing table may lead over
// one of them.
func (r *race) trusts(device string) bool {
	if device == "" {
		return !r.temporary
	}
	return r.finals == r.devices
}

// result waits for all paths. Without an answer, the error has that of each path, and others, which
// is why paths could not be added. That the routing table has no route is left out if there is
// another error.
func (r *race) result(others error) ([]byte, error) {
	r.running.Wait()
	r.cancel()
	if r.winner != nil {
		return r.winner.body, r.winner.err
	}
	others = errors.Join(append(r.deviceErrs, others)...)
	if others != nil && errors.Is(r.tableErr, unix.ENETUNREACH) {
		return nil, others
	}
	return nil, errors.Join(r.tableErr, others)
}

// fetchBy asks by one path until there is an answer, a final error, or ctx ends. A pause is a
// sixteenth of the time so far, from 20 ms to 2 s, less up to half of it at random so that the
// paths do not ask at the same time. It calls noRoute when the routing table has no route.
func (e endpoint) fetchBy(ctx context.Context, device string, q metadataQuery, noRoute func()) (
	[]byte, error) {
	start := time.Now()
	var last error
	for tries := 1; ; tries++ {
		body, err := e.fetchOnce(ctx, device, q)
		switch {
		case err == nil:
			return body, nil
		case isFinal(err), device != "" && errors.Is(err, unix.ENODEV):
			// ENODEV: the device is gone, or has another name now.
			return nil, fmt.Errorf("imds: %w", err)
		case last == nil || ctx.Err() == nil:
			last = err // the error of a try that ctx ended says nothing
		}
		if errors.Is(err, unix.ENETUNREACH) {
			noRoute()
		}
		pause := min(max(time.Since(start)/16, firstPause), maxPause)
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			err := fmt.Errorf("imds: %w (%s in %v)", last, countOf(tries, "try", "tries"),
				time.Since(start).Round(time.Millisecond))
			if cause := context.Cause(ctx); errors.Is(cause, errInterrupted) {
				err = fmt.Errorf("%w: %w", err, cause)
			}
			return nil, err
		}
	}
}

// fetchOnce gets a new token and asks with it, in at most 2 s.
func (e endpoint) fetchOnce(ctx context.Context, device string, q metadataQuery) ([]byte, error) {
	ctx, cancel := withTimeout(ctx, tryTimeout)
	defer cancel()
	ttl := "X-aws-ec2-metadata-token-ttl-seconds: " + tokenTTL + "\r\nContent-Length: 0"
	token, err := e.roundTrip(ctx, device, "PUT "+tokenPath, ttl, tokenLimit)
	if err == nil {
		err = token.check(false)
	}
	if err == nil && !isPrintable(token.body) {
		err = finalError{errors.New("not a token")}
	}
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	secret := string(token.body)
	header := "X-aws-ec2-metadata-token: " + secret
	got, err := e.roundTrip(ctx, device, "GET "+q.path, header, q.limit)
	echoed := bytes.Contains(got.body, token.body) || strings.Contains(got.reason, secret)
	if err == nil && echoed {
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

// roundTrip sends a request, as "GET /latest", with a header over a new connection, and reads the
// reply, of whose body limit is the most.
func (e endpoint) roundTrip(ctx context.Context, device, request, header string, limit int) (
	reply, error) {
	conn, err := e.dial(ctx, device)
	if err != nil {
		return reply{}, fmt.Errorf("connect %s%s: %w",
			e.host, viaDevice(device), describeTimeout(err))
	}
	defer conn.Close()
	defer interruptAtEnd(ctx, conn)()
	_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: eni0\r\n"+
		"Connection: close\r\n%s\r\n\r\n", request, e.host, header)
	if err != nil {
		return reply{}, fmt.Errorf("write%s: %w", viaDevice(device), describeTimeout(err))
	}
	r, err := readReply(conn, limit)
	if err != nil {
		return reply{}, fmt.Errorf("read%s: %w", viaDevice(device), describeTimeout(err))
	}
	return r, nil
}

// viaDevice is the path in an error message: " by eth1", or "" for that of the routing table.
func viaDevice(device string) string {
	if device == "" {
		return ""
	}
	return " by " + device
}

// describeTimeout says "no answer" where a deadline has passed, and of a *PathError only the errno.
func describeTimeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer")
	}
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

// dial opens a TCP connection, by the device unless that is "".
func (e endpoint) dial(ctx context.Context, device string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// Without CAP_NET_ADMIN there is no mark.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, imdsMark)
	if device != "" {
		if err := unix.BindToDevice(fd, device); err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
	}
	f := os.NewFile(uintptr(fd), "imds")
	defer interruptAtEnd(ctx, f)()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err // f is not nil, so there is none
	}
	to := &unix.SockaddrInet4{Addr: e.addr.As4(), Port: int(e.port)}
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
		return nil, err
	}
	return f, nil
}
