"""What input structs and their checks share: texts that a column can hold, and a collector of faults."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta

from netd.errors import Conflict, Fault, InvalidInput
from netd.model import hours as access_hours
from netd.model.username import username_key

T = TypeVar("T")

# Searched from the start, so that each look-ahead speaks of the whole text; also valid in ECMA-262, as JSON Schema wants it.
NO_CONTROL = r"^(?![\s\S]*[\x00-\x1f\x7f])"
NO_OUTER_BLANKS = r"^(?!\s)(?![\s\S]*\s$)(?![\s\S]*[\x00-\x1f\x7f])"

NOTE_CONTROL = r"^(?![\s\S]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f])"

TAG = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$"

PATTERN_WORDS = {
    TAG: "must begin with a letter or digit, and have only letters (a-z), digits and _ . : / -",
    NO_CONTROL: "has a control character in it",
    NOTE_CONTROL: "has a control character in it",
    NO_OUTER_BLANKS: "begins or ends with a blank, or has a control character in it",
}
"""What is wrong with a text that does not match: nobody who typed a name should have to read a pattern."""

_WORDS = (
    (re.compile(r"Expected `str` of length >= 1"), "is empty"),
    (re.compile(r"Expected `str` of length >= (\d+)"), r"has less than \1 characters"),
    (re.compile(r"Expected `str` of length <= (\d+)"), r"has more than \1 characters"),
    (re.compile(r"Expected `array` of length <= (\d+)"), r"has more than \1 items"),
    (re.compile(r"Expected `(?:int|float)` >= (-?\d+(?:\.\d*[1-9])?)(?:\.0)?"), r"must be at least \1"),
    (re.compile(r"Expected `(?:int|float)` <= (-?\d+(?:\.\d*[1-9])?)(?:\.0)?"), r"must be at most \1"),
    (re.compile(r"Expected `(?:int|float)` > (-?\d+(?:\.\d*[1-9])?)(?:\.0)?"), r"must be more than \1"),
    (re.compile(r"Invalid RFC3339 encoded datetime"), "is not a time such as 2026-01-02T03:04:05Z"),
    (re.compile(r"Object missing required field `.*`", re.DOTALL), "is missing"),
    (re.compile(r"Object contains unknown field `.*`", re.DOTALL), "is not known here"),
)
_UNMATCHED = {f"Expected `str` matching regex {pattern!r}": words for pattern, words in PATTERN_WORDS.items()}


def in_words(what: str) -> str:
    """msgspec's sentence as an operator would say it behind the member's name; one that is not known here stays as it is."""
    if words := _UNMATCHED.get(what):
        return words
    for form, words in _WORDS:
        if match := form.fullmatch(what):
            return match.expand(words)
    return what


Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_OUTER_BLANKS)]
Note = Annotated[str, Meta(max_length=1000, pattern=NOTE_CONTROL)]

Hours = Annotated[
    str, Meta(min_length=1, max_length=1000, description="Mo-Fr 08:00-17:00, Sa 22:00-06:00 or FreeRADIUS's Login-Time", examples=["Mo-Fr 08:00-17:00"])
]
Zone = Annotated[str, Meta(min_length=1, max_length=64, description="IANA name of a time zone", examples=["Europe/Berlin"])]
Vlan = Annotated[str, Meta(min_length=1, max_length=32, pattern=NO_OUTER_BLANKS, description="a VLAN's number, or its name on the switch")]

ROW_ID_MAX = 2**63 - 1

MOMENTS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""Times are taken from the first to before the second: beyond, one is in no year in UTC, overflows by a day added, or is PostgreSQL's infinity."""


class Faults:
    """All that is wrong with one input. Parsers return None for what they reported."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, where: str, what: str) -> None:
        """Report a fault; ``where`` is a JSON pointer."""
        self.found.append(Fault(where, what))

    def check(self) -> None:
        """Raise InvalidInput if there is any."""
        if self.found:
            raise InvalidInput(self.found)

    def attempt(self, where: str, parse: Callable[[str], T], text: str | None) -> T | None:
        """``parse(text)``; a ValueError's text becomes a fault. None stays None."""
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.add(where, str(error))
            return None


def moment(at: datetime) -> datetime:
    """``at`` itself. Raises ValueError for a time without an offset, and for one at the edge of the calendar."""
    if at.tzinfo is None:
        raise ValueError("has no time zone; put Z behind it for UTC")
    if not MOMENTS[0] <= at < MOMENTS[1]:
        raise ValueError("is not in the years 1970 to 9998 (UTC)")
    return at


def address(text: str) -> IPv4Address | IPv6Address:
    """An address without prefix length. Raises ValueError."""
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        raise ValueError(f"{text!r} names an interface, which means nothing to other machines")
    return found


def ipv4(text: str) -> IPv4Address:
    """An IPv4 address. Raises ValueError."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address") from None


def prefix(text: str) -> IPv4Network | IPv6Network:
    """An address or prefix. Raises ValueError, for bits set behind the prefix length with the prefix that is meant."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is neither an IP address nor a prefix such as 10.0.0.0/24") from None
    if int(address(text.partition("/")[0])) != int(found.network_address):
        raise ValueError(f"{text!r} has bits set behind its prefix length: the prefix is {found}, the single address {text.partition('/')[0]}")
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if mapped is not None:
        raise ValueError(f"{text!r} is an IPv4 address in IPv6 form: write {mapped}")
    return found


def ipv6_prefix(text: str) -> IPv6Network:
    """An IPv6 prefix. Raises ValueError as ``prefix`` does."""
    found = prefix(text)
    if not isinstance(found, IPv6Network):
        raise ValueError(f"{text!r} is not an IPv6 prefix")
    return found


def hours(text: str) -> str:
    """Access hours as they are kept. Raises ValueError with the part that cannot be read."""
    return access_hours.canonical(text)


def zone(text: str) -> str:
    """The IANA name of a time zone that this machine knows. Raises ValueError."""
    return access_hours.time_zone(text).key


def vlan(text: str) -> str:
    """A VLAN's number or its name on the switch (RFC 3580 3.31). Raises ValueError."""
    if text.isascii() and text.isdecimal():
        if not 1 <= int(text) <= 4094:
            raise ValueError(f"VLAN {text} is not in 1..4094")
        return str(int(text))
    return text


ACCESS: Mapping[str, Callable[[str], str]] = {"access_hours": hours, "time_zone": zone, "vlan": vlan}
"""The members that plans and subscribers have in common, and how each is read."""


def given(patch: msgspec.Struct, *names: str) -> dict[str, Any]:
    """The members that a PATCH sets, of ``names`` or of all."""
    members = {name: getattr(patch, name) for name in names or patch.__struct_fields__}
    return {name: value for name, value in members.items() if value is not UNSET}


def hidden(value: msgspec.Struct, *secrets: str) -> str:
    """``repr`` with the members ``secrets`` as ``***``."""
    shown = (f"{name}={'***' if name in secrets and getattr(value, name) else repr(getattr(value, name))}" for name in value.__struct_fields__)
    return f"{type(value).__name__}({', '.join(shown)})"


def key_of(name: str) -> str:
    """A name as others are compared with it: in any case of letters, without blanks around."""
    return username_key(name)


def same_version(kind: str, found: int, wanted: int | None) -> None:
    """Raise Conflict (field ``version``) if the object is no longer at the version that the caller saw; None: any will do."""
    if wanted is not None and found != wanted:
        raise Conflict(f"the {kind} has changed meanwhile: it is at version {found}, not {wanted}", "version")
