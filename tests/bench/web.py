"""The control API beside RADIUS: what a portal waits for while the same daemon answers log-ins, and whether these notice.

Log-ins come at a steady rate from one process, the API's requests from another. Rounds without the API, with it, and with a thousand listeners of the
event stream take turns, so that they see the same machine.
"""

import json
import statistics
import threading
import time
from typing import Any, Final

from tests.bench.measures import Cpus, Fault, checked
from tests.bench.processes import Daemon, Generator, Worker, cpu, pin

RADIUS_PER_SECOND: Final = 5_000
ONE: Final = "/api/v1/subscribers/{n}"
LIST: Final = "/api/v1/subscribers?limit=100"
PACE: Final = [(ONE, 60.0), (LIST, 20.0)]
"""Requests a second: a busy portal, and within what one token may ask."""

REQUESTS: Final = 16_384
LISTENERS: Final = 1000
TOKENS: Final = 8
EVENTS_PER_SECOND: Final = 1.0


class Radius:
    """Log-ins at a steady rate, beside what the caller does meanwhile."""

    def __init__(self, generator: Generator, daemon: Daemon, seconds: float) -> None:
        self._generator = generator
        self._daemon = daemon
        self._seconds = seconds
        self._result: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        order = {"port": self._daemon.auth_port, "ports": 16, "window": 0, "rate": RADIUS_PER_SECOND, "seconds": self._seconds}
        self._result = self._generator.run(**order, check_every=29, what="netd")

    def __enter__(self) -> "Radius":
        self._before = cpu(self._daemon.pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def result(self) -> dict[str, float]:
        """Latency, and the daemon's CPU for each request."""
        found = checked(self._result)
        used = cpu(self._daemon.pid) - self._before
        return {"p50_ms": found["p50_us"] / 1000, "p99_ms": found["p99_us"] / 1000, "cpu_us": used.own / found["answered"] * 1e6, "repeated": found["repeated"]}


def _tokens(daemon: Daemon) -> list[str]:
    return [
        daemon.call("POST", "/api/v1/tokens", json.dumps({"name": f"bench {number}", "role": "read_only"}).encode())["text"] for number in range(TOKENS)
    ]  # fmt: skip


def _happen(daemon: Daemon, plan_id: int, seconds: float) -> int:
    """Something that listeners are told of, every second."""
    count = max(1, int(seconds * EVENTS_PER_SECOND))
    for number in range(count):
        daemon.call("PATCH", f"/api/v1/plans/{plan_id}", json.dumps({"idle_timeout_seconds": 600 + number}).encode())
        time.sleep(1 / EVENTS_PER_SECOND)
    return count


def _made_plan(daemon: Daemon) -> int:
    made = daemon.call("POST", "/api/v1/plans", json.dumps({"name": f"bench {time.monotonic_ns()}", "down_bps": 1_000_000, "up_bps": 1_000_000}).encode())
    return int(made["id"])


def measure(daemon: Daemon, cpus: Cpus, subscribers: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Rounds of ``seconds``. Log-ins come from the compiled generator where there is a compiler: the CPU is the API's client's as well."""
    generator = Generator(kind="access", count=REQUESTS, subscribers=subscribers, seed=2, native=True)
    client = Worker("tests.bench.webload", port=daemon.web_port, tokens=_tokens(daemon), subscribers=subscribers)
    try:
        if cpus.generator is not None:
            cpus.place(daemon.pid, generator.process.pid)
            pin(client.process.pid, cpus.generator)
        plan_id = _made_plan(daemon)
        client.run(pace=PACE, seconds=2.0)  # warm
        found: dict[str, list[dict[str, Any]]] = {"alone": [], "api": [], "listeners": [], "idle": [], "one": [], "list": []}
        for _ in range(rounds):
            with Radius(generator, daemon, seconds) as radius:
                time.sleep(seconds)
            found["alone"].append(radius.result())
            with Radius(generator, daemon, seconds) as radius:
                answers = client.run(pace=PACE, seconds=seconds)
            found["api"].append(radius.result())
            found["one"].append(answers[ONE])
            found["list"].append(answers[LIST])
            client.run(listen=LISTENERS, path="/api/v1/events?types=plan.*")
            with Radius(generator, daemon, seconds) as radius:
                time.sleep(seconds)
            found["idle"].append(radius.result())
            with Radius(generator, daemon, seconds) as radius:
                happened = _happen(daemon, plan_id, seconds)
            found["listeners"].append(radius.result())
            time.sleep(1.0)
            heard = client.run(listen=0)
            if heard["fewest"] < happened:
                raise Fault(f"a listener heard {heard['fewest']} of {happened} events")
        return _summary(found)
    finally:
        client.end()
        generator.end()


def _summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    def median(name: str, member: str) -> float:
        return float(statistics.median(each[member] for each in found[name]))

    ratios = [with_["cpu_us"] / without["cpu_us"] for with_, without in zip(found["idle"], found["alone"], strict=True)]
    return {
        "radius_per_second": RADIUS_PER_SECOND, "listeners": LISTENERS,
        **{f"{name}_{member}": median(name, member) for name in ("one", "list") for member in ("p50_ms", "p99_ms")},
        **{f"radius_{member}": median("api", member) for member in ("p50_ms", "p99_ms", "cpu_us")},
        **{f"alone_{member}": median("alone", member) for member in ("p50_ms", "p99_ms", "cpu_us")},
        **{f"listened_{member}": median("listeners", member) for member in ("p50_ms", "p99_ms", "cpu_us")},
        "listeners_to_none": statistics.median(ratios), "list_octets": found["list"][-1]["octets"] / found["list"][-1]["count"], "rounds": found,
    }  # fmt: skip
