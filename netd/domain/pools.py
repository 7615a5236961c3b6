"""Address pools and the rules that assign them."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, NotFound
from netd.model.pool import Pool, PoolKind, PoolRule, PoolUsage
from netd.model.ranges import Layout, Span, span_of, span_text
from netd.store import nas as nas_store
from netd.store import plans as plan_store
from netd.store import pools as store
from netd.store import subnets as subnet_store
from netd.store.database import Connection, Database

RangeText = Annotated[
    str, Meta(min_length=2, max_length=96, description="10.0.0.10-10.0.0.99, a prefix (of IPv4 its hosts: without network and broadcast address), one address")
]
Ranges = Annotated[tuple[RangeText, ...], Meta(max_length=10_000)]
AddressText = Annotated[str, Meta(min_length=2, max_length=64)]
PrefixLength = Annotated[int, Meta(ge=16, le=64)]
Grace = Annotated[int, Meta(ge=0, le=2_592_000, description="seconds for which nobody else gets an address after a session's end")]

LENGTHS: dict[PoolKind, int] = {"ipv4": 32, "ipv6": 64, "delegated": 56}


class NewPool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool to be made. ``prefix_length``: what one subscriber gets, for ``ipv6`` 64 and for ``delegated`` 56 where it is not given. What is excluded,
    and the gateway, is never given out."""

    name: Label
    kind: PoolKind
    prefix_length: PrefixLength | None = None
    ranges: Ranges
    exclusions: Ranges = ()
    vrf: Label | None = None
    gateway: AddressText | None = None
    grace_seconds: Grace = 300
    description: Note | None = None


class PoolPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a pool; ``ranges`` and ``exclusions`` replace the whole list. Kind, length and VRF stay: make another pool."""

    name: Label | UnsetType = UNSET
    ranges: Ranges | UnsetType = UNSET
    exclusions: Ranges | UnsetType = UNSET
    gateway: AddressText | UnsetType | None = UNSET
    grace_seconds: Grace | UnsetType = UNSET
    description: Note | UnsetType | None = UNSET


class MoreRanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranges and exclusions to be added to a pool."""

    ranges: Ranges = ()
    exclusions: Ranges = ()


class NewPoolRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log-ins that fulfil every condition given are served from ``pool``; a rule without any serves all. All are names."""

    pool: Label
    plan: Label | None = None
    nas: Label | None = None
    site: Label | None = None
    vrf: Label | None = None


class _Parsed(NamedTuple):
    columns: dict[str, Any]
    ranges: list[Span] | None
    exclusions: list[Span] | None


def span(text: str, version: int, *, hosts_only: bool) -> Span:
    """A range as somebody writes it. Of an IPv4 prefix with ``hosts_only`` the hosts, without network and broadcast address. Raises ValueError."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    if dash:
        low, high = inputs.address(first), inputs.address(last)
        if low.version != high.version or int(high) < int(low):
            raise ValueError(f"{text!r} is no range: the second address must not be below the first")
        found, family = Span(int(low), int(high)), low.version
    else:
        network = inputs.prefix(first)
        found, family = span_of(network), network.version
        if hosts_only and family == 4 and network.prefixlen < 31:
            found = Span(found.first + 1, found.last - 1)
    if family != version:
        raise ValueError(f"{text!r} is not IPv{version}")
    return found


def _spans(faults: Faults, where: str, texts: Iterable[str], version: int, *, hosts_only: bool) -> list[Span]:
    found = []
    for place, text in enumerate(texts):
        parsed = faults.attempt(f"/{where}/{place}", lambda each: span(each, version, hosts_only=hosts_only), text)
        if parsed is not None:
            found.append(parsed)
    return found


def _parsed(faults: Faults, members: dict[str, Any], kind: PoolKind, prefix_length: int) -> _Parsed:
    version = 4 if kind == "ipv4" else 6
    columns = {name: value for name, value in members.items() if name not in ("ranges", "exclusions")}
    if "gateway" in columns:
        columns["gateway"] = faults.attempt("/gateway", inputs.address, columns["gateway"])
        if columns["gateway"] is not None and columns["gateway"].version != version:
            faults.add("/gateway", f"is not IPv{version}")
    ranges = exclusions = None
    if "ranges" in members:
        ranges = _spans(faults, "ranges", members["ranges"], version, hosts_only=True)
        for place, each in enumerate(ranges):
            if not Layout(kind, prefix_length, [each], ()).total():
                faults.add(f"/ranges/{place}", f"has no room for a /{prefix_length}")
    if "exclusions" in members:
        exclusions = _spans(faults, "exclusions", members["exclusions"], version, hosts_only=False)
    return _Parsed(columns, ranges, exclusions)


def shown(members: dict[str, Any], pool: Pool) -> dict[str, Any]:
    """Members of a PoolPatch as the pool would show them. Raises InvalidInput."""
    faults = Faults()
    parsed = _parsed(faults, members, pool.kind, pool.prefix_length)
    faults.check()
    version = 4 if pool.kind == "ipv4" else 6
    lists = {"ranges": parsed.ranges, "exclusions": parsed.exclusions}
    return {**parsed.columns, **{name: [span_text(each, version) for each in spans] for name, spans in lists.items() if spans is not None}}


def check(members: dict[str, Any]) -> None:
    """Raise InvalidInput for what is wrong with members of a NewPool of which some may be missing; not the ``kind``."""
    faults = Faults()
    kind: PoolKind = members["kind"]
    _parsed(faults, members, kind, members.get("prefix_length") or LENGTHS[kind])
    faults.check()


def _length(faults: Faults, new: NewPool) -> int:
    usual = LENGTHS[new.kind]
    if new.kind == "ipv4" and new.prefix_length is not None:
        faults.add("/prefix_length", "an IPv4 pool gives single addresses")
    return usual if new.prefix_length is None or new.kind == "ipv4" else new.prefix_length


async def create(db: Database, actor: Actor, new: NewPool) -> Pool:
    """Make a pool; a rule must say who is served from it. Raises InvalidInput; Conflict if the name is taken or a range overlaps another pool's."""
    async with db.transaction(actor.scope) as conn:
        return await create_in(conn, actor, new)


async def create_in(conn: Connection, actor: Actor, new: NewPool) -> Pool:
    """``create`` within the transaction of ``conn``."""
    faults = Faults()
    length = _length(faults, new)
    parsed = _parsed(faults, {**msgspec.structs.asdict(new), "prefix_length": length}, new.kind, length)
    faults.check()
    pool_id = await store.insert(conn, actor.tenant_id, parsed.columns)
    await _write(conn, actor, pool_id, new.kind, parsed)
    pool = await _whole(conn, actor, pool_id)
    await audit.record(conn, actor, "pool.create", "pool", pool_id, after=audit.values(pool))
    return pool


def _addresses(spans: Iterable[Span], kind: PoolKind) -> list[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]]:
    of = IPv4Address if kind == "ipv4" else IPv6Address
    return [(of(each.first), of(each.last)) for each in spans]


async def _write(conn: Connection, actor: Actor, pool_id: int, kind: PoolKind, parsed: _Parsed) -> None:
    """Replace the lists that are given, and look for free addresses in all that there is now."""
    for table, spans in (("pool_ranges", parsed.ranges), ("pool_exclusions", parsed.exclusions)):
        if spans is not None:
            await store.clear_spans(conn, actor.tenant_id, pool_id, table)
            await store.add_spans(conn, actor.tenant_id, pool_id, table, _addresses(spans, kind))


async def _search_anew(conn: Connection, actor: Actor, pool: Pool) -> None:
    """The pool's space changed: what is remembered outside of it goes, and free addresses are looked for in all of it."""
    await store.forget_outside(conn, actor.tenant_id, pool.id)
    await store.clear_spans(conn, actor.tenant_id, pool.id, "pool_spans")
    await store.add_spans(conn, actor.tenant_id, pool.id, "pool_spans", _addresses(layout(pool).spans(), pool.kind))


async def _whole(conn: Connection, actor: Actor, pool_id: int) -> Pool:
    """The pool after a change of its space."""
    pool = await held(conn, actor, pool_id)
    await _check_subnets(conn, actor, pool)
    await _search_anew(conn, actor, pool)
    return pool


async def _check_subnets(conn: Connection, actor: Actor, pool: Pool) -> None:
    """Raise InvalidInput if a DHCP subnet gives from the pool and the pool reaches beyond it."""
    faults = Faults()
    for subnet in await subnet_store.of_pool(conn, actor.tenant_id, pool.id) if pool.kind == "ipv4" else ():
        link = span_of(subnet.prefix)
        if any(each.first < link.first or each.last > link.last for each in layout(pool).spans()):
            faults.add("/ranges", f"reach beyond {subnet.prefix}, the DHCP subnet {subnet.name} that gives from this pool")
    faults.check()


def layout(pool: Pool) -> Layout:
    """What the pool may give out."""
    version = 4 if pool.kind == "ipv4" else 6
    excluded = [span(text, version, hosts_only=False) for text in pool.exclusions]
    if pool.gateway is not None:
        excluded.append(Span(int(pool.gateway), int(pool.gateway)))
    return Layout(pool.kind, pool.prefix_length, [span(text, version, hosts_only=False) for text in pool.ranges], excluded)


async def get(db: Database, actor: Actor, pool_id: int) -> Pool:
    """The pool. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, pool_id)


PoolQuery = lists.query_type(store.LISTING)
RuleQuery = lists.query_type(store.RULES)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Pool]:
    """Pools, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(db: Database, actor: Actor, pool_id: int, patch: PoolPatch, *, version: int | None = None) -> Pool:
    """Change a pool. What is leased stays so until its session ends, also outside of the new ranges.

    Raises NotFound, InvalidInput; Conflict on a taken name, ranges that overlap, or another ``version``.
    """
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, pool_id, lock=True, version=version)
        return await update_in(conn, actor, before, members)


async def update_in(conn: Connection, actor: Actor, before: Pool, members: dict[str, Any]) -> Pool:
    """Change a pool that is locked, within the transaction of ``conn``; ``members`` of a PoolPatch. Raises InvalidInput."""
    faults = Faults()
    parsed = _parsed(faults, members, before.kind, before.prefix_length)
    faults.check()
    if not members:
        return before
    if not await store.update(conn, actor.tenant_id, before.id, parsed.columns):
        raise NotFound("pool", before.id)
    await _write(conn, actor, before.id, before.kind, parsed)
    moved = parsed.ranges is not None or parsed.exclusions is not None or "gateway" in members
    after = await (_whole if moved else held)(conn, actor, before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, "pool.update", "pool", before.id, before=old, after=new)
    return after


async def add_ranges(db: Database, actor: Actor, pool_id: int, more: MoreRanges) -> Pool:
    """Add ranges and exclusions, all or none. Raises NotFound, InvalidInput; Conflict if a range overlaps another."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, pool_id, lock=True)
        faults = Faults()
        parsed = _parsed(faults, msgspec.structs.asdict(more), before.kind, before.prefix_length)
        faults.check()
        for table, spans in (("pool_ranges", parsed.ranges), ("pool_exclusions", parsed.exclusions)):
            await store.add_spans(conn, actor.tenant_id, pool_id, table, _addresses(spans or (), before.kind))
        if not await store.update(conn, actor.tenant_id, pool_id, {}):
            raise NotFound("pool", pool_id)
        after = await _whole(conn, actor, pool_id)
        told = {"ranges": list(more.ranges), "exclusions": list(more.exclusions)}
        await audit.record(conn, actor, "pool.add_ranges", "pool", pool_id, after=told)
    return after


async def delete(db: Database, actor: Actor, pool_id: int, *, version: int | None = None) -> None:
    """Remove a pool with its rules and what it remembers. Raises NotFound; Conflict while anything is leased from it, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, pool_id, lock=True, version=version)
        used, _ = await store.leased(conn, actor.tenant_id, pool_id)
        if used:
            raise Conflict(f"{used} lease{'s' if used > 1 else ''} of pool {before.name} {'are' if used > 1 else 'is'} in use or in the grace time")
        if not await store.delete(conn, actor.tenant_id, pool_id):
            raise NotFound("pool", pool_id)
        await audit.record(conn, actor, "pool.delete", "pool", pool_id, before=audit.values(before))


async def usage(db: Database, actor: Actor, pool_id: int) -> PoolUsage:
    """How full the pool is now. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        pool = await held(conn, actor, pool_id)
        used, remembered = await store.leased(conn, actor.tenant_id, pool_id)
        fixed = await store.fixed_inside(conn, actor.tenant_id, pool_id)
    total = max(0, layout(pool).total() - fixed)
    return PoolUsage(pool_id=pool.id, pool=pool.name, total=total, used=used, remembered=remembered, free=max(0, total - used))


async def held(conn: Connection, actor: Actor, pool_id: int, *, lock: bool = False, version: int | None = None) -> Pool:
    """The actor's pool. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    pool = await store.get(conn, actor.tenant_id, pool_id, lock=lock) if 0 < pool_id <= inputs.ROW_ID_MAX else None
    if pool is None:
        raise NotFound("pool", pool_id)
    inputs.same_version("pool", pool.version, version)
    return pool


# -- rules ---------------------------------------------------------------------------------------------------------------


async def create_rule(db: Database, actor: Actor, new: NewPoolRule) -> PoolRule:
    """Let log-ins be served from a pool, from each subscriber's next one on. Raises InvalidInput for names that do not exist; Conflict if there is
    a rule with the same conditions."""
    async with db.transaction(actor.scope) as conn:
        return await create_rule_in(conn, actor, new)


async def create_rule_in(conn: Connection, actor: Actor, new: NewPoolRule) -> PoolRule:
    """``create_rule`` within the transaction of ``conn``."""
    faults = Faults()
    pool = await store.by_name(conn, actor.tenant_id, new.pool)
    plan = await plan_store.by_name(conn, actor.tenant_id, new.plan) if new.plan is not None else None
    nas = await nas_store.by_name(conn, actor.tenant_id, new.nas) if new.nas is not None else None
    site_id = await store.site_by_name(conn, actor.tenant_id, new.site) if new.site is not None else None
    for member, found in (("pool", pool), ("plan", plan), ("nas", nas), ("site", site_id)):
        name = getattr(new, member)
        if name is not None and found is None:
            faults.add(f"/{member}", f"there is no {'NAS' if member == 'nas' else member} {name}")
    faults.check()
    if pool is None:
        raise NotFound("pool", new.pool)
    plan_id, nas_id = None if plan is None else plan.id, None if nas is None else nas.id
    rule_id = await store.insert_rule(conn, actor.tenant_id, pool.id, plan_id=plan_id, nas_id=nas_id, site_id=site_id, vrf=new.vrf)
    rule = await store.rule(conn, actor.tenant_id, rule_id)
    if rule is None:
        raise NotFound("rule", rule_id)
    await audit.record(conn, actor, "pool_rule.create", "pool_rule", rule_id, after=audit.values(rule))
    return rule


async def rules(db: Database, actor: Actor, query: ListQuery) -> Page[PoolRule]:
    """Rules, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.RULES, actor.tenant_id, query, store.rules_of)


async def delete_rule(db: Database, actor: Actor, rule_id: int) -> None:
    """Remove a rule; who is online keeps the address until the next log-in. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        rule = await store.rule(conn, actor.tenant_id, rule_id) if 0 < rule_id <= inputs.ROW_ID_MAX else None
        if rule is None:
            raise NotFound("rule", rule_id)
        await delete_rule_in(conn, actor, rule)


async def delete_rule_in(conn: Connection, actor: Actor, rule: PoolRule) -> None:
    """``delete_rule`` within the transaction of ``conn``."""
    if not await store.delete_rule(conn, actor.tenant_id, rule.id):
        raise NotFound("rule", rule.id)
    await audit.record(conn, actor, "pool_rule.delete", "pool_rule", rule.id, before=audit.values(rule))
