"""/plans"""

from netd.domain import plans
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.plans import NewPlan, PlanPatch
from netd.model.plan import Plan
from netd.web.api.route import Call, route


@route("GET", "/plans", permission="plans:read", summary="List plans", query=plans.PlanQuery)
async def plan_list(call: Call, query: ListQuery) -> Page[Plan]:
    return await plans.page(call.deps.database, call.actor, query)


@route("POST", "/plans", permission="plans:write", summary="Make a plan", status=201, action="plan.create")
async def plan_create(call: Call, body: NewPlan) -> Plan:
    return await plans.create(call.deps.database, call.actor, body)


@route("GET", "/plans/{id}", permission="plans:read", summary="Show a plan")
async def plan_show(call: Call, id: int) -> Plan:
    return await plans.get(call.deps.database, call.actor, id)


@route("PATCH", "/plans/{id}", permission="plans:write", summary="Change a plan; live sessions follow", action="plan.update")
async def plan_update(call: Call, id: int, body: PlanPatch) -> Plan:
    return await plans.update(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/plans/{id}", permission="plans:write", summary="Remove a plan that no subscriber has", action="plan.delete")
async def plan_delete(call: Call, id: int) -> None:
    await plans.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (plan_list, plan_create, plan_show, plan_update, plan_delete)
