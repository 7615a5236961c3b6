"""Handing values to a store that takes Prometheus' text, over real HTTP."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from netd.config import Secret
from netd.device.addresses import LOOPBACK
from netd.device.http import Client
from netd.model.device import DeviceSample, InterfaceSample
from netd.model.telemetry import CurrentDevice
from netd.poll.counters import Look
from netd.poll.export import Export
from netd.poll.watched import Port, Watched
from netd.store.devices import Polled

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Importer:
    """Takes what is posted, and answers as it is told."""

    def __init__(self) -> None:
        self.status = 204
        self.before: Callable[[], None] = lambda: None
        self.got: list[tuple[str | None, str]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.before()
        self.got.append((request.headers.get("Authorization"), await request.text()))
        return web.Response(status=self.status)

    def samples(self) -> list[Any]:
        """What was posted last."""
        return [sample for family in text_string_to_metric_families(self.got[-1][1]) for sample in family.samples]


@pytest.fixture
async def importer() -> AsyncIterator[Importer]:
    made, app = Importer(), web.Application()
    app.router.add_post("/api/v1/import/prometheus", made.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1/import/prometheus"
    yield made
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(allowed=LOOPBACK) as made:
        yield made


def watched(device_id: int) -> Watched:
    made = Watched(Polled(id=device_id, tenant_id=1, hostname=f"r{device_id}", platform=None, poll_groups=(), parent_id=None, site_id=None, version=1))
    made.ports = {"eth0": Port(Look(0, None, InterfaceSample(if_index=1, name="eth0", in_octets=2**63, oper_up=True)), NOW)}
    made.up, made.up_at, made.interfaces_at = True, NOW, NOW
    made.system, made.system_at = DeviceSample(cpu_percent=12.5), NOW
    return made


def exporting(client: Client, url: str, devices: dict[int, Watched], most_octets: int = 1 << 20) -> Export:
    def current(device_id: int) -> CurrentDevice:
        return devices[device_id].current(3)

    return Export(client, url, Secret("t0ken"), devices, current, most_octets=most_octets)


async def test_what_is_new_is_sent_once_with_its_time(importer: Importer, client: Client) -> None:
    devices = {number: watched(number) for number in (1, 2)}
    export = exporting(client, importer.url, devices)
    for _ in range(2):
        await export.gather()
        await export.send()
    assert len(importer.got) == 1 and importer.got[0][0] == "Bearer t0ken"
    octets = [each for each in importer.samples() if each.name.startswith("netd_interface_in_octets")]
    assert [(each.labels["device"], each.labels["interface"], each.value) for each in octets] == [("r1", "eth0", 2**63), ("r2", "eth0", 2**63)]
    assert octets[0].timestamp == NOW.timestamp() and all(each.timestamp is not None for each in importer.samples())
    assert export.lines == {"ok": 10, "refused": 0, "dropped": 0} and export.waiting_octets == 0


async def test_one_that_is_away_is_told_and_nothing_from_before_with_it(importer: Importer, client: Client) -> None:
    devices = {1: watched(1)}
    export = exporting(client, importer.url, devices)
    await export.gather()
    devices[1].up, devices[1].up_at = False, NOW + MINUTE
    await export.gather()
    await export.send()
    told = {(each.name, each.value, each.timestamp) for each in importer.samples()}
    at = (NOW + MINUTE).timestamp()
    assert told == {("netd_device_up", 0.0, at), ("netd_device_missed_slots_total", 3.0, at)}


async def test_values_wait_while_the_store_is_away(importer: Importer, client: Client) -> None:
    devices = {1: watched(1)}
    export = exporting(client, importer.url, devices)
    importer.status = 503
    for minute in range(3):
        devices[1].system_at = NOW + minute * MINUTE
        await export.gather()
        await export.send()
    assert export.parts()[0].state == "degraded" and "503" in export.parts()[0].last_error and not any(export.lines.values()) and export.waiting_octets > 0
    importer.status, importer.got = 204, []
    await export.send()
    assert [("cpu_percent" in text, "in_octets" in text) for _, text in importer.got] == [(True, True), (True, False), (True, False)]
    assert export.lines == {"ok": 7, "refused": 0, "dropped": 0} and export.parts()[0].state == "ok"


async def test_where_there_is_no_room_the_oldest_go_and_are_counted(client: Client) -> None:
    devices = {1: watched(1)}
    export = exporting(client, "http://127.0.0.1:9/api/v1/import/prometheus", devices, most_octets=1000)
    for minute in range(50):
        devices[1].up_at = NOW + minute * MINUTE
        await export.gather()
    await export.send()
    assert export.lines["dropped"] == 5 + 2 * (49 - len(export._bodies)) and 500 < export.waiting_octets <= 1000
    assert export.parts()[0].state == "degraded"


async def test_what_is_refused_holds_up_nothing(importer: Importer, client: Client) -> None:
    export = exporting(client, importer.url, {1: watched(1)})
    importer.status = 400
    await export.gather()
    await export.send()
    assert export.lines == {"ok": 0, "refused": 5, "dropped": 0} and export.waiting_octets == 0 and export.parts()[0].state == "degraded"


async def test_what_is_dropped_while_it_is_sent_is_counted_once(importer: Importer, client: Client) -> None:
    devices = {1: watched(1)}
    export = exporting(client, importer.url, devices)
    await export.gather()
    importer.before = export._bodies.clear
    await export.send()
    assert len(importer.got) == 1 and not any(export.lines.values())
