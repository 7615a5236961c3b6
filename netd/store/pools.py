"""Pools, rules, leases and framed routes for people and the API. The engine's reading and leasing is ``store.leases``."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from netd.model.pool import FramedRoute, Holding, Lease, Pool, PoolRule
from netd.model.ranges import Span, span_text
from netd.store import rows
from netd.store.database import Connection

Address = IPv4Address | IPv6Address

COLUMNS = ("name", "kind", "prefix_length", "vrf", "gateway", "grace_seconds", "description")
_SPANS = "coalesce((select array_agg(host(first_address) || ' ' || host(last_address) order by first_address) from {} r where r.pool_id = p.id), '{{}}')"
_SELECT = f"""
    select p.id, p.tenant_id, p.name, p.kind, p.prefix_length, p.vrf, p.gateway, p.grace_seconds, p.description, p.version, p.created_at, p.updated_at,
           {_SPANS.format("pool_ranges")} as ranges, {_SPANS.format("pool_exclusions")} as exclusions
    from pools p"""


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


def _where(tenant_id: int, name: str | None, kind: str | None) -> rows.Where:
    where = rows.Where(tenant_id, "p.tenant_id")
    if name is not None:
        where.add("lower(p.name) = lower({})", rows.storable(name))
    if kind is not None:
        where.add("p.kind = {}", kind)
    return where


async def page(conn: Connection, tenant_id: int, *, after: int, limit: int, name: str | None = None, kind: str | None = None) -> list[Pool]:
    """Pools by id, those after ``after``."""
    where = _where(tenant_id, name, kind).add("p.id > {}", after)
    return [_pool(record) for record in await conn.fetch(f"{_SELECT} where {where} order by p.id limit {where.place(limit)}", *where.args)]


async def count(conn: Connection, tenant_id: int, *, name: str | None = None, kind: str | None = None) -> int:
    """How many pools there are."""
    where = _where(tenant_id, name, kind)
    return int(await conn.fetchval(f"select count(*) from pools p where {where}", *where.args))


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


async def rules(conn: Connection, tenant_id: int, *, after: int, limit: int, pool_id: int | None = None) -> list[PoolRule]:
    """Rules by id, those after ``after``."""
    where = rows.Where(tenant_id, "r.tenant_id").add("r.id > {}", after)
    if pool_id is not None:
        where.add("r.pool_id = {}", pool_id)
    return [PoolRule(**record) for record in await conn.fetch(f"{_RULE} where {where} order by r.id limit {where.place(limit)}", *where.args)]


async def count_rules(conn: Connection, tenant_id: int, *, pool_id: int | None = None) -> int:
    """How many rules there are."""
    where = rows.Where(tenant_id)
    if pool_id is not None:
        where.add("pool_id = {}", pool_id)
    return int(await conn.fetchval(f"select count(*) from pool_rules where {where}", *where.args))


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


def _lease(record: Mapping[str, Any]) -> Lease:
    return Lease(**{**record, "prefix": rows.network(record["prefix"])})


def _leases_where(tenant_id: int, pool_id: int | None, subscriber_id: int | None, ip: Address | None, state: str | None) -> rows.Where:
    where = rows.Where(tenant_id, "l.tenant_id")
    if pool_id is not None:
        where.add("l.pool_id = {}", pool_id)
    if subscriber_id is not None:
        where.add("l.subscriber_id = {}", subscriber_id)
    if ip is not None:
        where.add("netd_span(l.prefix) && netd_span({0}::inet) and l.prefix >>= {0}::inet", ip)
    if state == "conflict":
        where.terms.append("l.conflict is not null")
    elif state is not None:
        where.add(f"{_STATE} = {{}}", state)
    return where


async def leases(
    conn: Connection, tenant_id: int, *, after: int, limit: int, pool_id: int | None = None, subscriber_id: int | None = None, ip: Address | None = None,
    state: str | None = None,
) -> list[Lease]:  # fmt: skip
    """Leases by id, those after ``after``; ``ip`` is one of their addresses, ``state`` a lease's or ``conflict``."""
    where = _leases_where(tenant_id, pool_id, subscriber_id, ip, state).add("l.id > {}", after)
    return [_lease(record) for record in await conn.fetch(f"{_LEASE} where {where} order by l.id limit {where.place(limit)}", *where.args)]


async def count_leases(
    conn: Connection, tenant_id: int, *, pool_id: int | None = None, subscriber_id: int | None = None, ip: Address | None = None, state: str | None = None
) -> int:  # fmt: skip
    """How many there are; filters as for ``leases``."""
    where = _leases_where(tenant_id, pool_id, subscriber_id, ip, state)
    return int(await conn.fetchval(f"select count(*) from leases l where {where}", *where.args))


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
    select 'fixed' as source, v.p as prefix, s.id as subscriber_id, s.username, null::text as pool, null::text as state, null::timestamptz as since
    from subscribers s cross join lateral (values (s.ipv4), (s.ipv6_prefix::inet), (s.delegated_ipv6_prefix::inet)) v (p)
    where s.tenant_id = $1 and s.state <> 'terminated' and v.p is not null and {{fixed}}
    union all
    select 'route', r.prefix::inet, s.id, s.username, null, null, r.created_at from framed_routes r join subscribers s on s.id = r.subscriber_id
    where r.tenant_id = $1 and {{routed}}
    union all
    select 'lease', l.prefix, l.subscriber_id, s.username, p.name, {_STATE}, l.leased_at
    from leases l join pools p on p.id = l.pool_id left join subscribers s on s.id = l.subscriber_id and s.tenant_id = l.tenant_id
    where l.tenant_id = $1 and {{leased}}
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
)  # fmt: skip
_BY_SUBSCRIBER = _HOLDINGS.format(fixed="s.id = $2", routed="r.subscriber_id = $2", leased="l.subscriber_id = $2")


def _holding(record: Mapping[str, Any]) -> Holding:
    return Holding(**{**record, "prefix": rows.network(record["prefix"])})


async def who_has(conn: Connection, tenant_id: int, ip: Address) -> list[Holding]:
    """Everybody who has this address: as fixed, by a route, by a lease (remembered ones too)."""
    return [_holding(record) for record in await conn.fetch(_BY_ADDRESS, tenant_id, ip)]


async def what_has(conn: Connection, tenant_id: int, subscriber_id: int) -> list[Holding]:
    """Everything that a subscriber has."""
    return [_holding(record) for record in await conn.fetch(_BY_SUBSCRIBER, tenant_id, subscriber_id)]


# -- framed routes -------------------------------------------------------------------------------------------------------

_ROUTE = "select id, tenant_id, subscriber_id, prefix, gateway, metric, created_at from framed_routes"


def _route(record: Mapping[str, Any]) -> FramedRoute:
    return FramedRoute(**{**record, "gateway": rows.address(record["gateway"])})


async def routes(conn: Connection, tenant_id: int, subscriber_id: int) -> list[FramedRoute]:
    """A subscriber's routes."""
    return [_route(record) for record in await conn.fetch(f"{_ROUTE} where tenant_id = $1 and subscriber_id = $2 order by id", tenant_id, subscriber_id)]


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
