"""Pools and leases as the engine reads and writes them: every tenant's, in batches. Prefixes go in and out as text.

Who leases holds the rows of the tenant's pools (``lock``), so that of two nodes one sees what the other did; the exclusion constraint on
leases stands behind it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from netd.model.ranges import Span
from netd.store.database import Connection

CHUNK = 2_000
SPANS_READ = 200
"""Spans looked at in one transaction."""


class PoolRow(NamedTuple):
    """A pool as the engine needs it; a gateway is among the exclusions."""

    id: int
    tenant_id: int
    name: str
    kind: str
    prefix_length: int
    grace_seconds: int
    scope: int
    ranges: list[Span]
    exclusions: list[Span]


class RuleRow(NamedTuple):
    """A rule as the engine needs it."""

    tenant_id: int
    pool_id: int
    kind: str
    plan_id: int | None
    nas_id: int | None
    site_id: int | None
    vrf: str | None


class LeaseRow(NamedTuple):
    """A lease of a subscriber. ``unit`` is its first address; ``until`` Unix time by the database's clock, infinity while a session has it."""

    id: int
    subscriber_id: int
    slot: int
    kind: str
    pool_id: int
    unit: int
    client_id: str
    token: str
    ended: bool
    until: float


class Claim(NamedTuple):
    """What a node knows and others must: the subscriber's grant ``token`` has the lease. ``begun``: its session is open."""

    id: int
    subscriber_id: int
    client_id: str
    token: str
    begun: bool


class End(NamedTuple):
    """The session of grant ``token`` ended."""

    id: int
    subscriber_id: int
    token: str


_SPANS = "(select array_agg(host(first_address) || ' ' || host(last_address) order by first_address) from {table} r where r.pool_id = p.id)"
_POOLS = f"""
    select p.id, p.tenant_id, p.name, p.kind, p.prefix_length, p.grace_seconds, p.scope, host(p.gateway) as gateway,
           {_SPANS.format(table="pool_ranges")} as ranges, {_SPANS.format(table="pool_exclusions")} as exclusions
    from pools p"""
_LEASES = """
    select id, subscriber_id, slot, kind, pool_id, host(prefix), client_id, token, ended_at is not null, extract(epoch from until_at)::float8
    from leases where subscriber_id is not null"""
# A session speaks for a lease by the address that its NAS told; one that told none speaks for what did not end.
_IN_USE = """
    exists (select 1 from sessions s where s.subscriber_id = l.subscriber_id and case l.kind
        when 'ipv4' then coalesce(s.framedipaddress = l.prefix, l.ended_at is null)
        when 'ipv6' then coalesce(s.framedipv6prefix = l.prefix, l.ended_at is null)
        else coalesce(s.delegatedipv6prefix = l.prefix, l.ended_at is null) end)"""

# "Below infinity" is what the partial index leases_reuse says: PostgreSQL does not infer it from "below now()", and would sort all that ever ended.
REUSABLE: Final = f"""
    select l.id, host(l.prefix) from leases l
    where l.pool_id = $1 and l.until_at < now() and l.until_at < 'infinity' and l.id <> all($3::bigint[]) and not {_IN_USE}
      and not exists (select 1 from dhcp_reservations r where r.tenant_id = l.tenant_id and r.address = l.prefix)
      and l.prefix not in (select address from ztp_devices where address is not null and tenant_id = (select tenant_id from pools where id = $1))
    order by l.until_at limit $2 for update of l skip locked"""


def _span(text: str) -> Span:
    first, last = text.split()
    return Span(int(ip_address(first)), int(ip_address(last)))


async def pools(conn: Connection) -> list[PoolRow]:
    """Every pool; there are few."""
    found = []
    for record in await conn.fetch(_POOLS):
        excluded = [_span(text) for text in record["exclusions"] or ()]
        if record["gateway"] is not None:
            excluded.append(_span(f"{record['gateway']} {record['gateway']}"))
        found.append(PoolRow(
            record["id"], record["tenant_id"], record["name"], record["kind"], record["prefix_length"], record["grace_seconds"], record["scope"],
            [_span(text) for text in record["ranges"] or ()], excluded,
        ))  # fmt: skip
    return found


async def rules(conn: Connection) -> list[RuleRow]:
    """Every rule."""
    return [RuleRow(*record) for record in await conn.fetch("select tenant_id, pool_id, kind, plan_id, nas_id, site_id, vrf from pool_rules order by id")]


def _lease(record: Sequence[Any]) -> LeaseRow:
    number, subscriber, slot, kind, pool, prefix, *more = record
    return LeaseRow(number, subscriber, slot, kind, pool, int(ip_address(prefix)), *more)


async def all_leases(conn: Connection) -> AsyncIterator[list[LeaseRow]]:
    """Every lease that a subscriber has or had last, in chunks; must run inside a transaction."""
    cursor = await conn.cursor(_LEASES)
    while records := await cursor.fetch(CHUNK):
        yield [_lease(tuple(record)) for record in records]


async def of_subscribers(conn: Connection, ids: Sequence[int]) -> list[LeaseRow]:
    """The leases that these subscribers have or had last."""
    return [_lease(tuple(record)) for record in await conn.fetch(f"{_LEASES} and subscriber_id = any($1::bigint[])", ids)]


async def by_index(conn: Connection) -> None:
    """Let the transaction's statements go by indexes. The table may have been empty when PostgreSQL last counted it, and a plan made for that is kept."""
    await conn.execute("set local enable_seqscan = off")


async def lock(conn: Connection, tenants: Sequence[int]) -> None:
    """Keep whoever else leases, or fixes addresses, away from these tenants' pools until the transaction ends."""
    await by_index(conn)
    await conn.execute("select 1 from pools where tenant_id = any($1::bigint[]) order by id for no key update", tenants)


async def spans(conn: Connection, pool_id: int) -> list[tuple[int, Span]]:
    """Where to look for addresses never leased, with the rows' ids, in order."""
    records = await conn.fetch(
        "select id, host(first_address) || ' ' || host(last_address) from pool_spans where pool_id = $1 order by id limit $2", pool_id, SPANS_READ
    )
    return [(record[0], _span(record[1])) for record in records]


async def replace_spans(conn: Connection, tenant_id: int, pool_id: int, gone: Sequence[int], left: Sequence[tuple[str, str]]) -> None:
    """Put spans, as (first, last), in the place of others (ids)."""
    await conn.execute("delete from pool_spans where id = any($1::bigint[])", gone)
    if left:
        await conn.execute(
            """insert into pool_spans (tenant_id, pool_id, first_address, last_address)
               select $1, $2, u.a::inet, u.b::inet from unnest($3::text[], $4::text[]) with ordinality as u (a, b, place) order by u.place""",
            tenant_id, pool_id, [first for first, _ in left], [last for _, last in left],
        )  # fmt: skip


async def taken(conn: Connection, tenant_id: int, scope: int, prefixes: Sequence[str]) -> set[str]:
    """Those that overlap something leased in this scope, or fixed with a subscriber or an expected device of the tenant."""
    records = await conn.fetch(
        """select u.t from unnest($3::text[]) as u (t) cross join lateral (select u.t::inet as p) x
           where x.p in (select address from ztp_devices where tenant_id = $1 and address is not null)
              or exists (select 1 from leases l where int8range(l.scope, l.scope, '[]') && int8range($2, $2, '[]') and netd_span(l.prefix) && netd_span(x.p))
              or exists (select 1 from dhcp_reservations r where r.tenant_id = $1 and netd_span(r.address) && netd_span(x.p)
                         and family(r.address) = family(x.p))
              or exists (select 1 from framed_routes r where r.tenant_id = $1 and netd_span(r.prefix::inet) && netd_span(x.p))
              or case family(x.p)
                 when 4 then exists (select 1 from subscribers s where s.tenant_id = $1 and s.ipv4 = x.p and s.ipv4 is not null and s.state <> 'terminated')
                 else exists (select 1 from subscribers s where s.tenant_id = $1 and netd_span(s.ipv6_prefix::inet) && netd_span(x.p)
                              and s.ipv6_prefix is not null and s.state <> 'terminated')
                   or exists (select 1 from subscribers s where s.tenant_id = $1 and netd_span(s.delegated_ipv6_prefix::inet) && netd_span(x.p)
                              and s.delegated_ipv6_prefix is not null and s.state <> 'terminated') end""",
        tenant_id, scope, prefixes,
    )  # fmt: skip
    return {record[0] for record in records}


async def reusable(conn: Connection, pool_id: int, limit: int, but: Sequence[int]) -> list[tuple[int, int]]:
    """(id, unit) of leases (``but`` these) that nobody has any more, the longest unused first, locked. One that somebody else holds is left out."""
    records = await conn.fetch(REUSABLE, pool_id, limit, but)
    return [(record[0], int(ip_address(record[1]))) for record in records]


async def give(conn: Connection, fresh: Sequence[tuple[Any, ...]], again: Sequence[tuple[Any, ...]], hold_seconds: float) -> list[tuple[int, int, str, float]]:
    """Make leases: ``fresh`` (pool id, prefix, subscriber id, slot, client id, token) as new rows, ``again`` (lease id and the last four) on rows that
    there are. Returns (subscriber id, lease id, prefix, until as Unix time) of each. A subscriber that is gone gets none."""
    given: list[Mapping[str, Any]] = []
    returned = "returning l.subscriber_id, l.id, host(l.prefix), extract(epoch from l.until_at)::float8"
    if again:
        given += await conn.fetch(
            f"""update leases l set subscriber_id = u.s, device_id = null, slot = u.n, client_id = u.c, token = u.k, ended_at = null, conflict = null,
                    dhcp_subnet_id = null, dhcp_state = null, expires_at = null, mac = null, profile = null, hostname = null, relay_info = null,
                    conflict_at = null, leased_at = case when l.subscriber_id = u.s then l.leased_at else now() end,
                    until_at = now() + make_interval(secs => p.grace_seconds + $6)
                from unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[]) as u (i, s, n, c, k)
                join subscribers b on b.id = u.s cross join pools p
                where l.id = u.i and p.id = l.pool_id {returned}""", *[list(column) for column in zip(*again, strict=True)], hold_seconds,
        )  # fmt: skip
    if fresh:
        given += await conn.fetch(
            f"""insert into leases as l (tenant_id, pool_id, kind, scope, prefix, subscriber_id, slot, client_id, token, until_at)
                select p.tenant_id, p.id, p.kind, p.scope, u.a::inet, u.s, u.n, u.c, u.k, now() + make_interval(secs => p.grace_seconds + $7)
                from unnest($1::bigint[], $2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::text[]) as u (p, a, s, n, c, k)
                join pools p on p.id = u.p join subscribers b on b.id = u.s {returned}""",
            *[list(column) for column in zip(*fresh, strict=True)], hold_seconds,
        )  # fmt: skip
    return [tuple(record) for record in given]  # type: ignore[misc]  # the columns of the statement above


async def let_go(conn: Connection, ids: Sequence[int]) -> None:
    """Take leases from their holders, who get others; what a session may still have stays kept for the grace time."""
    await conn.execute(
        """update leases l set subscriber_id = null, device_id = null, ended_at = coalesce(l.ended_at, now()),
             until_at = least(l.until_at, now() + make_interval(secs => p.grace_seconds))
           from pools p where p.id = l.pool_id and l.id = any($1::bigint[])""", ids,
    )  # fmt: skip


async def forget(conn: Connection, ids: Sequence[int]) -> None:
    """Remove leases that are no longer their pool's to give out."""
    await conn.execute("delete from leases where id = any($1::bigint[])", ids)


async def claim(conn: Connection, claims: Sequence[Claim], hold_seconds: float) -> dict[int, float]:
    """Write that these leases are in use: until when (Unix time), by id, of those that still are the subscriber's to use."""
    records = await conn.fetch(
        """update leases l set until_at = case when u.b then 'infinity' else now() + make_interval(secs => p.grace_seconds + $6) end,
             ended_at = null, client_id = u.c, token = u.k
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::boolean[]) as u (i, s, c, k, b) cross join pools p
           where l.id = u.i and l.subscriber_id = u.s and p.id = l.pool_id
             and (l.token = u.k or (l.client_id = u.c and u.c <> '') or l.ended_at is not null or l.until_at < now())
           returning l.id, extract(epoch from l.until_at)::float8""",
        *[list(column) for column in zip(*claims, strict=True)], hold_seconds,
    )  # fmt: skip
    return {record[0]: record[1] for record in records}


async def present(conn: Connection, ids: Sequence[int]) -> set[int]:
    """Those leases that there are."""
    return {record[0] for record in await conn.fetch("select id from leases where id = any($1::bigint[])", ids)}


async def end(conn: Connection, ends: Sequence[End]) -> None:
    """Begin the grace time of leases whose session ended, unless another grant has them by now."""
    await conn.execute(
        """update leases l set ended_at = now(), until_at = now() + make_interval(secs => p.grace_seconds)
           from unnest($1::bigint[], $2::bigint[], $3::text[]) as u (i, s, k) cross join pools p
           where l.id = u.i and l.subscriber_id = u.s and l.token = u.k and p.id = l.pool_id and l.ended_at is null""",
        *[list(column) for column in zip(*ends, strict=True)],
    )  # fmt: skip


async def note_conflicts(conn: Connection, conflicts: Sequence[tuple[int, str]]) -> None:
    """Keep what a NAS used instead of a lease, (id, text)."""
    await conn.execute(
        "update leases l set conflict = u.t, conflict_at = now() from unnest($1::bigint[], $2::text[]) as u (i, t) where l.id = u.i",
        [number for number, _ in conflicts], [text for _, text in conflicts],
    )  # fmt: skip


async def reconcile(conn: Connection) -> tuple[int, int]:
    """Bring leases in line with the open sessions: how many ended unnoticed, and how many are in use that looked free."""
    ended = await conn.execute(
        f"""update leases l set ended_at = now(), until_at = now() + make_interval(secs => p.grace_seconds) from pools p
            where p.id = l.pool_id and l.until_at = 'infinity' and not {_IN_USE}"""
    )
    begun = await conn.execute(
        """update leases l set ended_at = null, until_at = 'infinity' from sessions s
           where s.subscriber_id = l.subscriber_id and l.until_at < 'infinity'
             and l.prefix = case l.kind when 'ipv4' then s.framedipaddress when 'ipv6' then s.framedipv6prefix else s.delegatedipv6prefix end"""
    )
    return int(ended.rpartition(" ")[2]), int(begun.rpartition(" ")[2])


async def usage(conn: Connection) -> dict[int, tuple[int, int, int]]:
    """By pool: leases in use or in their grace time, remembered ones, and fixed addresses of subscribers inside the pool."""
    leased = await conn.fetch("select pool_id, count(*) filter (where until_at > now()), count(*) filter (where until_at <= now()) from leases group by 1")
    fixed = await conn.fetch(
        """select r.pool_id, count(*) from pool_ranges r join pools p on p.id = r.pool_id and p.kind = 'ipv4' join subscribers s on s.tenant_id = r.tenant_id
             and s.ipv4 is not null and s.state <> 'terminated' and s.ipv4 between r.first_address and r.last_address group by 1
           union all
           select r.pool_id, count(*) from pool_ranges r join pools p on p.id = r.pool_id and p.kind = 'ipv6' join subscribers s on s.tenant_id = r.tenant_id
             and s.ipv6_prefix is not null and s.state <> 'terminated'
             and set_masklen(s.ipv6_prefix::inet, 128) between r.first_address and r.last_address group by 1
           union all
           select r.pool_id, count(*) from pool_ranges r join pools p on p.id = r.pool_id and p.kind = 'delegated' join subscribers s
             on s.tenant_id = r.tenant_id and s.delegated_ipv6_prefix is not null and s.state <> 'terminated'
             and set_masklen(s.delegated_ipv6_prefix::inet, 128) between r.first_address and r.last_address group by 1"""
    )
    inside: dict[int, int] = {record[0]: record[1] for record in fixed}
    found = {record[0]: (record[1], record[2], inside.pop(record[0], 0)) for record in leased}
    return found | {pool_id: (0, 0, count) for pool_id, count in inside.items()}
