"""Handing values to a store that takes Prometheus' text, over real HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from netd.config import Secret
from netd.device.addresses import LOOPBACK
from netd.device.http import Client
from netd.model.device import InterfaceSample
from netd.poll.counters import Look
from netd.poll.export import Export
from netd.poll.watched import Port, Watched
from netd.store.devices import Polled

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Importer:
    """Takes what is posted, and answers as it is told."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[str | None, str]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.headers.get("Authorization"), await request.text()))
        return web.Response(status=self.status)


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


def watched(device_id: int) -> Watched:
    made = Watched(Polled(id=device_id, tenant_id=1, hostname=f"r{device_id}", platform=None, poll_groups=(), parent_id=None, site_id=None, version=1))
    made.ports = {"eth0": Port(Look(0, None, InterfaceSample(if_index=1, name="eth0", in_octets=2**63, oper_up=True)), NOW)}
    made.interfaces_at = NOW
    return made


async def test_what_is_new_is_sent_once_with_its_time(importer: Importer) -> None:
    devices = {number: watched(number) for number in (1, 2)}
    async with Client(allowed=LOOPBACK) as client:
        export = Export(client, importer.url, Secret("t0ken"), devices)
        await export.run_once()
        await export.run_once()
        assert len(importer.got) == 1 and importer.got[0][0] == "Bearer t0ken"
        found = [sample for family in text_string_to_metric_families(importer.got[0][1]) for sample in family.samples]
        octets = [each for each in found if each.name.startswith("netd_interface_in_octets")]
        assert [(each.labels["device"], each.labels["interface"], each.value) for each in octets] == [("r1", "eth0", 2**63), ("r2", "eth0", 2**63)]
        assert octets[0].timestamp == NOW.timestamp()
        devices[2].interfaces_at = NOW + timedelta(seconds=60)
        importer.status = 400
        await export.run_once()
        assert "r1" not in importer.got[1][1] and export.sent["refused"] == export.sent["ok"] / 2 > 0


async def test_a_store_that_is_away_costs_nothing_but_a_count(importer: Importer) -> None:
    async with Client(allowed=LOOPBACK) as client:
        export = Export(client, "http://127.0.0.1:9/api/v1/import/prometheus", Secret(), {1: watched(1)})
        await export.run_once()
        assert export.sent["failed"] > 0 and not export.sent["ok"]
