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

// foreignTimeout is how long a run waits at most, in all, for holders that may be no eni0. Any user
// can bind the address of an abstract socket, and must not keep root from its work.
const foreignTimeout = 3 * time.Second

// errLocked means that another eni0 has had the lock all the time.
var errLocked = errors.New("another eni0 is at work")

// acquireLock waits until no other eni0 has the lock, and takes it. Others wait until unlock is
// called or the process ends. A holder that is neither root nor this user, or that can't be told,
// is waited for until patience is over: then it goes on without the lock, and held is false.
func acquireLock(ctx context.Context, patience time.Duration, log logger) (
	unlock func(), held bool, err error) {
	var foreign context.Context // since there is no holder but such that may be no eni0
	told := false
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, false, errorf("lock: %w", err)
		}
		f, err := bindLock()
		if err == nil {
			return func() { _ = f.Close() }, true, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, false, errorf("lock: %w", err)
		}
		who, own, conn := findHolder()
		if !told {
			log.info("lock: %v: waiting for %s", errLocked, who)
			told = true
		}
		if own {
			foreign = nil
			waitForEnd(ctx, conn)
			if ctx.Err() != nil {
				return nil, false, errorf("lock: %w: %s: %w", errLocked, who, context.Cause(ctx))
			}
			continue
		}
		if foreign == nil {
			var cancel context.CancelFunc
			foreign, cancel = withTimeout(ctx, patience)
			defer cancel()
		}
		waitForEnd(foreign, conn)
		// An eni0 that has just taken the lock does not listen yet. Others may end each connection.
		sleep(foreign, 10*time.Millisecond)
		if ctx.Err() == nil && foreign.Err() != nil {
			log.warn("lock: held by %s for %v: going on without it", who, patience)
			return func() {}, false, nil
		}
	}
}

// bindLock takes the lock if nobody has it, or returns EADDRINUSE.
func bindLock() (*os.File, error) {
	const kind = unix.SOCK_STREAM | unix.SOCK_CLOEXEC
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: lockName})
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "lock"), nil
}

// findHolder connects to the socket of the lock's holder, who accepts nothing: the connection lasts
// as long as that socket. It returns who that is, for messages, and whether it is root or this user,
// so that it may be an eni0. There is no connection where the holder does not listen, or where too
// many wait already, so that nobody can tell who it is.
func findHolder() (who string, own bool, conn *os.File) {
	const unknown = "somebody who can't be told"
	const kind = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return unknown, false, nil
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: lockName})
	holder, credErr := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || credErr != nil {
		_ = unix.Close(fd)
		return unknown, false, nil
	}
	own = holder.Uid == 0 || int(holder.Uid) == os.Geteuid()
	who = fmt.Sprintf("process %d (uid %d)", holder.Pid, holder.Uid)
	return who, own, os.NewFile(uintptr(fd), "lock")
}

// waitForEnd waits until the other end of the connection, if there is one, has gone, or ctx ends.
func waitForEnd(ctx context.Context, conn *os.File) {
	if conn == nil {
		return
	}
	defer conn.Close()
	defer interruptAtEnd(ctx, conn)()
	_, _ = conn.Read(make([]byte, 1)) // end of file, reset, or the end of ctx
}
