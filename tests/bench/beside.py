"""Log-ins at a steady rate into a RADIUS engine in the caller's own process and loop: whether what goes on there makes them wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from netd.config import Config
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.radius import sockets
from netd.radius.service import RadiusService
from netd.store.database import Database, Target
from tests.bench import population
from tests.bench.measures import checked
from tests.bench.processes import Generator

SUBSCRIBERS: Final = 10_000
REQUESTS: Final = 65_536
PORTS: Final = 16
CONNECTIONS: Final = 6
P99_GOAL_MS: Final = 20.0


class Engine:
    """A RADIUS engine that answers at ``port``, and the process that asks it."""

    def __init__(self, port: int, generator: Generator) -> None:
        self.port = port
        self._generator = generator

    async def log_ins(self, rate: float, seconds: float) -> dict[str, Any]:
        """So many log-ins a second for so long, each answered rightly; their latency, which counts from when each was due."""
        order = {"port": self.port, "ports": PORTS, "window": 0, "rate": rate, "seconds": seconds, "check_every": 1, "what": "netd"}
        found = checked(await asyncio.to_thread(lambda: self._generator.run(**order)))
        p50, p99 = found["p50_us"] / 1000, found["p99_us"] / 1000
        return {
            "log-ins/s meanwhile": round(found["answered"] / seconds), "log-ins sent again": found["repeated"], "log-ins, p50 ms": round(p50, 2),
            "log-ins, p99 ms": round(p99, 2), f"goal: p99 below {P99_GOAL_MS:g} ms": "met" if p99 < P99_GOAL_MS else "MISSED",
        }  # fmt: skip


@asynccontextmanager
async def engine(target: Target, folder: Path, keyring: Keyring, extensions: Extensions, group: asyncio.TaskGroup) -> AsyncIterator[Engine]:
    """An engine as the daemon puts it together, on connections of its own, with subscribers; its tasks are the group's."""
    await population.put(target, keyring, 0, SUBSCRIBERS)
    database = await Database.open(target, CONNECTIONS)
    service = RadiusService(database, target, extensions, keyring.open, Config(data_dir=folder))
    await service.load()
    auth, acct = (sockets.bind(("127.0.0.1",), 0, f"radius.{name}_port", number) for number, name in enumerate(("auth", "acct")))
    generator = await asyncio.to_thread(lambda: Generator(kind="access", count=REQUESTS, subscribers=SUBSCRIBERS, seed=3, native=True))
    try:
        service.start(group, auth, acct)
        yield Engine(auth[0].port, generator)
    finally:
        await asyncio.to_thread(generator.end)
        await service.stop()
        await service.feed.close()
        await service.close()
        for sock in (*auth, *acct):
            sock.close()
        await database.close()
