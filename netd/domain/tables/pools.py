"""The table of address pools, each with its rules: ``nas=bras1 plan=gold`` is a rule with two conditions, ``all`` one without any."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from netd.domain import cells, pools
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label
from netd.domain.pools import NewPool, NewPoolRule
from netd.domain.rowwise import Rowwise, same
from netd.domain.table import Column, Run, Table, columns_of
from netd.errors import InvalidInput
from netd.model.pool import Pool, PoolRule
from netd.store import pools as store
from netd.store.database import Connection

CONDITIONS = ("plan", "nas", "site", "vrf")
_FIXED = ("kind", "prefix_length", "vrf")


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a log-in must fulfil to be served from a pool."""

    plan: Label | None = None
    nas: Label | None = None
    site: Label | None = None
    vrf: Label | None = None


class PoolWithRules(Pool, frozen=True, kw_only=True):
    """A pool and who is served from it."""

    rules: tuple[PoolRule, ...]


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[PoolWithRules]:
    """Pools with their rules."""
    found = store.of(records)
    rules = await store.rules_of(conn, actor.tenant_id, [pool.id for pool in found])
    return [PoolWithRules(**msgspec.structs.asdict(pool), rules=rules.get(pool.id, ())) for pool in found]


async def _find(run: Run, name: str) -> Pool | None:
    found = await store.by_name(run.conn, run.actor.tenant_id, name)
    return None if found is None else await store.get(run.conn, run.actor.tenant_id, found.id, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    wanted = members.pop("rules", ())
    pool = await pools.create_in(run.conn, run.actor, NewPool(**members))
    await _set_rules(run, pool, wanted)
    return pool


def _check(run: Run, members: dict[str, Any]) -> None:
    if "kind" in members:
        pools.check(members)


async def _update(run: Run, before: Pool, members: dict[str, Any]) -> bool:
    wanted = members.pop("rules", None)
    faults = Faults()
    for name in _FIXED:
        wanted_value = members.pop(name, UNSET)
        if name == "prefix_length" and (wanted_value is None or before.kind == "ipv4"):
            continue  # the usual one, or the only one
        if wanted_value is not UNSET and wanted_value != getattr(before, name):
            faults.add(f"/{name}", "cannot be changed; make another pool")
    faults.check()
    changed = False
    if not same(before, pools.shown(members, before)):
        await pools.update_in(run.conn, run.actor, before, members)
        changed = True
    return (wanted is not None and await _set_rules(run, before, wanted)) or changed


async def _set_rules(run: Run, pool: Pool, wanted: Sequence[Conditions]) -> bool:
    """Make these the pool's only rules; whether they were not."""
    there = (await store.rules_of(run.conn, run.actor.tenant_id, [pool.id])).get(pool.id, ())
    rules = {_condition(each): each for each in there}
    new = {_condition(each): each for each in wanted}
    if rules.keys() == new.keys():
        return False
    for condition, rule in rules.items():
        if condition not in new:
            await pools.delete_rule_in(run.conn, run.actor, rule)
    for condition, conditions in new.items():
        if condition not in rules:
            try:
                await pools.create_rule_in(run.conn, run.actor, NewPoolRule(pool=pool.name, **msgspec.structs.asdict(conditions)))
            except InvalidInput as error:
                raise InvalidInput([fault._replace(where="/rules") for fault in error.faults]) from None
    return True


def _condition(rule: PoolRule | Conditions) -> tuple[str | None, ...]:
    names = (rule.plan, rule.nas, rule.site)
    return (*(None if name is None else name.lower() for name in names), rule.vrf)


def _length(pool: Pool) -> int | None:
    """None for IPv4, whose pools give single addresses."""
    return None if pool.kind == "ipv4" else pool.prefix_length


TABLE = Table(
    name="pools", noun="pool", action="pool", path="/pools", key="name", reads="pools:read", writes="pools:write",
    columns=(
        *columns_of(
            NewPool, forms={"ranges": cells.WORDS, "exclusions": cells.WORDS, "description": cells.TEXT}, values={"prefix_length": _length},
        ),
        Column("rules", cells.pairs_of(*CONDITIONS), tuple[Conditions, ...], empty=()),
    ),
    listing=store.LISTING, items=items, keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=_check),
)  # fmt: skip
