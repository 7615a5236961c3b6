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


def _weighted(mean: str, weight: str = "seconds") -> str:
    """The mean over the time that is known."""
    return f"sum({mean} * {weight}) / nullif(sum({weight}) filter (where {mean} is not null), 0)"


def _ranked(metric: str, source: str, step_seconds: int | None) -> str:
    """What a 95th percentile is that of: averages over five minutes. Hours and days have it of theirs; over several of those it is that of their own, and
    within five minutes that of the samples. Packets and errors only have averages."""
    of_own = source in ("1h", "1d") or (source == "5m" and step_seconds == 300)
    return f"{metric}_p95" if of_own and metric not in SMALL else _value(metric, source == "samples")[0]


def _binned(subject: str, source: str, metric: str, weight: str, step_seconds: int) -> str:
    table = f"{subject}_{source}"
    mean, low, high = _value(metric, source == "samples")
    return f"""
        select date_bin(make_interval(secs => $5), at, {_ORIGIN}) as span, ({_weighted(mean, weight)})::float8, min({low})::float8, max({high})::float8,
            percentile_cont(0.95) within group (order by {_ranked(metric, source, step_seconds)})
        from {table} where tenant_id = $1 and {subject}_id = $2 and at >= $3 and at < $4
        group by span having count({mean}) > 0 order by span
    """


async def device(
    conn: Connection, tenant_id: int, device_id: int, metric: str, source: str, since: datetime, until: datetime, step_seconds: int
) -> list[tuple[Any, ...]]:
    """(at, mean, least, greatest, 95th percentile) of a gauge of a device; ``source``: samples, 5m, 1h, 1d. ``metric`` is one of GAUGES."""
    if metric not in GAUGES:
        raise ValueError(metric)
    statement = _binned("device", source, metric, "1" if source == "samples" else "samples", step_seconds)
    return [tuple(record) for record in await conn.fetch(statement, tenant_id, device_id, since, until, float(step_seconds))]


async def interface(
    conn: Connection, tenant_id: int, interface_id: int, metric: str, source: str, since: datetime, until: datetime, step_seconds: int
) -> list[tuple[Any, ...]]:
    """The same of a rate of an interface: one of BITS and SMALL."""
    if metric not in BITS + SMALL:
        raise ValueError(metric)
    statement = _binned("interface", source, metric, "seconds", step_seconds)
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


async def looks(
    conn: Connection, tenant_id: int, device_id: int, source: str, since: datetime, until: datetime, reach_seconds: float
) -> tuple[int, int, float | None, float | None, float, float]:
    """(looks, failed ones, mean and greatest round trip in ms, seconds that looks stand for, those of failed ones) over a span. ``reach_seconds`` is what a
    look stands for that does not say it."""
    known, failed, mean, most = _looks(source)
    if source == "samples":
        seconds = "coalesce(seconds, $5::float8)"
        lost = f"{seconds}) filter (where not up"
    else:
        seconds, lost = "coalesce(seconds, (up + down) * $5::float8)", "coalesce(down_seconds, down * $5::float8)"
    record = await conn.fetchrow(
        f"""select coalesce({known}, 0)::bigint, coalesce({failed}, 0)::bigint, ({mean})::float8, ({most})::float8,
                coalesce(sum({seconds}), 0)::float8, coalesce(sum({lost}), 0)::float8
            from reach_{source} where tenant_id = $1 and device_id = $2 and at >= $3 and at < $4""",
        tenant_id, device_id, since, until, reach_seconds,
    )  # fmt: skip
    found: tuple[int, int, float | None, float | None, float, float] = tuple(record)
    return found


async def utilisation(conn: Connection, tenant_id: int, interface_id: int, source: str, since: datetime, until: datetime) -> dict[str, Any]:
    """Means, peaks and 95th percentiles of both directions, and the speed that was seen last."""
    raw = source == "samples"
    parts = []
    for name in BITS:
        mean, _, high = _value(name, raw)
        parts += [
            f"({_weighted(mean)})::bigint as {name}_avg", f"max({high}) as {name}_max",
            f"(percentile_cont(0.95) within group (order by {_ranked(name, source, None)}))::bigint as {name}_p95",
        ]  # fmt: skip
    record = await conn.fetchrow(
        f"""select {", ".join(parts)}, (array_agg(speed_bps order by at desc) filter (where speed_bps > 0))[1] as speed_bps,
                coalesce(sum(seconds), 0)::float8 as seconds
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
    in_bps, out_bps, in_errors, out_errors = (_value(name, raw)[0] for name in (*BITS, "in_errors", "out_errors"))
    errors = f"case when coalesce({in_errors}, {out_errors}) is not null then coalesce({in_errors}, 0) + coalesce({out_errors}, 0) end"
    records = await conn.fetch(
        f"""select t.*, d.hostname as device, i.name as interface, i.alias from (
                select interface_id, device_id, ({_weighted(in_bps)})::bigint as in_bps, ({_weighted(out_bps)})::bigint as out_bps,
                    max(speed_bps) as speed_bps, ({_weighted(errors)})::float8 as errors
                from interface_{source} where tenant_id = $1 and at >= $2 and at < $3 group by interface_id, device_id
            ) t join interfaces i on i.id = t.interface_id join devices d on d.id = t.device_id
            where {_BY[by]} is not null order by {_BY[by]} desc, t.interface_id limit $4""", tenant_id, since, until, limit,
    )  # fmt: skip
    return [dict(record) for record in records]
