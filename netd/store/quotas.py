"""Quotas of plans, top-ups and events, one tenant's at a time. The engine counts through ``store.metering``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from netd.model.quota import Action, Quota, QuotaEvent, QuotaPeriod, Stage, TopUp, Unit
from netd.model.subscriber import username_key
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing
from netd.store.metering import SELECT_QUOTAS, quota

COLUMNS = (
    "plan_id", "name", "unit", "period", "direction", "amount", "timezone", "free_windows", "rollover_amount", "hysteresis_percent",
)  # fmt: skip
"""What can be set; ``free_windows`` are plain values."""

_TOP_UP = """select t.id, q.name as quota, q.unit, t.amount, t.used, t.expires_at, t.note, t.created_at, t.created_by
             from top_ups t join plan_quotas q on q.id = t.quota_id"""
_EVENT = """select e.id, e.at, e.subscriber_id, s.username, q.name as quota, q.unit, e.starts_at, e.percent, e.action, e.used, e.allowance
            from quota_events e join subscribers s on s.id = e.subscriber_id join plan_quotas q on q.id = e.quota_id"""

_NAME = Column(sql="lower(q.name)", param="lower({})", sortable=True)
LISTING = Listing(
    kind="quota", select=SELECT_QUOTAS, counted="plan_quotas q", tenant="q.tenant_id", id="q.id", search="lower(q.name) like {}",
    columns={
        "id": Column(sql="q.id", kind=int, cast="bigint"), "name": _NAME, "unit": Column(sql="q.unit", kind=Unit),
        "period": Column(sql="q.period", kind=QuotaPeriod), "amount": Column(sql="q.amount", kind=int, cast="bigint", sortable=True),
        "created_at": Column(sql="q.created_at", kind=datetime, sortable=True), "updated_at": Column(sql="q.updated_at", kind=datetime, sortable=True),
    },
    within={"plan_id": Column(sql="q.plan_id", kind=int, cast="bigint")},
)  # fmt: skip
TOP_UPS = Listing(
    kind="top_up", select=_TOP_UP, counted=_TOP_UP[_TOP_UP.index("from") + 5 :], tenant="t.tenant_id", id="t.id", descending=True,
    search="lower(concat_ws(' ', q.name, t.note, t.created_by)) like {}",
    columns={
        "id": Column(sql="t.id", kind=int, cast="bigint"), "quota": _NAME, "unit": Column(sql="q.unit", kind=Unit),
        "amount": Column(sql="t.amount", kind=int, cast="bigint", sortable=True), "used": Column(sql="t.used", kind=int, cast="bigint", sortable=True),
        "expires_at": Column(sql="t.expires_at", kind=datetime, nullable=True), "created_by": Column(sql="t.created_by"),
        "created_at": Column(sql="t.created_at", kind=datetime, sortable=True),
    },
    within={"subscriber_id": Column(sql="t.subscriber_id", kind=int, cast="bigint")},
)  # fmt: skip
EVENTS = Listing(
    kind="quota_event", select=_EVENT, counted=_EVENT[_EVENT.index("from") + 5 :], tenant="e.tenant_id", id="e.id", descending=True,
    columns={
        "id": Column(sql="e.id", kind=int, cast="bigint"), "username": Column(sql="s.username_key", fold=username_key),
        "subscriber_id": Column(sql="e.subscriber_id", kind=int, cast="bigint"), "quota": Column(sql="lower(q.name)", param="lower({})"),
        "unit": Column(sql="q.unit", kind=Unit), "action": Column(sql="e.action", kind=Action), "percent": Column(sql="e.percent", kind=int, cast="integer"),
        "at": Column(sql="e.at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Quota]:
    """Quotas of the listing's records."""
    return [quota(record) for record in records]


def top_ups_of(records: Sequence[Mapping[str, Any]]) -> list[TopUp]:
    """Top-ups of the listing's records."""
    return [TopUp(**record) for record in records]


def events_of(records: Sequence[Mapping[str, Any]]) -> list[QuotaEvent]:
    """Events of the listing's records."""
    return [QuotaEvent(**record) for record in records]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any], stages: Sequence[Stage]) -> int:
    """Add a quota with its stages; returns its id. Raises Conflict through the transaction if the plan has one of that name."""
    statement, args = rows.insertion("plan_quotas", COLUMNS, tenant_id, values)
    quota_id = int(await conn.fetchval(f"{statement} returning id", *args))
    await replace_stages(conn, tenant_id, quota_id, stages)
    return quota_id


async def replace_stages(conn: Connection, tenant_id: int, quota_id: int, stages: Sequence[Stage]) -> None:
    """Make these the quota's only stages."""
    await conn.execute("delete from quota_stages where tenant_id = $1 and quota_id = $2", tenant_id, quota_id)
    await conn.executemany(
        "insert into quota_stages (tenant_id, quota_id, percent, action, down_bps, up_bps, profile) values ($1, $2, $3, $4, $5, $6, $7)",
        [(tenant_id, quota_id, *msgspec.structs.astuple(stage)) for stage in stages],
    )


async def of_plan(conn: Connection, tenant_id: int, plan_id: int) -> list[Quota]:
    """The quotas of a plan, by id."""
    return [quota(record) for record in await conn.fetch(f"{SELECT_QUOTAS} where q.tenant_id = $1 and q.plan_id = $2 order by q.id", tenant_id, plan_id)]


async def get(conn: Connection, tenant_id: int, plan_id: int, quota_id: int, *, lock: bool = False) -> Quota | None:
    """A quota of this plan; with ``lock`` nobody else changes it until the transaction ends."""
    suffix = " for update of q" if lock else ""
    record = await conn.fetchrow(f"{SELECT_QUOTAS} where q.tenant_id = $1 and q.plan_id = $2 and q.id = $3{suffix}", tenant_id, plan_id, quota_id)
    return None if record is None else quota(record)


async def update(conn: Connection, tenant_id: int, quota_id: int, values: Mapping[str, Any]) -> bool:
    """Set columns and count the version up (with no column at all too: the stages changed); whether it was there."""
    statement, args = rows.update("plan_quotas", COLUMNS, tenant_id, quota_id, values)
    return rows.updated(await conn.execute(statement, *args)) > 0


async def delete(conn: Connection, tenant_id: int, quota_id: int) -> bool:
    """Remove a quota with all that was counted and bought for it; whether it was there."""
    return rows.updated(await conn.execute("delete from plan_quotas where tenant_id = $1 and id = $2", tenant_id, quota_id)) > 0


async def unspent(conn: Connection, tenant_id: int, quota_id: int) -> int:
    """How many top-ups of a quota still have something left."""
    return int(
        await conn.fetchval(
            "select count(*) from top_ups where tenant_id = $1 and quota_id = $2 and used < amount and (expires_at is null or expires_at > now())",
            tenant_id,
            quota_id,
        )
    )


async def activated_at(conn: Connection, tenant_id: int, subscriber_id: int) -> datetime | None:
    """When a subscriber was activated: the anniversary of its periods."""
    at: datetime | None = await conn.fetchval("select activated_at from subscribers where tenant_id = $1 and id = $2", tenant_id, subscriber_id)
    return at


async def add_top_up(
    conn: Connection, tenant_id: int, subscriber_id: int, quota_id: int, *, amount: int, expires_at: datetime | None, note: str | None, created_by: str,
) -> TopUp:  # fmt: skip
    """Add a top-up."""
    made = await conn.fetchval(
        """insert into top_ups (tenant_id, subscriber_id, quota_id, amount, expires_at, note, created_by) values ($1, $2, $3, $4, $5, $6, $7)
           returning id""", tenant_id, subscriber_id, quota_id, amount, expires_at, note, created_by,
    )  # fmt: skip
    return TopUp(**await conn.fetchrow(f"{_TOP_UP} where t.tenant_id = $1 and t.id = $2", tenant_id, made))


async def valid_top_ups(conn: Connection, tenant_id: int, subscriber_id: int) -> list[TopUp]:
    """Those of a subscriber's top-ups that have something left and are not expired, first to expire first."""
    return [
        TopUp(**record)
        for record in await conn.fetch(
            f"""{_TOP_UP} where t.tenant_id = $1 and t.subscriber_id = $2 and t.used < t.amount and (t.expires_at is null or t.expires_at > now())
                order by t.expires_at nulls last, t.id""", tenant_id, subscriber_id,
        )
    ]  # fmt: skip
