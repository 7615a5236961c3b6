"""Polling against net-snmp's agent and agents that misbehave, into a real store."""

import asyncio
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.config import PollConfig
from netd.device.addresses import LOOPBACK
from netd.device.agent import AgentSocket
from netd.device.http import Client
from netd.device.snmp import SnmpLimits
from netd.domain import credentials, devices, exposition
from netd.domain.actor import system
from netd.domain.credentials import NewCredential
from netd.domain.devices import Catalogue, NewDevice
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.model.telemetry import CurrentInterface
from netd.poll.service import PollService
from netd.poll.watched import Wrong
from netd.sdk import ifmib
from netd.sdk.device import Oid
from netd.simulate import Agent as Simulated
from netd.simulate.agent import COUNTER64, GAUGE32, INTEGER, OBJECT, OCTETS, TICKS, Object
from netd.store import shards
from netd.store.database import Database
from tests.bench.polling import request_id
from tests.device.agent import GETBULK, Agent, Request, Response, octets
from tests.ports import free_port

Add = Callable[..., Coroutine[Any, Any, int]]
COMMUNITY = "c0mmunity"


class Clock:
    """A clock that the test turns: monotonic seconds and the time of day."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.began = datetime.now(UTC)

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds - 1000.0)


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.load_or_create(tmp_path / "secret.key")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(allowed=LOOPBACK) as made:
        yield made


@pytest.fixture
async def service(database: Database, keyring: Keyring, extensions: Extensions, client: Client, clock: Clock) -> AsyncIterator[PollService]:
    """A service whose rounds the test makes itself."""
    made = PollService(PollConfig(), database, keyring, extensions.platforms, extensions.guard, client, node="here", now=clock.now, clock=clock)
    made.transport.limits = SnmpLimits(attempts=2, timeout_seconds=30, walk_seconds=300, most_rows=2000)
    async with made:
        await made.shares.renew()
        yield made


ASKING: dict[int, "asyncio.Future[None]"] = {}
"""Who waits for an answer, by the port that it asks from."""


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an agent of this file leaves unanswered is given up as soon as it does so, and not when a time is over: no answer comes too late, and none is
    waited for."""
    readable = AgentSocket._readable

    async def until_silence(self: AgentSocket, loop: asyncio.AbstractEventLoop, fd: int, until: float) -> None:
        own = socket.socket(fileno=fd)
        port = own.getsockname()[1]
        own.detach()
        left = ASKING[port] = loop.create_future()
        reading = asyncio.ensure_future(readable(self, loop, fd, until))
        try:
            await asyncio.wait((left, reading), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise TimeoutError
            await reading
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
            del ASKING[port]

    monkeypatch.setattr(AgentSocket, "_readable", until_silence)


def leave_unanswered(addr: tuple[str, int]) -> None:
    """It does not get an answer."""
    asking = ASKING.get(addr[1])
    if asking is not None and not asking.done():
        asking.set_result(None)


@pytest.fixture
async def add(database: Database, keyring: Keyring, extensions: Extensions) -> Add:
    """Let netd know a device at 127.0.0.1 with this SNMP port; returns its id."""
    new = msgspec.convert({"name": "ro", "type": "snmp_community", "community": COMMUNITY}, NewCredential)
    await credentials.create(database, system(1), keyring, new)
    catalogue = Catalogue(frozenset(extensions.vendors), extensions.platforms)

    async def added(name: str, port: int, **more: Any) -> int:
        members = {"hostname": name, "mgmt_address": "127.0.0.1", "vendor": "generic", "ports": {"snmp": port}, **more}
        return (await devices.create(database, system(1), msgspec.convert(members, NewDevice), catalogue)).id

    return added


def printed(port: int, column: Oid) -> dict[int, int]:
    """What ``snmpbulkwalk`` prints, by the last number of the OID."""
    command = ["snmpbulkwalk", "-v2c", f"-c{COMMUNITY}", "-OnQUet", "-m", "", "-t", "20", f"127.0.0.1:{port}", ".".join(map(str, column))]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    return {int(name.strip().rpartition(".")[2]): int(value) for name, _, value in (line.partition(" = ") for line in lines)}


async def round_of(service: PollService, device_id: int, *groups: str) -> bool:
    """One look at a device."""
    watched = service.roster.devices[device_id]
    return await service.poller.look(watched, groups or ("identity", "system", "interfaces"))


async def test_values_are_what_snmpget_prints(service: PollService, add: Add, snmpd: int, clock: Clock, database: Database) -> None:
    """From an unknown device to samples: recognised, polled twice, stored; counters lie between what net-snmp's own tool prints before and after."""
    device = await add("lab", snmpd)
    await service.roster.refresh()
    assert await round_of(service, device, "identity")
    await service.roster.learn_once()
    await service.roster.refresh()
    assert service.roster.devices[device].driver is not None
    read: list[int] = []
    interfaces: tuple[CurrentInterface, ...] = ()
    for number in range(3):
        before = await asyncio.to_thread(printed, snmpd, ifmib.IF_HC_IN_OCTETS)
        assert await round_of(service, device)
        after = await asyncio.to_thread(printed, snmpd, ifmib.IF_HC_IN_OCTETS)
        current = service.current(device)
        assert current is not None and current.interfaces and current.last_error == ""
        interfaces = current.interfaces
        for each in interfaces:
            counted = each.counters
            assert counted.in_octets is not None and before[counted.if_index] <= counted.in_octets <= after[counted.if_index]
            assert (each.rates is None) == (number == 0) and counted.counter_bits == 64
        read.append(next(each.counters.in_octets or 0 for each in interfaces if each.counters.name == "lo"))
        await service.roster.learn_once()
        await service.poller.ping(service.roster.devices[device], ("ping",))
        clock.seconds += 5  # the agent's own clock stands still beside it
    lo = next(each for each in interfaces if each.counters.name == "lo")
    assert lo.id is not None and lo.rates is not None and lo.rates.in_bps == round((read[2] - read[1]) * 8 / 5) and lo.counters.type == 24
    await service.writer.flush()
    async with database.acquire() as conn:
        rows = await conn.fetch("select at, seconds, in_bps, oper_up from interface_samples where interface_id = $1 order by at", lo.id)
        assert [row["seconds"] for row in rows] == [5, 5] and rows[-1]["in_bps"] == lo.rates.in_bps and rows[-1]["oper_up"]
        row = await conn.fetchrow("select * from device_samples order by at limit 1")
        assert row["uptime_seconds"] is not None and row["memory_total_octets"] > row["memory_used_octets"] > 0
        assert await conn.fetchval("select count(*) from reach_samples where up") == 3
        known = await conn.fetchrow("select observed -> 'hostname' ->> 'value', observed -> 'platform' ->> 'value' from devices")
        assert tuple(known) == ("lab", "generic_linux")
        assert await conn.fetchval("select count(*) from device_credentials where protocol = 'snmp'") == 1
    assert service.poller.looks == {"ok": 4} and service.parts()[0].state == "ok"


def agent(count: int = 3, octets_per_second: float = 1000.0) -> Simulated:
    """A made-up Linux host with so many interfaces."""
    objects: dict[Oid, Object] = {
        ifmib.SYS_DESCR: Object(OCTETS, b"Linux lab"), ifmib.SYS_OBJECT_ID: Object(OBJECT, (1, 3, 6, 1, 4, 1, 8072, 3, 2, 10)),
        ifmib.SYS_UPTIME: Object(TICKS, 1_000_000), ifmib.SYS_NAME: Object(OCTETS, b"lab"),
    }  # fmt: skip
    for number in range(1, count + 1):
        objects |= {
            (*ifmib.IF_DESCR, number): Object(OCTETS, b"eth%d" % number), (*ifmib.IF_NAME, number): Object(OCTETS, b"eth%d" % number),
            (*ifmib.IF_TYPE, number): Object(INTEGER, 6), (*ifmib.IF_HIGH_SPEED, number): Object(GAUGE32, 1000),
            (*ifmib.IF_ADMIN, number): Object(INTEGER, 1), (*ifmib.IF_OPER, number): Object(INTEGER, 1),
            (*ifmib.IF_HC_IN_OCTETS, number): Object(COUNTER64, 10**6), (*ifmib.IF_HC_OUT_OCTETS, number): Object(COUNTER64, 10**6),
            (*ifmib.IF_DISCONTINUITY, number): Object(TICKS, 0),
        }  # fmt: skip
    rates = {name: octets_per_second for name in objects if name[:-1] in (ifmib.IF_HC_IN_OCTETS, ifmib.IF_HC_OUT_OCTETS)}
    return Simulated(objects, COMMUNITY, rates)


class Served(asyncio.DatagramProtocol):
    """A made-up agent at ``port``."""

    def __init__(self, simulated: Simulated) -> None:
        self.simulated = simulated
        self.port = 0

    async def __aenter__(self) -> "Served":
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.simulated.answer(data)
        if answer is None:
            leave_unanswered(addr)
        else:
            self._transport.sendto(answer, addr)


class Bad(Agent):
    """An agent that is of no use, as :func:`bad` has it."""

    def __init__(self, kind: str) -> None:
        super().__init__(self._said)
        self._says = bad(kind)
        self._asker = ("", 0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._asker = addr
        super().datagram_received(data, addr)

    def _said(self, request: Request) -> Response | None:
        response = self._says(request)
        if response is None or response.late_seconds:
            leave_unanswered(self._asker)
        return response


async def test_rates_restarts_and_other_interfaces(service: PollService, add: Add, clock: Clock) -> None:
    async with Served(agent()) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        watched = service.roster.devices[device]

        async def told(seconds: float = 60.0) -> list[int | None]:
            clock.seconds += seconds
            served.simulated.elapse(seconds)
            assert await round_of(service, device, "interfaces"), watched.last_error
            await service.roster.learn_once()
            return [None if port.rates is None else port.rates.in_bps for port in watched.ports.values()]

        assert await told() == [None] * 3
        asked = served.simulated.asked
        assert await told() == [8000] * 3
        quick = served.simulated.asked - asked
        assert await told(200.0) == [None] * 3  # a gap
        assert await told() == [8000] * 3
        served.simulated.put(ifmib.SYS_UPTIME, Object(TICKS, 100))
        served.simulated.put((*ifmib.IF_HC_IN_OCTETS, 1), Object(COUNTER64, 5))
        asked = served.simulated.asked
        assert await told(1.0) == [None] * 3  # a restart
        assert served.simulated.asked - asked > quick  # everything is read again: indexes may name other interfaces now
        assert await told() == [8000] * 3
        for column, value in ((ifmib.IF_DESCR, b"new"), (ifmib.IF_NAME, b"new")):
            served.simulated.put((*column, 9), Object(OCTETS, value))
        for _ in range(10):
            await told()
        assert list(watched.ports) == ["eth1", "eth2", "eth3", "new"]  # found with the next whole look
        assert all(port.id is not None for port in watched.ports.values())


def bad(kind: str, late_seconds: float = 30.0) -> Callable[[Request], Response | None]:
    """What an agent answers that is of no use."""

    def answer(request: Request) -> Response | None:
        if kind == "silent":
            return None
        if kind == "garbage":
            return Response([(request.oids[0], b"\xff\xff\xff")])
        if request.kind != GETBULK:
            return Response([(oid, octets(b"x")) for oid in request.oids], late_seconds=late_seconds if kind == "late" else 0)
        oid = request.oids[0]
        last = 0 if kind == "backwards" else oid[-1] if len(oid) > 11 else 0
        column = oid[:10] if len(oid) > 10 else oid
        return Response([((*column, 1, last + each), octets(b"y")) for each in range(1, 11)], copies=3 if kind == "flooding" else 1)

    return answer


@pytest.mark.parametrize("kind", ["silent", "garbage", "flooding", "backwards", "late"])
async def test_bad_devices_end_their_own_look_only(service: PollService, add: Add, kind: str) -> None:
    async with Bad(kind) as wrong, Served(agent()) as good:
        first, second = await add("bad", wrong.port, platform="generic_linux"), await add("good", good.port, platform="generic_linux")
        await service.roster.refresh()
        results = list(await asyncio.gather(round_of(service, first, "interfaces"), round_of(service, second, "interfaces")))
        assert results == [False, True]
        watched = service.roster.devices[first]
        assert watched.last_error and watched.session is None and not watched.ports
        assert len(service.roster.devices[second].ports) == 3


def _cannot_tell(data: bytes) -> bytes:
    """genErr to a request of the bulk or next kind, all else as it was (RFC 3416 section 4.2.3)."""
    begin, end, kind = request_id(data)
    at = data.rindex(bytes((kind,)), 0, begin)
    return data[:at] + b"\xa2" + data[at + 1 : end] + b"\x02\x01\x05" + data[end + 3 :]


async def _no_answer(address: object) -> None:
    return None


async def test_a_table_that_is_broken_off_keeps_no_other_group_from_being_read(service: PollService, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent has no answer below hrProcessorTable: that is told, what is left of the system is not kept as if it were all, interfaces are read."""
    async with Served(agent()) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        answer, broken = served.simulated.answer, bytes.fromhex("2b060102011903")
        monkeypatch.setattr(served.simulated, "answer", lambda data: _cannot_tell(data) if broken in data else answer(data))
        assert await round_of(service, device), "it answers: nothing is put off"
        current = service.current(device)
        assert current is not None and "answered genErr to what follows 1.3.6.1.2.1.25.3" in current.last_error
        assert current.system is None and len(current.interfaces) == 3 and service.poller.looks == {"incomplete": 1}
        monkeypatch.setattr(service.pinger, "round_trip", _no_answer)
        await service.poller.ping(watched := service.roster.devices[device], ("ping",))
        assert watched.up, "who hides from pings and answers SNMP is there"
        monkeypatch.setattr(served.simulated, "answer", lambda data: None)
        assert not await round_of(service, device)
        await service.poller.ping(watched, ("ping",))
        assert watched.up is False
        monkeypatch.undo()
        assert await round_of(service, device)
        current = service.current(device)
        assert current is not None and current.system is not None and current.last_error == ""


async def test_a_table_that_goes_backwards_keeps_no_other_group_from_being_read(service: PollService, add: Add) -> None:
    """Interfaces keep their minute; a device that answers nothing of use is left alone, as before."""
    simulated = agent()
    for number in (1, 2):
        simulated.put((*ifmib.HR_PROCESSOR_LOAD, number), Object(INTEGER, number))
    async with Served(simulated) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        answer = simulated.answer
        first, second = (bytes((43, *ifmib.HR_PROCESSOR_LOAD[2:], number)) for number in (1, 2))

        def twisted(datagram: bytes) -> bytes | None:
            said = answer(datagram)
            return None if said is None else said.replace(second, first)

        simulated.answer = twisted  # type: ignore[method-assign]
        assert await round_of(service, device)
        current = service.current(device)
        assert current is not None and "do not increase" in current.last_error and current.system is None and len(current.interfaces) == 3
        watched, before = service.roster.devices[device], simulated.asked
        assert await round_of(service, device) and watched.wrong["system"].spared == 0 and "do not increase" in watched.last_error
        assert not await round_of(service, device, "system") and watched.session is None and watched.wrong["system"].spared == 3
        simulated.answer = answer  # type: ignore[method-assign]
        for _ in range(3):
            assert await round_of(service, device) and watched.system is None
        assert simulated.asked > before and await round_of(service, device) and watched.system is not None and not watched.wrong and not watched.last_error
        watched.wrong["system"] = Wrong(4, 0, "it floods")
        simulated.answer = lambda datagram: None  # type: ignore[method-assign]
        assert not await round_of(service, device, "system") and watched.wrong["system"].times == 4, "what is lost on the way is no better"
        watched.use(watched.device, {})
        assert not watched.wrong, "it was said of what another driver read"


async def test_what_a_device_bears_is_learned_of_a_look_that_came_to_nothing(service: PollService, add: Add, database: Database) -> None:
    """Else the next one begins with too many rows again, and never comes to its end either. Once in a while it is trusted with more."""
    async with Served(agent(40)) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        answer = served.simulated.answer
        silent = bytes((43, *ifmib.IF_HC_OUT_OCTETS[2:]))

        def few(datagram: bytes) -> bytes | None:
            said = answer(datagram)
            return None if said is None or len(said) > 300 or silent in datagram else said

        served.simulated.answer = few  # type: ignore[method-assign]
        assert not await round_of(service, device, "interfaces")
        await service.roster.learn_once()
        await service.roster.refresh()
        target = service.roster.devices[device].target
        assert target is not None and target.snmp_bulk is not None and target.snmp_bulk < 25
        served.simulated.answer = answer  # type: ignore[method-assign]
        assert await round_of(service, device)
        session = service.roster.devices[device].session
        assert session is not None and session.bulk == min(25, 2 * target.snmp_bulk)


async def test_who_does_not_answer_pings_either_is_not_waited_for_as_long(service: PollService, add: Add, clock: Clock) -> None:
    """Hundreds that are away, with several profiles each, would keep those that are there waiting; but one that hides from pings may just be slow."""
    async with Bad("silent") as silent:
        device = await add("lab", silent.port, platform="generic_linux")
        await service.roster.refresh()
        watched, asked = service.roster.devices[device], []
        for up, failures in ((None, 0), (True, 1), (False, 1), (False, 2), (False, 4)):
            watched.up, before = up, service.transport.requests["timeout"]
            service.poller.snmp.at_once(device, clock())
            for _ in range(failures):
                service.poller.snmp.done(device, clock(), ok=False)
            assert not await round_of(service, device, "system")
            asked.append(service.transport.requests["timeout"] - before)
    assert asked == [2, 2, 1, 1, 2]


async def test_what_counts_is_read_first(service: PollService, add: Add) -> None:
    """A rate is by the time at which looks begin: with the names first, a slow device's counters would be read later by them, every tenth time."""
    async with Served(agent()) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        answer = served.simulated.answer
        asked: list[str] = []

        def seen(datagram: bytes) -> bytes | None:
            asked.extend(name for name, column in (("octets", ifmib.IF_HC_IN_OCTETS), ("name", ifmib.IF_NAME)) if bytes((43, *column[2:])) in datagram)
            return answer(datagram)

        served.simulated.answer = seen  # type: ignore[method-assign]
        assert await round_of(service, device, "interfaces")
        assert asked.index("octets") < asked.index("name")


async def test_what_is_changed_is_followed(service: PollService, add: Add, database: Database) -> None:
    async with Served(agent()) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        assert service.poller.snmp.period(device, "interfaces") == 60 and device in service.poller.reach
        watched = service.roster.devices[device]
        assert await round_of(service, device) and watched.session is not None
        async with database.acquire() as conn:
            await conn.execute("update devices set mgmt_address = '127.0.0.2', version = version + 1")
        await service.roster.refresh()
        assert watched.target is not None and watched.target.address == ip_address("127.0.0.2")
        assert not await round_of(service, device)
        async with database.acquire() as conn:
            await conn.execute("update devices set state = 'maintenance', version = version + 1")
        await service.roster.refresh()
        assert service.current(device) is None and device not in service.poller.snmp and device not in service.poller.reach


async def test_an_interface_that_is_not_monitored_is_not_kept(service: PollService, add: Add, clock: Clock, database: Database) -> None:
    async with Served(agent()) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        await round_of(service, device)
        await service.roster.learn_once()
        async with database.acquire() as conn:
            await conn.execute("update interfaces set monitored = false where name = 'eth2'")
        service.roster._nameless.add(device)
        await service.roster.learn_once()
        clock.seconds += 60
        await round_of(service, device)
        await service.writer.flush()
        async with database.acquire() as conn:
            names = await conn.fetch("select distinct i.name from interface_samples s join interfaces i on i.id = s.interface_id order by 1")
        assert [name for (name,) in names] == ["eth1", "eth3"]


async def test_the_whole_service_polls_by_itself_and_shares(database: Database, keyring: Keyring, extensions: Extensions, client: Client, add: Add) -> None:
    """Two nodes: each device is polled by one; when that stops, by the other."""
    config = PollConfig(reach_seconds=5, system_seconds=10, interfaces_seconds=10)
    nodes = [
        PollService(
            msgspec.structs.replace(config, scrape_address=f"{name}:8080"),
            database,
            keyring,
            extensions.platforms,
            extensions.guard,
            client,
            node=name,
            now=lambda: datetime.now(UTC),
        )
        for name in ("one", "two")
    ]
    async with Served(agent()) as served:
        ids = [await add(f"lab{number}", served.port) for number in range(4)]
        async with nodes[0], nodes[1]:
            for node in (*nodes, *nodes, nodes[0]):  # who gave a part away hears where it went with the next renewal
                await node.shares.renew()
            assert [len(node.shares.held) for node in nodes] == [128, 128]
            owners = [[node.shares.mine(each) for node in nodes] for each in ids]
            assert all(sum(each) == 1 for each in owners)
            for each, owner in zip(ids, owners, strict=True):  # whichever node is asked
                assert {node.scrape_address(each) for node in nodes} == {"one:8080" if owner[0] else "two:8080"}
            async with asyncio.timeout(90), asyncio.TaskGroup() as group:
                for node in nodes:
                    node.start(group)
                while not all(any((found := node.current(each)) and found.system_at for node in nodes) for each in ids):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.05)
                for each in ids:
                    assert sum(node.current(each) is not None for node in nodes) == 1
                await nodes[0].stop()
                await nodes[1].shares.renew()
                assert len(nodes[1].shares.held) == 256
                await nodes[1].stop()
    async with database.acquire() as conn:
        assert await conn.fetchval("select count(distinct device_id) from device_samples") == 4
        assert await conn.fetchval("select count(*) from poll_shards where node is not null") == 0


def test_devices_added_one_after_the_other_are_of_different_nodes() -> None:
    """A node holds shards in a row: with ids as they are, the first hundred devices would all be one node's."""
    for count, nodes in ((10, 2), (40, 3), (1000, 4)):
        parts = Counter(shards.of(device_id) * nodes // shards.SHARDS for device_id in range(1, count + 1))
        assert len(parts) == nodes and max(parts.values()) <= count / nodes * 1.4


async def test_a_port_nobody_listens_on(service: PollService, add: Add) -> None:
    device = await add("lab", free_port(), platform="generic_linux")
    await service.roster.refresh()
    assert not await round_of(service, device)
    current = service.current(device)
    assert current is not None and current.system is None and current.last_error


async def test_without_room_for_sockets_each_look_has_its_own(service: PollService, add: Add) -> None:
    service.poller._sessions_most = 1
    async with Served(agent()) as served:
        ids = [await add(f"lab{number}", served.port, platform="generic_linux") for number in range(3)]
        await service.roster.refresh()
        for device_id in (*ids, *ids):
            assert await round_of(service, device_id)
        assert [service.roster.devices[each].session is not None for each in ids] == [True, False, False]


async def test_what_is_not_read_any_more_is_told_as_what_was(service: PollService, add: Add, clock: Clock) -> None:
    """A scrape has a gap then, and not the last values for ever."""
    async with Served(agent()) as served:
        device = await add("lab", served.port, platform="generic_linux")
        await service.roster.refresh()
        assert await round_of(service, device)
        fresh = service.poller.current(device)
        assert fresh is not None and fresh.stale == ()
        names = {sample[0] for sample in exposition.samples(fresh)}
        assert {"netd_device_uptime_seconds", "netd_interface_up", "netd_interface_in_octets_total"} <= names
    clock.seconds += 120
    still = service.poller.current(device)
    assert still is not None and still.stale == ()  # a slot or two may be missed
    clock.seconds += 60
    old = service.poller.current(device)
    assert old is not None and set(old.stale) == {"system", "interfaces"} and old.interfaces
    assert {sample[0] for sample in exposition.samples(old)} == {"netd_device_missed_slots_total"}
