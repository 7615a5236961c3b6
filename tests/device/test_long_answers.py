"""Long answers: how long one may be, and that nobody waits while a driver looks at one."""

import asyncio
import threading
import time
from typing import Any

import pytest

from netd.device import cli
from netd.device.cli import CliLimits
from netd.errors import PeerUnreachable
from netd.sdk.dialogue import Dialogue, say
from tests.device.fake import Line
from tests.device.test_cli import QUICK, session

LINE = "interface something with a description\r\n"


async def long(line: Line) -> None:
    """Says as much as it is asked for."""
    line.write("OLT#")
    while (text := await line.line()) != "quit":
        if text.isdigit():
            line.write(LINE * (int(text) // len(LINE)))
        line.write("OLT#")


async def test_only_who_says_so_gets_more() -> None:
    limits = CliLimits(cleanup_seconds=10, settle_seconds=0.02, most_output=100_000, most_large=300_000)
    async with session(long, limits=limits) as made:
        assert len(await made.run(say("90000"))) > 80_000
        assert len(await made.run(say("290000", large=True))) > 270_000
        assert len(await made.run(say("90000"))) > 80_000
        with pytest.raises(PeerUnreachable, match="more than 100000 characters") as raised:
            await made.run(say("290000"))
        assert raised.value.reason == "too_large"


async def test_most_of_a_configuration_is_more_than_of_else() -> None:
    assert CliLimits().most_output <= 4 << 20 < CliLimits().most_large


async def test_a_driver_looks_at_a_long_text_in_a_thread() -> None:
    """And at a short one where it is: a thread costs more than that."""
    where: list[threading.Thread] = []

    def looks() -> Dialogue[str]:
        yield from say("100")
        where.append(threading.current_thread())
        text = yield from say(str(cli.LARGE_CHARACTERS + 10_000))
        where.append(threading.current_thread())
        return text[-11:]

    async with session(long, limits=QUICK) as made:
        assert await made.run(looks()) == "description"
    assert where[0] is threading.main_thread() and where[1] is not threading.main_thread()


async def test_who_is_cancelled_while_a_driver_looks() -> None:
    """What the driver still wants done is done, once it has looked."""
    began, ended = threading.Event(), list[str]()

    def looks() -> Dialogue[None]:
        try:
            yield from say(str(cli.LARGE_CHARACTERS + 10_000))
            began.set()
            time.sleep(0.2)
            yield from say("never")
        finally:
            ended.append("left")
            yield from say("100")

    async with session(long, limits=QUICK) as made:
        running: asyncio.Task[Any] = asyncio.create_task(made.run(looks()))
        assert await asyncio.to_thread(began.wait, 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == ["left"]
        assert "interface" in await made.run(say("100"))
