"""UDP sockets of the DHCP responder, and frames for clients that have no address yet."""

import errno
import fcntl
import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from netd.errors import ConfigError
from netd.ztp.server4 import CLIENT_PORT, EVERYBODY, SERVER_PORT, Arrival
from netd.ztp.server6 import Peer6

log = logging.getLogger(__name__)

BATCH: Final = 64
"""Datagrams read in one turn of the loop, so that timers and the API get theirs."""

WAITING: Final = 100_000
"""More datagrams than the buffer holds."""

RECEIVE_BUFFER_OCTETS: Final = 4 * 1024 * 1024
LONGEST: Final = 4096
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)
SO_TIMESTAMPNS: Final = 35  # Linux; Python's socket module has no name for it
CONTROL_OCTETS: Final = 128
LONGEST_WAIT_SECONDS: Final = 60.0
"""That a packet is said to have waited for, whatever was done to the clock meanwhile."""

ALL_AGENTS: Final = "ff02::1:2"
"""All_DHCP_Relay_Agents_and_Servers (RFC 8415 7.1)."""

_PKTINFO: Final = struct.Struct("@i4s4s")
SIOCGIFINDEX: Final = 0x8933  # netdevice(7)
_IFREQ: Final = struct.Struct("@16si20x")
_TIMESPEC: Final = struct.Struct("@ll")
ETHERTYPE_IPV4: Final = 0x0800
_QUIET: Final = frozenset((errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH))


class Socket4:
    """A bound UDP socket for DHCPv4; with ``interface`` only what comes in there, broadcasts included."""

    def __init__(self, address: str, port: int, interface: str = "") -> None:
        self.interface = interface
        self.index = 0
        self.socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the sockets of interfaces share the port with that of the relays
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            enlarge(sock)
            if interface:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
                self.index = socket.if_nametoindex(interface)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        self.port: int = sock.getsockname()[1]

    @property
    def deaf(self) -> bool:
        """Whether its interface was made anew since, or is gone, or has another name: nothing of that interface comes in here any more."""
        return _deaf(self.socket, self.interface, self.index)

    def receive(self, take: Callable[[bytes, Arrival], None], skip: frozenset[int]) -> None:
        """Hand on what waits, some dozens at the most. ``skip``: interfaces (numbers) with a socket of their own."""
        for _ in range(BATCH):
            try:
                data, controls, _, source = self.socket.recvmsg(LONGEST, CONTROL_OCTETS)
            except OSError as error:
                if error.errno not in _QUIET:
                    raise
                return
            local, to, index = 0, 0, 0
            for level, kind, told in controls:
                if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                    index, own, target = _PKTINFO.unpack_from(told)
                    local, to = int.from_bytes(own, "big"), int.from_bytes(target, "big")
            if not self.interface and to == EVERYBODY and index in skip:
                continue
            take(data, Arrival(int.from_bytes(socket.inet_aton(source[0]), "big"), source[1], local, self.interface, waited(controls)))

    def send(self, data: bytes, address: int, port: int, local: int) -> None:
        """Send from ``local``; what the kernel will not take is dropped, and its client asks again."""
        control = [(socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO.pack(self.index, local.to_bytes(4, "big"), bytes(4)))] if local or self.index else []
        try:
            self.socket.sendmsg((data,), control, 0, (socket.inet_ntoa(address.to_bytes(4, "big")), port))
        except OSError as error:
            log.debug("answer not sent", extra={"error": error.strerror})

    def close(self) -> None:
        self.socket.close()


def waited(controls: Sequence[tuple[int, int, bytes]]) -> float:
    """Seconds since the kernel took a packet in, by what it says with that; 0 where it says nothing."""
    for level, kind, told in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(told)
            taken_at: float = seconds + nanoseconds / 1e9
            return min(max(time.time() - taken_at, 0.0), LONGEST_WAIT_SECONDS)
    return 0.0


def _deaf(sock: socket.socket, interface: str, index: int) -> bool:
    """Whether another interface, or none, has the name now: by numbers, for a name may be one of several."""
    if not interface:
        return False
    try:
        told = fcntl.ioctl(sock, SIOCGIFINDEX, _IFREQ.pack(interface.encode(), 0))
    except OSError:  # there is none of that name
        return True
    return bool(_IFREQ.unpack(told)[1] != index)


def discard(sock: socket.socket) -> int:
    """Throw away what waits; how many packets that was."""
    for count in range(WAITING):
        try:
            sock.recv(1)
        except OSError as error:
            if error.errno not in _QUIET:
                raise
            return count
    return WAITING  # it is flooded: more comes than can be thrown away


class Frames:
    """Sends UDP datagrams in frames of their own to clients that cannot answer ARP yet. Needs CAP_NET_RAW."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)

    def send(self, data: bytes, hardware: bytes, address: int, local: int) -> None:
        """To this hardware address, as if the client had this IP address."""
        try:
            self._socket.sendto(datagram(data, local, address), (self.interface, ETHERTYPE_IPV4, 0, 0, hardware))
        except OSError as error:
            log.debug("frame not sent", extra={"interface": self.interface, "error": error.strerror})

    def close(self) -> None:
        self._socket.close()


def datagram(data: bytes, source: int, target: int) -> bytes:
    """An IPv4 packet with a UDP datagram from a server to a client, checksums included."""
    addresses = source.to_bytes(4, "big") + target.to_bytes(4, "big")
    length = 8 + len(data)
    udp = struct.pack("!HHHH", SERVER_PORT, CLIENT_PORT, length, 0) + data
    total = checksum(addresses + struct.pack("!HH", socket.IPPROTO_UDP, length) + udp) or 0xFFFF
    udp = udp[:6] + total.to_bytes(2, "big") + udp[8:]
    head = struct.pack("!BBHHHBBH", 0x45, 0x10, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + udp


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Sockets4:
    """All sockets for DHCPv4: ``netd.ztp.server4.Out``."""

    def __init__(self, relays: Sequence[Socket4], links: Sequence[tuple[Socket4, Frames]]) -> None:
        self.relays = relays
        self.links = {sock.interface: (sock, frames) for sock, frames in links}
        self._any = self.every()[0]  # the kernel routes, and the answer leaves from the address that was asked, whichever socket it goes through
        self.direct = self._numbers()

    def _numbers(self) -> frozenset[int]:
        return frozenset(sock.index for sock, _ in self.links.values())

    def renew(self, interface: str) -> Socket4:
        """Listen anew on an interface that was made anew. Raises OSError."""
        before, frames = self.links[interface]
        made = Socket4("0.0.0.0", before.port, interface)
        before.close()
        self.links[interface] = made, frames
        self._any = self.every()[0]
        self.direct = self._numbers()
        return made

    def every(self) -> list[Socket4]:
        """Those that are read from."""
        return [*self.relays, *(sock for sock, _ in self.links.values())]

    def relay(self, data: bytes, address: int, local: int) -> None:
        self._any.send(data, address, SERVER_PORT, local)

    def client(self, data: bytes, address: int, local: int) -> None:
        self._any.send(data, address, CLIENT_PORT, local)

    def link(self, data: bytes, interface: str, hardware: bytes | None, address: int, local: int) -> None:
        sock, frames = self.links[interface]
        if hardware is None:
            sock.send(data, EVERYBODY, CLIENT_PORT, local)
        else:
            frames.send(data, hardware, address, local)

    def close(self) -> None:
        """Let go of all."""
        for sock in self.relays:
            sock.close()
        for sock, frames in self.links.values():
            sock.close()
            frames.close()


def bind4(addresses: Sequence[str], port: int, interfaces: Sequence[str]) -> Sockets4 | None:
    """Bind all for DHCPv4, None if neither an IPv4 address nor an interface is configured. Raises ConfigError for what cannot be."""
    relays: list[Socket4] = []
    links: list[tuple[Socket4, Frames]] = []
    key, place = "dhcp.addresses", ""
    try:
        for address in addresses:
            if ":" not in address:
                key, place = "dhcp.addresses", f"{address} port {port}/udp"
                relays.append(Socket4(address, port))
        for name in interfaces:
            key, place = "dhcp.interfaces", f"interface {name}"
            links.append((Socket4("0.0.0.0", port, name), Frames(name)))
    except OSError as error:
        for sock in relays:
            sock.close()
        for sock, frames in links:
            sock.close()
            frames.close()
        raise ConfigError("configuration", key, f"cannot listen on {place}: {error.strerror}") from error
    return Sockets4(relays, links) if relays or links else None


class Socket6:
    """A bound UDP socket for DHCPv6; with ``interface`` what is sent to all servers and relays on that link."""

    def __init__(self, address: str, port: int, interface: str = "") -> None:
        self.interface = interface
        self.index = 0
        self.port = port
        self.socket = sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            enlarge(sock)
            if interface:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
                self.index = socket.if_nametoindex(interface)
                group = socket.inet_pton(socket.AF_INET6, ALL_AGENTS) + struct.pack("@I", self.index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise

    def receive(self, take: Callable[[bytes, Peer6], None]) -> None:
        """Hand on what waits, some dozens at the most."""
        for _ in range(BATCH):
            try:
                data, controls, _, source = self.socket.recvmsg(LONGEST, CONTROL_OCTETS)
            except OSError as error:
                if error.errno not in _QUIET:
                    raise
                return
            take(data, Peer6(source[0].partition("%")[0], source[1], source[3], self.interface, waited(controls)))

    @property
    def deaf(self) -> bool:
        """As of IPv4."""
        return _deaf(self.socket, self.interface, self.index)

    def close(self) -> None:
        self.socket.close()


class Sockets6:
    """All sockets for DHCPv6."""

    def __init__(self, sockets: Sequence[Socket6]) -> None:
        self.sockets = list(sockets)
        self._by_interface = {sock.interface: sock for sock in sockets}

    def every(self) -> list[Socket6]:
        """Those that are read from."""
        return self.sockets

    def renew(self, interface: str) -> Socket6:
        """As of IPv4."""
        before = self._by_interface[interface]
        made = Socket6("::", before.port, interface)
        before.close()
        self.sockets[self.sockets.index(before)] = self._by_interface[interface] = made
        return made

    def send(self, data: bytes, peer: Peer6) -> None:
        """``netd.ztp.server6.Send``."""
        sock = self._by_interface.get(peer.interface, self.sockets[0])
        try:
            sock.socket.sendto(data, (peer.address, peer.port, 0, peer.scope))
        except OSError as error:
            log.debug("answer not sent", extra={"error": error.strerror})

    def close(self) -> None:
        """Let go of all."""
        for sock in self.sockets:
            sock.close()


def bind6(addresses: Sequence[str], port: int, interfaces: Sequence[str]) -> Sockets6 | None:
    """Bind all for DHCPv6, None if no IPv6 address is configured. On a host without IPv6 the wildcard is left out. Raises ConfigError for what cannot be."""
    made: list[Socket6] = []
    places = [(address, "") for address in addresses if ":" in address]
    for address, name in [*places, *(("::", name) for name in interfaces if places)]:
        try:
            made.append(Socket6(address, port, name))
        except OSError as error:
            if address == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                log.warning("no IPv6 on this host: DHCPv6 is not answered", extra={"port": port})
                continue
            Sockets6(made).close()
            key = "dhcp.interfaces" if name else "dhcp.addresses"
            raise ConfigError("configuration", key, f"cannot listen on {name or address} port {port}/udp: {error.strerror}") from error
    return Sockets6(made) if made else None


def enlarge(sock: socket.socket) -> None:
    """Room for a burst (a street that has its power back); the forced option needs CAP_NET_ADMIN, the other is capped."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), RECEIVE_BUFFER_OCTETS)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
