package ec2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errShort is the error of an rtnetlink reply that ends in the middle.
var errShort = errors.New("rtnetlink: short reply")

// request has the kernel do one thing, in the namespace of the calling thread: the kernel has done
// it, and its verdict is there to be read, before sendto returns.
func request(typ, flags uint16, body []byte) error {
	fd, err := rtnetlink()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := send(fd, typ, flags|unix.NLM_F_ACK, body); err != nil {
		return err
	}
	msgs, err := receive(fd)
	if err != nil {
		return err
	}
	return verdict(msgs[0])
}

// dump asks for everything of one kind. syscall.NetlinkRIB does the same with a header of one byte,
// which is not enough for the kinds that are checked strictly.
func dump(typ uint16, body []byte) ([]syscall.NetlinkMessage, error) {
	fd, err := rtnetlink()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := send(fd, typ, unix.NLM_F_DUMP, body); err != nil {
		return nil, err
	}
	var all []syscall.NetlinkMessage
	for {
		msgs, err := receive(fd)
		if err != nil {
			return nil, err
		}
		all = append(all, msgs...)
		switch last := msgs[len(msgs)-1]; last.Header.Type {
		case unix.NLMSG_DONE:
			return all[:len(all)-1], nil
		case unix.NLMSG_ERROR:
			return nil, verdict(last)
		}
	}
}

// rtnetlink opens a socket in the namespace of the calling thread, where it stays. The kernel gives
// it an address when it is first used.
func rtnetlink() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	return fd, os.NewSyscallError("socket", err)
}

// subscribe opens a socket that becomes readable with each event of the rtnetlink groups, in the
// namespace of the calling thread.
func subscribe(groups ...int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// By bind, not by NETLINK_ADD_MEMBERSHIP: a bind after that leaves the groups it does not name.
	addr := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	for _, g := range groups {
		addr.Groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, addr); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// send sends one message: struct nlmsghdr, and the body of its type.
func send(fd int, typ, flags uint16, body []byte) error {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // nlmsg_seq and nlmsg_pid: one socket, one request
	err := unix.Sendto(fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	return os.NewSyscallError("sendto", err)
}

// receive returns the messages of one datagram, at least one.
func receive(fd int) ([]syscall.NetlinkMessage, error) {
	b := make([]byte, 64<<10) // the kernel fills at most 32 KiB at a time
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	msgs, err := syscall.ParseNetlinkMessage(b[:n])
	if err == nil && len(msgs) == 0 {
		return nil, errShort
	}
	return msgs, err
}

// verdict is what an NLMSG_ERROR says: nil, or the kernel's errno.
func verdict(m syscall.NetlinkMessage) error {
	if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
		return errShort
	}
	if errno := -int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// align rounds a length up to where the next attribute begins: NLMSG_ALIGN, linux/netlink.h.
func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// attr appends one attribute, struct rtattr and its value, and the padding that aligns the next.
func attr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// u32 is a number as the kernel wants it in an attribute.
func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// cstring is a name as the kernel wants it in an attribute.
func cstring(s string) []byte { return append([]byte(s), 0) }

// attrs takes attributes apart by type, the nested flag taken off; of two with one type the last
// counts.
func attrs(b []byte) (map[uint16][]byte, error) {
	m := make(map[uint16][]byte)
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return nil, errShort
		}
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		m[typ] = b[unix.SizeofRtAttr:n]
		b = b[min(len(b), align(n)):] // the last may go without its padding
	}
	return m, nil
}

// number is the value of an attribute of up to eight bytes, 0 for one that is not there.
func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

// family is the address family of a.
func family(a netip.Addr) uint8 {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// about says in err what was wanted, and nothing where there is no err.
func about(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// unknownFamily tells whether err says that the kernel lacks a whole part, IPv6 or next-hop
// objects.
func unknownFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}
