"""XLSX by openpyxl, in its streaming modes: one row in memory at a time, whatever the file."""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ERROR_CODES
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.xml import DEFUSEDXML

from netd.sheets.limits import CELL_CHARACTERS, COLUMNS, ROWS, Refused, look_inside

Row = tuple[int, list[str], dict[int, str]]
"""The row's number, its cells as text, and what is wrong with cells by place."""

FORMULA = "is a formula; put the value itself there (copy, paste as values)"

# What XML cannot carry, and what would be taken for such an escape (ECMA-376 22.9.2.19, ST_Xstring).
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_WIDTHS = (8, 60)
_BROKEN = (
    KeyError, ValueError, TypeError, AttributeError, IndexError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, ParseError, InvalidFileException,
    NotImplementedError, OSError, OverflowError,
)  # fmt: skip
"""What openpyxl and zipfile raise for files that are not as they should be."""


def read(file: BinaryIO) -> Iterator[Row]:
    """The rows of the first worksheet that have anything in them, the header first. Raises Refused."""
    if not DEFUSEDXML:
        raise RuntimeError("openpyxl reads XML without defusedxml: entities would be expanded")
    look_inside(file)
    try:
        yield from _rows(file)
    except MemoryError:
        raise Refused("needs more memory than a table may; split it, or save it as CSV") from None
    except _BROKEN as error:
        if _forbidden(error):
            raise Refused("declares XML entities, which no spreadsheet needs") from None
        raise Refused(f"is not an XLSX file, or a broken one ({type(error).__name__})") from None


def _forbidden(error: BaseException | None) -> bool:
    """Whether defusedxml refused something; openpyxl raises errors of its own from it."""
    return error is not None and (isinstance(error, DefusedXmlException) or _forbidden(error.__cause__))


def _rows(file: BinaryIO) -> Iterator[Row]:
    book = load_workbook(file, read_only=True, keep_links=False)
    if not book.worksheets:
        raise Refused("has no worksheet")
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # what the file says of its own size need not be so
    width = 0
    for number, cells in enumerate(sheet.iter_rows(), 1):
        if number > ROWS or len(cells) > COLUMNS:
            raise Refused(f"has more than {ROWS} rows or {COLUMNS} columns")
        texts, faults = _texts(cells)
        while texts and not texts[-1] and len(texts) > width:
            texts.pop()
        if not any(texts):
            continue
        width = width or len(texts)
        texts += [""] * (width - len(texts))
        yield number, texts, faults


def _texts(cells: Sequence[Any]) -> tuple[list[str], dict[int, str]]:
    texts, faults = [], {}
    for place, cell in enumerate(cells):
        value = cell.value
        if value is None:
            texts.append("")
            continue
        if cell.data_type == "f":
            faults[place] = FORMULA
        elif cell.data_type == "e":
            faults[place] = f"is the error {value} of a formula"
        texts.append(text(value))
    return texts, faults


def text(value: Any) -> str:
    """A cell's value as the same cell of a CSV file has it. Times have no zone in a spreadsheet: they are UTC."""
    if isinstance(value, str):
        return _ESCAPED.sub(_unescaped, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat() + "Z"
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code < 0xE000 else chr(code)  # half of a pair is no character


def write(file: BinaryIO, title: str, columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> None:
    """A workbook of one worksheet; the header is bold and stays in sight. Raises Refused for what no cell holds."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet(title[:31])
    sheet.freeze_panes = "A2"
    for place, name in enumerate(columns, 1):
        sheet.column_dimensions[get_column_letter(place)].width = min(max(len(name) + 4, _WIDTHS[0]), _WIDTHS[1])
    header = []
    for name in columns:
        cell = WriteOnlyCell(sheet, name)
        cell.data_type, cell.font = "s", Font(bold=True)
        header.append(cell)
    sheet.append(header)
    for number, row in enumerate(rows, 2):
        if number > ROWS:
            raise Refused(f"a spreadsheet holds {ROWS} rows; take CSV")
        sheet.append([_cell(sheet, value, number, place, columns) for place, value in enumerate(row)])
    book.save(file)


def _cell(sheet: Any, value: str | int | float | None, number: int, place: int, columns: Sequence[str]) -> Any:
    if value is None or value == "":
        return None
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)  # beyond, a spreadsheet rounds
    escaped = _UNWRITABLE.sub(lambda match: f"_x{ord(match[0]):04X}_", value)
    if len(escaped) > CELL_CHARACTERS:
        raise Refused(f"row {number}, column {columns[place]}: longer than the {CELL_CHARACTERS} characters that a cell of a spreadsheet holds; take CSV")
    if escaped in ERROR_CODES or escaped.startswith("="):
        cell = WriteOnlyCell(sheet, escaped)
        cell.data_type = "s"  # a text, whatever it looks like
        return cell
    return escaped
