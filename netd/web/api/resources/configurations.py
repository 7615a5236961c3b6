"""/configurations: versions of what devices are configured as; /configuration-states: how devices stand."""

from netd.domain import configurations, templates
from netd.domain.configurations import Approval, Comparison, ConfigurationText, DriftView
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.configuration import Configuration, ConfigurationState
from netd.web.api.route import Call, route

READ, WRITE = "configurations:read", "configurations:write"


@route("GET", "/configurations", permission=READ, summary="List versions of devices' configurations, newest first", query=configurations.ConfigurationQuery)
async def configuration_list(call: Call, query: ListQuery) -> Page[Configuration]:
    return await configurations.page(call.deps.database, call.actor, query)


@route("GET", "/configurations/{id}", permission=READ, summary="Show a version, without secrets")
async def configuration_show(call: Call, id: int) -> ConfigurationText:
    return await configurations.show(call.deps.database, call.actor, call.deps.keyring, call.deps.catalogue.platforms, id)


@route(
    "POST", "/configurations/{id}/reveal", permission="configurations:reveal", action="configuration.reveal",
    summary="See a version with its secrets; it is recorded who did", every_time=True,
)  # fmt: skip
async def configuration_reveal(call: Call, id: int) -> ConfigurationText:
    return await configurations.reveal(call.deps.database, call.actor, call.deps.keyring, id)


@route("GET", "/configurations/{id}/diff/{other}", permission=READ, summary="How a version became another, without secrets")
async def configuration_diff(call: Call, id: int, other: int) -> Comparison:
    return await configurations.compare(call.deps.database, call.actor, call.deps.keyring, call.deps.catalogue.platforms, id, other)


@route("POST", "/configurations/{id}/approve", permission=WRITE, summary="Say that a version is as it should be", action="configuration.approve")
async def configuration_approve(call: Call, id: int, body: Approval) -> Configuration:
    return await configurations.approve(call.deps.database, call.actor, id, body, call.deps.now())


@route("GET", "/configuration-states", permission=READ, summary="List how devices' configurations stand", query=configurations.StateQuery)
async def state_list(call: Call, query: ListQuery) -> Page[ConfigurationState]:
    return await configurations.states(call.deps.database, call.actor, query)


@route("GET", "/devices/{id}/configuration", permission=READ, summary="How a device's configuration stands")
async def state_show(call: Call, id: int) -> ConfigurationState:
    return await configurations.state(call.deps.database, call.actor, id)


@route("GET", "/devices/{id}/drift", permission=READ, summary="What a device's configuration differs from, and how, without secrets")
async def drift_show(call: Call, id: int) -> DriftView:
    deps = call.deps
    intended = await templates.intended_of(deps.database, deps.owner, deps.renderer, call.actor, id)
    return await configurations.drift(deps.database, call.actor, deps.keyring, deps.catalogue.platforms, id, intended)


ROUTES = (
    configuration_list, configuration_show, configuration_reveal, configuration_diff, configuration_approve, state_list, state_show, drift_show,
)  # fmt: skip
