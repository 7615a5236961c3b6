"""Patterns over devices' texts: what is refused, what a pattern must have in it, and that a text is looked through as if it were done plainly."""

import random
import re
from typing import Any

import pytest

from netd.extensions import Extensions
from netd.sdk.patterns import Pattern, compiled, edges, fault, fold, substituted
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
        patterns = [*family.configuration.secrets, *family.configuration.volatile]
        lines = ["", "  ", "interface İstanbul", "description PASSWORD", *(example(pattern, choice) for pattern in patterns for choice in (0, 1))]
        lines += [f" {line.upper()} x" for line in lines]
        for _ in range(10):
            text = "\n".join(chance.choices(lines, k=30))
            plain = text
            for pattern in patterns:
                plain = re.sub(pattern, "<gone>", plain, flags=re.MULTILINE)
            assert substituted([compiled(pattern) for pattern in patterns], "<gone>", text) == plain


def test_edges() -> None:
    assert edges("short\ntext") == "short\ntext"
    text = "\n".join(["first", *["middle"] * 10_000, "last"])
    found = edges(text, 1000).split("\n")
    assert found[0] == "first" and found[-1] == "last" and set(found[1:-1]) <= {"middle", "middl", "midd", "mid", "mi", "m", ""} and len(found) < 400
    assert [len(line) for line in edges("x" * 3000 + "\nend").split("\n")] == [500, 3]
