"""The table of schedules. Those with secret arguments are in no file; whoever brings one in is who its jobs are made for."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import cells, conversion, jobs, schedules
from netd.domain.actor import Actor
from netd.domain.kinds import Kind
from netd.domain.rowwise import Rowwise
from netd.domain.schedules import NewSchedule
from netd.domain.table import Run, Table, columns_of
from netd.errors import Fault, InvalidInput
from netd.model.job import Schedule
from netd.store import schedules as store
from netd.store.database import Connection

_FIXED = ("kind", "begins_at")


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[Schedule]:
    """Schedules."""
    return store.of(records)


async def _find(run: Run, name: str) -> Schedule | None:
    found = await store.id_by_name(run.conn, run.actor.tenant_id, name)
    return None if found is None else await store.get(run.conn, run.actor.tenant_id, found, lock=True)


def _own(run: Run, kind: Kind) -> Actor:
    """Who brings it in, where it may have such jobs done and make schedules as well. Raises OutsideScope."""
    return run.actor.also(kind.permission) or jobs.confined(run.actor, kind)


def _plain(kind: Kind, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as they are kept. Raises InvalidInput, also for secret ones."""
    if secret := [name for name in kind.secrets if args.get(name)]:
        raise InvalidInput([Fault("/args", f"{secret[0]} is secret, and no file has such: make this one by itself")])
    plain: dict[str, Any] = conversion.plain(conversion.checked(args, kind.args, "/args"))
    return plain


def _check(run: Run, members: dict[str, Any]) -> None:
    if "kind" in members:
        _plain(run.means.kinds.get(members["kind"]), members.get("args", {}))


async def _create(run: Run, members: dict[str, Any]) -> object:
    _check(run, members)
    kind = run.means.kinds.get(members["kind"])
    return await schedules.create_in(run.conn, _own(run, kind), run.means.keyring, kind, NewSchedule(**members), run.means.now())


async def _update(run: Run, before: Schedule, members: dict[str, Any]) -> bool:
    for name in _FIXED:
        if members.pop(name, None) not in (None, getattr(before, name)):
            raise InvalidInput([Fault(f"/{name}", "stays as it is: remove the schedule and make another")])
    kind = run.means.kinds.get(before.kind)
    hidden = await store.hidden(run.conn, run.actor.tenant_id, before.id)
    if hidden is not None and hidden.sealed is not None:
        raise InvalidInput([Fault("/args", "some are secret: change this one by itself")])
    if "args" in members:
        members["args"] = _plain(kind, members["args"])
    changed = {name: value for name, value in members.items() if getattr(before, name) != value}
    if not changed:
        return False
    await schedules.update_in(run.conn, _own(run, kind), run.means.keyring, kind, before, changed, run.means.now())
    return True


TABLE = Table(
    name="schedules", noun="schedule", action="schedule", path="/schedules", key="name", reads="jobs:read", writes="jobs:schedule",
    columns=columns_of(NewSchedule, forms={"args": cells.JSON, "note": cells.TEXT}), listing=store.PLAIN, items=items,
    keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=_check),
)  # fmt: skip
