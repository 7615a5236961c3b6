"""What was observed of devices, as it is listed: interfaces, links, endpoints, the history of facts. Of an interface an operator decides two things."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import NotFound
from netd.model.inventory import Endpoint, FactChange, Interface, Link
from netd.store import inventory as store
from netd.store.database import Connection, Database

InterfaceQuery = lists.query_type(store.INTERFACES)
LinkQuery = lists.query_type(store.LINKS)
EndpointQuery = lists.query_type(store.ENDPOINTS)
FactQuery = lists.query_type(store.FACTS)


class InterfacePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an interface; null takes a value away."""

    monitored: bool | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


async def interfaces(db: Database, actor: Actor, query: ListQuery) -> Page[Interface]:
    """Interfaces, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.INTERFACES, actor.tenant_id, query, store.interfaces_of)


async def interface(db: Database, actor: Actor, interface_id: int) -> Interface:
    """The interface. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held_interface(conn, actor, interface_id)


async def update_interface(db: Database, actor: Actor, interface_id: int, patch: InterfacePatch, *, version: int | None = None) -> Interface:
    """Change what is an operator's of an interface. Raises NotFound; Conflict on another ``version``."""
    members: dict[str, Any] = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held_interface(conn, actor, interface_id, lock=True)
        inputs.same_version("interface", before.version, version)
        if not members:
            return before
        await store.update_interface(conn, actor.tenant_id, interface_id, members)
        after = await held_interface(conn, actor, interface_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "interface.update", "interface", interface_id, before=old, after=new)
    return after


async def links(db: Database, actor: Actor, query: ListQuery) -> Page[Link]:
    """Links, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LINKS, actor.tenant_id, query, store.links_of)


async def endpoints(db: Database, actor: Actor, query: ListQuery) -> Page[Endpoint]:
    """Endpoints, by id unless the query says otherwise. Raises InvalidInput."""
    wanted = lists.selection(store.ENDPOINTS, query, parse={"address": inputs.address})
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.ENDPOINTS, actor.tenant_id, query, store.endpoints_of, wanted)


async def facts(db: Database, actor: Actor, query: ListQuery) -> Page[FactChange]:
    """What changed, newest first unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.FACTS, actor.tenant_id, query, store.facts_of)


async def held_interface(conn: Connection, actor: Actor, interface_id: int, *, lock: bool = False) -> Interface:
    """The actor's interface. Raises NotFound."""
    found = await store.interface(conn, actor.tenant_id, interface_id, lock=lock) if 0 < interface_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("interface", interface_id)
    return found
