"""Patterns over devices' texts: what is refused, what a pattern must have in it, and that a text is looked through as if it were done plainly."""

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netd.extensions import Extensions
from netd.sdk import patterns
from netd.sdk.patterns import Pattern, compiled, edges, fault, fold, substituted
from netd.share import share
from tests.vendors.examples import example

REFUSED = (
    r"^\s*snmp", r"a\s+b", r"^[ \t\n]*a", r"x[\s\S]*?y", r'"[^"]*"', r'"(?:[^"\\]|\\.)*"', r"\W+x", r"\D*x", r"(?s)a.*b", r"(?s:a.*b)", "\n*x",
    r"(?:a|\s)*b", r"\n{2,}x", r"(?=\s*x)", r"x(?:y[^z]+)?",
)  # fmt: skip
ALLOWED = (
    r"^[ \t]*snmp", r"\A\s*model", r"a\sb", r"[^\n]*x", r"[^\s]+", r'"[^"\n]*"', r"\S+ \w* \d+ .*", r"\n", r"(?:\n[^\n]+){0,40}?\n", r"[\s\S]{0,20}x",
    r"(?i)a+", r"\\s*", r"(?:(?<=[^\n]{70})\n(?:\w{8,}))*", r"(?P<s>x)", r"\{ ?<cr>[^{}\n]*\}",
)  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_is_refused(pattern: str) -> None:
    assert fault(pattern)


@pytest.mark.parametrize("pattern", ALLOWED)
def test_what_is_not(pattern: str) -> None:
    assert fault(pattern) == ""


@pytest.mark.parametrize(("pattern", "needles"), [
    (r"^[ \t]*snmp-server community (\S+)", {"snmp-server community "}), (r"(?i)\b(?:Password|secret)(?: \d+)? (\S+)$", {"password", "secret"}),
    (r"a{2,}b", {"a"}), (r"ab?c", {"a"}), (r"(?:ab)?c+", {"c"}), (r"a|\d", set()), (r"(?:x|)y", {"y"}), (r"(?!long)x", {"x"}), (r"abc", {"abc"}),
    (r"\[OK\]|^Configuration saved to", {"[ok]", "configuration saved to"}), (r"(%[@#]+\S*%)", {"%"}), (r"x{2}y", {"x"}),
])  # fmt: skip
def test_needles(pattern: str, needles: set[str]) -> None:
    assert Pattern(pattern).needles == needles


@pytest.fixture(scope="module")
def families() -> list[Any]:
    return [driver.family for item in Extensions.discover(packages=()).platforms.values() if hasattr(driver := item.driver, "family")]


def test_whatever_a_pattern_matches_has_a_needle_in_it(families: list[Any]) -> None:
    found = 0
    for pattern in {pattern for family in families for pattern in told(family)}:
        for choice in range(8):
            text = example(pattern, choice)
            if (match := re.search(pattern, text, re.MULTILINE)) is not None:
                found += 1
                assert Pattern(pattern).possible(fold(match.group())), (pattern, text)
    assert found > 500


def told(family: Any) -> list[str]:
    sources = [pattern for source in (*family.facts, *family.snmp_facts) for pattern in source.patterns if pattern]
    return [*(error.pattern for error in family.terminal.errors), *sources, *family.configuration.secrets, *family.configuration.volatile]


def test_a_text_is_looked_through_as_if_plainly(families: list[Any]) -> None:
    """Lines that match, that almost match and that do not, of every platform, in any order."""
    chance = random.Random(5)
    for family in families:
        wanted = [*family.configuration.secrets, *family.configuration.volatile]
        lines = ["", "  ", "interface İstanbul", "description PASSWORD", *(example(pattern, choice) for pattern in wanted for choice in (0, 1))]
        lines += [f" {line.upper()} x" for line in lines]
        for _ in range(10):
            text = "\n".join(chance.choices(lines, k=30))
            plain = text
            for pattern in wanted:
                plain = re.sub(pattern, "<gone>", plain, flags=re.MULTILINE)
            assert substituted([compiled(pattern) for pattern in wanted], "<gone>", text) == plain


def in_code(path: Path) -> Iterator[str]:
    """Patterns that stand in a module: arguments of the functions of ``re``; of an f-string what is plain."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.args
        ):
            match node.args[0]:
                case ast.Constant(value=str(pattern)):
                    yield pattern
                case ast.JoinedStr(values=parts):
                    yield "x".join(str(part.value) for part in parts if isinstance(part, ast.Constant))


def test_patterns_in_code_are_no_others() -> None:
    """What is looked for at the end of a prompt only may take line ends; so may a quoted value, which the next quotation mark ends."""
    files = [path for path in (*share("vendors").glob("*/*.py"), *Path(patterns.__file__).parent.glob("*.py")) if not path.name.endswith("_simulator.py")]
    files.remove(Path(patterns.__file__))  # reads patterns, not what devices say
    found = [(path.name, pattern) for path in files for pattern in in_code(path)]
    assert len(found) > 30
    assert [name for name, pattern in found if fault(pattern.removesuffix(r"\s*\Z"))] == ["text.py"]


def test_edges() -> None:
    assert edges("short\ntext") == "short\ntext"
    text = "\n".join(["first", *["middle"] * 10_000, "last"])
    found = edges(text, 1000).split("\n")
    assert found[0] == "first" and found[-1] == "last" and set(found[1:-1]) <= {"middle", "middl", "midd", "mid", "mi", "m", ""} and len(found) < 400
    assert [len(line) for line in edges("x" * 3000 + "\nend").split("\n")] == [500, 3]
