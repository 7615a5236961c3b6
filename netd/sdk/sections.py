"""What must be typed so that one configuration of the hierarchical kind (IOS, FRRouting) becomes another: ``no`` in front of what goes.

Sections are known by their indentation. A section's heading is typed again for each of its lines that changes; one that goes, goes with one ``no``. The
order of lines within a section is not compared, nor are comments and the ``exit`` with which a section may end.
"""

from collections.abc import Iterator, Sequence

Path = tuple[str, ...]
"""A line with the headings above it, outermost first."""

_CLOSERS = frozenset({"!", "exit", "end", "exit-address-family", "exit-vrf", "exit1", "exit-vni"})


def paths(text: str, ignored: Sequence[str] = ("Building configuration", "Current configuration")) -> list[Path]:
    """Every line with its headings, in order, each once."""
    found: dict[Path, None] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        words = line.strip()
        if not words or words in _CLOSERS or words.startswith(("!", *ignored)):
            continue
        indent = len(line) - len(line.lstrip())
        while above and above[-1][0] >= indent:
            above.pop()
        above.append((indent, words))
        found[tuple(heading for _, heading in above)] = None
    return list(found)


def changes(now: str, wanted: str) -> list[str]:
    """The lines to be typed in configuration mode, each section left with ``exit`` before the next."""
    before, after = paths(now), paths(wanted)
    had, wants = set(before), set(after)
    headings = {path[:-1] for path in after}
    gone = [path for path in before if path not in wants and path[:-1] not in had - wants]
    lines: list[str] = []
    for path in gone:
        lines += _within(path[:-1], _negated(path[-1]))
    for path in after:
        if path not in had:
            lines += _within(path[:-1], path[-1])
            if path in headings:
                lines.append("exit")
    return lines


def _within(headings: Path, line: str) -> Iterator[str]:
    yield from headings
    yield line
    yield from ["exit"] * len(headings)


def _negated(line: str) -> str:
    return line.removeprefix("no ") if line.startswith("no ") else f"no {line}"
