"""Noise is looked for in pieces of a long text: what is left is the same as if it were looked for in all of it."""

import random
import re

import pytest

from netd.wire import terminal
from netd.wire.terminal import Dialect, Reader, ending

DIALECT = Dialect(
    prompt=ending(r"^olt#"),
    noise=(re.compile(r"^[ \t]*! \d+ ALARM(?:[^\n]*\n){0,40}?[^\n]*--- END[^\n]*\n?", re.MULTILINE), re.compile(r"^log: [^\n]*\n?", re.MULTILINE)),
)
ALARM = ["! 1 ALARM", "a", "b --- END x"]


@pytest.mark.parametrize("lines_at_once", [1, 3, 10, 100])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 99, 100, 101, 300])
def test_pieces(count: int, lines_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(count)
    lines: list[str] = []
    while len(lines) < count:
        lines += chance.choices([["text"], ["  more"], ["log: x"], ALARM], [4, 4, 2, 1])[0]
    screens = []
    for pieces in (10_000, lines_at_once):
        monkeypatch.setattr(terminal, "LINES_AT_ONCE", pieces)
        reader = Reader(DIALECT)
        reader.begin()
        reader.feed("\r\n".join([*lines, "olt#"]).encode())
        screens.append(reader.text())
    assert screens[0] == screens[1] == "\n".join(line for line in lines if line in ("text", "  more")).strip("\n").rstrip()
