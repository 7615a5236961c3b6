"""Plans: what subscribers buy."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Hours, Label, Vlan, Zone, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.ports import AttributeRules
from netd.domain.subscribers import NewReply, Replies, attributes
from netd.errors import Conflict, NotFound
from netd.model.plan import Plan
from netd.store import plans as store
from netd.store.database import Connection, Database

Rate = Annotated[int, Meta(ge=1000, le=10_000_000_000_000, description="bit/s")]
BurstSeconds = Annotated[int, Meta(ge=1, le=3600)]
Priority = Annotated[int, Meta(ge=1, le=8, description="1 is served first")]
SessionTimeout = Annotated[int, Meta(ge=60, le=31_536_000)]
IdleTimeout = Annotated[int, Meta(ge=30, le=31_536_000)]
Interim = Annotated[int, Meta(ge=60, le=86_400)]
MaxSessions = Annotated[int, Meta(ge=0, le=1_000_000, description="0: no limit")]
ContentionRatio = Annotated[int, Meta(ge=1, le=1000, description="20: a twentieth of the rates is committed")]
Servers = Annotated[tuple[str, ...], Meta(max_length=8)]


class NewPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan to be made. ``down`` is towards the subscriber; a burst rate is not below its rate; ``dns`` are addresses.

    ``replies`` come beside (``+=``), instead of (``=``, ``:=``) or take away (``!*``) what the vendor's driver grants; a ``raw`` plan grants them alone.
    In the walled garden neither counts.
    """

    name: Label
    down_bps: Rate
    up_bps: Rate
    burst_down_bps: Rate | None = None
    burst_up_bps: Rate | None = None
    burst_threshold_down_bps: Rate | None = None
    burst_threshold_up_bps: Rate | None = None
    burst_seconds: BurstSeconds | None = None
    priority: Priority | None = None
    session_timeout_seconds: SessionTimeout | None = None
    idle_timeout_seconds: IdleTimeout | None = None
    interim_seconds: Interim = 300
    max_sessions: MaxSessions = 0
    ipv4_pool: Label | None = None
    ipv6_pool: Label | None = None
    delegated_ipv6_pool: Label | None = None
    dns: Servers = ()
    profile: Label | None = None
    access_hours: Hours | None = None
    time_zone: Zone | None = None
    vlan: Vlan | None = None
    contention_ratio: ContentionRatio | None = None
    committed_down_bps: Rate | None = None
    committed_up_bps: Rate | None = None
    raw: bool = False
    replies: Replies = ()


class PlanPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a plan; null takes a value away."""

    name: Label | UnsetType = UNSET
    down_bps: Rate | UnsetType = UNSET
    up_bps: Rate | UnsetType = UNSET
    burst_down_bps: Rate | UnsetType | None = UNSET
    burst_up_bps: Rate | UnsetType | None = UNSET
    burst_threshold_down_bps: Rate | UnsetType | None = UNSET
    burst_threshold_up_bps: Rate | UnsetType | None = UNSET
    burst_seconds: BurstSeconds | UnsetType | None = UNSET
    priority: Priority | UnsetType | None = UNSET
    session_timeout_seconds: SessionTimeout | UnsetType | None = UNSET
    idle_timeout_seconds: IdleTimeout | UnsetType | None = UNSET
    interim_seconds: Interim | UnsetType = UNSET
    max_sessions: MaxSessions | UnsetType = UNSET
    ipv4_pool: Label | UnsetType | None = UNSET
    ipv6_pool: Label | UnsetType | None = UNSET
    delegated_ipv6_pool: Label | UnsetType | None = UNSET
    dns: Servers | UnsetType = UNSET
    profile: Label | UnsetType | None = UNSET
    access_hours: Hours | UnsetType | None = UNSET
    time_zone: Zone | UnsetType | None = UNSET
    vlan: Vlan | UnsetType | None = UNSET
    contention_ratio: ContentionRatio | UnsetType | None = UNSET
    committed_down_bps: Rate | UnsetType | None = UNSET
    committed_up_bps: Rate | UnsetType | None = UNSET
    raw: bool | UnsetType = UNSET
    replies: Replies | UnsetType = UNSET


def parsed(faults: Faults, members: dict[str, Any], rules: AttributeRules | None) -> dict[str, Any]:
    """Columns from the members of an input. Faults are told by JSON pointer; without ``rules`` replies are taken as they are."""
    columns = {**members, **{name: faults.attempt(f"/{name}", parse, members[name]) for name, parse in inputs.ACCESS.items() if name in members}}
    if "dns" in members:
        columns["dns"] = [faults.attempt(f"/dns/{place}", inputs.address, text) for place, text in enumerate(members["dns"])]
    if "replies" in members:
        replies: tuple[NewReply, ...] = members["replies"]
        columns["replies"] = attributes(faults, "replies", replies, rules.validate_reply if rules else None)
    return columns


def check_whole(faults: Faults, plan: dict[str, Any]) -> None:
    """What holds between the members of the whole plan."""
    for way in ("down", "up"):
        burst, threshold = plan[f"burst_{way}_bps"], plan[f"burst_threshold_{way}_bps"]
        if burst is not None and burst < plan[f"{way}_bps"]:
            faults.add(f"/burst_{way}_bps", f"is below {way}_bps ({plan[f'{way}_bps']}), so it would slow the subscriber down")
        if threshold is not None and burst is None:
            faults.add(f"/burst_threshold_{way}_bps", f"means nothing without burst_{way}_bps")
        committed = plan[f"committed_{way}_bps"]
        if committed is not None and plan["contention_ratio"] is not None:
            faults.add(f"/committed_{way}_bps", "is told by contention_ratio already")
        elif committed is not None and committed > plan[f"{way}_bps"]:
            faults.add(f"/committed_{way}_bps", f"is above {way}_bps ({plan[f'{way}_bps']}), so it could never be had")
    if plan["burst_seconds"] is not None and plan["burst_down_bps"] is None and plan["burst_up_bps"] is None:
        faults.add("/burst_seconds", "means nothing without a burst rate")


async def create(db: Database, actor: Actor, new: NewPlan, rules: AttributeRules | None = None) -> Plan:
    """Make a plan. Raises InvalidInput; Conflict if the name is taken."""
    async with db.transaction(actor.scope) as conn:
        return await create_in(conn, actor, new, rules)


async def create_in(conn: Connection, actor: Actor, new: NewPlan, rules: AttributeRules | None) -> Plan:
    """``create`` within the transaction of ``conn``."""
    faults = Faults()
    members = parsed(faults, msgspec.structs.asdict(new), rules)
    check_whole(faults, members)
    faults.check()
    plan = await store.insert(conn, actor.tenant_id, members)
    await audit.record(conn, actor, "plan.create", "plan", plan.id, after=audit.values(plan))
    return plan


async def get(db: Database, actor: Actor, plan_id: int) -> Plan:
    """The plan. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, plan_id)


async def by_name(db: Database, actor: Actor, name: str) -> Plan:
    """The plan of this name, in any case of letters. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        plan = await store.by_name(conn, actor.tenant_id, name)
    if plan is None:
        raise NotFound("plan", name)
    return plan


PlanQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Plan]:
    """Plans, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(
    db: Database, actor: Actor, plan_id: int, patch: PlanPatch, rules: AttributeRules | None = None, *, version: int | None = None,
) -> Plan:  # fmt: skip
    """Change a plan; live sessions follow by themselves. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    faults = Faults()
    members = parsed(faults, given(patch), rules)
    faults.check()
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, plan_id, lock=True, version=version)
        return await update_in(conn, actor, before, members)


async def update_in(conn: Connection, actor: Actor, before: Plan, columns: dict[str, Any]) -> Plan:
    """Change a plan that is locked, within the transaction of ``conn``; ``columns`` as ``parsed`` makes them. Raises InvalidInput."""
    faults = Faults()
    check_whole(faults, {**msgspec.structs.asdict(before), **columns})
    faults.check()
    if not columns:
        return before
    after = await store.update(conn, actor.tenant_id, before.id, columns)
    if after is None:
        raise NotFound("plan", before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, "plan.update", "plan", before.id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, plan_id: int, *, version: int | None = None) -> None:
    """Remove a plan. Raises NotFound; Conflict while subscribers have it, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, plan_id, lock=True, version=version)
        users = await store.subscribers(conn, actor.tenant_id, plan_id)
        if users:
            raise Conflict(f"plan {before.name} is used by {users} subscriber{'s' if users > 1 else ''}")
        await store.delete(conn, actor.tenant_id, plan_id)
        await audit.record(conn, actor, "plan.delete", "plan", plan_id, before=audit.values(before))


async def held(conn: Connection, actor: Actor, plan_id: int, *, lock: bool = False, version: int | None = None) -> Plan:
    """The actor's plan. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    plan = await store.get(conn, actor.tenant_id, plan_id, lock=lock) if 0 < plan_id <= inputs.ROW_ID_MAX else None
    if plan is None:
        raise NotFound("plan", plan_id)
    inputs.same_version("plan", plan.version, version)
    return plan
