"""Log-ins while twenty devices fetch an image each, half by HTTP and half by TFTP, again and again: a part of ``make bench-boot``.

Engine, boot files and log-ins are in one process and loop, as in the daemon. In turn within each round log-ins are measured alone, while the devices fetch
from netd, and while they fetch the same from nginx and tftpd-hpa: what the last costs is the machine's processors, not netd's loop. Devices are processes of
the lowest priority. As ``python -m tests.bench.fetching SCHEME SOURCE PORT PATH OCTETS`` this is such a device: it waits for a line, fetches until the next,
tells how much it got, and ends with its input.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from netd.extensions import Extensions
from netd.store.database import Database
from tests.bench import beside
from tests.bench.download import by_http, by_tftp
from tests.bench.processes import ROOT
from tests.ztp.booting import Booting, client, serving

RATE: Final = 2000.0
WINDOW: Final = 16


@dataclass
class Span:
    """What the devices got while log-ins were measured, and the log-ins' latency in ms."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    megabytes_per_second: list[float] = field(default_factory=list)


def device(scheme: str, source: str, port: int, path: str, octets: int) -> None:
    """Fetch whole files between two lines on the input; then tell octets and seconds."""
    os.nice(19)
    print("ready", flush=True)
    while sys.stdin.readline():
        enough = threading.Event()
        threading.Thread(target=_wait, args=(enough,), daemon=True).start()
        started, total = time.monotonic(), 0
        while not enough.is_set() or not total:
            got = by_http(port, path, source) if scheme == "http" else by_tftp(port, path, WINDOW, source)
            if got != octets:
                raise RuntimeError(f"{got} octets of {octets} by {scheme}")
            total += got
        print(total, time.monotonic() - started, flush=True)


def _wait(enough: threading.Event) -> None:
    sys.stdin.readline()
    enough.set()


class Devices:
    """Their processes."""

    def __init__(self, orders: list[tuple[str, str, int, str]], octets: int) -> None:
        self._processes = [
            subprocess.Popen([sys.executable, "-m", "tests.bench.fetching", scheme, source, str(port), path, str(octets)], cwd=ROOT, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for scheme, source, port, path in orders
        ]  # fmt: skip
        self._lines()

    def _lines(self) -> list[str]:
        found = []
        for each in self._processes:
            assert each.stdout is not None
            line = each.stdout.readline()
            if not line:
                raise RuntimeError("a device ended: see above")
            found.append(line)
        return found

    def _say(self, line: str) -> None:
        for each in self._processes:
            assert each.stdin is not None
            each.stdin.write(line)
            each.stdin.flush()

    def begin(self) -> None:
        """Let all begin."""
        self._say("begin\n")

    def finish(self) -> float:
        """Let all come to the end of their file; MB/s of all of them together."""
        self._say("finish\n")
        return sum(int(octets) / float(seconds) for octets, seconds in (line.split() for line in self._lines())) / 1e6

    def end(self) -> None:
        """End their processes."""
        for each in self._processes:
            assert each.stdin is not None
            each.stdin.close()
        for each in self._processes:
            each.wait(60)


async def orders(booting: Booting, count: int, octets: int) -> list[tuple[str, str, int, str]]:
    """What each device is told, at an address of its own: every second one fetches by TFTP."""
    body = os.urandom(1 << 20) * (octets // (1 << 20) + 1)
    await booting.image(body[:octets], "image.cc", "1")
    told = []
    for number in range(count):
        seen, source = client(f"D{number}"), f"127.0.1.{number + 1}"
        await booting.device(f"d{number}", platform="generic_linux", target_version="1")
        await booting.told(seen, source)
        path = booting.url(seen, "image", "image.cc", source).split("/", 3)[3]
        told.append(("tftp", source, booting.tftp_port, path) if number % 2 else ("http", source, booting.http_port, path))
    return told


async def measured(
    folder: Path, url: str, others: tuple[int, int], static: Path, rounds: int, devices: int, octets: int, seconds: float
) -> dict[str, Span]:  # fmt: skip
    """All rounds; ``others`` are the ports of nginx and tftpd-hpa, which serve what is in ``static``."""
    spans = {name: Span() for name in ("alone", "while netd serves", "while others serve")}
    extensions = Extensions.discover(packages=())
    async with AsyncExitStack() as stack:
        database = await Database.open(url, 5)
        stack.push_async_callback(database.close)
        booting = await stack.enter_async_context(serving(database, url, folder, extensions, retry_seconds=86_400))
        told = await orders(booting, devices, octets)
        (static / "image").write_bytes((next(booting.images.iterdir())).read_bytes())
        elsewhere = [(scheme, source, others[scheme == "tftp"], "image") for scheme, source, _, _ in told]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        engine = await stack.enter_async_context(beside.engine(url, folder, booting.keyring, extensions, group))
        await engine.log_ins(RATE, min(seconds, 2.0))  # warm
        fleets: dict[str, Devices | None] = {"alone": None}
        for name, each in (("while netd serves", told), ("while others serve", elsewhere)):
            fleets[name] = fleet = await asyncio.to_thread(Devices, each, octets)
            stack.callback(fleet.end)
        for number in range(rounds):
            print(f"round {number + 1}", flush=True)
            for name, fetching in fleets.items():
                await _span(spans[name], engine, fetching, seconds)
    return spans


async def _span(span: Span, engine: beside.Engine, devices: Devices | None, seconds: float) -> None:
    if devices is not None:
        devices.begin()
    found: dict[str, Any] = await engine.log_ins(RATE, seconds)
    if devices is not None:
        span.megabytes_per_second.append(await asyncio.to_thread(devices.finish))
    span.p50.append(found["log-ins, p50 ms"])
    span.p99.append(found["log-ins, p99 ms"])
    if found["log-ins sent again"]:
        print(f"  {found['log-ins sent again']} log-ins were sent again")


def report(spans: dict[str, Span], devices: int, octets: int) -> None:
    """Print medians with their ranges, and the ratios."""
    print(
        f"\n{RATE:,.0f} log-ins/s while {devices} devices fetch {octets / 1e6:g} MB each, again and again, half by HTTP and half by TFTP (windowsize {WINDOW})"
    )
    print(f"{'':24}{'p50 ms, median (range)':>28}{'p99 ms, median (range)':>28}{'MB/s, all devices':>20}")
    for name, span in spans.items():
        rate = f"{statistics.median(span.megabytes_per_second):,.0f}" if span.megabytes_per_second else "-"
        print(f"{name:24}{_median(span.p50):>28}{_median(span.p99):>28}{rate:>20}")
    alone, served, others = (spans[name] for name in ("alone", "while netd serves", "while others serve"))
    for what in ("p50", "p99"):
        base, mine, theirs = (statistics.median(getattr(each, what)) for each in (alone, served, others))
        print(f"{what} in times that alone: {mine / base:.2f}; while others serve {theirs / base:.2f}")
    worst = statistics.median(served.p99)
    print(f"goal: p99 below {beside.P99_GOAL_MS:g} ms while netd serves: {'met' if worst < beside.P99_GOAL_MS else 'MISSED'}")


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    device(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
