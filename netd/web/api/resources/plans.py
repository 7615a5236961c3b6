"""/plans"""

from typing import Annotated

from msgspec import Meta

from netd.domain import plans
from netd.domain.paging import Page, PageQuery
from netd.domain.plans import NewPlan, PlanPatch
from netd.model.plan import Plan
from netd.web.api.route import Call, route


class PlanQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which plans: ``name`` finds the one of that name, in any case of letters."""

    name: Annotated[str, Meta(max_length=64)] | None = None


@route("GET", "/plans", role="read_only", summary="List plans")
async def plan_list(call: Call, query: PlanQuery) -> Page[Plan]:
    return await plans.page(call.deps.database, call.actor, query, name=query.name)


@route("POST", "/plans", role="operator", summary="Make a plan", status=201, action="plan.create")
async def plan_create(call: Call, body: NewPlan) -> Plan:
    return await plans.create(call.deps.database, call.actor, body, call.deps.rules)


@route("GET", "/plans/{id}", role="read_only", summary="Show a plan")
async def plan_show(call: Call, id: int) -> Plan:
    return await plans.get(call.deps.database, call.actor, id)


@route("PATCH", "/plans/{id}", role="operator", summary="Change a plan; live sessions follow", action="plan.update")
async def plan_update(call: Call, id: int, body: PlanPatch) -> Plan:
    return await plans.update(call.deps.database, call.actor, id, body, call.deps.rules, version=call.if_match)


@route("DELETE", "/plans/{id}", role="operator", summary="Remove a plan that no subscriber has", action="plan.delete")
async def plan_delete(call: Call, id: int) -> None:
    await plans.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (plan_list, plan_create, plan_show, plan_update, plan_delete)
