"""Many subscribers brought to a wanted state at once: rows are copied into a temporary table, compared with what is there, and stored as a set.

The table lives until the transaction ends. Statements get more time than the pool allows others, for there may be many rows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from netd.store.database import Connection
from netd.store.rows import updated

_STORED = (
    "username", "username_key", "password", "password_hashed", "plan_id", "state", "max_sessions", "ipv4", "ipv6_prefix", "delegated_ipv6_prefix",
    "expires_at", "full_name", "note", "site_id", "access_hours", "time_zone", "vlan", "line_mode", "line_learn",
)  # fmt: skip
COLUMNS = ("line", "subscriber_id", *_STORED, "checks", "replies", "lines", "mac_addresses", "circuit_ids")
"""The order of a row's values: ``subscriber_id`` None makes one. ``checks`` and ``replies`` are lists of [attribute, op, value], ``lines`` of the members of
:class:`~netd.store.lines.Kept`, ``mac_addresses`` and ``circuit_ids`` of texts; None leaves them."""

_TIMEOUT_SECONDS = 600.0
_ADDRESSES = ("ipv4", "delegated_ipv6_prefix")
_DEVICES = (("mac", "mac_addresses"), ("circuit_id", "circuit_ids"))


class Clash(NamedTuple):
    """A row that cannot be stored because another subscriber has its ``column`` already; ``owner`` is that one."""

    line: int
    column: str
    owner: str
    owner_state: str


async def begin(conn: Connection) -> None:
    """Make the temporary table."""
    await conn.execute(
        """create temp table netd_provision (
             line integer not null, subscriber_id bigint, username text not null, username_key text not null, password bytea, password_hashed boolean not null,
             plan_id bigint not null, state text not null, max_sessions integer, ipv4 inet, ipv6_prefix cidr, delegated_ipv6_prefix cidr,
             expires_at timestamptz, full_name text, note text, site_id bigint, access_hours text, time_zone text, vlan text, line_mode text not null,
             line_learn boolean not null, checks jsonb, replies jsonb, lines jsonb, mac_addresses text[], circuit_ids text[]
           ) on commit drop"""
    )


async def add(conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Copy rows in, values as in ``COLUMNS``."""
    await conn.copy_records_to_table("netd_provision", records=rows, columns=COLUMNS, timeout=_TIMEOUT_SECONDS)


async def take_out_clashes(conn: Connection, tenant_id: int) -> tuple[list[Clash], dict[str, int]]:
    """Remove rows that want an address, or a device, which a subscriber outside of them has; those, and how many went out ("created", "updated")."""
    await conn.execute("analyze netd_provision", timeout=_TIMEOUT_SECONDS)
    owned = " union all ".join(
        f"""select r.line, '{column}', s.username, s.state from netd_provision r join subscribers s on s.tenant_id = $1 and s.{column} = r.{column}
            where r.state <> 'terminated' and s.state <> 'terminated' and s.id is distinct from r.subscriber_id
              and not exists (select from netd_provision o where o.subscriber_id = s.id
                              and (o.{column} is distinct from s.{column} or o.state = 'terminated'))"""
        for column in _ADDRESSES
    )
    owned += "".join(
        f""" union all
            select distinct r.line, '{column}', s.username, s.state from netd_provision r cross join lateral unnest(r.{column}) as v (value)
            join subscriber_identities i on i.tenant_id = $1 and i.kind = '{kind}' and i.value = v.value join subscribers s on s.id = i.subscriber_id
            where i.subscriber_id is distinct from r.subscriber_id
              and not exists (select from netd_provision o where o.subscriber_id = i.subscriber_id and not o.{column} @> array[i.value])"""
        for kind, column in _DEVICES
    )
    clashes = [Clash(*record) for record in await conn.fetch(owned, tenant_id, timeout=_TIMEOUT_SECONDS)]
    removed = {"created": 0, "updated": 0}
    if clashes:
        for record in await conn.fetch(
            "delete from netd_provision where line = any($1::integer[]) returning subscriber_id is null as new", [clash.line for clash in clashes]
        ):
            removed["created" if record["new"] else "updated"] += 1
    return clashes, removed


async def store(conn: Connection, tenant_id: int) -> None:
    """Make and change the subscribers."""
    # Addresses that change hands: first let go, then take, for uniqueness is checked row by row.
    for column in _ADDRESSES:
        await conn.execute(
            f"""update subscribers s set {column} = null from netd_provision r
                where s.id = r.subscriber_id and s.tenant_id = $1 and s.{column} is not null and s.{column} is distinct from r.{column}""",
            tenant_id, timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
    sets = ", ".join(f"{name} = r.{name}" for name in _STORED)
    await conn.execute(
        f"""update subscribers s set {sets}, version = s.version + 1, updated_at = now(),
              state_changed_at = case when s.state = r.state then s.state_changed_at else now() end,
              state_reason = case when s.state = r.state then s.state_reason end
            from netd_provision r where s.id = r.subscriber_id and s.tenant_id = $1""",
        tenant_id, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    names = ", ".join(_STORED)
    await conn.execute(
        f"insert into subscribers (tenant_id, {names}) select $1, {names} from netd_provision where subscriber_id is null order by line",
        tenant_id, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    for table, column in (("radcheck", "checks"), ("radreply", "replies")):
        await _attributes(conn, tenant_id, table, column)
    await _lines(conn, tenant_id)
    await _devices(conn, tenant_id)


async def _lines(conn: Connection, tenant_id: int) -> None:
    await conn.execute(
        "delete from subscriber_lines l using netd_provision r where l.tenant_id = $1 and l.subscriber_id = r.subscriber_id and r.lines is not null",
        tenant_id, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    await conn.execute(
        """insert into subscriber_lines (tenant_id, subscriber_id, nas_id, circuit_id, remote_id, nas_port_id, mac, learned_at)
           select $1, s.id, (l.row ->> 'nas_id')::bigint, l.row ->> 'circuit_id', l.row ->> 'remote_id', l.row ->> 'nas_port_id', l.row ->> 'mac',
                  (l.row ->> 'learned_at')::timestamptz
           from netd_provision r join subscribers s on s.tenant_id = $1 and s.username_key = r.username_key
           cross join lateral jsonb_array_elements(r.lines) with ordinality as l (row, place)
           order by r.line, l.place""", tenant_id, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip


async def _devices(conn: Connection, tenant_id: int) -> None:
    for kind, column in _DEVICES:  # all are let go before one is taken: devices change hands
        await conn.execute(
            f"""delete from subscriber_identities i using netd_provision r
                where i.tenant_id = $1 and i.subscriber_id = r.subscriber_id and i.kind = '{kind}' and r.{column} is not null""",
            tenant_id, timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
        await conn.execute(
            f"""insert into subscriber_identities (tenant_id, subscriber_id, kind, value)
                select $1, s.id, '{kind}', v.value from netd_provision r join subscribers s on s.tenant_id = $1 and s.username_key = r.username_key
                cross join lateral unnest(r.{column}) as v (value)""", tenant_id, timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip


async def analyze(conn: Connection) -> None:
    """Let the planner know of the subscribers that there are now; takes a second for hundreds of thousands."""
    await conn.execute("select netd_analyze_subscribers()", timeout=_TIMEOUT_SECONDS)


async def _attributes(conn: Connection, tenant_id: int, table: str, column: str) -> int:
    await conn.execute(
        f"delete from {table} a using netd_provision r where a.tenant_id = $1 and a.subscriber_id = r.subscriber_id and r.{column} is not null",
        tenant_id, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    return updated(await conn.execute(
        f"""insert into {table} (tenant_id, subscriber_id, username, attribute, op, value)
            select $1, s.id, '', a.row ->> 0, a.row ->> 1, a.row ->> 2
            from netd_provision r join subscribers s on s.tenant_id = $1 and s.username_key = r.username_key
            cross join lateral jsonb_array_elements(r.{column}) with ordinality as a (row, place)
            order by r.line, a.place""",
        tenant_id, timeout=_TIMEOUT_SECONDS,
    ))  # fmt: skip
