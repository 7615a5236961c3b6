"""Regular expressions that operators write and every login, or packet of a device, runs: only such as cannot hold the daemon up.

``re`` tries alternatives one after the other, so ``(a+)+$`` against thirty letters takes minutes, and netd decides in one thread. A pattern is
therefore scanned before it is used, and refused if the ways to match it are too many. The scan counts too many rather than too few.
"""

import re
from typing import Final

MAX_PATTERN: Final = 256
MAX_WHOLE: Final = 512
_VALUE: Final = 255  # octets that an attribute, or a member of DHCP's option 82, can carry
_MAX_WAYS: Final = 2 * _VALUE**3  # where to start, and two repetitions without a clear end
_NESTED: Final = "a repeated group may not hold *, +, ?, {m,n} or |"

_TOKEN: Final = re.compile(
    r"""
    (?P<open>   \((?:\?(?:P<\w+>|<[=!]|[:=!>]|\(\w+\)|(?P<flags>[a-zA-Z-]*)(?P<end>[:)]))|(?!\?)))
    | (?P<close>  \))
    | (?P<either> \|)
    | (?P<times>  [*+?]|\{(?!\})\d*,?\d*\})
    | (?P<atom>   \(\?P=\w+\)|\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|\d{1,3}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_POSIX: Final = re.compile(r"\[:\^?[a-z]+:\]")


class _Group:
    """What stands between two parentheses: how often ``|``, and whether it can match in more than one way."""

    __slots__ = ("branches", "varies")

    def __init__(self) -> None:
        self.branches = 1
        self.varies = False


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a search pattern (Python's syntax, case counts unless ``(?i)``); ValueError says what is wrong with it."""
    return _compiled(text, MAX_PATTERN, re.NOFLAG, anchored=False)


def compile_whole(text: str) -> re.Pattern[str]:
    """Compile a pattern for :func:`fits_whole`, where ``.`` is any character; ValueError says what is wrong with it."""
    return _compiled(text, MAX_WHOLE, re.DOTALL, anchored=True)


def fits_whole(pattern: re.Pattern[str], text: str) -> bool:
    """Whether the whole text fits. One that is longer than the scan reckoned with does not."""
    return len(text) <= _VALUE and pattern.fullmatch(text) is not None


def beginning(text: str) -> str:
    """What every text begins with that the whole of a valid pattern fits; "" where that is not plain to see. Many patterns are told apart by it."""
    tokens = list(_TOKEN.finditer(text))
    depth = 0
    for token in tokens:
        depth += (token.lastgroup == "open" and token["end"] != ")") - (token.lastgroup == "close")
        if token["flags"] or (token.lastgroup == "either" and not depth):
            return ""
    found = ""
    for at, token in enumerate(tokens):
        written = token.group()
        literal = written[1] if len(written) == 2 and written[0] == "\\" and not written[1].isalnum() else written
        if written == "^" and not found:
            continue
        if token.lastgroup != "atom" or len(literal) != 1 or (literal == written and literal in ".^$"):
            break
        if at + 1 < len(tokens) and tokens[at + 1].lastgroup == "times":
            break
        found += literal
    return found


def _compiled(text: str, longest: int, flags: re.RegexFlag, *, anchored: bool) -> re.Pattern[str]:
    if len(text) > longest:
        raise ValueError(f"the pattern is longer than {longest} characters")
    if _POSIX.search(text):
        raise ValueError("the pattern has a POSIX class such as [[:digit:]], which is not known here; write [0-9]")
    try:
        pattern = re.compile(text, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern is not a regular expression: {error}") from None
    if _ways(text, anchored=anchored) > _MAX_WAYS:
        raise ValueError("the pattern has too many repetitions without a clear end; name what follows each, or use fewer")
    return pattern


def _ways(text: str, *, anchored: bool) -> int:
    """Bound from above the steps in which the valid pattern ``text`` can be tried on one value; ``anchored``: from its beginning only."""
    ways = 1
    runs = 1  # a repetition with a clear end costs its own length, but leaves one way to go on
    groups = [_Group()]
    last: _Group | str = ""  # what a repetition would repeat
    tokens = list(_TOKEN.finditer(text))
    for at, token in enumerate(tokens):
        kind, written = token.lastgroup, token.group()
        if kind == "close":
            last = groups.pop()
            ways *= last.branches
            groups[-1].varies |= last.varies
        elif kind == "either":
            groups[-1].branches += 1
            groups[-1].varies = True
        elif kind == "times":
            least, most = _times(written)
            if isinstance(last, _Group) and last.varies and most > 1:
                raise ValueError(_NESTED)
            if least != most and tokens[at - 1].lastgroup != "times":  # the second of two, as in *?, only tells the manner
                groups[-1].varies = True
                if _ends_clearly(last, tokens[at + 1 : at + 3]):
                    runs = _VALUE
                else:
                    ways *= min(most - least + 1, _VALUE)
        elif kind == "atom":
            if written == "(":
                raise ValueError("the pattern may not hold a comment, (?#…)")
            last = written
        elif "x" in (token["flags"] or ""):
            raise ValueError("the pattern may not be verbose, (?x)")
        elif token["end"] != ")":  # (?i) opens nothing
            groups.append(_Group())
    starts = 1 if (anchored or text.startswith("^")) and groups[0].branches == 1 else _VALUE
    return ways * groups[0].branches * runs * starts


def _times(quantifier: str) -> tuple[int, int]:
    simple = {"*": (0, _VALUE), "+": (1, _VALUE), "?": (0, 1)}.get(quantifier)
    if simple:
        return simple
    least, comma, most = quantifier[1:-1].partition(",")
    if not comma:
        return int(least), int(least)
    return int(least or 0), int(most or max(_VALUE, int(least or 0) + 1))


def _ends_clearly(repeated: _Group | str, following: list[re.Match[str]]) -> bool:
    """Tell whether the character after a repetition cannot itself be part of it, so that there is one place only where it can end."""
    if isinstance(repeated, _Group) or not following or following[0].lastgroup != "atom":
        return False
    if len(following) == 2 and following[1].lastgroup == "times" and _times(following[1].group())[0] == 0:
        return False
    literal = following[0].group()
    if len(literal) == 2 and literal[0] == "\\" and not literal[1].isalnum():
        literal = literal[1]
    elif len(literal) != 1 or literal in ".^$":
        return False
    try:
        return re.fullmatch(repeated, literal, re.IGNORECASE | re.DOTALL) is None
    except re.error:  # a back-reference
        return False
