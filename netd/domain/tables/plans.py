"""The table of plans."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import cells, plans
from netd.domain.actor import Actor
from netd.domain.inputs import Faults
from netd.domain.plans import NewPlan
from netd.domain.rowwise import Rowwise, same
from netd.domain.table import Run, Table, columns_of
from netd.model.plan import Plan
from netd.store import plans as store
from netd.store.database import Connection


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[Plan]:
    """Plans."""
    return store.of(records)


async def _find(run: Run, name: str) -> Plan | None:
    return await store.by_name(run.conn, run.actor.tenant_id, name, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    return await plans.create_in(run.conn, run.actor, NewPlan(**members), run.means.rules)


def _parsed(run: Run, members: dict[str, Any]) -> dict[str, Any]:
    faults = Faults()
    columns = plans.parsed(faults, members, run.means.rules)
    faults.check()
    return columns


async def _update(run: Run, before: Plan, members: dict[str, Any]) -> bool:
    columns = _parsed(run, members)
    return not same(before, columns) and await plans.update_in(run.conn, run.actor, before, columns) is not before


TABLE = Table(
    name="plans", noun="plan", action="plan", path="/plans", key="name", reads="plans:read", writes="plans:write",
    columns=columns_of(NewPlan, forms={"dns": cells.WORDS, "replies": cells.ATTRIBUTES}),
    listing=store.LISTING, items=items, keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=_parsed),
)  # fmt: skip
