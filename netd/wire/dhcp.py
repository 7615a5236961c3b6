"""DHCP for IPv4 (RFC 2131, RFC 2132): messages and the options whose form a server must know.

Options are raw octets by code, joined as RFC 3396 says over the options, file and sname fields (option overload). Addresses are numbers, as everywhere
where they are computed with. ``parse`` raises WireError and nothing else; what it gives, ``encode`` writes again.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from netd.errors import WireError

BOOTREQUEST: Final = 1
BOOTREPLY: Final = 2
BROADCAST: Final = 0x8000
"""The one flag."""

DISCOVER: Final = 1
OFFER: Final = 2
REQUEST: Final = 3
DECLINE: Final = 4
ACK: Final = 5
NAK: Final = 6
RELEASE: Final = 7
INFORM: Final = 8
LEASEQUERY: Final = 10  # RFC 4388
LEASEUNASSIGNED: Final = 11
LEASEUNKNOWN: Final = 12
LEASEACTIVE: Final = 13

TYPES: Final[Mapping[int, str]] = {
    DISCOVER: "discover", OFFER: "offer", REQUEST: "request", DECLINE: "decline", ACK: "ack", NAK: "nak", RELEASE: "release", INFORM: "inform",
    LEASEQUERY: "leasequery", LEASEUNASSIGNED: "leaseunassigned", LEASEUNKNOWN: "leaseunknown", LEASEACTIVE: "leaseactive",
}  # fmt: skip

PAD: Final = 0
SUBNET_MASK: Final = 1
ROUTER: Final = 3
DNS_SERVERS: Final = 6
HOST_NAME: Final = 12
DOMAIN_NAME: Final = 15
NTP_SERVERS: Final = 42
VENDOR_SPECIFIC: Final = 43
REQUESTED_ADDRESS: Final = 50
LEASE_SECONDS: Final = 51
OVERLOAD: Final = 52
MESSAGE_TYPE: Final = 53
SERVER_ID: Final = 54
PARAMETER_LIST: Final = 55
MESSAGE_TEXT: Final = 56
MAXIMUM_SIZE: Final = 57
RENEWAL_SECONDS: Final = 58
REBINDING_SECONDS: Final = 59
VENDOR_CLASS: Final = 60
CLIENT_ID: Final = 61
TFTP_SERVER: Final = 66
BOOT_FILE: Final = 67
USER_CLASS: Final = 77
RELAY_AGENT: Final = 82
CLIENT_LAST_TRANSACTION: Final = 91
ASSOCIATED_ADDRESSES: Final = 92
VENDOR_CLASSES: Final = 124  # RFC 3925
VENDOR_OPTIONS: Final = 125
TFTP_ADDRESS: Final = 150
END: Final = 255

CIRCUIT_ID: Final = 1
"""Sub-options of the relay agent's information (RFC 3046)."""
REMOTE_ID: Final = 2
LINK_SELECTION: Final = 5  # RFC 3527
SUBSCRIBER_ID: Final = 6  # RFC 3993
SERVER_ID_OVERRIDE: Final = 11  # RFC 5107

_HEADER: Final = struct.Struct("!BBBBIHHIIII16s64s128s")
_COOKIE: Final = b"\x63\x82\x53\x63"
_OPTIONS_AT: Final = _HEADER.size + len(_COOKIE)
_SHORTEST: Final = 300
"""Octets of a BOOTP packet: some relays drop what is shorter (RFC 1542 2.1)."""

LONGEST_WITHOUT_ASKING: Final = 548
"""Octets that every client takes (RFC 2132 9.10: a datagram of 576 with its headers)."""


class Message:
    """A DHCP message. ``chaddr`` has as many octets as the header says, ``sname`` and ``file`` are text up to the first NUL (empty where
    they held options), ``options`` are in the order in which they came."""

    __slots__ = ("chaddr", "ciaddr", "file", "flags", "giaddr", "hops", "htype", "op", "options", "secs", "siaddr", "sname", "xid", "yiaddr")

    def __init__(
        self,
        op: int,
        xid: int,
        chaddr: bytes,
        options: dict[int, bytes],
        *,
        htype: int = 1,
        hops: int = 0,
        secs: int = 0,
        flags: int = 0,
        ciaddr: int = 0,
        yiaddr: int = 0,
        siaddr: int = 0,
        giaddr: int = 0,
        sname: bytes = b"",
        file: bytes = b"",
    ) -> None:
        self.op = op
        self.htype = htype
        self.hops = hops
        self.xid = xid
        self.secs = secs
        self.flags = flags
        self.ciaddr = ciaddr
        self.yiaddr = yiaddr
        self.siaddr = siaddr
        self.giaddr = giaddr
        self.chaddr = chaddr
        self.sname = sname
        self.file = file
        self.options = options

    @property
    def type(self) -> int:
        """The message type, 0 where it is BOOTP without one."""
        value = self.options.get(MESSAGE_TYPE, b"\0")
        return value[0] if len(value) == 1 else 0

    def address(self, code: int) -> int:
        """An option that holds one address; 0 if it is not there or is no address."""
        value = self.options.get(code, b"")
        return int.from_bytes(value, "big") if len(value) == 4 else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        return f"<Message {TYPES.get(self.type, self.type)} xid={self.xid:#010x} chaddr={self.chaddr.hex(':')} {self.options}>"


def parse(data: bytes) -> Message:
    """Read a message. Raises WireError: ``short``, ``no_cookie``, ``bad_op``, ``bad_hardware_address``, ``bad_option``, ``bad_overload``, ``bad_type``."""
    if len(data) < _OPTIONS_AT:
        raise WireError("short", f"{len(data)} octets")
    if data[_HEADER.size : _OPTIONS_AT] != _COOKIE:
        raise WireError("no_cookie")
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file = _HEADER.unpack_from(data)
    if op not in (BOOTREQUEST, BOOTREPLY):
        raise WireError("bad_op", str(op))
    if hlen > 16:
        raise WireError("bad_hardware_address", f"{hlen} octets")
    options: dict[int, bytes] = {}
    _read_options(data, _OPTIONS_AT, options)
    if OVERLOAD in options:
        overload = options.pop(OVERLOAD)
        if overload not in (b"\1", b"\2", b"\3"):
            raise WireError("bad_overload", overload.hex())
        if overload[0] & 1:
            _read_options(file, 0, options)
            file = b""
        if overload[0] & 2:
            _read_options(sname, 0, options)
            sname = b""
        if OVERLOAD in options:
            raise WireError("bad_overload", "overload within an overloaded field")
    kind = options.get(MESSAGE_TYPE)
    if kind is not None and len(kind) != 1:
        raise WireError("bad_type", f"{len(kind)} octets")
    return Message(
        op, xid, chaddr[:hlen], options, htype=htype, hops=hops, secs=secs, flags=flags, ciaddr=ciaddr, yiaddr=yiaddr, siaddr=siaddr, giaddr=giaddr,
        sname=sname.partition(b"\0")[0], file=file.partition(b"\0")[0],
    )  # fmt: skip


def _read_options(data: bytes, at: int, options: dict[int, bytes]) -> None:
    end = len(data)
    while at < end:
        code = data[at]
        if code == PAD:
            at += 1
            continue
        if code == END:
            return
        if at + 2 > end:
            raise WireError("bad_option", f"option {code} has no length")
        start = at + 2
        at = start + data[at + 1]
        if at > end:
            raise WireError("bad_option", f"option {code} goes beyond the end")
        value = data[start:at]
        options[code] = options[code] + value if code in options else value


def pieces(code: int, value: bytes) -> list[bytes]:
    """One option, as several of the same code where it is long (RFC 3396)."""
    if len(value) <= 255:
        return [bytes((code, len(value))) + value]
    return [bytes((code, len(part))) + part for part in (value[at : at + 255] for at in range(0, len(value), 255))]


def encode(message: Message, limit: int = 65507) -> bytes:
    """Write a message of ``limit`` octets at the most; what does not fit goes into the file and sname fields, if these are free. The relay agent's
    information is the last option (RFC 3046 2.1). Raises ValueError for what cannot be expressed, or does not fit."""
    room = limit - _OPTIONS_AT - 1
    last = b"".join(pieces(RELAY_AGENT, message.options[RELAY_AGENT])) if RELAY_AGENT in message.options else b""
    written = [pieces(code, value) for code, value in message.options.items() if code != RELAY_AGENT]
    body = b"".join([part for option in written for part in option])
    file, sname = message.file, message.sname
    if len(body) + len(last) > room:
        body, file, sname = _overloaded(written, room - len(last), file, sname)
    if len(message.chaddr) > 16 or len(sname) > 64 or len(file) > 128:
        raise ValueError("chaddr, sname or file is too long")
    data = (
        _HEADER.pack(
            message.op, message.htype, len(message.chaddr), message.hops, message.xid, message.secs, message.flags, message.ciaddr, message.yiaddr,
            message.siaddr, message.giaddr, message.chaddr, sname, file,
        ) + _COOKIE + body + last + b"\xff"
    )  # fmt: skip
    return data if len(data) >= _SHORTEST else data + bytes(_SHORTEST - len(data))


def _overloaded(written: Sequence[Sequence[bytes]], room: int, file: bytes, sname: bytes) -> tuple[bytes, bytes, bytes]:
    """The options field, file and sname with all of the options. A piece is cut only where it fits nowhere, and what comes later of an option never
    stands before what comes earlier."""
    rooms = [room - 3, 127 if not file else 0, 63 if not sname else 0]
    fields: list[list[bytes]] = [[], [], []]
    for option in written:
        at = 0
        for piece in option:
            whole = next((place for place in range(at, 3) if len(piece) <= rooms[place]), None)
            rest = piece[2:]
            for place in range(at, 3) if whole is None else (whole,):
                part = rest[: max(0, rooms[place] - 2)]
                if part or whole is not None:
                    fields[place].append(bytes((piece[0], len(part))) + part)
                    rooms[place] -= len(part) + 2
                    rest, at = rest[len(part) :], place
            if rest or (whole is None and len(piece) == 2):
                raise ValueError("the options do not fit into the message")
    used = (1 if fields[1] else 0) | (2 if fields[2] else 0)
    if fields[1]:
        file = b"".join(fields[1]) + b"\xff"
    if fields[2]:
        sname = b"".join(fields[2]) + b"\xff"
    return b"".join(fields[0]) + (bytes((OVERLOAD, 1, used)) if used else b""), file, sname


# -- forms of options ----------------------------------------------------------------------------------------------------


def suboptions(data: bytes) -> list[tuple[int, bytes]]:
    """The members of option 82, and of 43 where a vendor encapsulates: (code, raw octets) in order. Neither pads nor an end are special here, for
    RFC 3046 has none. Raises WireError ``bad_suboption``."""
    found = []
    at = 0
    while at < len(data):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise WireError("bad_suboption", data[at:].hex())
        found.append((data[at], data[at + 2 : at + 2 + data[at + 1]]))
        at += 2 + data[at + 1]
    return found


def join_suboptions(members: Iterable[tuple[int, bytes]]) -> bytes:
    """The other way. Raises ValueError for a member of more than 255 octets."""
    return b"".join(bytes((code, len(value))) + value for code, value in members)


def vendor_classes(data: bytes) -> list[tuple[int, bytes]]:
    """Option 124 (RFC 3925 3): (enterprise, data) each; the data of one with several members are joined. Raises WireError ``bad_vendor``."""
    found = []
    for enterprise, body in vendor_options(data):
        at, joined = 0, b""
        while at < len(body):
            if at + 1 + body[at] > len(body):
                raise WireError("bad_vendor", body[at:].hex())
            joined += body[at + 1 : at + 1 + body[at]]
            at += 1 + body[at]
        found.append((enterprise, joined))
    return found


def vendor_options(data: bytes) -> list[tuple[int, bytes]]:
    """Option 125 (RFC 3925 4): (enterprise, its raw sub-options) each. Raises WireError ``bad_vendor``."""
    found = []
    at = 0
    while at < len(data):
        if at + 5 > len(data) or at + 5 + data[at + 4] > len(data):
            raise WireError("bad_vendor", data[at:].hex())
        found.append((int.from_bytes(data[at : at + 4], "big"), data[at + 5 : at + 5 + data[at + 4]]))
        at += 5 + data[at + 4]
    return found


def join_vendor_options(members: Iterable[tuple[int, bytes]]) -> bytes:
    """Options 124 and 125: (enterprise, body) each. Raises ValueError for a body of more than 255 octets."""
    return b"".join(enterprise.to_bytes(4, "big") + bytes((len(body),)) + body for enterprise, body in members)


def user_classes(data: bytes) -> list[bytes]:
    """Option 77: a list as RFC 3004 has it, else the whole as one, for iPXE and others send bare text."""
    found = []
    at = 0
    while at < len(data):
        length = data[at]
        if not length or at + 1 + length > len(data):
            return [data]
        found.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return found


def address_octets(addresses: Iterable[int]) -> bytes:
    """Addresses as options hold them."""
    return b"".join(address.to_bytes(4, "big") for address in addresses)
