"""Many new subscribers at once: rows are copied into a temporary table, compared with what is there, and inserted as a set.

The table lives until the transaction ends. Statements get more time than the pool allows others, for a file may be large.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from netd.store.database import Connection
from netd.store.rows import updated

COLUMNS = (
    "line", "username", "username_key", "password", "plan_id", "state", "max_sessions", "ipv4", "ipv6_prefix", "delegated_ipv6_prefix", "expires_at",
    "full_name", "note",
)  # fmt: skip
"""The order of a row's values; ``password`` is sealed."""

_TIMEOUT_SECONDS = 600.0
_STORED = ", ".join(COLUMNS[1:])


class Clash(NamedTuple):
    """A row that cannot be stored because another subscriber has its ``column`` already; ``owner`` is that one."""

    line: int
    column: str
    owner: str
    owner_state: str


async def begin(conn: Connection) -> None:
    """Make the temporary table."""
    await conn.execute(
        """create temp table netd_import (
             line integer not null, username text not null, username_key text not null, password bytea, plan_id bigint not null, state text not null,
             max_sessions integer, ipv4 inet, ipv6_prefix cidr, delegated_ipv6_prefix cidr, expires_at timestamptz, full_name text, note text
           ) on commit drop"""
    )


async def add(conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Copy rows in, values as in ``COLUMNS``."""
    await conn.copy_records_to_table("netd_import", records=rows, columns=COLUMNS, timeout=_TIMEOUT_SECONDS)


async def take_out_clashes(conn: Connection, tenant_id: int, limit: int) -> tuple[list[Clash], int, int]:
    """Remove rows whose username or address a subscriber of the tenant has.

    Returns the first ``limit`` clashes by line, how many clashes there are, and how many rows went out.
    """
    await conn.execute("analyze netd_import", timeout=_TIMEOUT_SECONDS)
    await conn.execute("create temp table netd_clash (line integer, column_name text, owner text, owner_state text) on commit drop")
    await conn.execute(
        """insert into netd_clash
           select r.line, 'username', s.username, s.state from netd_import r join subscribers s on s.tenant_id = $1 and s.username_key = r.username_key
           union all
           select r.line, 'ipv4', s.username, s.state from netd_import r join subscribers s on s.tenant_id = $1 and s.ipv4 = r.ipv4
           where s.state <> 'terminated' and r.state <> 'terminated'
           union all
           select r.line, 'delegated_ipv6_prefix', s.username, s.state from netd_import r
           join subscribers s on s.tenant_id = $1 and s.delegated_ipv6_prefix = r.delegated_ipv6_prefix
           where s.state <> 'terminated' and r.state <> 'terminated'""", tenant_id, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    count = int(await conn.fetchval("select count(*) from netd_clash"))
    if not count:
        return [], 0, 0
    records = await conn.fetch(
        "select line, column_name, owner, owner_state from netd_clash order by line, column_name <> 'username', column_name limit $1", limit
    )
    removed = await conn.fetchval(
        "with gone as (delete from netd_import where line in (select line from netd_clash) returning line) select count(*) from gone",
        timeout=_TIMEOUT_SECONDS,
    )
    return [Clash(*record) for record in records], count, int(removed)


async def store(conn: Connection, tenant_id: int) -> int:
    """Make subscribers of the rows, in order of lines; returns how many."""
    statement = f"insert into subscribers (tenant_id, {_STORED}) select $1, {_STORED} from netd_import order by line"
    return updated(await conn.execute(statement, tenant_id, timeout=_TIMEOUT_SECONDS))
