"""The table of credentials of devices. Their secrets are in a file for who may see secrets, else the columns are not there and what is kept stays."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.domain import cells, credentials, inputs
from netd.domain.actor import Actor
from netd.domain.credentials import SECRETS, SETTINGS, NewCredential
from netd.domain.inputs import Faults
from netd.domain.rowwise import Rowwise
from netd.domain.table import Run, Table, columns_of
from netd.errors import Fault, InvalidInput
from netd.keyring import Keyring
from netd.model.inventory import StoredCredential
from netd.store import credentials as store
from netd.store.database import Connection

_FORMS = {**dict.fromkeys((*SECRETS, "username", "context", "note"), cells.TEXT), "networks": cells.WORDS}


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[StoredCredential]:
    """Credentials."""
    return store.of(records)


async def secrets(conn: Connection, actor: Actor, keyring: Keyring, found: Sequence[StoredCredential]) -> Sequence[Mapping[str, str | None]]:
    """Passwords, keys and communities."""
    sealed = await store.secrets(conn, actor.tenant_id, [each.id for each in found])
    return [credentials.secrets_of(keyring, sealed[each.id]) for each in found]


async def _find(run: Run, name: str) -> StoredCredential | None:
    found = await store.id_by_name(run.conn, run.actor.tenant_id, name)
    return None if found is None else await store.get(run.conn, run.actor.tenant_id, found, lock=True)


async def _create(run: Run, members: dict[str, Any]) -> object:
    return await credentials.create_in(run.conn, run.actor, run.means.keyring, NewCredential(**members))


def _check(run: Run, members: dict[str, Any]) -> None:
    faults = Faults()
    for place, text in enumerate(members.get("networks", ())):
        faults.attempt(f"/networks/{place}", inputs.prefix, text)
    faults.check()


async def _update(run: Run, before: StoredCredential, members: dict[str, Any]) -> bool:
    if members.pop("type", before.type) != before.type:
        raise InvalidInput([Fault("/type", f"is {before.type}, and stays so: remove the credential and make another")])
    known = credentials.secrets_of(run.means.keyring, await store.secret(run.conn, run.actor.tenant_id, before.id))
    now = {name: getattr(before, name, None) for name in members} | dict(before.settings) | known | {"networks": tuple(map(str, before.networks))}
    changed = {name: value for name, value in members.items() if now.get(name) != value}
    if not changed:
        return False
    await credentials.update_in(run.conn, run.actor, run.means.keyring, before, changed)
    return True


TABLE = Table(
    name="credentials", noun="credential", action="credential", path="/credentials", key="name", reads="credentials:read", writes="credentials:write",
    columns=columns_of(
        NewCredential, secret=SECRETS, forms=_FORMS,
        values={name: lambda item, name=name: item.settings.get(name) for name in SETTINGS},  # type: ignore[misc]
    ),
    listing=store.LISTING, items=items, secrets=secrets, keeper=lambda run: Rowwise(run, find=_find, create=_create, update=_update, check=_check),
)  # fmt: skip
