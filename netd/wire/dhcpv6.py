"""DHCP for IPv6 (RFC 8415): messages, what relays wrap around them, and the options whose form a server must know.

An option is (code, raw octets); order and repetition are kept. ``parse`` and the readers raise WireError and nothing else; what they give, their
writers write again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from netd.errors import WireError

SOLICIT: Final = 1
ADVERTISE: Final = 2
REQUEST: Final = 3
CONFIRM: Final = 4
RENEW: Final = 5
REBIND: Final = 6
REPLY: Final = 7
RELEASE: Final = 8
DECLINE: Final = 9
RECONFIGURE: Final = 10
INFORMATION_REQUEST: Final = 11
RELAY_FORWARD: Final = 12
RELAY_REPLY: Final = 13

TYPES: Final[Mapping[int, str]] = {
    SOLICIT: "solicit", ADVERTISE: "advertise", REQUEST: "request", CONFIRM: "confirm", RENEW: "renew", REBIND: "rebind", REPLY: "reply",
    RELEASE: "release", DECLINE: "decline", RECONFIGURE: "reconfigure", INFORMATION_REQUEST: "information_request",
}  # fmt: skip

CLIENT_ID: Final = 1
SERVER_ID: Final = 2
IA_NA: Final = 3
IA_ADDRESS: Final = 5
OPTION_REQUEST: Final = 6
PREFERENCE: Final = 7
ELAPSED_TIME: Final = 8
RELAY_MESSAGE: Final = 9
STATUS_CODE: Final = 13
RAPID_COMMIT: Final = 14
USER_CLASS: Final = 15
VENDOR_CLASS: Final = 16
VENDOR_OPTIONS: Final = 17
INTERFACE_ID: Final = 18
DNS_SERVERS: Final = 23
DOMAIN_LIST: Final = 24
IA_PD: Final = 25
IA_PREFIX: Final = 26
REMOTE_ID: Final = 37  # RFC 4649
SUBSCRIBER_ID: Final = 38  # RFC 4580
BOOT_FILE_URL: Final = 59  # RFC 5970
BOOT_FILE_PARAMETERS: Final = 60
CLIENT_LINK_LAYER: Final = 79  # RFC 6939
SZTP_REDIRECT: Final = 136  # RFC 8572

SUCCESS: Final = 0
UNSPECIFIED_FAILURE: Final = 1
NO_ADDRESSES: Final = 2
NO_BINDING: Final = 3
NOT_ON_LINK: Final = 4
USE_MULTICAST: Final = 5
NO_PREFIXES: Final = 6

DEEPEST: Final = 8
"""Relays one behind the other (HOP_COUNT_LIMIT)."""

Option = tuple[int, bytes]


class Relay(NamedTuple):
    """What one relay wrapped around the message: addresses as numbers, its own options (the message itself aside)."""

    hops: int
    link: int
    peer: int
    options: tuple[Option, ...]


class Message(NamedTuple):
    """A message of a client or server. ``relays`` it came through, or goes back through, the outermost first."""

    type: int
    xid: int
    options: tuple[Option, ...]
    relays: tuple[Relay, ...] = ()

    def get(self, code: int) -> bytes | None:
        """The first option of that code."""
        return first(self.options, code)


def first(options: Iterable[Option], code: int) -> bytes | None:
    """The first option of that code."""
    return next((value for found, value in options if found == code), None)


def parse(data: bytes) -> Message:
    """Read a message with all that relays wrapped around it. Raises WireError: ``short``, ``bad_type``, ``bad_option``, ``too_deep``, ``no_message``."""
    relays: list[Relay] = []
    wrapper = 0
    while data and data[0] in (RELAY_FORWARD, RELAY_REPLY):
        if len(data) < 34:
            raise WireError("short", f"{len(data)} octets of a relay")
        if len(relays) >= DEEPEST:
            raise WireError("too_deep")
        if wrapper not in (0, data[0]):
            raise WireError("bad_type", "a Relay-forward within a Relay-reply, or the other way")
        wrapper = data[0]
        inner: bytes | None = None
        others: list[Option] = []
        for code, value in options(data[34:]):
            if code != RELAY_MESSAGE:
                others.append((code, value))
            elif inner is not None:
                raise WireError("bad_option", "two messages in one relay's")
            else:
                inner = value
        if inner is None:
            raise WireError("no_message")
        relays.append(Relay(data[1], int.from_bytes(data[2:18], "big"), int.from_bytes(data[18:34], "big"), tuple(others)))
        data = inner
    if len(data) < 4:
        raise WireError("short", f"{len(data)} octets")
    if data[0] not in TYPES:
        raise WireError("bad_type", str(data[0]))
    return Message(data[0], int.from_bytes(data[1:4], "big"), tuple(options(data[4:])), tuple(relays))


def encode(message: Message, wrapper: int = RELAY_REPLY) -> bytes:
    """Write a message, in ``wrapper`` messages for its relays. Raises ValueError for what cannot be expressed."""
    data = bytes((message.type,)) + message.xid.to_bytes(3, "big") + join(message.options)
    for relay in reversed(message.relays):
        head = bytes((wrapper, relay.hops)) + relay.link.to_bytes(16, "big") + relay.peer.to_bytes(16, "big")
        data = head + join([*relay.options, (RELAY_MESSAGE, data)])
    return data


def back(relays: Sequence[Relay]) -> tuple[Relay, ...]:
    """What a Relay-reply must say to each relay: addresses and hop count as they came, and its Interface-Id (RFC 8415 19.3)."""
    return tuple(relay._replace(options=tuple(option for option in relay.options if option[0] == INTERFACE_ID)) for relay in relays)


# -- options -------------------------------------------------------------------------------------------------------------


def options(data: bytes) -> list[Option]:
    """Read options. Raises WireError ``bad_option``."""
    found = []
    at, end = 0, len(data)
    while at < end:
        if at + 4 > end:
            raise WireError("bad_option", "cut off in its header")
        start = at + 4
        at = start + int.from_bytes(data[at + 2 : start], "big")
        if at > end:
            raise WireError("bad_option", f"option {int.from_bytes(data[start - 4 : start - 2], 'big')} goes beyond the end")
        found.append((int.from_bytes(data[start - 4 : start - 2], "big"), data[start:at]))
    return found


def option(code: int, value: bytes) -> bytes:
    """Write one. Raises ValueError if it is too long."""
    if len(value) > 0xFFFF:
        raise ValueError(f"option {code} has {len(value)} octets")
    return code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def join(members: Iterable[Option]) -> bytes:
    """Write options."""
    return b"".join(option(code, value) for code, value in members)


class Association(NamedTuple):
    """An identity association: IA_NA or IA_PD (RFC 8415 21.4, 21.21)."""

    iaid: int
    t1: int
    t2: int
    options: tuple[Option, ...]


def association(data: bytes) -> Association:
    """Read the value of IA_NA or IA_PD. Raises WireError ``bad_association``."""
    if len(data) < 12:
        raise WireError("bad_association", data.hex())
    head = [int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8)]
    return Association(head[0], head[1], head[2], tuple(options(data[12:])))


def association_octets(value: Association) -> bytes:
    """The other way."""
    return b"".join(number.to_bytes(4, "big") for number in value[:3]) + join(value.options)


class Leased(NamedTuple):
    """An address (``length`` 128, IA Address) or a prefix (IA Prefix), with its lifetimes in seconds."""

    address: int
    length: int
    preferred: int
    valid: int
    options: tuple[Option, ...] = ()


def leased_address(data: bytes) -> Leased:
    """Read the value of an IA Address option. Raises WireError ``bad_association``."""
    if len(data) < 24:
        raise WireError("bad_association", data.hex())
    return Leased(int.from_bytes(data[:16], "big"), 128, int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), tuple(options(data[24:])))


def leased_prefix(data: bytes) -> Leased:
    """Read the value of an IA Prefix option. Raises WireError ``bad_association``."""
    if len(data) < 25 or data[8] > 128:
        raise WireError("bad_association", data.hex())
    return Leased(int.from_bytes(data[9:25], "big"), data[8], int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big"), tuple(options(data[25:])))


def leased_option(value: Leased, prefix: bool) -> Option:
    """Write an IA Prefix, or an IA Address."""
    times = value.preferred.to_bytes(4, "big") + value.valid.to_bytes(4, "big")
    if prefix:
        return IA_PREFIX, times + bytes((value.length,)) + value.address.to_bytes(16, "big") + join(value.options)
    return IA_ADDRESS, value.address.to_bytes(16, "big") + times + join(value.options)


def status(code: int, text: str = "") -> Option:
    """A status code option."""
    return STATUS_CODE, code.to_bytes(2, "big") + text.encode()


def status_of(data: bytes) -> tuple[int, str]:
    """Read one. Raises WireError ``bad_status``."""
    if len(data) < 2:
        raise WireError("bad_status", data.hex())
    return int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace")


def texts(data: bytes) -> list[bytes]:
    """What stands in User Class, behind the enterprise in Vendor Class, in Boot File Parameters (60) and in SZTP Redirect (136): each with its length in
    two octets. Raises WireError ``bad_list``."""
    found = []
    at = 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise WireError("bad_list", data.hex())
        found.append(data[start:at])
    return found


def join_texts(members: Iterable[bytes]) -> bytes:
    """The other way. Raises ValueError for one that is too long."""
    written = []
    for member in members:
        if len(member) > 0xFFFF:
            raise ValueError(f"a member has {len(member)} octets")
        written.append(len(member).to_bytes(2, "big") + member)
    return b"".join(written)


def vendor_class(data: bytes) -> tuple[int, list[bytes]]:
    """Option 16: enterprise and its data. Raises WireError ``bad_list``."""
    if len(data) < 4:
        raise WireError("bad_list", data.hex())
    return int.from_bytes(data[:4], "big"), texts(data[4:])


def vendor_options(data: bytes) -> tuple[int, list[Option]]:
    """Option 17: enterprise and its options. Raises WireError ``bad_option``."""
    if len(data) < 4:
        raise WireError("bad_option", data.hex())
    return int.from_bytes(data[:4], "big"), options(data[4:])


def requested(message: Message) -> tuple[int, ...]:
    """The codes that the Option Request option asks for. Raises WireError ``bad_option``."""
    value = message.get(OPTION_REQUEST) or b""
    if len(value) % 2:
        raise WireError("bad_option", "an odd Option Request")
    return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2))


def hardware_address(duid: bytes) -> bytes:
    """The link-layer address in a DUID of type 1 or 3 (RFC 8415 11.2, 11.4), b"" if it holds none."""
    if duid[:2] == b"\0\1" and len(duid) > 8:
        return duid[8:]
    return duid[4:] if duid[:2] == b"\0\3" else b""


def enterprise_identifier(duid: bytes) -> tuple[int, bytes] | None:
    """Enterprise and identifier of a DUID of type 2 (Nokia: the chassis' serial number)."""
    return (int.from_bytes(duid[2:6], "big"), duid[6:]) if duid[:2] == b"\0\2" and len(duid) > 6 else None
