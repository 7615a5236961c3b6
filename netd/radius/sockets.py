"""UDP sockets of the RADIUS server: bound, drained in batches, answering from the address that was asked."""

import errno
import logging
import socket
from typing import Any, Final

from netd.errors import ConfigError

log = logging.getLogger(__name__)

BATCH: Final = 64
"""Packets read per wake-up at the most, so that timers and the API get their turn under load."""

RECEIVE_BUFFER_OCTETS: Final = 8 * 1024 * 1024
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)
_MAX_DATAGRAM: Final = 65535

Source = tuple[str, int] | tuple[str, int, int, int]
Ancillary = list[tuple[int, int, bytes]]


class Socket:
    """One bound UDP socket. On a wildcard address the kernel tells where each packet was sent to, and the answer leaves from there."""

    __slots__ = ("_wildcard", "address", "fileno", "number", "port", "socket")

    def __init__(self, address: str, port: int, number: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._wildcard = address in ("0.0.0.0", "::")
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self._wildcard:
            if family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        _enlarge(self.socket)
        try:
            self.socket.bind((address, port))
        except OSError:
            self.socket.close()
            raise
        self.address = address
        self.port: int = self.socket.getsockname()[1]
        self.number = number
        self.fileno = self.socket.fileno()

    def receive(self, most: int) -> list[tuple[bytes, Source, Any]]:
        """The datagrams that wait, ``most`` at the most: (octets, source, what ``send`` needs to answer it)."""
        received: list[tuple[bytes, Source, Any]] = []
        try:
            if self._wildcard:
                read = self.socket.recvmsg
                while len(received) < most:
                    data, ancillary, _, source = read(_MAX_DATAGRAM, 64)
                    received.append((data, source, ancillary))
            else:
                read_from = self.socket.recvfrom
                while len(received) < most:
                    data, source = read_from(_MAX_DATAGRAM)
                    received.append((data, source, None))
        except (BlockingIOError, InterruptedError):
            return received
        except OSError as error:  # an ICMP error of an earlier answer surfaces here; it says nothing about the next packet
            if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                raise
        return received

    def send(self, data: bytes, source: Source, ancillary: Ancillary | None) -> bool:
        """Answer; False if the kernel would not take it (the peer will ask again)."""
        try:
            if ancillary:
                self.socket.sendmsg((data,), _from(ancillary), 0, source)
            else:
                self.socket.sendto(data, source)
        except OSError as error:
            log.debug("answer not sent", extra={"to": source[0], "error": str(error)})
            return False
        return True

    def close(self) -> None:
        self.socket.close()


def _from(ancillary: Ancillary) -> Ancillary:
    """What makes the answer leave from the address that the question went to; the route is the kernel's to choose."""
    level, kind, data = ancillary[0]
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
        return [(level, kind, b"\0\0\0\0" + data[4:8] + b"\0\0\0\0")]
    return [(level, kind, data[:20])]


def _enlarge(sock: socket.socket) -> None:
    """Room for a burst (every NAS of a site comes back at once); the forced option needs CAP_NET_ADMIN, the other is capped."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), RECEIVE_BUFFER_OCTETS)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)


def bind(addresses: tuple[str, ...], port: int, key: str, first_number: int) -> list[Socket]:
    """Bind every address. IPv6's wildcard is left out on a host without IPv6; any other failure is a ConfigError naming ``key``."""
    bound: list[Socket] = []
    try:
        for address in addresses:
            try:
                bound.append(Socket(address, port, first_number + len(bound)))
            except OSError as error:
                if address == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(addresses) > 1:
                    log.warning("no IPv6 on this host: not listening on it", extra={"port": port})
                    continue
                raise ConfigError("configuration", key, f"cannot listen on {address} port {port}/udp: {error.strerror}") from error
    except ConfigError:
        for sock in bound:
            sock.close()
        raise
    return bound
