"""A loop that somebody held up sees the end of a time before what came in it: then the device was not silent, and is not judged as if it had been."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import Any

import asyncssh
import msgspec
import pytest

from netd.device import ssh, telnet
from netd.device.cli import CliTransport
from netd.device.ping import Pinger
from netd.device.pump import Pump
from netd.device.screen import Channel, Screen
from netd.device.telnet import TelnetChannel
from netd.errors import PeerUnreachable
from netd.sdk.dialogue import Command, Dialogue
from tests.device.conftest import Shell, target
from tests.device.fake import Device, Line, SshDevice, password, telnet_password
from tests.device.test_cli import OLT

WAITED_SECONDS, STANDSTILL_SECONDS = 0.05, 0.15
"""How long a device may be silent here, and how long the loop stands still."""

BEGINNING, REST = "show log\r\nOLT(config)#", "display version was typed\r\ndone\r\nOLT#"
"""Half a line looks like a prompt that was not seen before."""

READ = "OLT(config)#display version was typed\ndone"

COMMAND = Command(text="show log", timeout_seconds=WAITED_SECONDS)

TURNS = range(8)
"""Of the loop, after the end of the time, until the pump comes to what came in it."""


@contextlib.asynccontextmanager
async def screen() -> AsyncIterator[tuple[Screen, TelnetChannel, Callable[[str], None]]]:
    """A screen over Telnet, and what makes its device write."""
    writers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: writers.put_nowait(writer), "127.0.0.1", 0)
    async with server:
        made_for = target((telnet_password(), server.sockets[0].getsockname()[1]))
        channel = await telnet.connect(made_for, made_for.credentials[0], 80, 24)
        writer = await writers.get()
        yield known(channel), channel, lambda text: writer.write(text.encode())
        await channel.close()
        writer.close()


def known(channel: Channel) -> Screen:
    """A screen whose usual prompt was seen before."""
    made = Screen("lab", channel, OLT, settle_seconds=WAITED_SECONDS)
    made._reader.trust("OLT#")
    return made


def in_a_callback(work: Callable[[], None]) -> None:
    """Do something where a loop sees to its sockets, which is where others hold it up."""
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()

    def ready() -> None:
        loop.remove_reader(near)
        near.close()
        far.close()
        work()

    loop.add_reader(near, ready)
    far.send(b"!")


def holds_up(channel: TelnetChannel, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """While the channel is read for the second time the device writes, and the loop stands still for longer than anybody waits."""
    read, times = channel.read, iter(range(100))

    def stands_still() -> None:
        meanwhile()
        time.sleep(STANDSTILL_SECONDS)  # until then the system has it in the other socket

    async def reads() -> bytes:
        if next(times) == 1:
            in_a_callback(stands_still)
        return await read()

    monkeypatch.setattr(channel, "read", reads)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_half_a_line_is_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    async with screen() as (shell, channel, write):
        holds_up(channel, monkeypatch, lambda: write(REST))
        write(BEGINNING)
        assert await shell.command(Command(text="show log")) == READ


async def test_a_word_in_time_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with screen() as (shell, channel, write):
        holds_up(channel, monkeypatch, lambda: write("done\r\nOLT#"))
        write("slow\r\n")
        assert await shell.command(Command(text="slow", timeout_seconds=WAITED_SECONDS)) == "done"


class Busy(Pump):
    """Hands nothing over while it is busy with others."""

    busy = False

    def _run(self) -> None:
        if self.busy:
            asyncio.get_running_loop().call_soon(self._run)
        else:
            super()._run()


def goes_on_after(turns: int, channel: Channel, pump: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many turns of the loop after somebody waited in vain for a word, the pump goes on."""
    read = channel.read

    def after(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(after, turns - 1)
        else:
            pump.busy = False

    async def reads() -> bytes:
        try:
            return await read()
        except asyncio.CancelledError:
            after(turns)
            raise

    monkeypatch.setattr(channel, "read", reads)


@contextlib.asynccontextmanager
async def behind_a_pump(device: Device, pump: Pump) -> AsyncIterator[ssh.SshConnection]:
    """A connection to a device whose octets go through a pump."""
    async with SshDevice(device) as server:
        made_for = target((password(), server.port))
        connection = await ssh.connect(made_for, made_for.credentials[0], pump)
        try:
            yield connection
        finally:
            connection.close()


async def test_what_waits_in_the_pump_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hundreds of devices write at once, what comes next waits longer for its turn than a device has to be silent."""
    pump, goes_on = Busy(), asyncio.Event()

    async def device(line: Line) -> None:
        await goes_on.wait()
        line.write("show log\r\ndone\r\nOLT#")
        await line.line()

    async with behind_a_pump(device, pump) as connection:
        for turns in TURNS:
            goes_on.clear()
            channel = await connection.shell(80, 24, pty=True)
            pump.busy = True
            goes_on.set()
            await until(lambda: pump._hungry)
            goes_on_after(turns, channel, pump, monkeypatch)
            assert await known(channel).command(COMMAND) == "done", turns


async def test_what_waits_in_the_pump_was_said_on_a_channel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pump, goes_on = Busy(), asyncio.Event()
    execute = ssh.SshConnection.execute

    async def device(line: Line) -> None:
        await goes_on.wait()
        line.write("done\r\n")

    async def executes(connection: ssh.SshConnection, command: str) -> ssh.Channel:
        channel = await execute(connection, command)
        pump.busy = True
        goes_on.set()
        await until(lambda: pump._hungry)
        goes_on_after(0, channel, pump, monkeypatch)
        return channel

    def typed() -> Dialogue[str]:
        return (yield COMMAND)

    transport = CliTransport()
    transport.pump = pump
    driver = Shell(msgspec.structs.replace(OLT, exec_channel=True))
    async with SshDevice(device) as server, transport.session(target((password(), server.port)), driver) as session:
        with monkeypatch.context() as patched:
            patched.setattr(ssh.SshConnection, "execute", executes)
            assert await session.run(typed()) == "done"


@pytest.mark.parametrize("breaks", [False, True])
async def test_an_end_that_waits_in_the_pump_is_no_silence(monkeypatch: pytest.MonkeyPatch, breaks: bool) -> None:
    pump, goes_on = Busy(), asyncio.Event()

    async def device(line: Line) -> None:
        await goes_on.wait()
        if breaks:
            line.reset()

    for turns in TURNS:
        goes_on.clear()
        async with behind_a_pump(device, pump) as connection:
            channel = await connection.shell(80, 24, pty=True)
            pump.busy = True
            goes_on.set()
            await until(lambda: pump._hungry)
            goes_on_after(turns, channel, pump, monkeypatch)
            with pytest.raises(PeerUnreachable) as raised:
                await known(channel).command(COMMAND)
            assert raised.value.reason == "lost", turns


async def test_how_a_command_ended_may_wait_in_the_pump(monkeypatch: pytest.MonkeyPatch) -> None:
    pump, goes_on = Busy(), asyncio.Event()

    async def device(line: Line) -> int:
        await goes_on.wait()
        return 2

    async with behind_a_pump(device, pump) as connection:
        channel = await connection.execute("false")
        pump.busy = True
        goes_on.set()
        await until(lambda: pump._hungry)
        asyncio.get_running_loop().call_later(STANDSTILL_SECONDS, setattr, pump, "busy", False)
        assert await channel.ended(WAITED_SECONDS) == "[exit status 2]"


class Chatterer(SshDevice):
    """Says no word at its shell, and fills the connection with what SSH passes over."""

    async def _process(self, process: Any) -> None:
        connection: asyncssh.SSHServerConnection = process.channel.get_connection()
        while not connection.is_closed():
            for _ in range(3):
                connection.send_debug("x" * 4000)
            await asyncio.sleep(0)


async def test_octets_without_end_are_no_word() -> None:
    """More than a pump has time for, and none of it for the shell."""
    now = iter(range(1 << 30))

    async def device(line: Line) -> None: ...

    pump = Pump(lambda: next(now))  # a helping in each turn
    async with Chatterer(device) as server:
        made_for = target((password(), server.port))
        connection = await ssh.connect(made_for, made_for.credentials[0], pump)
        try:
            channel = await connection.shell(80, 24, pty=True)
            await until(lambda: any(len(valve._queue) > 32 << 10 for valve in pump._hungry))
            async with asyncio.timeout(60):
                with pytest.raises(PeerUnreachable, match="no word"):
                    await known(channel).command(COMMAND)
        finally:
            connection.close()


class Late:
    """A socket whose first packet leaves, and is answered, while the loop stands still."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.sent = 0

    def sendto(self, data: bytes, where: tuple[str, int]) -> None:
        def sends() -> None:
            self._real.sendto(data, where)
            time.sleep(0 if self.sent > 1 else STANDSTILL_SECONDS)

        self.sent += 1
        in_a_callback(sends)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def test_an_echo_that_was_there_is_no_lost_packet_and_no_slow_one() -> None:
    if os.geteuid() != 0:
        pytest.skip("a raw socket needs root")
    async with Pinger(ways=("raw",), seconds=WAITED_SECONDS, attempts=1) as pinger:
        late: Any = Late(pinger._echo[4]._socket)
        pinger._echo[4]._socket = late
        took = await pinger.round_trip(ip_address("127.0.0.1"))
        assert took is not None and took <= WAITED_SECONDS
        assert late.sent == 2
