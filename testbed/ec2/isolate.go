package ec2

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Isolate makes cmd start as root of a user namespace, and of a network and a mount namespace of
// its own. They end with the last process in them; nothing outside can be reached, nor changed by
// what is done to links, routes and mounts inside.
func Isolate(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
}

// MountSys makes /sys show the links of this namespace: a sysfs has those of where it was mounted.
// The mount stays in ours: what a user namespace mounts does not propagate (mount_namespaces(7)).
func MountSys() error {
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("sysfs", "/sys", "sysfs", flags, "")
	if err == unix.EBUSY {
		return nil // mount(2): it is there already, from the world before
	}
	return os.NewSyscallError("mount /sys", err)
}

// Explain is err, or what to do about it where Refused knows that.
func Explain(err error) error {
	if why := Refused(err); why != "" {
		return errors.New(why)
	}
	return err
}

// Refused returns a sentence that says what to do if err means that this machine does not allow
// user namespaces, else "". err is what starting an isolated command came to or, inside, what
// Launch did: Ubuntu lets the command start, but without the capabilities it needs.
func Refused(err error) string {
	switch {
	case !denied(err):
		return ""
	case errors.Is(err, unix.ENOSPC): // user_namespaces(7), "Limits"
		return "no more namespaces are allowed here: try sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000"
	case errors.Is(err, unix.EINVAL):
		return "this kernel was built without user namespaces (CONFIG_USER_NS)"
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1": // Ubuntu 23.10 and newer
		return "user namespaces are restricted here: run as root, or try sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	case setting("kernel/unprivileged_userns_clone") == "0": // Debian 10 and older, some hardened kernels
		return "user namespaces are for root only here: run as root, or try sysctl kernel.unprivileged_userns_clone=1"
	}
	return "user namespaces are not allowed here: in a container, give it --privileged; in a chroot, leave it"
}

// denied tells whether err is one of the ways in which the kernel says no to a namespace. EPERM
// means that wherever it comes from; the others can have many reasons, unless a process was being
// started.
func denied(err error) bool {
	var start *os.PathError // os/exec: "fork/exec /proc/self/exe: no space left on device"
	starting := errors.As(err, &start) && start.Op == "fork/exec"
	return errors.Is(err, unix.EPERM) || starting &&
		(errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSPC))
}

// setting returns what the sysctl holds, "" where this kernel has none of that name.
func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
