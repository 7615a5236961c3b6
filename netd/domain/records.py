"""Records of a table's file: CSV octets, or the rows of an XLSX file, with the place of everything that is wrong with them."""

import asyncio
import contextlib
import csv
import io
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import IO, Final, NamedTuple

from netd.errors import InvalidInput
from netd.sheets.converter import Converter, Row

LINE_OCTETS: Final = 64 * 1024
CELL_CHARACTERS: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_SPREADSHEETS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

csv.field_size_limit(CELL_CHARACTERS)


class Record(NamedTuple):
    """One record of the file: the line (of a spreadsheet: the row) that it begins on and its cells, or what is wrong with it as a whole, or with
    cells by their place."""

    line: int
    cells: list[str]
    fault: str = ""
    faults: Mapping[int, str] = {}


@contextlib.asynccontextmanager
async def opened(data: bytes, converter: Converter, *, spreadsheet: bool = False) -> AsyncIterator[Iterator[Record]]:
    """The records of a file, which is XLSX if somebody says that it is a spreadsheet, or it begins as one. XLSX is read as a whole before."""
    async with contextlib.AsyncExitStack() as stack:
        if not (spreadsheet or data.startswith(_SPREADSHEETS)):
            found = of_csv(data)
        else:
            file = stack.enter_context(await asyncio.to_thread(_written, data))
            try:
                found = _of_rows(await stack.enter_async_context(converter.reading(file)))
            except InvalidInput as error:
                found = iter([Record(1, [], f"the file {error.faults[0].what}")])
        yield found


def _written(data: bytes) -> IO[bytes]:
    file: IO[bytes] = tempfile.TemporaryFile(prefix="netd-import-")  # noqa: SIM115 (the caller closes it)
    file.write(data)
    file.seek(0)
    return file


def _of_rows(rows: Iterator[Row]) -> Iterator[Record]:
    for line, cells, faults in rows:
        yield Record(line, cells, "", {int(place): what for place, what in faults.items()} if faults else {})


def of_csv(data: bytes) -> Iterator[Record]:
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
