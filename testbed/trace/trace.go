//go:build linux && amd64

// Package trace runs a command under ptrace(2), and kills it at a system call or makes that fail.
// amd64 only.
package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Call is a system call that a thread is about to make.
type Call struct {
	Number int64    // unix.SYS_WRITE
	Args   [3]int64 // the first three
	thread int
}

// Read returns n bytes of the process's memory.
func (c Call) Read(address int64, n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := unix.PtracePeekData(c.thread, uintptr(address), b)
	return b[:n], err
}

// Write changes the process's memory.
func (c Call) Write(address int64, b []byte) error {
	_, err := unix.PtracePokeData(c.thread, uintptr(address), b)
	return err
}

// String is the name of the call, or its number.
func (c Call) String() string {
	if name, ok := names[c.Number]; ok {
		return name
	}
	return fmt.Sprintf("system call %d", c.Number)
}

// An Action is what to do with a call. The zero Action lets it be made.
type Action struct {
	Kill  bool          // kill the process before it is made
	Errno syscall.Errno // do not make it, but return this error
	// Signal is sent to the process, which may get it only after the call; 0 is none.
	Signal syscall.Signal
}

// names are the calls that count: those of a program that talks to the kernel and to others. What Go's
// runtime does for itself (memory, threads, signals, waiting) comes in another order each time.
var names = map[int64]string{
	unix.SYS_READ: "read", unix.SYS_WRITE: "write", unix.SYS_OPENAT: "openat", unix.SYS_CLOSE: "close",
	unix.SYS_NEWFSTATAT: "newfstatat", unix.SYS_FSTAT: "fstat", unix.SYS_GETDENTS64: "getdents64",
	unix.SYS_SOCKET: "socket", unix.SYS_BIND: "bind", unix.SYS_LISTEN: "listen", unix.SYS_CONNECT: "connect",
	unix.SYS_SENDTO: "sendto", unix.SYS_RECVFROM: "recvfrom", unix.SYS_SENDMSG: "sendmsg", unix.SYS_RECVMSG: "recvmsg",
	unix.SYS_SETSOCKOPT: "setsockopt", unix.SYS_GETSOCKOPT: "getsockopt", unix.SYS_FCNTL: "fcntl",
	unix.SYS_POLL: "poll", unix.SYS_PPOLL: "ppoll", unix.SYS_PIPE2: "pipe2", unix.SYS_EXECVE: "execve",
	unix.SYS_WAIT4: "wait4", unix.SYS_WAITID: "waitid", unix.SYS_PIDFD_OPEN: "pidfd_open",
	unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_EPOLL_CTL: "epoll_ctl",
}

// Counts reports whether a call counts.
func Counts(c Call) bool { _, ok := names[c.Number]; return ok }

// errnos are those that a call can return, of the manual pages: what is likely, and what is not.
var errnos = map[int64][]syscall.Errno{
	unix.SYS_READ:       {unix.EIO, unix.EINTR, unix.ENOBUFS},
	unix.SYS_WRITE:      {unix.EIO, unix.ENOBUFS, unix.EPERM, unix.ENOMEM, unix.EINTR},
	unix.SYS_OPENAT:     {unix.EACCES, unix.EMFILE, unix.ENOENT, unix.EINTR},
	unix.SYS_CLOSE:      {unix.EIO, unix.EINTR},
	unix.SYS_NEWFSTATAT: {unix.EACCES, unix.ENOMEM},
	unix.SYS_FSTAT:      {unix.EIO, unix.ENOMEM},
	unix.SYS_GETDENTS64: {unix.EIO, unix.ENOENT},
	unix.SYS_SOCKET:     {unix.EMFILE, unix.EPERM, unix.ENOBUFS, unix.EAFNOSUPPORT},
	unix.SYS_BIND:       {unix.EADDRINUSE, unix.EACCES, unix.ENOMEM, unix.ENODEV},
	unix.SYS_LISTEN:     {unix.EADDRINUSE},
	unix.SYS_CONNECT:    {unix.ECONNREFUSED, unix.ENETUNREACH, unix.EPERM, unix.ETIMEDOUT, unix.EINTR},
	unix.SYS_SENDTO:     {unix.EPERM, unix.ENOBUFS, unix.ENETDOWN},
	unix.SYS_RECVFROM:   {unix.ENETDOWN, unix.EINTR},
	unix.SYS_SETSOCKOPT: {unix.EPERM, unix.ENOPROTOOPT, unix.ENOMEM, unix.ENODEV},
	unix.SYS_GETSOCKOPT: {unix.ENOPROTOOPT, unix.ENOBUFS},
	unix.SYS_FCNTL:      {unix.EINVAL},
	unix.SYS_POLL:       {unix.EINTR, unix.ENOMEM},
	unix.SYS_PPOLL:      {unix.EINTR, unix.ENOMEM},
	unix.SYS_PIPE2:      {unix.EMFILE},
	unix.SYS_EXECVE:     {unix.ENOENT, unix.EACCES},
	unix.SYS_EPOLL_CTL:  {unix.ENOMEM, unix.ENOSPC},
}

// Errnos lists errors that a call can return.
func Errnos(c Call) []syscall.Errno { return slices.Clone(errnos[c.Number]) }

// stopped is how a tracee's stop at a system call is told from others: PTRACE_O_TRACESYSGOOD.
const stopped = int(unix.SIGTRAP) | 0x80

// Run starts a command, calls at for each system call of its threads that counts, in their order, and
// returns how it has ended. Other processes that it starts are not traced.
func Run(cmd *exec.Cmd, at func(Call) Action) (unix.WaitStatus, error) {
	return RunAll(cmd, func(c Call) Action {
		if !Counts(c) {
			return Action{}
		}
		return at(c)
	})
}

// RunAll is Run, but calls at for every system call, those of Go's runtime for itself too.
func RunAll(cmd *exec.Cmd, at func(Call) Action) (unix.WaitStatus, error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	t := &tracer{pid: cmd.Process.Pid, at: at, entered: map[int]bool{}, failing: map[int]syscall.Errno{}}
	status, err := t.run()
	_ = cmd.Wait() // the process has been waited for: this is for what copies its output
	return status, err
}

// A tracer follows the threads of one process.
type tracer struct {
	pid     int
	at      func(Call) Action
	entered map[int]bool          // threads in a system call
	failing map[int]syscall.Errno // those whose call is to return that
}

// run follows the process to its end.
func (t *tracer) run() (status unix.WaitStatus, err error) {
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil || !status.Stopped() {
		return status, errors.Join(err, errors.New("the command did not stop at its start"))
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return status, err
	}
	if err := unix.PtraceSyscall(t.pid, 0); err != nil {
		return status, err
	}
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return status, err
		case tid == t.pid && (status.Exited() || status.Signaled()):
			return status, nil
		case !status.Stopped():
			continue // another thread has ended
		}
		if err := t.resume(tid, status); err != nil && err != unix.ESRCH {
			return status, err
		}
	}
}

// resume lets a thread go on that has stopped.
func (t *tracer) resume(tid int, status unix.WaitStatus) error {
	signal := int(status.StopSignal())
	switch {
	case signal == stopped:
		if err := t.atCall(tid); err != nil {
			return err
		}
		signal = 0
	case signal == int(unix.SIGTRAP), signal == int(unix.SIGSTOP): // a new thread
		signal = 0
	}
	return unix.PtraceSyscall(tid, signal)
}

// atCall looks at a thread that enters a system call, or returns from it.
func (t *tracer) atCall(tid int) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	if t.entered[tid] = !t.entered[tid]; !t.entered[tid] {
		if errno := t.failing[tid]; errno != 0 {
			delete(t.failing, tid)
			r.Rax = uint64(-int64(errno))
			return unix.PtraceSetRegs(tid, &r)
		}
		return nil
	}
	c := Call{int64(r.Orig_rax), [3]int64{int64(r.Rdi), int64(r.Rsi), int64(r.Rdx)}, tid}
	a := t.at(c)
	if a.Kill {
		return unix.Kill(t.pid, unix.SIGKILL)
	}
	if a.Signal != 0 {
		if err := unix.Kill(t.pid, a.Signal); err != nil {
			return err
		}
	}
	if a.Errno != 0 {
		t.failing[tid] = a.Errno
		r.Orig_rax = ^uint64(0) // no such call
		return unix.PtraceSetRegs(tid, &r)
	}
	return nil
}

// The requests of rtnetlink that change something, as eni0 sends them, and those for a dump.
var (
	changes = []uint16{unix.RTM_SETLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR,
		unix.RTM_NEWROUTE, unix.RTM_DELROUTE}
	dumps = []uint16{unix.RTM_GETLINK, unix.RTM_GETADDR, unix.RTM_GETROUTE}
)

// A Message is a request to rtnetlink that a process is about to send.
type Message struct {
	Type uint16 // unix.RTM_SETLINK
	Body []byte // what follows the struct nlmsghdr
	call Call
	at   int64 // where it is in the process's memory
}

// Refuse has the kernel refuse the request with EOPNOTSUPP: it gets a type that the kernel does not
// know.
func (m Message) Refuse() error { return m.call.Write(m.at+4, []byte{0xff, 0x0f}) }

// Changes returns the requests in a datagram to rtnetlink that change something.
func Changes(c Call) []Message {
	isDump := func(m Message) bool { return slices.Contains(dumps, m.Type) }
	return slices.DeleteFunc(Messages(c), isDump)
}

// Messages returns the requests in a datagram to rtnetlink, or nil for another call.
func Messages(c Call) (all []Message) {
	if c.Number != unix.SYS_WRITE {
		return nil
	}
	for left := c.Args[2]; left >= unix.SizeofNlMsghdr; {
		// struct nlmsghdr, linux/netlink.h: length, type, flags, sequence number, port.
		at := c.Args[1] + c.Args[2] - left
		head, err := c.Read(at, unix.SizeofNlMsghdr)
		if err != nil {
			return nil
		}
		n, typ := int64(binary.NativeEndian.Uint32(head)), binary.NativeEndian.Uint16(head[4:])
		if n < unix.SizeofNlMsghdr || n > left || !isRequest(typ) {
			return nil
		}
		body, err := c.Read(at+unix.SizeofNlMsghdr, int(n-unix.SizeofNlMsghdr))
		if err != nil {
			return nil
		}
		all = append(all, Message{typ, body, c, at})
		left -= (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
	}
	return all
}

// isRequest reports whether typ is of a request of rtnetlink that eni0 sends.
func isRequest(typ uint16) bool {
	return slices.Contains(changes, typ) || slices.Contains(dumps, typ)
}
