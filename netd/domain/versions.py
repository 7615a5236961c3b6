"""Which of two software versions is the newer: one rule for what all platforms call theirs. Pure.

``7.16.2`` is after ``7.9`` and after ``7.16.2rc1``; ``V800R011C00SPC200`` after ``V800R011C00``; ``23.10.R2`` after ``23.3.R4``; ``17.9.4a`` after ``17.9.4``.
Numbers are compared as numbers. A word for what is not released yet (rc, beta …) goes before the end of the version, other words (patches, rebuilds) behind it.
What stands before the first digit names a family or a build target (``V``, ``TiMOS-C-``), not a version.
"""

import re
from typing import Final

_PART: Final = re.compile(r"\d+|[a-z]+")
_UNRELEASED: Final = {"dev": 0, "snapshot": 0, "alpha": 1, "beta": 2, "pre": 3, "rc": 4}
_CHANNELS: Final = frozenset(("stable", "testing", "development", "longterm", "lts"))  # of whom it was got, not what it is

_END: Final = (1, 0, "")


def order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which versions of one platform are sorted, the newest last."""
    found = re.sub(r"long-term", "longterm", version.lower())
    digit = re.search(r"\d", found)
    if digit is None:
        return ((2, 0, found), _END)
    return (*(_part(each) for each in _PART.findall(found[digit.start() :]) if each not in _CHANNELS), _END)


def released(version: str) -> bool:
    """Whether it is no test version."""
    return not any(rank == 0 for rank, _, _ in order(version))


def _part(text: str) -> tuple[int, int, str]:
    if text.isdecimal():
        return (3, int(text), "")
    if text in _UNRELEASED:
        return (0, _UNRELEASED[text], "")
    return (2, 0, text)
