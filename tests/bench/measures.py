"""What is measured, each as a function that returns plain numbers. CPU is what /proc says of a process, never the clock on the wall."""

import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from netd.store.database import connect
from netd.store.embedded import EmbeddedServer
from tests.bench import packets
from tests.bench.processes import Cpu, Daemon, Echo, Generator, cpu, memory_mb, pin

WINDOW: Final = 128
PORTS: Final = 4
REQUESTS: Final = 16_384
"""Of a round; fewer than the log-ins that the daemon keeps until they are written, so that the cost of writing each is measured."""

SETTLE_SECONDS: Final = 1.6
CHECK_EVERY: Final = 29
ENDED_OF_TEN: Final = 9


class Fault(Exception):
    """The server under test did something wrong; speed does not matter then."""


class Cpus(NamedTuple):
    """Where the server and where the generator run; None on a machine with a single CPU."""

    server: int | None
    generator: int | None

    @classmethod
    def of_this_machine(cls) -> "Cpus":
        """The first and the last CPU that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1]) if len(usable) > 1 else cls(None, None)

    def place(self, server: int, generator: int) -> None:
        """Put two processes where they belong."""
        if self.server is not None and self.generator is not None:
            pin(server, self.server)
            pin(generator, self.generator)


class Sample(NamedTuple):
    """One round: CPU µs per request of the server's process and of what it started, and requests per second."""

    own_us: float
    children_us: float
    per_second: float


def checked(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a round in which every request was answered, and rightly."""
    if result["fault"]:
        raise Fault(result["fault"])
    if result["answered"] != result["sent"] or (result["strange"] and not result["repeated"]):
        raise Fault(f"{result['sent']} sent, {result['answered']} answered, {result['strange']} answers to nothing")
    return result


def sample(generator: Generator, pid: int, port: int, count: int, settle_seconds: float, what: str) -> Sample:
    """One round of ``count`` requests as fast as they are answered; what the server does for ``settle_seconds`` more is its cost too."""
    before = cpu(pid)
    result = checked(generator.run(port=port, ports=PORTS, window=WINDOW, count=count, seconds=20.0, check_every=CHECK_EVERY, what=what))
    time.sleep(settle_seconds)
    used: Cpu = cpu(pid) - before
    answered = result["answered"]
    return Sample(used.own / answered * 1e6, used.children / answered * 1e6, result["per_second"])


def alternate(generator: Generator, echo: Echo, pid: int, port: int, rounds: int, settle_seconds: float, what: str) -> tuple[list[Sample], list[Sample]]:
    """Echo and server in turn, so that both see the same machine: (echo's samples, one more than the server's; the server's)."""
    sample(generator, pid, port, REQUESTS // 2, settle_seconds, what)  # warm
    yardstick, server = [sample(generator, echo.pid, echo.port, 4 * REQUESTS, 0.0, "echo")], []
    for _ in range(rounds):
        server.append(sample(generator, pid, port, REQUESTS, settle_seconds, what))
        yardstick.append(sample(generator, echo.pid, echo.port, 4 * REQUESTS, 0.0, "echo"))
    return yardstick, server


def summary(yardstick: list[Sample], server: list[Sample]) -> dict[str, float]:
    """CPU per request (best and median round), and the median over the rounds of the ratio to the echo rounds before and after each."""
    ratios = [each.own_us / statistics.mean((yardstick[i].own_us, yardstick[i + 1].own_us)) for i, each in enumerate(server)]
    return {
        "cpu_us": statistics.median(each.own_us for each in server), "cpu_us_best": min(each.own_us for each in server),
        "children_us": statistics.median(each.children_us for each in server), "to_echo": statistics.median(ratios), "to_echo_best": min(ratios),
        "per_second": max(each.per_second for each in server), "echo_us": statistics.median(each.own_us for each in yardstick),
        "echo_us_best": min(each.own_us for each in yardstick), "echo_per_second": max(each.per_second for each in yardstick),
    }  # fmt: skip


def steady(generator: Generator, echo: Echo, pid: int, port: int, rate: float, seconds: float, rounds: int) -> dict[str, float]:
    """Both at the same steady rate, in turn: CPU per request, now that both wake up for nearly every packet, and the server's latency.

    Latency counts from when a request was due, not from when it left.
    """
    own: list[float] = []
    yardstick: list[float] = []
    quantiles: list[tuple[float, float]] = []
    repeated = 0
    for _ in range(rounds):
        for what, process, where, found in (("echo", echo.pid, echo.port, yardstick), ("netd", pid, port, own)):
            before = cpu(process)
            result = checked(generator.run(port=where, ports=16, window=0, rate=rate, seconds=seconds, check_every=1, what=what))
            found.append((cpu(process) - before).own / result["answered"] * 1e6)
            if what == "netd":
                repeated += result["repeated"]
                quantiles.append((result["p50_us"], result["p99_us"]))
    return {
        "rate": rate, "repeated": repeated, "cpu_us": statistics.median(own), "echo_us": statistics.median(yardstick),
        "to_echo": statistics.median(mine / theirs for mine, theirs in zip(own, yardstick, strict=True)),
        "p50_us": statistics.median(p50 for p50, _ in quantiles), "p99_us": statistics.median(p99 for _, p99 in quantiles),
    }  # fmt: skip


def accounting(daemon: Daemon, cpus: Cpus, sessions: int, subscribers: int) -> dict[str, Any]:
    """Start, Interim and Stop of ``sessions`` sessions as fast as they are acknowledged."""
    generator = Generator(kind="accounting", sessions=sessions, subscribers=subscribers, at=int(time.time()) - 900, ended_of_ten=ENDED_OF_TEN)
    try:
        cpus.place(daemon.pid, generator.process.pid)
        batches = daemon.metric("netd_radius_accounting_batches")
        before = cpu(daemon.pid)
        records = generator.built["packets"]
        result = checked(generator.run(port=daemon.acct_port, ports=16, window=2048, count=records, seconds=60.0, check_every=CHECK_EVERY, what="netd"))
        used = cpu(daemon.pid) - before
        batches = daemon.metric("netd_radius_accounting_batches") - batches
    finally:
        generator.end()
    return {
        "records": result["answered"], "repeated": result["repeated"], "seconds": result["seconds"], "per_second": result["per_second"],
        "p50_us": result["p50_us"], "p99_us": result["p99_us"], "cpu_us": used.own / records * 1e6, "children_us": used.children / records * 1e6,
        "records_per_commit": records / max(1.0, batches),
    }  # fmt: skip


def expected_rows(sessions: int, first: int = 0) -> dict[str, int]:
    """What the database must hold after ``accounting`` if nothing acknowledged was lost or counted twice; ``first`` is the first session's number."""
    ended = [first + n for n in range(sessions) if n % 10 < ENDED_OF_TEN]
    running = [first + n for n in range(sessions) if n % 10 >= ENDED_OF_TEN]
    return {
        "closed": len(ended), "closed_octets": sum(packets.octets_of(packets.STOP, n) for n in ended),
        "open": len(running), "open_octets": sum(packets.octets_of(packets.INTERIM, n) for n in running),
        "usage_octets": sum(packets.octets_of(packets.STOP, n) for n in ended) + sum(packets.octets_of(packets.INTERIM, n) for n in running),
    }  # fmt: skip


STORED: Final = """
    select (select count(*) from radacct) as closed, (select sum(acctinputoctets) from radacct)::bigint as closed_octets,
    (select count(*) from sessions) as open, (select sum(acctinputoctets) from sessions)::bigint as open_octets,
    (select sum(up_octets) from usage_daily)::bigint as usage_octets, (select count(*) from radpostauth) as log_ins"""
"""Asks netd's database for what ``expected_rows`` tells, and for the log-ins."""


async def _stored(data_dir: Path) -> dict[str, int]:
    async with EmbeddedServer(data_dir) as server:
        conn = await connect(server.connect_kwargs())
        try:
            return dict(await conn.fetchrow(STORED))
        finally:
            await conn.close()


def stored_rows(data_dir: Path) -> dict[str, int]:
    """Count what the database of a stopped daemon holds, by starting its PostgreSQL without it."""
    return asyncio.run(_stored(data_dir))


def starts(daemon: Daemon, times: int) -> dict[str, Any]:
    """Stop and start the daemon; the median start, and the memory of the last one."""
    found = []
    for _ in range(times):
        daemon.stop()
        found.append(daemon.start(first_user=7))
    return {
        "ready_seconds": statistics.median(each.ready_seconds for each in found),
        "first_answer_seconds": statistics.median(each.first_answer_seconds for each in found), "rss_mb": memory_mb(daemon.pid),
    }  # fmt: skip
