package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"eni0/testbed/ec2"

	"golang.org/x/sys/unix"
)

// This file is the world around one machine: a network namespace in which QEMU runs, and in which
// 169.254.169.254 is our IMDS. QEMU's user network makes a socket here for each connection of the
// guest, so whatever the guest sends there, by whichever NIC, comes to it; and nothing it sends can
// go further.

// inside is the name under which this program starts itself in namespaces of its own: one boot
// each.
const inside = "vm-inside"

const (
	budget        = 5 * time.Minute       // of one boot, on a machine that has much else to do
	delay         = 3 * time.Second       // of what is late, once eni0 waits for it
	longDelay     = 10 * time.Second      // of what is later
	refusedTokens = 3                     // by an IMDS that is late
	glance        = 50 * time.Millisecond // between two looks at whether eni0 waits
)

// imdsAddr is the address of IMDS.
var imdsAddr = netip.MustParseAddr("169.254.169.254")

// run carries out one boot in namespaces, and reads what it left: what the world saw comes by a
// pipe, what the guest saw by its second serial line.
func (b *boot) run(ctx context.Context) (*outcome, error) {
	spec, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return nil, err
	}
	limit := budget
	if b.Long {
		limit *= 4
	}
	limited, stop := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it had not ended after %v", limit))
	defer stop()
	out, err := enclosed(limited, spec).Output()
	if limited.Err() != nil {
		return nil, context.Cause(limited)
	}
	if why := ec2.Refused(err); why != "" {
		return nil, errors.New(why)
	}
	if err != nil {
		return nil, err
	}
	o := new(outcome)
	if err := json.Unmarshal(out, o); err != nil {
		return nil, err
	}
	return o, o.read(b.report())
}

// enclosed is the command that runs this program in namespaces of its own. It ends with the thread
// that starts it, and QEMU with it: the first process of a PID namespace does not go alone.
func enclosed(ctx context.Context, spec []byte) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args[0] = inside
	cmd.Stdin, cmd.Stderr = bytes.NewReader(spec), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	ec2.Isolate(cmd)
	return cmd
}

// read reads the one line that the guest wrote.
func (o *outcome) read(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return errors.New("the machine ended without a report")
	}
	return json.Unmarshal(text, &o.Report)
}

// world is what runs in the namespaces: IMDS and QEMU. It reads a boot and writes its outcome.
func world() error {
	b := new(boot)
	if err := json.NewDecoder(os.Stdin).Decode(b); err != nil {
		return err
	}
	if err := ec2.SetUp("lo", true); err != nil {
		return err
	}
	if b.IMDS != never {
		if err := ec2.AddAddr("lo", netip.PrefixFrom(imdsAddr, 32)); err != nil {
			return err
		}
	}
	command := b.qemu()
	cmd := exec.Command(command[0], command[1:]...)
	var said bytes.Buffer // of which most is no matter: "netdev net0 has no peer", while its NIC is late
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	m := &imds{Metadata: ec2.NewMetadata(len(b.Order)), named: make(chan struct{}, 1)}
	ended, surrounded := make(chan struct{}), make(chan error, 1)
	o := new(outcome)
	go func() { surrounded <- b.surround(m, o, ended) }()
	err := cmd.Wait()
	close(ended)
	if err := errors.Join(err, <-surrounded); err != nil {
		return fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	o.Requests = m.seen()
	return json.NewEncoder(os.Stdout).Encode(o)
}

// surround does what happens around the machine until it has ended. What is late is so from eni0's
// own doing: emulated machines take their time, and a fixed delay would be over before it starts.
func (b *boot) surround(m *imds, o *outcome, ended <-chan struct{}) error {
	if b.IMDS == refusesFirst || b.IMDS == later {
		for b.asked() == 0 && pause(glance, ended) {
		}
		pause(map[string]time.Duration{refusesFirst: delay, later: longDelay}[b.IMDS], ended)
		o.Asked = b.asked()
		m.Refuse(refusedTokens)
	}
	if b.IMDS != never {
		l, err := net.Listen("tcp", netip.AddrPortFrom(imdsAddr, 80).String())
		if err != nil {
			return err
		}
		defer l.Close()
		go http.Serve(l, m) // until l is closed
	}
	if b.Late {
		if err := b.plugIn(m, o, ended); err != nil {
			return err
		}
	}
	<-ended
	return nil
}

// plugIn plugs the late NIC in, some time after IMDS has named the primary: by then eni0 knows what
// it waits for, and has given back what it asked by.
func (b *boot) plugIn(m *imds, o *outcome, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-m.named:
	}
	if !pause(delay, ended) {
		return nil
	}
	o.Plugged = true
	return b.order(`{"execute": "qmp_capabilities"}`, b.plug())
}

// pause waits, and tells whether the machine is still running then.
func pause(d time.Duration, ended <-chan struct{}) bool {
	select {
	case <-time.After(d):
		return true
	case <-ended:
		return false
	}
}

// order gives QEMU commands, by its machine protocol. Before the first it says what it is; between
// the answers there may be events.
func (b *boot) order(commands ...string) error {
	c, err := net.Dial("unix", b.control())
	if err != nil {
		return err
	}
	defer c.Close()
	messages := json.NewDecoder(c)
	for _, command := range append([]string{""}, commands...) {
		if _, err := c.Write([]byte(command)); err != nil {
			return err
		}
		if err := answer(messages); err != nil {
			return fmt.Errorf("qemu: %s: %w", command, err)
		}
	}
	return nil
}

// answer reads one answer, {"return": ...} or {"error": ...}, or the first message of all, {"QMP":
// ...}.
func answer(messages *json.Decoder) error {
	for {
		var m map[string]any
		if err := messages.Decode(&m); err != nil {
			return err
		}
		if m["error"] != nil {
			return fmt.Errorf("%v", m["error"])
		}
		if m["event"] == nil {
			return nil
		}
	}
}
