"""What reports say of devices. Each statement is about some devices or interfaces only, by id as their rows lie in the tables of samples, so that it takes
a moment however many there are; figures of a span are taken from the sums of one level."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from netd.model.inventory import Selector
from netd.store import devices, rows, software
from netd.store.database import Connection
from netd.store.timeseries import LEVELS, RUNNING_SINCE, UPTIME_MOST_SECONDS

Rows = list[tuple[Any, ...]]

_SITE = "(select w.name from sites w where w.id = d.site_id)"
_MODEL = devices.now("model")
_HEAD = f"d.id, d.hostname, host(d.mgmt_address), {_SITE}, d.vendor, {_MODEL}"
_OF_IDS = "d.tenant_id = $1 and d.id = any($2::bigint[])"
FRESH: Final = timedelta(hours=2)
"""Looks older than this say nothing of now."""


class Selected(NamedTuple):
    """Which devices: those that all the selectors mean, in an organization or below it."""

    selectors: tuple[Selector, ...]
    organization: str | None = None

    def where(self, tenant_id: int) -> rows.Where:
        """The conditions, on devices ``d``."""
        where = devices.where_selected(tenant_id, *self.selectors)
        if self.organization is not None:
            found = "select netd_sites_of(o.id) from organizations o where o.tenant_id = $1 and lower(o.name) = lower({})"
            where.add(f"d.site_id = any(({found})::bigint[])", rows.storable(self.organization))
        return where


async def device_ids(conn: Connection, tenant_id: int, selected: Selected, after: int, limit: int) -> list[int]:
    """Devices behind ``after``, by id."""
    where = selected.where(tenant_id).add("d.id > {}", after)
    statement = f"select d.id from devices d where {where} order by d.id limit {where.place(limit)}"
    return [record["id"] for record in await conn.fetch(statement, *where.args)]


async def interface_ids(conn: Connection, tenant_id: int, selected: Selected, after: int, limit: int) -> list[int]:
    """Their interfaces behind ``after``, by id."""
    where = selected.where(tenant_id).add("i.id > {}", after)
    statement = (
        f"select i.id from interfaces i join devices d on d.id = i.device_id where i.tenant_id = $1 and {where} order by i.id limit {where.place(limit)}"
    )
    return [record["id"] for record in await conn.fetch(statement, *where.args)]


async def interface_count(conn: Connection, tenant_id: int, selected: Selected) -> int:
    """How many interfaces they have and had."""
    where = selected.where(tenant_id)
    return int(await conn.fetchval(f"select count(*) from interfaces i join devices d on d.id = i.device_id where i.tenant_id = $1 and {where}", *where.args))


async def uptime(conn: Connection, tenant_id: int, ids: Sequence[int], since: datetime, until: datetime, now: datetime) -> Rows:
    """(id, hostname, address, site, vendor, model; whether it is there now, None: nobody knows; since when it runs and for how many seconds by its last
    word, when that was; restarts from ``since`` until ``until``, when the last one was noticed). Restarts are None of devices that never said."""
    return _tuples(await conn.fetch(
        f"""select {_HEAD}, r.up, s.at - make_interval(secs => s.uptime_seconds), s.uptime_seconds, s.at,
                case when s.at is not null or f.last_at is not null then f.restarts end, f.last_at
            from devices d
            left join lateral (
                select up from reach_samples where device_id = d.id and at >= $5 and at <= $6 order by at desc limit 1
            ) r on true
            left join lateral (
                select at, uptime_seconds from device_samples
                where device_id = d.id and at <= $6 and uptime_seconds between 0 and {UPTIME_MOST_SECONDS} order by at desc limit 1
            ) s on true
            cross join lateral (
                select count(*) filter (where at >= $3 and at < $4) as restarts, max(at) as last_at from device_facts
                where device_id = d.id and subject = '' and fact = '{RUNNING_SINCE}'
            ) f where {_OF_IDS}""", tenant_id, list(ids), since, until, now - FRESH, now,
    ))  # fmt: skip


async def availability(conn: Connection, tenant_id: int, ids: Sequence[int], level: str, since: datetime, until: datetime, reach_seconds: float) -> Rows:
    """(id, hostname, address, site, vendor, model; looks, failed ones, seconds that looks stand for, those of failed ones; outages, seconds of the longest),
    by sums of a level. ``reach_seconds`` is what a look stands for where the sum does not say it.

    An outage is spans one behind the other with a failed look in each. Where there is no sum nobody looked: an outage ends there, for nobody knows.
    """
    step = float(LEVELS[level])
    return _tuples(await conn.fetch(
        f"""select {_HEAD}, coalesce(s.looks, 0)::bigint, coalesce(s.failed, 0)::bigint, coalesce(s.seconds, 0)::float8, coalesce(s.lost, 0)::float8,
                coalesce(o.outages, 0)::bigint, coalesce(o.longest, 0)::float8
            from devices d
            left join (
                select device_id, sum(up + down) as looks, sum(down) as failed, sum(coalesce(seconds, (up + down) * $6::float8)) as seconds,
                    sum(coalesce(down_seconds, down * $6::float8)) as lost, array_agg(at) filter (where down > 0) as ats,
                    array_agg(coalesce(down_seconds, down * $6::float8)) filter (where down > 0) as downs
                from reach_{level} where tenant_id = $1 and device_id = any($2::bigint[]) and at >= $3 and at < $4 group by device_id
            ) s on s.device_id = d.id
            left join lateral (
                select count(*) as outages, max(seconds) as longest from (
                    select sum(down) as seconds from (
                        select down, at - row_number() over (order by at) * make_interval(secs => $5) as outage from unnest(s.ats, s.downs) as u (at, down)
                    ) n group by outage
                ) e
            ) o on true where {_OF_IDS}""", tenant_id, list(ids), since, until, step, reach_seconds,
    ))  # fmt: skip


async def drift(conn: Connection, tenant_id: int, ids: Sequence[int]) -> Rows:
    """(id, hostname, address, site, vendor, model; what it differs from, since when, why nobody knows what is intended; number of the version that runs and
    of the one approved last, when that was; when it was read last, when that was tried last and why it failed)."""
    return _tuples(await conn.fetch(
        f"""select {_HEAD}, c.drift, c.drifted_at, c.intended, r.number, a.number, a.approved_at, c.backed_up_at, c.tried_at, c.error
            from devices d left join configuration_states c on c.tenant_id = d.tenant_id and c.device_id = d.id
            left join configurations r on r.tenant_id = d.tenant_id and r.id = c.running_id
            left join lateral (
                select number, approved_at from configurations where device_id = d.id and which = 'running' and approved_at is not null
                order by approved_at desc, id desc limit 1
            ) a on true where {_OF_IDS}""", tenant_id, list(ids),
    ))  # fmt: skip


async def inventory(conn: Connection, tenant_id: int, ids: Sequence[int], now: datetime) -> Rows:
    """(id, hostname, address, site, vendor, model; platform, kind, serial, version, organization, role, tags, state, when it was last there, interfaces)."""
    return _tuples(await conn.fetch(
        f"""select {_HEAD}, {devices.PLATFORM}, d.kind, {devices.now("serial")}, {devices.now("software_version")},
                (select o.name from sites w join organizations o on o.tenant_id = w.tenant_id and o.id = w.organization_id where w.id = d.site_id),
                d.role, d.tags, d.state, greatest(d.facts_at, d.interfaces_at, d.neighbours_at, coalesce(
                    (select at from reach_samples where device_id = d.id and up and at <= $3 order by at desc limit 1),
                    (select at from reach_1h where device_id = d.id and up > 0 and at <= $3 order by at desc limit 1)
                )), (select count(*) from interfaces i where i.device_id = d.id and i.gone_at is null)
            from devices d where {_OF_IDS}""", tenant_id, list(ids), now,
    ))  # fmt: skip


async def software_versions(conn: Connection, tenant_id: int, selected: Selected) -> Rows:
    """(platform, model, version, devices, the version that they should run, whether they do, why they should), of all of them."""
    where = selected.where(tenant_id)
    parts = (software.PLATFORM, software.MODEL, software.RUNS)
    target = (software.WANTED, f"case when {software.WANTED} is not null then {software.COMPLIANT} end", software.REASON)
    groups = ", ".join(f"({each})" for each in (*parts, *target))
    return _tuples(await conn.fetch(
        f"""select {", ".join(parts)}, count(*), {", ".join(target)} from {software.FROM} where {where}
            group by {groups} order by 1 nulls last, 2 nulls last, 3 nulls last, 5 nulls last, 7""", *where.args,
    ))  # fmt: skip


async def utilisation(conn: Connection, tenant_id: int, ids: Sequence[int], level: str, since: datetime, until: datetime) -> Rows:
    """(id, hostname, interface, alias, site, bit/s that it can do; of each direction bit/s on average, at most, 95th percentile; seconds that were measured)
    of those of the interfaces that were measured, by sums of a level.

    Of five minutes the 95th percentile is that of the averages; of hours and days it is that of their own 95th percentiles.
    """
    parts = []
    for name in ("in_bps", "out_bps"):
        of = f"{name}_avg" if level == "5m" else f"{name}_p95"
        parts += [
            f"(sum({name}_avg * seconds) / nullif(sum(seconds) filter (where {name}_avg is not null), 0))::bigint", f"max({name}_max)",
            f"(percentile_cont(0.95) within group (order by {of}))::bigint",
        ]  # fmt: skip
    figures = ", ".join(f"{sql} as f{number}" for number, sql in enumerate(parts))
    return _tuples(await conn.fetch(
        f"""select i.id, d.hostname, i.name, i.alias, {_SITE}, coalesce(u.speed_bps, i.speed_bps), f0, f1, f2, f3, f4, f5, u.seconds
            from (
                select interface_id, {figures}, (array_agg(speed_bps order by at desc) filter (where speed_bps > 0))[1] as speed_bps,
                    sum(seconds)::float8 as seconds
                from interface_{level} where tenant_id = $1 and interface_id = any($2::bigint[]) and at >= $3 and at < $4 group by interface_id
            ) u join interfaces i on i.id = u.interface_id join devices d on d.id = i.device_id where i.tenant_id = $1""",
        tenant_id, list(ids), since, until,
    ))  # fmt: skip


def _tuples(records: Sequence[Any]) -> Rows:
    return [tuple(record) for record in records]
