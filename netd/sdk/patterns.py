"""Regular expressions over what devices send: none that looks at the same characters again and again, and each asked only where it can match.

A pattern is for one line, unless it says ``\\n`` itself. Of a text it looks at those lines only that have one of its *needles* in them: words without which it
cannot match. That is what makes masking a large configuration quick, and as it is done line by line, other threads have their turn meanwhile.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

EDGE_CHARACTERS = 8192
LINE_CHARACTERS = 500

_ITEM = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[aiLmsux]+\)|\(\?(?:[aiLmsux-]*:|[=!>]|<[=!]|P<\w+>)|.", re.DOTALL)
_REPEAT = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d*)(?:,(?P<most>\d*))?\})[?+]?")
_UNBOUNDED = 1 << 32
_LINE_ENDS = ("\\s", "\\W", "\\D", "\\n", "\n")


class Pattern:
    """A compiled pattern (MULTILINE). ``needles`` are in lower case, none where none is known. Raises re.error."""

    def __init__(self, pattern: str) -> None:
        self.regex = re.compile(pattern, re.MULTILINE)
        read = _Reading(pattern)
        self.needles = read.all()
        self.spanning = read.spanning

    def possible(self, folded: str) -> bool:
        """Whether it can match a text that is ``folded``."""
        return not self.needles or any(needle in folded for needle in self.needles)

    def lines(self, folded: str) -> Iterator[tuple[int, int]]:
        """Where the lines of a folded text begin and end in which it can match."""
        if len(self.needles) == 1:
            yield from _lines_with(next(iter(self.needles)), folded)
        else:
            yield from sorted({place for needle in self.needles or {""} for place in _lines_with(needle, folded)})


def _lines_with(needle: str, folded: str) -> Iterator[tuple[int, int]]:
    at = folded.find(needle)
    while at >= 0:
        start, end = folded.rfind("\n", 0, at) + 1, folded.find("\n", at)
        if end < 0:
            end = len(folded)
        yield start, end
        at = folded.find(needle, end + 1) if end < len(folded) else -1


@lru_cache(4096)
def compiled(pattern: str) -> Pattern:
    """The pattern, compiled once. Raises re.error."""
    return Pattern(pattern)


def fold(text: str) -> str:
    """Lower case, character by character: a place in it is a place in the text."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(each if len(each.lower()) > 1 else each.lower() for each in text)


def substituted(patterns: Sequence[Pattern], replacement: str | Callable[[re.Match[str]], str], text: str) -> str:
    """The text with each pattern's matches replaced, one pattern after the other."""
    for each in patterns:
        if each.spanning and each.possible(fold(text)):
            text = each.regex.sub(replacement, text)
    folded = fold(text)
    lines: dict[int, tuple[int, str]] = {}
    for each in patterns:
        if each.spanning:
            continue
        for start, end in each.lines(folded):
            line = lines[start][1] if start in lines else text[start:end]
            anew = each.regex.sub(replacement, line)
            if anew != line:
                lines[start] = end, anew
    parts, at = [], 0
    for start in sorted(lines):
        end, line = lines[start]
        parts += [text[at:start], line]
        at = end
    return "".join((*parts, text[at:]))


def search(pattern: str, text: str, folded: str) -> re.Match[str] | None:
    """The first match in a text of bounded length and lines (:func:`edges`)."""
    found = compiled(pattern)
    return found.regex.search(text) if found.possible(folded) else None


def edges(text: str, characters: int = EDGE_CHARACTERS) -> str:
    """The first and last whole lines of a text, and no more of a line than anybody reads: what a device says of a command stands there."""
    if len(text) > 2 * characters:
        text = text[:characters] + "\n" + text[-characters:].partition("\n")[2]
    if len(text) <= LINE_CHARACTERS:
        return text
    return "\n".join(line[:LINE_CHARACTERS] for line in text.split("\n"))


def fault(pattern: str) -> str:
    """Why a pattern must not be asked about a text of many lines, "" if it may. Raises re.error."""
    re.compile(pattern, re.MULTILINE)
    read = _Reading(pattern)
    read.all()
    return read.fault


def faults(told: Iterable[str | None]) -> Iterator[tuple[str, str]]:
    """Those of several patterns that have a fault, each with it. Raises re.error."""
    for pattern in told:
        if pattern and (reason := fault(pattern)):
            yield pattern, reason


class _Reading:
    """Reads a pattern: its needles, whether it means more than one line, and what is wrong with it."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self.spanning = False
        self.fault = ""

    def all(self) -> frozenset[str]:
        return self._alternatives()[0]

    def _alternatives(self) -> tuple[frozenset[str], str]:
        """Needles of what stands up to the end of the group, and an item in it that may be a line end."""
        branches, line_end = [], ""
        while True:
            needles, item = self._branch()
            branches.append(needles)
            line_end = line_end or item
            if self._next() != "|":
                break
        return (frozenset[str]().union(*branches) if all(branches) else frozenset()), line_end

    def _branch(self) -> tuple[frozenset[str], str]:
        found: list[frozenset[str]] = []
        run, line_end, before = "", "", ""
        while (item := self._peek()) not in ("", "|", ")"):
            self._at += len(item)
            inner, ends = self._group(item)
            self._note(item)
            least, most = self._repeat()
            if most == _UNBOUNDED and ends and before != "\\A":
                self.fault = self.fault or f"{ends} without a bound takes line ends, too, and is looked for again from each of them: say [ \\t] or [^\\n]"
            literal = _literal(item)
            if literal and least:
                run += literal.lower()
            if not literal or (least, most) != (1, 1):
                found += [_one(run), inner if least else frozenset()]
                run = ""
            line_end = line_end or ("" if ends == "\\n" else ends)  # who writes one line end in a group that is repeated means it
            before = item
        return max((each for each in (*found, _one(run)) if each), key=lambda each: min(map(len, each)), default=frozenset()), line_end

    def _group(self, item: str) -> tuple[frozenset[str], str]:
        """Needles of a group, and the item that may be a line end in it, or is one."""
        if item[0] != "(" or item.endswith(")"):
            return frozenset(), item if _is_line_end(item) else ""
        inner = self._alternatives()
        return (frozenset(), "") if item[1:3] in ("?=", "?!", "?<") else inner  # what looks ahead or behind takes nothing

    def _note(self, item: str) -> None:
        if item in ("\\n", "\n", "\\A", "\\Z") or (item[0] == "[" and item[1] != "^" and "\\n" in item):
            self.spanning = True
        if item[:2] == "(?" and "s" in item[2:].rstrip(":)").partition("<")[0]:
            self.fault = self.fault or "(?s) lets every . take line ends"

    def _repeat(self) -> tuple[int, int]:
        """How often what stands before must be there, and may be."""
        found = _REPEAT.match(self._pattern, self._at)
        if found is None:
            return 1, 1
        self._at = found.end()
        if found["sign"]:
            return {"*": (0, _UNBOUNDED), "+": (1, _UNBOUNDED), "?": (0, 1)}[found["sign"]]
        least = int(found["least"] or 0)
        return least, least if found["most"] is None else int(found["most"] or _UNBOUNDED)

    def _peek(self) -> str:
        found = _ITEM.match(self._pattern, self._at)
        return found.group() if found else ""

    def _next(self) -> str:
        item = self._peek()
        self._at += len(item)
        return item


def _one(run: str) -> frozenset[str]:
    return frozenset((run,)) if run else frozenset()


def _literal(item: str) -> str:
    """The character that an item is, "" if it is something else."""
    if len(item) == 1:
        return "" if item in ".^$(\n" else item
    return item[1] if len(item) == 2 and item[0] == "\\" and not item[1].isalnum() else ""


def _is_line_end(item: str) -> bool:
    if item[0] == "[":
        return not any(each in item for each in ("\\n", "\\s", "\n")) if item[1] == "^" else any(each in item for each in _LINE_ENDS)
    return item in _LINE_ENDS
