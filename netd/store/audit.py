"""The audit log: rows are added, never changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from netd.model.audit import AuditRow
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_COLUMNS = ", ".join("host(address) as address" if name == "address" else name for name in AuditRow.__struct_fields__)


LISTING = Listing(
    kind="audit", select=f"select {_COLUMNS} from audit_log", counted="audit_log", tenant="tenant_id", id="id", descending=True,
    search="lower(concat_ws(' ', actor, action, object_type, object_id, before::text, after::text)) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "at": Column(sql="at", kind=datetime), "actor": Column(sql="actor"),
        "token_id": Column(sql="token_id", kind=int, cast="bigint"), "address": Column(sql="address", cast="inet"), "request_id": Column(sql="request_id"),
        "action": Column(sql="action"), "object_type": Column(sql="object_type"), "object_id": Column(sql="object_id"), "result": Column(sql="result"),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[AuditRow]:
    """Rows of the listing's records."""
    return [AuditRow(**record) for record in records]


class New(NamedTuple):
    """A row to be added. ``before`` and ``after`` hold JSON values and no secret."""

    actor: str
    token_id: int | None
    address: str | None
    request_id: str | None
    action: str
    object_type: str
    object_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    result: str


_INSERT = """
    insert into audit_log (tenant_id, actor, token_id, address, request_id, action, object_type, object_id, before, after, result)
    values ($1, $2, $3, $4::text::inet, $5, $6, $7, $8, $9, $10, $11)
"""


async def insert(conn: Connection, tenant_id: int, rows: Sequence[New]) -> None:
    """Add rows, in order."""
    await conn.executemany(_INSERT, [(tenant_id, *row) for row in rows])


class Checked(NamedTuple):
    """A stretch of the chain: how many rows were looked at, the last good one with its hash, and the first that does not fit."""

    rows: int
    last_id: int
    last_hash: bytes
    wrong: int | None


async def verify(conn: Connection, tenant_id: int, after: int, hash_: bytes, most: int) -> Checked:
    """Follow the chain from behind the row ``after``, whose hash is ``hash_``."""
    record = await conn.fetchrow("select rows, last_id, last_hash, wrong from netd_verify_audit($1, $2, $3, $4)", tenant_id, after, hash_, most)
    return Checked(*record)


async def head(conn: Connection, tenant_id: int) -> tuple[int, bytes]:
    """The id and hash that the last row must have."""
    record = await conn.fetchrow("select last_id, hash from audit_heads where tenant_id = $1", tenant_id)
    return (0, b"") if record is None else (record["last_id"], record["hash"])


async def hash_of(conn: Connection, tenant_id: int, row_id: int) -> bytes | None:
    """The hash that a row carries, None if there is no such row."""
    found: bytes | None = await conn.fetchval("select hash from audit_log where tenant_id = $1 and id = $2", tenant_id, row_id)
    return found


async def last(conn: Connection, tenant_id: int, object_type: str, object_id: str, actions: Sequence[str]) -> AuditRow | None:
    """The last of these actions that was done to the object."""
    record = await conn.fetchrow(
        f"""select {_COLUMNS} from audit_log where tenant_id = $1 and object_type = $2 and object_id = $3 and action = any($4::text[]) and result = 'ok'
            order by id desc limit 1""", tenant_id, object_type, object_id, list(actions),
    )  # fmt: skip
    return None if record is None else AuditRow(**record)
