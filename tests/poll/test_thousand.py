"""A thousand devices keep their schedule while others say nothing, flood, break off, go in circles or answer half a minute late, to polling and to log-ins."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from netd.config import PollConfig
from netd.device.addresses import LOOPBACK
from netd.device.cli import CliTransport
from netd.device.http import Client
from netd.device.queue import DeviceQueues, QueueLimits
from netd.device.rest import RestTransport
from netd.device.simulated import SimulatedServer
from netd.device.snmp import SnmpTransport
from netd.domain import credentials
from netd.domain.actor import system
from netd.domain.credentials import NewCredential
from netd.errors import NetdError, PeerUnreachable, StoreUnavailable
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.poll.service import PollService
from netd.poll.watched import Watched
from netd.sdk import ifmib
from netd.simulate import Quirks, Simulated
from netd.store.database import Database
from netd.work.sessions import DeviceSessions, Opened
from tests.bench.processes import end
from tests.device.agent import Agent
from tests.device.fake import Line, SshDevice
from tests.device.simulators import LIMITS, served
from tests.device.test_bad_devices import silent_port
from tests.poll.test_polling import bad
from tests.ports import free_port

WELL, WELL_BY_CLI, OF_A_KIND = 1000, 20, 6
PERIOD: Final = 10.0
LATE: Final = 24.0
LITTLE: Final = frozenset((ifmib.IF_DESCR, ifmib.IF_NAME, ifmib.IF_TYPE, ifmib.IF_OPER, ifmib.IF_HC_IN_OCTETS, ifmib.IF_HC_OUT_OCTETS))
"""What is read of each, so that the schedule is what is tested and not how many columns a machine can read. `make bench-polling` reads all."""

KINDS: Final = {  # of what is wrong with the agent: what is wrong with the command line, and how a log-in there ends
    "silent": ("silent", "timeout"), "garbage": ("hang", "timeout"), "flooding": ("flood", "too_large"), "backwards": ("late", "timeout"),
    "late": ("hang", "timeout"), "refused": ("reset", "lost"),
}  # fmt: skip


@contextlib.contextmanager
def agents() -> Iterator[int]:
    """The port of a process that answers for all well devices."""
    command = (sys.executable, "-m", "tests.bench.polling", "--serve", "--interfaces", "4")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            end(process)


def wrong(kind: str) -> Callable[[Line], Awaitable[None]]:
    """What a command line does with the first command."""

    async def device(line: Line) -> None:
        line.write("[netd@bad] > ")
        await line.line()
        line.write("# by RouterOS\r\n/interface br")
        match kind:
            case "flood":
                with contextlib.suppress(BrokenPipeError):
                    while True:
                        line.write("x" * 4000 + "\r\n")
                        await asyncio.sleep(0)
            case "reset":
                line.reset()
            case _:
                await asyncio.sleep(LATE if kind == "late" else 3600)
                line.write("idge\r\n[netd@bad] > ")

    return device


class Clock:
    """The poller's. Where the loop waits it goes a little faster than time does; where the loop works it counts the time that the processor worked for it. So
    it stands still while the machine does something else, and runs on while one device keeps all others waiting."""

    def __init__(self) -> None:
        self.began_at = datetime.now(UTC)
        self._seconds = 0.0

    def __call__(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self.began_at + timedelta(seconds=self._seconds)

    async def run(self) -> None:
        while True:
            before, worked = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.01)
            self._seconds += 1.25 * max(min(time.monotonic() - before, 0.03), time.thread_time() - worked)


class Lab:
    """All devices, in the inventory and behind sockets; ``ids`` by kind."""

    def __init__(self, database: Database, extensions: Extensions) -> None:
        self.database = database
        self.extensions = extensions
        self.ids: dict[str, list[int]] = {}

    async def add(self, kind: str, count: int, snmp: int, ssh: int) -> None:
        async with self.database.acquire() as conn:
            rows = await conn.fetch(
                """insert into devices (tenant_id, hostname, mgmt_address, vendor, platform, ports, timeout_seconds)
                   select 1, $1 || n, '127.0.0.1', 'mikrotik', 'mikrotik_routeros', jsonb_build_object('snmp', $3::int, 'ssh', $4::int), $5
                   from generate_series(1, $2) n returning id""",
                kind, count, snmp, ssh, 5 if kind in KINDS else 60,
            )  # fmt: skip
        self.ids[kind] = [row["id"] for row in rows]

    @contextlib.asynccontextmanager
    async def standing(self) -> AsyncIterator[SimulatedServer]:
        async with contextlib.AsyncExitStack() as stack:
            router = Simulated("well", version="7.16.2", password="right", configuration="/interface bridge\n add name=lan\n", quirks=Quirks(sessions=100))
            server = await stack.enter_async_context(served(self.extensions, "mikrotik_routeros", router))
            port = stack.enter_context(agents())
            await self.add("well", WELL, port, server.ssh_port)
            for agent, (line, _) in KINDS.items():
                snmp = free_port() if agent == "refused" else (await stack.enter_async_context(Agent(bad(agent, LATE)))).port
                ssh = await stack.enter_async_context(silent_port()) if line == "silent" else (await stack.enter_async_context(SshDevice(wrong(line)))).port
                await self.add(agent, OF_A_KIND, snmp, ssh)
            yield server


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> Lab:
    keyring = Keyring.load_or_create(tmp_path / "secret.key")
    for new in (
        NewCredential(name="ro", type="snmp_community", community="bench"), NewCredential(name="noc", type="ssh", username="netd", password="right"),
    ):  # fmt: skip
        await credentials.create(database, system(1), keyring, new)
    extensions = Extensions.discover(packages=())
    driver: Any = extensions.platforms["mikrotik_routeros"].driver
    groups = [
        msgspec.structs.replace(each, scalars=each.scalars[:2], tables=tuple(column for column in each.tables if column in LITTLE))
        for each in driver.groups() if not each.opt_in
    ]  # fmt: skip
    driver.groups = lambda: groups
    return Lab(database, extensions)


class Logins:
    """Configurations are read, again and again, of well and of bad devices; ``ended`` is how, by kind."""

    def __init__(self, lab: Lab, database: Database, keyring: Keyring, client: Client) -> None:
        limits = msgspec.structs.replace(LIMITS, most_output=1 << 19, cleanup_seconds=0.5)
        queues = DeviceQueues(QueueLimits(open_after=1000))  # so that they are worked with again and again
        self.sessions = DeviceSessions(
            database, keyring, lab.extensions.platforms, CliTransport(limits), queues, rest=RestTransport(client), snmp=SnmpTransport(),
            now=lambda: datetime.now(UTC),
        )  # fmt: skip
        self.ended: dict[str, Counter[str]] = defaultdict(Counter)
        self.read: set[int] = set()  # whose configuration was read
        self._lab = lab

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for kind, ids in self._lab.ids.items():
                for device_id in ids[:WELL_BY_CLI]:
                    group.create_task(self._again_and_again(kind, device_id))
                    await asyncio.sleep(0.1)  # a key exchange is work for the processor: not all at once

    def told(self) -> bool:
        """Whether all well ones were read, and each bad kind has ended as it should, once at least."""
        return len(self.read) == WELL_BY_CLI and all(self.ended[kind][how] for kind, (_, how) in KINDS.items())

    async def _again_and_again(self, kind: str, device_id: int) -> None:
        async def read(opened: Opened) -> str:
            text: str = await opened.run(opened.driver.configuration("running"))
            return text

        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                text = await self.sessions.run(1, device_id, read, deadline_seconds=8 if kind in KINDS else 60)
                self.ended[kind]["ok" if "add name=lan" in text else "something else"] += 1
                self.read.add(device_id)
            except StoreUnavailable as error:  # of a machine that has no time for PostgreSQL: nobody's at the other end
                self.ended["database"][str(error)] += 1
            except NetdError as error:
                self.ended[kind][error.reason if isinstance(error, PeerUnreachable) else str(error)] += 1
            await asyncio.sleep(max(2.0, 2 * (loop.time() - begun)))  # on a slow machine log-ins must not be all that is done


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_keep_their_schedule(lab: Lab, database: Database, tmp_path: Path) -> None:
    clock = Clock()
    keyring = Keyring.load_or_create(tmp_path / "secret.key")
    looks: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    done = asyncio.Event()
    async with lab.standing(), Client(allowed=LOOPBACK) as client, contextlib.AsyncExitStack() as stack:
        own = await Database.open(database.target, 4, acquire_timeout_seconds=60)  # as the daemon's jobs have
        stack.push_async_callback(own.close)
        logins = Logins(lab, own, keyring, client)
        config = PollConfig(system_seconds=int(PERIOD), interfaces_seconds=int(PERIOD), in_flight=64, deadline_seconds=40)
        service = PollService(config, database, keyring, lab.extensions.platforms, lab.extensions.guard, client, node="here", now=clock.now, clock=clock)
        service.transport.limits = msgspec.structs.replace(service.transport.limits, most_rows=2000)  # where a flood is ended: it costs its agents more
        well = lab.ids["well"]
        shown = service.poller.look

        async def look(watched: Watched, groups: tuple[str, ...]) -> bool:
            named = bool(watched.ports) and all(port.id is not None for port in watched.ports.values())  # before that samples of interfaces are not kept
            ok = await shown(watched, groups)
            looks[watched.device.id] += ok
            kept[watched.device.id] += ok and named
            if all(looks[each] >= 2 and kept[each] for each in well) and logins.told():
                done.set()
            return ok

        service.poller.look = look  # type: ignore[method-assign]
        async with service, asyncio.TaskGroup() as group:
            working, ticking = group.create_task(logins.run()), group.create_task(clock.run())
            service.start(group)
            async with asyncio.timeout(500):
                await done.wait()
            missed = {each: service.poller.snmp.missed_by.get(each, 0) for each in well}
            errors = {each: found.last_error for each in well if (found := service.current(each)) is not None and found.last_error}
            failed = {kind: sum((found := service.current(each)) is not None and bool(found.last_error) for each in lab.ids[kind]) for kind in KINDS}
            working.cancel()
            ticking.cancel()
            await service.stop()
    assert not any(missed.values()) and not errors
    gaps = await spacing(database, well)
    assert len(gaps) == WELL and all(0.5 * PERIOD < gap < 1.5 * PERIOD for pair in gaps.values() for gap in pair), Counter(map(len, gaps.values()))
    half = ("flooding", "backwards")  # they answer how they are; of their interfaces nothing is believed
    assert not any(looks[each] for kind in KINDS if kind not in half for each in lab.ids[kind]) and all(failed.values()), failed
    known = [service.current(each) for kind in KINDS for each in lab.ids[kind]]
    assert not any(each.interfaces for each in known if each is not None)
    assert logins.ended["well"].keys() == {"ok"}
    assert all(logins.ended[kind].keys() <= {how, "timeout"} for kind, (_, how) in KINDS.items()), logins.ended


async def spacing(database: Database, ids: list[int]) -> dict[int, list[float]]:
    """Seconds between a device's samples, of the system and of its interfaces, by device; those of one sample are not there."""
    async with database.acquire() as conn:
        rows = await conn.fetch(
            """select device_id, extract(epoch from at - lag(at) over (partition by device_id order by at))::float8 as gap from device_samples
               where device_id = any($1)""", ids,
        )  # fmt: skip
        counted = await conn.fetch(
            """select device_id, count(distinct at) as n, count(*) filter (where in_bps is not null) as rates from interface_samples
               where device_id = any($1) group by device_id""", ids,
        )  # fmt: skip
    found: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["gap"] is not None:
            found[row["device_id"]].append(row["gap"])
    assert len(counted) == len(ids) and all(row["rates"] >= 4 for row in counted), "each has rates of its four interfaces"
    return found
