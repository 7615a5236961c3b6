"""/discovery: what a search would be, and the candidates that searches found."""

from netd.domain import discovery
from netd.domain.discovery import Acceptance, CandidatePatch, DiscoveryOrder, DiscoveryPlan
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.inventory import Candidate
from netd.web.api.route import Call, route

READ, DISCOVER = "devices:read", "devices:discover"


@route("POST", "/discovery/plan", permission=DISCOVER, summary="What a search would come to; nothing is asked", action="discovery.plan")
async def discovery_plan(call: Call, body: DiscoveryOrder) -> DiscoveryPlan:
    return (await discovery.prepare(call.deps.database, call.deps.owner, call.deps.keyring, call.actor, body)).plan


@route("GET", "/discovery/candidates", permission=READ, summary="List what searches found", query=discovery.CandidateQuery)
async def candidate_list(call: Call, query: ListQuery) -> Page[Candidate]:
    return await discovery.page(call.deps.database, call.actor, query)


@route("GET", "/discovery/candidates/{id}", permission=READ, summary="Show a candidate")
async def candidate_show(call: Call, id: int) -> Candidate:
    return await discovery.get(call.deps.database, call.actor, id)


@route("PATCH", "/discovery/candidates/{id}", permission=DISCOVER, summary="Ignore a candidate, or think again", action="candidate.update")
async def candidate_update(call: Call, id: int, body: CandidatePatch) -> Candidate:
    return await discovery.update(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/discovery/candidates/{id}", permission=DISCOVER, summary="Forget a candidate; found again, it is new", action="candidate.delete")
async def candidate_delete(call: Call, id: int) -> None:
    await discovery.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("POST", "/discovery/candidates/{id}/accept", permission="devices:write", summary="Make a device of a candidate", action="candidate.accept")
async def candidate_accept(call: Call, id: int, body: Acceptance) -> Candidate:
    return await discovery.accept(call.deps.database, call.actor, id, body, call.deps.catalogue, call.deps.now())


ROUTES = (discovery_plan, candidate_list, candidate_show, candidate_update, candidate_delete, candidate_accept)
