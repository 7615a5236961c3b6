"""Reading samples and their sums back: by time, over a span, and who has most."""

from datetime import datetime
from typing import Any, Final

from netd.store import rows
from netd.store.database import Connection

BITS: Final = ("in_bps", "out_bps")
SMALL: Final = ("in_pps", "out_pps", "in_errors", "out_errors", "in_discards", "out_discards")
GAUGES: Final = ("cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts")
OPTICS: Final = ("rx_dbm", "tx_dbm", "olt_rx_dbm", "temperature_celsius", "voltage_volts", "bias_milliamperes")
_ORIGIN: Final = "'2000-01-01 00:00+00'"


def _value(metric: str, raw: bool) -> tuple[str, str, str]:
    """Mean, least and greatest of a metric as SQL over a row."""
    if metric == "memory_percent" and raw:
        value = "100.0 * memory_used_octets / nullif(memory_total_octets, 0)"
        return value, value, value
    if raw:
        return metric, metric, metric
    return f"{metric}_avg", f"{metric}_avg" if metric in SMALL else f"{metric}_min", f"{metric}_max"


def _binned(table: str, subject: str, metric: str, weight: str) -> str:
    mean, low, high = _value(metric, table.endswith("_samples"))
    weighted = f"sum({mean} * {weight}) / nullif(sum({weight}) filter (where {mean} is not null), 0)"
    return f"""
        select date_bin(make_interval(secs => $5), at, {_ORIGIN}) as span, {weighted}::float8, min({low})::float8, max({high})::float8,
            percentile_cont(0.95) within group (order by {mean})
        from {table} where tenant_id = $1 and {subject} = $2 and at >= $3 and at < $4
        group by span having count({mean}) > 0 order by span
    """


async def device(
    conn: Connection, tenant_id: int, device_id: int, metric: str, source: str, since: datetime, until: datetime, step_seconds: int
) -> list[tuple[Any, ...]]:
    """(at, mean, least, greatest, 95th percentile) of a gauge of a device; ``source``: samples, 5m, 1h, 1d. ``metric`` is one of GAUGES."""
    if metric not in GAUGES:
        raise ValueError(metric)
    statement = _binned(f"device_{source}", "device_id", metric, "1" if source == "samples" else "samples")
    return [tuple(record) for record in await conn.fetch(statement, tenant_id, device_id, since, until, float(step_seconds))]


async def interface(
    conn: Connection, tenant_id: int, interface_id: int, metric: str, source: str, since: datetime, until: datetime, step_seconds: int
) -> list[tuple[Any, ...]]:
    """The same of a rate of an interface: one of BITS and SMALL."""
    if metric not in BITS + SMALL:
        raise ValueError(metric)
    statement = _binned(f"interface_{source}", "interface_id", metric, "seconds")
    return [tuple(record) for record in await conn.fetch(statement, tenant_id, interface_id, since, until, float(step_seconds))]


async def optics(
    conn: Connection, tenant_id: int, device_id: int, interface: str, onu: str | None, metric: str, since: datetime, until: datetime, step_seconds: int
) -> list[tuple[Any, ...]]:
    """(at, mean, least, greatest) of a transceiver, or with ``onu`` of an ONU; ``metric`` is one of OPTICS."""
    if metric not in OPTICS:
        raise ValueError(metric)
    records = await conn.fetch(
        f"""select date_bin(make_interval(secs => $7), at, {_ORIGIN}) as span, avg({metric})::float8, min({metric})::float8, max({metric})::float8
            from optics_samples where tenant_id = $1 and device_id = $2 and interface = $3 and onu is not distinct from $4 and at >= $5 and at < $6
            group by span having count({metric}) > 0 order by span""",
        tenant_id, device_id, rows.storable(interface), rows.storable(onu), since, until, float(step_seconds),
    )  # fmt: skip
    return [tuple(record) for record in records]


def _looks(source: str) -> tuple[str, str, str, str]:
    if source == "samples":
        return "count(*)", "count(*) filter (where not up)", "avg(rtt_ms)", "max(rtt_ms)"
    return "sum(up + down)", "sum(down)", "sum(rtt_avg * up) / nullif(sum(up) filter (where rtt_avg is not null), 0)", "max(rtt_max)"


async def reach(conn: Connection, tenant_id: int, device_id: int, source: str, since: datetime, until: datetime, step_seconds: int) -> list[tuple[Any, ...]]:
    """(at, percent of the looks in which it was there, looks, mean and greatest round trip in ms)."""
    looks, failed, mean, most = _looks(source)
    records = await conn.fetch(
        f"""select date_bin(make_interval(secs => $5), at, {_ORIGIN}) as span, (100 - 100.0 * {failed} / nullif({looks}, 0))::float8, ({looks})::bigint,
                ({mean})::float8, ({most})::float8
            from reach_{source} where tenant_id = $1 and device_id = $2 and at >= $3 and at < $4 group by span order by span""",
        tenant_id, device_id, since, until, float(step_seconds),
    )  # fmt: skip
    return [tuple(record) for record in records]


async def looks(conn: Connection, tenant_id: int, device_id: int, source: str, since: datetime, until: datetime) -> tuple[Any, ...]:
    """(looks, failed ones, mean and greatest round trip in ms) over a span."""
    record = await conn.fetchrow(
        f"""select coalesce({", ".join(_looks(source)[:1])}, 0)::bigint, coalesce({_looks(source)[1]}, 0)::bigint, ({_looks(source)[2]})::float8,
                ({_looks(source)[3]})::float8
            from reach_{source} where tenant_id = $1 and device_id = $2 and at >= $3 and at < $4""", tenant_id, device_id, since, until,
    )  # fmt: skip
    return tuple(record)


async def utilisation(conn: Connection, tenant_id: int, interface_id: int, source: str, since: datetime, until: datetime) -> dict[str, Any]:
    """Means, peaks and 95th percentiles of both directions, and the speed that was seen last."""
    raw = source == "samples"
    parts = []
    for name in BITS:
        mean, _, high = _value(name, raw)
        parts += [
            f"(sum({mean} * seconds) / nullif(sum(seconds) filter (where {mean} is not null), 0))::bigint as {name}_avg", f"max({high}) as {name}_max",
            f"(percentile_cont(0.95) within group (order by {mean}))::bigint as {name}_p95",
        ]  # fmt: skip
    record = await conn.fetchrow(
        f"""select {", ".join(parts)}, (array_agg(speed_bps order by at desc))[1] as speed_bps, coalesce(sum(seconds), 0)::float8 as seconds
            from interface_{source} where tenant_id = $1 and interface_id = $2 and at >= $3 and at < $4""", tenant_id, interface_id, since, until,
    )  # fmt: skip
    return dict(record)


_BY: Final = {
    "traffic": "greatest(in_bps, out_bps)", "in_bps": "in_bps", "out_bps": "out_bps",
    "utilisation": "100.0 * greatest(in_bps, out_bps) / nullif(t.speed_bps, 0)", "errors": "errors",
}  # fmt: skip


async def top(conn: Connection, tenant_id: int, by: str, source: str, since: datetime, until: datetime, limit: int) -> list[dict[str, Any]]:
    """The interfaces that have most of something over a span, the first has most."""
    raw = source == "samples"
    means = {name: _value(name, raw)[0] for name in (*BITS, "in_errors", "out_errors")}
    errors = f"coalesce({means['in_errors']}, 0) + coalesce({means['out_errors']}, 0)"
    records = await conn.fetch(
        f"""select t.*, d.hostname as device, i.name as interface, i.alias from (
                select interface_id, device_id, (sum({means["in_bps"]} * seconds) / nullif(sum(seconds), 0))::bigint as in_bps,
                    (sum({means["out_bps"]} * seconds) / nullif(sum(seconds), 0))::bigint as out_bps, max(speed_bps) as speed_bps,
                    (sum(({errors}) * seconds) / nullif(sum(seconds), 0))::float8 as errors
                from interface_{source} where tenant_id = $1 and at >= $2 and at < $3 group by interface_id, device_id
            ) t join interfaces i on i.id = t.interface_id join devices d on d.id = t.device_id
            where {_BY[by]} is not null order by {_BY[by]} desc, t.interface_id limit $4""", tenant_id, since, until, limit,
    )  # fmt: skip
    return [dict(record) for record in records]
