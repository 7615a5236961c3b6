"""Data types of attributes (RFC 8044 and FreeRADIUS's names for them): octets, values and text.

Every function here raises ValueError, with a reason fit for an operator, for what it does not accept. Reasons never repeat strings or
octets, for those may be secrets.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from netd.wire.dictionary import Attribute

Value = int | str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""int for all integers, dates (Unix time) and bool; str for string (bytes if it is not UTF-8); bytes for octets, ifid and ether."""


class DataType(NamedTuple):
    """One data type. ``exact``: ``encode(decode(octets)) == octets`` whatever octets ``decode`` accepts."""

    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]
    parse: Callable[[str], Value]
    show: Callable[[Value], str]
    exact: bool = True
    size: int | None = None  # octets, where it is always the same


def from_text(attribute: "Attribute", text: str) -> Value:
    """Read FreeRADIUS's text form: a VALUE name (in any case), a number in decimal or hex, an address, a date, ``0x`` and hex for octets."""
    if attribute.values:
        number = attribute.values.get(text)
        if number is None:
            folded = text.casefold()
            number = next((number for name, number in attribute.values.items() if name.casefold() == folded), None)
        if number is not None:
            return number
    try:
        value = DATA_TYPES[attribute.type].parse(text)
        if attribute.size is not None and isinstance(value, bytes) and len(value) != attribute.size:
            raise ValueError(f"{attribute.size} octets are needed, not {len(value)}")
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None
    return value


def to_text(attribute: "Attribute", value: Value) -> str:
    """Show a value as :func:`from_text` reads it. Octets in place of another type, as an undecrypted attribute has, are shown in hex."""
    if isinstance(value, int) and value in attribute.names:
        return attribute.names[value]
    data_type = DATA_TYPES[attribute.type]
    if isinstance(value, bytes) and data_type is not _STRING:
        return data_type.show(value) if data_type.size == len(value) else _show_octets(value)
    return data_type.show(value)


_NUMBER: Final = re.compile(r"0x([0-9a-f]{1,16})|(-?[0-9]{1,20})", re.IGNORECASE | re.ASCII)
_ETHER: Final = re.compile(r"([0-9a-f]{1,2})([:-])([0-9a-f]{1,2})(?:\2([0-9a-f]{1,2}))" + r"(?:\2([0-9a-f]{1,2}))" * 3, re.IGNORECASE)
_IFID: Final = re.compile(r"[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){3}", re.IGNORECASE)
_ESCAPED: Final = re.compile(rb"""\\(?:([0-3][0-7]{2})|([rnt\\"'`]))""")
_TO_ESCAPE: Final = re.compile(r"[\x00-\x1f\x7f\\\udc80-\udcff]")
_LETTER_OF: Final = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\\": "\\\\"}
_CONTROL_OF: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t"}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE: Final = re.compile(r"(?:([a-z]{3}) +(\d{1,2})|(\d{1,2}) +([a-z]{3})),? +(\d{4})(?: +(\d{1,2}):(\d{2})(?::(\d{2}))?)?(?: +(?:utc|gmt))?", re.IGNORECASE)


def _number(text: str, low: int, high: int) -> int:
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is neither a number nor a name it knows")
    number = int(found[1], 16) if found[1] else int(found[2])
    return _in_range(number, low, high)


def _in_range(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise ValueError(f"{number} is not in {low}..{high}")
    return number


def _expect(octets: bytes, size: int) -> bytes:
    if len(octets) != size:
        raise ValueError(f"{size} octets are needed, not {len(octets)}")
    return octets


def _integer(size: int, signed: bool = False) -> DataType:
    low = -(1 << 8 * size - 1) if signed else 0
    high = (1 << 8 * size - signed) - 1

    def encode(value: Value) -> bytes:
        if not isinstance(value, int):
            raise ValueError("an integer is needed")
        return _in_range(value, low, high).to_bytes(size, "big", signed=signed)

    def decode(octets: bytes) -> int:
        if len(octets) != size:
            raise ValueError
        return int.from_bytes(octets, "big", signed=signed)

    return DataType(encode, decode, lambda text: _number(text, low, high), str, size=size)


def _parse_date(text: str) -> int:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _number(text, 0, 0xFFFFFFFF)
    found = _DATE.fullmatch(text)
    try:
        if found:
            month = _MONTHS.index((found[1] or found[4]).capitalize()) + 1
            hour, minute, second = (int(part or 0) for part in found.group(6, 7, 8))
            when = datetime(int(found[5]), month, int(found[2] or found[3]), hour, minute, second, tzinfo=UTC)
        else:
            when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date like 'Jan  2 2026 15:04:05 UTC', '2026-01-02T15:04:05Z' or Unix time") from None
    return _in_range(int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()), 0, 0xFFFFFFFF)


def _show_date(value: Value) -> str:
    if not isinstance(value, int):
        raise ValueError("an integer is needed")
    when = datetime.fromtimestamp(value, UTC)
    return f"{_MONTHS[when.month - 1]} {when.day:2d} {when:%Y %H:%M:%S} UTC"


def _encode_bool(value: Value) -> bytes:
    if value not in (0, 1):
        raise ValueError("0 or 1 is needed")
    return b"\1" if value else b"\0"


def _decode_bool(octets: bytes) -> int:
    if octets not in (b"\0", b"\1"):
        raise ValueError
    return octets[0]


def _parse_bool(text: str) -> int:
    known = {"yes": 1, "true": 1, "1": 1, "no": 0, "false": 0, "0": 0}.get(text.strip().lower())
    if known is None:
        raise ValueError(f"{text!r} is neither yes nor no")
    return known


def _encode_string(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("a string is needed")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError("the string cannot be written as UTF-8") from None


def _decode_string(octets: bytes) -> str | bytes:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets


def _unescape(text: str) -> bytes:
    """Undo backslash escapes as FreeRADIUS does; a backslash before anything else stands for itself."""
    octets = text.encode("utf-8", "surrogateescape")
    if b"\\" not in octets:
        return octets
    return _ESCAPED.sub(lambda m: bytes((int(m[1], 8),)) if m[1] else _CONTROL_OF.get(m[2], m[2]), octets)


def _parse_string(text: str) -> str | bytes:
    try:
        return _decode_string(_unescape(text))
    except UnicodeEncodeError:
        raise ValueError("the string cannot be written as UTF-8") from None


def _show_string(value: Value) -> str:
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    return _TO_ESCAPE.sub(lambda m: _LETTER_OF.get(m[0]) or f"\\{ord(m[0]) & 0xFF:03o}", text)


def _encode_octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("octets are needed")
    return value


def _decode_octets(octets: bytes) -> bytes:
    return octets


def _parse_octets(text: str) -> bytes:
    """Hex after ``0x``; anything else is taken as the octets of the text, as FreeRADIUS does."""
    if text[:2].lower() != "0x":
        return _encode_string(_parse_string(text))
    digits = text[2:].strip()
    if len(digits) % 2 or not re.fullmatch("[0-9a-fA-F]*", digits):
        raise ValueError("after 0x an even number of hex digits is needed")
    return bytes.fromhex(digits)


def _show_octets(value: Value) -> str:
    return "0x" + _encode_octets(value).hex()


def _fixed(size: int, parse: Callable[[str], bytes], separator: str) -> DataType:
    """Octets of one length, written in groups of hex digits."""

    def encode(value: Value) -> bytes:
        return _expect(_encode_octets(value), size)

    def show(value: Value) -> str:
        octets = _expect(_encode_octets(value), size)
        width = 2 if size == 8 else 1
        groups = [octets[at : at + width].hex() for at in range(0, size, width)]
        return separator.join(group.lstrip("0") or "0" if size == 8 else group for group in groups)

    return DataType(encode, lambda octets: _expect(octets, size), parse, show, size=size)


def _parse_ifid(text: str) -> bytes:
    if not _IFID.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not an interface identifier like 0:0:0:1")
    return b"".join(int(group, 16).to_bytes(2, "big") for group in text.strip().split(":"))


def _parse_ether(text: str) -> bytes:
    found = _ETHER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not an Ethernet address like 00:00:5e:00:53:01")
    return bytes(int(found[group], 16) for group in (1, 3, 4, 5, 6, 7))


def _encode_ipv4(value: Value) -> bytes:
    if not isinstance(value, IPv4Address):
        raise ValueError("an IPv4 address is needed")
    return value.packed


def _decode_ipv4(octets: bytes) -> IPv4Address:
    if len(octets) != 4:
        raise ValueError
    return IPv4Address(octets)


def _encode_ipv6(value: Value) -> bytes:
    if not isinstance(value, IPv6Address) or value.scope_id:
        raise ValueError("an IPv6 address is needed, without a zone")
    return value.packed


def _decode_ipv6(octets: bytes) -> IPv6Address:
    if len(octets) != 16:
        raise ValueError
    return IPv6Address(octets)


def _parse_ipv6(text: str) -> IPv6Address:
    address = IPv6Address(text.strip())
    if address.scope_id:
        raise ValueError("an IPv6 address is needed, without a zone")
    return address


def _encode_address(value: Value) -> bytes:
    return _encode_ipv4(value) if isinstance(value, IPv4Address) else _encode_ipv6(value)


def _decode_address(octets: bytes) -> IPv4Address | IPv6Address:
    return _decode_ipv4(octets) if len(octets) == 4 else _decode_ipv6(octets)


def _parse_address(text: str) -> IPv4Address | IPv6Address:
    return _parse_ipv6(text) if ":" in text else IPv4Address(text.strip())


def _encode_ipv4_prefix(value: Value) -> bytes:
    if not isinstance(value, IPv4Network):
        raise ValueError("an IPv4 network is needed")
    return bytes((0, value.prefixlen)) + value.network_address.packed


def _decode_ipv4_prefix(octets: bytes) -> IPv4Network:
    """A reserved octet, 2 bits reserved and 6 of prefix length, the address (RFC 8044 3.11)."""
    _expect(octets, 6)
    return IPv4Network((int.from_bytes(octets[2:], "big"), octets[1] & 0x3F), strict=False)


def _encode_ipv6_prefix(value: Value) -> bytes:
    if not isinstance(value, IPv6Network):
        raise ValueError("an IPv6 network is needed")
    return bytes((0, value.prefixlen)) + value.network_address.packed


def _decode_ipv6_prefix(octets: bytes) -> IPv6Network:
    """A reserved octet, the prefix length, up to 16 octets of prefix (RFC 3162 2.3); what is left out is zero."""
    if not 2 <= len(octets) <= 18 or octets[1] > 128:
        raise ValueError
    return IPv6Network((int.from_bytes(octets[2:].ljust(16, b"\0"), "big"), octets[1]), strict=False)


_STRING: Final = DataType(_encode_string, _decode_string, _parse_string, _show_string)
_OCTETS: Final = DataType(_encode_octets, _decode_octets, _parse_octets, _show_octets)
CONTAINERS: Final = frozenset(("vsa", "extended", "long-extended", "evs", "tlv"))
"""Types of attributes whose content is further attributes; the value of one as such is its octets."""

DATA_TYPES: Final[dict[str, DataType]] = {
    "string": _STRING,
    "octets": _OCTETS,
    "byte": _integer(1),
    "short": _integer(2),
    "integer": _integer(4),
    "integer64": _integer(8),
    "signed": _integer(4, signed=True),
    "date": _integer(4)._replace(parse=_parse_date, show=_show_date),
    "bool": DataType(_encode_bool, _decode_bool, _parse_bool, lambda value: "yes" if value else "no", size=1),
    "ipaddr": DataType(_encode_ipv4, _decode_ipv4, lambda text: IPv4Address(text.strip()), str, size=4),
    "ipv6addr": DataType(_encode_ipv6, _decode_ipv6, _parse_ipv6, str, size=16),
    "combo-ip": DataType(_encode_address, _decode_address, _parse_address, str),
    "ipv4prefix": DataType(_encode_ipv4_prefix, _decode_ipv4_prefix, lambda text: IPv4Network(text.strip()), str, exact=False, size=6),
    "ipv6prefix": DataType(_encode_ipv6_prefix, _decode_ipv6_prefix, lambda text: IPv6Network(text.strip()), str, exact=False),
    "ifid": _fixed(8, _parse_ifid, ":"),
    "ether": _fixed(6, _parse_ether, ":"),
} | dict.fromkeys(CONTAINERS, _OCTETS)

INTEGERS: Final = frozenset(("byte", "short", "integer", "integer64", "signed", "bool"))
"""Types that VALUE can name numbers of."""

ALIASES: Final = {
    "text": "string", "abinary": "octets", "comboip": "combo-ip", "uint8": "byte", "uint16": "short", "uint32": "integer", "uint64": "integer64",
    "int32": "signed", "ipv4addr": "ipaddr",
}  # fmt: skip
