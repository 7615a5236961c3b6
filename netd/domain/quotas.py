"""The quotas of a plan: how much may be used in a period, and what happens then."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists, plans
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, given
from netd.domain.lists import ListQuery
from netd.domain.metering import window_of, zone_of
from netd.domain.paging import Page
from netd.domain.plans import Rate
from netd.errors import Conflict, NotFound
from netd.model.quota import Action, Day, Direction, FreeWindow, Quota, QuotaPeriod, Stage, Unit
from netd.store import quotas as store
from netd.store.database import Connection, Database

Amount = Annotated[int, Meta(ge=1, le=1 << 56, description="octets of a volume quota, seconds of a time quota")]
Rollover = Annotated[int, Meta(ge=0, le=1 << 56, description="what is unused is carried into the next period, at most so much; 0: nothing is")]
Hysteresis = Annotated[int, Meta(ge=0, le=50, description="a stage in force ends once usage is so many percent below it")]
Percent = Annotated[int, Meta(ge=1, le=1000)]
ClockTime = Annotated[str, Meta(pattern="^[0-9]{2}:[0-9]{2}$", description="local time, 00:00 to 24:00")]
TimeZone = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", description="IANA name, as Europe/Berlin")]


class NewWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local times at which only ``percent`` of usage counts; ``end`` is not included, and on the next day if not after ``start``.

    ``days`` are those on which it begins; none: every day.
    """

    start: ClockTime
    end: ClockTime
    percent: Annotated[int, Meta(ge=0, le=99)] = 0
    days: tuple[Day, ...] = ()


class NewStage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens once ``percent`` of the allowance is used: ``notify`` records it, ``lower`` lowers the rate, ``wall`` and ``block`` say it.

    ``down_bps``, ``up_bps`` and ``profile`` (of the NAS) belong to ``lower``; what is left out stays as in the plan.
    """

    percent: Percent
    action: Action
    down_bps: Rate | None = None
    up_bps: Rate | None = None
    profile: Label | None = None


Windows = Annotated[tuple[NewWindow, ...], Meta(max_length=16)]
Stages = Annotated[tuple[NewStage, ...], Meta(max_length=16)]


class NewQuota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quota to be made. Periods begin at midnight in ``timezone``; ``anniversary`` ones on the day of the month on which the subscriber was activated."""

    name: Label
    unit: Unit
    period: QuotaPeriod
    direction: Direction = "both"
    amount: Amount
    timezone: TimeZone = "UTC"
    free_windows: Windows = ()
    rollover_amount: Rollover = 0
    hysteresis_percent: Hysteresis = 1
    stages: Stages = ()


class QuotaPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a quota; lists are replaced as a whole. Unit, period, direction and time zone stay: what was counted depends on them."""

    name: Label | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET
    free_windows: Windows | UnsetType = UNSET
    rollover_amount: Rollover | UnsetType = UNSET
    hysteresis_percent: Hysteresis | UnsetType = UNSET
    stages: Stages | UnsetType = UNSET


def _checked_windows(faults: Faults, windows: tuple[NewWindow, ...]) -> list[dict[str, Any]]:
    for place, each in enumerate(windows):
        try:
            window_of(FreeWindow(start=each.start, end=each.end, percent=each.percent, days=each.days))
        except ValueError as error:
            faults.add(f"/free_windows/{place}", str(error))
    return [msgspec.to_builtins(each) for each in windows]


def _checked_stages(faults: Faults, stages: tuple[NewStage, ...]) -> list[Stage]:
    seen: set[tuple[int, str]] = set()
    for place, each in enumerate(stages):
        if (each.percent, each.action) in seen:
            faults.add(f"/stages/{place}", "stands there twice")
        seen.add((each.percent, each.action))
        changes = each.down_bps is not None or each.up_bps is not None or each.profile is not None
        if each.action == "lower" and not changes:
            faults.add(f"/stages/{place}", "lowers nothing: give down_bps, up_bps or profile")
        if each.action != "lower" and changes:
            faults.add(f"/stages/{place}", f"{each.action} takes no rates and no profile")
    return [Stage(percent=each.percent, action=each.action, down_bps=each.down_bps, up_bps=each.up_bps, profile=each.profile) for each in stages]


def _parsed(faults: Faults, members: dict[str, Any]) -> tuple[dict[str, Any], list[Stage] | None]:
    """Columns, and the stages if they are given."""
    columns = {name: value for name, value in members.items() if name != "stages"}
    if "free_windows" in members:
        columns["free_windows"] = _checked_windows(faults, members["free_windows"])
    if "timezone" in members:
        faults.attempt("/timezone", zone_of, members["timezone"])
    if members.get("unit") == "time" and members["direction"] != "both":
        faults.add("/direction", "time has no direction")
    return columns, _checked_stages(faults, members["stages"]) if "stages" in members else None


async def create(db: Database, actor: Actor, plan_id: int, new: NewQuota) -> Quota:
    """Give a plan a quota; counting begins at once. Raises NotFound, InvalidInput; Conflict if the plan has one of that name."""
    faults = Faults()
    columns, stages = _parsed(faults, {name: getattr(new, name) for name in new.__struct_fields__})
    faults.check()
    async with db.transaction(actor.scope) as conn:
        await plans.held(conn, actor, plan_id, lock=True)
        quota_id = await store.insert(conn, actor.tenant_id, {**columns, "plan_id": plan_id}, stages or [])
        quota = await held(conn, actor, plan_id, quota_id)
        await audit.record(conn, actor, "quota.create", "quota", quota_id, after=audit.values(quota))
    return quota


QuotaQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, plan_id: int, query: ListQuery) -> Page[Quota]:
    """The quotas of a plan, by id unless the query says otherwise. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.LISTING, query, within={"plan_id": plan_id})
    async with db.transaction(actor.scope) as conn:
        await plans.held(conn, actor, plan_id)
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of, wanted)


async def get(db: Database, actor: Actor, plan_id: int, quota_id: int) -> Quota:
    """A quota of a plan. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, plan_id, quota_id)


async def update(db: Database, actor: Actor, plan_id: int, quota_id: int, patch: QuotaPatch, *, version: int | None = None) -> Quota:
    """Change a quota; live sessions follow. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    faults = Faults()
    members = given(patch)
    columns, stages = _parsed(faults, members)
    faults.check()
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, plan_id, quota_id, lock=True, version=version)
        if not members:
            return before
        if stages is not None:
            await store.replace_stages(conn, actor.tenant_id, quota_id, stages)
        await store.update(conn, actor.tenant_id, quota_id, columns)
        after = await held(conn, actor, plan_id, quota_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "quota.update", "quota", quota_id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, plan_id: int, quota_id: int, *, version: int | None = None) -> None:
    """Remove a quota with what was counted for it. Raises NotFound; Conflict while subscribers have top-ups of it, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, plan_id, quota_id, lock=True, version=version)
        paid = await store.unspent(conn, actor.tenant_id, quota_id)
        if paid:
            raise Conflict(f"{paid} top-up{'s' if paid > 1 else ''} of quota {before.name} still {'have' if paid > 1 else 'has'} something left")
        await store.delete(conn, actor.tenant_id, quota_id)
        await audit.record(conn, actor, "quota.delete", "quota", quota_id, before=audit.values(before))


async def held(conn: Connection, actor: Actor, plan_id: int, quota_id: int, *, lock: bool = False, version: int | None = None) -> Quota:
    """The quota of the actor's plan. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    numbers_fit = 0 < plan_id <= inputs.ROW_ID_MAX and 0 < quota_id <= inputs.ROW_ID_MAX
    quota = await store.get(conn, actor.tenant_id, plan_id, quota_id, lock=lock) if numbers_fit else None
    if quota is None:
        raise NotFound("quota", quota_id)
    inputs.same_version("quota", quota.version, version)
    return quota
