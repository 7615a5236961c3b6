"""Reading a table of subscribers: CSV octets to records, and records to values, with the place of everything that is wrong."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple, get_args

from netd.domain import inputs
from netd.domain.subscribers import PASSWORD_OCTETS, USERNAME_OCTETS
from netd.model.subscriber import State, username_key

REQUIRED = ("username", "password", "plan")
LINE_OCTETS = 64 * 1024
_STATES = get_args(State)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One record of the file: the line that it begins on and its cells, or what is wrong with it as a whole."""

    line: int
    cells: list[str]
    fault: str = ""


def records(data: bytes) -> Iterator[Record]:
    """The records of a CSV file (RFC 4180; any line end but a bare CR), the header first; blank lines are left out."""
    undecodable: dict[int, str] = {}
    reader = csv.reader(_lines(data, undecodable), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = "a quoted cell is not closed" if "unexpected end" in str(error) or "field larger" in str(error) else f"is not CSV: {error}"
            yield Record(line, [], what)
            continue
        faults = [undecodable.pop(number) for number in range(line, reader.line_num + 1) if number in undecodable] if undecodable else []
        if cells:
            yield Record(line, cells, faults[0] if faults else "")


def _lines(data: bytes, undecodable: dict[int, str]) -> Iterator[str]:
    file = io.BytesIO(data)
    if data.startswith(_BOM):
        file.seek(len(_BOM))
    for number, raw in enumerate(file, 1):
        if len(raw) > LINE_OCTETS:
            undecodable[number] = f"is longer than {LINE_OCTETS} octets"
            yield "?\n"
            continue
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            undecodable[number] = f"is not UTF-8: octet 0x{raw[error.start]:02x} at position {error.start + 1}; save the file as UTF-8"
            yield raw.decode("utf-8", "replace")


def header_faults(cells: list[str]) -> list[tuple[str, str]]:
    """What is wrong with the header, as (column, detail); ``cells`` are lower case without blanks around."""
    if len(cells) == 1 and (";" in cells[0] or "\t" in cells[0]):
        return [("", "the columns are not separated by commas")]
    faults = [(name, "is not a column of this table; there are " + ", ".join(COLUMNS)) for name in cells if name not in COLUMNS]
    faults += [(name, "stands there twice") for name in dict.fromkeys(cells) if cells.count(name) > 1]
    faults += [(name, "is missing") for name in REQUIRED if name not in cells]
    return faults


def _plain(text: str, octets: int) -> str:
    if len(text) * 4 > octets and len(text.encode()) > octets:
        raise ValueError(f"is longer than {octets} octets")
    if _CONTROL.search(text):
        raise ValueError("has a control character in it")
    return text


def _username(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return _plain(text, USERNAME_OCTETS)


def _state(text: str) -> str:
    if text not in _STATES:
        raise ValueError(f"{text!r} is not one of {', '.join(_STATES)}")
    return text


def _max_sessions(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 7 or int(text) > 1_000_000:
        raise ValueError(f"{text[:20]!r} is not a number from 0 to 1000000")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is neither a day (2027-01-31) nor a time (2027-01-31T12:00:00Z)") from None
    raise ValueError(f"{text!r} has no time zone; put Z behind it for UTC")


# Parsers of cells that are not empty. An empty cell is None, which says: as if the column were not there.
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "ipv4": inputs.ipv4, "state": _state, "max_sessions": _max_sessions, "ipv6_prefix": inputs.ipv6_prefix,
    "delegated_ipv6_prefix": inputs.ipv6_prefix, "expires_at": _moment, "full_name": lambda text: _plain(text, 1000), "note": lambda text: _plain(text, 1000),
}  # fmt: skip
COLUMNS = (*REQUIRED, *_PARSERS)


class Table:
    """Turns records of one file into values, remembering what earlier records had. ``plans`` maps lower-case names to ids."""

    def __init__(self, columns: list[str], plans: Mapping[str, int], allow_no_password: bool) -> None:
        self._columns = columns
        self._plans = plans
        self._allow_no_password = allow_no_password
        # Plain texts and numbers as keys: the garbage collector passes such dictionaries over, however large.
        self._seen: dict[str, dict[str | int, int]] = {"username": {}, "ipv4": {}, "delegated_ipv6_prefix": {}}

    def values(self, record: Record) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The record's values by column (``plan_id`` for ``plan``, ``username_key`` added) and its faults as (column, detail)."""
        if record.fault:
            return {}, [("", record.fault)]
        if len(record.cells) != len(self._columns):
            return {}, [("", f"has {len(record.cells)} cells where the header has {len(self._columns)}")]
        found: dict[str, Any] = {"state": "active"}
        faults: list[tuple[str, str]] = []
        for column, text in zip(self._columns, record.cells, strict=True):
            try:
                self._cell(found, column, text)
            except ValueError as error:
                faults.append((column, str(error)))
        faults += self._repeated(record.line, found)
        return found, faults

    def _cell(self, found: dict[str, Any], column: str, text: str) -> None:
        if column == "password":  # as it stands: blanks belong to it
            if not text and not self._allow_no_password:
                raise ValueError("is empty; without a password nobody can log in")
            found["password"] = _plain(text, PASSWORD_OCTETS) or None
            return
        text = text.strip()
        if column == "username":
            found["username"] = _username(text)
            found["username_key"] = username_key(text)
        elif column == "plan":
            plan_id = self._plans.get(text.lower())
            if plan_id is None:
                raise ValueError(f"there is no plan {text!r}" if text else "is empty")
            found["plan_id"] = plan_id
        elif text:
            found[column] = _PARSERS[column](text)

    def _repeated(self, line: int, found: dict[str, Any]) -> list[tuple[str, str]]:
        unique: list[tuple[str, str | int]] = []
        if "username_key" in found:
            unique.append(("username", found["username_key"]))
        if found["state"] != "terminated":
            if "ipv4" in found:
                unique.append(("ipv4", int(found["ipv4"])))
            if "delegated_ipv6_prefix" in found:
                unique.append(("delegated_ipv6_prefix", str(found["delegated_ipv6_prefix"])))
        faults = []
        for column, value in unique:
            first = self._seen[column].setdefault(value, line)
            if first != line:
                faults.append((column, f"stands on line {first} already"))
        return faults
