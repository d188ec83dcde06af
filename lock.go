package main

// This file is the lock: one eni0 at a time changes a network namespace. It is an abstract unix
// socket (unix(7)), which needs no file, belongs to the network namespace, and goes with the
// process.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the address of the socket; the @ stands for a NUL.
const lockName = "@eni0"

// acquireLock waits until no other eni0 has the lock, and takes it. Others wait until unlock is
// called or the process ends. Any user can bind the address of an abstract socket, but an ordinary
// user can't change a network: root does not wait for a holder that is one.
func acquireLock(ctx context.Context, log logger) (unlock func(), err error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		const kind = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
		fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
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

// errForeignHolder means that the holder of the lock can't be an eni0 that changes the network.
var errForeignHolder = errors.New("an ordinary user's")

// minUserUID is the first uid of ordinary users (SYS_UID_MAX of useradd(8), and systemd). Below are
// root and system users: the user of systemd/eni0.service, which has capabilities, is one.
const minUserUID = 1000

// waitForHolder returns nil when the holder of the lock has gone. It connects to the holder's
// socket, which accepts nothing: the connection lasts as long as the socket.
func waitForHolder(ctx context.Context, f *os.File, log logger) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	holder := new(unix.Ucred)
	var connectErr error
	err = raw.Control(func(fd uintptr) {
		connectErr = unix.Connect(int(fd), &unix.SockaddrUnix{Name: lockName})
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			holder = peer
		}
	})
	switch {
	case err != nil:
		return err
	case errors.Is(connectErr, unix.ECONNREFUSED) || errors.Is(connectErr, unix.EAGAIN):
		sleep(ctx, 10*time.Millisecond) // it does not listen, or too many wait
		return nil
	case connectErr != nil:
		return os.NewSyscallError("connect", connectErr)
	case os.Geteuid() == 0 && holder.Uid >= minUserUID:
		return fmt.Errorf("held by process %d (uid %d): %w",
			holder.Pid, holder.Uid, errForeignHolder)
	}
	log.info("lock: waiting for process %d (uid %d)", holder.Pid, holder.Uid)
	defer interruptAtEnd(ctx, f)()
	_, err = f.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("process %d (uid %d) has held it all the time", holder.Pid, holder.Uid)
	}
	return nil // end of file, or reset: it has gone
}
