"""UDP sockets of the RADIUS server: bound, drained in batches, answering from the address that was asked."""

import errno
import logging
import socket
from typing import Final

from netd.errors import ConfigError
from netd.radius.datagrams import Batched, Datagram, Single, system_calls

log = logging.getLogger(__name__)

RECEIVE_BUFFER_OCTETS: Final = 8 * 1024 * 1024
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)
_CONTROL_HEAD: Final = socket.CMSG_LEN(0)


class Socket:
    """One bound UDP socket. On a wildcard address the kernel tells where each packet was sent to, and the answer leaves from there.

    A source is the kernel's ``sockaddr``: all of it tells devices' ports apart, ``host_from`` to ``host_to`` is the address alone.
    """

    __slots__ = ("_datagrams", "_family", "_wildcard", "address", "fileno", "host_from", "host_to", "number", "port", "socket", "tag")

    def __init__(self, address: str, port: int, number: int, batched: bool = True) -> None:
        self._family = family = socket.AF_INET6 if ":" in address else socket.AF_INET
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
        self.tag = number.to_bytes(2, "big")
        self.fileno = self.socket.fileno()
        name_octets, self.host_from, self.host_to, told = (16, 4, 8, 12) if family == socket.AF_INET else (28, 8, 24, 20)
        control_octets = socket.CMSG_SPACE(told) if self._wildcard else 0  # struct in_pktinfo, in6_pktinfo
        calls = system_calls() if batched else None
        self._datagrams = Batched(self.fileno, name_octets, control_octets, calls) if calls else Single(self.socket, control_octets)

    def receive(self) -> list[Datagram]:
        """The datagrams that wait, some dozens at the most: (octets, source, what ``send`` needs to answer from the right address)."""
        return self._datagrams.receive()

    def send(self, answers: list[Datagram]) -> None:
        """Answer; what the kernel will not take is dropped (the peer asks again)."""
        if self._wildcard and self._family == socket.AF_INET:
            answers = [(data, source, _from(control)) for data, source, control in answers]
        self._datagrams.send(answers)

    def host(self, source: bytes) -> str:
        """The address in ``source`` as text."""
        return socket.inet_ntop(self._family, source[self.host_from : self.host_to])

    def close(self) -> None:
        self.socket.close()


def _from(control: bytes) -> bytes:
    """What makes an answer leave from the IPv4 address that was asked; the route is the kernel's to choose, so no interface is named."""
    at = _CONTROL_HEAD
    return control[:at] + b"\0\0\0\0" + control[at + 4 : at + 8] + bytes(len(control) - at - 8)


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
