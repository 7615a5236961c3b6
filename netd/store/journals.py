"""What the database knows of the nodes' accounting journals: whose it is, and how much of each is in the tables. Of no tenant."""

from collections.abc import Sequence
from typing import Any

from netd.store.database import Connection


async def database_id(conn: Connection) -> str:
    """The database's own name, made with its schema, and made anew should somebody have removed it."""
    await conn.execute("insert into database_identity default values on conflict do nothing")
    return str(await conn.fetchval("select id::text from database_identity"))


async def positions(conn: Connection, journals: Sequence[str]) -> dict[str, int]:
    """The sequence of the last record that is in the tables, of those of ``journals`` (ids) that are known."""
    rows: list[Any] = await conn.fetch("select journal_id::text as id, sequence from accounting_journals where journal_id = any($1::uuid[])", journals)
    return {row["id"]: row["sequence"] for row in rows}


async def hold(conn: Connection, journal: str, node: str) -> int:
    """The same of one journal, 0 if none is; nobody else can replay it until the transaction ends (a copied data folder may hold it twice)."""
    await conn.execute(
        "insert into accounting_journals (journal_id, node, sequence) values ($1::uuid, $2, 0) on conflict (journal_id) do nothing", journal, node
    )
    return int(await conn.fetchval("select sequence from accounting_journals where journal_id = $1::uuid for update", journal))


async def advance(conn: Connection, journal: str, sequence: int) -> None:
    """Say that the records up to ``sequence`` are in the tables: in the transaction that puts them there."""
    await conn.execute("update accounting_journals set sequence = $2, replayed_at = now() where journal_id = $1::uuid and sequence < $2", journal, sequence)


async def forget(conn: Connection, journals: Sequence[str]) -> None:
    """Drop what is known of journals whose files are gone."""
    await conn.execute("delete from accounting_journals where journal_id = any($1::uuid[])", journals)
