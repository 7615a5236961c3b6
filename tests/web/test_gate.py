"""The gate before ports that anybody reaches, by itself."""

import asyncio
import socket
import time

from netd.metrics import Counts
from netd.web.gate import Gate, listening


class Impatient(asyncio.Protocol):
    """Ends a connection that says nothing by a clock of its own, as aiohttp does, and is slow to begin."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asyncio.get_running_loop().call_later(0.2, transport.close)
        time.sleep(0.1)


async def test_who_says_nothing_is_counted_whoever_ends_the_connection() -> None:
    refused: Counts = Counts()
    sock = listening("127.0.0.1", 0)
    gate = Gate(sock, Impatient, lambda address: address, refused, most=8, most_of_source=8, silent_seconds=0.2)
    gate.start()
    with socket.create_connection(sock.getsockname(), 30) as client:
        assert await asyncio.to_thread(client.recv, 1) == b""
    await gate.stop()
    assert refused == {"silent": 1}
