"""Webhooks: what operators see and change of them. How deliveries go on is in ``store.deliveries``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from netd.model.event import Place
from netd.model.webhook import Delivery, Webhook
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = (
    "name", "url", "types", "sites", "secrets", "note", "enabled", "disabled_at", "disabled_reason", "attempts", "failing_since", "due_at", "created_by",
)  # fmt: skip
"""What can be set; ``secrets`` are sealed."""

MEMBERS = ", ".join(f"{name}" for name in Webhook.__struct_fields__ if name != "after") + ", after_xid::text || '.' || after_id as after"
_SELECT = f"select {MEMBERS} from webhooks"
_DELIVERY = ", ".join(Delivery.__struct_fields__)

LISTING = Listing(
    kind="webhook", select=_SELECT, counted="webhooks", tenant="tenant_id", id="id", search="lower(name || ' ' || url) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
        "enabled": Column(sql="enabled", kind=bool), "failing_since": Column(sql="failing_since", kind=datetime, nullable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True),
    },
)  # fmt: skip

DELIVERIES = Listing(
    kind="delivery", select=f"select {_DELIVERY} from webhook_deliveries", counted="webhook_deliveries", tenant="tenant_id", id="id", descending=True,
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"),
        "event_id": Column(sql="event_id", nullable=True), "event_type": Column(sql="event_type"),
        "delivered": Column(sql="delivered", kind=bool), "at": Column(sql="at", kind=datetime),
    },
    within={"webhook_id": Column(sql="webhook_id", kind=int, cast="bigint")},
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Webhook]:
    """Webhooks of the listing's records."""
    return [webhook(record) for record in records]


def webhook(record: Mapping[str, Any]) -> Webhook:
    """The webhook of a record that has MEMBERS, and perhaps more."""
    values = {name: record[name] for name in Webhook.__struct_fields__}
    return Webhook(**{**values, "types": tuple(values["types"]), "sites": None if values["sites"] is None else tuple(values["sites"])})


def deliveries(records: Sequence[Mapping[str, Any]]) -> list[Delivery]:
    """Deliveries of the listing's records."""
    return [Delivery(**record) for record in records]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any], after: Place) -> Webhook:
    """Add a webhook that begins behind ``after``. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("webhooks", COLUMNS, tenant_id, values)
    made = await conn.fetchval(f"{statement} returning id", *args)
    await move(conn, tenant_id, made, after)
    return webhook(await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2", tenant_id, made))


async def get(conn: Connection, tenant_id: int, webhook_id: int, *, lock: bool = False) -> Webhook | None:
    """The webhook; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, webhook_id)
    return None if record is None else webhook(record)


async def secrets(conn: Connection, tenant_id: int, webhook_id: int) -> bytes:
    """The sealed secrets of a webhook that is there."""
    found: bytes = await conn.fetchval("select secrets from webhooks where tenant_id = $1 and id = $2", tenant_id, webhook_id)
    return found


async def update(conn: Connection, tenant_id: int, webhook_id: int, values: Mapping[str, Any]) -> Webhook | None:
    """Set columns; None if there is no such webhook. Whoever is delivering to it notices by the new version."""
    statement, args = rows.update("webhooks", COLUMNS, tenant_id, webhook_id, values)
    record = await conn.fetchrow(f"{statement} returning {MEMBERS}", *args)
    return None if record is None else webhook(record)


async def move(conn: Connection, tenant_id: int, webhook_id: int, after: Place) -> None:
    """Let it go on behind another event."""
    await conn.execute(
        "update webhooks set after_xid = $3::text::xid8, after_id = $4 where tenant_id = $1 and id = $2", tenant_id, webhook_id, str(after.xid), after.number
    )


async def delete(conn: Connection, tenant_id: int, webhook_id: int) -> bool:
    """Remove a webhook with its deliveries; whether it was there."""
    return rows.updated(await conn.execute("delete from webhooks where tenant_id = $1 and id = $2", tenant_id, webhook_id)) > 0


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed value) of every tenant's webhooks by id, for re-sealing."""
    return await rows.sealed(conn, "webhooks", after, limit)


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed values, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return await rows.reseal(conn, "webhooks", replacements)
