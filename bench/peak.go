package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// weigh shows the peak memory of eni0's verbs, and of the program of bench/sdk beside it: the
// largest of several runs of each.
func (w *world) weigh() error {
	w.manager.Hold() // it is no unit of systemd's, so fix waits for nothing: the default route stays (11)
	for _, m := range []struct {
		what, args string
		wrong      bool // the world, before
		code       int
		sdk        string // what the other side's argument for this is, "" if it has none
	}{
		{"check", "check", false, 0, "check"},
		{"check, wrong world", "check", true, 10, ""},
		{"fix, nothing to do", "fix", false, 0, ""},
		{"fix, wrong world", "fix", true, 11, "fix"},
		{"swap", "swap eth0 eth1", false, 0, ""},
	} {
		ours, err := w.largest(m.wrong, m.code, "eni0", strings.Fields(m.args)...)
		if err != nil {
			return err
		}
		l := figure{what: "memory, " + m.what, ours: fmt.Sprintf("%.2f MiB", ours)}
		if m.sdk != "" && w.noSDK() == nil {
			theirs, err := w.largest(m.wrong, 0, w.sdkFile(), m.sdk)
			if err != nil {
				return err
			}
			l.other = fmt.Sprintf("%-18s%6.2f MiB", "sdk "+m.sdk, theirs)
			l.ratio = fmt.Sprintf("%.2f", ours/theirs)
		}
		l.judged(atMost(8, "MiB"), ours).print()
	}
	return nil
}

// largest is the peak memory of a command, in MiB, the largest of 20 runs in such a world.
func (w *world) largest(wrong bool, code int, name string, args ...string) (float64, error) {
	var most float64
	for range 20 {
		if err := w.become(wrong); err != nil {
			return 0, err
		}
		kib, err := peak(code, name, args...)
		if err != nil {
			return 0, err
		}
		most = max(most, float64(kib)/1024)
	}
	if most == 0 {
		return 0, fmt.Errorf("%s %s: its memory could not be read", name, strings.Join(args, " "))
	}
	return most, nil
}

// peak runs a command, which must exit with that code, and returns the most memory that was
// resident in it, in KiB; 0 if it was gone before that could be read. What wait4(2) tells would be
// the larger of its peak and ours: between fork and exec it is a copy of us.
func peak(code int, name string, args ...string) (kib int, err error) {
	runtime.LockOSThread() // ptrace(2): who is traced obeys one thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	defer cmd.Process.Release()
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil { // it stops behind its exec
		return 0, os.NewSyscallError("wait4", err)
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACEEXIT|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, os.NewSyscallError("ptrace", err)
	}
	status, kib, err := untilExit(pid)
	if err == nil && (!status.Exited() || status.ExitStatus() != code) {
		err = fmt.Errorf("%s: exit code %d (signal %d), want %d", cmd, status.ExitStatus(), status.Signal(), code)
	}
	return kib, err
}

// untilExit lets a process run to its end. It is stopped when it is about to exit (its main thread,
// whichever thread has called exit), and has all its memory then: PTRACE_EVENT_EXIT of ptrace(2).
func untilExit(pid int) (status unix.WaitStatus, kib int, err error) {
	for signal := 0; ; {
		err := unix.PtraceCont(pid, signal)
		if err != nil && err != unix.ESRCH { // ESRCH: another thread has ended it in between
			return 0, 0, os.NewSyscallError("ptrace", err)
		}
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
			return 0, 0, os.NewSyscallError("wait4", err)
		}
		signal = 0
		switch {
		case !status.Stopped():
			return status, kib, nil
		case status.TrapCause() == unix.PTRACE_EVENT_EXIT:
			if kib, err = highWater(pid); err != nil {
				return 0, 0, err
			}
		default:
			signal = int(status.StopSignal()) // one of its own, to be handed on
		}
	}
}

// highWater reads the VmHWM of a process, in KiB: proc_pid_status(5).
func highWater(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nVmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " kB")
	return strconv.Atoi(kib)
}
