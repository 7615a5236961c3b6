"""A group's replies as a plan.

Where the vendors' own drivers, given a rate and the like, grant just what the group has, the plan is one that netd manages: its rate can be changed, and live
sessions follow. What the drivers do not say stays beside it as a reply; what they add, and FreeRADIUS does not send, is taken away. Where that does not give
the same answer for every vendor in use, the plan is raw: it sends what the group sent, to every NAS, and its rates are only for people to read.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from netd.errors import ExtensionError
from netd.extensions import Extensions
from netd.freeradius.pairs import Pair
from netd.sdk import Avp, Service

UNKNOWN_BPS: Final = 1_000_000_000
"""Rate of a raw plan of which none is known: it only bounds what the walled garden grants."""

NO_INTERIM_SECONDS: Final = 86_400
"""Interim interval of a plan that asks for none, the longest there is: a session that never reports is taken for over after three of these."""

_INTERIM: Final = "acct-interim-interval"
_RATE: Final = re.compile(r"(\d{1,12})([kM]?)", re.ASCII)
_UNITS: Final = {"": 1, "k": 1000, "M": 1_000_000}
_NUMBERS: Final = (
    ("Session-Timeout", "session_timeout_seconds", 60, 31_536_000), ("Idle-Timeout", "idle_timeout_seconds", 30, 31_536_000),
    ("Acct-Interim-Interval", "interim_seconds", 60, 86_400),
)  # fmt: skip
_TEXTS: Final = (
    ("Framed-Pool", "ipv4_pool"), ("Framed-IPv6-Pool", "ipv6_pool"), ("Delegated-IPv6-Prefix-Pool", "delegated_ipv6_pool"),
    ("Mikrotik-Delegated-IPv6-Pool", "delegated_ipv6_pool"), ("Mikrotik-Group", "profile"), ("Huawei-Qos-Profile-Name", "profile"),
)  # fmt: skip
_RATES: Final = (  # up, down, bit/s to one of the attribute
    ("Huawei-Input-Average-Rate", "Huawei-Output-Average-Rate", 1), ("ZTE-Rate-Ctrl-SCR-Up", "ZTE-Rate-Ctrl-SCR-Down", 1),
    ("WISPr-Bandwidth-Max-Up", "WISPr-Bandwidth-Max-Down", 1), ("ChilliSpot-Bandwidth-Max-Up", "ChilliSpot-Bandwidth-Max-Down", 1000),
)  # fmt: skip
_DNS: Final = ("MS-Primary-DNS-Server", "MS-Secondary-DNS-Server", "DNS-Server-IPv6-Address")

Content = tuple[str, Any]


def members(pairs: Sequence[Pair], vendors: Collection[str], extensions: Extensions, *, raw: bool = False) -> dict[str, Any]:
    """The members of a plan, besides name and session limit, that sends these replies on every NAS of ``vendors``."""
    found = _values(pairs)
    if not raw and vendors and "down_bps" in found:
        replies = _besides(pairs, found, vendors, extensions)
        if replies is not None:
            return {"interim_seconds": NO_INTERIM_SECONDS, **_json(found), "raw": False, "replies": replies}
    kept = {name: value for name, value in found.items() if name in ("down_bps", "up_bps", "interim_seconds")}
    return {"down_bps": UNKNOWN_BPS, "up_bps": UNKNOWN_BPS, "interim_seconds": NO_INTERIM_SECONDS, **kept, "raw": True, "replies": rows(pairs)}


def rows(pairs: Iterable[Pair], held: Collection[str] = ()) -> list[dict[str, str]]:
    """Reply rows that send these pairs: the first of each attribute in place of what there is, unless it is among ``held``, the others besides."""
    seen = set(held)
    found = []
    for pair in pairs:
        bare = pair.name.partition(":")[0].casefold()
        found.append({"attribute": pair.name, "op": "+=" if bare in seen else ":=", "value": pair.text})
        seen.add(bare)
    return found


def difference(wanted: Sequence[Pair], granted: Sequence[Pair]) -> list[dict[str, str]]:
    """Reply rows of a subscriber whose plan grants ``granted`` and who is to get ``wanted``, attribute by attribute."""
    found: list[dict[str, str]] = []
    for bare in dict.fromkeys(pair.name.partition(":")[0].casefold() for pair in [*wanted, *granted]):
        own = [pair for pair in wanted if pair.name.partition(":")[0].casefold() == bare]
        plan = [pair for pair in granted if pair.name.partition(":")[0].casefold() == bare]
        left = Counter(pair.content for pair in plan)
        rest = []
        for pair in own:
            if left[pair.content]:
                left[pair.content] -= 1
            else:
                rest.append(pair)
        if not left.total():  # all of the plan's are wanted
            found += rows(rest, held=(bare,) if plan else ())
        elif own:
            found += rows(own)
        else:
            found.append({"attribute": plan[0].name.partition(":")[0], "op": "!*", "value": ""})
    return found


def _values(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Members of a plan that the replies speak of. Whether they are all that the replies say is for the drivers to tell."""
    by_name = {pair.name: pair for pair in pairs}
    found: dict[str, Any] = {}
    for name, member, low, high in _NUMBERS:
        pair = by_name.get(name)
        if pair is not None and isinstance(pair.value, int) and low <= pair.value <= high:
            found[member] = pair.value
    for name, member in _TEXTS:
        if name in by_name and 0 < len(by_name[name].text) <= 64:
            found.setdefault(member, by_name[name].text)
    servers = tuple(pair.value for name in _DNS for pair in pairs if pair.name == name)
    if servers:
        found["dns"] = servers
    for up, down, unit in reversed(_RATES):
        numbers = [by_name[name].value for name in (up, down) if name in by_name]
        if len(numbers) == 2 and all(isinstance(number, int) and number * unit >= 1000 for number in numbers):
            found |= {"up_bps": numbers[0] * unit, "down_bps": numbers[1] * unit}  # type: ignore[operator]
    if "Mikrotik-Rate-Limit" in by_name:
        found |= _mikrotik(by_name["Mikrotik-Rate-Limit"].text)
    return found


def _mikrotik(text: str) -> dict[str, int]:
    """``rx/tx [burst [threshold [time [priority]]]]``; nothing if it is not of that form."""
    fields = text.split()
    pairs = [[_bps(side) for side in field.split("/")] for field in fields[:4]]
    if not fields or any(len(pair) != 2 or None in pair for pair in pairs) or min(value or 0 for value in pairs[0]) < 1000:
        return {}
    found: dict[str, int | None] = {"up_bps": pairs[0][0], "down_bps": pairs[0][1]}
    for place, member in enumerate(("burst_{}_bps", "burst_threshold_{}_bps"), start=1):
        if len(pairs) > place:
            found |= {member.format("up"): pairs[place][0] or None, member.format("down"): pairs[place][1] or None}
    if len(pairs) > 3:
        found["burst_seconds"] = pairs[3][0] or pairs[3][1] or None
    if len(fields) > 4 and fields[4].isdecimal() and 1 <= int(fields[4]) <= 8:
        found["priority"] = int(fields[4])
    return {name: value for name, value in found.items() if value is not None}


def _bps(text: str) -> int | None:
    match = _RATE.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS[match[2]]


def _besides(pairs: Sequence[Pair], found: Mapping[str, Any], vendors: Collection[str], extensions: Extensions) -> list[dict[str, str]] | None:
    """The replies that a plan of these values needs besides, the same for all vendors; None if there are none such."""
    answers: list[list[dict[str, str]]] = []
    service = Service(**{"interim_seconds": NO_INTERIM_SECONDS, **found})
    for name in vendors:
        vendor = extensions.vendors.get(name)
        if vendor is None or vendor.access is None:
            return None
        try:
            with extensions.guard(name):
                granted = list(vendor.access.grant(service))
        except ExtensionError:
            return None
        left = Counter(_content(avp) for avp in granted)
        rest = []
        for pair in pairs:
            if left[pair.content]:
                left[pair.content] -= 1
            else:
                rest.append(pair)
        surplus = {name for (name, _), count in left.items() if count}
        if surplus - {_INTERIM}:
            return None
        held = {name for (name, _) in left} - surplus
        extra = rows(rest, held)
        if _INTERIM in surplus and not any(row["attribute"].casefold() == _INTERIM for row in extra):
            extra.append({"attribute": "Acct-Interim-Interval", "op": "!*", "value": ""})
        answers.append(extra)
    return answers[0] if all(answer == answers[0] for answer in answers) else None


def _content(avp: Avp) -> Content:
    return avp[0].casefold(), avp[1]


def _json(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [str(each) for each in value] if name == "dns" else value for name, value in found.items()}
