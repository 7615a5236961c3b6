"""What a subscriber used of its quotas, and what an operator does about it: top-ups and resets."""

from datetime import UTC, datetime

import msgspec

from netd.domain import allowance, audit, lists, subscribers
from netd.domain.actor import Actor
from netd.domain.inputs import Label, Note
from netd.domain.lists import ListQuery
from netd.domain.metering import Meter
from netd.domain.paging import Page
from netd.domain.quotas import Amount
from netd.domain.subscribers import When
from netd.errors import Fault, InvalidInput
from netd.model.quota import Quota, QuotaEvent, QuotaStanding, QuotaUsage, TopUp
from netd.model.subscriber import Subscriber
from netd.store import metering
from netd.store import quotas as store
from netd.store.database import Connection, Database


class NewTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount on top, used once and after the plan's own. ``quota`` is a name, needed where the plan has several. Without end it never expires."""

    amount: Amount
    quota: Label | None = None
    expires_at: When | None = None
    note: Note | None = None


class QuotaReset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Begin the current period anew, of one quota or (without a name) of all."""

    quota: Label | None = None
    note: Note | None = None


NO_RESET_NOTE = QuotaReset()


class ToppedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up, and where the subscriber stands with it."""

    id: int
    top_up: TopUp
    standing: QuotaStanding


async def standings(db: Database, actor: Actor, subscriber_id: int, now: datetime) -> tuple[QuotaStanding, ...]:
    """Where a subscriber stands with each quota of its plan. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _standings(conn, await subscribers.held(conn, actor, subscriber_id), now)


async def _standings(conn: Connection, subscriber: Subscriber, now: datetime) -> tuple[QuotaStanding, ...]:
    quotas = await store.of_plan(conn, subscriber.tenant_id, subscriber.plan_id)
    if not quotas:
        return ()
    activated_at = await _activated(conn, subscriber)
    known = await metering.usage(conn, [subscriber.id])
    valid = await store.valid_top_ups(conn, subscriber.tenant_id, subscriber.id)
    found = []
    for quota in quotas:
        row = _current(quota, known, now, activated_at, subscriber)
        row.amount = quota.amount
        found.append(_standing(quota, row, tuple(each for each in valid if each.quota == quota.name)))
    return tuple(found)


async def _activated(conn: Connection, subscriber: Subscriber) -> float:
    at = await store.activated_at(conn, subscriber.tenant_id, subscriber.id)
    return 0.0 if at is None else at.timestamp()


def _current(quota: Quota, known: list[QuotaUsage], now: datetime, activated_at: float, subscriber: Subscriber) -> QuotaUsage:
    rows = [row for row in known if row.quota_id == quota.id]
    return allowance.current(Meter(quota), rows, now.timestamp(), activated_at, subscriber.tenant_id, subscriber.id)


def _standing(quota: Quota, row: QuotaUsage, valid: tuple[TopUp, ...]) -> QuotaStanding:
    left = sum(each.amount - each.used for each in valid)
    spent, whole = allowance.used(row), allowance.allowance(row, left)
    stages = allowance.in_force(quota, row, left)
    return QuotaStanding(
        quota=quota.name, unit=quota.unit, period=quota.period, direction=quota.direction, starts_at=datetime.fromtimestamp(row.starts_at, UTC),
        ends_at=datetime.fromtimestamp(row.ends_at, UTC), amount=row.amount, carried=row.carried, topped_up=row.covered + left, used=spent,
        left=max(0, whole - spent), percent=round(spent * 100 / whole, 2), stage=stages[-1] if stages else None, top_ups=valid,
    )  # fmt: skip


async def top_up(db: Database, actor: Actor, subscriber_id: int, new: NewTopUp, now: datetime) -> ToppedUp:
    """Add to what a subscriber may use; live sessions follow at once. Raises NotFound; InvalidInput if the plan has no such quota."""
    async with db.transaction(actor.scope) as conn:
        subscriber = await subscribers.held(conn, actor, subscriber_id, lock=True)
        if new.expires_at is not None and new.expires_at <= now:
            raise InvalidInput([Fault("/expires_at", "is in the past")])
        chosen = _chosen(await store.of_plan(conn, actor.tenant_id, subscriber.plan_id), new.quota)
        if len(chosen) > 1:
            names = ", ".join(quota.name for quota in chosen)
            raise InvalidInput([Fault("/quota", f"say which of the plan's quotas: {names}")])
        (quota,) = chosen
        row = await _locked(conn, quota, subscriber, now)
        made = await store.add_top_up(
            conn, actor.tenant_id, subscriber_id, quota.id, amount=new.amount, expires_at=new.expires_at, note=new.note, created_by=actor.name
        )
        if row is not None:
            allowance.forgive_overuse(row)
            credits = await metering.credits(conn, [subscriber_id], lock=True)
            allowance.settle(quota, row, allowance.left_of(credits, quota.id, now.timestamp()))
            await metering.write(conn, [row])
        await audit.record(conn, actor, "subscriber.top_up", "subscriber", subscriber_id, after=audit.values(made))
        standing = next(each for each in await _standings(conn, subscriber, now) if each.quota == quota.name)
    return ToppedUp(id=made.id, top_up=made, standing=standing)


async def reset(db: Database, actor: Actor, subscriber_id: int, order: QuotaReset, now: datetime) -> tuple[QuotaStanding, ...]:
    """Count from zero for the rest of the current period; top-ups stay as they are. Raises NotFound; InvalidInput if there is no such quota."""
    async with db.transaction(actor.scope) as conn:
        subscriber = await subscribers.held(conn, actor, subscriber_id, lock=True)
        before = await _standings(conn, subscriber, now)
        chosen = _chosen(await store.of_plan(conn, actor.tenant_id, subscriber.plan_id), order.quota)
        for quota in chosen:
            row = await _locked(conn, quota, subscriber, now)
            if row is not None:
                allowance.reset(row)
                await metering.write(conn, [row])
        await metering.touch(conn, subscriber_id)
        after = await _standings(conn, subscriber, now)
        names = {quota.name for quota in chosen}
        await audit.record(
            conn, actor, "subscriber.reset_quota", "subscriber", subscriber_id,
            before={each.quota: each.used for each in before if each.quota in names},
            after={**{each.quota: each.used for each in after if each.quota in names}, "note": order.note},
        )  # fmt: skip
    return after


def _chosen(quotas: list[Quota], name: str | None) -> list[Quota]:
    """The quota of this name, or all. Raises InvalidInput if there is none."""
    if not quotas:
        raise InvalidInput([Fault("/quota", "the subscriber's plan has no quota")])
    found = [quota for quota in quotas if name is None or quota.name.lower() == name.lower()]
    if not found:
        raise InvalidInput([Fault("/quota", f"the subscriber's plan has no quota {name}; it has {', '.join(quota.name for quota in quotas)}")])
    return found


async def _locked(conn: Connection, quota: Quota, subscriber: Subscriber, now: datetime) -> QuotaUsage | None:
    """The row of the current period, made if need be, that nobody else counts in until the transaction ends."""
    known = await metering.usage(conn, [subscriber.id])
    row = _current(quota, known, now, await _activated(conn, subscriber), subscriber)
    await metering.ensure(conn, [row])
    for found in await metering.locked(conn, [(row.subscriber_id, row.quota_id, row.starts_at)]):
        found.amount = quota.amount
        return found
    return None


TopUpQuery = lists.query_type(store.TOP_UPS)
QuotaEventQuery = lists.query_type(store.EVENTS)


async def top_ups(db: Database, actor: Actor, subscriber_id: int, query: ListQuery) -> Page[TopUp]:
    """A subscriber's top-ups, spent and expired ones too, newest first unless the query says otherwise. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.TOP_UPS, query, within={"subscriber_id": subscriber_id})
    async with db.transaction(actor.scope) as conn:
        await subscribers.held(conn, actor, subscriber_id)
        return await lists.page(conn, store.TOP_UPS, actor.tenant_id, query, store.top_ups_of, wanted)


async def events(db: Database, actor: Actor, query: ListQuery) -> Page[QuotaEvent]:
    """Stages that subscribers reached, each once in a period, newest first unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.EVENTS, actor.tenant_id, query, store.events_of)
