"""/alarms and /thresholds"""

from netd.domain import alarms
from netd.domain.alarms import Acknowledgement, NewThreshold, ThresholdPatch
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.telemetry import Alarm, Threshold
from netd.web.api.route import Call, route

READ, WRITE = "devices:read", "alarms:write"


@route("GET", "/alarms", permission=READ, summary="List alarms of devices, newest first", query=alarms.AlarmQuery)
async def alarm_list(call: Call, query: ListQuery) -> Page[Alarm]:
    return await alarms.page(call.deps.database, call.actor, query)


@route("GET", "/alarms/{id}", permission=READ, summary="Show an alarm")
async def alarm_show(call: Call, id: int) -> Alarm:
    return await alarms.get(call.deps.database, call.actor, id)


@route("POST", "/alarms/{id}/acknowledge", permission=WRITE, summary="Say that somebody knows of an alarm", action="alarm.acknowledge")
async def alarm_acknowledge(call: Call, id: int, body: Acknowledgement) -> Alarm:
    return await alarms.acknowledge(call.deps.database, call.actor, id, body, version=call.if_match)


@route("GET", "/thresholds", permission=READ, summary="List what raises alarms", query=alarms.ThresholdQuery)
async def threshold_list(call: Call, query: ListQuery) -> Page[Threshold]:
    return await alarms.threshold_page(call.deps.database, call.actor, query)


@route("POST", "/thresholds", permission=WRITE, summary="Let a metric of devices or interfaces raise alarms", status=201, action="threshold.create")
async def threshold_create(call: Call, body: NewThreshold) -> Threshold:
    return await alarms.create_threshold(call.deps.database, call.actor, body)


@route("GET", "/thresholds/{id}", permission=READ, summary="Show a threshold")
async def threshold_show(call: Call, id: int) -> Threshold:
    return await alarms.get_threshold(call.deps.database, call.actor, id)


@route("PATCH", "/thresholds/{id}", permission=WRITE, summary="Change a threshold", action="threshold.update")
async def threshold_update(call: Call, id: int, body: ThresholdPatch) -> Threshold:
    return await alarms.update_threshold(call.deps.database, call.actor, id, body, version=call.if_match)


@route(
    "DELETE",
    "/thresholds/{id}",
    permission=WRITE,
    summary="Remove a threshold: the alarms that it raised end within seconds, and stay as history",
    action="threshold.delete",
)
async def threshold_delete(call: Call, id: int) -> None:
    await alarms.delete_threshold(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (
    alarm_list, alarm_show, alarm_acknowledge,
    threshold_list, threshold_create, threshold_show, threshold_update, threshold_delete,
)  # fmt: skip
