"""What a device is, by what it says before anybody is logged in: its sysObjectID, its sysDescr, the banner of its SSH or Telnet. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from netd.extensions import DevicePlatform

NO_SERIAL = frozenset(("", "0", "none", "n/a", "unknown", "not specified", "to be filled by o.e.m."))
"""What devices say that have no serial number."""

TEXT_MOST = 1024  # characters of what a device says that are looked at


class _Known(NamedTuple):
    platform: DevicePlatform
    object_ids: tuple[tuple[int, ...], ...]
    descr: tuple[re.Pattern[str], ...]
    banner: tuple[re.Pattern[str], ...]


def oid(text: str) -> tuple[int, ...]:
    """A dotted object identifier, with or without the leading dot. Raises ValueError."""
    parts = text.strip().removeprefix(".").split(".")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is not an object identifier")
    return tuple(map(int, parts))


class Recogniser:
    """Knows what the manifests say of how platforms are recognised. Raises ValueError for an expression or identifier that is none."""

    def __init__(self, platforms: Mapping[str, DevicePlatform]) -> None:
        self._known = [_known(platforms[name]) for name in sorted(platforms)]

    def recognise(self, sys_object_id: str | None = None, sys_descr: str | None = None, banner: str | None = None) -> DevicePlatform | None:
        """The platform: of the longest sysObjectID; where several have that, or none has any, of the sysDescr, then of the banner.

        Within these the expression that fits the longest piece of the text wins, and the name decides what is still undecided.
        """
        able = self._known
        if sys_object_id is not None:
            able = _longest(able, sys_object_id) or able
        by_id = able is not self._known
        for text, which in ((sys_descr, "descr"), (banner, "banner")):
            if len(able) == 1 and by_id:
                break
            fitting = _fitting(able, text, which) if text else []
            if fitting:
                return fitting[0].platform
        return able[0].platform if by_id else None


def _known(platform: DevicePlatform) -> _Known:
    match = platform.platform.match
    try:
        return _Known(
            platform, tuple(map(oid, match.sys_object_id)), tuple(map(re.compile, match.sys_descr)), tuple(map(re.compile, match.banner)),
        )  # fmt: skip
    except re.error as error:
        raise ValueError(f"platform {platform.platform.name}: {error.pattern!r}: {error}") from error


def _longest(known: Iterable[_Known], text: str) -> list[_Known]:
    """Those with the longest prefix of a sysObjectID; none for what a device said that is none."""
    try:
        said = oid(text)
    except ValueError:
        return []
    found: list[_Known] = []
    longest = 0
    for each in known:
        length = max((len(prefix) for prefix in each.object_ids if said[: len(prefix)] == prefix), default=0)
        if length > longest:
            found, longest = [each], length
        elif length == longest and length:
            found.append(each)
    return found


def _fitting(known: Iterable[_Known], text: str, which: str) -> list[_Known]:
    """Those with an expression that fits, the longest fit first."""
    fits = []
    for each in known:
        patterns: tuple[re.Pattern[str], ...] = getattr(each, which)
        found = [match for match in (pattern.search(text[:TEXT_MOST]) for pattern in patterns) if match]
        if found:
            fits.append((max(len(match[0]) for match in found), each))
    return [each for _, each in sorted(fits, key=lambda fit: -fit[0])]
