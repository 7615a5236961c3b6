"""/templates of configurations and boot files, and /template-variables."""

from netd.domain import templates
from netd.domain.choice import DeviceChoice
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.templates import Check, NewTemplate, NewTemplateVariables, Preview, Previewed, TemplatePatch, TemplateVariablesPatch
from netd.model.configuration import Template, TemplateBody, TemplateVariables
from netd.web.api.route import Call, route

READ, WRITE = "templates:read", "templates:write"


@route("GET", "/templates", permission=READ, summary="List templates", query=templates.TemplateQuery)
async def template_list(call: Call, query: ListQuery) -> Page[Template]:
    return await templates.page(call.deps.database, call.actor, query)


@route("POST", "/templates", permission=WRITE, summary="Make a template", status=201, action="template.create")
async def template_create(call: Call, body: NewTemplate) -> Template:
    return await templates.create(call.deps.database, call.actor, body)


@route("GET", "/templates/{id}", permission=READ, summary="Show a template")
async def template_show(call: Call, id: int) -> Template:
    return await templates.get(call.deps.database, call.actor, id)


@route("PATCH", "/templates/{id}", permission=WRITE, summary="Change a template; what it said before is kept", action="template.update")
async def template_update(call: Call, id: int, body: TemplatePatch) -> Template:
    return await templates.update(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/templates/{id}", permission=WRITE, summary="Remove a template and all that it said", action="template.delete")
async def template_delete(call: Call, id: int) -> None:
    await templates.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/templates/{id}/bodies", permission=READ, summary="What a template said, newest first", query=templates.BodyQuery)
async def template_bodies(call: Call, id: int, query: ListQuery) -> Page[TemplateBody]:
    return await templates.bodies(call.deps.database, call.actor, id, query)


@route("POST", "/templates/{id}/preview", permission=WRITE, summary="What a template renders for a device", action="template.preview")
async def template_preview(call: Call, id: int, body: Preview) -> Previewed:
    return await templates.preview(call.deps.database, call.deps.renderer, call.actor, id, body)


@route("POST", "/templates/check", permission=WRITE, summary="Render the templates of devices, and see which do not", action="template.check")
async def template_check(call: Call, body: DeviceChoice) -> Check:
    return await templates.check(call.deps.database, call.deps.renderer, call.actor, body)


@route("GET", "/template-variables", permission=READ, summary="List variables for templates", query=templates.VariablesQuery)
async def variables_list(call: Call, query: ListQuery) -> Page[TemplateVariables]:
    return await templates.variables_page(call.deps.database, call.actor, query)


@route("POST", "/template-variables", permission=WRITE, summary="Add variables of a role, a site, or both", status=201, action="template_variables.create")
async def variables_create(call: Call, body: NewTemplateVariables) -> TemplateVariables:
    return await templates.create_variables(call.deps.database, call.actor, body)


@route("GET", "/template-variables/{id}", permission=READ, summary="Show variables")
async def variables_show(call: Call, id: int) -> TemplateVariables:
    return await templates.variables(call.deps.database, call.actor, id)


@route("PATCH", "/template-variables/{id}", permission=WRITE, summary="Change variables", action="template_variables.update")
async def variables_update(call: Call, id: int, body: TemplateVariablesPatch) -> TemplateVariables:
    return await templates.update_variables(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/template-variables/{id}", permission=WRITE, summary="Remove variables", action="template_variables.delete")
async def variables_delete(call: Call, id: int) -> None:
    await templates.delete_variables(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (
    template_list, template_create, template_show, template_update, template_delete, template_bodies, template_preview, template_check,
    variables_list, variables_create, variables_show, variables_update, variables_delete,
)  # fmt: skip
