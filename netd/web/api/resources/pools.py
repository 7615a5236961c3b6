"""/pools, their rules and leases, who has which address, and the networks routed to subscribers."""

from netd.domain import leases, pools
from netd.domain.leases import HoldingQuery, Holdings, NewFramedRoute, Release
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.pools import MoreRanges, NewPool, NewPoolRule, PoolPatch
from netd.model.pool import FramedRoute, Lease, Pool, PoolRule, PoolUsage
from netd.web.api.route import Call, route


@route("GET", "/pools", permission="pools:read", summary="List address pools", query=pools.PoolQuery)
async def pool_list(call: Call, query: ListQuery) -> Page[Pool]:
    return await pools.page(call.deps.database, call.actor, query)


@route("POST", "/pools", permission="pools:write", summary="Make an address pool; a rule must say who is served from it", status=201, action="pool.create")
async def pool_create(call: Call, body: NewPool) -> Pool:
    return await pools.create(call.deps.database, call.actor, body)


@route("GET", "/pools/{id}", permission="pools:read", summary="Show an address pool")
async def pool_show(call: Call, id: int) -> Pool:
    return await pools.get(call.deps.database, call.actor, id)


@route("PATCH", "/pools/{id}", permission="pools:write", summary="Change an address pool; what is leased stays so until its session ends", action="pool.update")
async def pool_update(call: Call, id: int, body: PoolPatch) -> Pool:
    return await pools.update(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/pools/{id}", permission="pools:write", summary="Remove an address pool that nothing is leased from, with its rules", action="pool.delete")
async def pool_delete(call: Call, id: int) -> None:
    await pools.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("POST", "/pools/{id}/ranges", permission="pools:write", summary="Add ranges and exclusions to an address pool, all or none", action="pool.add_ranges")
async def pool_add_ranges(call: Call, id: int, body: MoreRanges) -> Pool:
    return await pools.add_ranges(call.deps.database, call.actor, id, body)


@route(
    "GET", "/pools/{id}/leases", permission="pools:read", query=leases.LeaseQuery,
    summary="List what is leased from a pool, or is remembered for its last holder",
)  # fmt: skip
async def pool_leases(call: Call, id: int, query: ListQuery) -> Page[Lease]:
    return await leases.page(call.deps.database, call.actor, query, pool_id=id)


@route("GET", "/pools/{id}/usage", permission="pools:read", summary="How full is a pool now?")
async def pool_usage(call: Call, id: int) -> PoolUsage:
    return await pools.usage(call.deps.database, call.actor, id)


@route("GET", "/pools/rules", permission="pools:read", summary="List the rules that assign pools", query=pools.RuleQuery)
async def rule_list(call: Call, query: ListQuery) -> Page[PoolRule]:
    return await pools.rules(call.deps.database, call.actor, query)


@route(
    "POST", "/pools/rules", permission="pools:write", status=201, action="pool_rule.create",
    summary="Serve log-ins from a pool: all, or those with a plan, on a NAS, at a site, in a VRF; the most specific rule wins",
)  # fmt: skip
async def rule_create(call: Call, body: NewPoolRule) -> PoolRule:
    return await pools.create_rule(call.deps.database, call.actor, body)


@route(
    "DELETE",
    "/pools/rules/{id}",
    permission="pools:write",
    summary="Remove a rule; who is online keeps its address until the next log-in",
    action="pool_rule.delete",
)
async def rule_delete(call: Call, id: int) -> None:
    await pools.delete_rule(call.deps.database, call.actor, id)


@route("GET", "/pools/leases", permission="pools:read", summary="List leases of all pools", query=leases.LeaseQuery)
async def lease_list(call: Call, query: ListQuery) -> Page[Lease]:
    return await leases.page(call.deps.database, call.actor, query)


@route(
    "POST", "/pools/leases/{id}/release", permission="pools:write", action="lease.release",
    summary="Take a lease from its holder; 409 while a session has it, unless `force`, which disconnects it",
)  # fmt: skip
async def lease_release(call: Call, id: int, body: Release) -> None:
    await leases.release(call.deps.database, call.actor, id, body)


@route("GET", "/addresses", permission="sessions:read", summary="Who has this address, or what has this subscriber: fixed, routed or leased")
async def address_list(call: Call, query: HoldingQuery) -> Holdings:
    return await leases.holdings(call.deps.database, call.actor, query)


@route("GET", "/subscribers/{id}/routes", permission="subscribers:read", summary="List the networks behind a subscriber", query=leases.RouteQuery)
async def route_list(call: Call, id: int, query: ListQuery) -> Page[FramedRoute]:
    return await leases.routes(call.deps.database, call.actor, id, query)


@route("POST", "/subscribers/{id}/routes", permission="subscribers:write", summary="Route a network to a subscriber", status=201, action="subscriber.add_route")
async def route_create(call: Call, id: int, body: NewFramedRoute) -> FramedRoute:
    return await leases.add_route(call.deps.database, call.actor, id, body)


@route("DELETE", "/subscribers/{id}/routes/{route_id}", permission="subscribers:write", summary="Route a network no longer", action="subscriber.remove_route")
async def route_delete(call: Call, id: int, route_id: int) -> None:
    await leases.remove_route(call.deps.database, call.actor, id, route_id)


ROUTES = (
    pool_list, pool_create, pool_show, pool_update, pool_delete, pool_add_ranges, pool_leases, pool_usage, rule_list, rule_create, rule_delete,
    lease_list, lease_release, address_list, route_list, route_create, route_delete,
)  # fmt: skip
