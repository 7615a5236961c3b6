"""The pump: everything arrives, in order, before the end of the connection, and nobody's flood holds up the loop or others."""

import asyncio
from typing import Any, cast

import pytest

from netd.device.pump import BUDGET_SECONDS, HELPING_OCTETS, MOST_QUEUED, Pump, _Valve


class Eater(asyncio.Protocol):
    """Takes ``seconds`` of a made-up clock for each helping."""

    def __init__(self, log: list[Any], name: str, clock: list[float], seconds: float = 0.0) -> None:
        self.log, self.name, self.clock, self.seconds = log, name, clock, seconds
        self.eaten = bytearray()
        self.ended, self.over = asyncio.Event(), asyncio.Event()

    def data_received(self, data: bytes) -> None:
        assert len(data) <= HELPING_OCTETS
        self.eaten += data
        self.clock[0] += self.seconds
        self.log.append(self.name)

    def eof_received(self) -> bool:
        self.log.append(f"{self.name} eof")
        self.ended.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.append(f"{self.name} lost")
        self.over.set()


async def test_all_of_it_in_order_before_the_end() -> None:
    content = bytes(range(256)) * 2000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        writer.close()

    log: list[Any] = []
    clock = [0.0]
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        pump = Pump(lambda: clock[0])
        transport, protocol = await pump.create_connection(lambda: Eater(log, "a", clock), "127.0.0.1", server.sockets[0].getsockname()[1])
        eater = cast(Eater, protocol)
        await eater.ended.wait()
        assert bytes(eater.eaten) == content
        transport.close()
        await eater.over.wait()
    assert log[-2:] == ["a eof", "a lost"]


async def test_a_protocol_that_fails_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    class Stumbler(Eater):
        def data_received(self, data: bytes) -> None:
            raise ValueError("a defect")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        writer.close()

    log: list[Any] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        pump = Pump()
        port = server.sockets[0].getsockname()[1]
        _, stumbler = await pump.create_connection(lambda: Stumbler(log, "a", [0.0]), "127.0.0.1", port)
        await cast(Eater, stumbler).over.wait()
        await pump.catch_up(stumbler)
        transport, eater = await pump.create_connection(lambda: Eater(log, "b", [0.0]), "127.0.0.1", port)
        await cast(Eater, eater).ended.wait()
        transport.close()
        await cast(Eater, eater).over.wait()
    assert log == ["a lost", "b", "b eof", "b lost"]
    assert "a connection's protocol failed" in caplog.text


async def test_a_turn_of_the_loop_is_bounded_and_shared() -> None:
    log: list[Any] = []
    clock = [0.0]
    pump = Pump(lambda: clock[0])

    class Transport:
        paused = 0

        def pause_reading(self) -> None:
            self.paused += 1

        def resume_reading(self) -> None:
            self.paused -= 1

    loop = asyncio.get_running_loop()
    transports = [Transport() for _ in range(4)]
    for name, transport in zip("abcd", transports, strict=True):
        valve = _Valve(pump, Eater(log, name, clock, BUDGET_SECONDS / 3))
        valve.connection_made(cast(asyncio.BaseTransport, transport))
        valve.data_received(bytes(MOST_QUEUED + 1))
    assert all(transport.paused == 1 for transport in transports), "who sends more than is eaten is not read from"
    turns = 0
    while len(log) < 4 * 9:
        before = len(log)
        await asyncio.sleep(0)
        assert len(log) - before <= 4, "three or four helpings fill the budget"
        turns += 1
        assert turns < 100
    assert log[:8] == list("abcdabcd") and all(transport.paused == 0 for transport in transports) and loop.is_running()
