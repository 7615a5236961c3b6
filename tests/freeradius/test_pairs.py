"""Lists as radius_pairmove merges them; tests/e2e/test_freeradius.py compares the same with the real server."""

import pytest

from netd.freeradius.pairs import Pair, Unreadable, merge, read
from netd.freeradius.rows import Row


@pytest.fixture
def pair(extensions):
    def make(attribute: str, op: str, value: str) -> Pair:
        return read(extensions.dictionary, Row("radreply", 1, "alice", attribute, op, value))

    return make


def texts(pairs: list[Pair]) -> list[str]:
    return [f"{pair.name}={pair.text}" for pair in pairs]


def test_operators_act_on_what_was_there_before(pair):
    first = merge([], [pair("Reply-Message", "=", "a"), pair("Reply-Message", "=", "b"), pair("Reply-Message", ":=", "c")])
    assert texts(first) == ["Reply-Message=a", "Reply-Message=b", "Reply-Message=c"], "nothing was there"
    assert texts(merge(first, [pair("Reply-Message", "=", "d")])) == texts(first)
    assert texts(merge(first, [pair("reply-message", ":=", "d"), pair("Reply-Message", ":=", "e")])) == [
        "Reply-Message=d",
        "Reply-Message=e",
        "Reply-Message=c",
    ]
    assert texts(merge(first, [pair("Reply-Message", "+=", "a")])) == [*texts(first), "Reply-Message=a"]
    assert texts(merge(first, [pair("Reply-Message", "-=", "b")])) == ["Reply-Message=a", "Reply-Message=c"]
    assert texts(merge(first, [pair("Reply-Message", "==", "b")])) == ["Reply-Message=b"]
    assert merge(first, [pair("Reply-Message", "!*", "")]) == []


def test_values_are_compared_by_what_they_mean(pair):
    before = [pair("Framed-Protocol", "=", "PPP")]
    assert merge(before, [pair("Framed-Protocol", "-=", "1")]) == []


@pytest.mark.parametrize(("value", "read_as"), [('"quoted"', "quoted"), ("'single'", "single"), ('"', '"'), ('say "hi"', 'say "hi"'), ("100%", "100%")])
def test_quotes_around_the_whole_value_do_not_belong_to_it(pair, value, read_as):
    assert pair("Reply-Message", ":=", value).text == read_as


@pytest.mark.parametrize(
    ("attribute", "op", "value", "why"),
    [
        ("Reply-Message", "~", "x", "no operator"),
        ("No-Such-Thing", ":=", "x", "no dictionary"),
        ("Framed-IP-Address", ":=", "nowhere", "rejects the user"),
        ("NAS-Port", "=*", "ANY", "rejects the user"),
        ("NAS-Port", "=~", "^1", "loses the pattern"),
        ("Reply-Message", ":=", "`/bin/date`", "run a program"),
        ("Reply-Message", ":=", '"%{User-Name}"', "expand"),
    ],
)
def test_what_cannot_be_read_says_why(pair, attribute, op, value, why):
    with pytest.raises(Unreadable, match=why):
        pair(attribute, op, value)
