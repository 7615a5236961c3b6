"""Quota usage as the engine reads and writes it: of every tenant, many rows at a time. The API reads through ``store.quotas``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from netd.model.quota import Credit, FreeWindow, Quota, QuotaUsage, Stage
from netd.store.database import Connection

_USAGE_MEMBERS = (
    "tenant_id, subscriber_id, quota_id, extract(epoch from starts_at)::float8 as starts_at, extract(epoch from ends_at)::float8 as ends_at, "
    "amount, carried, used, used_rest, forgiven, covered, held_percent, version"
)
_CREDIT_MEMBERS = (
    "id, tenant_id, subscriber_id, quota_id, amount, used, case when isfinite(expires_at) then extract(epoch from expires_at)::float8 end as expires_at"
)
_QUOTAS = """
    select q.id, q.tenant_id, q.plan_id, q.name, q.unit, q.period, q.direction, q.amount, q.timezone, q.free_windows, q.rollover_amount,
           q.hysteresis_percent, q.version, q.created_at, q.updated_at,
           coalesce((select jsonb_agg(jsonb_build_object('percent', s.percent, 'action', s.action, 'down_bps', s.down_bps, 'up_bps', s.up_bps,
                                                         'profile', s.profile) order by s.percent, s.action)
                     from quota_stages s where s.quota_id = q.id), '[]'::jsonb) as stages
    from plan_quotas q"""

Key = tuple[int, int, float]
"""Subscriber, quota, begin of the period (Unix time): in this order rows are locked, so that two writers cannot deadlock."""


def quota(record: Mapping[str, Any]) -> Quota:
    """A quota from a row of ``quotas``'s statement."""
    return Quota(**{
        **record, "free_windows": msgspec.convert(record["free_windows"], tuple[FreeWindow, ...]),
        "stages": msgspec.convert(record["stages"], tuple[Stage, ...]),
    })  # fmt: skip


SELECT_QUOTAS = _QUOTAS


async def quotas(conn: Connection, plan_ids: Sequence[int] | None = None) -> list[Quota]:
    """The quotas of all plans, or of those among ``plan_ids``."""
    if plan_ids is None:
        return [quota(record) for record in await conn.fetch(f"{_QUOTAS} order by q.id")]
    return [quota(record) for record in await conn.fetch(f"{_QUOTAS} where q.plan_id = any($1::bigint[]) order by q.id", plan_ids)]


async def usage(conn: Connection, subscriber_ids: Sequence[int] | None = None) -> list[QuotaUsage]:
    """The last two periods with usage of each subscriber and quota, of all subscribers or of some; oldest first."""
    where = "" if subscriber_ids is None else "where subscriber_id = any($1::bigint[])"
    arguments = [] if subscriber_ids is None else [subscriber_ids]
    records = await conn.fetch(
        f"""select {_USAGE_MEMBERS} from (
                select *, row_number() over (partition by subscriber_id, quota_id order by starts_at desc) as place from quota_usage {where}
            ) as u where place <= 2 order by u.starts_at""",
        *arguments,
    )
    return [QuotaUsage(**record) for record in records]


async def changed_usage(conn: Connection, within_seconds: float) -> list[QuotaUsage]:
    """Rows that any node wrote lately, oldest period first."""
    records = await conn.fetch(f"select {_USAGE_MEMBERS} from quota_usage where updated_at > now() - make_interval(secs => $1) order by 4", within_seconds)
    return [QuotaUsage(**record) for record in records]


async def credits(conn: Connection, subscriber_ids: Sequence[int] | None = None, *, lock: bool = False) -> list[Credit]:
    """Top-ups with something left that are not expired, of all subscribers or of some; with ``lock`` nobody else draws on them meanwhile."""
    some = "" if subscriber_ids is None else "and subscriber_id = any($1::bigint[])"
    arguments = [] if subscriber_ids is None else [subscriber_ids]
    records = await conn.fetch(
        f"""select {_CREDIT_MEMBERS} from top_ups where used < amount and (expires_at is null or expires_at > now()) {some}
            order by subscriber_id, id {"for update" if lock else ""}""",
        *arguments,
    )
    return [Credit(**record) for record in records]


def _columns(rows: Sequence[QuotaUsage], *names: str) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in names]


async def hold(conn: Connection, subscriber_ids: Iterable[int], quota_ids: Iterable[int]) -> None:
    """Keep these subscribers and quotas from being deleted meanwhile. Done first, as operators' changes lock a subscriber before its usage."""
    await conn.execute(
        """with s as materialized (select id from subscribers where id = any($1::bigint[]) order by id for key share),
                q as materialized (select id from plan_quotas where id = any($2::bigint[]) order by id for key share)
           select (select count(*) from s), (select count(*) from q)""",
        list(subscriber_ids),
        list(quota_ids),
    )


async def ensure(conn: Connection, rows: Sequence[QuotaUsage]) -> None:
    """Make the rows that are not there yet, in order; those of subscribers and quotas that were deleted are left out."""
    await conn.execute(
        """insert into quota_usage (tenant_id, subscriber_id, quota_id, starts_at, ends_at, amount, carried)
           select u.t, u.s, u.q, to_timestamp(u.b), to_timestamp(u.e), u.a, u.c
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::float8[], $5::float8[], $6::bigint[], $7::bigint[]) as u (t, s, q, b, e, a, c)
           join subscribers on subscribers.id = u.s and subscribers.tenant_id = u.t join plan_quotas on plan_quotas.id = u.q
           order by u.s, u.q, u.b on conflict do nothing""",
        *_columns(rows, "tenant_id", "subscriber_id", "quota_id", "starts_at", "ends_at", "amount", "carried"),
    )


async def locked(conn: Connection, keys: Iterable[Key]) -> list[QuotaUsage]:
    """The rows of these keys, as they are now, locked until the transaction ends."""
    wanted = sorted(keys)
    records = await conn.fetch(
        f"""select {_USAGE_MEMBERS} from quota_usage
            where (subscriber_id, quota_id, starts_at) in
                (select s, q, to_timestamp(b) from unnest($1::bigint[], $2::bigint[], $3::float8[]) as u (s, q, b))
            order by quota_usage.subscriber_id, quota_usage.quota_id, quota_usage.starts_at for update""",
        *[list(column) for column in zip(*wanted, strict=True)],
    )
    return [QuotaUsage(**record) for record in records]


async def write(conn: Connection, rows: Sequence[QuotaUsage]) -> None:
    """Write rows that ``locked`` gave out, and count their version up, here as there."""
    for row in rows:
        row.version += 1
    await conn.execute(
        """update quota_usage t set amount = u.a, carried = u.c, used = u.u, used_rest = u.r, forgiven = u.f, covered = u.d, held_percent = u.h,
               version = u.v, updated_at = now()
           from unnest($1::bigint[], $2::bigint[], $3::float8[], $4::bigint[], $5::bigint[], $6::bigint[], $7::smallint[], $8::bigint[], $9::bigint[],
                       $10::integer[], $11::bigint[]) as u (s, q, b, a, c, u, r, f, d, h, v)
           where t.subscriber_id = u.s and t.quota_id = u.q and t.starts_at = to_timestamp(u.b)""",
        *_columns(
            rows, "subscriber_id", "quota_id", "starts_at", "amount", "carried", "used", "used_rest", "forgiven", "covered", "held_percent", "version"
        ),
    )  # fmt: skip


async def draw(conn: Connection, drawn: Sequence[Credit]) -> None:
    """Keep how much of top-ups is used."""
    await conn.execute(
        "update top_ups t set used = u.n from unnest($1::bigint[], $2::bigint[]) as u (id, n) where t.id = u.id",
        [each.id for each in drawn],
        [each.used for each in drawn],
    )


async def add_events(conn: Connection, reached: Sequence[tuple[QuotaUsage, Stage, int]]) -> list[tuple[int, str]]:
    """Keep stages that were reached, (usage, stage, allowance), each once in its period; returns (tenant id, action) of those that are new."""
    records = await conn.fetch(
        """insert into quota_events (tenant_id, subscriber_id, quota_id, starts_at, percent, action, used, allowance)
           select t, s, q, to_timestamp(b), p, x, n, w
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::float8[], $5::integer[], $6::text[], $7::bigint[], $8::bigint[])
               as u (t, s, q, b, p, x, n, w)
           on conflict do nothing returning tenant_id, subscriber_id, quota_id, percent, action, used, allowance""",
        [usage.tenant_id for usage, _, _ in reached], [usage.subscriber_id for usage, _, _ in reached], [usage.quota_id for usage, _, _ in reached],
        [usage.starts_at for usage, _, _ in reached], [stage.percent for _, stage, _ in reached], [stage.action for _, stage, _ in reached],
        [usage.used - usage.forgiven for usage, _, _ in reached], [whole for _, _, whole in reached],
    )  # fmt: skip
    if records:
        await conn.execute(_TELL, [msgspec.json.encode(dict(record)).decode() for record in records])
    return [(record["tenant_id"], record["action"]) for record in records]


_TELL = """
    insert into events (tenant_id, type, object_type, object_id, subscriber_id, site_id, data)
    select s.tenant_id, 'quota.reached', 'subscriber', s.id::text, s.id, s.site_id, jsonb_build_object('username', s.username, 'quota', q.name) || r.told
    from (select t::jsonb - 'tenant_id' - 'subscriber_id' as told, (t::jsonb ->> 'subscriber_id')::bigint as id from unnest($1::text[]) as t) r
    join subscribers s on s.id = r.id join plan_quotas q on q.id = (r.told ->> 'quota_id')::bigint
"""


async def touch(conn: Connection, subscriber_id: int) -> None:
    """Have the engine read a subscriber's usage and top-ups again."""
    await conn.execute("select netd_usage_changed($1)", subscriber_id)
