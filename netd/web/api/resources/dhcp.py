"""/dhcp: the subnets that are served, addresses set aside, and boot profiles."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import dhcp
from netd.domain.dhcp import NewReservation, NewSubnet, SubnetPatch
from netd.domain.paging import Page, PageQuery
from netd.model.dhcp import BootProfile, Reservation, Subnet
from netd.web.api.route import Call, route


class SubnetQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which subnets: ``name`` finds the one of that name, in any case of letters."""

    name: Annotated[str, Meta(max_length=64)] | None = None


class ReservationQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which reservations: those of a subnet."""

    subnet_id: int | None = None


class BootProfiles(msgspec.Struct, frozen=True, kw_only=True):
    """All that this netd knows."""

    items: tuple[BootProfile, ...]


@route("GET", "/dhcp/subnets", permission="dhcp:read", summary="List the subnets that DHCP serves")
async def subnet_list(call: Call, query: SubnetQuery) -> Page[Subnet]:
    return await dhcp.page(call.deps.database, call.actor, query, name=query.name)


@route("POST", "/dhcp/subnets", permission="dhcp:write", summary="Serve a subnet", status=201, action="dhcp_subnet.create")
async def subnet_create(call: Call, body: NewSubnet) -> Subnet:
    return await dhcp.create(call.deps.database, call.actor, body, call.deps.boot_profiles)


@route("GET", "/dhcp/subnets/{id}", permission="dhcp:read", summary="Show a subnet")
async def subnet_show(call: Call, id: int) -> Subnet:
    return await dhcp.get(call.deps.database, call.actor, id)


@route("PATCH", "/dhcp/subnets/{id}", permission="dhcp:write", summary="Change a subnet; the next packet is answered by it", action="dhcp_subnet.update")
async def subnet_update(call: Call, id: int, body: SubnetPatch) -> Subnet:
    return await dhcp.update(call.deps.database, call.actor, id, body, call.deps.boot_profiles, version=call.if_match)


@route(
    "DELETE", "/dhcp/subnets/{id}", permission="dhcp:write", action="dhcp_subnet.delete",
    summary="Serve a subnet no longer; its clients keep their addresses until their leases end",
)  # fmt: skip
async def subnet_delete(call: Call, id: int) -> None:
    await dhcp.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/dhcp/reservations", permission="dhcp:read", summary="List addresses that are set aside for known clients")
async def reservation_list(call: Call, query: ReservationQuery) -> Page[Reservation]:
    return await dhcp.reservations(call.deps.database, call.actor, query, subnet_id=query.subnet_id)


@route("POST", "/dhcp/reservations", permission="dhcp:write", summary="Set an address aside for a client", status=201, action="dhcp_reservation.create")
async def reservation_create(call: Call, body: NewReservation) -> Reservation:
    return await dhcp.reserve(call.deps.database, call.actor, body)


@route("DELETE", "/dhcp/reservations/{id}", permission="dhcp:write", summary="Set an address aside no longer", action="dhcp_reservation.delete")
async def reservation_delete(call: Call, id: int) -> None:
    await dhcp.free(call.deps.database, call.actor, id)


@route("GET", "/dhcp/profiles", permission="dhcp:read", summary="Which classes of devices can boot, what of that is known, and from where")
async def profile_list(call: Call) -> BootProfiles:
    return BootProfiles(items=call.deps.boot_profiles)


ROUTES = (
    subnet_list, subnet_create, subnet_show, subnet_update, subnet_delete, reservation_list, reservation_create, reservation_delete, profile_list,
)  # fmt: skip
