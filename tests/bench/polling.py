"""Polling at its real pace: N devices with 50 interfaces each, once a minute, into PostgreSQL with fsync. ``python -m tests.bench.polling --devices 500``.

The agents are one process that answers from prebuilt octets (counters stand still, sysUpTime does not), so that what is measured is netd. CPU is the polling
process's own; PostgreSQL's and the agents' are told beside it. ``--copy`` measures what the writer puts into the store in a second.
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

COMMUNITY = "bench"
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


def _request_id(data: bytes) -> tuple[int, int, int]:
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
        begin, end, kind = _request_id(data)
        if kind == GET_BULK:
            key = data[:begin] + data[end:]
            found = kept.get(key)
            if found is None:
                answer = made.answer(data) or b""
                first, last, _ = _request_id(answer)
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


async def poll(arguments: argparse.Namespace, database: Database, keyring: Keyring, agents: int, postgres: int) -> dict[str, Any]:
    """Poll for some minutes; the first is not counted: everything is new then."""
    extensions = Extensions.discover(packages=())
    async with Client(allowed=LOOPBACK) as client:
        service = PollService(
            PollConfig(buffer_rows=2_000_000), database, keyring, extensions.platforms, extensions.guard, client, node="bench", now=lambda: datetime.now(UTC)
        )  # fmt: skip
        before = resident_mb()
        async with service, asyncio.TaskGroup() as group:
            service.start(group)
            await asyncio.sleep(75)
            begun, cpu, other = time.monotonic(), cpu_seconds(), (tree_seconds(postgres), tree_seconds(agents))
            counted = (service.poller.looks["ok"], service.poller.snmp.missed + service.poller.reach.missed, sum(service.writer.stored.values()))
            seconds, requests = service.poller.seconds, service.transport.requests["ok"]
            await asyncio.sleep(60 * arguments.minutes)
            wall = time.monotonic() - begun
            looks = service.poller.looks["ok"] - counted[0]
            result = {
                "devices": arguments.devices, "interfaces": arguments.interfaces, "wall s": round(wall, 1), "looks": looks,
                "looks that failed": sum(n for what, n in service.poller.looks.items() if what != "ok"),
                "missed slots": service.poller.snmp.missed + service.poller.reach.missed - counted[1],
                "samples stored/s": round((sum(service.writer.stored.values()) - counted[2]) / wall),
                "samples waiting": service.writer.waiting,
                "CPU of a core, polling": round((cpu_seconds() - cpu) / wall, 3),
                "CPU of a core, PostgreSQL": round((tree_seconds(postgres) - other[0]) / wall, 3),
                "CPU of a core, agents": round((tree_seconds(agents) - other[1]) / wall, 3),
                "ms of CPU per look": round(1000 * (cpu_seconds() - cpu) / max(looks, 1), 2),
                "requests per look": round((service.transport.requests["ok"] - requests) / max(looks, 1), 1),
                "ms per look": round(1000 * (service.poller.seconds - seconds) / max(looks, 1), 1),
                "resident MB": round(resident_mb()), "of it for devices": round(resident_mb() - before),
            }  # fmt: skip
            await service.stop()
        return result


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
            results = [await poll(arguments, database, keyring, agents, server.pid or 0)]
        await database.close()
        await conn.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--interfaces", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--copy", type=int, default=0, metavar="ROWS")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(0, arguments.interfaces)
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
