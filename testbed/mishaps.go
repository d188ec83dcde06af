package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// A mishap is what may go wrong with a launch beside the names.
type mishaps struct {
	late    bool   // the primary is plugged in while fix is at work: one launch in ten
	imds    string // how IMDS is not ready at first: one in ten; "" where it is
	ipv6    bool   // there is IPv6 too: one in ten
	foreign bool   // the default gateway answers in IMDS's place: one in twenty
	pinned  bool   // a file ties the primary to the name that it has: one in fifty
	killed  bool   // fix is killed at a random moment, and started again: one in a hundred
}

// notReady are the ways in which IMDS is not ready.
var notReady = []string{"refused", "401", "404", "429", "503", "slow"}

// drawMishaps picks the mishaps of a launch. What takes an early launch, or one that is configured,
// is drawn twice as often there, as each is one half of all.
func drawMishaps(dice *rand.Rand, stage string) (m mishaps) {
	one := func(in int) bool { return dice.IntN(in) == 0 }
	late, busy, ipv6, foreign := one(5), one(10), one(5), one(10)
	m.late = late && stage == early
	m.ipv6, m.foreign = ipv6 && stage == configured, foreign && stage == configured
	m.pinned, m.killed = one(50), one(100)
	if which := notReady[dice.IntN(len(notReady))]; busy {
		m.imds = which
	}
	return m
}

// String names the mishaps.
func (m mishaps) String() string {
	var all []string
	for name, is := range map[string]bool{"late": m.late, "imds " + m.imds: m.imds != "", "ipv6": m.ipv6,
		"foreign": m.foreign, "pinned": m.pinned, "killed": m.killed} {
		if is {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}

// strike makes the mishaps of t happen, but for a late primary and a SIGKILL.
func (t *trial) strike(dice *rand.Rand) error {
	if t.mishaps.ipv6 && ec2.HasIPv6() {
		for at, device := range t.order {
			name, d := fmt.Sprintf("eth%d", at), byte(device+1)
			own := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, d, 15: 1}), 64)
			route := ec2.Route{Dev: name, Dst: netip.MustParsePrefix("::/0"), Via: own.Addr().Next(), Metric: 1024 + uint32(device)}
			if err := ec2.AddAddr(name, own); err != nil {
				return err
			}
			if err := ec2.AddRoute(route); err != nil {
				return err
			}
		}
	}
	h := http.Handler(t.Metadata())
	if t.mishaps.foreign {
		stranger := ec2.NewMetadata(1)
		stranger.Set("mac", "0e:00:00:00:00:99")
		h = ec2.ByAddress(t.Addr(0), h, stranger)
	}
	if t.mishaps.imds != "" {
		h = lateHandler(t.mishaps.imds, time.Duration(100+dice.IntN(500))*time.Millisecond, h)
	}
	if t.mishaps.pinned && t.wrong() {
		if err := t.pin(); err != nil {
			return err
		}
	}
	return t.Serve(h)
}

// lateHandler is not ready, in that way, for a time from the first request on; then it is h.
func lateHandler(how string, last time.Duration, h http.Handler) http.Handler {
	begin := sync.OnceValue(time.Now)
	statuses := map[string]int{"401": 401, "404": 404, "429": 429, "503": 503}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch ready := time.Since(begin()) > last; {
		case ready, how == "401" && r.Method == http.MethodPut, how == "404" && r.Method == http.MethodPut:
			h.ServeHTTP(w, r)
		case how == "refused": // what a client sees of it: no answer, and no connection
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		case how == "slow":
			time.Sleep(2500 * time.Millisecond)
			h.ServeHTTP(w, r)
		default:
			w.WriteHeader(statuses[how])
		}
	})
}

// pin ties the primary to the name that it has. The file is in a /run of this process's mount
// namespace.
func (t *trial) pin() error {
	s, err := ec2.Look()
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return t.Pin(0, t.nameOf(s, 0))
}

// isPinned reports whether nothing may be renamed.
func (t *trial) isPinned() bool { return t.mishaps.pinned && t.wrong() }

// begin is what comes before the steps: a fix that is killed, or one that waits for the primary.
func (t *trial) begin(ctx context.Context, dice *rand.Rand) error {
	if t.mishaps.killed {
		cmd := command(ctx, "eni0", strings.Fields(t.fix())...)
		cmd.Stdout, cmd.Stderr = t.out, t.out
		if err := cmd.Start(); err != nil {
			return err
		}
		time.Sleep(time.Duration(dice.IntN(20000)) * time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	if !t.mishaps.late {
		return nil
	}
	s, err := ec2.Look()
	if err != nil {
		return err
	}
	name := t.nameOf(s, 0)
	if err := t.Unplug(0); err != nil {
		return err
	}
	cmd := command(ctx, "eni0", strings.Fields(t.fix())...)
	cmd.Stdout, cmd.Stderr = t.out, t.out
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(time.Duration(dice.IntN(400)) * time.Millisecond)
	plugErr := t.Plug(0, name)
	err = cmd.Wait()
	if now, lookErr := ec2.Look(); lookErr == nil && t.nameOf(now, 0) != "" {
		plugErr = nil // it was renamed before Plug was done with it
	}
	if code, ended := exitCode(err); plugErr != nil || !ended || code != t.wantFix() {
		return fmt.Errorf("a late primary: exit code %d (%v), plugged in: %v\n%s", code, err, plugErr, t.out)
	}
	return nil
}

// settleOrder takes the order of the ENIs from their names: a first fix may have changed it.
func (t *trial) settleOrder() error {
	s, err := ec2.Look()
	if err != nil {
		return err
	}
	for device := range t.order {
		var at int
		if _, err := fmt.Sscanf(t.nameOf(s, device), "eth%d", &at); err != nil || at >= len(t.order) {
			return nil // half of a swap, or a link that is not there: the steps will tell
		}
		t.order[at] = device
	}
	return nil
}
