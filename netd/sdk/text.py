"""What drivers read out of a device's text: by the shape of its tokens, never by columns, whose widths change between releases."""

import re
from collections.abc import Iterator

_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}|(?:[0-9a-f]{4}[.-]){2}[0-9a-f]{4}|[0-9a-f]{12}|[0-9a-f]{6}-[0-9a-f]{6}", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_KEY_ENDS = re.compile(r"[:=]")
_SPAN = re.compile(r"(\d+)[ \t]*(y|w|d|h|m|s)[a-z]*(?:\(s\))?(?![a-z])", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+)[ \t]+days?[ \t,]+)?(\d+):(\d\d):(\d\d)(?:\.\d+)?")
SPAN_CHARACTERS = 200
_SECONDS = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"([\d.,]+)[ \t]*([KMGT]?)(i?)B?", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'(?<![\w.-])([a-z][\w.-]*+)=("(?:[^"\\]|\\.)*+"|\S*)')


def mac(text: str) -> str | None:
    """A MAC address in any notation as ``aa:bb:cc:dd:ee:ff``; None if the whole text is none."""
    if not _MAC.fullmatch(text):
        return None
    digits = re.sub(r"[^0-9a-fA-F]", "", text).lower()
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def number(text: str | None) -> float | None:
    """A figure with its unit or sign (``-18.1(dbm)``); None for ``-``, ``--``, ``N/A``, ``invalid`` and everything else that begins with none."""
    found = _NUMBER.match(text.strip()) if text else None
    return float(found.group()) if found else None


def seconds(text: str) -> int | None:
    """A duration as devices write it: ``6w5d11h55m45s``, ``20 day(s), 23 hour(s)``, ``2 weeks, 1 day``, ``3 days, 11:22:33``, ``0d 11:02:03``."""
    text = text[:SPAN_CHARACTERS]
    clock = _CLOCK.search(text)
    if clock is not None:
        hours, minutes, rest = (int(part) for part in clock.groups()[1:])
        before = seconds(text[: clock.start(2)]) or 0
        return before + hours * 3600 + minutes * 60 + rest
    spans = _SPAN.findall(text)
    return sum(int(count) * _SECONDS[unit.lower()] for count, unit in spans) if spans else None


def octets(text: str) -> int | None:
    """A size: ``178.1MiB``, ``1808.0KiB``, ``15,3 kB`` is not one; a K is 1024, as all devices mean it here."""
    found = _SIZE.match(text.strip())
    if found is None:
        return None
    figure = found.group(1).replace(",", "")
    try:
        return int(float(figure) * 1024 ** " KMGT".index(found.group(2).upper() or " "))
    except ValueError:
        return None


def pairs(text: str) -> dict[str, str]:
    """Lines of ``key : value`` or ``key = value``; of several with one key the first."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        ends = _KEY_ENDS.search(line)
        key = line[: ends.start()].strip() if ends is not None else ""
        if ends is not None and key and (key[0] in "(_" or key[0].isalnum()):
            found.setdefault(key, line[ends.end() :].strip())
    return found


def attributes(text: str) -> dict[str, str]:
    """``key=value key="quoted value"`` of one item, as RouterOS prints it."""
    return {key: value[1:-1].replace('\\"', '"') if value.startswith('"') else value for key, value in _ATTRIBUTE.findall(text)}


def rows(text: str) -> Iterator[list[str]]:
    """The lines of a table as tokens, without rules and empty lines."""
    for line in text.splitlines():
        tokens = line.split()
        if tokens and not re.fullmatch(r"[-=+| ]+", line):
            yield tokens
