"""RADIUS packets (RFC 2865 section 3, RFC 2866, RFC 5176): framing, authenticators, Message-Authenticator.

``parse`` and ``reply`` are the hot path of the daemon: no dictionary, no objects per attribute. Typed attribute values are in
``netd.wire.attributes``.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from hmac import compare_digest
from typing import Final

import msgspec

from netd.errors import WireError
from netd.wire.passwords import Md5

try:  # The interpreter's own MD5 copies its state several times faster than OpenSSL's, and every packet copies four.
    import _md5  # type: ignore[import-not-found]  # typeshed leaves it out
except ImportError:  # an interpreter built with OpenSSL's hashes only
    md5: Callable[[bytes], Md5] = hashlib.md5
else:
    md5 = _md5.md5

ACCESS_REQUEST: Final = 1
ACCESS_ACCEPT: Final = 2
ACCESS_REJECT: Final = 3
ACCOUNTING_REQUEST: Final = 4
ACCOUNTING_RESPONSE: Final = 5
ACCESS_CHALLENGE: Final = 11
STATUS_SERVER: Final = 12
STATUS_CLIENT: Final = 13
DISCONNECT_REQUEST: Final = 40
DISCONNECT_ACK: Final = 41
DISCONNECT_NAK: Final = 42
COA_REQUEST: Final = 43
COA_ACK: Final = 44
COA_NAK: Final = 45

CODES: Final = frozenset((1, 2, 3, 4, 5, 11, 12, 13, 40, 41, 42, 43, 44, 45))

USER_NAME: Final = 1
USER_PASSWORD: Final = 2
CHAP_PASSWORD: Final = 3
NAS_IP_ADDRESS: Final = 4
NAS_PORT: Final = 5
SERVICE_TYPE: Final = 6
FRAMED_PROTOCOL: Final = 7
FRAMED_IP_ADDRESS: Final = 8
CLASS: Final = 25
VENDOR_SPECIFIC: Final = 26
CALLED_STATION_ID: Final = 30
CALLING_STATION_ID: Final = 31
NAS_IDENTIFIER: Final = 32
PROXY_STATE: Final = 33
ACCT_STATUS_TYPE: Final = 40
EVENT_TIMESTAMP: Final = 55
CHAP_CHALLENGE: Final = 60
ARAP_PASSWORD: Final = 70
EAP_MESSAGE: Final = 79
MESSAGE_AUTHENTICATOR: Final = 80
NAS_PORT_ID: Final = 87
NAS_IPV6_ADDRESS: Final = 95
ERROR_CAUSE: Final = 101

HEADER: Final = 20
MAX_PACKET: Final = 4096
MAX_ATTRIBUTES: Final = 200
ZEROS: Final = bytes(16)
_MA_HEAD: Final = b"\x50\x12"
_MA_EMPTY: Final = _MA_HEAD + ZEROS
_ANSWERS_TO_ACCESS: Final = frozenset((ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_CHALLENGE))
_COMPUTED_AUTHENTICATOR: Final = frozenset((ACCOUNTING_REQUEST, DISCONNECT_REQUEST, COA_REQUEST))


class SharedSecret:
    """A shared secret with what every packet of its NAS begins from: the two pads of RFC 2104, and an MD5 state."""

    __slots__ = ("_inner", "_outer", "prefix", "value")

    def __init__(self, value: bytes) -> None:
        key = value if len(value) <= 64 else md5(value).digest()
        padded = int.from_bytes(key.ljust(64, b"\0"), "big")
        self.value = value
        self.prefix = md5(value)
        self._inner = (padded ^ int.from_bytes(b"\x36" * 64, "big")).to_bytes(64, "big")
        self._outer = (padded ^ int.from_bytes(b"\x5c" * 64, "big")).to_bytes(64, "big")

    def __repr__(self) -> str:
        return "SharedSecret(***)"

    def hmac_md5(self, message: bytes) -> bytes:
        """HMAC-MD5 of ``message`` (RFC 2104), 16 octets."""
        return md5(self._outer + md5(self._inner + message).digest()).digest()


class Packet(msgspec.Struct, gc=False):
    """A parsed packet. ``attributes`` holds the first value of each type, ``repeated`` the further ones in order.

    ``ma_at`` is the offset of the Message-Authenticator's value in ``data``, 0 if there is none. ``data`` ends where the
    header's length says; octets after that are padding (RFC 2865 section 3).
    """

    data: bytes
    code: int
    identifier: int
    authenticator: bytes
    attributes: dict[int, bytes]
    repeated: list[tuple[int, bytes]]
    ma_at: int

    def values(self, kind: int) -> list[bytes]:
        """All values of one attribute type, in the packet's order."""
        first = self.attributes.get(kind)
        if first is None:
            return []
        return [first, *(value for other, value in self.repeated if other == kind)]


def parse(data: bytes) -> Packet:
    """Split a datagram. Checks framing only; raises WireError for anything that RFC 2865 section 3 and 5 forbid."""
    size = len(data)
    if size < HEADER:
        raise WireError("packet_too_short", f"{size} octets")
    length = data[2] << 8 | data[3]
    if length < HEADER or length > size:
        raise WireError("length_mismatch", f"header says {length}, received {size}")
    if data[0] not in CODES:
        raise WireError("unknown_code", str(data[0]))
    if length != size:
        data = data[:length]
    attributes: dict[int, bytes] = {}
    repeated: list[tuple[int, bytes]] = []
    at = value_at = end = HEADER
    count = 0
    try:
        while at < length:  # the hottest loop of the daemon: repeated types and an overrun are noticed once, behind it
            value_at = at + 2
            end = at + data[at + 1]
            if end < value_at:
                raise WireError("attribute_length", f"type {data[at]} at octet {at}")
            attributes[data[at]] = data[value_at:end]
            count += 1
            at = end
    except IndexError:
        raise WireError("attribute_length", f"type {data[at]} at octet {at} has no length") from None
    if at != length:
        raise WireError("attribute_length", "the last attribute runs over the end")
    if count > MAX_ATTRIBUTES:
        raise WireError("too_many_attributes", str(count))
    if count != len(attributes):
        repeated = _repeated(data, attributes)
    if 0 in attributes:
        raise WireError("attribute_zero")
    ma_at = 0
    if MESSAGE_AUTHENTICATOR in attributes:
        if not repeated and data[value_at - 2] == MESSAGE_AUTHENTICATOR and end - value_at == 16:  # last, as most NAS place it
            ma_at = value_at
        else:
            ma_at = _find_message_authenticator(data, attributes, repeated)
    return Packet(data, data[0], data[1], data[4:20], attributes, repeated, ma_at)


def _repeated(data: bytes, attributes: dict[int, bytes]) -> list[tuple[int, bytes]]:
    """Let ``attributes`` have the first value of each type, and return the further ones."""
    attributes.clear()
    repeated = []
    for kind, value in split(data[HEADER:]):
        if kind in attributes:
            repeated.append((kind, value))
        else:
            attributes[kind] = value
    return repeated


def _find_message_authenticator(data: bytes, attributes: dict[int, bytes], repeated: list[tuple[int, bytes]]) -> int:
    """The offset of its value: first, as new software places it, or else looked for."""
    if len(attributes[MESSAGE_AUTHENTICATOR]) != 16 or any(kind == MESSAGE_AUTHENTICATOR for kind, _ in repeated):
        raise WireError("message_authenticator_length")
    if data[HEADER] == MESSAGE_AUTHENTICATOR:
        return HEADER + 2
    at = HEADER
    while data[at] != MESSAGE_AUTHENTICATOR:
        at += data[at + 1]
    return at + 2


def split(attributes: bytes) -> list[tuple[int, bytes]]:
    """The attributes of a packet's body in order, as (type, value)."""
    out = []
    at, length = 0, len(attributes)
    while at < length:
        if at + 2 > length:
            raise WireError("attribute_length", f"type {attributes[at]} at octet {at} has no length")
        end = at + attributes[at + 1]
        if end < at + 2 or end > length:
            raise WireError("attribute_length", f"type {attributes[at]} at octet {at}")
        out.append((attributes[at], attributes[at + 2 : end]))
        at = end
    return out


def join(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    """The inverse of ``split``; a value over 253 octets raises ValueError."""
    return b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes)


def message_authenticator_ok(packet: Packet, secret: SharedSecret, request_authenticator: bytes | None = None) -> bool:
    """Check the Message-Authenticator (RFC 2869 5.14, RFC 5176 3.4); False if it is wrong or missing.

    For an answer, ``request_authenticator`` is that of its request. Accounting and CoA requests are hashed with zeros there.
    """
    at = packet.ma_at
    if not at:
        return False
    data = packet.data
    if packet.code == ACCESS_REQUEST and at + 16 == len(data):
        return compare_digest(secret.hmac_md5(data[:at] + ZEROS), data[at:])
    if request_authenticator is not None:
        head = data[:4] + request_authenticator
    elif packet.code in _COMPUTED_AUTHENTICATOR:
        head = data[:4] + ZEROS
    else:
        head = data[:20]
    return compare_digest(secret.hmac_md5(head + data[20:at] + ZEROS + data[at + 16 :]), data[at : at + 16])


def request_authenticator_ok(packet: Packet, secret: SharedSecret) -> bool:
    """Check the authenticator of an Accounting-, Disconnect- or CoA-Request (RFC 2866 section 3, RFC 5176 section 2.3)."""
    data = packet.data
    return compare_digest(md5(data[:4] + ZEROS + data[20:] + secret.value).digest(), packet.authenticator)


def response_authenticator_ok(packet: Packet, secret: SharedSecret, request_authenticator: bytes) -> bool:
    """Check the authenticator of an answer to a request that carried ``request_authenticator`` (RFC 2865 section 3)."""
    data = packet.data
    return compare_digest(md5(data[:4] + request_authenticator + data[20:] + secret.value).digest(), packet.authenticator)


def reply(code: int, identifier: int, request_authenticator: bytes, attributes: bytes, secret: SharedSecret, sign: bool = True) -> bytes:
    """Encode an answer. ``sign`` puts a Message-Authenticator first, which every Access-* answer needs (CVE-2024-3596).

    Raises ValueError if the answer would be longer than 4096 octets.
    """
    length = len(attributes) + (38 if sign else 20)
    if length > MAX_PACKET:
        raise ValueError(f"answer of {length} octets exceeds {MAX_PACKET}")
    head = bytes((code, identifier, length >> 8, length & 255))
    if sign:
        attributes = _MA_HEAD + secret.hmac_md5(head + request_authenticator + _MA_EMPTY + attributes) + attributes
    return head + md5(head + request_authenticator + attributes + secret.value).digest() + attributes


def request(code: int, identifier: int, attributes: bytes, secret: SharedSecret, authenticator: bytes | None = None, sign: bool = True) -> bytes:
    """Encode a request. Access-Request and Status-Server take a random ``authenticator``; for the others it is computed.

    ``sign`` puts a Message-Authenticator first. Raises ValueError if the packet would be longer than 4096 octets.
    """
    length = len(attributes) + (38 if sign else 20)
    if length > MAX_PACKET:
        raise ValueError(f"request of {length} octets exceeds {MAX_PACKET}")
    head = bytes((code, identifier, length >> 8, length & 255))
    computed = code in _COMPUTED_AUTHENTICATOR
    if computed == (authenticator is not None):
        raise ValueError(f"code {code} {'computes its' if computed else 'needs an'} authenticator")
    middle = ZEROS if authenticator is None else authenticator
    if sign:
        attributes = _MA_HEAD + secret.hmac_md5(head + middle + _MA_EMPTY + attributes) + attributes
    if computed:
        middle = md5(head + ZEROS + attributes + secret.value).digest()
    return head + middle + attributes


def requires_signed_answer(code: int) -> bool:
    """Whether an answer of this code must carry a Message-Authenticator (all Access-* answers)."""
    return code in _ANSWERS_TO_ACCESS


def vendor_attributes(packet: Packet, vendor: int) -> dict[int, bytes]:
    """The sub-attributes of one vendor in the usual 1+1 octet format (RFC 2865 5.26); first value of each; bad framing is skipped.

    For the few that the engine itself reads (MS-CHAP); everything else goes through ``netd.wire.attributes``.
    """
    found: dict[int, bytes] = {}
    prefix = vendor.to_bytes(4, "big")
    for value in packet.values(VENDOR_SPECIFIC):
        if value[:4] == prefix:
            for kind, octets in sub_attributes(value):
                found.setdefault(kind, octets)
    return found


def sub_attributes(value: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each sub-attribute in a Vendor-Specific attribute's value, as far as the framing is right."""
    at = 4
    while at + 2 <= len(value):
        end = at + value[at + 1]
        if end < at + 2 or end > len(value):
            return
        yield value[at], value[at + 2 : end]
        at = end
