"""Reports of many devices over a month: how long, how much memory, and how long the loop was ever kept.

``python -m tests.bench.reports [--devices N] [--interfaces N] [--days N] [--only REPORT]``: on a private server of its own, filled with sums as
telemetry leaves them: 5,000 devices with 50 interfaces for 30 days are 43 million rows of reach and 7.5 million of traffic.
"""

import argparse
import asyncio
import tempfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import msgspec

from netd.config import PollConfig
from netd.domain import reports
from netd.domain.actor import system
from netd.domain.report_queries import Measured, ReportQuery
from netd.domain.telemetry import level_for
from netd.sheets.converter import Converter
from netd.store import timeseries
from netd.store.database import TENANT_ROLE, Connection, Database, connect
from netd.store.embedded import EmbeddedServer
from netd.store.migrate import migrate
from tests.bench.tables import SQL, measured

MEASURED = Measured(PollConfig().kept_days(), PollConfig().reach_seconds)
_DEVICES = """insert into devices (tenant_id, hostname, mgmt_address, vendor, observed)
    select 1, 'router' || n, '10.0.0.0'::inet + n, 'generic', '{"model": {"value": "M1", "source": "snmp", "at": "2026-01-01T00:00:00Z"}}'
    from generate_series(1, $1::int) n"""
_INTERFACES = """insert into interfaces (tenant_id, device_id, if_index, name, speed_bps)
    select 1, d.id, n, 'eth' || n, 1000000000 from devices d cross join generate_series(1, $1::int) n order by d.id, n"""
_REACH = """insert into reach_{level} (tenant_id, device_id, at, up, down, rtt_avg, rtt_max)
    select 1, d.id, t, 5, (hashint8(d.id * 7919 + extract(epoch from t)::bigint) % 1000 = 0)::int, 1, 2
    from generate_series($1::timestamptz, $2::timestamptz - $3::interval, $3::interval) t cross join devices d order by t, d.id"""
_TRAFFIC = """insert into interface_{level} (tenant_id, device_id, interface_id, at, seconds, speed_bps, in_bps_avg, in_bps_max, in_bps_p95, out_bps_avg,
        out_bps_max, out_bps_p95)
    select 1, i.device_id, i.id, t, extract(epoch from $3::interval), 1000000000, b, b * 3, b * 2, b / 2, b, b
    from generate_series($1::timestamptz, $2::timestamptz - $3::interval, $3::interval) t
    cross join (select id, device_id, abs(hashint8(id)) % 300000000 as b from interfaces) i order by t, i.id"""


async def fill(conn: Connection, devices: int, interfaces: int, days: int, today: datetime, only: str) -> None:
    """Devices, and sums of so many days before today: of traffic those that the report reads."""
    level = level_for(devices * interfaces, today - timedelta(days=days), today, today, MEASURED.kept_days)
    await conn.execute(_DEVICES, devices)
    await conn.execute(_INTERFACES, interfaces)
    for day in range(days + 1):
        await timeseries.ensure(conn, (today - timedelta(days=day)).date())
    for day in range(days, 0, -1):
        begin, end = today - timedelta(days=day), today - timedelta(days=day - 1)
        if only in ("", "availability"):
            await conn.execute(_REACH.format(level="5m"), begin, end, timedelta(seconds=timeseries.LEVELS["5m"]), timeout=3600)
        await conn.execute(_TRAFFIC.format(level=level), begin, end, timedelta(seconds=timeseries.LEVELS[level]), timeout=3600)
    await conn.execute("vacuum analyze")


async def run(folder: Path, devices: int, interfaces: int, days: int, only: str) -> None:
    """Everything, in order, on a server in ``folder``."""
    today = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    server = EmbeddedServer(folder)
    await server.start()
    try:
        conn = await connect(server.connect_kwargs())
        await migrate(conn, SQL)
        async with measured("filled", devices * interfaces):
            await fill(conn, devices, interfaces, days, today, only)
        await conn.close()
        db = await Database.open(server.connect_kwargs(), 3, role=TENANT_ROLE)
        period = {"first": str((today - timedelta(days=days)).date()), "last": str((today - timedelta(days=1)).date())}
        for report in [each for each in reports.REPORTS[2:] if only in ("", each.name)]:
            of_interfaces = report.name.startswith("interface")
            for form in ("csv", "xlsx") if of_interfaces else ("csv",):
                query = msgspec.convert({**(period if report.period else {}), "format": form}, report.query)
                async with measured(report.name, devices * interfaces if of_interfaces else devices):
                    octets = await made(db, report, query)
                print(f"             {octets >> 10} KiB of {form}")
        await db.close()
    finally:
        await server.stop()


async def made(db: Database, report: reports.Report, query: ReportQuery) -> int:
    """Make it; returns how many octets it has."""
    now = datetime.now(UTC)
    found = await reports.make(db, system(1), report, query, now, MEASURED)
    return sum([len(chunk) async for chunk in await found.file(Converter(), now)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--interfaces", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--only", default="", metavar="REPORT")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="netd-bench-") as name:
        Path(name).chmod(0o755)  # root's server runs as another user
        asyncio.run(run(Path(name), given.devices, given.interfaces, given.days, given.only))
