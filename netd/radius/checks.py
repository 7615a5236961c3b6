"""radcheck rows: what a request must carry for its subscriber to be let in, with FreeRADIUS's operators.

All rows must hold. A row holds if any one of the request's attributes of that name fulfils it, ``!=`` and ``!~`` too, so that every operator but
``!*`` wants the attribute to be there. Strings are compared octet by octet: ``Calling-Station-Id == 00-11-22-33-44-55`` does not hold for
``00:11:22:33:44:55`` nor for another case; ``=~ (?i)^00.11.22.33.44.55$`` does.

Three things go beyond FreeRADIUS 3.2 on purpose. Patterns work on every type (there the pattern of a number or address is lost when it is read);
``=*`` and ``!*`` respect a tag; and addresses can be compared with a network. A tag that is not written matches any.
"""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Final

import msgspec

from netd.model.patterns import compile_pattern
from netd.wire.attributes import Decoded, Value, from_text, to_text
from netd.wire.dictionary import Attribute, Dictionary

Wanted = Value | re.Pattern[str] | None
"""What a row compares with: a value, a pattern for ``=~`` and ``!~``, nothing for ``=*`` and ``!*``."""

_SHOWN: Final = 4  # values of a request in the text of a failed check
_NETWORKS: Final = (IPv4Network, IPv6Network)
_FAMILIES: Final = {"ipaddr": (4,), "ipv4prefix": (4,), "ipv6addr": (6,), "ipv6prefix": (6,), "combo-ip": (4, 6)}

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WITHIN: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": lambda value, wanted: value != wanted and value.subnet_of(wanted),
    "<=": lambda value, wanted: value.subnet_of(wanted),
    ">": lambda value, wanted: value != wanted and value.supernet_of(wanted),
    ">=": lambda value, wanted: value.supernet_of(wanted),
}
OPERATORS: Final = frozenset((*_ORDER, "=~", "!~", "=*", "!*"))


def matches(op: str, attribute: Attribute, wanted: Wanted, values: Sequence[Value]) -> bool:
    """Tell whether the request's ``values`` of ``attribute`` fulfil one row.

    Numbers and dates are ordered as numbers, addresses as in the packet, strings and octets by their octets. Where ``wanted`` is a network, ``<=``
    means within it and ``>=`` around it, for addresses and prefixes alike. A value of another kind than ``wanted`` fulfils nothing.
    """
    if op == "=*":
        return bool(values)
    if op == "!*":
        return not values
    if isinstance(wanted, re.Pattern):
        found = (wanted.search(_text(attribute, value)) is not None for value in values)
        return any(found) if op == "=~" else not all(found)
    if isinstance(wanted, _NETWORKS):
        networks = (ip_network(value) for value in values if isinstance(value, (IPv4Address, IPv6Address, *_NETWORKS)))
        return any(network.version == wanted.version and _WITHIN[op](network, wanted) for network in networks)
    test = _ORDER[op]
    return any(type(value) is type(wanted) and test(value, wanted) for value in values)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One row, ready to be tried; ``tag`` None means any, ``text`` is the row as written."""

    attribute: Attribute
    op: str
    wanted: Wanted
    text: str
    tag: int | None = None


class CompiledChecks:
    """The rows of one subscriber."""

    __slots__ = ("_checks",)

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    def __len__(self) -> int:
        return len(self._checks)

    def failed(self, decoded: Sequence[Decoded]) -> str | None:
        """Describe the first row that the request does not fulfil, with what it has instead; None if it fulfils all."""
        for check in self._checks:
            name, tag = check.attribute.name, check.tag
            values = [item.value for item in decoded if item.name == name and (tag is None or item.tag == tag)]
            if not matches(check.op, check.attribute, check.wanted, values):
                return f"{check.text}: the request has {_shown(check.attribute, values)}"
        return None


def compile_checks(dictionary: Dictionary, checks: Iterable[tuple[str, str, str]]) -> CompiledChecks:
    """Make rows (attribute, operator, value) ready. ValueError names the attribute of a row that cannot be one, and why."""
    return CompiledChecks([_compile(dictionary, name, op, value) for name, op, value in checks])


def _compile(dictionary: Dictionary, written: str, op: str, text: str) -> Check:
    name, _, tag_text = written.partition(":")
    try:
        attribute = dictionary.attribute(name)
        attribute = dictionary.by_oid(attribute.oid) or attribute  # Attr-30 is received by its name
        if op not in OPERATORS:
            raise ValueError(f"{op} does not compare; one of {' '.join(sorted(OPERATORS))} does")
        if attribute.encrypt or attribute.secret:
            raise ValueError("is a secret; a password belongs to the subscriber, not to a check")
        if ":" in written and not (attribute.has_tag and tag_text.isascii() and tag_text.isdigit() and int(tag_text) <= 31):
            raise ValueError("takes no such tag")
        if "%{" in text:
            raise ValueError("%{…} is not expanded here")
        wanted = _wanted(attribute, op, text)
    except (LookupError, ValueError) as error:
        reason = str(error)
        raise ValueError(reason if reason.startswith(f"{name}: ") else f"{written}: {reason}") from None
    row = f"{written} {op}" if wanted is None else f"{written} {op} {text!r}"
    return Check(attribute=attribute, op=op, wanted=wanted, text=row, tag=int(tag_text) if tag_text else None)


def _wanted(attribute: Attribute, op: str, text: str) -> Wanted:
    if op in ("=*", "!*"):
        return None
    if op in ("=~", "!~"):
        return compile_pattern(text)
    if "/" in text and attribute.type in _FAMILIES:
        network = ip_network(text.strip())
        if network.version not in _FAMILIES[attribute.type]:
            raise ValueError(f"{network} is of the other address family")
        return network
    return from_text(attribute, text)


def _text(attribute: Attribute, value: Value) -> str:
    """What a pattern searches: strings as they are, all else as :func:`to_text` shows it (names for numbers that have one)."""
    if isinstance(value, str):
        return value
    if attribute.type == "string" and isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return to_text(attribute, value)


def _shown(attribute: Attribute, values: Sequence[Value]) -> str:
    if not values:
        return "none"
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(repr(to_text(attribute, value)) for value in values[:_SHOWN]) + more
