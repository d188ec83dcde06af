package ec2

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A vpc is a network namespace that lives as long as one locked thread. Sockets that are opened on
// that thread are in it for good, whoever uses them.
type vpc struct {
	netns *os.File          // to send links there
	out   int               // a packet socket for all wires: to close one takes the kernel milliseconds
	found chan struct{}     // closed when the thread is found
	jobs  chan func() error // closed to end the thread
	done  chan error        // what a job came to; the first is the namespace itself
}

// newVPC makes a namespace beside the one that the process is in.
func newVPC() (*vpc, error) {
	v := &vpc{out: -1, found: make(chan struct{}), jobs: make(chan func() error), done: make(chan error)}
	go v.run()
	if err := <-v.done; err != nil {
		close(v.jobs)
		return nil, err
	}
	return v, nil
}

// run becomes a thread in a namespace of its own and does the jobs that come. The thread is never
// unlocked: the runtime ends it with run, for it would be no use to another goroutine.
func (v *vpc) run() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread is the process's face in /proc, and the runtime can't end it: hold
		// it until another thread is found.
		go v.run()
		<-v.found
		runtime.UnlockOSThread()
		return
	}
	close(v.found)
	v.done <- v.unshare()
	for job := range v.jobs {
		v.done <- job()
	}
}

// unshare makes the namespace.
func (v *vpc) unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	var err error
	if v.netns, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
		return err
	}
	v.out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // of no protocol: it receives nothing
	return os.NewSyscallError("socket", err)
}

// do has the thread run one job.
func (v *vpc) do(job func() error) error {
	v.jobs <- job
	return <-v.done
}

// close ends the thread.
func (v *vpc) close() error {
	close(v.jobs)
	return errors.Join(os.NewSyscallError("close", unix.Close(v.out)), v.netns.Close())
}
