"""Writing and reading what devices were measured to do."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from netd.store.database import Connection

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "reach_samples": ("tenant_id", "device_id", "at", "up", "rtt_ms", "seconds"),
    "device_samples": (
        "tenant_id", "device_id", "at", "uptime_seconds", "cpu_percent", "memory_used_octets", "memory_total_octets", "temperature_celsius", "voltage_volts",
        "power_watts",
    ),
    "interface_samples": (
        "tenant_id", "device_id", "interface_id", "at", "seconds", "in_bps", "out_bps", "in_pps", "out_pps", "in_errors", "out_errors", "in_discards",
        "out_discards", "oper_up", "speed_bps",
    ),
    "optics_samples": (
        "tenant_id", "device_id", "interface", "onu", "at", "rx_dbm", "tx_dbm", "olt_rx_dbm", "temperature_celsius", "voltage_volts", "bias_milliamperes",
        "distance_metres",
    ),
}  # fmt: skip
"""What a row of each table of samples has, in order."""


async def copy(conn: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add samples, all or none, by binary COPY. Each carries its tenant."""
    await conn.copy_records_to_table(table, records=rows, columns=COLUMNS[table])


async def ports(conn: Connection, device_ids: Sequence[int]) -> list[tuple[int, str, int, bool]]:
    """(device, name, id, whether it is monitored) of the interfaces that devices show."""
    records = await conn.fetch(
        "select device_id, name, id, monitored from interfaces where device_id = any($1::bigint[]) and gone_at is null", list(device_ids)
    )
    return [tuple(record) for record in records]


async def silent(conn: Connection, device_ids: Collection[int], since: datetime) -> list[int]:
    """Those of the devices that did not answer when they were asked last, not before ``since``."""
    records = await conn.fetch(
        """select d.id from unnest($1::bigint[]) as d (id) cross join lateral (
               select up from reach_samples where device_id = d.id and at >= $2 order by at desc limit 1
           ) s where not s.up""", list(device_ids), since,
    )  # fmt: skip
    return [record["id"] for record in records]


async def last(conn: Connection, tenant_id: int, device_id: int, since: datetime) -> dict[str, Any]:
    """The newest samples of a device after ``since``, by table without its ending, each with the seconds since the one before (None: not known); what there
    is none of is not there."""
    found: dict[str, Any] = {}
    for table in ("reach", "device"):
        records = await conn.fetch(
            f"select * from {table}_samples where tenant_id = $1 and device_id = $2 and at >= $3 order by at desc limit 2", tenant_id, device_id, since
        )
        if records:
            between = (records[0]["at"] - records[1]["at"]).total_seconds() if len(records) == 2 else None
            found[table] = {**records[0], "seconds": records[0].get("seconds") or between}
    records = await conn.fetch(
        """select i.id, i.name, i.if_index, i.alias, i.type, i.mac, i.mtu, i.admin_up, s.*
           from interfaces i cross join lateral (
               select at, seconds, in_bps, out_bps, in_pps, out_pps, in_errors, out_errors, in_discards, out_discards, oper_up, speed_bps
               from interface_samples where interface_id = i.id and at >= $3 order by at desc limit 1
           ) s where i.tenant_id = $1 and i.device_id = $2 and i.gone_at is null order by i.if_index""", tenant_id, device_id, since,
    )  # fmt: skip
    found["interfaces"] = [dict(record) for record in records]
    return found
