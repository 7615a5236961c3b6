"""The console of a simulated device, key by key."""

import re
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from netd.simulate import Behaviour, Console, Quirks, Reply, Simulated, Tree, command
from netd.simulate.agent import Agent, Object

WIDTH = len(" --More--")
ERASED = f"\x1b[{WIDTH}D{' ' * WIDTH}\x1b[{WIDTH}D"


class Router(Behaviour):
    alarm: ClassVar[str] = "ALARM"
    quota_text: ClassVar[str] = "no more"

    @command(r"count (\d+)")
    def count(self, match: re.Match[str]) -> Reply | str:
        return "\n".join(map(str, range(int(match[1]))))

    @command(r"ask")
    def ask(self, match: re.Match[str]) -> Reply | str:
        return Reply(question="sure? ", keys="yn", then=lambda said: f"said {said}")

    @command(r"reload")
    def reload(self, match: re.Match[str]) -> Reply | str:
        return Reply(restarts=True)


def console(**quirks: object) -> Console:
    made = Console(Simulated("r1", version="1", quirks=Quirks(**{"page_lines": 3, **quirks})), Router)  # type: ignore[arg-type]
    assert made.open().text == "r1#"
    return made


def test_echo_and_prompt() -> None:
    shell = console()
    assert shell.feed("coX\x7funt 2").text == "coX\b \bunt 2"
    assert shell.feed("\r\n").text == "\r\n0\r\n1\r\nr1#"
    assert shell.feed("what\r").text.endswith("% Invalid input detected at '^' marker.\r\nr1#")
    assert shell.feed("half\x03").text == "half^C\r\nr1#"
    assert console(echo_columns=4).feed("abcdef").text == "abcd \x1b[1Def"


def test_a_page_a_line_and_enough() -> None:
    shell = console()
    assert shell.feed("count 9\r").text.endswith("\r\n0\r\n1\r\n2\r\n --More--")
    assert shell.feed("x").text == ""  # not one of the pager's keys
    assert shell.feed("\r").text == f"{ERASED}3\r\n --More--"
    assert shell.feed(" ").text == f"{ERASED}4\r\n5\r\n6\r\n --More--"
    assert shell.feed(" ").text == f"{ERASED}7\r\n8\r\nr1#"
    assert shell.feed("count 9\rq").text.endswith(f"{ERASED}r1#")
    assert console(erases_pager=False).feed("count 4\r ").text.endswith("2\r\n --More--\r\n3\r\nr1#")


def test_alarms_cuts_and_breaks() -> None:
    assert console(alarms=1, page_lines=0).feed("count 3\r").text == "count 3\r\n0\r\nALARM\r\n1\r\n2\r\nr1#"
    assert console(cut_octets=3, page_lines=0).feed("count 9\r").text == "count 9\r\n0\r\n1\r\nr1#"
    broken = console(resets_after=3, page_lines=0).feed("count 9\r")
    assert broken.resets and broken.text == "count 9\r\n0\r\n"


def test_questions() -> None:
    shell = console()
    assert shell.feed("ask\r").text == "ask\r\nsure? "
    assert shell.feed("y").text == "y\r\nsaid y\r\nr1#"
    assert shell.feed("ask\rmaybe\r").text.endswith("said maybe\r\nr1#")


def test_sessions_are_counted_whatever_ends_them() -> None:
    device = Simulated("r1", version="1", quirks=Quirks(sessions=1))
    first, second = Console(device, Router), Console(device, Router)
    first.open()
    turned_away = second.open()
    assert turned_away.closes and "no more" in turned_away.text
    second.close()
    assert device.sessions == 1
    first.close()
    first.close()
    assert device.sessions == 0
    old, new = Console(device, Router), Console(device, Router)
    old.open()
    assert old.feed("reload\r").restarts and device.generation == 1
    new.open()
    old.close()  # of a session before the restart nothing is left to be counted
    assert device.sessions == 1
    assert old.feed("count 1\r").closes


def test_telnet_asks_who_it_is() -> None:
    shell = Console(Simulated("r1", version="1"), Router, asks_login=True)
    assert shell.open().text == "Username:"
    assert shell.feed("netd\r").text == "netd\r\nPassword:"
    assert shell.feed("wrong\r").text == "\r\n% Login invalid\r\nUsername:"
    assert shell.feed("netd\rsimulated\r").text == "netd\r\nPassword:\r\nr1#"


def test_a_restart_takes_the_stored_configuration_and_the_next_version() -> None:
    device = Simulated("r1", version="1", configuration="hostname r1\ninterface a\n ip address x\n")
    device.running.put(("interface a",), "description new")
    device.next_version = "2"
    device.restart()
    assert (device.version, device.running.find(("interface a",), "description")) == ("2", [])
    device.next_version, device.quirks.upgrade_fails = "3", True
    device.restart()
    assert device.version == "2"


def test_a_tree_of_lines() -> None:
    text = "hostname r1\ninterface a\n ip address x\n description y\n!"
    tree = Tree.parse(text)
    assert tree.render() == text
    assert not tree.put((), "hostname r1") and tree.put((), "hostname r2", ("hostname",))
    assert tree.find((), "hostname") == ["hostname r2"]
    assert tree.drop(("interface a",), "description") and not tree.drop(("interface a",), "description")


@given(st.text(max_size=60))
def test_nothing_that_is_typed_breaks_it(typed: str) -> None:
    console(alarms=2).feed(typed + "\rcount 5\r" + typed)


@given(st.binary(max_size=80))
def test_nothing_that_is_sent_breaks_an_agent(datagram: bytes) -> None:
    Agent({(1, 3, 6): Object(2, 1)}, "public").answer(b"\x30" + bytes((len(datagram),)) + datagram)
