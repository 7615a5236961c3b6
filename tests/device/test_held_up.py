"""A loop that somebody held up sees the end of a time together with what came in it: then the device was not silent, and is not judged as if it had been."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address

import pytest

from netd.device import ssh, telnet
from netd.device.ping import Pinger
from netd.device.pump import Pump
from netd.device.screen import Channel, Screen
from netd.device.telnet import TelnetChannel
from netd.sdk.dialogue import Command
from tests.clock import Clock, skipping
from tests.device.conftest import target
from tests.device.fake import Line, SshDevice, password, telnet_password
from tests.device.test_cli import OLT

BEGINNING, REST = "show log\r\nOLT(config)#", "display version was typed\r\ndone\r\nOLT#"
"""Half a line looks like a prompt that was not seen before."""

READ = "OLT(config)#display version was typed\ndone"


@contextlib.asynccontextmanager
async def screen() -> AsyncIterator[tuple[Screen, TelnetChannel, Callable[[str], None], Clock]]:
    """A screen over Telnet, what makes its device write, and the loop's clock."""
    writers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: writers.put_nowait(writer), "127.0.0.1", 0)
    async with server:
        made_for = target((telnet_password(), server.sockets[0].getsockname()[1]))
        channel = await telnet.connect(made_for, made_for.credentials[0], 80, 24)
        writer = await writers.get()
        with skipping() as clock:
            yield known(channel), channel, lambda text: writer.write(text.encode()), clock
        await channel.close()
        writer.close()


def known(channel: Channel) -> Screen:
    """A screen whose usual prompt was seen before."""
    made = Screen("lab", channel, OLT, settle_seconds=100)
    made._reader.trust("OLT#")
    return made


def holds_up(channel: TelnetChannel, monkeypatch: pytest.MonkeyPatch, clock: Clock, meanwhile: Callable[[], None]) -> None:
    """While the channel is read for the second time the device writes, and the loop stands still for longer than anybody waits."""
    read, times = channel.read, iter(range(100))

    async def reads() -> bytes:
        if next(times) == 1:
            asyncio.get_running_loop().call_soon(stands_still)
        return await read()

    def stands_still() -> None:
        meanwhile()
        time.sleep(0.05)  # until the system has it in the other socket
        clock.skip(1000)

    monkeypatch.setattr(channel, "read", reads)


async def test_half_a_line_is_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    async with screen() as (shell, channel, write, clock):
        holds_up(channel, monkeypatch, clock, lambda: write(REST))
        write(BEGINNING)
        assert await shell.command(Command(text="show log")) == READ


async def test_a_word_in_time_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with screen() as (shell, channel, write, clock):
        holds_up(channel, monkeypatch, clock, lambda: write("done\r\nOLT#"))
        write("slow\r\n")
        assert await shell.command(Command(text="slow", timeout_seconds=100)) == "done"


async def test_what_waits_in_the_pump_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hundreds of devices write at once, what comes next waits longer for its turn than a device has to be silent."""
    pump, busy, goes_on = Pump(), asyncio.Event(), asyncio.Event()
    run = pump._run

    def runs() -> None:
        if busy.is_set():
            asyncio.get_running_loop().call_soon(runs)
        else:
            run()

    async def device(line: Line) -> None:
        await line.line(echo=False)
        line.write(BEGINNING)
        await goes_on.wait()
        line.write(REST)
        await line.line()

    monkeypatch.setattr(pump, "_run", runs)
    with skipping() as clock:
        async with SshDevice(device) as server:
            made_for = target((password(), server.port))
            connection = await ssh.connect(made_for, made_for.credentials[0], pump)
            channel = await connection.shell(80, 24, pty=True)
            shell = known(channel)
            work = asyncio.create_task(shell.command(Command(text="show log")))
            await until(lambda: shell._reader.end().endswith("OLT(config)#"))
            busy.set()
            goes_on.set()
            await until(channel.held_back)
            clock.skip(150)
            for _ in range(20):
                await asyncio.sleep(0)
            busy.clear()
            assert await work == READ
            connection.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_echo_that_was_there_is_no_lost_packet() -> None:
    if os.geteuid() != 0:
        pytest.skip("a raw socket needs root")
    with skipping() as clock:
        async with Pinger(ways=("raw",), seconds=100, attempts=1) as pinger:
            asked = asyncio.create_task(pinger.ping(ip_address("127.0.0.1")))
            asyncio.get_running_loop().call_soon(clock.skip, 150)  # right after it was asked
            assert await asked
