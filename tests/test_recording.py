"""Recordings and their scrubbing."""

import pytest

from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Command, Dialogue, Get, Note, Pause, Put, Reconnect, play, say
from netd.sdk.recording import Player, Recording, recorded, varbinds
from netd.sdk.scrub import Scrubber
from netd.sdk.terminal import ErrorText, Refused, Terminal

HEAD = "# platform: x\n# hardware: h\n# firmware: f\n# made from: documents\n# source: s1\n# source: s2\n"
TERMINAL = Terminal(prompt="#", errors=(ErrorText("^% Unknown", Outcome.SYNTAX),))


def test_a_recording_reads_what_it_writes() -> None:
    text = HEAD + ">>> show\nline one\n\n\\>>> quoted\n\\\\>>> twice\n>>> empty\n>>> show\nagain\n<<< file.cfg\ncontent\n"
    found = Recording.parse(text)
    assert found.sources == ("s1", "s2")
    assert found.exchanges == (("show", "line one\n\n>>> quoted\n\\>>> twice"), ("empty", ""), ("show", "again"))
    assert found.files == {"file.cfg": "content"}
    assert Recording.parse(found.dump()) == found
    with pytest.raises(ValueError, match="firmware, made from"):
        Recording.parse("# platform: x\n# hardware: y\n")


def test_it_is_played_in_order_and_its_errors_are_refusals() -> None:
    player = Player(Recording.parse(HEAD + ">>> a\none\n>>> a\ntwo\n>>> b\n% Unknown\n<<< f\nold"), TERMINAL)

    def dialogue() -> Dialogue[list[str]]:
        found = []
        for _ in range(3):
            found.append((yield from say("a")))
        try:
            yield from say("b")
        except Refused as refused:
            found.append(refused.outcome)
        found.append((yield from say("b", check=False)))
        found.append((yield Get(path="f")))
        yield Put(path="f", content=b"new")
        yield Put(path="g", image=True)
        found.append((yield Get(path="f")))
        yield Reconnect(within_seconds=1)
        yield Pause(seconds=1)
        yield Note(text="done")
        return found

    assert play(dialogue(), player) == ["one", "two", "two", "syntax", "% Unknown", "old", "new"]
    assert (player.stored, player.restarts, player.notes) == ({"f": b"new", "g": None}, 1, ["done"])
    with pytest.raises(PeerError, match="not in the recording"):
        play(say("c"), player)
    with pytest.raises(PeerError, match="no such file"):
        player(Get(path="nowhere"))


def test_a_session_is_recorded_without_its_secrets() -> None:
    def dialogue() -> Dialogue[str]:
        yield from say("login canary", secret=True)
        try:
            yield from say("b")
        except Refused:
            yield from say("a")
        return "result"

    def act(step: object) -> str:
        assert isinstance(step, Command)
        if step.text == "b":
            raise Refused("b", Outcome.SYNTAX, "% Unknown")
        return f"of {step.text}"

    exchanges: list[tuple[str, str]] = []
    assert play(recorded(dialogue(), exchanges), act) == "result"
    assert exchanges == [("b", "% Unknown"), ("a", "of a")]


def test_an_agents_recording_names_the_line_at_fault() -> None:
    assert varbinds("# x\n1.3.6|2|5\n1.3.7|4x|00ff\n1.3.8|64|192.0.2.1\n1.3.9|6|1.3\n1.3.10|5|\n") == {
        (1, 3, 6): 5,
        (1, 3, 7): b"\x00\xff",
        (1, 3, 8): bytes((192, 0, 2, 1)),
        (1, 3, 9): (1, 3),
        (1, 3, 10): None,
    }
    for line in ("nonsense", "1.3|99|x", "1.3|2|x"):
        with pytest.raises(ValueError, match="not a line"):
            varbinds(line)


REAL = """\
sysname Springfield-OLT1
ip address 203.0.113.77 255.255.255.0
ip route 0.0.0.0 0.0.0.0 203.0.113.1
acl permit 10.1.2.0 0.0.0.255
ntp 2001:4860:4860::8888 fe80::1
805e-0c5c-4277 80:5E:0C:5C:42:77 ffff-ffff-ffff 8cdc.0294.a5cd
sn-auth 485754430B086EA9 HWTC1F14CAAD ALCL:FE12FC43 (HWTC-0B086EA9)
version 6.49.14 at 12:34:56 oid 1.3.6.1.4.1.2011.2.248
password simple topsecret
"""


def test_scrubbing() -> None:
    masked = Extensions.discover(packages=()).platforms["huawei_smartax"].driver.masked  # type: ignore[attr-defined]
    scrubber = Scrubber(b"k", masked=masked, words={"Springfield-OLT1": "OLT", "Springfield": "town"})
    text = scrubber.text(REAL)
    for gone in ("Springfield", "203.0.113", "10.1.2.0", "2001:4860", "0c5c", "0C:5C", "0294", "0B086EA9", "1F14CAAD", "FE12FC43", "topsecret"):
        assert gone not in text, gone
    for stays in (
        "sysname OLT",
        "255.255.255.0",
        "0.0.0.0 0.0.0.0",
        "0.0.0.255",
        "ffff-ffff-ffff",
        "6.49.14",
        "12:34:56",
        "1.3.6.1.4.1.2011.2.248",
        "48575443",
        "HWTC",
    ):
        assert stays in text, stays
    lines = text.splitlines()
    assert lines[1].split()[2].rpartition(".")[0] == lines[2].split()[-1].rpartition(".")[0]  # one subnet
    dashes, colons = lines[5].split()[:2]
    assert read.mac(dashes) == read.mac(colons) and colons == colons.upper() and dashes.startswith("02")
    assert lines[4].split()[2].startswith("fe80::")
    in_hex, *_, in_words = lines[6].split()[1:]
    assert in_hex[8:] == in_words[6:14], "one serial number, in both notations"
    assert scrubber.text(REAL) == text and Scrubber(b"other").text(REAL) != text


def test_a_whole_recording_is_scrubbed() -> None:
    found = Recording.parse(HEAD + ">>> ping 203.0.113.9\nreply from 203.0.113.9\n<<< 203.0.113.9.cfg\nhost 203.0.113.9\n")
    assert "203.0.113" not in Scrubber(b"k").recording(found).dump()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6w5d11h55m45s", 4103745),
        ("20 day(s), 23 hour(s), 19 minute(s), 16 second(s)", 1811956),
        ("11 day 22 hour 5 minute 17 second", 1029917),
        ("1 year, 2 weeks, 3 days, 4 hours, 5 minutes", 33019500),
        ("161 days, 0 hour, 20 minutes", 13911600),
        ("12 days, 03:04:05.06", 1047845),
        ("0:01:02", 62),
        ("N/A", None),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert read.seconds(text) == seconds


def test_figures() -> None:
    assert [read.number(text) for text in ("-18.1(dbm)", "-", "--", "N/A", "invalid", "", None, "3.200")] == [-18.1, *[None] * 6, 3.2]
    assert [read.octets(text) for text in ("178.1MiB", "1808.0KiB", "64", "x", "-")] == [186751385, 1851392, 64, None, None]
    assert read.mac("0C5C.4277.0001") == read.mac("0c:5c:42:77:00:01") == read.mac("0c5c-4277-0001") == "0c:5c:42:77:00:01"
    assert read.mac("0c5c-4277") is None and read.mac("x0c5c-4277-0001") is None
