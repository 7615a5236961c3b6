"""The table of devices: what an operator wrote of them. A parent's row stands before those of what is reached through it."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import cells, devices, inputs
from netd.domain.actor import Actor
from netd.domain.cells import Form
from netd.domain.devices import NewDevice
from netd.domain.inputs import Faults
from netd.domain.rowwise import Rowwise, same
from netd.domain.table import Run, Table, columns_of
from netd.model.inventory import Device
from netd.store import devices as store
from netd.store.database import Connection


def _ports(text: str) -> dict[str, int]:
    found = cells.read_pairs(text)
    if strange := [port for port in found.values() if not (port.isascii() and port.isdecimal())]:
        raise ValueError(f"{strange[0][:20]!r} is not a port")
    return {name: int(port) for name, port in found.items()}


_FORMS = {
    "ports": Form(lambda ports: cells.pairs(ports) if ports else "", _ports),
    "variables": Form(lambda value: cells.JSON.write(value) if value else "", cells.JSON.read),
    "tags": cells.WORDS, "poll_groups": cells.WORDS, "host_keys": cells.LINES, "certificates": cells.WORDS,
    "timeout_seconds": Form(lambda value: f"{value:g}", cells.DECIMAL.read),
    "note": cells.TEXT,
}  # fmt: skip


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[Device]:
    """Devices."""
    return store.of(records)


async def _find(run: Run, hostname: str) -> Device | None:
    found = await store.id_by_hostname(run.conn, run.actor.tenant_id, hostname)
    return None if found is None else await store.get(run.conn, run.actor.tenant_id, found, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    return await devices.add(run.conn, run.actor, NewDevice(**members), run.means.catalogue)


def _parsed(run: Run, members: dict[str, Any]) -> dict[str, Any]:
    faults = Faults()
    columns = devices.parsed(members, run.means.catalogue, faults)
    faults.check()
    return columns


async def _update(run: Run, before: Device, members: dict[str, Any]) -> bool:
    if members.get("kind", "") is None:  # an empty cell: of the platform's kind is what a new one is
        del members["kind"]
    columns = await devices.referred(run.conn, run.actor, Faults(), _parsed(run, members), before)
    if same(before, columns):
        return False
    await devices.change(run.conn, run.actor, before, columns)
    return True


TABLE = Table(
    name="devices", noun="device", action="device", path="/devices", key="hostname", reads="devices:read", writes="devices:write",
    columns=columns_of(NewDevice, forms=_FORMS), listing=store.LISTING, items=items, parse={"mgmt_address": inputs.address},
    keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=_parsed),
)  # fmt: skip
