"""ICMP echo: RFC 792 and RFC 4443 section 4. The checksum of ICMPv6, and of what is sent by a ping socket, is the kernel's work."""

from struct import Struct
from typing import NamedTuple

_HEAD = Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}


class EchoReply(NamedTuple):
    """An answer: what was asked under ``identifier`` and ``sequence``."""

    identifier: int
    sequence: int
    payload: bytes


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An echo request for IP ``version`` 4 or 6; identifier and sequence have 16 bits."""
    head = _HEAD.pack(_REQUEST[version], 0, 0, identifier, sequence)
    return _HEAD.pack(_REQUEST[version], 0, checksum(head + payload), identifier, sequence) + payload


def echo_reply(version: int, data: bytes, *, header: bool = False) -> EchoReply | None:
    """The reply in a datagram; None for any other message. ``header``: an IPv4 header stands before it, as raw sockets give it."""
    if header:
        length = (data[0] & 0x0F) * 4 if data else 0
        data = data[length:] if length >= 20 else b""
    if len(data) < _HEAD.size:
        return None
    kind, code, _, identifier, sequence = _HEAD.unpack_from(data)
    if kind != _REPLY[version] or code != 0:
        return None
    return EchoReply(identifier, sequence, data[_HEAD.size :])
