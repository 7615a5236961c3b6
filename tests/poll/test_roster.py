"""The devices that are polled, kept in line with the inventory a helping at a time."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.domain import facts, targets
from netd.domain.facts import Observation
from netd.domain.imports import Slices
from netd.keyring import Keyring
from netd.model.device import InterfaceSample
from netd.poll import roster
from netd.poll.alarms import Alarms
from netd.poll.counters import Look
from netd.poll.roster import Roster
from netd.poll.watched import Port, Watched
from netd.store import alarms as alarm_store
from netd.store import devices, telemetry
from netd.store.database import Database

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DEVICES = 23


@pytest.fixture
async def database_of_many(database: Database) -> Database:
    """Devices with two interfaces each."""
    async with database.acquire() as conn:
        await conn.execute(
            "insert into devices (tenant_id, hostname, mgmt_address, vendor) select 1, 'core' || n, '10.0.0.1', 'x' from generate_series(1, $1) n", DEVICES
        )
        await conn.execute(
            "insert into interfaces (tenant_id, device_id, name, if_index, monitored) select 1, id, 'eth' || n, n, n = 1 from devices, generate_series(1, 2) n"
        )
    return database


@pytest.fixture
def followed(database_of_many: Database, tmp_path: Path) -> Roster:
    keyring = Keyring.load_or_create(tmp_path / "secret.key")
    return Roster(database_of_many, keyring, {}, lambda device_id: device_id % 2 == 1, came=lambda _: None, went=lambda _: None, now=lambda: NOW)


def watch(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[int]:
    """How many rows each call of a function of the store gave."""
    given: list[int] = []
    real = getattr(module, name)

    async def counted(*arguments: Any) -> Any:
        found = await real(*arguments)
        given.append(len(found))
        return found

    monkeypatch.setattr(module, name, counted)
    return given


async def test_all_are_found_some_at_a_time(followed: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "DEVICES_AT_A_TIME", 5)
    monkeypatch.setattr(roster, "LOADED_AT_A_TIME", 4)
    read = watch(monkeypatch, devices, "polled")
    loaded = watch(monkeypatch, targets, "targets")
    await followed.refresh()
    assert sorted(followed.devices) == list(range(1, DEVICES + 1, 2)) and all(each.target is not None for each in followed.devices.values())
    assert (read, loaded) == ([5, 5, 5, 5, 3, 0], [4, 4, 4])
    async with followed._database.acquire() as conn:
        await conn.execute("update devices set state = 'retired', version = version + 1 where id > 20")
        await conn.execute("update devices set hostname = 'other', version = version + 1 where id = 1")
    await followed.refresh()
    assert sorted(followed.devices) == list(range(1, 20, 2)) and followed.devices[1].device.hostname == "other"
    assert loaded == [4, 4, 4, 1]


async def test_what_is_learned_while_the_rest_is_written_is_not_forgotten(followed: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of each device the newest is kept, however long the store is away."""
    await followed.refresh()
    first, second = (followed.devices[each] for each in (1, 3))
    written: list[tuple[list[int], dict[int, int]]] = []

    async def worked(database: Database, tenant_id: int, opened: Any) -> None:
        written.append(([device for device, *_ in opened], {}))
        followed.opened(second, 8)

    async def bulk_sizes(database: Database, tenant_id: int, sizes: dict[int, int]) -> None:
        written.append(([], dict(sizes)))
        followed.bulk(first, 6)

    monkeypatch.setattr(targets, "worked", worked)
    monkeypatch.setattr(targets, "bulk_sizes", bulk_sizes)
    for credential in (7, 8, 7):
        followed.opened(first, credential)
    followed.bulk(first, 12)
    for _ in range(2):
        await followed.learn_once()
    assert written == [([1], {}), ([], {1: 12}), ([3], {}), ([], {1: 6})]
    calls: list[object] = []

    async def only(database: Database, tenant_id: int, what: object) -> None:
        calls.append(what)

    monkeypatch.setattr(targets, "worked", only)
    monkeypatch.setattr(targets, "bulk_sizes", only)
    for _ in range(3):
        await followed.learn_once()
    assert len(calls) == 1, "where nothing is new nothing is written"


async def test_interfaces_are_named_some_devices_at_a_time(followed: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "NAMED_AT_A_TIME", 4)
    await followed.refresh()
    for watched in followed.devices.values():
        for index in (1, 2):
            watched.ports[f"eth{index}"] = Port(Look(0, None, InterfaceSample(if_index=index, name=f"eth{index}")), NOW)
    followed._rounds = 0
    await followed.refresh()
    given = watch(monkeypatch, telemetry, "ports")
    await followed.learn_once()
    assert given == [8, 8, 8]
    ports = [port for watched in followed.devices.values() for port in watched.ports.values()]
    assert all(port.id for port in ports) and [port.monitored for port in ports] == [True, False] * 12


async def test_ids_of_interfaces_are_found_though_devices_say_more_than_can_be_written(followed: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is slower than the polling must not keep it from ever knowing whose samples to store."""
    monkeypatch.setattr(roster, "OBSERVATIONS_AT_A_TIME", 5)
    monkeypatch.setattr(roster, "NAMED_AT_A_TIME", 5)
    await followed.refresh()
    samples = tuple(InterfaceSample(if_index=index, name=f"eth{index}") for index in (1, 2))

    def looked_at() -> None:
        for device_id, watched in followed.devices.items():
            watched.ports = {each.name: Port(Look(0, None, each), NOW) for each in samples}
            followed.observe(watched, Observation(device_id=device_id, source="snmp", at=NOW, interfaces=samples))

    looked_at()
    written: list[int] = []
    take = facts.take

    async def slow(database: Database, tenant_id: int, observations: Any) -> Any:
        taken = await take(database, tenant_id, observations)
        written.append(len(observations))
        assert len(written) <= 3, "there is no end"
        looked_at()
        return taken

    monkeypatch.setattr(facts, "take", slow)
    await followed.learn_once()
    assert written == [5, 5, 2]
    assert all(port.id for watched in followed.devices.values() for port in watched.ports.values())
    looked_at()
    written.clear()
    monkeypatch.setattr(facts, "take", take)
    await followed.learn_once()
    assert not followed._observations and not followed._nameless


async def test_others_have_their_turn_while_thresholds_are_read(database_of_many: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[None] = []

    async def turn(self: Slices) -> None:
        turns.append(None)

    monkeypatch.setattr(Slices, "breathe", turn)
    async with database_of_many.acquire() as conn:
        some = await devices.polled(conn, 0, 100)
        selector: dict[str, Any] = {}
        await alarm_store.insert_threshold(conn, 1, {"name": "t", "metric": "cpu_percent", "raise_level": 1.0, "clear_level": 1.0, "selector": selector})
    known = {each.id: Watched(each) for each in some}
    alarms = Alarms(database_of_many, known, down_seconds=60, period_seconds=60, now=lambda: NOW, clock=lambda: 0.0)
    await alarms.read()
    assert len(turns) == 2 * DEVICES
    assert {device_id: [rule.name for rule in rules] for device_id, rules in alarms._rules.items()} == {each.id: ["t"] for each in some}
