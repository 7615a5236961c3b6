"""Systems that may send Disconnect- and CoA-Requests to netd: who they are, and what they may do."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, Note, given, hidden
from netd.domain.lists import ListQuery
from netd.domain.nas import Prefix, Secret
from netd.domain.paging import Page
from netd.errors import NotFound
from netd.keyring import Keyring
from netd.model.coa_client import CoaClient
from netd.store import coa_clients as store
from netd.store.database import Connection, Database

SECRET_CONTEXT = b"coa_clients.secret"


class NewCoaClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A system to be let in. Unless told otherwise it may disconnect single sessions, and must sign and date its requests."""

    name: Label
    address: Prefix
    secret: Secret
    may_disconnect: bool = True
    may_change: bool = False
    may_override: bool = False
    may_select_many: bool = False
    require_message_authenticator: bool = True
    require_event_timestamp: bool = True
    enabled: bool = True
    description: Note | None = None

    def __repr__(self) -> str:
        return hidden(self, "secret")


class CoaClientPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a client; null takes a value away."""

    name: Label | UnsetType = UNSET
    address: Prefix | UnsetType = UNSET
    secret: Secret | UnsetType = UNSET
    may_disconnect: bool | UnsetType = UNSET
    may_change: bool | UnsetType = UNSET
    may_override: bool | UnsetType = UNSET
    may_select_many: bool | UnsetType = UNSET
    require_message_authenticator: bool | UnsetType = UNSET
    require_event_timestamp: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Note | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return hidden(self, "secret")


def _parsed(members: dict[str, Any], keyring: Keyring) -> dict[str, Any]:
    """Members as the store takes them. Raises InvalidInput with all that is wrong."""
    faults = Faults()
    parsed = dict(members)
    if "address" in members:
        parsed["address"] = faults.attempt("/address", inputs.prefix, members["address"])
    if "secret" in members:
        octets = members["secret"].encode()
        if len(octets) > 128:
            faults.add("/secret", "is longer than 128 octets")
        parsed["secret"] = keyring.seal(octets, SECRET_CONTEXT)
    faults.check()
    return parsed


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewCoaClient) -> CoaClient:
    """Let a system in. Raises InvalidInput; Conflict if the name or the address (of any tenant) is taken."""
    values = _parsed(msgspec.structs.asdict(new), keyring)
    async with db.transaction(actor.scope) as conn:
        client = await store.insert(conn, actor.tenant_id, values)
        await audit.record(conn, actor, "coa_client.create", "coa_client", client.id, after={**audit.values(client), "secret": audit.MASK})
    return client


async def get(db: Database, actor: Actor, client_id: int) -> CoaClient:
    """The client. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, client_id)


CoaClientQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[CoaClient]:
    """Clients, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(db: Database, actor: Actor, keyring: Keyring, client_id: int, patch: CoaClientPatch, *, version: int | None = None) -> CoaClient:
    """Change a client; its next packet is treated accordingly. Raises NotFound, InvalidInput; Conflict as ``create``, or on another ``version``."""
    members = given(patch)
    values = _parsed(members, keyring)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, client_id, lock=True, version=version)
        if not values:
            return before
        after = await store.update(conn, actor.tenant_id, client_id, values)
        if after is None:
            raise NotFound("CoA client", client_id)
        old, new = audit.changes(before, after)
        if "secret" in members:
            old["secret"] = new["secret"] = audit.MASK
        await audit.record(conn, actor, "coa_client.update", "coa_client", client_id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, client_id: int, *, version: int | None = None) -> None:
    """Remove a client: its packets are dropped from now on. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, client_id, lock=True, version=version)
        await store.delete(conn, actor.tenant_id, client_id)
        await audit.record(conn, actor, "coa_client.delete", "coa_client", client_id, before=audit.values(before))


async def held(conn: Connection, actor: Actor, client_id: int, *, lock: bool = False, version: int | None = None) -> CoaClient:
    """The actor's client. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    client = await store.get(conn, actor.tenant_id, client_id, lock=lock) if 0 < client_id <= inputs.ROW_ID_MAX else None
    if client is None:
        raise NotFound("CoA client", client_id)
    inputs.same_version("CoA client", client.version, version)
    return client
