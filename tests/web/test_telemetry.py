"""What devices do, by the API: from memory, from the store, by time, over a span."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families

from netd.domain import telemetry as telemetry_domain
from netd.domain.telemetry import resolution
from netd.model.device import DeviceSample, InterfaceSample, OpticsSample
from netd.model.telemetry import CurrentDevice, CurrentInterface, Rates
from netd.store import telemetry, timeseries
from netd.store.database import Database
from tests.web.running import Api, new_token

CORE = {"hostname": "core1", "mgmt_address": "10.0.0.1", "vendor": "generic"}
KEPT = {"raw": 7, "optics": 90, "5m": 45, "1h": 400, "1d": 3650}


@pytest.fixture
async def ids(api: Api, database: Database) -> tuple[int, int]:
    """A device and an interface of it, measured once a minute for an hour."""
    device = (await api.post("/devices", CORE)).value["id"]
    now = datetime.now(UTC)
    async with database.acquire() as conn:
        interface = await conn.fetchval(
            "insert into interfaces (tenant_id, device_id, if_index, name, alias) values (1, $1, 7, 'eth0', 'uplink') returning id", device
        )
        for day in (now - timedelta(hours=1), now):
            await timeseries.ensure(conn, day.date())
        at = [now - timedelta(minutes=number) for number in range(60)]
        await telemetry.copy(conn, "interface_samples", [
            (1, device, interface, when, 60.0, 4_000_000, 8_000_000, 1.0, 2.0, 0.0, 0.5, 0.0, 0.0, True, 10_000_000) for when in at
        ])  # fmt: skip
        await telemetry.copy(conn, "device_samples", [(1, device, when, 100, 40.0, 25, 100, None, None, None) for when in at])
        await telemetry.copy(conn, "reach_samples", [(1, device, when, n >= 6, 2.0 if n >= 6 else None, 60.0) for n, when in enumerate(at)])
    return device, interface


def since(minutes: int) -> str:
    return urlencode({"since": (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()})


async def test_now(api: Api, ids: tuple[int, int], database: Database) -> None:
    """From memory where this node polls the device; counters as they were read, up to 2^64 - 1. Else from the store, which says so."""
    device, interface = ids
    path = f"/devices/{device}/telemetry"
    told = (await api.get(path, role="read_only")).value
    assert (told["source"], told["up"], told["system"]["cpu_percent"]) == ("store", False, 40.0)
    assert told["interfaces"][0]["rates"]["out_bps"] == 8_000_000 and told["interfaces"][0]["utilisation_percent"] == 80.0 and told["stale"] == []
    async with database.acquire() as conn:
        for table in ("reach", "device", "interface"):
            await conn.execute(f"update {table}_samples set at = at - interval '160 seconds'")
    assert (await api.get(path)).value["stale"] == ["reach", "system", "interfaces"], "the node that polled it is gone"
    sample = InterfaceSample(if_index=7, name="eth0", in_octets=2**64 - 1)
    one = CurrentInterface(id=interface, at=datetime.now(UTC), counters=sample, rates=Rates(seconds=60.0, in_bps=8), utilisation_percent=None)
    api.polling.devices[device] = CurrentDevice(device_id=device, up=True, interfaces=(one,), missed_slots=3)
    told = (await api.get(path)).value
    assert (told["source"], told["up"], told["missed_slots"], told["interfaces"][0]["counters"]["in_octets"]) == ("memory", True, 3, 2**64 - 1)
    assert (await api.get("/devices/999/telemetry")).status == 404


async def test_by_time(api: Api, ids: tuple[int, int]) -> None:
    device, interface = ids
    told = (await api.get(f"/interfaces/{interface}/series?metric=out_bps&{since(59)}&points=100")).value
    assert (told["source"], told["step_seconds"], told["columns"]) == ("samples", 60, ["at", "avg", "min", "max", "p95"])
    assert 58 <= len(told["points"]) <= 61 and told["points"][0][1:] == [8_000_000.0] * 4
    few = (await api.get(f"/devices/{device}/series?metric=memory_percent&{since(4)}&points=2")).value
    assert few["step_seconds"] == 300 and few["source"] == "5m" and few["points"] == []
    reach = (await api.get(f"/devices/{device}/series?metric=reach&{since(59)}&points=100")).value
    assert {point[1] for point in reach["points"]} == {0.0, 100.0}
    for query in ("metric=colour", "", "metric=in_bps&points=99999", f"metric=in_bps&since={'2026-11-26T00:00:00Z'}&until={'2026-11-25T00:00:00Z'}"):
        assert (await api.get(f"/interfaces/{interface}/series?{query}")).status == 422, query
    assert (await api.get("/interfaces/999/series?metric=in_bps")).status == 404


async def test_light_by_time(api: Api, ids: tuple[int, int], database: Database) -> None:
    device, _ = ids
    now = datetime.now(UTC)
    async with database.acquire() as conn:
        await timeseries.ensure(conn, (now - timedelta(days=2)).date())
        await telemetry.copy(conn, "optics_samples", [
            (1, device, "0/1", onu, now - timedelta(hours=hours), -20.0 - hours, None, None, None, None, None, None)
            for hours in range(4) for onu in ("3", None)
        ])  # fmt: skip
    told = (await api.get(f"/devices/{device}/optics-series?metric=rx_dbm&interface=0/1&onu=3&{since(400)}")).value
    assert told["columns"] == ["at", "avg", "min", "max"] and [point[1] for point in told["points"]] == [-23, -22, -21, -20]
    one = (await api.get(f"/devices/{device}/optics-series?metric=rx_dbm&interface=0/1&points=1")).value
    assert len(one["points"]) in (1, 2) and one["points"][0][2] >= -23
    assert (await api.get(f"/devices/{device}/optics-series?metric=tx_dbm&interface=0/1")).value["points"] == []
    assert (await api.get(f"/devices/{device}/optics-series?metric=rx_dbm")).status == 422


async def test_over_a_span(api: Api, ids: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    device, interface = ids
    told = (await api.get(f"/devices/{device}/availability?{since(59)}")).value
    assert told["failed"] == 6 and told["percent"] == round(100 * (told["looks"] - 6) / told["looks"], 4) and told["known_percent"] > 95
    used = (await api.get(f"/interfaces/{interface}/utilisation?{since(59)}")).value
    assert (used["in_bps_avg"], used["out_bps_p95"], used["p95_percent"], used["speed_bps"]) == (4_000_000, 8_000_000, 80.0, 10_000_000)
    top = (await api.get("/top-talkers?by=utilisation")).value["items"]
    assert [(each["interface"], each["alias"], each["device"], each["utilisation_percent"]) for each in top] == [("eth0", "uplink", "core1", 80.0)]
    assert (await api.get("/top-talkers?by=errors")).value["items"][0]["errors"] == 0.5
    monkeypatch.setattr(telemetry_domain, "SUMS_MOST", 10)  # of more samples the sums are taken, and there are none yet
    assert (await api.get(f"/top-talkers?{since(9)}")).value["items"] and (await api.get("/top-talkers")).value["items"] == []
    assert (await api.get("/top-talkers?limit=1000")).status == 422
    nothing = (await api.get(f"/devices/{device}/availability?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z")).value
    assert (nothing["percent"], nothing["looks"], nothing["known_percent"]) == (None, 0, 0.0)


@pytest.mark.parametrize(("hours", "points", "age_days", "expected"), [
    (1, 300, 0, ("samples", 60)), (24, 300, 0, ("5m", 300)), (24, 2000, 0, ("samples", 60)), (24 * 7, 300, 0, ("1h", 3600)),
    (24 * 365, 400, 0, ("1d", 86_400)), (1, 300, 20, ("5m", 300)), (1, 300, 100, ("1h", 3600)), (24, 300, 1000, ("1d", 86_400)),
])  # fmt: skip
def test_resolution(hours: int, points: int, age_days: int, expected: tuple[str, int]) -> None:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    until = now - timedelta(days=age_days)
    begin = until - timedelta(hours=hours)
    assert resolution(begin, until, now, points, KEPT) == expected
    assert timedelta(hours=hours).total_seconds() / expected[1] + 1 <= max(points, 25)


async def test_alarms_and_thresholds(api: Api, ids: tuple[int, int], database: Database) -> None:
    device, _ = ids
    new = {"name": "busy", "metric": "cpu_percent", "raise_level": 90, "clear_level": 80, "selector": {"hostnames": ["core1"]}}
    made = await api.post("/thresholds", new)
    assert (made.status, made.value["hold_seconds"], made.value["severity"]) == (201, 0, "warning")
    where = f"/thresholds/{made.value['id']}"
    for wrong in ({"clear_level": 95}, {"interfaces": "eth*"}, {"metric": "colour"}, {"raise_level": 10, "clear_level": 5, "above": False}):
        assert (await api.post("/thresholds", {**new, "name": "x", **wrong})).status == 422, wrong
    assert (await api.post("/thresholds", new)).status == 409 and (await api.patch(where, {"clear_level": 91})).status == 422
    assert (await api.patch(where, {"raise_level": 95, "clear_level": 85})).value["version"] == 2
    async with database.acquire() as conn:
        alarm = await conn.fetchval(
            "insert into alarms (tenant_id, device_id, threshold_id, name, severity, raised_at) values (1, $1, $2, 'busy', 'major', now()) returning id",
            device, made.value["id"],
        )  # fmt: skip
    listed = (await api.get("/alarms?state__in=raised,acknowledged&device=CORE1&severity=major")).value["items"]
    assert [(each["id"], each["device"], each["state"]) for each in listed] == [(alarm, "core1", "raised")]
    assert (await api.post(f"/alarms/{alarm}/acknowledge", {"note": "on it"}, role="read_only")).status == 403
    many = await api.post("/alarms/bulk", {"items": [{"do": "acknowledge", "id": each, "value": {"note": "seen"}} for each in (alarm, 999)]}, role="operator")
    assert [each["status"] for each in many.value["items"]] == [200, 404] and many.value["items"][0]["value"]["note"] == "seen"
    known = await api.post(f"/alarms/{alarm}/acknowledge", {"note": "on it"}, role="operator")
    assert (known.status, known.value["state"], known.value["note"]) == (200, "acknowledged", "on it")
    assert (await api.get("/alarms?state=raised")).value["items"] == [] and (await api.get(f"/alarms/{alarm}")).value == known.value
    assert (await api.delete(where)).status == 204
    left = (await api.get("/alarms")).value["items"]
    assert [(each["id"], each["name"], each["threshold_id"]) for each in left] == [(alarm, "busy", made.value["id"])]  # history outlives its threshold


async def test_prometheus_scrapes_devices(api: Api, ids: tuple[int, int], database: Database) -> None:
    """A device or a group at a time, with a token, and nobody else's; the text is what Prometheus' own parser reads."""
    device, interface = ids
    assert (await api.get("//metrics/devices", role=None)).status == 401
    billing = {"Authorization": f"Bearer {await new_token(database, 'billing')}"}
    for path in ("//metrics/devices", "//metrics/devices/targets"):
        assert (await api.get(path, role=None, headers=billing)).status == 403
    sample = InterfaceSample(if_index=7, name='eth"0"\\x', in_octets=2**64 - 1, oper_up=True)
    one = CurrentInterface(id=interface, at=datetime.now(UTC), counters=sample, rates=None, utilisation_percent=None)
    optics = OpticsSample(interface="0/1", onu="3", rx_dbm=-21.5)
    api.polling.devices[device] = CurrentDevice(
        device_id=device, up=True, rtt_ms=2.0, system=DeviceSample(cpu_percent=12.5), interfaces=(one,), optics=(optics,)
    )  # fmt: skip
    await api.post("/devices", {**CORE, "hostname": "edge1"})
    await api.post("/device-groups", {"name": "core", "selector": {"hostnames": ["core1"]}})
    found: dict[tuple[str, ...], float] = {}
    for path in ("?device=CORE1", "?group=core", ""):
        answer = await api.get(f"//metrics/devices{path}", role="read_only")
        assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {
            (sample.name, *sample.labels.values()): sample.value for family in text_string_to_metric_families(answer.raw.decode()) for sample in family.samples
        }  # fmt: skip
        assert found["netd_device_up", "core1"] == 1 and found["netd_device_cpu_percent", "core1"] == 12.5
        assert found["netd_interface_in_octets_total", "core1", 'eth"0"\\x'] == 2**64 - 1 and found["netd_optics_rx_dbm", "core1", "0/1", "3"] == -21.5
        assert (("netd_device_polled", "edge1") in found) == (path == "")
    assert found["netd_device_polled", "edge1"] == 0
    targets = (await api.get("//metrics/devices/targets?group=core", role="read_only")).value
    assert [each["labels"]["__param_device"] for each in targets] == ["core1"] and targets[0]["targets"] == [api.url.removeprefix("http://")]
    api.polling.scraped[device] = "netd2.example.net:8080"  # another node polls it
    targets = (await api.get("//metrics/devices/targets", role="read_only")).value
    assert {each["labels"]["instance"]: each["targets"] for each in targets} == {
        "core1": ["netd2.example.net:8080"], "edge1": [api.url.removeprefix("http://")],
    }  # fmt: skip
    assert (await api.get("//metrics/devices?colour=red")).status == 422 and (await api.get("//metrics/devices?group=none")).status == 404
    other = {"Authorization": f"Bearer {(await api.post('/tenants', {'name': 'other'})).value['token']}"}
    for path in ("//metrics/devices?device=core1", "//metrics/devices", "//metrics/devices/targets"):
        assert b"core1" not in (await api.get(path, role=None, headers=other)).raw
    async with database.acquire() as conn:
        await conn.execute(
            "insert into devices (tenant_id, hostname, mgmt_address, vendor) select 1, 'd' || n, '10.0.0.1', 'generic' from generate_series(1, 100) n"
        )
    assert (await api.get("//metrics/devices")).status == 422 and len((await api.get("//metrics/devices/targets")).value) == 102
