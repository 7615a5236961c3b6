"""Delivering to webhooks: who does it, how far they are, and the log of attempts.

A claim is a lease with a fence: nothing is written under a fence or a version that is no longer the row's, so who was thought dead, or delivers what
an operator has changed meanwhile, cannot undo anything.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from netd.model.event import Place, place
from netd.model.webhook import Webhook
from netd.store import webhooks
from netd.store.database import Connection
from netd.store.events import Kept, end, page
from netd.store.rows import updated

LEASE_SECONDS: Final = 90.0


class Claim(NamedTuple):
    """A webhook that is this node's to serve, with its sealed secrets."""

    webhook: Webhook
    secrets: bytes
    fence: int


class Row(NamedTuple):
    """A line of the log to be written."""

    delivery_id: str
    event_id: str | None
    event_type: str
    at: datetime
    attempt: int
    delivered: bool
    status: int | None
    error: str | None
    seconds: float


class Outcome(NamedTuple):
    """What became of the last attempt, as it is shown."""

    status: int | None
    error: str | None
    at: datetime
    delivered_at: datetime | None  # None: as it was


_CLAIM = f"""
    update webhooks w set lease_owner = $1, lease_until = clock_timestamp() + $2::float8 * interval '1 second', fence = fence + 1
    where w.id in (
        select c.id from webhooks c
        where c.enabled and c.due_at <= $3 and (c.lease_until is null or c.lease_until < clock_timestamp())
            and exists (select from events e where e.tenant_id = c.tenant_id and (e.xid, e.id) > (c.after_xid, c.after_id)
                        and e.xid < pg_snapshot_xmin(pg_current_snapshot()))
        order by c.due_at limit $4 for update of c skip locked)
    returning {webhooks.MEMBERS}, secrets, fence
"""
_HELD = "id = $1 and fence = $2 and version = $3"


async def claim(conn: Connection, owner: str, now: datetime, limit: int) -> list[Claim]:
    """Take webhooks for which something is due, at most ``limit``; they are this node's for LEASE_SECONDS."""
    records = await conn.fetch(_CLAIM, owner, LEASE_SECONDS, now, limit)
    return [Claim(webhooks.webhook(record), record["secrets"], record["fence"]) for record in records]


async def due(conn: Connection, claimed: Claim, after: Place, limit: int) -> tuple[list[Kept], Place]:
    """What is to be delivered behind ``after``, and the place up to which nothing else is."""
    horizon = await end(conn)  # first: the page then sees all that lies before it
    hook = claimed.webhook
    found = await page(conn, hook.tenant_id, after, limit, hook.types, hook.sites)
    if len(found) == limit:
        return found, found[-1].place
    return found, max([after, horizon, *(kept.place for kept in found)])


async def advance(conn: Connection, claimed: Claim, after: Place, outcome: Outcome | None) -> bool:
    """It is behind ``after`` and nothing fails; renews the lease. False if it is no longer this node's to serve."""
    got = outcome or Outcome(None, None, claimed.webhook.created_at, None)
    return updated(await conn.execute(
        f"""update webhooks set after_xid = $4::text::xid8, after_id = $5, lease_until = clock_timestamp() + $6::float8 * interval '1 second',
                attempts = case when $7 then 0 else attempts end, failing_since = case when $7 then null else failing_since end,
                last_status = case when $7 then $8 else last_status end, last_error = case when $7 then null else last_error end,
                last_attempt_at = case when $7 then $9::timestamptz else last_attempt_at end, last_delivered_at = coalesce($10, last_delivered_at)
            where {_HELD}""",
        claimed.webhook.id, claimed.fence, claimed.webhook.version, str(after.xid), after.number, LEASE_SECONDS,
        outcome is not None, got.status, got.at, got.delivered_at,
    )) > 0  # fmt: skip


async def failed(conn: Connection, claimed: Claim, after: Place, outcome: Outcome, attempts: int, since: datetime, due_at: datetime) -> bool:
    """The event behind ``after`` was not delivered and is due again at ``due_at``; gives the lease back. False as in ``advance``."""
    return updated(await conn.execute(
        f"""update webhooks set after_xid = $4::text::xid8, after_id = $5, attempts = $6, failing_since = $7, due_at = $8, last_status = $9,
                last_error = $10, last_attempt_at = $11, last_delivered_at = coalesce($12, last_delivered_at), lease_owner = null, lease_until = null
            where {_HELD}""",
        claimed.webhook.id, claimed.fence, claimed.webhook.version, str(after.xid), after.number, attempts, since, due_at, outcome.status, outcome.error,
        outcome.at, outcome.delivered_at,
    )) > 0  # fmt: skip


async def disable(conn: Connection, claimed: Claim, reason: str, at: datetime) -> bool:
    """Deliver no more until somebody enables it again; call it after ``failed``, in its transaction."""
    return updated(await conn.execute(
        f"update webhooks set enabled = false, disabled_at = $4, disabled_reason = $5, version = version + 1, updated_at = $4 where {_HELD}",
        claimed.webhook.id, claimed.fence, claimed.webhook.version, at, reason,
    )) > 0  # fmt: skip


async def release(conn: Connection, claimed: Claim) -> None:
    """Give the lease back, whatever was changed meanwhile."""
    await conn.execute("update webhooks set lease_owner = null, lease_until = null where id = $1 and fence = $2", claimed.webhook.id, claimed.fence)


async def log(conn: Connection, hook: Webhook, lines: Sequence[Row]) -> None:
    """Keep attempts."""
    columns: list[list[Any]] = [list(part) for part in zip(*lines, strict=True)]
    await conn.execute(
        """insert into webhook_deliveries (tenant_id, webhook_id, delivery_id, event_id, event_type, at, attempt, delivered, status, error, seconds)
           select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int[], $8::bool[], $9::int[], $10::text[], $11::float8[])
           where exists (select from webhooks where id = $2)""",
        hook.tenant_id, hook.id, *columns,
    )  # fmt: skip


async def standing(conn: Connection) -> dict[str, int]:
    """How many webhooks of all tenants are ``enabled``, ``failing`` (of these) and ``given_up``."""
    record = await conn.fetchrow(
        """select count(*) filter (where enabled) as enabled, count(*) filter (where enabled and failing_since is not null) as failing,
               count(*) filter (where not enabled and disabled_reason is not null) as given_up from webhooks"""
    )
    return dict(record)


def place_of(hook: Webhook) -> Place:
    """How far it is."""
    return place(hook.after)
