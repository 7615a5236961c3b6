"""The API's client: a process of its own that runs one order per line of JSON on its standard input, and prints one line of JSON for each.

``{"pace": [[path, per_second], …], "seconds": s}`` asks at a steady rate whatever the answers do; latency counts from when a request was due.
``{"listen": n, "path": p}`` opens so many listeners of the event stream and holds them, ``{"listen": 0}`` lets them go, saying what they got.
Of HTTP it speaks no more than that takes, so that it is not what is measured.
"""

import asyncio
import json
import sys
import time
from typing import Any, Final

import uvloop

CONNECTIONS: Final = 8
OPENING: Final = 50


class Connection:
    """A connection that is kept open, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self.reader = reader
        self.writer = writer
        self.head = f"Host: bench\r\nAuthorization: Bearer {token}\r\n"

    async def get(self, path: str) -> bytes:
        """The body of an answer 200."""
        self.writer.write(f"GET {path} HTTP/1.1\r\n{self.head}\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {head[:100]!r}")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return await self.reader.readexactly(int(length.split(b":")[1]))


async def connect(port: int, token: str) -> Connection:
    """A new connection."""
    return Connection(*await asyncio.open_connection("127.0.0.1", port), token)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and worst, in ms."""
    ordered = sorted(seconds)
    return {
        "count": len(ordered), "p50_ms": ordered[len(ordered) // 2] * 1000, "p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000,
        "worst_ms": ordered[-1] * 1000,
    }  # fmt: skip


class Client:
    """Connections to one daemon; ``tokens`` take turns, for each may only call so often."""

    def __init__(self, port: int, tokens: list[str], subscribers: int) -> None:
        self.port = port
        self.tokens = tokens
        self.subscribers = subscribers
        self.free: asyncio.Queue[Connection] = asyncio.Queue()
        self.listeners: list[asyncio.Task[int]] = []

    async def open(self) -> None:
        """Open the connections for requests."""
        for number in range(CONNECTIONS):
            self.free.put_nowait(await connect(self.port, self.tokens[number % len(self.tokens)]))

    async def pace(self, wanted: list[tuple[str, float]], seconds: float) -> dict[str, Any]:
        """Each path so often a second; ``{n}`` in one is a number that goes up."""
        found: dict[str, list[float]] = {path: [] for path, _ in wanted}
        octets = dict.fromkeys(found, 0)
        begun = time.monotonic() + 0.05

        async def one(path: str, number: int, due: float) -> None:
            connection = await self.free.get()
            body = await connection.get(path.replace("{n}", str(1 + number * 7919 % self.subscribers)))
            self.free.put_nowait(connection)
            found[path].append(time.monotonic() - due)
            octets[path] += len(body)

        async def each(path: str, rate: float) -> None:
            tasks = []
            for number in range(int(rate * seconds)):
                due = begun + number / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                tasks.append(asyncio.create_task(one(path, number, due)))
            await asyncio.gather(*tasks)

        await asyncio.gather(*(each(path, rate) for path, rate in wanted))
        return {path: {**quantiles(latencies), "octets": octets[path]} for path, latencies in found.items()}

    async def listen(self, count: int, path: str) -> dict[str, Any]:
        """Have ``count`` listeners; of none, how many events those had that were there."""
        if not count:
            for task in self.listeners:
                task.cancel()
            heard = await asyncio.gather(*self.listeners)
            self.listeners = []
            return {"listeners": len(heard), "events": sum(heard), "fewest": min(heard, default=0)}
        for start in range(0, count, OPENING):
            ready = [asyncio.Event() for _ in range(min(OPENING, count - start))]
            self.listeners += [asyncio.create_task(self._listener(path, start + number, event)) for number, event in enumerate(ready)]
            await asyncio.gather(*(event.wait() for event in ready))
        return {"listeners": len(self.listeners)}

    async def _listener(self, path: str, number: int, ready: asyncio.Event) -> int:
        connection = await connect(self.port, self.tokens[number % len(self.tokens)])
        events = 0
        try:
            connection.writer.write(f"GET {path} HTTP/1.1\r\n{connection.head}Accept: text/event-stream\r\n\r\n".encode())
            head = await connection.reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{path}: {head[:100]!r}")
            ready.set()
            while line := await connection.reader.readline():
                events += line.startswith(b"data:")
            raise RuntimeError("the stream ended")
        except asyncio.CancelledError:
            return events
        finally:
            connection.writer.close()


async def main() -> None:
    """Do what standard input orders, until it ends."""
    spec = json.loads(sys.stdin.readline())
    client = Client(spec["port"], spec["tokens"], spec["subscribers"])
    await client.open()
    print(json.dumps({"connections": CONNECTIONS}), flush=True)
    while text := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(text)
        if "pace" in order:
            found = await client.pace([tuple(each) for each in order["pace"]], order["seconds"])
        else:
            found = await client.listen(order["listen"], order.get("path", ""))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
