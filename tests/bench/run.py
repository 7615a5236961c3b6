"""``make bench``: measures a real daemon on loopback, prints a table and writes build/bench.json.

The daemon is measured as it is and with its hot path compiled (``make compiled``), if there is a C compiler; then that is what the goals are about.
Costs are compared with a bare UDP echo and, where it is installed, with FreeRADIUS, in the same run and in turn, for a machine's speed
changes from minute to minute. Exit status: 1 if an answer was wrong or an acknowledged record is missing, with ``--strict`` also if a goal was missed.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench import freeradius, measures, web
from tests.bench.measures import Cpus, Fault
from tests.bench.processes import ROOT, Daemon, Echo, Generator, bounded, end, memory_mb

TIME_LIMIT_SECONDS: Final = 400
GOALS: Final[tuple[tuple[str, str, Callable[[float, float], bool], float], ...]] = (
    ("access.to_echo", "times the CPU of an echo, at most (flooded)", float.__le__, 3.2),
    ("access.steady.to_echo", "times the CPU of an echo, at most (both at the same steady rate)", float.__le__, 3.2),
    ("to_freeradius", "times the CPU of FreeRADIUS with a users file, at most", float.__le__, 0.6),
    ("accounting.per_second", "records/s committed, at least", float.__ge__, 5000.0),
    ("api.one_p99_ms", "ms until 99 of 100 GETs of a subscriber are answered beside 5,000 log-ins/s, at most", float.__le__, 10.0),
    ("api.list_p99_ms", "ms until 99 of 100 lists of 100 subscribers are, at most", float.__le__, 30.0),
    ("api.radius_p99_ms", "ms until 99 of 100 of those log-ins are, at most", float.__le__, 20.0),
    ("api.listeners_to_none", "times the CPU of a log-in while 1,000 listen for events, at most", float.__le__, 1.1),
    ("api.listened_p99_ms", "ms until 99 of 100 log-ins are answered while these hear an event a second, at most", float.__le__, 20.0),
    ("start.first_answer_seconds", "s to the first answer, at most", float.__le__, 4.0),
    ("start.rss_mb", "MB resident, at most", float.__le__, 300.0),
    ("generator_headroom", "times faster than netd the generator is, at least", float.__ge__, 2.0),
)
ENGINES: Final = {"python": "Python only", "compiled": "hot path compiled"}
Results = dict[str, Any]


@contextmanager
def bench_folder() -> Iterator[Path]:
    """A temporary folder that an unprivileged PostgreSQL can enter, removed with the cluster that may live elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="netd-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for location in folder.rglob("postgres.location"):
            shutil.rmtree(location.read_text().strip(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    """Progress, to where it does not disturb the table."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def compiled_engine() -> bool:
    """Whether there is a compiled engine for these sources; one is made if it can be. A compiler that is there and fails is a fault."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").is_file():
        say(f"no {compiler} or no Python.h: only the sources are measured")
        return False
    say("compiling the hot path, if it changed")
    done = subprocess.run(["make", "compiled"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault(f"make compiled failed: {done.stderr[-600:]}")
    return True


def access(given: argparse.Namespace, daemon: Daemon, echo: Echo, generator: Generator, cpus: Cpus) -> Results:
    """Access-Requests: cost, rate, latency at half of it."""
    cpus.place(daemon.pid, generator.process.pid)
    yardstick, server = measures.alternate(generator, echo, daemon.pid, daemon.auth_port, given.rounds, measures.SETTLE_SECONDS, "netd")
    found: Results = measures.summary(yardstick, server)
    say(f"Access-Request {found['cpu_us']:.1f} µs, echo {found['echo_us']:.1f} µs")
    found["steady"] = measures.steady(generator, echo, daemon.pid, daemon.auth_port, found["per_second"] / 2, given.seconds, given.steady_rounds)
    lost = daemon.metric("netd_radius_postauth_lost")
    if lost:
        raise Fault(f"{lost:.0f} log-ins were not recorded")
    return found


def peer(given: argparse.Namespace, folder: Path, echo: Echo, generator: Generator, cpus: Cpus, stack: ExitStack) -> Results | None:
    """The same load on FreeRADIUS, None if it is not installed."""
    program = None if given.no_peer else freeradius.installed()
    if program is None:
        return None
    say("starting FreeRADIUS")
    server = freeradius.FreeRadius(program, folder / "freeradius", given.subscribers)
    stack.callback(end, server.process)
    server.wait()
    cpus.place(server.pid, generator.process.pid)
    found: Results = measures.summary(*measures.alternate(generator, echo, server.pid, server.port, given.rounds, 0.0, "peer"))
    found |= {"version": server.version, "rss_mb": memory_mb(server.pid)}
    end(server.process)
    return found


def accounting(given: argparse.Namespace, daemon: Daemon, cpus: Cpus) -> Results:
    """Accounting, and what the database holds of it after the daemon has ended."""
    found = measures.accounting(daemon, cpus, given.sessions, given.subscribers)
    say(f"accounting {found['per_second']:.0f} records/s")
    memory = memory_mb(daemon.pid, "VmHWM")
    daemon.stop()
    stored = measures.stored_rows(daemon.folder / "data")
    missing = {name: (stored[name], wanted) for name, wanted in measures.expected_rows(given.sessions).items() if stored[name] != wanted}
    if missing:
        raise Fault(f"the tables differ from what was acknowledged (found, expected): {missing}")
    return {**found, "stored": stored, "peak_rss_mb": memory}


def run(given: argparse.Namespace) -> Results:
    """All of it."""
    with bounded(TIME_LIMIT_SECONDS), bench_folder() as folder, ExitStack() as stack:
        cpus = Cpus.of_this_machine()
        echo = Echo()
        stack.callback(end, echo.process)
        daemon = Daemon(folder)
        stack.callback(daemon.stop)
        say(f"filling a daemon with {given.subscribers} subscribers")
        daemon.start()
        import_seconds = daemon.fill(given.subscribers)
        engines = {"python": "no", "compiled": "require"} if compiled_engine() else {"python": "no"}
        generator = Generator(kind="access", count=4 * measures.REQUESTS, subscribers=given.subscribers, seed=given.seed)
        stack.callback(generator.end)
        cpus.place(echo.pid, generator.process.pid)
        results: Results = {"import_seconds": import_seconds, "packet_octets": generator.built["octets"], "engines": {}}
        for name, daemon.engine in engines.items():
            daemon.stop()  # a daemon that has just imported is not what an operator runs either
            daemon.start(first_user=1)
            say(f"Access-Requests, engine {name}")
            results["engines"][name] = access(given, daemon, echo, generator, cpus)
            results["engine"], results["access"] = name, results["engines"][name]  # the last one is what the goals are about
        say("the API beside Access-Requests")
        results["api"] = web.measure(daemon, cpus, given.subscribers, given.api_seconds, given.api_rounds)
        results["generator_headroom"] = results["access"]["echo_per_second"] / results["access"]["per_second"]
        results["accounting"] = accounting(given, daemon, cpus)
        say("starting the daemon again")
        results["start"] = measures.starts(daemon, given.starts)
        daemon.stop()
        results["freeradius"] = other = peer(given, folder, echo, generator, cpus, stack)
        for found in results["engines"].values():
            found["to_freeradius"] = other and found["to_echo"] / other["to_echo"]
        results["to_freeradius"] = results["access"]["to_freeradius"]
        return results


def goals(results: Results) -> list[dict[str, Any]]:
    """Each goal with what was measured."""
    found = []
    for path, text, holds, bound in GOALS:
        value: Any = results
        for name in path.split("."):
            value = value[name]
        if value is None:
            continue  # its peer is not installed
        found.append({"name": path, "value": value, "goal": bound, "met": holds(float(value), bound), "text": text})
    return found


def line(name: str, *cells: str) -> str:
    """A row of the table."""
    return f"  {name:<52}" + "".join(f"{cell:>16}" for cell in cells)


def milliseconds(found: Results) -> str:
    """Median and 99th percentile."""
    return f"{found['p50_us'] / 1000:.1f} / {found['p99_us'] / 1000:.1f}"


def _latencies(found: Results, name: str, *more: str) -> list[str]:
    return [f"{found[f'{name}_{member}']:.1f}" for member in (*more, "p50_ms", "p99_ms")]


def table(results: Results) -> str:
    """The numbers for a person."""
    access_, accounts, start, other = results["access"], results["accounting"], results["start"], results["freeradius"]
    lines = [
        "", f"Access-Request: PAP, Message-Authenticator both ways, {results['packet_octets']} octets, {results['subscribers']} subscribers",
        line(f"as fast as answered, {measures.WINDOW} under way", "CPU µs/request", "times echo", "requests/s"),
        line("UDP echo in Python, bare", f"{access_['echo_us']:.1f}", "1.00", f"{access_['echo_per_second']:,.0f}"),
    ]  # fmt: skip
    for name, found in results["engines"].items():
        lines += [
            line(f"netd, every log-in recorded, {ENGINES[name]}", f"{found['cpu_us']:.1f}", f"{found['to_echo']:.2f}", f"{found['per_second']:,.0f}"),
            line("  its best round", f"{found['cpu_us_best']:.1f}", f"{found['to_echo_best']:.2f}"),
            line("  its PostgreSQL, which records them, besides", f"{found['children_us']:.1f}"),
        ]  # fmt: skip
    if other is None:
        lines.append(line("FreeRADIUS", "not measured"))
    else:
        name = f"FreeRADIUS {other['version']}, users file, nothing recorded"
        lines.append(line(name, f"{other['cpu_us']:.1f}", f"{other['to_echo']:.2f}", f"{other['per_second']:,.0f}"))
        lines += [line(f"netd to FreeRADIUS, {ENGINES[name]}", f"{found['to_freeradius']:.2f}") for name, found in results["engines"].items()]
    lines.append(line("steadily, half of that rate each", "CPU µs/request", "times echo", "p50 / p99 ms"))
    for name, found in results["engines"].items():
        steady = found["steady"]
        lines += [
            line(f"UDP echo in Python, bare, {steady['rate']:,.0f}/s", f"{steady['echo_us']:.1f}", "1.00"),
            line(f"netd, every log-in recorded, {ENGINES[name]}", f"{steady['cpu_us']:.1f}", f"{steady['to_echo']:.2f}", milliseconds(steady)),
        ]  # fmt: skip
    api = results["api"]
    lines += [
        "", line(f"The API beside {api['radius_per_second']:,} log-ins/s in the same daemon", "CPU µs/log-in", "p50 ms", "p99 ms"),
        line("log-ins, nothing else", *_latencies(api, "alone", "cpu_us")), line("log-ins, beside the requests below", *_latencies(api, "radius", "cpu_us")),
        line("GET of one subscriber", "", *_latencies(api, "one")), line("list of 100 subscribers", "", *_latencies(api, "list")),
        line(f"log-ins, beside {api['listeners']:,} listeners of events, one a second", *_latencies(api, "listened", "cpu_us")),
    ]  # fmt: skip
    lines += [
        "", f"Accounting: {accounts['records']} records of {results['sessions']} sessions, each found in the tables afterwards, once",
        line("", "records/s", "per commit", "p50 / p99 ms"),
        line("acknowledged, so committed", f"{accounts['per_second']:,.0f}", f"{accounts['records_per_commit']:.0f}",
             milliseconds(accounts)),
        line("CPU µs/record: netd, its PostgreSQL", f"{accounts['cpu_us']:.1f}", f"{accounts['children_us']:.1f}"),
        "", f"Start with {results['subscribers']} subscribers, median of {results['starts']}",
        line("process started to READY, to the first answer", f"{start['ready_seconds']:.2f} s", f"{start['first_answer_seconds']:.2f} s"),
        line("resident after the start, peak under the loads above", f"{start['rss_mb']:.0f} MB", f"{accounts['peak_rss_mb']:.0f} MB"),
        line("import of the subscribers through the API", f"{results['import_seconds']:.1f} s"), "",
        f"The goals, {ENGINES[results['engine']]}:",
        *(f"  {'met   ' if goal['met'] else 'MISSED'} {goal['value']:>10,.2f}   goal {goal['goal']:,g} {goal['text']}" for goal in results["goals"]), "",
    ]  # fmt: skip
    return "\n".join(lines)


def conclude(given: argparse.Namespace, results: Results, text_of: Callable[[Results], str]) -> int:
    """Write the results as JSON, print them as ``text_of`` has it, and return the exit status: 1 with ``--strict`` if a goal was missed."""
    results |= {"python": platform.python_version(), "machine": platform.platform(), "at": time.strftime("%FT%TZ", time.gmtime())}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(results, indent=1) + "\n")
    print(text_of(results))
    print(f"{results['seconds']:.0f} s; written to {given.output}")
    return 1 if given.strict and not all(goal["met"] for goal in results["goals"]) else 0


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each server, in turn with the echo")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round at a steady rate")
    parser.add_argument("--steady-rounds", type=int, default=3)
    parser.add_argument("--api-seconds", type=float, default=5.0, help="length of a round of the API beside RADIUS")
    parser.add_argument("--api-rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true", help="leave FreeRADIUS out")
    parser.add_argument("--strict", action="store_true", help="a missed goal is a failure")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        results = run(given)
    except Fault as fault:
        print(f"bench: WRONG: {fault}", file=sys.stderr)
        return 1
    results |= {"subscribers": given.subscribers, "sessions": given.sessions, "starts": given.starts, "seconds": time.monotonic() - started}
    results["goals"] = goals(results)
    return conclude(given, results, table)


if __name__ == "__main__":
    sys.exit(main())
