"""/plans/{id}/quotas, /subscribers/{id}/quota, /subscribers/{id}/top-ups and /quota-events"""

import msgspec

from netd.domain import consumption, quotas
from netd.domain.consumption import NewTopUp, QuotaReset, ToppedUp
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.quotas import NewQuota, QuotaPatch
from netd.model.quota import Quota, QuotaEvent, QuotaStanding, TopUp
from netd.web.api.route import Call, route


class StandingList(msgspec.Struct, frozen=True, kw_only=True):
    """One for each quota of the subscriber's plan."""

    items: tuple[QuotaStanding, ...]
    next: None = None


@route("GET", "/plans/{id}/quotas", permission="plans:read", summary="List the quotas of a plan", query=quotas.QuotaQuery)
async def quota_list(call: Call, id: int, query: ListQuery) -> Page[Quota]:
    return await quotas.page(call.deps.database, call.actor, id, query)


@route("POST", "/plans/{id}/quotas", permission="plans:write", summary="Give a plan a quota; counting begins at once", status=201, action="quota.create")
async def quota_create(call: Call, id: int, body: NewQuota) -> Quota:
    return await quotas.create(call.deps.database, call.actor, id, body)


@route("GET", "/plans/{id}/quotas/{quota_id}", permission="plans:read", summary="Show a quota")
async def quota_show(call: Call, id: int, quota_id: int) -> Quota:
    return await quotas.get(call.deps.database, call.actor, id, quota_id)


@route("PATCH", "/plans/{id}/quotas/{quota_id}", permission="plans:write", summary="Change a quota; live sessions follow", action="quota.update")
async def quota_update(call: Call, id: int, quota_id: int, body: QuotaPatch) -> Quota:
    return await quotas.update(call.deps.database, call.actor, id, quota_id, body, version=call.if_match)


@route("DELETE", "/plans/{id}/quotas/{quota_id}", permission="plans:write", summary="Remove a quota with what was counted for it", action="quota.delete")
async def quota_delete(call: Call, id: int, quota_id: int) -> None:
    await quotas.delete(call.deps.database, call.actor, id, quota_id, version=call.if_match)


@route("GET", "/subscribers/{id}/quota", permission="subscribers:read", summary="What a subscriber used of its quotas, and what is left")
async def quota_standing(call: Call, id: int) -> StandingList:
    return StandingList(items=await consumption.standings(call.deps.database, call.actor, id, call.deps.now()))


@route("POST", "/subscribers/{id}/quota/reset", permission="subscribers:quota", summary="Begin the current period anew", action="subscriber.reset_quota")
async def quota_reset(call: Call, id: int, body: QuotaReset) -> StandingList:
    return StandingList(items=await consumption.reset(call.deps.database, call.actor, id, body, call.deps.now()))


@route("GET", "/subscribers/{id}/top-ups", permission="subscribers:read", summary="List a subscriber's top-ups, newest first", query=consumption.TopUpQuery)
async def top_up_list(call: Call, id: int, query: ListQuery) -> Page[TopUp]:
    return await consumption.top_ups(call.deps.database, call.actor, id, query)


@route(
    "POST", "/subscribers/{id}/top-ups", permission="subscribers:quota", status=201, action="subscriber.top_up",
    summary="Add to what a subscriber may use; live sessions follow",
)  # fmt: skip
async def top_up_add(call: Call, id: int, body: NewTopUp) -> ToppedUp:
    return await consumption.top_up(call.deps.database, call.actor, id, body, call.deps.now())


@route(
    "GET", "/quota-events", permission="subscribers:read", summary="Stages of quotas that subscribers reached, newest first",
    query=consumption.QuotaEventQuery,
)  # fmt: skip
async def quota_event_list(call: Call, query: ListQuery) -> Page[QuotaEvent]:
    return await consumption.events(call.deps.database, call.actor, query)


ROUTES = (
    quota_list, quota_create, quota_show, quota_update, quota_delete, quota_standing, quota_reset, top_up_list, top_up_add, quota_event_list,
)  # fmt: skip
