"""/software-images, /software-targets and /compliance: which software there is, who should run which, and who does."""

from netd.domain import recommendation, software
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.recommendation import RecommendationQuery, Recommendations
from netd.domain.software import NewImage, NewSoftwareTarget, SoftwareTargetPatch
from netd.model.configuration import Compliance, SoftwareImage, SoftwareTarget
from netd.web.api.route import Call, FileUpload, route

READ, WRITE = "software:read", "software:write"


@route("GET", "/software-images", permission=READ, summary="List software images", query=software.ImageQuery)
async def image_list(call: Call, query: ListQuery) -> Page[SoftwareImage]:
    return await software.images(call.deps.database, call.actor, query)


@route("POST", "/software-images", permission=WRITE, summary="Keep a software image: the body is its file", status=201, action="software_image.create")
async def image_create(call: Call, query: NewImage, body: FileUpload) -> SoftwareImage:
    deps = call.deps
    return await software.add_image(deps.database, call.actor, deps.images, deps.catalogue, query, body.chunks())


@route("GET", "/software-images/{id}", permission=READ, summary="Show a software image")
async def image_show(call: Call, id: int) -> SoftwareImage:
    return await software.image(call.deps.database, call.actor, id)


@route("DELETE", "/software-images/{id}", permission=WRITE, summary="Forget a software image and its file", action="software_image.delete")
async def image_delete(call: Call, id: int) -> None:
    await software.delete_image(call.deps.database, call.deps.owner, call.actor, call.deps.images, id, version=call.if_match)


@route("GET", "/software-targets", permission=READ, summary="List which software devices should run", query=software.TargetQuery)
async def target_list(call: Call, query: ListQuery) -> Page[SoftwareTarget]:
    return await software.targets(call.deps.database, call.actor, query)


@route("POST", "/software-targets", permission=WRITE, summary="Say which software devices should run", status=201, action="software_target.create")
async def target_create(call: Call, body: NewSoftwareTarget) -> SoftwareTarget:
    return await software.create_target(call.deps.database, call.actor, call.deps.catalogue, body)


@route("GET", "/software-targets/{id}", permission=READ, summary="Show which software devices should run")
async def target_show(call: Call, id: int) -> SoftwareTarget:
    return await software.target(call.deps.database, call.actor, id)


@route("PATCH", "/software-targets/{id}", permission=WRITE, summary="Change which software devices should run", action="software_target.update")
async def target_update(call: Call, id: int, body: SoftwareTargetPatch) -> SoftwareTarget:
    return await software.update_target(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/software-targets/{id}", permission=WRITE, summary="Say no longer which software devices should run", action="software_target.delete")
async def target_delete(call: Call, id: int) -> None:
    await software.delete_target(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/compliance", permission=READ, summary="List which devices run what they should, and why they should", query=software.ComplianceQuery)
async def compliance_list(call: Call, query: ListQuery) -> Page[Compliance]:
    return await software.compliance(call.deps.database, call.actor, query)


@route("GET", "/software-recommendations", permission=READ, summary="Which software models could run of which nobody said what they should, and why")
async def recommendation_list(call: Call, query: RecommendationQuery) -> Recommendations:
    return await recommendation.recommend(call.deps.database, call.actor, query, call.deps.now())


ROUTES = (
    image_list, image_create, image_show, image_delete, target_list, target_create, target_show, target_update, target_delete, compliance_list,
    recommendation_list,
)  # fmt: skip
