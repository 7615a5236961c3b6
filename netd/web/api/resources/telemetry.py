"""What devices do: /devices/{id}/telemetry, series, availability and utilisation, /top-talkers"""

from netd.domain import telemetry
from netd.domain.telemetry import DeviceSeriesQuery, InterfaceSeriesQuery, OpticsSeriesQuery, SpanQuery, Talkers, TopQuery
from netd.model.telemetry import Availability, CurrentDevice, Series, Utilisation
from netd.web.api.route import Call, route

READ = "devices:read"


@route("GET", "/devices/{id}/telemetry", permission=READ, summary="What a device does now: is it there, how it does, its interfaces' counters and rates")
async def device_telemetry(call: Call, id: int) -> CurrentDevice:
    return await telemetry.current(call.deps.database, call.actor, call.deps.polling, id, call.deps.now())


@route("GET", "/devices/{id}/series", permission=READ, summary="A metric of a device by time; the step follows from the span and the points wanted")
async def device_series(call: Call, id: int, query: DeviceSeriesQuery) -> Series:
    return await telemetry.device_series(call.deps.database, call.actor, call.deps.polling, id, query, call.deps.now())


@route("GET", "/devices/{id}/optics-series", permission=READ, summary="A figure of a transceiver or an ONU by time")
async def optics_series(call: Call, id: int, query: OpticsSeriesQuery) -> Series:
    return await telemetry.optics_series(call.deps.database, call.actor, id, query, call.deps.now())


@route("GET", "/devices/{id}/availability", permission=READ, summary="How much of a span a device was there")
async def device_availability(call: Call, id: int, query: SpanQuery) -> Availability:
    return await telemetry.availability(call.deps.database, call.actor, call.deps.polling, id, query, call.deps.now())


@route("GET", "/interfaces/{id}/series", permission=READ, summary="A rate of an interface by time; the step follows from the span and the points wanted")
async def interface_series(call: Call, id: int, query: InterfaceSeriesQuery) -> Series:
    return await telemetry.interface_series(call.deps.database, call.actor, call.deps.polling, id, query, call.deps.now())


@route("GET", "/interfaces/{id}/utilisation", permission=READ, summary="How much of an interface was used over a span: means, peaks, 95th percentiles")
async def interface_utilisation(call: Call, id: int, query: SpanQuery) -> Utilisation:
    return await telemetry.utilisation(call.deps.database, call.actor, call.deps.polling, id, query, call.deps.now())


@route("GET", "/top-talkers", permission=READ, summary="The interfaces that have most traffic, utilisation or errors over a span")
async def top_talkers(call: Call, query: TopQuery) -> Talkers:
    return await telemetry.top(call.deps.database, call.actor, call.deps.polling, query, call.deps.now())


ROUTES = (device_telemetry, device_series, optics_series, device_availability, interface_series, interface_utilisation, top_talkers)
