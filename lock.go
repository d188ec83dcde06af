package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is an abstract unix socket (unix(7)): it needs no file, belongs to the network
// namespace, and the kernel frees it with the process.
const lockName = "@eni0"

// acquireLock waits until no other eni0 works on this network namespace, and keeps others waiting
// until unlock is called or the process ends. Abstract sockets know no permissions: a holder that
// is an ordinary user's can't be an eni0 at work, and root does not wait for it.
func acquireLock(ctx context.Context, log logger) (unlock func(), err error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, os.NewSyscallError("lock: socket", err)
		}
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: lockName})
		if err == nil {
			err = unix.Listen(fd, unix.SOMAXCONN)
		}
		if err == nil {
			return func() { _ = unix.Close(fd) }, nil
		}
		f := os.NewFile(uintptr(fd), "lock")
		if errors.Is(err, unix.EADDRINUSE) {
			err = waitForHolder(ctx, f, log)
		}
		_ = f.Close()
		if errors.Is(err, errForeignHolder) {
			log.warn("lock: %v: going on without", err)
			return func() {}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
	}
}

// errStranger means that the lock is held by somebody who can't need it.
var errForeignHolder = errors.New("an ordinary user's")

// ordinaryUsers begin here: below are root and the system's (useradd(8), SYS_UID_MAX; systemd has
// the same), of which one has the capabilities in systemd/eni0.service.
const minUserUID = 1000

// waitForHolder returns nil when the holder of the lock has gone. It connects to the holder's
// socket, which never answers: the connection lasts as long as that.
func waitForHolder(ctx context.Context, f *os.File, log logger) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	holder := new(unix.Ucred)
	var connectErr error
	err = raw.Control(func(fd uintptr) {
		connectErr = unix.Connect(int(fd), &unix.SockaddrUnix{Name: lockName})
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			holder = peer
		}
	})
	switch {
	case err != nil:
		return err
	case errors.Is(connectErr, unix.ECONNREFUSED) || errors.Is(connectErr, unix.EAGAIN):
		sleep(ctx, 10*time.Millisecond) // it does not listen yet, or any more, or too many wait
		return nil
	case connectErr != nil:
		return os.NewSyscallError("connect", connectErr)
	case os.Geteuid() == 0 && holder.Uid >= minUserUID:
		return fmt.Errorf("held by process %d (uid %d): %w", holder.Pid, holder.Uid, errForeignHolder)
	}
	log.info("lock: waiting for process %d (uid %d)", holder.Pid, holder.Uid)
	defer interruptAtEnd(ctx, f)()
	_, err = f.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("process %d (uid %d) has held it all the time", holder.Pid, holder.Uid)
	}
	return nil // end of file, or reset: it has gone
}
