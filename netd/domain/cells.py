"""Values as the cells of a table, and back: what is written is read as the same value, whatever it is.

A list has an item per line of its cell, for no item has a line end in it. Texts that a spreadsheet would take for a formula get an apostrophe in
front, as spreadsheets themselves do it, which is taken away again when they are read.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final, NamedTuple

import msgspec

from netd.domain import inputs

Cell = str | int | float | None

_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def told(value: Any) -> Cell:
    """A value of a report, which is never read again: times to the second, a list's items with commas between."""
    match value:
        case bool():
            return "yes" if value else "no"
        case None | int() | float() | str():
            return value
        case datetime():
            return written_moment(value.replace(microsecond=0))
        case list() | tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def neutral(text: str) -> str:
    """The text as a cell that no spreadsheet runs."""
    return "'" + text if _FORMULA.match(text) else text


def restored(text: str) -> str:
    """What ``neutral`` was given."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


class Form(NamedTuple):
    """How values of a kind are written and read. ``write`` is not asked for None; ``read`` gives what the column's type is made of, or raises
    ValueError, and is not asked for an empty cell. With ``exact`` blanks around the text belong to it; of a ``listed`` one an empty cell is an empty
    list."""

    write: Callable[[Any], Cell]
    read: Callable[[str], Any]
    exact: bool = False
    listed: bool = False


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise ValueError(f"{text[:20]!r} is not a whole number")
    return int(text)


def _decimal(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]!r} is not a number")
    return value


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("is not JSON") from None  # not a word of it: arguments and variables may have secrets


def _written_json(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, sort_keys=True)


_FLAGS = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"{text[:20]!r} is neither yes nor no") from None


def moment(text: str) -> datetime:
    """A day (its begin, UTC) or a time with its offset. Raises ValueError."""
    try:
        if len(text) == 10:
            at = datetime.combine(date.fromisoformat(text), time(), UTC)
        else:
            at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is neither a day (2027-01-31) nor a time (2027-01-31T12:00:00Z)") from None
    return _kept(text, at)


def _kept(text: str, at: datetime) -> datetime:
    try:
        return inputs.moment(at).astimezone(UTC)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from None


def written_moment(at: datetime) -> str:
    """A time as ``moment`` reads it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _items(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def _plain_items(text: str) -> list[str]:
    return [item.strip() for item in re.split(r"[\n,;]", text) if item.strip()]


def _attributes(text: str) -> list[dict[str, str]]:
    found = []
    for line in _items(text):
        name, _, rest = line.partition(" ")
        op, _, value = rest.partition(" ")
        if not op:
            raise ValueError(f"{line[:60]!r} is not of the form ATTRIBUTE OPERATOR VALUE")
        found.append({"attribute": name, "op": op, "value": value})
    return found


_PAIR: Final = re.compile(r'\s*([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)')
_BARE: Final = re.compile(r'[^\s"\\]+')


def pairs(members: Mapping[str, Any]) -> str:
    """``nas=bras1 circuit_id="eth 1/1"``: what is None is left out, ``all`` if that is everything."""
    told = [(name, str(value)) for name, value in members.items() if value is not None]
    return " ".join(f"{name}={value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)}" for name, value in told) or "all"


def read_pairs(text: str) -> dict[str, str]:
    """What ``pairs`` wrote. Raises ValueError."""
    found: dict[str, str] = {}
    at = 0
    text = text.strip()
    while at < len(text) and text != "all":
        match = _PAIR.match(text, at)
        if match is None or match[1] in found:
            raise ValueError(f'{text[:60]!r} is not of the form NAME=VALUE NAME="VALUE WITH BLANKS"')
        value = match[2]
        try:
            found[match[1]] = json.loads(value) if value[0] == '"' else value
        except ValueError:
            raise ValueError(f"{value[:60]} is not a text in quotes") from None
        at = match.end()
    return found


def pairs_of(*members: str) -> Form:
    """A list of structs with these members."""

    def write(values: Sequence[Any]) -> str:
        return "\n".join(pairs({name: _text(getattr(value, name)) for name in members}) for value in values)

    def read(text: str) -> list[dict[str, str]]:
        found = [read_pairs(line) for line in _items(text)]
        for each in found:
            if strange := [name for name in each if name not in members]:
                raise ValueError(f"{strange[0]} is not known here; there are {', '.join(members)}")
        return found

    return Form(write, read, listed=True)


def _text(value: Any) -> str | None:
    return written_moment(value) if isinstance(value, datetime) else None if value is None else str(value)


WORD: Final = Form(str, str)
TEXT: Final = Form(str, str, exact=True)
NUMBER: Final = Form(int, _number)
DECIMAL: Final = Form(float, _decimal)
JSON: Final = Form(_written_json, _json)
FLAG: Final = Form(lambda value: "yes" if value else "no", _flag)
MOMENT: Final = Form(written_moment, moment)
LINES: Final = Form(lambda values: "\n".join(map(str, values)), _items, exact=True, listed=True)
"""A list of texts, in which there may be commas."""
WORDS: Final = Form(lambda values: "\n".join(map(str, values)), _plain_items, listed=True)
"""A list of addresses or the like; commas and semicolons part them, too."""
ATTRIBUTES: Final = Form(lambda values: "\n".join(f"{each.attribute} {each.op} {each.value}" for each in values), _attributes, exact=True, listed=True)
"""RADIUS attributes: ``Filter-Id := slow``, one a line."""


def _one_of(words: Sequence[str]) -> Form:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text[:40]!r} is not one of {', '.join(words)}")
        return text

    return Form(str, read)


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def form_of(kind: Any) -> Form:
    """The form of a plain type, whatever its constraints: numbers, yes and no, times, else a word."""
    found = _bare(msgspec.inspect.type_info(kind))
    if isinstance(found, msgspec.inspect.UnionType):
        found = next(each for each in map(_bare, found.types) if not isinstance(each, msgspec.inspect.NoneType))
    match found:
        case msgspec.inspect.IntType():
            return NUMBER
        case msgspec.inspect.FloatType():
            return DECIMAL
        case msgspec.inspect.BoolType():
            return FLAG
        case msgspec.inspect.DateTimeType():
            return MOMENT
        case msgspec.inspect.LiteralType():
            return _one_of([str(value) for value in found.values])
        case msgspec.inspect.StrType():
            return WORD
        case _:
            raise TypeError(f"say in which form a {type(found).__name__} is to be written")
