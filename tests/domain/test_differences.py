"""Differences between configurations: what is counted, what is shown, and that a secret is not."""

import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netd.domain import differences
from netd.domain.differences import Difference, absent, difference, foreseen, missing, paths, significant

LINES = st.lists(st.sampled_from(("interface a", " description x", " description y", "ntp server 1", "snmp canary1", "snmp canary2", "!")), max_size=30)


def masked(text: str) -> str:
    return re.sub(r"canary\d", "<secret>", text)


def as_is(text: str) -> str:
    return text


def applied(before: Sequence[str], found: Difference) -> list[str]:
    """``before`` with the hunks done to it, as ``patch`` would, which must find every line that they name."""
    after: list[str] = []
    place = 0
    for line in found.text.splitlines()[2:]:
        if hunk := re.fullmatch(r"@@ -(\d+),(\d+) \+\d+,\d+ @@", line):
            start = int(hunk[1]) - (int(hunk[2]) > 0)
            after += before[place:start]
            place = start
            continue
        if line[0] != "+":
            assert before[place] == line[1:]
            place += 1
        if line[0] != "-":
            after.append(line[1:])
    return after + list(before[place:])


@given(LINES, LINES)
def test_what_differs_makes_one_of_the_other(before: list[str], after: list[str]) -> None:
    found = difference("\n".join(before), "\n".join(after), as_is)
    assert bool(found) == (before != after) and found.added - found.removed == len(after) - len(before)
    assert applied(before, found) == after


@pytest.mark.parametrize("most", [0, 1, 4])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=LINES, after=LINES)
def test_long_texts_are_parted_first(monkeypatch: pytest.MonkeyPatch, most: int, before: list[str], after: list[str]) -> None:
    monkeypatch.setattr(differences, "LONG_LINES", most)
    test_what_differs_makes_one_of_the_other.hypothesis.inner_test(before, after)  # type: ignore[attr-defined]


def test_long_texts_take_no_minutes() -> None:
    before = [f"add address=10.0.{number >> 8}.{number & 255} list=customers" for number in range(30_000)]
    after = [f"{line} disabled=yes" if not number % 50 else line for number, line in enumerate(before)]
    begun = time.process_time()
    found = difference("\n".join(before), "\n".join(after), as_is)
    assert (found.added, found.removed) == (600, 600)
    shown = foreseen("\n".join(before), [f"no {line.partition(' list')[0]}" for line in before[:500]])
    assert shown.removed == 500 and time.process_time() - begun < 5


@given(LINES, LINES)
def test_no_secret_is_shown_and_none_that_changed_is_overlooked(before: list[str], after: list[str]) -> None:
    found = difference("\n".join(before), "\n".join(after), masked)
    assert "canary" not in found.text and bool(found) == (before != after)


def test_a_secret_that_changed() -> None:
    found = difference("a\nsnmp canary1\nb\n", "a\nsnmp canary2\nb\n", masked, ("old", "new"))
    assert found.text == "--- old\n+++ new\n@@ -1,3 +1,3 @@\n a\n-snmp <secret>\n+snmp <secret>\n b\n"
    joined = difference("key \\\ncanary1\n", "key \\\ncanary2\nx\n", lambda text: masked(text.replace("\\\n", "")))
    assert (joined.added, joined.removed) == (1, 0) and "canary" not in joined.text


def test_a_difference_without_end_is_cut() -> None:
    found = difference("", "line\n" * 20_000, as_is)
    assert found.added == 20_000 and found.text.splitlines()[-1] == "… and 15001 lines more" and len(found.text) < 60_000


def test_what_is_missing_under_which_heading() -> None:
    running = "interface a\n description x\n mtu 1500\ninterface b\n!\nrouter bgp 1\n address-family ipv4\n  neighbor 192.0.2.1\n"
    wanted = "interface a\n mtu 9000\n description x\nrouter bgp 1\n address-family ipv4\n  neighbor 192.0.2.2\nsnmp canary1\n"
    found = missing(running, wanted, masked)
    assert found.text.splitlines()[2:] == [
        " interface a", "+ mtu 9000", " router bgp 1", "  address-family ipv4", "+  neighbor 192.0.2.2", "+snmp <secret>",
    ]  # fmt: skip
    assert (found.added, found.removed) == (3, 0) and not missing(running, running, masked)
    assert not missing("snmp canary1\n", "snmp canary2\n", masked), "templates have no secrets: these are not compared"


def test_lines_of_routeros_stand_below_their_menu() -> None:
    assert paths("/ip address\nadd address=1\n/snmp\n set x\n# comment\n") == [
        ("/ip address",), ("/ip address", "add address=1"), ("/snmp",), ("/snmp", "set x"),
    ]  # fmt: skip


def test_what_only_separates() -> None:
    assert significant("!\na\n#\n\n ! \nb # c\n") == "a\nb # c\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("ntp server 1", " ntp server 1"), ("ntp server 2", "+ntp server 2"), ("no ntp server 1", "-ntp server 1"), ("undo ntp", "-ntp server 1"),
        ("no such thing", " no such thing"),
    ],
)  # fmt: skip
def test_what_typing_a_line_would_do(line: str, shown: str) -> None:
    assert foreseen("hostname a\nntp server 1\n", [line]).text == f"{shown}\n"


RUNNING = """\
interface a
 description up
 shutdown
interface b
 ip address 192.0.2.1 255.255.255.0
interface null
router bgp 1
 address-family ipv4
  neighbor 192.0.2.9 activate
 address-family ipv6
  neighbor 2001:db8::9 activate
ntp server 192.0.2.1
"""


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ((), None),
        (("interface a", " description up", "shutdown"), None),
        (("interface b", "description up"), "description up"),  # it stands in another section
        (("interface b", "shutdown", "interface a"), "shutdown"),
        (("interface a", "description up", "interface b", "ip address 192.0.2.1 255.255.255.0", "ntp server 192.0.2.1"), None),
        (("description up", "ntp server 192.0.2.1", "ip address 192.0.2.1 255.255.255.0"), None),  # nobody says in which
        (("interface b", "ntp server 192.0.2.1", "description up"), None),  # nor any more
        (("router bgp 1", "neighbor 192.0.2.9 activate"), None),  # at any depth
        (("router bgp 1", "address-family ipv4", "neighbor 192.0.2.9 activate", "address-family ipv6", "neighbor 2001:db8::9 activate"), None),
        (("address-family ipv4", "neighbor 2001:db8::9 activate"), "neighbor 2001:db8::9 activate"),
        (("interface c",), "interface c"),
    ],
)
def test_lines_are_looked_for_in_their_sections(lines: tuple[str, ...], wrong: str | None) -> None:
    assert absent(RUNNING, lines) == wrong


def test_lines_of_routeros_are_looked_for_in_their_menus() -> None:
    running = "/ip address\nadd address=192.0.2.1/24 interface=ether1\n/ip route\nadd gateway=192.0.2.2\n"
    assert absent(running, ("/ip address", "add address=192.0.2.1/24 interface=ether1", "/ip route", "add gateway=192.0.2.2")) is None
    assert absent(running, ("/ip route", "add address=192.0.2.1/24 interface=ether1")) == "add address=192.0.2.1/24 interface=ether1"


def test_what_is_indented_without_end_costs_no_memory_without_end() -> None:
    found = paths("".join(f"{' ' * depth}x\n" for depth in range(1000)))
    assert len(found) == 1000 and max(map(len, found)) <= 32
