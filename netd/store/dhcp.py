"""DHCP as the responder reads and writes it: every tenant's subnets, and leases in batches. Addresses go in and out as text, rows as one JSON text."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

import msgspec

from netd.store.database import Connection


class SubnetRow(NamedTuple):
    """A subnet as the responder needs it; addresses are numbers."""

    id: int
    tenant_id: int
    name: str
    version: int  # of IP
    first: int
    last: int
    prefix_length: int
    site_id: int | None
    serves: str
    profiles: tuple[str, ...]
    pool_id: int | None
    router: int
    dns_servers: tuple[int, ...]
    ntp_servers: tuple[int, ...]
    domain: str
    lease_seconds: int
    variables: dict[str, str]
    interface: str


class ReservationRow(NamedTuple):
    """An address set aside."""

    subnet_id: int
    kind: str
    value: str
    address: int


class LeaseRow(NamedTuple):
    """A client's lease. ``address`` is its unit's first address; ``left`` the seconds for which nobody else gets it, below zero once anybody may."""

    id: int
    subnet_id: int
    client_id: str
    address: int
    state: str
    left: float


class Holder(NamedTuple):
    """Whose a single address is, or was last. ``subnet_id`` None: no DHCP client's. ``left``: seconds for which nobody else gets it."""

    id: int
    address: int
    left: float
    subnet_id: int | None
    client_id: str
    state: str | None


class Told(NamedTuple):
    """What a lease query tells. Seconds: ``left`` of what the client was told, ``ago`` since it was."""

    address: int
    client_id: str
    mac: str
    state: str
    left: float
    ago: float
    relay_info: bytes | None


class Offer(msgspec.Struct, frozen=True, array_like=False):
    """A lease to be made (``i`` 0) or taken over (``i`` its row), for ``secs`` seconds: for pool ``p`` of subnet ``n``, prefix ``a``, client ``c``."""

    i: int
    p: int
    n: int
    a: str
    c: str
    secs: int
    mac: str
    profile: str
    hostname: str
    device: int | None


class Binding(msgspec.Struct, frozen=True):
    """A client's lease of address ``a`` in subnet ``n`` is to be in force for ``secs`` seconds and ``grace`` more. ``relay``: option 82 in hex, "" if this
    packet had none."""

    n: int
    c: str
    a: str
    secs: int
    grace: int
    mac: str
    profile: str
    hostname: str
    relay: str


class Gone(NamedTuple):
    """A lease that its client gave back ``ago`` seconds ago; leases are for ``secs`` seconds."""

    id: int
    client_id: str
    secs: int
    ago: float


_BACK_SECONDS = 0.1
"""No client has an address again sooner after it gave one back; and a transaction's time is a little before that of its statements."""

_encode = msgspec.json.Encoder().encode


def _number(text: str | None) -> int:
    return int(ip_address(text)) if text else 0


def _number4(text: str) -> int:
    if ":" in text:
        return int(ip_address(text))
    a, b, c, d = text.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


async def subnets(conn: Connection) -> list[SubnetRow]:
    """Every subnet that is served."""
    found = []
    for r in await conn.fetch(
        """select id, tenant_id, name, text(prefix) as prefix, site_id, serves, profiles, pool_id, host(router) as router,
             array(select host(d) from unnest(dns_servers) d) as dns, array(select host(d) from unnest(ntp_servers) d) as ntp, domain, lease_seconds,
             variables, interface from dhcp_subnets where enabled order by id"""
    ):
        network = ip_network(r["prefix"])
        variables = {str(name): str(value) for name, value in r["variables"].items()}
        found.append(
            SubnetRow(
                r["id"], r["tenant_id"], r["name"], network.version, int(network.network_address), int(network.broadcast_address), network.prefixlen,
                r["site_id"], r["serves"], tuple(r["profiles"]), r["pool_id"], _number(r["router"]), tuple(map(_number, r["dns"])),
                tuple(map(_number, r["ntp"])), r["domain"] or "", r["lease_seconds"], variables, r["interface"] or "",
            )
        )  # fmt: skip
    return found


async def reservations(conn: Connection) -> list[ReservationRow]:
    """Every address that is set aside."""
    records = await conn.fetch("select subnet_id, kind, value, host(address) from dhcp_reservations order by id")
    return [ReservationRow(subnet, kind, value, _number(address)) for subnet, kind, value, address in records]


_LEASE = """l.id, l.dhcp_subnet_id, l.client_id, host(l.prefix), l.dhcp_state, extract(epoch from l.until_at - now())::float8"""


async def of_clients(conn: Connection, clients: Sequence[tuple[int, str]]) -> list[LeaseRow]:
    """What these clients, as (subnet id, client id), have or had last."""
    records = await conn.fetch(
        f"""select {_LEASE} from unnest($1::bigint[], $2::text[]) as u (n, c) join leases l on l.dhcp_subnet_id = u.n and l.client_id = u.c""",
        [subnet for subnet, _ in clients], [client for _, client in clients],
    )  # fmt: skip
    return [LeaseRow(number, subnet, client, _number4(address), state, left) for number, subnet, client, address, state, left in records]


async def at(conn: Connection, scopes: Sequence[tuple[int, str]]) -> dict[int, Holder]:
    """What there is on single addresses or first ones of prefixes, as (scope, address), by address."""
    records = await conn.fetch(
        """select l.id, host(l.prefix), extract(epoch from l.until_at - now())::float8, l.dhcp_subnet_id, l.client_id, l.dhcp_state
           from unnest($1::bigint[], $2::text[]) as u (s, a)
           join leases l on int8range(l.scope, l.scope, '[]') && int8range(u.s, u.s, '[]') and netd_span(l.prefix) && netd_span(u.a::inet)
               and host(l.prefix) = host(u.a::inet)""",
        [scope for scope, _ in scopes], [address for _, address in scopes],
    )  # fmt: skip
    found = [Holder(number, _number4(address), *more) for number, address, *more in records]
    return {holder.address: holder for holder in found}


async def rename(conn: Connection, holders: Sequence[tuple[int, str, str]]) -> set[int]:
    """Leases (id, client id, another one) are called otherwise from now on: the ids of those that were, and whose new name was free."""
    records = await conn.fetch(
        """update leases l set client_id = u.b from unnest($1::bigint[], $2::text[], $3::text[]) as u (i, a, b)
           where l.id = u.i and l.client_id = u.a and not exists (select from leases o where o.dhcp_subnet_id = l.dhcp_subnet_id and o.client_id = u.b)
           returning l.id""", *_columns(holders),
    )  # fmt: skip
    return {record[0] for record in records}


async def fixed(conn: Connection, tenant_id: int, addresses: Sequence[str]) -> set[str]:
    """Those that are fixed with a subscriber of the tenant, or within a framed route."""
    records = await conn.fetch(
        """select u.t from unnest($2::text[]) as u (t) cross join lateral (select u.t::inet as p) x
           where exists (select 1 from framed_routes r where r.tenant_id = $1 and netd_span(r.prefix::inet) && netd_span(x.p)
                         and family(r.prefix) = family(x.p))
              or case family(x.p)
                 when 4 then exists (select 1 from subscribers s where s.tenant_id = $1 and s.ipv4 = x.p and s.ipv4 is not null and s.state <> 'terminated')
                 else exists (select 1 from subscribers s where s.tenant_id = $1 and netd_span(s.ipv6_prefix::inet) && netd_span(x.p)
                              and s.ipv6_prefix is not null and s.state <> 'terminated')
                   or exists (select 1 from subscribers s where s.tenant_id = $1 and netd_span(s.delegated_ipv6_prefix::inet) && netd_span(x.p)
                              and s.delegated_ipv6_prefix is not null and s.state <> 'terminated') end""",
        tenant_id, addresses,
    )  # fmt: skip
    return {record[0] for record in records}


_PROMISED = "(l.dhcp_subnet_id = u.n and l.client_id = u.c and l.dhcp_state = 'bound' and l.until_at >= now() + make_interval(secs => u.secs))"
"""Another node has put it in force since this one looked."""


async def offer(conn: Connection, offers: Sequence[Offer]) -> list[tuple[int, str, int]]:
    """Write offers; (subnet id, client id, address) of those that were written. What was another's row must be free by now; what another node
    has put in force meanwhile stays so."""
    fresh = [each for each in offers if not each.i]
    again = [each for each in offers if each.i]
    written: list[Any] = []
    if fresh:
        written += await conn.fetch(
            """insert into leases (tenant_id, pool_id, kind, scope, prefix, device_id, client_id, until_at, expires_at, dhcp_subnet_id, dhcp_state,
                    mac, profile, hostname)
               select p.tenant_id, p.id, p.kind, p.scope, u.a::inet, u.device, u.c, now() + make_interval(secs => u.secs),
                    now() + make_interval(secs => u.secs), u.n, 'offered', u.mac, u.profile, nullif(u.hostname, '')
               from json_to_recordset($1::text::json) as u (p bigint, n bigint, a text, c text, secs int, mac text, profile text, hostname text, device bigint)
               join pools p on p.id = u.p returning dhcp_subnet_id, client_id, host(prefix)""",
            _encode(fresh).decode(),
        )
    if again:
        written += await conn.fetch(
            f"""update leases l set client_id = u.c, dhcp_subnet_id = u.n, dhcp_state = case when {_PROMISED} then 'bound' else 'offered' end,
                    until_at = case when {_PROMISED} then l.until_at else now() + make_interval(secs => u.secs) end,
                    expires_at = case when {_PROMISED} then l.expires_at else now() + make_interval(secs => u.secs) end,
                    relay_info = case when {_PROMISED} then l.relay_info end, leased_at = case when {_PROMISED} then l.leased_at else now() end,
                    ended_at = null, subscriber_id = null, device_id = u.device, slot = 0, token = '', conflict = null, conflict_at = null, mac = u.mac,
                    profile = u.profile, hostname = nullif(u.hostname, '')
               from json_to_recordset($1::text::json) as u (i bigint, n bigint, c text, secs int, mac text, profile text, hostname text, device bigint)
               where l.id = u.i and (l.until_at < now() or (l.dhcp_subnet_id = u.n and l.client_id = u.c))
               returning l.dhcp_subnet_id, l.client_id, host(l.prefix)""",
            _encode(again).decode(),
        )
    return [(subnet, client, _number4(address)) for subnet, client, address in written]


async def bind(conn: Connection, bindings: Sequence[Binding]) -> set[tuple[int, str, int]]:
    """Put leases in force; (subnet id, client id, address) of those whose address is still that client's. What another node
    promised since this transaction began is not shortened."""
    records = await conn.fetch(
        """update leases l set dhcp_state = 'bound', ended_at = null,
                expires_at = greatest(now() + make_interval(secs => u.secs), case l.dhcp_state when 'bound' then l.expires_at end),
                until_at = greatest(now() + make_interval(secs => u.secs + u.grace), case l.dhcp_state when 'bound' then l.until_at end),
                mac = u.mac, profile = u.profile, hostname = nullif(u.hostname, ''),
                relay_info = case u.relay when '' then l.relay_info else decode(u.relay, 'hex') end
           from json_to_recordset($1::text::json) as u (n bigint, c text, a text, secs int, "grace" int, mac text, profile text, hostname text, relay text)
           where l.dhcp_subnet_id = u.n and l.client_id = u.c and l.prefix = u.a::inet and l.dhcp_state <> 'declined'
           returning l.dhcp_subnet_id, l.client_id, host(l.prefix)""",
        _encode(bindings).decode(),
    )
    return {(subnet, client, _number4(address)) for subnet, client, address in records}


async def let_go(conn: Connection, ids: Sequence[int]) -> None:
    """Leases that do not fit any longer are their clients' no more; whoever was told of one may use it until it ends."""
    await conn.execute(
        "update leases set dhcp_subnet_id = null, dhcp_state = null, client_id = '', ended_at = coalesce(ended_at, now()) where id = any($1::bigint[])", ids
    )


async def release(conn: Connection, gone: Sequence[Gone]) -> set[int]:
    """Leases were given back: the ids of those that were in force. One that was put in force after that, by another node, is its client's again."""
    records = await conn.fetch(
        """update leases l set dhcp_state = 'released', ended_at = now(), expires_at = now(), until_at = now()
           from unnest($1::bigint[], $2::text[], $3::integer[], $4::float8[]) as u (i, c, secs, ago)
           where l.id = u.i and l.client_id = u.c and l.dhcp_state in ('bound', 'offered') and not (l.dhcp_state = 'bound'
             and l.expires_at > now() + make_interval(secs => u.secs - u.ago + $5) and l.expires_at <= clock_timestamp() + make_interval(secs => u.secs))
           returning l.id""", *_columns(gone), _BACK_SECONDS,
    )  # fmt: skip
    return {record[0] for record in records}


async def decline(conn: Connection, refused: Sequence[tuple[int, str]], seconds: int, why: str) -> set[int]:
    """The addresses of leases (id, client id) are in use by strangers, and nobody gets them for ``seconds``: the ids of those that there were."""
    records = await conn.fetch(
        """update leases l set dhcp_state = 'declined', client_id = 'declined ' || l.id, ended_at = now(), expires_at = now(),
                until_at = now() + make_interval(secs => $3), conflict = $4, conflict_at = now()
           from unnest($1::bigint[], $2::text[]) as u (i, c) where l.id = u.i and l.client_id = u.c and l.dhcp_state in ('bound', 'offered')
           returning l.id""", *_columns(refused), seconds, why,
    )  # fmt: skip
    return {record[0] for record in records}


async def declined(conn: Connection, pool_id: int, most: int) -> list[tuple[int, int]]:
    """Put no longer aside what was declined the longest time ago, so many at the most; (id, address)."""
    records = await conn.fetch(
        """update leases l set until_at = now() - interval '1 second' from (
             select id from leases where pool_id = $1 and until_at > now() and until_at < 'infinity' and dhcp_state = 'declined'
             order by until_at limit $2 for update skip locked) u
           where l.id = u.id returning l.id, host(l.prefix)""", pool_id, most,
    )  # fmt: skip
    return [(number, _number4(address)) for number, address in records]


async def find(conn: Connection, subnet_ids: Sequence[int], *, address: str | None = None, mac: str | None = None, client_id: str | None = None) -> list[Told]:
    """Leases in these subnets by address, MAC address or client id, whoever told something last first."""
    records = await conn.fetch(
        """select host(prefix), client_id, mac, dhcp_state, extract(epoch from expires_at - now())::float8, extract(epoch from now() - leased_at)::float8,
             relay_info
           from leases where dhcp_subnet_id = any($1::bigint[]) and ($2::text is null or prefix = $2::inet) and ($3::text is null or mac = $3)
             and ($4::text is null or split_part(client_id, '@', 1) = $4) and dhcp_state <> 'declined' order by expires_at desc limit 100""",
        subnet_ids, address, mac, client_id,
    )  # fmt: skip
    return [Told(_number(a), client, mac or "", state, left, ago, info) for a, client, mac, state, left, ago, info in records]


class Relayed(NamedTuple):
    """A lease in force of a client that its relay told the line of: option 82, and the seconds left."""

    subnet_id: int
    address: int
    client_id: str
    relay_info: bytes
    left: float


async def relayed(conn: Connection) -> list[Relayed]:
    """All of them, those that end first first."""
    records = await conn.fetch(
        """select dhcp_subnet_id, host(prefix), client_id, relay_info, extract(epoch from expires_at - now())::float8 from leases
           where dhcp_subnet_id is not null and relay_info is not null and expires_at > now() order by expires_at desc limit 500000"""
    )
    return [Relayed(subnet, _number4(address), *more) for subnet, address, *more in reversed(records)]


# -- single IPv6 addresses -----------------------------------------------------------------------------------------------


class Address6(msgspec.Struct, frozen=True):
    """An IPv6 address ``a`` of client ``c`` (DUID and IAID in hex) in subnet ``n`` of tenant ``t``, for ``secs`` seconds."""

    t: int
    n: int
    a: str
    c: str
    secs: int
    mac: str
    profile: str


async def addresses_of(conn: Connection, clients: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The addresses of these clients, by (subnet id, client id)."""
    records = await conn.fetch(
        """select d.subnet_id, d.client_id, host(d.address) from unnest($1::bigint[], $2::text[]) as u (n, c)
           join dhcp_addresses d on d.subnet_id = u.n and d.client_id = u.c and not d.declined""",
        [subnet for subnet, _ in clients], [client for _, client in clients],
    )  # fmt: skip
    return {(subnet, client): _number4(address) for subnet, client, address in records}


async def assign(conn: Connection, wanted: Sequence[Address6]) -> set[tuple[int, str]]:
    """Give these addresses, or prolong them; (subnet id, client id) of those that got theirs. An address that another had is free once that has ended.
    A client stands among them once."""
    rows = _encode(wanted).decode()
    await conn.execute(
        """delete from dhcp_addresses d using json_to_recordset($1::text::json) as u (n bigint, a text, c text)
           where d.subnet_id = u.n and d.address = u.a::inet and d.client_id <> u.c and d.until_at < now()""", rows,
    )  # fmt: skip
    records = await conn.fetch(
        """insert into dhcp_addresses as d (tenant_id, subnet_id, address, client_id, mac, profile, until_at)
           select u.t, u.n, u.a::inet, u.c, nullif(u.mac, ''), u.profile, now() + make_interval(secs => u.secs)
           from json_to_recordset($1::text::json) as u (t bigint, n bigint, a text, c text, secs int, mac text, profile text)
           where not exists (select from dhcp_addresses o where o.subnet_id = u.n and o.address = u.a::inet and o.client_id <> u.c)
           on conflict (subnet_id, client_id) do update set address = excluded.address, until_at = excluded.until_at, mac = excluded.mac,
             profile = excluded.profile
           returning d.subnet_id, d.client_id""", rows,
    )  # fmt: skip
    return {(subnet, client) for subnet, client in records}


async def sweep(conn: Connection, days: int) -> int:
    """Forget addresses that ended so many days ago; how many there were."""
    done = await conn.execute("delete from dhcp_addresses where until_at < now() - make_interval(days => $1)", days)
    return int(done.rpartition(" ")[2])


async def holders(conn: Connection, addresses: Sequence[tuple[int, str]]) -> dict[tuple[int, int], str]:
    """Whose these (subnet id, address) are: client ids, by subnet and address."""
    records = await conn.fetch(
        """select d.subnet_id, host(d.address), d.client_id from unnest($1::bigint[], $2::text[]) as u (n, a)
           join dhcp_addresses d on d.subnet_id = u.n and d.address = u.a::inet and d.until_at > now()""", *_columns(addresses),
    )  # fmt: skip
    return {(subnet, _number4(address)): client for subnet, address, client in records}


async def give_up(conn: Connection, clients: Sequence[tuple[int, str]], seconds: int, ago: float) -> set[tuple[int, str]]:
    """Clients (subnet id, client id) gave back, ``ago`` seconds ago, the addresses that they get for ``seconds``: those that had one. One that another
    node gave after that is its client's again."""
    records = await conn.fetch(
        """delete from dhcp_addresses d using unnest($1::bigint[], $2::text[]) as u (n, c) where d.subnet_id = u.n and d.client_id = u.c
             and not (d.until_at > now() + make_interval(secs => $3::float8 - $4 + $5) and d.until_at <= clock_timestamp() + make_interval(secs => $3::float8))
           returning d.subnet_id, d.client_id""", *_columns(clients), seconds, ago, _BACK_SECONDS,
    )  # fmt: skip
    return {(subnet, client) for subnet, client in records}


async def refuse(conn: Connection, clients: Sequence[tuple[int, str]], seconds: int) -> None:
    """These clients found their addresses in use: nobody gets them for so long."""
    await conn.execute(
        """update dhcp_addresses d set declined = true, client_id = 'declined ' || d.id, until_at = now() + make_interval(secs => $3)
           from unnest($1::bigint[], $2::text[]) as u (n, c) where d.subnet_id = u.n and d.client_id = u.c""",
        *_columns(clients), seconds,
    )  # fmt: skip


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
