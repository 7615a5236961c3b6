"""Polling at its real pace: N devices with 50 interfaces each, once a minute, into PostgreSQL with fsync. ``python -m tests.bench.polling --devices 500``.

The agents are one process that answers from prebuilt octets (counters stand still, sysUpTime does not), so that what is measured is netd. CPU is the polling
process's own; PostgreSQL's and the agents' are told beside it. With 5,000 devices (or ``--radius 2000``) a second span follows in which the same process
also answers log-ins at a steady rate. ``--copy`` measures what the writer puts into the store in a second.
"""

import argparse
import asyncio
import gc
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from netd.config import PollConfig
from netd.device.addresses import LOOPBACK
from netd.device.http import Client
from netd.domain import credentials
from netd.domain.actor import system
from netd.domain.credentials import NewCredential
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.poll.service import PollService
from netd.poll.writer import Writer
from netd.sdk import ifmib
from netd.sdk.device import Oid
from netd.share import share
from netd.simulate import Agent
from netd.simulate.agent import COUNTER32, COUNTER64, GAUGE32, INTEGER, OBJECT, OCTETS, TICKS, Object
from netd.store import timeseries
from netd.store.database import Connection, Database, connect
from netd.store.embedded import EmbeddedServer
from netd.store.migrate import migrate
from tests.bench import beside

COMMUNITY = "bench"
RADIUS_RATE = 2000.0
RADIUS_FROM = 5000
GET_BULK = 0xA5


def agent(interfaces: int) -> Agent:
    """A Linux host with so many interfaces, every column of IF-MIB filled."""
    objects: dict[Oid, Object] = {
        ifmib.SYS_DESCR: Object(OCTETS, b"Linux bench"), ifmib.SYS_OBJECT_ID: Object(OBJECT, (1, 3, 6, 1, 4, 1, 8072, 3, 2, 10)),
        ifmib.SYS_UPTIME: Object(TICKS, 1_000_000), ifmib.SYS_NAME: Object(OCTETS, b"bench"),
    }  # fmt: skip
    texts = (ifmib.IF_DESCR, ifmib.IF_NAME, ifmib.IF_ALIAS)
    small = {ifmib.IF_TYPE: 6, ifmib.IF_MTU: 1500, ifmib.IF_ADMIN: 1, ifmib.IF_OPER: 1}
    for column in ifmib.columns():
        for number in range(1, interfaces + 1):
            if column in texts:
                made = Object(OCTETS, b"xe-0/0/%d" % number)
            elif column in small:
                made = Object(INTEGER, small[column])
            elif column == ifmib.IF_PHYS_ADDRESS:
                made = Object(OCTETS, number.to_bytes(6, "big"))
            elif column in (ifmib.IF_SPEED, ifmib.IF_HIGH_SPEED):
                made = Object(GAUGE32, 10_000)
            elif column == ifmib.IF_DISCONTINUITY:
                made = Object(TICKS, 0)
            else:
                made = Object(COUNTER64 if column[:9] == ifmib.IF_NAME[:9] else COUNTER32, 10**9 + number)
            objects[(*column, number)] = made
    return Agent(objects, COMMUNITY)


def request_id(data: bytes) -> tuple[int, int, int]:
    """Where the request-id of a message is (begin, end), and the PDU's tag."""

    def inner(at: int) -> int:
        return at + 2 + (data[at + 1] & 0x7F if data[at + 1] & 0x80 else 0)

    at = inner(0) + 3  # version
    at += 2 + data[at + 1]  # community
    kind, at = data[at], inner(at)
    return at + 2, at + 2 + data[at + 1], kind


def serve(port: int, interfaces: int) -> None:
    """Answer for all devices, GETBULK from what was answered before."""
    made, began = agent(interfaces), time.monotonic()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind(("127.0.0.1", port))
    kept: dict[bytes, tuple[bytes, bytes]] = {}
    print(sock.getsockname()[1], flush=True)
    while True:
        data, source = sock.recvfrom(4096)
        begin, end, kind = request_id(data)
        if kind == GET_BULK:
            key = data[:begin] + data[end:]
            found = kept.get(key)
            if found is None:
                answer = made.answer(data) or b""
                first, last, _ = request_id(answer)
                found = kept[key] = answer[:first], answer[last:]
            sock.sendto(found[0] + data[begin:end] + found[1], source)
            continue
        made.put(ifmib.SYS_UPTIME, Object(TICKS, 1_000_000 + int((time.monotonic() - began) * 100)))
        sock.sendto(made.answer(data) or b"", source)


async def prepare(conn: Connection, database: Database, keyring: Keyring, devices: int, port: int) -> None:
    """The devices, and what opens them."""
    await credentials.create(database, system(1), keyring, NewCredential(name="bench", type="snmp_community", community=COMMUNITY))
    await conn.execute(
        """insert into devices (tenant_id, hostname, mgmt_address, vendor, platform, ports)
           select 1, 'bench' || n, '127.0.0.1', 'generic', 'generic_linux', jsonb_build_object('snmp', $2::int) from generate_series(1, $1) n""",
        devices, port,
    )  # fmt: skip


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def tree_seconds(pid: int) -> float:
    """CPU time of a process and its children, living and gone."""
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended while it was looked at
            if int(entry.name) == pid:
                total += sum(map(int, fields[11:15])) / ticks
            elif int(fields[1]) == pid:
                total += sum(map(int, fields[11:13])) / ticks
    return total


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Meter:
    """What a span of polling costs: made at its beginning, told at its end."""

    def __init__(self, service: PollService, agents: int, postgres: int) -> None:
        self._service = service
        self._others = {"PostgreSQL": postgres, "agents": agents}
        self._begun = self._now()

    def _now(self) -> dict[str, float]:
        poller, requests = self._service.poller, self._service.transport.requests
        return {
            "wall": time.monotonic(), "cpu": cpu_seconds(), "looks": poller.looks["ok"], "missed": poller.snmp.missed + poller.reach.missed,
            "stored": sum(self._service.writer.stored.values()), "seconds": poller.seconds, "requests": requests["ok"],
            **{name: tree_seconds(pid) for name, pid in self._others.items()},
        }  # fmt: skip

    def told(self) -> dict[str, Any]:
        """The figures of the span."""
        now = self._now()
        used = {name: value - self._begun[name] for name, value in now.items()}
        wall, looks = used["wall"], max(used["looks"], 1)
        return {
            "wall s": round(wall, 1), "looks": round(used["looks"]), "missed slots": round(used["missed"]), "samples stored/s": round(used["stored"] / wall),
            "samples waiting": self._service.writer.waiting, "CPU of a core, this process": round(used["cpu"] / wall, 3),
            **{f"CPU of a core, {name}": round(used[name] / wall, 3) for name in self._others},
            "ms of CPU per look": round(1000 * used["cpu"] / looks, 2), "requests per look": round(used["requests"] / looks, 1),
            "ms per look": round(1000 * used["seconds"] / looks, 1),
        }  # fmt: skip


async def poll(arguments: argparse.Namespace, server: EmbeddedServer, folder: Path, database: Database, keyring: Keyring, agents: int) -> list[dict[str, Any]]:
    """Poll for some minutes; the first is not counted: everything is new then. With log-ins a span of its own follows, so that the first is polling's alone."""
    extensions = Extensions.discover(packages=())
    async with Client(allowed=LOOPBACK) as client, AsyncExitStack() as stack:
        service = PollService(
            PollConfig(buffer_rows=2_000_000), database, keyring, extensions.platforms, extensions.guard, client, node="bench", now=lambda: datetime.now(UTC)
        )  # fmt: skip
        before = resident_mb()
        await stack.enter_async_context(service)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        service.start(group)
        stack.push_async_callback(service.stop)
        await asyncio.sleep(arguments.warm)
        meter = Meter(service, agents, server.pid or 0)
        await asyncio.sleep(60 * arguments.minutes)
        results = [{
            "devices": arguments.devices, "interfaces": arguments.interfaces, **meter.told(),
            "looks that failed": sum(n for what, n in service.poller.looks.items() if what != "ok"),
            "resident MB": round(resident_mb()), "of it for devices": round(resident_mb() - before),
        }]  # fmt: skip
        if arguments.radius:
            engine = await stack.enter_async_context(beside.engine(server.connect_kwargs(), folder, keyring, extensions, group))
            await engine.log_ins(arguments.radius, 2.0)  # warm
            meter = Meter(service, agents, server.pid or 0)
            log_ins = await engine.log_ins(arguments.radius, 60 * arguments.radius_minutes)
            results.append({"with log-ins": f"{arguments.radius:g}/s", **log_ins, **meter.told(), "resident MB": round(resident_mb())})
        return results


async def copy(database: Database, rows: int) -> dict[str, Any]:
    """How quickly samples of interfaces are stored."""
    now = datetime.now(UTC)
    writer = Writer(database, lambda: now, most_rows=rows + 1)
    writer.add("interface_samples", [(1, n % 100, n % 5000, now, 60.0, n, n, 1.5, 1.5, 0.0, 0.0, 0.0, 0.0, True, 10**10) for n in range(rows)])
    begun, cpu = time.monotonic(), cpu_seconds()
    await writer.flush()
    wall = time.monotonic() - begun
    used = cpu_seconds() - cpu
    return {
        "rows": rows,
        "samples stored/s": round(rows / wall),
        "of the daemon's CPU, samples/s": round(rows / used),
        "stored": writer.stored["interface_samples"],
    }


async def run(arguments: argparse.Namespace, folder: Path, agents: int, port: int) -> list[dict[str, Any]]:
    """The figures, with a database of its own."""
    async with EmbeddedServer(folder / "data") as server:
        conn = await connect(server.connect_kwargs())
        await migrate(conn, share("sql"))
        await timeseries.ensure(conn, datetime.now(UTC).date())
        database = await Database.open(server.connect_kwargs(), 6)
        keyring = Keyring.load_or_create(folder / "secret.key")
        await prepare(conn, database, keyring, arguments.devices, port)
        if arguments.copy:
            results = [await copy(database, arguments.copy) for _ in range(3)]
        else:
            gc.collect()
            results = await poll(arguments, server, folder, database, keyring, agents)
        await database.close()
        await conn.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--interfaces", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--warm", type=float, default=75, metavar="SECONDS", help="polled before anything is counted (75)")
    parser.add_argument("--radius", type=float, metavar="RATE", help=f"log-ins a second beside it ({RADIUS_RATE:g} from {RADIUS_FROM} devices on); 0: none")
    parser.add_argument("--radius-minutes", type=float, default=1)
    parser.add_argument("--copy", type=int, default=0, metavar="ROWS")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(0, arguments.interfaces)
    if arguments.radius is None:
        arguments.radius = RADIUS_RATE if arguments.devices >= RADIUS_FROM else 0.0
    command = [sys.executable, "-m", "tests.bench.polling", "--serve", "--interfaces", str(arguments.interfaces)]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as text, subprocess.Popen(command, stdout=subprocess.PIPE) as agents:
        folder = Path(text)
        folder.chmod(0o755)
        assert agents.stdout is not None
        try:
            results = uvloop.run(run(arguments, folder, agents.pid, int(agents.stdout.readline())))
        finally:
            agents.kill()
    for result in results:
        for name, value in result.items():
            print(f"{name:32} {value}")
        print()


if __name__ == "__main__":
    main()
