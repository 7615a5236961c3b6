"""How answers look on a terminal: aligned tables for people, the API's own octets for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from netd.cli.client import Reply

TIMES = ("since", "until", "not_before", "not_after")
_UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


def print_json(raw: bytes) -> None:
    """Exactly what the API said."""
    sys.stdout.buffer.write(raw + b"\n" if raw else b"null\n")
    sys.stdout.buffer.flush()


def print_table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
    """Left-aligned columns, two blanks apart; numbers to the right. The header is bold on a terminal."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max([width(name), *(width(row[at]) for row in texts)]) for at, name in enumerate(header)]
    right = [bool(texts) and all(row[at].isdigit() or row[at] == "-" for row in texts) for at in range(len(header))]
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(bold + _line(header, widths, right) + plain)
    for row in texts:
        print(_line(row, widths, right))


def table_or(rows: Sequence[Sequence[object]], header: Sequence[str], none: str) -> int:
    """The table, or on standard error ``none`` if it has no row. Returns the exit code."""
    if rows:
        print_table(rows, header)
    else:
        print(f"netd: {none}", file=sys.stderr)
    return 0


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, columns, to_right in zip(cells, widths, right, strict=True):
        blanks = " " * (columns - width(cell))
        padded.append(blanks + cell if to_right else cell + blanks)
    return "  ".join(padded).rstrip()


def width(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese, Japanese and Korean characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def _text(cell: object) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return printable(str(cell))


def printable(text: str) -> str:
    """Text from afar without control characters: a device's or subscriber's name must not drive the operator's terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def print_fields(value: dict[str, Any]) -> None:
    """One object, a member per line; members without a value are left out."""
    shown = {name: member for name, member in value.items() if member not in (None, "", [], {})}
    longest = max((len(name) for name in shown), default=0)
    for name, member in shown.items():
        for place, line in enumerate(str(_field(name, member)).rstrip("\n").split("\n")):
            print(f"{'' if place else name:{longest}}  {printable(line)}".rstrip())


def _field(name: str, member: object) -> object:
    """A member as people read it: times to the second, rates and figures short, objects as JSON."""
    if name.endswith("_bps") and isinstance(member, int):
        return rate(member)
    if isinstance(member, str) and (name.endswith("_at") or name in TIMES):
        return moment(member)
    if isinstance(member, list):
        return ", ".join(_inline(each) for each in member)
    if isinstance(member, dict):
        return json.dumps(member, ensure_ascii=False)
    return round(member, 3) if isinstance(member, float) else plain(member)


def _inline(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    shown = {name: moment(member) if name.endswith("_at") else plain(member) for name, member in value.items() if member is not None}
    return " ".join(f"{name}={member}" for name, member in shown.items())


def plain(value: object) -> object:
    """A value without Python's own marks: yes and no, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, list) else value


def brief(value: object) -> str:
    """A JSON value on one line, cut where it is long."""
    text = "-" if value is None or value == "" else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def rate(bps: int | None) -> str:
    """A rate as short as it can be told exactly: 100M, 2.5G, 64k, 1500001."""
    if bps is None:
        return "-"
    for unit, letter in _UNITS:
        text = f"{bps / unit:.3f}".rstrip("0").rstrip(".")
        if bps >= unit and round(float(text) * unit) == bps:
            return text + letter
    return str(bps)


def octets(count: int) -> str:
    """A size for people: 1.5 GB, powers of 1000."""
    for unit, letter in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {letter}"
    return f"{count} B"


def span(seconds: int) -> str:
    """1h, 90m, 45s: an interval as ``values.span`` reads it."""
    for unit, letter in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def duration(seconds: int) -> str:
    """3d 04:05:06."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock


def moment(text: str | None) -> str:
    """An API time to the second: 2026-01-02 03:04:05Z."""
    return text[:19].replace("T", " ") + "Z" if text else "-"


def show(reply: Reply, as_json: bool) -> None:
    """One object."""
    if as_json:
        print_json(reply.raw)
    else:
        print_fields(reply.value)


def done(reply: Reply, as_json: bool, text: str) -> int:
    """Something was done that leaves nothing to show."""
    if as_json:
        print_json(reply.raw)
    else:
        print(printable(text))
    return 0
