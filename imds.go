package main

// This file asks IMDS by several network paths at once, a race: by the routing table, by each ENI
// that has an address, and by each ENI over a temporary address. Paths join when links and
// addresses change, and none is given up for another. It decides which answer to believe, and when
// no answer can come any more.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The endpoints of EC2. The one of IPv4 is served on every subnet, also on one that has IPv6 only;
// that of IPv6 has to be switched on (HttpProtocolIpv6).
const (
	defaultIMDS     = "http://169.254.169.254"
	defaultIMDSIPv6 = "http://[fd00:ec2::254]"
)

// An imdsAsker has what a race needs.
type imdsAsker struct {
	nl       *rtnl
	log      logger
	query    metadataQuery
	endpoint endpoint      // with defaultIMDS, also that of IPv6
	widen    time.Duration // how long the path of the routing table is alone, without an answer
	// believe returns why an answer is not to be believed, with these links. It is nil where any
	// answer is.
	believe func(links []link, body []byte) error
	// mayBorrow is called before the first temporary address. It is nil where there may be none.
	mayBorrow func()
	advice    string // for a machine without any network
}

// A race is one question in progress. Only its own goroutine, the one of run, changes it.
type race struct {
	imdsAsker
	start     time.Time
	links     []link    // as of the last change
	addresses []address // as of the last change
	paths     []*racePath
	borrowing time.Time // when the first temporary path began
	answered  bool      // there was a response of HTTP by some path
	reached   bool      // by a path without a temporary address
	attempts  chan pathAttempt
	running   sync.WaitGroup // the goroutines of the paths
	throttle  throttle
}

// A pathKey tells the paths of a race apart.
type pathKey struct {
	index     int32 // of the ENI; 0 for the path of the routing table
	ipv6      bool
	temporary bool // over a temporary address
}

// A racePath is a path with what it has come to so far.
type racePath struct {
	pathKey
	name  string // eth1; "" for the path of the routing table
	tries int
	body  []byte // the last answer, which is not believed so far
	err   error  // of the last try; nil before the first one
	gone  bool   // the link is gone
}

// A pathAttempt is a try by a path of a race.
type pathAttempt struct {
	path *racePath
	attempt
}

// fetch returns the first answer that is to be believed. The error has that of each path. All
// goroutines have ended when it returns, and all temporary addresses are removed.
//
// The race in short: look at the links and addresses, let the paths join that are due, and wait for
// a change, for the end of a try, for the time when the ENIs join, or for the end of ctx.
func (a imdsAsker) fetch(ctx context.Context) ([]byte, error) {
	r := &race{imdsAsker: a, start: time.Now(), attempts: make(chan pathAttempt)}
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	r.join(ctx) // the path of the routing table needs no look
	changes, stop, err := watchChanges()
	if err == nil {
		defer stop()
		err = r.look()
	}
	alone := time.After(a.widen)
	for err == nil && ctx.Err() == nil && !r.isOver() && r.believed() == nil {
		r.join(ctx)
		select {
		case err = <-changes:
			if err == nil {
				err = r.look()
			}
		case t := <-r.attempts:
			err = r.note(t)
		case <-alone:
			if r.join(ctx); len(r.paths) == 1 {
				r.log.info("imds: no answer yet; asking on by the routing table alone")
			}
		case <-ctx.Done():
		}
	}
	cancel()
	go func() { r.running.Wait(); close(r.attempts) }()
	for t := range r.attempts { // those that were in progress
		r.noteLate(t)
	}
	if body := r.believed(); body != nil {
		return body, nil
	}
	return nil, r.failure(whole, err)
}

// look reads links and addresses.
func (r *race) look() error {
	now, err := r.nl.observeAddresses()
	r.links, r.addresses = now.links, now.addresses
	for _, p := range r.paths {
		if _, there := linkByIndex(r.links, p.index); p.index != 0 && !there {
			p.gone = true
		}
	}
	return err
}

// join starts the paths that are due.
func (r *race) join(ctx context.Context) {
	var names []string
	for _, e := range r.endpoints() {
		for _, k := range r.due(e) {
			if p := r.add(ctx, e, k); k.index != 0 && !k.temporary {
				names = append(names, p.name)
			}
		}
	}
	if len(names) > 0 {
		r.log.info("imds: no answer yet; asking by %s too", strings.Join(names, ", "))
	}
}

// endpoints lists the endpoints to ask: beside that of IPv4, the one of IPv6 where an ENI has a
// global IPv6 address.
func (r *race) endpoints() []endpoint {
	usual, _ := parseEndpoint(defaultIMDS) // no error is possible
	beside, _ := parseEndpoint(defaultIMDSIPv6)
	if r.endpoint == usual && len(r.configuredENIs(true)) > 0 {
		return []endpoint{usual, beside}
	}
	return []endpoint{r.endpoint}
}

// imdsENIs lists the ENIs by which IMDS can be asked: all but the ports of a bridge or bond. Those
// of a VRF have addresses of their own.
func imdsENIs(links []link) []link {
	return filter(allENIs(links), func(l link) bool {
		m, _ := linkByIndex(links, l.master)
		return l.master == 0 || m.kind == "vrf"
	})
}

// configuredENIs lists the ENIs that are up and have an address of that family.
func (r *race) configuredENIs(ipv6 bool) []link {
	return filter(imdsENIs(r.links), func(l link) bool {
		return l.up && r.hasAddress(map[int32]bool{l.index: true}, ipv6)
	})
}

// hasAddress reports whether one of the links has an address of that family: with IPv6 a global
// one. Temporary addresses do not count. It is not inlined, as it is called in many places.
//
//go:noinline
func (r *race) hasAddress(set map[int32]bool, ipv6 bool) bool {
	return slices.ContainsFunc(r.addresses, func(a address) bool {
		// Before Linux 5.18 an address does not tell who made it. One of a single IP on a link with
		// a temporary path is taken for ours.
		ours := a.isTempAddress() || a.ip.IsSingleIP() &&
			r.find(pathKey{index: a.index, temporary: true}) != nil
		usable := !a.ipv6 && !ours || a.ipv6 && a.scope == unix.RT_SCOPE_UNIVERSE
		return set[a.index] && a.ipv6 == ipv6 && usable
	})
}

// find returns the path with that key; nil where there is none, or its link is gone. It is not
// inlined, as it is called in many places.
//
//go:noinline
func (r *race) find(k pathKey) *racePath {
	i := slices.IndexFunc(r.paths, func(p *racePath) bool { return p.pathKey == k && !p.gone })
	if i < 0 {
		return nil
	}
	return r.paths[i]
}

// due lists the paths to e that have not joined and are to do so now: that of the routing table at
// once; the others where it has no route, has ended or has had an answer of no use, or after a
// while. No ENI leads to a loopback address.
func (r *race) due(e endpoint) []pathKey {
	table := pathKey{ipv6: e.ipv6()}
	p := r.find(table)
	if p == nil {
		return []pathKey{table}
	}
	useless := r.answered || isFinal(p.err) || hasNoRoute(p.err)
	if e.addr.IsLoopback() || !useless && time.Since(r.start) < r.widen {
		return nil
	}
	var keys []pathKey
	for _, l := range r.configuredENIs(e.ipv6()) {
		keys = append(keys, pathKey{index: l.index, ipv6: e.ipv6()})
	}
	if r.mayBorrow != nil && !e.ipv6() && !r.reached && !r.hasNetwork() {
		for _, l := range imdsENIs(r.links) {
			keys = append(keys, pathKey{index: l.index, temporary: true})
		}
	}
	return filter(keys, func(k pathKey) bool { return r.find(k) == nil })
}

// hasNetwork reports whether an ENI that is up, or a link stacked on one, has an IPv4 address: a
// temporary route to IMDS would take over its traffic.
func (r *race) hasNetwork() bool { return r.hasAddress(networkLinks(r.links), false) }

// hasNoRoute reports whether an error of connect(2) is the routing table's: there is no route, or
// one of the types unreachable, prohibit and blackhole (fib_props of net/ipv4/fib_semantics.c).
func hasNoRoute(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) ||
		errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL)
}

// add starts a path.
func (r *race) add(ctx context.Context, e endpoint, k pathKey) *racePath {
	l, _ := linkByIndex(r.links, k.index)
	p := &racePath{pathKey: k, name: l.name}
	ask := imdsPath{endpoint: e, device: l, query: r.query, throttle: &r.throttle,
		timeout: requestTimeout}
	tell := func(a attempt) { r.attempts <- pathAttempt{p, a} }
	r.paths = append(r.paths, p)
	if !k.temporary {
		r.running.Go(func() { ask.ask(ctx, tell) })
		return p
	}
	if r.borrowing.IsZero() {
		r.borrowing = time.Now()
		r.mayBorrow()
	}
	delay := secondaryDelay - time.Since(r.borrowing)
	if _, ok := linkByName(imdsENIs(r.links), primaryName); l.name == primaryName || !ok {
		delay = 0
	}
	t := tempAsker{path: ask, log: r.log, had: r.addresses}
	r.running.Go(func() {
		if sleep(ctx, delay) {
			t.ask(ctx, k.index, tell)
		}
	})
	return p
}

// note takes the result of a try. Links may be newer than the last look, so after an answer, and
// after the error that a link is gone, it looks again.
func (r *race) note(t pathAttempt) error {
	p := t.path
	p.tries++
	p.err = t.err
	p.gone = errors.Is(t.err, errLinkGone)
	r.answered = r.answered || t.status != 0
	r.reached = r.reached || t.status != 0 && !p.temporary
	if t.body != nil {
		isNew := !slices.ContainsFunc(r.paths, func(q *racePath) bool {
			return string(q.body) == string(t.body)
		})
		p.body = t.body
		if r.believed() != nil {
			return nil
		}
		if err := r.look(); err != nil {
			return err
		}
		if r.believed() == nil && isNew {
			r.log.info("%v; waiting for it", p.err)
		}
	}
	if p.gone {
		return r.look()
	}
	return nil
}

// noteLate takes the result of a try that the end of ctx may have cut off: an error then says less
// than that of the try before.
func (r *race) noteLate(t pathAttempt) {
	p := t.path
	p.tries++
	if p.err == nil {
		p.err = t.err
	}
	if t.body != nil {
		p.body = t.body
	}
}

// believed returns the answer that is to be believed; nil where there is none. Any other answer is
// kept, with the error why: it may be that of a link which is not probed yet, or of a gateway that
// answers for itself.
func (r *race) believed() []byte {
	for _, p := range r.paths {
		if p.body == nil {
			continue // no answer yet
		}
		if r.believe == nil {
			return p.body
		}
		err := r.believe(r.links, p.body)
		if err == nil {
			return p.body
		}
		p.err = err
	}
	return nil
}

// isOver reports whether no answer can come any more: IMDS has refused, as with 403, by each ENI
// that is asked by and by the routing table, unless that has no route. In the first moments an ENI
// that is up may get an address yet.
func (r *race) isOver() bool {
	refused := slices.ContainsFunc(r.paths, func(p *racePath) bool { return isFinal(p.err) })
	asked := func(l link) bool {
		return slices.ContainsFunc(r.paths, func(p *racePath) bool { return p.index == l.index })
	}
	mayJoin := time.Since(r.start) < r.widen && !r.endpoint.addr.IsLoopback() &&
		slices.ContainsFunc(imdsENIs(r.links), func(l link) bool { return l.up && !asked(l) })
	return refused && !slices.ContainsFunc(r.paths, r.goesOn) && !mayJoin && !r.isAnyDue()
}

// goesOn reports whether an answer may come by a path. What IMDS refuses by IPv4 it refuses by IPv6
// too.
func (r *race) goesOn(p *racePath) bool {
	ended := p.gone || isFinal(p.err) || errors.Is(p.err, errMayNotBorrow) ||
		p.index == 0 && hasNoRoute(p.err)
	return !ended && !slices.ContainsFunc(r.paths, func(q *racePath) bool {
		return q.index == p.index && !q.ipv6 && isFinal(q.err)
	})
}

// isAnyDue reports whether a path is to join.
func (r *race) isAnyDue() bool {
	return slices.ContainsFunc(r.endpoints(), func(e endpoint) bool { return len(r.due(e)) > 0 })
}

// failure is the error of a race without an answer: what each path has come to, and what a person
// can do. That the routing table has no route is left out where there is another error.
func (r *race) failure(ctx context.Context, err error) error {
	errs := []error{err}
	others := slices.ContainsFunc(r.paths, func(p *racePath) bool {
		return p.err != nil && p.index != 0
	})
	for _, p := range r.paths {
		if p.err != nil && !(others && p.index == 0 && hasNoRoute(p.err)) {
			errs = append(errs, p.failure(time.Since(r.start)))
		}
	}
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errInterrupted):
		errs = append(errs, errorf("imds: %w", cause))
	case len(allENIs(r.links)) == 0 && !r.endpoint.addr.IsLoopback():
		errs = append(errs, errNoENI)
	case r.advice != "" && !r.answered && !r.endpoint.ipv6() && !r.hasNetwork():
		errs = append(errs, errorf("imds: no ENI that is up has an IPv4 address to ask by: %s",
			r.advice))
	}
	if err = errors.Join(errs...); err == nil {
		err = errors.New("imds: no answer yet") // no time for a first try
	}
	return taggedError{err, errNoMetadata}
}

// errNoMetadata means that IMDS has not answered.
var errNoMetadata = errors.New("no answer of IMDS")

// errNoENI means that there is no link which can be an ENI.
var errNoENI = errors.New("there is no Ethernet device here: is its driver loaded?")

// failure says what a path has come to, in so much time.
func (p *racePath) failure(took time.Duration) error {
	by := ""
	if p.name != "" {
		by = "by " + visible(p.name) + ": "
	}
	if p.ipv6 {
		by = "by IPv6: " + by
	}
	if isFinal(p.err) {
		return errorf("imds: %s%w", by, p.err)
	}
	return errorf("imds: %s%w (%s in %v)", by, p.err, countOf(p.tries, "try", "tries"),
		took.Round(time.Millisecond))
}
