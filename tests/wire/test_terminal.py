"""The screen reader: what devices paint, in pieces of any size, must come out as the text that they meant."""

import random
import re
from typing import cast

import pytest

from netd.errors import WireError
from netd.wire.terminal import Dialect, Reader, Wants, Wish, ending

SMARTAX = Dialect(
    prompt=ending(r"^[\w.-]+(?:\([^)\n]*\))?(?:[>#]|%%)"),
    pager=ending(r"---- More \( Press 'Q' to break \) ----"),
    question=ending(r"\{[^{}\n]*\}:|\(y/n\) ?\[[yn]\]:"),
    noise=(re.compile(r"^\s*! \d+ \[[^\]\n]*\]: ALARM[\s\S]*?--- END[^\n]*\n?", re.MULTILINE),),
)
ROUTEROS = Dialect(prompt=ending(r"^\[[\w@. -]+\] (?:/[\w /-]*)?>"))


def read(dialect: Dialect, screen: str, *, echo: str = "", size: int = 0, known: tuple[str, ...] = ()) -> tuple[list[tuple[Wants, str]], str]:
    """Feed a screen, whole or in pieces of ``size`` octets; what was wanted at the end of each, and the text."""
    reader = Reader(dialect)
    for prompt in known:
        reader.trust(prompt)
    reader.begin(echo)
    data = screen.encode()
    wishes = [reader.feed(data[at : at + (size or len(data))]) for at in range(0, len(data), size or len(data))]
    return [(wish.wants, wish.text) for wish in wishes], reader.text()


def pieces(dialect: Dialect, screen: str, text: str, echo: str) -> None:
    """The text is the same however the screen is cut."""
    for size in (0, 1, 2, 3, 7, 64):
        wishes, found = read(dialect, screen, echo=echo, size=size)
        assert (wishes[-1][0], found) == (Wants.COMMAND_PERHAPS, text), f"pieces of {size}"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r\r\n"])
def test_echo_and_prompt_are_no_output(end: str) -> None:
    pieces(
        SMARTAX,
        f"display version{end}VERSION : MA5600V800R018{end}  PATCH : SPC1{end}{end}OLT(config)#",
        "VERSION : MA5600V800R018\n  PATCH : SPC1",
        "display version",
    )


def test_an_echo_wrapped_at_80_columns() -> None:
    command = "service-port vlan 100 gpon 0/1/3 ont 5 gemport 1 multi-service user-vlan 100 tag-transform translate inbound traffic-table index 8"
    for wrap in (" \x1b[1D", "\r\n", " \r", " \r\n"):
        pieces(SMARTAX, command[:80] + wrap + command[80:] + "\r\nFailure: busy\r\nOLT#", "Failure: busy", command)


def test_what_looks_like_the_echo_is_kept() -> None:
    assert read(SMARTAX, "sysname\r\nsysname\r\nsysname x\r\nOLT#", echo="sysname")[1] == "sysname\nsysname x"
    assert read(SMARTAX, "no echo here\r\nOLT#", echo="sysname")[1] == "no echo here"


def test_a_prompt_painted_twice() -> None:
    pieces(
        ROUTEROS,
        "\r\r\x1b[9999B[admin@gw] > \r[admin@gw] > /system identity print\r\n\x00  name: gw\r\n\r\n\x1b[9999B\r[admin@gw] > \r[admin@gw] > ",
        "  name: gw",
        "/system identity print",
    )


@pytest.mark.parametrize(
    "erased", ["\b" * 37 + " " * 37 + "\b" * 37, "\x1b[37D" + " " * 37 + "\x1b[37D", "\r\x1b[K", "\r" + " " * 40 + "\r", ""],
    ids=["backspaces", "cursor left", "erase line", "blanks", "nothing"],
)  # fmt: skip
def test_the_pager_leaves_nothing(erased: str) -> None:
    reader = Reader(SMARTAX)
    reader.begin("display x")
    wish = reader.feed(b"display x\r\n one\r\n---- More ( Press 'Q' to break ) ----")
    assert wish.wants is Wants.PAGE
    reader.answered()
    assert reader.feed(b"").wants is Wants.TIME
    reader.feed(f"{erased} two\r\nOLT#".encode())
    assert reader.text() == " one\n two"


def test_a_rotating_dash() -> None:
    isam = Dialect(prompt=ending(r"^typ:\w+(?:>[^>#\n]+)*>#"))
    pieces(isam, "show x\r\n/\x1b[1D-\x1b[1D\\\x1b[1D|\x1b[1D \x1b[1Dslot 1\r\n\x1b[1Dslot 2\r\ntyp:isadmin>#", "slot 1\nslot 2", "show x")


def test_alarms_between_the_lines() -> None:
    alarm = "! 1 [2026-11-26 04:00:00]: ALARM 45 FAULT MAJOR\r\n  ALARM NAME : LOS\r\n  --- END\r\n"
    pieces(SMARTAX, f"display x\r\none\r\n{alarm}two\r\nOLT#", "one\ntwo", "display x")
    wishes, text = read(SMARTAX, f"display x\r\none\r\nOLT#\r\n{alarm}", echo="display x")
    assert wishes[-1] == (Wants.COMMAND_PERHAPS, "OLT#") and text == "one", "an alarm behind the prompt hides it"


@pytest.mark.parametrize("typed", [0, 1, 5, 9, 20])
def test_alarms_within_the_echo(typed: int) -> None:
    """The prompt is painted anew with what was typed so far: it ends no output, and is none."""
    line = "display ont port state 0 0 eth-port all"
    alarm = "\r\n  ! 1 [2024-07-19 10:11:12]: ALARM\r\n  CAUSE : x\r\n  --- END\r\nOLT#"
    screen = f"{line[:typed]}{alarm}{line}\r\none\r\nOLT#"
    for size in (0, 1, 7):
        wishes, text = read(SMARTAX, screen, echo=line, size=size, known=("OLT#",))
        assert text == "one" and [wish for wish, _ in wishes if wish is Wants.COMMAND] == [Wants.COMMAND]
        assert wishes[-1] == (Wants.COMMAND, "OLT#")


def test_a_device_that_never_echoes_is_not_waited_for() -> None:
    reader = Reader(SMARTAX)
    reader.trust("OLT#")
    wishes = []
    for number in range(6):
        reader.begin(f"vlan {number}")
        wishes.append(reader.feed(b"done\r\nOLT#").wants)
        assert reader.text() == "done"
    assert wishes == [Wants.COMMAND_PERHAPS] * 3 + [Wants.COMMAND] * 3
    reader.begin("vlan 7")
    assert reader.feed(b"vlan 7\r\nOLT#").wants is Wants.COMMAND
    reader.begin("vlan 8")
    assert reader.feed(b"done\r\nOLT#").wants is Wants.COMMAND_PERHAPS


def test_what_comes_after_a_prompt_is_no_echo_once_that_was_there() -> None:
    screen = "show history\r\nOLT#show history\r\nOLT#display x\r\nOLT#"
    assert read(SMARTAX, screen, echo="show history", known=("OLT#",))[1] == "OLT#show history\nOLT#display x"


def test_lines_in_two_encodings() -> None:
    """Each line by itself; what is in neither is not lost altogether. A pager, an echo and a prompt are found as ever."""
    dialect = SMARTAX._replace(other_encoding="gb18030")
    lines = ["description 模块机房 1".encode("gb18030"), "description Montréal 模".encode(), b"description \xff\xff", b"---- More ( Press 'Q' to break ) ----"]
    screen = b"display x\r\n" + b"\r\n".join(lines) + b"\x1b[37D" + b" " * 37 + b"\x1b[37D" + "name 名称一".encode("gb18030") + b"\r\nOLT#"
    for size in (1, 2, 3, 7, len(screen)):
        reader = Reader(dialect)
        reader.trust("OLT#")
        reader.begin("display x")
        wish = Wish(Wants.TIME)
        for at in range(0, len(screen), size):
            wish = reader.feed(screen[at : at + size])
            if wish.wants is Wants.PAGE:
                reader.answered()
        assert wish.wants is Wants.COMMAND
        assert reader.text() == "description 模块机房 1\ndescription Montréal 模\ndescription \ufffd\ufffd\nname 名称一"


def test_questions() -> None:
    reader = Reader(SMARTAX)
    reader.begin("save", [ending(r"\{ <cr>\|configuration<K>[^}]*\}:")])
    assert reader.feed(b"save\r\n{ <cr>|configuration<K>|data<K> }:")[:2] == (Wants.ANSWER, 0)
    reader.answered()
    assert reader.feed(b"\r\n").wants is Wants.TIME
    wish = reader.feed(b"\r\nAre you sure to save? (y/n)[n]:")
    assert wish.wants is Wants.ANSWER_PERHAPS and wish.text == "Are you sure to save? (y/n)[n]:"


def test_a_question_that_comes_again_and_again_is_answered_ten_times() -> None:
    reader = Reader(SMARTAX)
    reader.begin("x", [ending(r"\(y/n\)\[n\]:")])
    wishes = []
    for _ in range(11):
        wishes.append(reader.feed(b"Sure? (y/n)[n]:").wants)
        reader.answered()
        reader.feed(b"y\r\n")
    assert wishes == [Wants.ANSWER] * 10 + [Wants.ANSWER_PERHAPS]


def test_a_known_prompt_needs_no_silence() -> None:
    assert read(SMARTAX, "x\r\nOLT#", echo="x", known=("OLT#",))[0] == [(Wants.COMMAND, "OLT#")]
    assert read(SMARTAX, "x\r\nOLT(config)#", echo="x", known=("OLT#",))[0] == [(Wants.COMMAND_PERHAPS, "OLT(config)#")]


def test_half_a_line_is_believed_only_after_silence() -> None:
    reader = Reader(SMARTAX)
    reader.begin("show log")
    assert reader.feed(b"show log\r\nOLT#").wants is Wants.COMMAND_PERHAPS
    assert reader.feed(b"display version was typed\r\nOLT2#").text == "OLT2#"
    assert reader.text() == "OLT#display version was typed"


def test_an_echo_that_looks_like_a_prompt() -> None:
    reader = Reader(Dialect(prompt=ending(r"^[\w ]+#")))
    reader.begin("banner #x")
    assert reader.feed(b"banner #").wants is Wants.TIME


def test_odd_octets() -> None:
    reader = Reader(Dialect(prompt=ending(r"^OLT#"), encoding="gbk"))
    reader.begin()
    for octet in "描述\r\nOLT#".encode("gbk"):
        reader.feed(bytes((octet,)))
    assert reader.text() == "描述"


def test_ceilings() -> None:
    reader = Reader(SMARTAX, most_characters=1000)
    reader.begin()
    with pytest.raises(WireError, match="too_large"):
        for _ in range(20):
            reader.feed(b"x" * 60 + b"\n")
    endless = Reader(SMARTAX)
    endless.begin()
    with pytest.raises(WireError, match="too_large"):
        for _ in range(300):
            endless.feed(b"x" * 1024)


class Counting:
    """A pattern that counts the characters that it is asked to look at."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self.characters = 0

    def search(self, text: str, at: int = 0) -> re.Match[str] | None:
        self.characters += len(text) - at
        return self.pattern.search(text, at)

    def sub(self, by: str, text: str) -> str:
        self.characters += len(text)
        return self.pattern.sub(by, text)


def test_work_is_linear() -> None:
    """What was read is not searched again and again: for each piece of 512 octets at most the last lines, however long the output is."""
    searched = []
    for lines in (1_000, 10_000):
        prompt, noise = Counting(SMARTAX.prompt), Counting(SMARTAX.noise[0])
        reader = Reader(Dialect(prompt=cast(re.Pattern[str], prompt), noise=(cast(re.Pattern[str], noise),)))
        reader.begin("display current-configuration")
        data = b" interface gpon 0/1/1 description something\r\n" * lines
        for at in range(0, len(data), 512):
            reader.feed(data[at : at + 512])
        searched.append(prompt.characters + noise.characters)
    assert searched[1] < 11 * searched[0] and searched[0] < 3 * 45_000


def test_screens_cut_anywhere() -> None:
    rng = random.Random(5)
    screen = b"display x\r\none\r\n\x1b[1D\x1b[2Ktwo \b\bzz\r\nthree\r\r\n\x00four\r\nOLT(config-if)#"
    reader = Reader(SMARTAX)
    reader.begin("display x")
    reader.feed(screen)
    whole = reader.text()
    for _ in range(300):
        reader = Reader(SMARTAX)
        reader.begin("display x")
        at = 0
        while at < len(screen):
            size = rng.randrange(1, 12)
            reader.feed(screen[at : at + size])
            at += size
        assert reader.text() == whole == "one\ntwzz\nthree\nfour"
