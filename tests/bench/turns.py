"""What holds the loop: the longest turns of a daemon's event loop at a steady rate of log-ins, and whose steps they were.

``python -m tests.bench.turns`` (``--engine no`` measures the sources). A turn, and each step in it, is measured by the CPU that the loop's thread used, so
a busy machine does not matter. A callback that asks to be called in every turn keeps the loop from sleeping: a turn reads fewer packets than
otherwise, which is what makes the others stand out. The daemon runs in a process of its own, with ``--inside``.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any, Final

from tests.bench.processes import Daemon, cpu, end
from tests.bench.processes import Generator as Load
from tests.bench.run import bench_folder

LONGEST: Final = 12
LONG_SECONDS: Final = 0.001
PORTS: Final = 16


class Turns:
    """Turns of the loop that runs now, steps of its tasks and collections, as they happen."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.turns: list[float] = []
        self.steps: dict[str, list[float]] = {}
        self.begun = self.collecting = 0.0
        self.ran: list[str] = []
        self.longest: deque[tuple[float, list[str]]] = deque(maxlen=200)
        self.loop = asyncio.get_running_loop()
        self.loop.add_signal_handler(signal.SIGUSR1, self.begin)
        self.loop.add_signal_handler(signal.SIGUSR2, self.end)
        self.loop.set_task_factory(self._task)
        gc.callbacks.append(self._collected)
        self.measuring = False

    def begin(self) -> None:
        """Forget what was, and measure from here on."""
        self.turns, self.steps, self.ran = [], {}, []
        self.longest.clear()
        self.measuring = True
        self.begun = time.thread_time()
        self.loop.call_soon(self._turn)

    def end(self) -> None:
        """Write what was measured."""
        self.measuring = False
        steps = {name: sorted(took)[-3:] for name, took in self.steps.items() if max(took) >= LONG_SECONDS / 4}
        longest = sorted(self.longest, key=lambda turn: turn[0])[-LONGEST:]
        told: dict[str, Any] = {"turns": len(self.turns), "cpu_seconds": sum(self.turns), "steps": steps, "longest": longest, "over": {}}
        told["over"] = {f"{limit} ms": sum(took > limit / 1000 for took in self.turns) for limit in (1, 2, 5, 10)}
        self.out.with_suffix(".new").write_text(json.dumps(told))
        self.out.with_suffix(".new").rename(self.out)

    def _turn(self) -> None:
        now = time.thread_time()
        took, self.begun = now - self.begun, now
        self.turns.append(took)
        if took >= LONG_SECONDS:
            self.longest.append((took, self.ran))
        self.ran = []
        if self.measuring:
            self.loop.call_soon(self._turn)

    def _note(self, name: str, took: float) -> None:
        if self.measuring:
            self.steps.setdefault(name, []).append(took)
            if took >= LONG_SECONDS / 4:
                self.ran.append(f"{name} {took * 1e3:.1f}")

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        now = time.thread_time()
        if phase == "start":
            self.collecting = now
        else:
            self._note(f"collection of generation {info['generation']}", now - self.collecting)

    def _task(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **more: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(_Stepped(work, self, getattr(work, "__qualname__", "?")), loop=loop, **more)
        return task


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are measured."""

    def __init__(self, work: Any, turns: Turns, name: str) -> None:
        self.work, self.turns, self.name = work, turns, name

    def send(self, value: Any) -> Any:
        started = time.thread_time()
        try:
            return self.work.send(value)
        finally:
            self.turns._note(self.name, time.thread_time() - started)

    def throw(self, *raised: Any) -> Any:
        return self.work.throw(*raised)

    def close(self) -> None:
        self.work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.work.__await__()  # type: ignore[no-any-return]


def inside(out: Path) -> int:
    """``netd serve``, measured."""
    from netd import cli, daemon

    serve = daemon._until_told

    async def measured(config: Any, kinds: Any) -> None:
        Turns(out)
        await serve(config, kinds)

    daemon._until_told = measured
    return cli.main(["serve"])


def measure(rate: float, seconds: float, subscribers: int, engine: str, sessions: int) -> dict[str, Any]:
    """Run a daemon at that rate, and return what it says of its turns beside latency and CPU; with ``sessions`` their accounting is flooded besides."""
    with bench_folder() as folder:
        daemon = Daemon(folder)
        daemon.engine = engine
        out = folder / "turns.json"
        daemon.arguments = ["-m", "tests.bench.turns", "--inside", str(out)]
        daemon.start()
        try:
            daemon.fill(subscribers)
            daemon.stop()
            daemon.start(first_user=7)
            load = Load(kind="access", count=65_536, subscribers=subscribers, seed=1, native=True)
            try:
                order = {"port": daemon.auth_port, "ports": PORTS, "window": 0, "rate": rate, "check_every": 29, "what": "netd"}
                load.run(**order, seconds=1.0)
                plain = [load.run(**order, seconds=seconds)]
                before = cpu(daemon.pid)
                plain.append(load.run(**order, seconds=seconds))
                used = (cpu(daemon.pid) - before).own / plain[-1]["answered"] * 1e6
                books = _accounting(sessions, subscribers) if sessions else None
                os.kill(daemon.pid, signal.SIGUSR1)
                if books is None:
                    load.run(**order, seconds=seconds)
                else:
                    books.run(port=daemon.acct_port, ports=PORTS, window=2048, count=books.built["packets"], seconds=60.0, check_every=29, what="netd")
                    end(books.process)
                os.kill(daemon.pid, signal.SIGUSR2)
            finally:
                end(load.process)
            while not out.exists():
                time.sleep(0.05)
            told: dict[str, Any] = json.loads(out.read_text())
            return {**told, "cpu_us": used, "ms": [[round(each[name] / 1e3, 2) for name in ("p50_us", "p99_us")] for each in plain]}
        finally:
            daemon.stop()


def _accounting(sessions: int, subscribers: int) -> "Load":
    return Load(kind="accounting", sessions=sessions, subscribers=subscribers, at=int(time.time()) - 900, ended_of_ten=9)


def main() -> int:
    """Print the longest turns and steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=15_000.0, help="log-ins per second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=0, help="instead: flood the accounting of so many sessions")
    parser.add_argument("--engine", choices=("no", "require"), default="require")
    given = parser.parse_args()
    if given.inside is not None:
        return inside(given.inside)
    told = measure(given.rate, given.seconds, given.subscribers, given.engine, given.sessions)
    print(f"{told['turns']:,} turns, {told['cpu_seconds']:.1f} s of CPU; longer than", ", ".join(f"{limit}: {count}" for limit, count in told["over"].items()))
    print(f"unwatched: {told['cpu_us']:.1f} µs of CPU a log-in; p50 and p99 in ms of two rounds: {told['ms']}")
    for took, ran in told["longest"]:
        print(f"  {took * 1e3:7.1f} ms  {', '.join(ran)}")
    print("longest steps, ms")
    for name, took in sorted(told["steps"].items(), key=lambda step: -step[1][-1]):
        print(f"  {name:60} {' '.join(f'{each * 1e3:.1f}' for each in took)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
