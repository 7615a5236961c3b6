"""/devices, /device-groups, and what was observed of devices: /interfaces, /links, /endpoints, /device-facts"""

from netd.domain import devices, inventory
from netd.domain.devices import DeviceGroupPatch, DevicePatch, NewDevice, NewDeviceGroup
from netd.domain.inventory import InterfacePatch
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.inventory import Device, DeviceGroup, Endpoint, FactChange, Interface, Link
from netd.web.api.route import Call, route

READ, WRITE = "devices:read", "devices:write"


@route("GET", "/devices", permission=READ, summary="List devices", query=devices.DeviceQuery)
async def device_list(call: Call, query: ListQuery) -> Page[Device]:
    return await devices.page(call.deps.database, call.actor, query)


@route("POST", "/devices", permission=WRITE, summary="Let netd know a device", status=201, action="device.create")
async def device_create(call: Call, body: NewDevice) -> Device:
    return await devices.create(call.deps.database, call.actor, body, call.deps.catalogue)


@route("GET", "/devices/{id}", permission=READ, summary="Show a device")
async def device_show(call: Call, id: int) -> Device:
    return await devices.get(call.deps.database, call.actor, id)


@route("PATCH", "/devices/{id}", permission=WRITE, summary="Change a device", action="device.update")
async def device_update(call: Call, id: int, body: DevicePatch) -> Device:
    return await devices.update(call.deps.database, call.actor, id, body, call.deps.catalogue, version=call.if_match)


@route("DELETE", "/devices/{id}", permission=WRITE, summary="Forget a device and what was observed of it", action="device.delete")
async def device_delete(call: Call, id: int) -> None:
    await devices.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/device-groups", permission=READ, summary="List groups of devices", query=devices.DeviceGroupQuery)
async def device_group_list(call: Call, query: ListQuery) -> Page[DeviceGroup]:
    return await devices.group_page(call.deps.database, call.actor, query)


@route("POST", "/device-groups", permission=WRITE, summary="Make a group of devices", status=201, action="device_group.create")
async def device_group_create(call: Call, body: NewDeviceGroup) -> DeviceGroup:
    return await devices.create_group(call.deps.database, call.actor, body)


@route("GET", "/device-groups/{id}", permission=READ, summary="Show a group of devices")
async def device_group_show(call: Call, id: int) -> DeviceGroup:
    return await devices.get_group(call.deps.database, call.actor, id)


@route("PATCH", "/device-groups/{id}", permission=WRITE, summary="Change a group of devices", action="device_group.update")
async def device_group_update(call: Call, id: int, body: DeviceGroupPatch) -> DeviceGroup:
    return await devices.update_group(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/device-groups/{id}", permission=WRITE, summary="Remove a group; its devices stay", action="device_group.delete")
async def device_group_delete(call: Call, id: int) -> None:
    await devices.delete_group(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/interfaces", permission=READ, summary="List interfaces", query=inventory.InterfaceQuery)
async def interface_list(call: Call, query: ListQuery) -> Page[Interface]:
    return await inventory.interfaces(call.deps.database, call.actor, query)


@route("GET", "/interfaces/{id}", permission=READ, summary="Show an interface")
async def interface_show(call: Call, id: int) -> Interface:
    return await inventory.interface(call.deps.database, call.actor, id)


@route("PATCH", "/interfaces/{id}", permission=WRITE, summary="Change whether an interface is monitored, and its note", action="interface.update")
async def interface_update(call: Call, id: int, body: InterfacePatch) -> Interface:
    return await inventory.update_interface(call.deps.database, call.actor, id, body, version=call.if_match)


@route("GET", "/links", permission=READ, summary="List what devices hear of their neighbours", query=inventory.LinkQuery)
async def link_list(call: Call, query: ListQuery) -> Page[Link]:
    return await inventory.links(call.deps.database, call.actor, query)


@route("GET", "/endpoints", permission=READ, summary="Where MAC and IP addresses were seen, and when", query=inventory.EndpointQuery)
async def endpoint_list(call: Call, query: ListQuery) -> Page[Endpoint]:
    return await inventory.endpoints(call.deps.database, call.actor, query)


@route("GET", "/device-facts", permission=READ, summary="What changed of what devices say of themselves, newest first", query=inventory.FactQuery)
async def device_fact_list(call: Call, query: ListQuery) -> Page[FactChange]:
    return await inventory.facts(call.deps.database, call.actor, query)


ROUTES = (
    device_list, device_create, device_show, device_update, device_delete,
    device_group_list, device_group_create, device_group_show, device_group_update, device_group_delete,
    interface_list, interface_show, interface_update, link_list, endpoint_list, device_fact_list,
)  # fmt: skip
