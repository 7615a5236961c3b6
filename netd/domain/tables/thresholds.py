"""The table of thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import alarms, cells
from netd.domain.actor import Actor
from netd.domain.alarms import NewThreshold
from netd.domain.rowwise import Rowwise, same
from netd.domain.table import Run, Table, columns_of
from netd.domain.tables.device_groups import SELECTOR
from netd.model.telemetry import Threshold
from netd.store import alarms as store
from netd.store.database import Connection


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[Threshold]:
    """Thresholds."""
    return store.thresholds_of(records)


async def _find(run: Run, name: str) -> Threshold | None:
    found = await store.threshold_id(run.conn, run.actor.tenant_id, name)
    return None if found is None else await store.threshold(run.conn, run.actor.tenant_id, found, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    return await alarms.create_threshold_in(run.conn, run.actor, NewThreshold(**members))


async def _update(run: Run, before: Threshold, members: dict[str, Any]) -> bool:
    if members.get("clear_level", 0.0) is None:  # an empty cell: the level that raises it, as of a new one
        members["clear_level"] = members.get("raise_level", before.raise_level)
    if same(before, members):
        return False
    await alarms.update_threshold_in(run.conn, run.actor, before, members)
    return True


TABLE = Table(
    name="thresholds", noun="threshold", action="threshold", path="/thresholds", key="name", reads="devices:read", writes="alarms:write",
    columns=columns_of(NewThreshold, forms={"selector": SELECTOR, "interfaces": cells.TEXT, "note": cells.TEXT}), listing=store.THRESHOLDS, items=items,
    keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=lambda run, members: None),
)  # fmt: skip
