"""What a device sends is looked at in time that grows as its length does: one that sends nonsense holds up nobody but itself.

Each look at 40 kB takes some milliseconds. Where a pattern finds the same characters again and again it takes from 0.15 s on. So may an honest look on a
machine that others use as well: there it counts that a look at four times as much takes four times as long, and not sixteen times.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netd.errors import NetdError
from netd.extensions import Extensions
from netd.model.device import Image
from netd.sdk.dialogue import Command, Dialogue, Get, Step, play
from netd.sdk.patterns import compiled, substituted
from netd.wire.terminal import Dialect, Reader, ending
from tests.vendors.examples import example

LENGTH = 40_000
CPU_SECONDS = 0.1

SHAPES = {
    "blank lines": "\n",
    "blanks": " ",
    "blanks and tabs": "\t ",
    "lines of blanks": " \n",
    "one word": "a",
    "one number": "1",
    "one quotation": '"',
    "words": "a ",
    "dashes": "-",
    "rules": "-----\n",
    "prompts": "<core-1> [core-1] A:core-1# core-1(config)#\n",
    "prompts in a line": "core-1>",
    "alarms": "  ! 1 [2024-01-01 00:00:00+01:00]:ALARM NAME :loss\n",
    "alarms in a line": "! 1 [x] ALARM ! RUNNING ",
    "faults": "! RUNNING MAJOR 2024 ALARM\n  PARAMETERS :\n",
    "log messages": "*Mar  1 00:00:00.000: %SYS-5-CONFIG_I: \n",
    "neighbours": "lldp.eth0.",
    "numbers": "1/1/1 ",
    "keys": "a=",
    "half a quotation": 'password="x ',
    "open objects": '{"a": ',
    "clocks": "1:1:11 days ",
    "figures": "%@%^",
    "menus": "/ppp secret\n",
}
NAMES = (
    "generic_frr", "generic_linux", "cisco_ios", "huawei_smartax", "huawei_vrp", "mikrotik_routeros", "nokia_isam", "nokia_sros", "nokia_srlinux",
    "zte_zxan", "zte_zxros",
)  # fmt: skip
IMAGE = Image(name="image.bin", version="1.0", octets=1, sha256="", md5="")


def hostile(shape: str) -> str:
    return (shape * (LENGTH // len(shape) + 1))[:LENGTH]


def cheap(look: Callable[[str], object], text: str, what: str) -> None:
    """Fails if a look costs too much, three times (a neighbour may have emptied the caches once), and that is not just what so much text costs there."""
    spent = [_spent(look, text)]
    while len(spent) < 3 and spent[-1] >= CPU_SECONDS:
        spent.append(_spent(look, text))
    if spent[-1] < CPU_SECONDS:
        return
    part, little = text[: len(text) // 4], list[float]()
    for _ in range(5):
        little.append(_spent(look, part))
        spent.append(_spent(look, text))
    assert min(spent) < 8 * min(little), f"{what}: {min(spent):.2f} s for {len(text)} characters, {min(little):.3f} s for {len(part)}"


def _spent(look: Callable[[str], object], text: str) -> float:
    before = time.process_time()
    look(text)
    return time.process_time() - before


def ways(driver: Any) -> Iterator[tuple[str, Callable[[], Dialogue[Any]]]]:
    """All that a driver may ask a device, with what it is asked for."""
    for name in ("prepare", "leave", "facts", "neighbours", "macs", "arps", "save", "free_octets", "reboot", "checkpoint", "revert"):
        yield name, lambda name=name: getattr(driver, name)()  # type: ignore[misc]
    yield "running", lambda: driver.configuration("running")
    yield "startup", lambda: driver.configuration("startup")
    yield "configure", lambda: driver.configure(["hostname x", "ntp server 192.0.2.1"])
    yield "restore", lambda: driver.restore("hostname x\nend\n")
    yield "take_back", lambda: driver.take_back("hostname x\nend\n", save=True)
    yield "verify", lambda: driver.verify(IMAGE)
    yield "activate", lambda: driver.activate(IMAGE)
    yield "onu_optics", lambda: driver.onu_optics("0/1/0")


def asked(driver: Any, way: Callable[[], Dialogue[Any]], text: str) -> None:
    """Go that way with a device that says ``text`` to whatever it is asked; it may well be refused."""
    steps = 0

    def act(step: Step) -> str:
        nonlocal steps
        steps += 1
        if steps > 8:
            raise NetdError("enough")
        if isinstance(step, Command) and step.check:
            driver.terminal.classify(text)
        return text if isinstance(step, Command | Get) else ""

    try:
        play(way(), act)
    except (NetdError, LookupError, ValueError):
        return


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_device(name: str, extensions: Extensions) -> None:
    driver: Any = extensions.platforms[name].driver
    found = [(what, way) for what, way in ways(driver) if hasattr(driver, {"running": "configuration", "startup": "configuration"}.get(what, what))]
    for shape, text in ((shape, hostile(text)) for shape, text in SHAPES.items()):
        cheap(driver.terminal.classify, text, f"classify, {shape}")
        for look in ("masked", "normal"):
            if hasattr(driver, look):
                cheap(getattr(driver, look), text, f"{look}, {shape}")
        for what, way in found:
            cheap(lambda text: asked(driver, way, text), text, f"{what}, {shape}")  # noqa: B023
        cheap(lambda text: screen(driver, text), text, f"screen, {shape}")


def screen(driver: Any, text: str) -> None:
    data = driver.terminal
    noise = tuple(re.compile(pattern, re.MULTILINE) for pattern in data.noise)
    reader = Reader(Dialect(prompt=ending(data.prompt), pager=ending(data.pager) if data.pager else None, noise=noise))
    reader.begin("show version")
    for at in range(0, len(text), 4096):
        reader.feed(text[at : at + 4096].encode())
    reader.text()


def alone(pattern: str) -> Callable[[str], object]:
    """Masking with this pattern only."""
    return lambda text: substituted([compiled(pattern)], "", text)


@pytest.mark.parametrize("name", NAMES)
def test_almost_what_a_pattern_wants(name: str, extensions: Extensions) -> None:
    """The beginning of what each pattern is made for, over and over: the worst that there is for it, in one line and in many."""
    driver: Any = extensions.platforms[name].driver
    data, family = driver.terminal, driver.family
    looks: list[tuple[str, Callable[[str], object]]] = [(error.pattern, data.classify) for error in data.errors]
    looks += [(pattern, lambda text: screen(driver, text)) for pattern in data.noise]
    looks += [
        (pattern, source.facts) for source in (*family.facts, *family.snmp_facts)
        for member in ("hostname", "model", "serial", "software_version", "hardware_revision", "uptime") if (pattern := getattr(source, member))
    ]  # fmt: skip
    if hasattr(driver, "masked"):
        text = family.configuration
        looks += [(pattern, alone(pattern)) for pattern in (*text.secrets, *text.volatile, *([text.joined] if text.joined else []))]
    for pattern, look in looks:
        for wanted in {example(pattern, choice) for choice in range(4)}:
            for part in {wanted[: len(wanted) // 4], wanted[: len(wanted) // 2], wanted[: len(wanted) * 3 // 4], wanted[:-1]} - {""}:
                for shape in (part, f"{part}\n", f"{part} ", f"{part}-"):
                    cheap(look, hostile(shape), f"{pattern!r} of {shape!r}")
            for filler in "a1@%":  # one long word behind a beginning
                cheap(look, wanted[:-1] + hostile(filler), f"{pattern!r} of {wanted[:-1]!r} and {filler!r}")
                cheap(look, wanted[: len(wanted) // 2] + hostile(filler), f"{pattern!r} of half of {wanted!r} and {filler!r}")
