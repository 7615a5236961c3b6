"""Pools, rules, leases and framed routes for people and the API. The engine's reading and leasing is ``store.leases``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal

from netd.model.pool import FramedRoute, Holding, Lease, Pool, PoolKind, PoolRule
from netd.model.ranges import Span, span_text
from netd.model.subscriber import username_key
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

Address = IPv4Address | IPv6Address

COLUMNS = ("name", "kind", "prefix_length", "vrf", "gateway", "grace_seconds", "description")
_SPANS = "coalesce((select array_agg(host(first_address) || ' ' || host(last_address) order by first_address) from {} r where r.pool_id = p.id), '{{}}')"
_SELECT = f"""
    select p.id, p.tenant_id, p.name, p.kind, p.prefix_length, p.vrf, p.gateway, p.grace_seconds, p.description, p.version, p.created_at, p.updated_at,
           {_SPANS.format("pool_ranges")} as ranges, {_SPANS.format("pool_exclusions")} as exclusions
    from pools p"""

LISTING = Listing(
    kind="pool", select=_SELECT, counted="pools p", tenant="p.tenant_id", id="p.id", search="lower(concat_ws(' ', p.name, p.description)) like {}",
    columns={
        "id": Column(sql="p.id", kind=int, cast="bigint"), "name": Column(sql="lower(p.name)", param="lower({})", sortable=True),
        "kind": Column(sql="p.kind", kind=PoolKind, sortable=True), "vrf": Column(sql="p.vrf", nullable=True),
        "created_at": Column(sql="p.created_at", kind=datetime, sortable=True), "updated_at": Column(sql="p.updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Pool]:
    """Pools of the listing's records."""
    return [_pool(record) for record in records]


def _pool(record: Mapping[str, Any]) -> Pool:
    version = 4 if record["kind"] == "ipv4" else 6
    told = {name: tuple(span_text(span(text), version) for text in record[name]) for name in ("ranges", "exclusions")}
    return Pool(**{**record, **told, "gateway": rows.address(record["gateway"])})


def span(text: str) -> Span:
    """``first last`` as numbers."""
    first, last = text.split()
    return Span(int(ip_address(first)), int(ip_address(last)))


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a pool without ranges; returns its id. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("pools", COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, pool_id: int, *, lock: bool = False) -> Pool | None:
    """The pool; with ``lock`` nobody leases from it or changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where p.tenant_id = $1 and p.id = $2{' for no key update of p' if lock else ''}", tenant_id, pool_id)
    return None if record is None else _pool(record)


async def by_name(conn: Connection, tenant_id: int, name: str) -> Pool | None:
    """The pool of this name, in any case of letters."""
    record = await conn.fetchrow(f"{_SELECT} where p.tenant_id = $1 and lower(p.name) = lower($2)", tenant_id, rows.storable(name))
    return None if record is None else _pool(record)


async def update(conn: Connection, tenant_id: int, pool_id: int, values: Mapping[str, Any]) -> bool:
    """Set columns and count the version up; whether the pool was there."""
    statement, args = rows.update("pools", COLUMNS, tenant_id, pool_id, values)
    return rows.updated(await conn.execute(statement, *args)) > 0


async def delete(conn: Connection, tenant_id: int, pool_id: int) -> bool:
    """Remove a pool with its ranges, rules and remembered leases; whether it was there. Raises Conflict through the transaction while anything is leased."""
    await conn.execute("delete from leases where tenant_id = $1 and pool_id = $2 and until_at <= now()", tenant_id, pool_id)
    return rows.updated(await conn.execute("delete from pools where tenant_id = $1 and id = $2", tenant_id, pool_id)) > 0


async def add_spans(conn: Connection, tenant_id: int, pool_id: int, table: str, spans: Sequence[tuple[Address, Address]]) -> None:
    """Add ranges, exclusions or spans (first, last). Raises Conflict through the transaction if a range overlaps another one."""
    if table not in ("pool_ranges", "pool_exclusions", "pool_spans"):
        raise ValueError(f"no such table: {table}")
    scope = table == "pool_ranges"
    await conn.execute(
        f"""insert into {table} (tenant_id, pool_id, {"scope, " if scope else ""}first_address, last_address)
            select p.tenant_id, p.id, {"p.scope, " if scope else ""}u.a, u.b from pools p cross join unnest($3::inet[], $4::inet[]) as u (a, b)
            where p.tenant_id = $1 and p.id = $2""",
        tenant_id, pool_id, [first for first, _ in spans], [last for _, last in spans],
    )  # fmt: skip


async def clear_spans(conn: Connection, tenant_id: int, pool_id: int, table: str) -> None:
    """Take away all ranges, exclusions or spans."""
    if table not in ("pool_ranges", "pool_exclusions", "pool_spans"):
        raise ValueError(f"no such table: {table}")
    await conn.execute(f"delete from {table} where tenant_id = $1 and pool_id = $2", tenant_id, pool_id)


async def forget_outside(conn: Connection, tenant_id: int, pool_id: int) -> int:
    """Remove remembered leases that are no longer the pool's to give out; returns how many are outside and still in use."""
    outside = """l.tenant_id = $1 and l.pool_id = $2 and (
        not exists (select 1 from pool_ranges r where r.pool_id = l.pool_id and host(l.prefix)::inet between r.first_address and r.last_address)
        or exists (select 1 from pool_exclusions x where x.pool_id = l.pool_id
                   and inetrange(x.first_address, x.last_address, '[]') && inetrange(host(l.prefix)::inet, host(broadcast(l.prefix))::inet, '[]'))
        or exists (select 1 from pools p where p.id = l.pool_id and p.gateway <<= l.prefix))"""
    await conn.execute(f"delete from leases l where l.until_at <= now() and {outside}", tenant_id, pool_id)
    return int(await conn.fetchval(f"select count(*) from leases l where {outside}", tenant_id, pool_id))


async def leased(conn: Connection, tenant_id: int, pool_id: int) -> tuple[int, int]:
    """How many leases are in use or in their grace time, and how many are remembered."""
    record = await conn.fetchrow(
        """select count(*) filter (where until_at > now()), count(*) filter (where until_at <= now()) from leases
           where tenant_id = $1 and pool_id = $2""", tenant_id, pool_id,
    )  # fmt: skip
    return record[0], record[1]


async def fixed_inside(conn: Connection, tenant_id: int, pool_id: int) -> int:
    """How many subscribers have a fixed address or prefix in the pool's ranges."""
    return int(await conn.fetchval(
        """select count(*) from pools p join pool_ranges r on r.pool_id = p.id join subscribers s on s.tenant_id = p.tenant_id and s.state <> 'terminated'
             and set_masklen(case p.kind when 'ipv4' then s.ipv4 when 'ipv6' then s.ipv6_prefix::inet else s.delegated_ipv6_prefix::inet end,
                             case p.kind when 'ipv4' then 32 else 128 end) between r.first_address and r.last_address
           where p.tenant_id = $1 and p.id = $2""", tenant_id, pool_id,
    ))  # fmt: skip


# -- sites: names that several NAS share --------------------------------------------------------------------------------


async def site_by_name(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the site of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from sites where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def insert_site(conn: Connection, tenant_id: int, name: str) -> int:
    """Add a site. Raises Conflict through the transaction if somebody else did at the same time."""
    return int(await conn.fetchval("insert into sites (tenant_id, name) values ($1, $2) returning id", tenant_id, name))


# -- rules ---------------------------------------------------------------------------------------------------------------

_RULE = """
    select r.id, r.tenant_id, r.pool_id, p.name as pool, r.kind, pl.name as plan, n.shortname as nas, s.name as site, r.vrf, r.created_at
    from pool_rules r join pools p on p.id = r.pool_id left join plans pl on pl.id = r.plan_id left join nas n on n.id = r.nas_id
    left join sites s on s.id = r.site_id"""
RULES = Listing(
    kind="pool_rule", select=_RULE, counted=_RULE[_RULE.index("from") + 5 :], tenant="r.tenant_id", id="r.id",
    columns={
        "id": Column(sql="r.id", kind=int, cast="bigint"), "pool": Column(sql="lower(p.name)", param="lower({})", sortable=True),
        "kind": Column(sql="r.kind", kind=PoolKind, sortable=True), "plan": Column(sql="lower(pl.name)", param="lower({})", nullable=True),
        "nas": Column(sql="lower(n.shortname)", param="lower({})", nullable=True), "site": Column(sql="lower(s.name)", param="lower({})", nullable=True),
        "vrf": Column(sql="r.vrf", nullable=True), "created_at": Column(sql="r.created_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def rules_of(records: Sequence[Mapping[str, Any]]) -> list[PoolRule]:
    """Rules of the listing's records."""
    return [PoolRule(**record) for record in records]


async def insert_rule(
    conn: Connection, tenant_id: int, pool_id: int, *, plan_id: int | None, nas_id: int | None, site_id: int | None, vrf: str | None
) -> int:  # fmt: skip
    """Add a rule; returns its id. Raises Conflict through the transaction if there is one with the same conditions."""
    return int(await conn.fetchval(
        """insert into pool_rules (tenant_id, pool_id, kind, plan_id, nas_id, site_id, vrf)
           select p.tenant_id, p.id, p.kind, $3, $4, $5, $6 from pools p where p.tenant_id = $1 and p.id = $2 returning id""",
        tenant_id, pool_id, plan_id, nas_id, site_id, vrf,
    ))  # fmt: skip


async def rule(conn: Connection, tenant_id: int, rule_id: int) -> PoolRule | None:
    """The rule."""
    record = await conn.fetchrow(f"{_RULE} where r.tenant_id = $1 and r.id = $2", tenant_id, rule_id)
    return None if record is None else PoolRule(**record)


async def rules_by_pool(conn: Connection, tenant_id: int, pool_ids: Sequence[int]) -> dict[int, tuple[PoolRule, ...]]:
    """Every rule of some pools, by pool, in the order in which they were made."""
    found: dict[int, tuple[PoolRule, ...]] = {}
    for record in await conn.fetch(f"{_RULE} where r.tenant_id = $1 and r.pool_id = any($2::bigint[]) order by r.id", tenant_id, pool_ids):
        found[record["pool_id"]] = (*found.get(record["pool_id"], ()), PoolRule(**record))
    return found


async def delete_rule(conn: Connection, tenant_id: int, rule_id: int) -> bool:
    """Remove a rule; whether it was there."""
    return rows.updated(await conn.execute("delete from pool_rules where tenant_id = $1 and id = $2", tenant_id, rule_id)) > 0


# -- leases --------------------------------------------------------------------------------------------------------------

_STATE = (
    "case when l.until_at = 'infinity' or l.until_at > now() and l.ended_at is null then 'in_use' when l.until_at > now() then 'grace' else 'remembered' end"
)
_LEASE = f"""
    select l.id, l.tenant_id, l.pool_id, p.name as pool, l.kind, l.prefix, {_STATE} as state, l.subscriber_id, s.username, l.device_id, l.client_id, l.slot,
           l.mac, l.hostname, l.profile, l.leased_at, l.ended_at, nullif(l.until_at, 'infinity') as until_at, l.conflict, l.conflict_at
    from leases l join pools p on p.id = l.pool_id left join subscribers s on s.id = l.subscriber_id and s.tenant_id = l.tenant_id"""


LEASES = Listing(
    kind="lease", select=_LEASE, counted=_LEASE[_LEASE.index("from") + 5 :], tenant="l.tenant_id", id="l.id",
    search="lower(concat_ws(' ', s.username, l.client_id, l.conflict)) like {}",
    columns={
        "id": Column(sql="l.id", kind=int, cast="bigint"), "pool": Column(sql="lower(p.name)", param="lower({})"),
        "kind": Column(sql="l.kind", kind=PoolKind), "username": Column(sql="s.username_key", fold=username_key),
        "subscriber_id": Column(sql="l.subscriber_id", kind=int, cast="bigint", nullable=True), "client_id": Column(sql="l.client_id"),
        "ip": Column(sql="l.prefix", holds="netd_span(l.prefix) && netd_span({0}::inet) and l.prefix >>= {0}::inet"),
        "state": Column(sql="", kind=Literal["in_use", "grace", "remembered", "conflict"],
                        holds=f"case when {{0}}::text = 'conflict' then l.conflict is not null else {_STATE} = {{0}}::text end"),
        "leased_at": Column(sql="l.leased_at", kind=datetime, sortable=True), "ended_at": Column(sql="l.ended_at", kind=datetime, nullable=True),
    },
    within={"pool_id": Column(sql="l.pool_id", kind=int, cast="bigint")},
)  # fmt: skip


def leases_of(records: Sequence[Mapping[str, Any]]) -> list[Lease]:
    """Leases of the listing's records."""
    return [_lease(record) for record in records]


def _lease(record: Mapping[str, Any]) -> Lease:
    return Lease(**{**record, "prefix": rows.network(record["prefix"])})


async def lease(conn: Connection, tenant_id: int, lease_id: int, *, lock: bool = False) -> Lease | None:
    """The lease; with ``lock`` it stays as it is until the transaction ends."""
    record = await conn.fetchrow(f"{_LEASE} where l.tenant_id = $1 and l.id = $2{' for update of l' if lock else ''}", tenant_id, lease_id)
    return None if record is None else _lease(record)


async def release(conn: Connection, tenant_id: int, lease_id: int) -> bool:
    """Take the lease from its holder: anybody may get it now. Whether it was there."""
    return rows.updated(await conn.execute(
        """update leases set subscriber_id = null, device_id = null, client_id = '', token = '', ended_at = now(), until_at = now(), conflict = null,
             conflict_at = null, dhcp_subnet_id = null, dhcp_state = null where tenant_id = $1 and id = $2""", tenant_id, lease_id,
    )) > 0  # fmt: skip


# -- who has what --------------------------------------------------------------------------------------------------------

_HOLDINGS = f"""
    select 'fixed' as source, v.p as prefix, s.id as subscriber_id, s.username, null::text as pool, null::text as state, null::timestamptz as since,
           null::text as client
    from subscribers s cross join lateral (values (s.ipv4), (s.ipv6_prefix::inet), (s.delegated_ipv6_prefix::inet)) v (p)
    where s.tenant_id = $1 and s.state <> 'terminated' and v.p is not null and {{fixed}}
    union all
    select 'route', r.prefix::inet, s.id, s.username, null, null, r.created_at, null from framed_routes r join subscribers s on s.id = r.subscriber_id
    where r.tenant_id = $1 and {{routed}}
    union all
    select 'lease', l.prefix, l.subscriber_id, s.username, p.name, {_STATE}, l.leased_at,
           case when l.dhcp_subnet_id is not null then coalesce(l.mac, nullif(l.client_id, '')) end
    from leases l join pools p on p.id = l.pool_id left join subscribers s on s.id = l.subscriber_id and s.tenant_id = l.tenant_id
    where l.tenant_id = $1 and {{leased}}
    union all
    select 'dhcp', d.address, null, null, null, case when d.until_at > now() then 'in_use' else 'remembered' end, d.leased_at, coalesce(d.mac, d.client_id)
    from dhcp_addresses d where d.tenant_id = $1 and not d.declined and {{given}}
    limit 100"""
_BY_ADDRESS = _HOLDINGS.format(
    # Each column by an index of its own; what comes out is looked at again in the form of the list.
    fixed="""s.id in (select id from subscribers where tenant_id = $1 and ipv4 = $2::inet and state <> 'terminated'
                      union select id from subscribers where tenant_id = $1 and ipv6_prefix is not null and netd_span(ipv6_prefix::inet) && netd_span($2::inet)
                      union select id from subscribers where tenant_id = $1 and delegated_ipv6_prefix is not null
                                                            and netd_span(delegated_ipv6_prefix::inet) && netd_span($2::inet))
             and v.p >>= $2::inet""",
    routed="netd_span(r.prefix::inet) && netd_span($2::inet) and r.prefix::inet >>= $2::inet",
    leased="netd_span(l.prefix) && netd_span($2::inet) and l.prefix >>= $2::inet",
    given="d.subnet_id in (select id from dhcp_subnets where tenant_id = $1 and prefix >>= $2::inet) and d.address = $2::inet",
)  # fmt: skip
_BY_SUBSCRIBER = _HOLDINGS.format(fixed="s.id = $2", routed="r.subscriber_id = $2", leased="l.subscriber_id = $2", given="false")


def _holding(record: Mapping[str, Any]) -> Holding:
    return Holding(**{**record, "prefix": rows.network(record["prefix"])})


async def who_has(conn: Connection, tenant_id: int, ip: Address) -> list[Holding]:
    """Everybody who has this address: as fixed, by a route, by a lease (remembered ones too), or given singly by DHCPv6."""
    return [_holding(record) for record in await conn.fetch(_BY_ADDRESS, tenant_id, ip)]


async def what_has(conn: Connection, tenant_id: int, subscriber_id: int) -> list[Holding]:
    """Everything that a subscriber has."""
    return [_holding(record) for record in await conn.fetch(_BY_SUBSCRIBER, tenant_id, subscriber_id)]


# -- framed routes -------------------------------------------------------------------------------------------------------

_ROUTE = "select id, tenant_id, subscriber_id, prefix, gateway, metric, created_at from framed_routes"


def _route(record: Mapping[str, Any]) -> FramedRoute:
    return FramedRoute(**{**record, "gateway": rows.address(record["gateway"])})


ROUTES = Listing(
    kind="route", select=_ROUTE, counted="framed_routes", tenant="tenant_id", id="id",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "metric": Column(sql="metric", kind=int, cast="integer", sortable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True),
    },
    within={"subscriber_id": Column(sql="subscriber_id", kind=int, cast="bigint")},
)  # fmt: skip


def routes_of(records: Sequence[Mapping[str, Any]]) -> list[FramedRoute]:
    """Routes of the listing's records."""
    return [_route(record) for record in records]


async def insert_route(conn: Connection, tenant_id: int, subscriber_id: int, *, prefix: object, gateway: object, metric: int) -> FramedRoute:
    """Add a route. Raises Conflict through the transaction if it overlaps another one, or what is leased to another."""
    record = await conn.fetchrow(
        """insert into framed_routes (tenant_id, subscriber_id, prefix, gateway, metric) values ($1, $2, $3, $4, $5)
           returning id, tenant_id, subscriber_id, prefix, gateway, metric, created_at""", tenant_id, subscriber_id, prefix, gateway, metric,
    )  # fmt: skip
    return _route(record)


async def delete_route(conn: Connection, tenant_id: int, subscriber_id: int, route_id: int) -> FramedRoute | None:
    """Remove a route; returns it if it was there."""
    record = await conn.fetchrow(
        """delete from framed_routes where tenant_id = $1 and subscriber_id = $2 and id = $3
           returning id, tenant_id, subscriber_id, prefix, gateway, metric, created_at""", tenant_id, subscriber_id, route_id,
    )  # fmt: skip
    return None if record is None else _route(record)
