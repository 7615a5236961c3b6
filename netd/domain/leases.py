"""Leases: lists, who has what, and taking one back; and the networks that are routed to subscribers."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, lists, pools, subscribers
from netd.domain.actor import Actor
from netd.domain.inputs import Faults
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, NotFound
from netd.model.pool import FramedRoute, Holding, Lease
from netd.store import pools as store
from netd.store import subscribers as subscriber_store
from netd.store.database import Connection, Database

AddressText = Annotated[str, Meta(min_length=2, max_length=64)]
Metric = Annotated[int, Meta(ge=0, le=65535)]


class HoldingQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either an address (who has it?) or a user name (what has it?)."""

    ip: AddressText | None = None
    username: Annotated[str, Meta(max_length=253)] | None = None


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What is fixed, routed or leased."""

    items: tuple[Holding, ...]


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to release: ``force`` takes a lease from a live session, too, which is then disconnected."""

    force: bool = False


class NewFramedRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network behind a subscriber; without ``gateway`` it is reached by the subscriber's own address."""

    prefix: AddressText
    gateway: AddressText | None = None
    metric: Metric = 1


async def _subscriber_id(conn: Connection, actor: Actor, faults: Faults, username: str | None) -> int | None:
    if username is None:
        return None
    found = await subscriber_store.by_username(conn, actor.tenant_id, username)
    if found is None:
        faults.add("/username", f"there is no subscriber {username}")
        return None
    return found.id


LeaseQuery = lists.query_type(store.LEASES)


async def page(db: Database, actor: Actor, query: ListQuery, *, pool_id: int | None = None) -> Page[Lease]:
    """Leases of one pool or of all, by id unless the query says otherwise. Raises NotFound for a pool that does not exist, InvalidInput."""
    wanted = lists.selection(store.LEASES, query, parse={"ip": inputs.address}, within={} if pool_id is None else {"pool_id": pool_id})
    async with db.transaction(actor.scope) as conn:
        if pool_id is not None:
            await pools.held(conn, actor, pool_id)
        return await lists.page(conn, store.LEASES, actor.tenant_id, query, store.leases_of, wanted)


async def holdings(db: Database, actor: Actor, query: HoldingQuery) -> Holdings:
    """Who has an address, or what a subscriber has: fixed, routed or leased; at most a hundred. Raises InvalidInput unless exactly one is asked for."""
    faults = Faults()
    ip = faults.attempt("/ip", inputs.address, query.ip)
    if (query.ip is None) == (query.username is None):
        faults.add("/ip", "give either ip or username")
    async with db.transaction(actor.scope) as conn:
        subscriber_id = await _subscriber_id(conn, actor, faults, query.username)
        faults.check()
        if ip is not None:
            found = await store.who_has(conn, actor.tenant_id, ip)
        else:
            found = await store.what_has(conn, actor.tenant_id, subscriber_id or 0)
    return Holdings(items=tuple(found))


async def release(db: Database, actor: Actor, lease_id: int, how: Release) -> None:
    """Take a lease from its holder, so that anybody may get it now. Raises NotFound; Conflict while a session has it, unless forced: then its session
    is disconnected."""
    async with db.transaction(actor.scope) as conn:
        before = await store.lease(conn, actor.tenant_id, lease_id, lock=True) if 0 < lease_id <= inputs.ROW_ID_MAX else None
        if before is None:
            raise NotFound("lease", lease_id)
        if before.state == "in_use" and not how.force:
            raise Conflict(f"{before.prefix} is in use by {before.username or 'a session'}: disconnect it first, or release it with force", "state")
        if not await store.release(conn, actor.tenant_id, lease_id):
            raise NotFound("lease", lease_id)
        await audit.record(conn, actor, "lease.release", "lease", lease_id, before=audit.values(before), after={"force": how.force})


RouteQuery = lists.query_type(store.ROUTES)


async def routes(db: Database, actor: Actor, subscriber_id: int, query: ListQuery) -> Page[FramedRoute]:
    """The networks behind a subscriber, by id unless the query says otherwise. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.ROUTES, query, within={"subscriber_id": subscriber_id})
    async with db.transaction(actor.scope) as conn:
        await subscribers.held(conn, actor, subscriber_id)
        return await lists.page(conn, store.ROUTES, actor.tenant_id, query, store.routes_of, wanted)


async def add_route(db: Database, actor: Actor, subscriber_id: int, new: NewFramedRoute) -> FramedRoute:
    """Route a network to a subscriber; a live session is disconnected, for only a log-in brings routes. Raises NotFound, InvalidInput; Conflict if it
    overlaps another route, or what is leased to another."""
    faults = Faults()
    prefix = faults.attempt("/prefix", inputs.prefix, new.prefix)
    gateway = faults.attempt("/gateway", inputs.address, new.gateway)
    if prefix is not None and gateway is not None and prefix.version != gateway.version:
        faults.add("/gateway", f"is not IPv{prefix.version}")
    faults.check()
    async with db.transaction(actor.scope) as conn:
        await subscribers.held(conn, actor, subscriber_id, lock=True)
        route = await store.insert_route(conn, actor.tenant_id, subscriber_id, prefix=prefix, gateway=gateway, metric=new.metric)
        await audit.record(conn, actor, "subscriber.add_route", "subscriber", subscriber_id, after=audit.values(route))
    return route


async def remove_route(db: Database, actor: Actor, subscriber_id: int, route_id: int) -> None:
    """Route a network to a subscriber no longer. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        await subscribers.held(conn, actor, subscriber_id, lock=True)
        route = await store.delete_route(conn, actor.tenant_id, subscriber_id, route_id) if 0 < route_id <= inputs.ROW_ID_MAX else None
        if route is None:
            raise NotFound("route", route_id)
        await audit.record(conn, actor, "subscriber.remove_route", "subscriber", subscriber_id, before=audit.values(route))
