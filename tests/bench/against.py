"""``make bench-radius``: netd beside FreeRADIUS on one PostgreSQL, and netd with a million subscribers; prints a table, writes build/bench-radius.json.

Whatever is compared runs in turn within a round, a few rounds of each, for a machine's speed changes from minute to minute; goals are ratios, the
median over the rounds. CPU is what /proc says of the server's process and of PostgreSQL's, never the clock on the wall. Every answer is looked at,
and what was acknowledged is counted in the tables afterwards. Exit status: 1 if something was wrong, with ``--strict`` also if a goal was missed.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench import freeradius, measures, native, population, postgresql
from tests.bench.freeradius import FreeRadius
from tests.bench.measures import ENDED_OF_TEN, Cpus, Fault, checked
from tests.bench.postgresql import PostgreSQL
from tests.bench.processes import ROOT, Daemon, Echo, Generator, bounded, cpu, end, memory_mb, pin
from tests.bench.report import table
from tests.bench.run import bench_folder, conclude, say

TIME_LIMIT_SECONDS: Final = 900
PORTS: Final = 8
WINDOW: Final = 128
PACKETS: Final = 65_536
SMALL: Final = 10_000
"""Subscribers of the directory that the large one is compared with."""

Results = dict[str, Any]


class Goal(NamedTuple):
    """A number of the results, by its path, and the bound that it must keep."""

    path: str
    text: str
    holds: Callable[[float, float], bool]
    bound: float


GOALS: Final = (
    Goal("access.to_sql_recorded", "times the log-ins/s of FreeRADIUS with PostgreSQL, both recording each, at least", float.__ge__, 10.0),
    Goal("access.cpu_to_files", "times the CPU per log-in of FreeRADIUS with a users file, at most", float.__le__, 0.6),
    Goal("accounting.to_peer", "times the accounting records/s of FreeRADIUS with PostgreSQL, at least", float.__ge__, 8.0),
    Goal("steady.p99_ms", "ms for 99 of 100 log-ins at half of the rate above, at most", float.__le__, 10.0),
    Goal("scale.cpu_ratio", "times the CPU per log-in with 10,000 subscribers, at most", float.__le__, 1.2),
    Goal("scale.kb_per_subscriber", "KB resident per subscriber, at most", float.__le__, 1.5),
    Goal("scale.start_seconds", "s from the process's start to the first answer with all of them, at most", float.__le__, 30.0),
    Goal("generator.headroom", "times faster than the fastest server is the generator, at least", float.__ge__, 2.0),
)


class Server(NamedTuple):
    """Who is measured: ``what`` tells the generator how to check an answer, ``requests`` is how many a round has."""

    name: str
    pid: int
    port: int
    what: str
    requests: int
    settle_seconds: float = 0.0


class Sample(NamedTuple):
    """A round: CPU µs per request of the server's process and of PostgreSQL, requests per second."""

    own_us: float
    database_us: float
    per_second: float


def sample(generator: Generator, server: Server, database: PostgreSQL, count: int) -> Sample:
    """One round, as fast as it is answered; what is done for ``settle_seconds`` more is its cost too."""
    before, stored = cpu(server.pid), cpu(database.pid)
    result = checked(generator.run(port=server.port, ports=PORTS, window=WINDOW, count=count, seconds=30.0, check_every=29, what=server.what))
    time.sleep(server.settle_seconds)
    own, stored = cpu(server.pid) - before, cpu(database.pid) - stored
    answered = result["answered"]
    return Sample(own.own / answered * 1e6, (stored.own + stored.children) / answered * 1e6, result["per_second"])


def in_turn(generators: list[Generator], servers: list[Server], database: PostgreSQL, rounds: int) -> dict[str, list[Sample]]:
    """Rounds of each server in turn, after one that warms."""
    found: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for generator, server in zip(generators, servers, strict=True):
        sample(generator, server, database, server.requests // 4)
    for _ in range(rounds):
        for generator, server in zip(generators, servers, strict=True):
            found[server.name].append(sample(generator, server, database, server.requests))
    return found


def summary(samples: list[Sample]) -> Results:
    """Medians, and the range of the rates."""
    rates = [each.per_second for each in samples]
    return {
        "per_second": statistics.median(rates), "slowest": min(rates), "fastest": max(rates), "cpu_us": statistics.median(each.own_us for each in samples),
        "database_us": statistics.median(each.database_us for each in samples),
    }  # fmt: skip


def ratio(one: list[float], other: list[float]) -> tuple[float, float, float]:
    """Median, lowest and highest of the ratios round by round."""
    ratios = [mine / theirs for mine, theirs in zip(one, other, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def total_us(samples: list[Sample]) -> list[float]:
    """CPU of server and database together, by round: unlike a rate it does not depend on who else uses the machine."""
    return [each.own_us + each.database_us for each in samples]


class Bench:
    """The processes of a run and what they have been asked to do so far."""

    def __init__(self, given: argparse.Namespace, folder: Path, stack: ExitStack, database: PostgreSQL) -> None:
        self.given = given
        self.folder = folder
        self.stack = stack
        self.database = database
        self.cpus = Cpus.of_this_machine()
        made = native.program()
        self.echo = Echo(made)
        stack.callback(end, self.echo.process)
        self.daemon = self.netd("netd", given.subscribers)
        self.peers: dict[str, FreeRadius] = {}
        program, files = freeradius.installed(), freeradius.sql_files()
        if program is not None and files is not None and not given.no_peer:
            say("filling FreeRADIUS's database and users file")
            freeradius.prepare(database, files, given.subscribers)
            database.settle("radius", "radcheck", "radreply")
            for name, server, record in (("files", None, False), ("sql", database, False), ("sql_recorded", database, True)):
                self.peers[name] = FreeRadius(program, folder / name, given.subscribers, server, record=record)
                stack.callback(end, self.peers[name].process)
                self.peers[name].wait()

    def netd(self, name: str, subscribers: int) -> Daemon:
        """A daemon, not started yet, on a database of its own with so many subscribers."""
        say(f"filling netd's database with {subscribers:,} subscribers")
        self.database.execute("postgres", f"create database {name}")
        (self.folder / name).mkdir()
        daemon = Daemon(self.folder / name, self.database.url(name))
        population.populate(daemon.database_url, daemon.folder / "data", 0, subscribers)
        self.database.settle(name, "subscribers")
        self.stack.callback(daemon.stop)
        return daemon

    def generator(self, **spec: Any) -> Generator:
        """A generator on the last CPU; the servers, some of which have many threads, go where the kernel puts them."""
        made = Generator(native=True, **spec)
        self.stack.callback(made.end)
        if self.cpus.generator is not None:
            pin(made.process.pid, self.cpus.generator)
        return made

    def access(self) -> tuple[Results, Results, Results]:
        """Log-ins by PAP: everybody's rate and CPU, netd's latency at half of its rate, and how much the generator has left."""
        given = self.given
        generator = self.generator(kind="access", count=PACKETS, subscribers=given.subscribers, seed=given.seed)
        servers = [
            Server("echo", self.echo.pid, self.echo.port, "echo", given.requests * 2),
            Server("netd", self.daemon.pid, self.daemon.auth_port, "netd", given.requests, measures.SETTLE_SECONDS),
        ]
        counts = {"files": given.requests, "sql": given.requests // 2, "sql_recorded": given.requests // 4}
        servers += [Server(name, peer.pid, peer.port, "peer", counts[name]) for name, peer in self.peers.items()]
        say("log-ins")
        found = in_turn([generator] * len(servers), servers, self.database, given.rounds)
        results: Results = {name: summary(samples) for name, samples in found.items()}
        mine = found["netd"]
        for name in ("sql", "sql_recorded"):
            if name in found:
                results[f"to_{name}"], *results[f"to_{name}_range"] = ratio([s.per_second for s in mine], [s.per_second for s in found[name]])
                results[f"cpu_to_{name}"], *results[f"cpu_to_{name}_range"] = ratio(*map(total_us, (mine, found[name])))
        if "files" in found:
            results["cpu_to_files"], *results["cpu_to_files_range"] = ratio([s.own_us for s in mine], [s.own_us for s in found["files"]])
        rate = results["netd"]["per_second"] / 2
        say(f"log-ins at a steady {rate:,.0f}/s")
        steady = []
        for _ in range(given.rounds):
            order = {"port": self.daemon.auth_port, "ports": 16, "window": 0, "rate": rate, "seconds": min(given.seconds, PACKETS / rate)}
            steady.append(checked(generator.run(**order, check_every=7, what="netd")))
            time.sleep(measures.SETTLE_SECONDS)
        servers_rate = max(value["fastest"] for name, value in results.items() if name in found and name != "echo")
        headroom = {"echo_per_second": results["echo"]["fastest"], "headroom": results["echo"]["fastest"] / servers_rate, "native": generator.built["native"]}
        p99 = [each["p99_us"] / 1000 for each in steady]
        latency = {"rate": rate, "p50_ms": statistics.median(each["p50_us"] / 1000 for each in steady), "p99_ms": statistics.median(p99), "p99_range": p99}
        shed = self._log_ins_recorded(sum(each["answered"] for each in steady))
        return {**results, "packet_octets": generator.built["octets"], "log_ins_shed": shed}, latency, headroom

    def _log_ins_recorded(self, steady: int) -> int:
        """Every log-in that was answered must stand in the table of the server that records it, or be counted as shed by netd; returns how many were."""
        given = self.given
        wanted = given.requests * given.rounds + given.requests // 4 + steady
        shed, found, before = 0, 0, -1
        while found + shed < wanted and found > before:  # as long as more are being written
            before = found
            time.sleep(2 * measures.SETTLE_SECONDS)
            shed = int(self.daemon.metric("netd_radius_postauth_lost"))
            found = self.database.row("netd", "select count(*) as rows from radpostauth")["rows"]
        if found + shed < wanted:
            raise Fault(f"{wanted} log-ins were accepted, {found} stand in netd's radpostauth, {shed} were counted as lost")
        if "sql_recorded" in self.peers:
            should = given.requests // 4 * given.rounds + given.requests // 16
            rows = self.database.row("radius", "select count(*) as rows from radpostauth")["rows"]
            if rows != should:
                raise Fault(f"FreeRADIUS accepted {should} log-ins, {rows} stand in its radpostauth")
        return shed

    def accounting(self) -> Results:
        """Start, Interim and Stop of sessions, committed; each server at the window at which it is fastest."""
        given = self.given
        servers = {"netd": (self.daemon.pid, self.daemon.acct_port, "netd", 2048)}
        if "sql_recorded" in self.peers:
            peer = self.peers["sql_recorded"]
            servers["peer"] = (peer.pid, peer.acct_port, "peer", 256)
        found: dict[str, list[Sample]] = {name: [] for name in servers}
        batches = self.daemon.metric("netd_radius_accounting_batches")
        records = 0
        at = int(time.time()) - 900
        for number in range(given.accounting_rounds):
            spec = {"sessions": given.sessions, "subscribers": given.subscribers, "at": at, "ended_of_ten": ENDED_OF_TEN, "first": number * given.sessions}
            generator = self.generator(kind="accounting", **spec)
            for name, (pid, port, what, window) in servers.items():
                say(f"accounting, round {number + 1}, {name}")
                before, stored = cpu(pid), cpu(self.database.pid)
                count = generator.built["packets"]
                result = checked(generator.run(port=port, ports=16, window=window, count=count, seconds=90.0, check_every=29, what=what))
                if result["answered"] != count:
                    raise Fault(f"{name} acknowledged {result['answered']} of {count} records in time")
                own, stored = cpu(pid) - before, cpu(self.database.pid) - stored
                found[name].append(Sample(own.own / count * 1e6, (stored.own + stored.children) / count * 1e6, result["per_second"]))
                records += count if name == "netd" else 0
            generator.end()
        batches = self.daemon.metric("netd_radius_accounting_batches") - batches
        results: Results = {name: summary(samples) for name, samples in found.items()}
        results |= {"records": records, "records_per_commit": records / max(1.0, batches)}
        if "peer" in found:
            results["to_peer"], *results["to_peer_range"] = ratio([s.per_second for s in found["netd"]], [s.per_second for s in found["peer"]])
            results["cpu_to_peer"], *results["cpu_to_peer_range"] = ratio(*map(total_us, (found["netd"], found["peer"])))
        self._records_stored(given.sessions * given.accounting_rounds)
        return results

    def _records_stored(self, sessions: int) -> None:
        """What both acknowledged must stand in their tables, once."""
        wanted = measures.expected_rows(sessions)
        stored = self.database.row("netd", measures.STORED)
        wrong = {name: (stored[name], value) for name, value in wanted.items() if stored[name] != value}
        if "sql_recorded" in self.peers:
            rows = self.database.row("radius", "select count(*) as rows, sum(acctinputoctets)::bigint as octets from radacct")
            should = {"rows": wanted["open"] + wanted["closed"], "octets": wanted["open_octets"] + wanted["closed_octets"]}
            wrong |= {f"FreeRADIUS's {name}": (rows[name], value) for name, value in should.items() if rows[name] != value}
        if wrong:
            raise Fault(f"the tables differ from what was acknowledged (found, expected): {wrong}")

    def scale(self) -> Results:
        """A small and a large directory in turn, then what the large one costs in memory and at the start."""
        given = self.given
        small, large = self.netd("netd_small", SMALL), self.netd("netd_large", given.large)
        starts = []
        for _ in range(given.starts):
            large.stop()
            starts.append(large.start(first_user=7).first_answer_seconds)
        small.start(first_user=7)
        resident = memory_mb(large.pid)
        generators = [self.generator(kind="access", count=PACKETS, subscribers=size, seed=given.seed) for size in (SMALL, given.large)]
        servers = [
            Server(name, daemon.pid, daemon.auth_port, "netd", given.requests, measures.SETTLE_SECONDS) for name, daemon in (("small", small), ("large", large))
        ]
        say(f"log-ins with {SMALL:,} and {given.large:,} subscribers")
        found = in_turn(generators, servers, self.database, given.rounds)
        results: Results = {name: summary(samples) for name, samples in found.items()}
        results["cpu_ratio"], *results["cpu_ratio_range"] = ratio([s.own_us for s in found["large"]], [s.own_us for s in found["small"]])
        after = memory_mb(large.pid)
        results |= {
            "subscribers": given.large, "resident_mb": resident, "resident_after_load_mb": after, "peak_mb": memory_mb(large.pid, "VmHWM"),
            "small_resident_mb": memory_mb(small.pid), "kb_per_subscriber": after * 1000 / given.large, "start_seconds": statistics.median(starts),
            "start_range": [min(starts), max(starts)],
        }  # fmt: skip
        return results


def run(given: argparse.Namespace) -> Results:
    """All of it."""
    programs = postgresql.installed()
    if programs is None:
        raise Fault(f"no PostgreSQL {postgresql.OLDEST} or newer in {postgresql.PROGRAMS}: install the distribution's package")
    with bounded(TIME_LIMIT_SECONDS), bench_folder() as folder, ExitStack() as stack:
        database = PostgreSQL(programs, folder / "postgresql")
        stack.callback(database.stop)
        bench = Bench(given, folder, stack, database)
        bench.daemon.start(first_user=1)
        access, steady, headroom = bench.access()
        results: Results = {"access": access, "steady": steady, "generator": headroom, "accounting": bench.accounting()}
        results["peer_version"] = next((peer.version for peer in bench.peers.values()), None)
        bench.daemon.stop()
        for peer in bench.peers.values():
            end(peer.process)
        return {**results, "scale": bench.scale(), "postgresql_version": database.version}


def judged(results: Results) -> list[dict[str, Any]]:
    """Each goal with what was measured; None where it was not."""
    found = []
    for goal in GOALS:
        value: Any = results
        for name in goal.path.split("."):
            value = value.get(name) if value is not None else None
        met = None if value is None else goal.holds(float(value), goal.bound)
        found.append({"name": goal.path, "value": value, "goal": goal.bound, "met": met, "text": goal.text})
    return found


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look: fewer subscribers, sessions and rounds")
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000, help="subscribers of the large directory")
    parser.add_argument("--requests", type=int, default=16_384, help="log-ins of a round; FreeRADIUS with PostgreSQL gets a part of them")
    parser.add_argument("--sessions", type=int, default=12_000, help="accounting sessions of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accounting-rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round at a steady rate")
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true", help="leave FreeRADIUS out")
    parser.add_argument("--strict", action="store_true", help="a missed goal is a failure")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-radius.json")
    if "--quick" in sys.argv:
        parser.set_defaults(subscribers=20_000, large=200_000, requests=8_192, sessions=4_000, rounds=2, accounting_rounds=1, seconds=1.0, starts=1)
    given = parser.parse_args()
    started, before = time.monotonic(), os.getloadavg()
    try:
        results = run(given)
    except Fault as fault:
        print(f"bench: WRONG: {fault}", file=sys.stderr)
        return 1
    results |= {"subscribers": given.subscribers, "sessions": given.sessions, "rounds": given.rounds, "seconds": time.monotonic() - started}
    results |= {"load_average": [before[0], os.getloadavg()[0]], "goals": judged(results)}
    return conclude(given, results, table)


if __name__ == "__main__":
    sys.exit(main())
