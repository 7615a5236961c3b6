"""The audit log: rows are added, never changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.model.audit import AuditRow
from netd.store import rows
from netd.store.database import Connection

_COLUMNS = ", ".join("host(address) as address" if name == "address" else name for name in AuditRow.__struct_fields__)


async def insert(
    conn: Connection, tenant_id: int, *, actor: str, token_id: int | None, address: str | None, request_id: str | None, action: str,
    object_type: str, object_id: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, result: str,
) -> None:  # fmt: skip
    """Add a row. ``before`` and ``after`` hold JSON values and no secret."""
    await conn.execute(
        """insert into audit_log (tenant_id, actor, token_id, address, request_id, action, object_type, object_id, before, after, result)
           values ($1, $2, $3, $4::text::inet, $5, $6, $7, $8, $9, $10, $11)""",
        tenant_id, actor, token_id, address, request_id, action, object_type, object_id, before, after, result,
    )  # fmt: skip


async def last(conn: Connection, tenant_id: int, object_type: str, object_id: str, actions: Sequence[str]) -> AuditRow | None:
    """The last of these actions that was done to the object."""
    record = await conn.fetchrow(
        f"""select {_COLUMNS} from audit_log where tenant_id = $1 and object_type = $2 and object_id = $3 and action = any($4::text[]) and result = 'ok'
            order by id desc limit 1""", tenant_id, object_type, object_id, list(actions),
    )  # fmt: skip
    return None if record is None else AuditRow(**record)


def _where(tenant_id: int, object_type: str | None, object_id: str | None) -> rows.Where:
    where = rows.Where(tenant_id)
    if object_type is not None:
        where.add("object_type = {}", rows.storable(object_type))
    if object_id is not None:
        where.add("object_id = {}", rows.storable(object_id))
    return where


async def page(
    conn: Connection, tenant_id: int, *, before: int | None, limit: int, object_type: str | None = None, object_id: str | None = None,
) -> list[AuditRow]:  # fmt: skip
    """Rows, newest first, those with an id below ``before``."""
    where = _where(tenant_id, object_type, object_id)
    if before is not None:
        where.add("id < {}", before)
    records = await conn.fetch(f"select {_COLUMNS} from audit_log where {where} order by id desc limit {where.place(limit)}", *where.args)
    return [AuditRow(**record) for record in records]


async def count(conn: Connection, tenant_id: int, *, object_type: str | None = None, object_id: str | None = None) -> int:
    """How many there are."""
    where = _where(tenant_id, object_type, object_id)
    return int(await conn.fetchval(f"select count(*) from audit_log where {where}", *where.args))
