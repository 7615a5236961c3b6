"""Billing hooks, and the notices that came through them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from netd.model.webhook import BillingHook
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = ("public_id", "name", "mode", "sites", "secrets", "note", "enabled", "created_by")
"""What can be set; ``secrets`` are sealed."""

NOTICES_KEPT: Final = timedelta(days=30)
"""How long a notice that comes again is known."""

_MEMBERS = ", ".join(BillingHook.__struct_fields__)
_SELECT = f"select {_MEMBERS} from billing_hooks"

LISTING = Listing(
    kind="billing_hook", select=_SELECT, counted="billing_hooks", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
        "enabled": Column(sql="enabled", kind=bool), "last_used_at": Column(sql="last_used_at", kind=datetime, nullable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


class Stored(NamedTuple):
    """A billing hook with its sealed secrets."""

    hook: BillingHook
    secrets: bytes


class Known(NamedTuple):
    """A notice of before: what it asked for, and what was answered."""

    fingerprint: bytes
    answer: dict[str, Any]


def of(records: Sequence[Mapping[str, Any]]) -> list[BillingHook]:
    """Billing hooks of the listing's records."""
    return [_hook(record) for record in records]


def _hook(record: Mapping[str, Any]) -> BillingHook:
    values = {name: record[name] for name in BillingHook.__struct_fields__}
    return BillingHook(**{**values, "sites": None if values["sites"] is None else tuple(values["sites"])})


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> BillingHook:
    """Add a billing hook. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("billing_hooks", COLUMNS, tenant_id, values)
    return _hook(await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args))


async def get(conn: Connection, tenant_id: int, hook_id: int, *, lock: bool = False) -> BillingHook | None:
    """The hook; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, hook_id)
    return None if record is None else _hook(record)


async def by_public_id(conn: Connection, public_id: str) -> Stored | None:
    """The hook of this path. Not confined to a tenant: the hook is what tells the tenant."""
    record = await conn.fetchrow("select * from netd_billing_hook($1)", rows.storable(public_id))
    return None if record is None else Stored(_hook(record), record["secrets"])


async def secrets(conn: Connection, tenant_id: int, hook_id: int) -> bytes:
    """The sealed secrets of a hook that is there."""
    found: bytes = await conn.fetchval("select secrets from billing_hooks where tenant_id = $1 and id = $2", tenant_id, hook_id)
    return found


async def update(conn: Connection, tenant_id: int, hook_id: int, values: Mapping[str, Any]) -> BillingHook | None:
    """Set columns; None if there is no such hook."""
    statement, args = rows.update("billing_hooks", COLUMNS, tenant_id, hook_id, values)
    record = await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args)
    return None if record is None else _hook(record)


async def delete(conn: Connection, tenant_id: int, hook_id: int) -> bool:
    """Remove a hook with its notices; whether it was there."""
    return rows.updated(await conn.execute("delete from billing_hooks where tenant_id = $1 and id = $2", tenant_id, hook_id)) > 0


async def begin(conn: Connection, hook: BillingHook, notice_id: str, fingerprint: bytes, now: datetime) -> Known | None:
    """Note within the transaction that does its work that a notice came; the notice of before if there was one. Waits for one in work."""
    key = rows.storable(notice_id)
    new = await conn.fetchval(
        """insert into billing_notices (tenant_id, hook_id, notice_id, fingerprint, at) values ($1, $2, $3, $4, $5)
           on conflict (hook_id, notice_id) do update set fingerprint = excluded.fingerprint, answer = null, at = excluded.at
               where billing_notices.at < $6 returning true""",
        hook.tenant_id, hook.id, key, fingerprint, now, now - NOTICES_KEPT,
    )  # fmt: skip
    if new:
        return None
    record = await conn.fetchrow("select fingerprint, answer from billing_notices where hook_id = $1 and notice_id = $2", hook.id, key)
    return Known(record["fingerprint"], record["answer"])


async def answered(conn: Connection, hook: BillingHook, notice_id: str, answer: Mapping[str, Any], now: datetime) -> None:
    """Keep what a notice is answered, in the same transaction."""
    await conn.execute(
        "update billing_notices set answer = $3 where hook_id = $1 and notice_id = $2", hook.id, rows.storable(notice_id), dict(answer)
    )  # fmt: skip
    await conn.execute("update billing_hooks set last_used_at = greatest(last_used_at, $2) where id = $1", hook.id, now)


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed value) of every tenant's hooks by id, for re-sealing."""
    return await rows.sealed(conn, "billing_hooks", after, limit)


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed values, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return await rows.reseal(conn, "billing_hooks", replacements)
