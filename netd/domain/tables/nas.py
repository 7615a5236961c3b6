"""The table of NASes."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import cells, nas
from netd.domain.actor import Actor
from netd.domain.nas import LINE_LOGIN_CONTEXT, SECRET_CONTEXT, NewNas
from netd.domain.rowwise import Rowwise, same
from netd.domain.table import Run, Table, columns_of
from netd.keyring import Keyring
from netd.model.nas import Nas
from netd.store import nas as store
from netd.store.database import Connection

_SECRETS = {"secret": SECRET_CONTEXT, "line_login_password": LINE_LOGIN_CONTEXT}


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[Nas]:
    """NASes."""
    return store.of(records)


async def secrets(conn: Connection, actor: Actor, keyring: Keyring, found: Sequence[Nas]) -> Sequence[Mapping[str, str | None]]:
    """Shared secrets and fixed texts."""
    sealed = await store.sealed_of(conn, actor.tenant_id, [each.id for each in found])
    return [
        {
            name: None if value is None else keyring.open(value, context).decode()
            for (name, context), value in zip(_SECRETS.items(), sealed.get(each.id, (None, None)), strict=True)
        }
        for each in found
    ]


async def _find(run: Run, name: str) -> Nas | None:
    return await store.by_name(run.conn, run.actor.tenant_id, name, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    return await nas.create_in(run.conn, run.actor, run.means.keyring, NewNas(**members), run.means.vendors)


def _parsed(run: Run, members: dict[str, Any]) -> dict[str, Any]:
    return nas.parsed(members, run.means.keyring, run.means.vendors)


async def _update(run: Run, before: Nas, members: dict[str, Any]) -> bool:
    kept = (await secrets(run.conn, run.actor, run.means.keyring, [before]))[0]
    changed = {name: value for name, value in members.items() if name not in _SECRETS or kept.get(name) != value}
    columns = _parsed(run, changed)
    if not _SECRETS.keys() & columns.keys() and same(before, columns):
        return False
    await nas.update_in(run.conn, run.actor, before, columns)
    return True


TABLE = Table(
    name="nas", noun="NAS", action="nas", path="/radius/nas", key="name", reads="nas:read", writes="nas:write",
    columns=columns_of(
        NewNas, secret=tuple(_SECRETS),
        forms={"description": cells.TEXT, "line_login_password": cells.TEXT, "line_login": cells.WORDS, "line_login_passwords": cells.WORDS},
    ),
    listing=store.LISTING, items=items, secrets=secrets, keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=_parsed),
)  # fmt: skip
