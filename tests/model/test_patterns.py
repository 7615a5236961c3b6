"""Patterns that operators write: the useful ones are let pass, and none that is let pass takes long."""

import random
import time
import warnings

import pytest

from netd.model.patterns import beginning, compile_pattern, compile_whole, fits_whole

HARD = ("a" * 253, "1" * 253, "ab" * 126, "a" * 126 + "b" * 127)


@pytest.mark.parametrize(
    "text",
    [
        "",
        r"^00-11-22",
        r"(?i)^([0-9A-F]{2}-){5}[0-9A-F]{2}$",
        r"^slot=\d+;subslot=\d+;port=\d+;vlanid=\d+$",
        r"^(?:foo|bar|baz)@isp\.net$",
        r"^.*slot=\d+;.*$",
        r"(eth|ge)-?[0-9]+/0/1",
        r"^[^:]+:[^:]+:[^:]+$",
        r"^BNG[12]\.(north|south)$",
        r"^.{3,20}$",
        r"[]^-]x*?y{2,}?",
        r"^(?P<a>x)(?P=a)(?(a)y|z)(?=q)(?<!r)\x41\u0041",
    ],
)
def test_useful_patterns(text):
    assert compile_pattern(text).pattern == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(a+)+$", "repeated group"),
        ("(a|aa)*$", "repeated group"),
        ("((a?))*", "repeated group"),
        ("(a?){30}a{30}", "repeated group"),
        ("(a{1,16}){1,16}b", "repeated group"),
        ("(?:(?:a+)b)*", "repeated group"),
        ("a?" * 30 + "a" * 30, "too many"),
        (".*.*.*.*x", "too many"),
        (r"\d+\d+\d+\d+x", "too many"),
        (r"\x42+B" * 4, "too many"),
        (r"a+b?" * 4 + "c", "too many"),
        ("a{,}" * 4 + "x", "too many"),
        (r"(a+)\1*\1*\1*b", "too many"),
        ("(a|a)" * 20 + "x", "too many"),
        ("(?x) ( a+ ) +", "verbose"),
        ("(?ix:( a+ ) +)", "verbose"),
        ("(?#(x)a", "comment"),
        ("[[:digit:]]+", "POSIX"),
        ("(", "not a regular expression"),
        ("a{99999999999}", "not a regular expression"),
        ("x" * 257, "longer than 256"),
    ],
)
def test_refused_patterns(text, reason):
    with pytest.raises(ValueError, match=reason), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile_pattern(text)


def test_no_accepted_pattern_takes_long():
    """Patterns made of all that makes ``re`` go back; without the scan the first seconds-long one comes within a few hundred."""
    chance = random.Random(20)
    parts = (
        "a", "b", "ab", ".", "[ab]", "(", "(?:", "(a)", ")", "|", "*", "+", "?", "{1,9}", "{,}", "a*", "a+", "a?", r"\w", "$", "^", "*?", "+?", r"\1",
    )  # fmt: skip
    accepted, longest = 0, 0.0
    while accepted < 150:
        try:
            pattern = compile_pattern("".join(chance.choices(parts, k=chance.randint(3, 25))) + "c")
        except ValueError:
            continue
        accepted += 1
        for text in HARD:
            started = time.thread_time()
            pattern.search(text)
            longest = max(longest, time.thread_time() - started)
    assert longest < 1


@pytest.mark.parametrize("text", [".*.*x", "^.*.*.*x", "^a*a*a?b", r"(a+)\1+b"])
def test_the_worst_that_is_let_pass(text):
    pattern = compile_pattern(text)
    for value in HARD:
        started = time.thread_time()
        pattern.search(value)
        assert time.thread_time() - started < 1


def test_what_must_fit_the_whole():
    """As operators write it for lines: as long as any line can be, from the beginning to the end, and none that takes long."""
    assert fits_whole(compile_whole("olt1 eth 1/1/4(:.*)?"), "olt1 eth 1/1/4:7\n")
    assert not fits_whole(compile_whole("eth"), "eth 1")
    assert fits_whole(compile_whole("\\.x" * 100), ".x" * 100)
    assert not fits_whole(compile_whole(".*"), "a" * 256)
    for text in (r"(\w+\s?)+:", r"([a-z0-9]+/?)+ x", "x" * 513):
        with pytest.raises(ValueError, match=r"repeated group|longer than 512"):
            compile_whole(text)
    pattern = compile_whole(".*a.*a.*")
    started = time.thread_time()
    fits_whole(pattern, "a" * 254 + "b\n")
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    ("pattern", "begins", "fitting"),
    [
        ("olt1 eth 1/1/4(:.*)?", "olt1 eth 1/1/4", "olt1 eth 1/1/4:100"),
        (r"^olt1\.example eth 1/.*", "olt1.example eth 1/", "olt1.example eth 1/7"),
        ("olt1a?b", "olt1", "olt1b"),
        ("ol{1,2}t", "o", "ollt"),
        ("olt1|olt2", "", "olt2"),
        ("(olt1|olt2) eth", "", "olt2 eth"),
        ("olt(1|2) eth", "olt", "olt2 eth"),
        ("(?i)olt1", "", "OLT1"),
        ("(?i:olt)1", "", "OLT1"),
        ("olt1(?i:x)", "", "olt1X"),
        ("x(?=y)y", "x", "xy"),
        (r"olt\d", "olt", "olt7"),
        (r"\x6flt", "", "olt"),
        ("[o]lt", "", "olt"),
        (".*", "", "anything"),
        ("", "", ""),
        ("a$", "a", "a"),
        ("a^", "a", None),
        (r"a\$\^", "a$^", "a$^"),
        ("ä ö{1}", "ä ", "ä ö"),
    ],
)
def test_what_a_pattern_begins_with(pattern: str, begins: str, fitting: str | None):
    assert beginning(pattern) == begins
    if fitting is not None:
        assert fits_whole(compile_whole(pattern), fitting) and fitting.startswith(begins)


def test_nothing_that_fits_begins_otherwise():
    chance = random.Random(7)
    parts = ("a", "b", "/", "(", ")", "|", "*", "?", "{2}", ".", "[ab]", "\\.", "\\d", "^", "$", "(?:", "(?i)", "+")
    tried = 0
    for _ in range(20_000):
        pattern = "".join(chance.choices(parts, k=chance.randint(1, 6)))
        try:
            compiled = compile_whole(pattern)
        except ValueError:
            continue
        begins = beginning(pattern)
        for text in ("a", "b", "ab", "a/b", "A", "B", "aa", "bb", "", ".", "a.", "1", "aab", "/", "//a"):
            if fits_whole(compiled, text):
                tried += 1
                assert text.startswith(begins), (pattern, text)
    assert tried > 1000
