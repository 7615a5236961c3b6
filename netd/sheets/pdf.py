"""Tables on paper, by fpdf2."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from netd.sheets.limits import PRINTED_ROWS, Refused

# Outside of what the built-in fonts of every PDF reader have (Windows-1252), letters are drawn with this font where the machine has it.
_FONTS = tuple(Path(folder) / "DejaVuSans.ttf" for folder in ("/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/dejavu", "/usr/share/fonts/TTF"))
_MARGIN = 12.0
_LINE = 5.5
_WIDEST_CHARACTERS = 60
_NARROWEST_CHARACTERS = 6
_LETTERS = (8.0, 4.0)
"""The size of letters in points, and the least where there are many columns."""

_MILLIMETRES = 1.6
"""How wide a digit of 8 points is."""

_PADDING = 2.0


class _Paper(FPDF):
    """A4 with the title and the header on every page."""

    def __init__(self, title: str, subtitle: str, columns: Sequence[str], right: Sequence[bool]) -> None:
        super().__init__(orientation="landscape" if len(columns) > 5 else "portrait", format="A4")
        self.set_margin(_MARGIN)
        self.set_auto_page_break(True, margin=_MARGIN + 4)
        self.core_fonts_encoding = "windows-1252"
        self.table_title, self.subtitle, self.columns, self.right = title, subtitle, columns, right
        self.widths: list[float] = []
        self.letters = _LETTERS[0]
        self.family = "helvetica"

    def header(self) -> None:
        """Title, what it is about, and the names of the columns."""
        self.set_font(self.family, size=13)
        self.cell(0, 8, self.fitting(self.table_title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(self.family, size=8)
        self.cell(0, 5, self.fitting(self.subtitle), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(2)
        self.set_font(self.family, size=self.letters)
        self.set_fill_color(230, 230, 230)
        self.row(self.columns, fill=True)

    def footer(self) -> None:
        """Page 1 of 3."""
        self.set_y(-_MARGIN)
        self.set_font(self.family, size=8)
        self.cell(0, 5, f"{self.page_no()}/{{nb}}", align="R")

    def row(self, cells: Sequence[str], *, fill: bool = False) -> None:
        """One line of the table; what is too long for its column is cut, and shows it."""
        for text, width, to_right in zip(cells, self.widths, self.right, strict=True):
            self.cell(width, _LINE, self.cut(self.fitting(text), width - _PADDING), border="B", align="R" if to_right else "L", fill=fill)
        self.ln(_LINE)

    def fitting(self, text: str) -> str:
        """What of the text the font has letters for."""
        return text if self.family != "helvetica" else text.encode("windows-1252", "replace").decode("windows-1252")

    def cut(self, text: str, width: float) -> str:
        """As much of the text as there is room for."""
        if self.get_string_width(text) <= width:
            return text
        while text and self.get_string_width(text + "...") > width:
            text = text[:-1]
        return text + "..."


def write(file: BinaryIO, title: str, subtitle: str, columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]], made_at: datetime) -> None:
    """A table on A4. Raises Refused for more rows than anybody reads on paper."""
    texts: list[list[str]] = []
    numbers = [True] * len(columns)
    for row in rows:
        if len(texts) == PRINTED_ROWS:
            raise Refused(f"has more than {PRINTED_ROWS} rows, too many for paper; take CSV or XLSX, or fewer days")
        numbers = [number and not isinstance(cell, str) for number, cell in zip(numbers, row, strict=True)]
        texts.append(["" if cell is None else " ".join(str(cell).split()) for cell in row])
    paper = _Paper(title, subtitle, columns, [number and bool(texts) for number in numbers])
    _choose_font(paper, [title, subtitle, *columns], texts)
    longest = [
        min(max([len(name), _NARROWEST_CHARACTERS, *(len(row[place]) for row in texts)]), _WIDEST_CHARACTERS) for place, name in enumerate(columns)
    ]  # fmt: skip
    room = (paper.epw - _PADDING * len(longest)) / sum(longest)  # for a character, in millimetres
    paper.widths = [room * each + _PADDING for each in longest]
    paper.letters = max(_LETTERS[1], _LETTERS[0] * min(1.0, room / _MILLIMETRES))
    paper.set_creation_date(made_at)
    paper.set_title(title)
    paper.add_page()
    for each in texts:
        paper.row(each)
    file.write(bytes(paper.output()))


def _choose_font(paper: _Paper, words: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    try:
        for text in (*words, *(cell for row in texts for cell in row)):
            text.encode("windows-1252")
    except UnicodeEncodeError:
        found = next((path for path in _FONTS if path.is_file()), None)
        if found is not None:
            paper.add_font("DejaVu", fname=found)
            paper.family = "dejavu"
