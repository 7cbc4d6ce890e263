package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"behest/coap/endpoint"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// controlBytes takes a packet info (20 bytes at most) and a drop counter (4),
// with their headers (16 each) and alignment.
const controlBytes = 80

// vector is the memory of one batched call, reused by all calls of its
// direction. The kernel is given pointers into it; it lives as long as Conn.
type vector struct {
	mu      sync.Mutex
	headers []mmsghdr
	iovecs  []unix.Iovec
	names   []unix.RawSockaddrInet6 // large enough for both families
	control [][controlBytes]byte

	n     int // of this call
	done  int
	errno syscall.Errno
	call  func(fd uintptr) bool
}

func (v *vector) allocate(n int) {
	v.headers = make([]mmsghdr, n)
	v.iovecs = make([]unix.Iovec, n)
	v.names = make([]unix.RawSockaddrInet6, n)
	v.control = make([][controlBytes]byte, n)
}

// set points header i at data.
func (v *vector) set(i int, data []byte) *unix.Msghdr {
	v.iovecs[i] = unix.Iovec{Base: unsafe.SliceData(data)}
	v.iovecs[i].SetLen(len(data))
	h := &v.headers[i].hdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&v.names[i])), Iov: &v.iovecs[i], Control: &v.control[i][0]}
	h.SetIovlen(1)
	return h
}

// release lets go of the callers' buffers.
func (v *vector) release(n int) { clear(v.iovecs[:n]) }

type system struct {
	raw     syscall.RawConn
	ipv6    bool // the socket's family, hence that of its names
	in, out vector
}

// prepare sets the options that must be there before the first datagram.
func (c *Conn) prepare(network string, raw syscall.RawConn, buffer int) error {
	c.ipv6 = network == "udp6"
	var err error
	set := func(fd, level, option, value int, name string) {
		if err == nil {
			err = os.NewSyscallError(name, unix.SetsockoptInt(fd, level, option, value))
		}
	}
	controlErr := raw.Control(func(f uintptr) {
		fd := int(f)
		if c.ipv6 {
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO")
		} else {
			set(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1, "IP_PKTINFO")
		}
		set(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1, "SO_RXQ_OVFL")
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
			set(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer, "SO_RCVBUF")
		}
		// The kernel doubles what it is asked for, for its own book-keeping.
		if granted, sizeErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); sizeErr == nil {
			c.buffer = granted / 2
		}
	})
	if controlErr != nil {
		return controlErr
	}
	return err
}

func (c *Conn) start() (err error) {
	c.raw, err = c.udp.SyscallConn()
	c.in.allocate(c.batch)
	c.out.allocate(c.batch)
	c.in.call, c.out.call = c.receive, c.send
	return err
}

// mmsg runs recvmmsg or sendmmsg once; false asks the poller to wait.
func (v *vector) mmsg(trap, fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&v.headers[v.done])), uintptr(v.n-v.done),
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			v.done, v.errno = v.done+int(n), 0
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			v.errno = errno
			return true
		}
	}
}

func (c *Conn) receive(fd uintptr) bool { return c.in.mmsg(unix.SYS_RECVMMSG, fd) }
func (c *Conn) send(fd uintptr) bool    { return c.out.mmsg(unix.SYS_SENDMMSG, fd) }

// ReadBatch blocks for at least one datagram and returns how many it read.
func (c *Conn) ReadBatch(batch []endpoint.Datagram) (int, error) {
	v := &c.in
	v.mu.Lock()
	defer v.mu.Unlock()
	n := min(len(batch), c.batch)
	for i := range n {
		h := v.set(i, batch[i].Data[:cap(batch[i].Data)])
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlBytes)
	}
	v.n, v.done, v.errno = n, 0, 0
	err := c.raw.Read(v.call)
	v.release(n)
	if err != nil {
		return 0, cause(err)
	}
	if v.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", v.errno)
	}
	for i := range v.done {
		d, h := &batch[i], &v.headers[i]
		d.Data = d.Data[:h.len]
		d.Truncated = h.hdr.Flags&unix.MSG_TRUNC != 0
		d.Peer = endpoint.Peer{Remote: addressOf(&v.names[i])}
		c.readControl(v.control[i][:h.hdr.Controllen], &d.Peer.Local)
	}
	return v.done, nil
}

// addressOf reads a socket address of either family.
func addressOf(name *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&name.Port)) // in network order
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), binary.BigEndian.Uint16(port[:]))
	}
	a := netip.AddrFrom16(name.Addr).Unmap()
	if name.Scope_id != 0 && a.Is6() {
		a = a.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port[:]))
}

// readControl reads which address was asked, and the drop counter.
func (c *Conn) readControl(b []byte, local *netip.Addr) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(b) {
			return
		}
		data := b[unix.CmsgLen(0):n]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// Spec_dst is the address to answer from, for a broadcast too.
			*local = netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Spec_dst)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			if a := netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr).Unmap(); !a.IsMulticast() {
				*local = a
			}
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			c.dropped.Store(binary.NativeEndian.Uint32(data))
		}
		b = b[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(b)):]
	}
}

// WriteBatch sends the datagrams in order. It returns how many have left; an
// error concerns the one after these.
func (c *Conn) WriteBatch(batch []endpoint.Datagram) (int, error) {
	v := &c.out
	v.mu.Lock()
	defer v.mu.Unlock()
	sent := 0
	for sent < len(batch) {
		n, err := c.writeSome(batch[sent:])
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (c *Conn) writeSome(batch []endpoint.Datagram) (int, error) {
	v := &c.out
	n := min(len(batch), c.batch)
	for i := range n {
		d := &batch[i]
		h := v.set(i, d.Data)
		h.Namelen = c.setName(&v.names[i], d.Peer.Remote)
		h.SetControllen(c.setControl(&v.control[i], d.Peer.Local))
		if h.Controllen == 0 {
			h.Control = nil
		}
	}
	defer v.release(n)
	for v.n, v.done, v.errno = n, 0, 0; v.done < v.n; {
		if err := c.raw.Write(v.call); err != nil {
			return v.done, cause(err)
		}
		if v.errno != 0 {
			return v.done, os.NewSyscallError("sendmmsg", v.errno)
		}
	}
	return v.done, nil
}

// setName writes a socket address of the socket's family.
func (c *Conn) setName(name *unix.RawSockaddrInet6, to netip.AddrPort) uint32 {
	port := (*[2]byte)(unsafe.Pointer(&name.Port))
	binary.BigEndian.PutUint16(port[:], to.Port())
	if !c.ipv6 {
		name.Family = unix.AF_INET
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		v4.Addr = [4]byte{}
		if a := to.Addr().Unmap(); a.Is4() {
			v4.Addr = a.As4()
		}
		return unix.SizeofSockaddrInet4
	}
	name.Family, name.Flowinfo, name.Scope_id = unix.AF_INET6, 0, scopeOf(to.Addr().Zone())
	name.Addr = to.Addr().As16()
	return unix.SizeofSockaddrInet6
}

// scopeOf reads a zone as this package writes it, a number, or a name.
func scopeOf(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// setControl writes the address that a datagram leaves from, and returns the
// length of the message.
func (c *Conn) setControl(b *[controlBytes]byte, from netip.Addr) int {
	if !from.IsValid() {
		return 0
	}
	clear(b[:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	data := unsafe.Pointer(&b[unix.CmsgLen(0)])
	if c.ipv6 {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		(*unix.Inet6Pktinfo)(data).Addr = from.As16()
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	a := from.Unmap()
	if !a.Is4() {
		return 0
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	(*unix.Inet4Pktinfo)(data).Spec_dst = a.As4()
	return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}
