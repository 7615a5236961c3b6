"""The table of groups of devices. What a selector says of ids is of this installation's devices: say hostnames where a file is for another."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import cells, conversion, devices
from netd.domain.actor import Actor
from netd.domain.cells import Form
from netd.domain.devices import NewDeviceGroup
from netd.domain.rowwise import Rowwise, same
from netd.domain.table import Run, Table, columns_of
from netd.model.inventory import DeviceGroup, Selector
from netd.store import devices as store
from netd.store.database import Connection


def _selector(text: str) -> Any:
    value = cells.JSON.read(text)
    for fault in conversion.faults(value, Selector):
        raise ValueError(f"{fault.where.strip('/')} {fault.what}".strip())
    return value


SELECTOR = Form(cells.JSON.write, _selector)
"""A selector as JSON: ``{"kinds": ["olt"], "sites": ["Oslo"]}``."""


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[DeviceGroup]:
    """Groups."""
    return await store.groups_of(conn, actor.tenant_id, records)


async def _find(run: Run, name: str) -> DeviceGroup | None:
    found = await store.group_id(run.conn, run.actor.tenant_id, name)
    return None if found is None else await store.group(run.conn, run.actor.tenant_id, found, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    return await devices.create_group_in(run.conn, run.actor, NewDeviceGroup(**members))


async def _update(run: Run, before: DeviceGroup, members: dict[str, Any]) -> bool:
    if same(before, members):
        return False
    await devices.update_group_in(run.conn, run.actor, before, members)
    return True


TABLE = Table(
    name="device-groups", noun="device group", action="device_group", path="/device-groups", key="name", reads="devices:read", writes="devices:write",
    columns=columns_of(NewDeviceGroup, forms={"selector": SELECTOR, "note": cells.TEXT}), listing=store.GROUPS, items=items,
    keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=lambda run, members: None),
)  # fmt: skip
