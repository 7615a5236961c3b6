import argparse
from datetime import UTC, datetime, timedelta

import pytest

from netd.cli.telemetry import _rate, moment
from netd.store import telemetry, timeseries
from netd.store.database import Database


async def test_what_devices_do(netd, database: Database):
    made = await netd("device", "add", "core1", "--address", "10.0.0.1", "--vendor", "generic", "--json")
    device, now = made.value["id"], datetime.now(UTC)
    async with database.acquire() as conn:
        for day in (now - timedelta(minutes=5), now):
            await timeseries.ensure(conn, day.date())
        interface = await conn.fetchval("insert into interfaces (tenant_id, device_id, if_index, name) values (1, $1, 7, 'eth0') returning id", device)
        row = (60.0, 4_000_000, 8_000_000, 1.0, 2.0, 0.0, 0.5, 0.0, 0.0, True, 10_000_000)
        await telemetry.copy(conn, "interface_samples", [(1, device, interface, now - timedelta(minutes=number), *row) for number in range(5)])
        await telemetry.copy(conn, "reach_samples", [(1, device, now - timedelta(minutes=number), True, 2.0) for number in range(5)])
        await telemetry.copy(conn, "device_samples", [(1, device, now, 100, 40.0, 25, 100, None, None, None)])
    told = (await netd("device", "now", "core1")).out
    assert ["up", "yes"] in [line.split() for line in told.splitlines()] and ["cpu_percent", "40.0"] in [line.split() for line in told.splitlines()], told
    assert told.splitlines()[-1].split() == ["eth0", "-", "up", "10M", "4M", "8M", "80.0", "0.5"]
    series = await netd("device", "series", "core1", "out_bps", "--interface", "eth0", "--since", "30m", "--points", "100")
    assert series.out.splitlines()[0].split() == ["AT", "AVG", "MIN", "MAX", "P95"] and series.out.splitlines()[1].split()[-1] == "8000000.0"
    assert (await netd("device", "series", "core1", "out_bps")).code == 2
    assert "nothing of it was measured" in (await netd("device", "series", "core1", "reach", "--until", "2020-01-01")).err
    assert "nobody looked at it" in (await netd("device", "availability", "core1", "--until", "2020-01-01")).err
    assert (await netd("device", "series", "core1", "cpu_percent", "--interface", "eth0")).code == 2
    assert (await netd("device", "series", "core1", "rx_dbm")).code == (await netd("device", "series", "core1", "reach", "--onu", "7")).code == 2
    light = await netd("device", "series", "core1", "rx_dbm", "--interface", "0/1/0", "--onu", "7", "--json")
    assert (light.code, light.value["points"]) == (0, [])
    assert len((await netd("device", "series", "core1", "reach", "--since", "30m", "--points", "100", "--json")).value["points"]) >= 5
    assert (await netd("device", "availability", "core1", "--since", "30m", "--json")).value["percent"] == 100
    assert (await netd("device", "utilisation", "core1", "eth0", "--since", "30m", "--json")).value["out_bps_p95"] == 8_000_000
    assert (await netd("device", "top", "--by", "utilisation")).out.splitlines()[1].split() == ["core1", "eth0", "-", "4M", "8M", "10M", "80.0", "0.5"]
    assert (await netd("device", "utilisation", "core1", "eth9")).err == "netd: interface eth9 does not exist\n"


def test_moments():
    before = datetime.now(UTC)
    assert before <= datetime.fromisoformat(moment("2h")) + timedelta(hours=2) <= datetime.now(UTC)
    assert moment("2026-11-26T12:00:00") == moment("2026-11-26T12:00:00Z") == "2026-11-26T12:00:00+00:00"
    with pytest.raises(argparse.ArgumentTypeError):
        moment("yesterday")


async def test_alarms(netd, database: Database):
    device = (await netd("device", "add", "core1", "--address", "10.0.0.1", "--vendor", "generic", "--json")).value["id"]
    made = await netd("threshold", "add", "busy", "--metric", "cpu_percent", "--raise-level", "90", "--clear-level", "80", "--hostnames", "core1", "--json")
    assert (made.code, made.value["selector"]) == (0, {"hostnames": ["core1"]})
    assert (await netd("threshold", "update", "busy", "--severity", "major", "--json")).value["severity"] == "major"
    loud = ("--metric", "in_bps", "--raise-level", "800M", "--clear-level", "0.7G", "--hold", "10m")
    assert (await netd("threshold", "add", "loud", *loud, "--json")).value["hold_seconds"] == 600
    assert "in_bps > 800M (over at 700M) 10m" in " ".join((await netd("threshold", "list")).out.split())
    assert "cpu_percent > 90 (over at 80)" in (await netd("threshold", "list")).out and (await netd("threshold", "show", "busy")).code == 0
    async with database.acquire() as conn:
        alarm = await conn.fetchval(
            """insert into alarms (tenant_id, device_id, threshold_id, name, severity, value, raised_at)
               values (1, $1, $2, 'busy', 'major', 95, now()) returning id""",
            device, made.value["id"],
        )  # fmt: skip
    listed = (await netd("alarm", "list", "--device", "core1")).out.splitlines()
    assert listed[1].split()[1:7] == ["major", "raised", "core1", "-", "busy", "95.0"]
    assert (await netd("alarm", "acknowledge", str(alarm), "--note", "on it", "--json")).value["state"] == "acknowledged"
    assert (await netd("alarm", "list", "--state", "raised")).err == "netd: nothing fits what was asked for\n" and (
        await netd("alarm", "show", str(alarm))
    ).code == 0
    assert (await netd("threshold", "remove", "busy")).out == "threshold busy is removed\n"


def test_rates_are_rounded():
    assert [_rate(each) for each in (None, 0, 999, 12_208_333, 999_999, 2.5e9, 4e12)] == ["-", "0", "999", "12.2M", "1000k", "2.5G", "4000G"]
