"""Texts that patterns match, made from the patterns themselves with the parser of the standard library."""

import re
from typing import Any

_parser: Any = re._parser  # what re compiles with
_CHARACTERS: dict[str, str] = {
    "CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a", "CATEGORY_NOT_SPACE": "a", "CATEGORY_NOT_WORD": " ", "CATEGORY_NOT_DIGIT": "a",
}  # fmt: skip


def example(pattern: str, choice: int = 0) -> str:
    """A text that the pattern matches, as far as what it looks at ahead and behind lets it; ``choice`` is which of several ways it goes."""
    return "".join(_some(item, choice) for item in _parser.parse(pattern, re.MULTILINE))


def _some(item: Any, choice: int) -> str:
    kind, value = str(item[0]), item[1]
    if kind == "LITERAL":
        return chr(value)
    if kind in ("NOT_LITERAL", "ANY"):
        return "a" if value != ord("a") else "b"
    if kind == "IN":
        return _member(value)
    if kind == "BRANCH":
        branch = value[1][choice % len(value[1])]
        return "".join(_some(each, choice) for each in branch)
    if kind in ("SUBPATTERN", "ATOMIC_GROUP"):
        return "".join(_some(each, choice) for each in (value[3] if kind == "SUBPATTERN" else value))
    if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, body = value
        return "".join(_some(each, choice) for each in body) * max(int(least), min(int(most), choice % 2))
    return ""  # AT, ASSERT, ASSERT_NOT: they take nothing


def _member(members: Any) -> str:
    if str(members[0][0]) != "NEGATE":
        kind, value = str(members[0][0]), members[0][1]
        return chr(value if kind == "LITERAL" else value[0]) if kind != "CATEGORY" else _CHARACTERS[str(value)]
    unwanted = re.compile("|".join(map(_excluded, members[1:])))
    return next(each for each in "ax1. -" if not unwanted.fullmatch(each))


def _excluded(member: Any) -> str:
    kind, value = str(member[0]), member[1]
    if kind == "LITERAL":
        return re.escape(chr(value))
    if kind == "RANGE":
        return f"[{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}]"
    return {"CATEGORY_SPACE": r"\s", "CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w"}[str(value)]
