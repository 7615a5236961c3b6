"""What differs between two configurations, shown without secrets. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import msgspec

CONTEXT_LINES = 3
DEEPEST = 32
"""So many headings are told of a line at the most, however far a device indents it."""
LONG_LINES = 2000
"""Up to so many lines are compared in every way that there is."""

SHOWN_LINES = 5000
"""What is shown of one difference at the most; counted is all of it."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """``text`` is in the form of ``diff -u``, secrets as ``<secret>``: a line of which only the secret changed stands there twice and looks the same."""

    added: int
    removed: int
    text: str

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def difference(before: str, after: str, masked: Callable[[str], str], names: tuple[str, str] = ("before", "after")) -> Difference:
    """How ``before`` became ``after``, compared as they are and shown ``masked``."""
    old, new = before.splitlines(), after.splitlines()
    shown_old, shown_new = masked(before).splitlines(), masked(after).splitlines()
    if len(shown_old) != len(old) or len(shown_new) != len(new):  # masking joined lines: only what is shown can be compared
        old, new = shown_old, shown_new
    added = removed = 0
    lines: list[str] = []
    for group in _grouped(old, new):
        first, last = group[0], group[-1]
        lines.append(f"@@ -{_span(first[1], last[2])} +{_span(first[3], last[4])} @@")
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                lines += (f" {line}" for line in shown_new[new_from:new_to])
                continue
            removed += old_to - old_from
            added += new_to - new_from
            lines += (f"-{line}" for line in shown_old[old_from:old_to])
            lines += (f"+{line}" for line in shown_new[new_from:new_to])
    if not lines:
        return Difference(added=0, removed=0, text="")
    if len(lines) > SHOWN_LINES:
        lines = [*lines[:SHOWN_LINES], f"… and {len(lines) - SHOWN_LINES} lines more"]
    return Difference(added=added, removed=removed, text="\n".join((f"--- {names[0]}", f"+++ {names[1]}", *lines)) + "\n")


def missing(running: str, wanted: str, masked: Callable[[str], str], names: tuple[str, str] = ("running", "intended")) -> Difference:
    """The lines of ``wanted``, each with the headings above it, that ``running`` does not have. Headings are known by their indentation."""
    had = set(paths(masked(running)))
    lines: list[str] = []
    shown: set[tuple[str, ...]] = set()
    count = 0
    for path in paths(masked(wanted)):
        if path in had:
            continue
        for depth in range(1, len(path)):
            if path[:depth] in had and path[:depth] not in shown:
                shown.add(path[:depth])
                lines.append(f" {' ' * (depth - 1)}{path[depth - 1]}")
        count += 1
        lines.append(f"+{' ' * (len(path) - 1)}{path[-1]}")
    text = "\n".join((f"--- {names[0]}", f"+++ {names[1]}", *lines[:SHOWN_LINES])) + "\n" if lines else ""
    return Difference(added=count, removed=0, text=text)


def paths(text: str, comments: tuple[str, ...] = ("!", "#")) -> list[tuple[str, ...]]:
    """Every line with the headings above it, in order; blank ones and comments are none. Lines of RouterOS stand below the menu before them."""
    found: list[tuple[str, ...]] = []
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        words = line.strip()
        if not words or words.startswith(comments):
            continue
        indent = len(line) - len(line.lstrip())
        if above and above[0][1].startswith("/") and not words.startswith("/"):
            indent = max(indent, 1)
        while above and (above[-1][0] >= indent or len(above) >= DEEPEST):
            above.pop()
        above.append((indent, words))
        found.append(tuple(heading for _, heading in above))
    return found


def absent(running: str, lines: Sequence[str]) -> str | None:
    """The first of ``lines`` that ``running`` does not have, None if it has all of them. They are read as they are typed: behind the heading of a section a
    line is looked for in that section, or as one of those around it; before the first heading, and behind a line that leaves its section, anywhere."""
    found: dict[str, list[tuple[str, ...]]] = {}
    headings: set[tuple[str, ...]] = set()
    for path in paths(running, comments=()):
        found.setdefault(path[-1], []).append(path)
        headings.add(path[:-1])
    within: set[tuple[str, ...]] = {()}  # where the next line may stand, at any depth
    around: set[tuple[str, ...]] = set()  # or there, right below
    for line in filter(str.strip, lines):
        beside = [path for path in found.get(line.strip(), ()) if path[:-1] in around]
        there = [path for path in found.get(line.strip(), ()) if any(path[:depth] in within for depth in range(len(path)))] + beside
        if not there:
            return line
        if entered := {path for path in there if path in headings}:
            within, around = entered, {path[:depth] for path in entered for depth in range(len(path))}
        elif len(beside) == len(there):
            within, around = {()}, set()
    return None


def significant(text: str) -> str:
    """Without lines that only separate (``!``, ``#``): devices print more or fewer of them in what runs and in what they saved."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.strip() not in ("!", "#", ""))


Opcode = tuple[str, int, int, int, int]


def _grouped(old: Sequence[str], new: Sequence[str]) -> Iterator[list[Opcode]]:
    """Differences with what stands around them. What both begin and end with is not searched: most of a configuration stays as it is."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    if head == len(old) == len(new):
        return
    from_, skipped = max(0, head - CONTEXT_LINES), max(0, tail - CONTEXT_LINES)
    for group in _Matcher(old[from_ : len(old) - skipped], new[from_ : len(new) - skipped]).get_grouped_opcodes(CONTEXT_LINES):
        yield [(tag, a + from_, b + from_, c + from_, d + from_) for tag, a, b, c, d in group]


class _Matcher(SequenceMatcher[str]):
    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__()
        self._old, self._new = old, new

    def get_opcodes(self) -> list[Any]:
        return _opcodes(self._old, self._new)


def _opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """How one becomes the other. SequenceMatcher alone takes minutes for long texts that differ in many places, so those are parted first at lines that each
    of them has once; what is long even between such lines is shown as replaced."""
    if max(len(old), len(new)) <= LONG_LINES:
        return list(SequenceMatcher(None, old, new, autojunk=True).get_opcodes())
    found: list[Opcode] = []
    a = b = 0
    for i, j in (*_anchors(old, new), (len(old), len(new))):
        if max(i - a, j - b) > LONG_LINES:
            _add(found, ("replace", a, i, b, j))
        elif i > a or j > b:
            for tag, first, last, new_first, new_last in SequenceMatcher(None, old[a:i], new[b:j], autojunk=True).get_opcodes():
                _add(found, (tag, a + first, a + last, b + new_first, b + new_last))
        if i < len(old):
            _add(found, ("equal", i, i + 1, j, j + 1))
        a, b = i + 1, j + 1
    return found


def _add(found: list[Opcode], code: Opcode) -> None:
    """Add a piece, as one with that before it where both are the same or both are not."""
    if found and (found[-1][0] == "equal") == (code[0] == "equal"):
        tag, first, _, new_first, _ = found.pop()
        code = (tag if tag == "equal" else "replace", first, code[2], new_first, code[4])
    found.append(code)


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Where lines stand that both have once, as many as are in the same order in both."""
    once, once_new = ({line: place for place, line in enumerate(lines)} for lines in (old, new))
    counts, counts_new = Counter(old), Counter(new)
    pairs = [(place, once_new[line]) for line, place in once.items() if counts[line] == 1 == counts_new[line]]
    ends: list[int] = []  # of the longest ascending rows of each length, the lowest last place in ``new``
    tops: list[int] = []  # and which pair that is
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(tops[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        tops[length : length + 1] = [number]
    found, at = [], tops[-1] if tops else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]


def _span(start: int, end: int) -> str:
    length = end - start
    return f"{start + 1 if length else start},{length}"


def foreseen(running: str, lines: Sequence[str]) -> Difference:
    """What typing lines would do, as far as the texts tell: ``+`` what is not there, ``-`` what is taken away, nothing in front of what is there already."""
    had = {line.strip() for line in running.splitlines()}
    by_text = sorted(had)
    shown, added, removed = [], 0, 0
    for line in lines:
        words = line.strip()
        gone = next((words.removeprefix(no) for no in ("no ", "undo ") if words.startswith(no)), None)
        if gone is not None:
            there = by_text[bisect_left(by_text, f"{gone} ") : bisect_left(by_text, f"{gone}!")]  # "!" follows the blank
            there = [gone, *there] if gone in had else there
            removed += len(there)
            shown += [f"-{each}" for each in there] or [f" {words}"]
        elif words in had:
            shown.append(f" {line}")
        else:
            added += 1
            shown.append(f"+{line}")
    return Difference(added=added, removed=removed, text="".join(f"{line}\n" for line in shown))
