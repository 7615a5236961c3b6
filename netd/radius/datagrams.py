"""Many datagrams per system call: recvmmsg and sendmmsg, which Python does not have; and the same with one call each where they cannot be had.

Addresses stay as the kernel wrote them (``sockaddr``), and so does what it says of the address that was asked (``cmsg``): nobody parses them for a packet.
On the hot path this saves a quarter of what reading and answering a datagram costs.
"""

import errno
import logging
import mmap
import socket
import struct
from array import array
from collections.abc import Callable
from typing import Any, Final, NamedTuple

log = logging.getLogger(__name__)

BATCH: Final = 64
"""Datagrams per call at the most, so that timers and the API get their turn under load."""

Datagram = tuple[bytes, bytes, bytes]
"""The octets; the ``sockaddr`` they came from or go to; the control message that tells the local address, b"" where the socket has only one."""

_HEADER: Final = struct.Struct("@PIPNPNi0PI0P")  # struct mmsghdr: name, its length, iovec, their number, control, its length, flags; octets
_OCTETS_AT: Final = struct.calcsize("@PIPNPNi0P")
_SLOT: Final = 65536 + 192  # not a power of two: all slots would share the same few lines of the cache
_OUT: Final = BATCH * 4096
_QUIET: Final = frozenset((errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH))
"""Nothing there; or an ICMP error of an earlier answer, which says nothing about the next packet."""

_PAGES: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Calls(NamedTuple):
    """What is needed of the C library."""

    receive: Callable[[int, int, int, int, None], int]  # recvmmsg
    send: Callable[[int, int, int, int], int]  # sendmmsg
    error: Callable[[], int]  # errno of the last of them that returned -1
    address: Callable[[mmap.mmap], int]


def system_calls() -> Calls | None:
    """recvmmsg and sendmmsg, None if there are none or ctypes cannot be used (an old libffi under MemoryDenyWriteExecute)."""
    try:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        receive, send = library.recvmmsg, library.sendmmsg
    except (ImportError, MemoryError, OSError, AttributeError) as error:
        log.warning("each datagram takes a system call of its own", extra={"reason": str(error)})
        return None
    receive.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    send.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    return Calls(receive, send, ctypes.get_errno, lambda memory: ctypes.addressof(ctypes.c_char.from_buffer(memory)))


class _Messages:
    """BATCH message headers and the memory they point to: names and controls of one length each, and octets."""

    def __init__(self, name_octets: int, control_octets: int, room: int, calls: Calls) -> None:
        self.iovecs_at = BATCH * _HEADER.size
        self.controls_at = self.iovecs_at + BATCH * struct.calcsize("@PN")
        self.names_at = self.controls_at + BATCH * control_octets
        self.data_at = -(-(self.names_at + BATCH * name_octets) // 64) * 64
        self.memory = memory = mmap.mmap(-1, self.data_at + room, _PAGES)
        self.address = address = calls.address(memory)
        for i in range(BATCH):
            name, control = address + self.names_at + i * name_octets, address + self.controls_at + i * control_octets
            iovec = self.iovecs_at + i * struct.calcsize("@PN")
            _HEADER.pack_into(memory, i * _HEADER.size, name, name_octets, address + iovec, 1, control if control_octets else 0, control_octets, 0, 0)
            struct.pack_into("@PN", memory, iovec, address + self.data_at + i * _SLOT, _SLOT)


class Batched:
    """The datagrams of one socket, BATCH per system call."""

    def __init__(self, fileno: int, name_octets: int, control_octets: int, calls: Calls) -> None:
        self._fileno = fileno
        self._name_octets = name_octets
        self._control_octets = control_octets
        self._receive = calls.receive
        self._send = calls.send
        self._error = calls.error
        self._in = _Messages(name_octets, control_octets, BATCH * _SLOT, calls)
        self._out = _Messages(name_octets, control_octets, _OUT, calls)
        self._inbox: mmap.mmap = self._in.memory
        self._outbox: mmap.mmap = self._out.memory
        self._blank = self._inbox[: self._in.names_at]  # the kernel writes lengths over those that it was given
        octets = memoryview(self._inbox)[: self._in.iovecs_at].cast("I")
        self._octets = octets[_OCTETS_AT // 4 :: _HEADER.size // 4]
        self._iovecs = memoryview(self._outbox)[self._out.iovecs_at : self._out.controls_at].cast("L")

    def receive(self) -> list[Datagram]:
        """The datagrams that wait. Raises OSError for what is wrong with the socket itself."""
        inbox, messages, blank = self._inbox, self._in, self._blank
        inbox[: len(blank)] = blank
        count = self._receive(self._fileno, messages.address, BATCH, socket.MSG_DONTWAIT, None)
        if count < 0:
            return _nothing(self._error())
        size, control_size = self._name_octets, self._control_octets
        names = inbox[messages.names_at : messages.names_at + count * size]
        controls = inbox[messages.controls_at : messages.controls_at + count * control_size]
        at, name_at, control_at = messages.data_at, 0, 0
        received = []
        lengths: list[int] = self._octets[:count].tolist()
        for length in lengths:
            received.append((inbox[at : at + length], names[name_at : name_at + size], controls[control_at : control_at + control_size]))
            at += _SLOT
            name_at += size
            control_at += control_size
        return received

    def send(self, datagrams: list[Datagram]) -> None:
        """Send them; one that the kernel does not take is left out (whoever wants it asks again). Each is 4096 octets long at the most."""
        for start in range(0, len(datagrams), BATCH):
            self._send_batch(datagrams[start : start + BATCH])

    def _send_batch(self, datagrams: list[Datagram]) -> None:
        outbox, messages, count = self._outbox, self._out, len(datagrams)
        data = b"".join([octets for octets, _, _ in datagrams])
        outbox[messages.data_at : messages.data_at + len(data)] = data
        outbox[messages.names_at : messages.names_at + count * self._name_octets] = b"".join([name for _, name, _ in datagrams])
        if self._control_octets:
            outbox[messages.controls_at : messages.controls_at + count * self._control_octets] = b"".join([control for _, _, control in datagrams])
        at = messages.address + messages.data_at
        places: list[int] = []
        for octets, _, _ in datagrams:
            length = len(octets)
            places.append(at)
            places.append(length)
            at += length
        self._iovecs[: 2 * count] = array("L", places)
        done = 0
        while done < count:
            sent = self._send(self._fileno, messages.address + done * _HEADER.size, count - done, 0)
            if sent < 0:
                log.debug("answer not sent", extra={"error": errno.errorcode.get(self._error(), "")})
                sent = 1
            done += sent


class Single:
    """The same with what Python has: a system call for each datagram, and addresses to and fro."""

    def __init__(self, sock: socket.socket, control_octets: int) -> None:
        self._socket = sock
        self._control_octets = control_octets
        self._family = sock.family

    def receive(self) -> list[Datagram]:
        """As ``Batched.receive``."""
        received: list[Datagram] = []
        while len(received) < BATCH:
            try:
                data, controls, _, source = self._socket.recvmsg(65535, self._control_octets)
            except OSError as error:
                return received or _nothing(error.errno or 0)
            level, kind, told = controls[0] if controls else (0, 0, b"")
            received.append((data, self._packed(source), struct.pack("@Nii", socket.CMSG_LEN(len(told)), level, kind) + told if told else b""))
        return received

    def send(self, datagrams: list[Datagram]) -> None:
        """As ``Batched.send``."""
        for data, name, control in datagrams:
            head = struct.calcsize("@Nii")
            _, level, kind = struct.unpack("@Nii", control[:head]) if control else (0, 0, 0)
            try:
                self._socket.sendmsg((data,), [(level, kind, control[head:])] if control else [], 0, self._unpacked(name))
            except OSError as error:
                log.debug("answer not sent", extra={"error": errno.errorcode.get(error.errno or 0, "")})

    def _packed(self, source: Any) -> bytes:
        if self._family == socket.AF_INET:
            return struct.pack("@H", self._family) + struct.pack("!H", source[1]) + socket.inet_aton(source[0]) + bytes(8)
        address = socket.inet_pton(socket.AF_INET6, source[0].partition("%")[0])
        return struct.pack("@H", self._family) + struct.pack("!HI", source[1], source[2]) + address + struct.pack("@I", source[3])

    def _unpacked(self, name: bytes) -> Any:
        port = int.from_bytes(name[2:4], "big")
        if self._family == socket.AF_INET:
            return socket.inet_ntoa(name[4:8]), port
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, int.from_bytes(name[4:8], "big"), struct.unpack("@I", name[24:28])[0]


def _nothing(number: int) -> list[Datagram]:
    if number not in _QUIET:
        raise OSError(number, errno.errorcode.get(number, ""))
    return []
