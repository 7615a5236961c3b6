"""DHCP's subnets and reservations: what an operator says is served."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, fixed, inputs, lists, pools
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import NotFound
from netd.model import patterns
from netd.model.dhcp import BootProfile, Reservation, Serves, Subnet
from netd.model.ranges import span_of
from netd.model.ztp import ReservationKind
from netd.store import pools as pool_store
from netd.store import subnets as store
from netd.store.database import Connection, Database

AddressText = Annotated[str, Meta(min_length=2, max_length=64)]
Addresses = Annotated[tuple[AddressText, ...], Meta(max_length=16)]
ProfileNames = Annotated[
    tuple[Label, ...], Meta(max_length=100, description="boot profiles that are answered here; `plain` is any client, without a boot file")
]
LeaseSeconds = Annotated[int, Meta(ge=60, le=31_536_000)]
Interface = Annotated[str, Meta(min_length=1, max_length=15, pattern=r"^[!-.0-9;-~]+$", description="where its clients are attached directly")]
Variables = Annotated[dict[str, Annotated[str, Meta(max_length=1024)]], Meta(description="what the profiles' templates are filled with")]

VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
SECRET = re.compile(r".*(password|secret|token|psk)$")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*", re.IGNORECASE)


class NewSubnet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subnet to be served; ``pool`` and ``site`` are names. IPv4 addresses come from an ``ipv4`` pool; with IPv6 a ``delegated`` pool gives prefixes,
    and addresses are made from the client's identity."""

    name: Label
    prefix: AddressText
    serves: Serves = "expected"
    profiles: ProfileNames = ()
    pool: Label | None = None
    site: Label | None = None
    router: AddressText | None = None
    dns_servers: Addresses = ()
    ntp_servers: Addresses = ()
    domain: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    lease_seconds: LeaseSeconds = 3600
    variables: Variables = msgspec.field(default_factory=dict)
    interface: Interface | None = None
    enabled: bool = True
    description: Note | None = None


class SubnetPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a subnet; lists and ``variables`` are replaced as a whole. The prefix stays: make another subnet."""

    name: Label | UnsetType = UNSET
    serves: Serves | UnsetType = UNSET
    profiles: ProfileNames | UnsetType = UNSET
    pool: Label | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET
    router: AddressText | UnsetType | None = UNSET
    dns_servers: Addresses | UnsetType = UNSET
    ntp_servers: Addresses | UnsetType = UNSET
    domain: Annotated[str, Meta(min_length=1, max_length=253)] | UnsetType | None = UNSET
    lease_seconds: LeaseSeconds | UnsetType = UNSET
    variables: Variables | UnsetType = UNSET
    interface: Interface | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    description: Note | UnsetType | None = UNSET


class NewReservation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address to be set aside in the subnet of this name."""

    subnet: Label
    kind: ReservationKind
    value: Annotated[str, Meta(min_length=1, max_length=512)]
    address: AddressText
    description: Note | None = None


async def _columns(conn: Connection, actor: Actor, faults: Faults, members: Mapping[str, Any], prefix: IPv4Network | IPv6Network,
                   profiles: Sequence[BootProfile]) -> dict[str, Any]:  # fmt: skip
    """Columns of what is given; faults are reported."""
    columns = {name: value for name, value in members.items() if name not in ("prefix", "pool", "site")}
    for name in ("router",):
        if columns.get(name) is not None:
            columns[name] = _address(faults, f"/{name}", columns[name], prefix.version)
            if columns[name] is not None and columns[name] not in prefix:
                faults.add(f"/{name}", f"is not in {prefix}")
    for name in ("dns_servers", "ntp_servers"):
        if name in columns:
            columns[name] = [_address(faults, f"/{name}/{place}", text, prefix.version) for place, text in enumerate(columns[name])]
    known = {profile.name for profile in profiles}
    for place, name in enumerate(columns.get("profiles", ())):
        if name not in known:
            faults.add(f"/profiles/{place}", f"there is no boot profile {name}")
    if columns.get("domain") is not None and not DOMAIN.fullmatch(columns["domain"]):
        faults.add("/domain", "is not a domain name")
    _check_variables(faults, columns.get("variables", {}))
    if "pool" in members:
        columns["pool_id"] = await _pool(conn, actor, faults, members["pool"], prefix)
    if "site" in members:
        columns["site_id"] = None if members["site"] is None else await pool_store.site_by_name(conn, actor.tenant_id, members["site"])
        if members["site"] is not None and columns["site_id"] is None:
            faults.add("/site", f"there is no site {members['site']}")
    return columns


def _address(faults: Faults, where: str, text: str, version: int) -> IPv4Address | IPv6Address | None:
    found = faults.attempt(where, inputs.address, text)
    if found is not None and found.version != version:
        faults.add(where, f"is not IPv{version}")
    return found


def _check_variables(faults: Faults, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name):
            faults.add(f"/variables/{name}", "is not a name of lower case letters, digits and _")
        elif SECRET.fullmatch(name):
            faults.add(f"/variables/{name}", "a secret is a device's own: it does not stand in a subnet, where everybody who sees it could read it")
        elif not value.isprintable():
            faults.add(f"/variables/{name}", "has a control character in it")


async def _pool(conn: Connection, actor: Actor, faults: Faults, name: str | None, prefix: IPv4Network | IPv6Network) -> int | None:
    if name is None:
        return None
    pool = await pool_store.by_name(conn, actor.tenant_id, name)
    wanted = "ipv4" if prefix.version == 4 else "delegated"
    if pool is None:
        faults.add("/pool", f"there is no pool {name}")
        return None
    if pool.kind != wanted:
        faults.add("/pool", f"{name} is of kind {pool.kind}, and this subnet needs {wanted}")
    elif prefix.version == 4:
        whole = span_of(prefix)
        if any(span.first < whole.first or span.last > whole.last for span in pools.layout(pool).spans()):
            faults.add("/pool", f"{name} has addresses outside of {prefix}")
    return pool.id


async def create(db: Database, actor: Actor, new: NewSubnet, profiles: Sequence[BootProfile]) -> Subnet:
    """Serve a subnet. Raises InvalidInput; Conflict if the name is taken or the prefix overlaps another subnet (of any tenant: relays are one space)."""
    faults = Faults()
    prefix = faults.attempt("/prefix", inputs.prefix, new.prefix)
    if prefix is not None and prefix.version == 6 and prefix.prefixlen > 64:
        faults.add("/prefix", "is longer than /64: addresses are made of 64 bits")
    if new.serves == "classes" and not new.profiles:
        faults.add("/profiles", "name the classes that are served")
    if prefix is None:
        faults.check()
        raise NotFound("prefix", new.prefix)
    async with db.transaction(actor.scope) as conn:
        columns = await _columns(conn, actor, faults, msgspec.structs.asdict(new), prefix, profiles)
        faults.check()
        subnet_id = await store.insert(conn, actor.tenant_id, {**columns, "prefix": prefix})
        subnet = await held(conn, actor, subnet_id)
        await audit.record(conn, actor, "dhcp_subnet.create", "dhcp_subnet", subnet_id, after=audit.values(subnet))
    return subnet


async def get(db: Database, actor: Actor, subnet_id: int) -> Subnet:
    """The subnet. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, subnet_id)


SubnetQuery = lists.query_type(store.LISTING)
ReservationQuery = lists.query_type(store.RESERVATIONS)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Subnet]:
    """Subnets, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(db: Database, actor: Actor, subnet_id: int, patch: SubnetPatch, profiles: Sequence[BootProfile], *, version: int | None = None) -> Subnet:
    """Change a subnet; the next packet is answered by it. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, subnet_id, lock=True, version=version)
        faults = Faults()
        columns = await _columns(conn, actor, faults, members, before.prefix, profiles)
        if members.get("serves", before.serves) == "classes" and not members.get("profiles", before.profiles):
            faults.add("/profiles", "name the classes that are served")
        faults.check()
        if not members:
            return before
        if not await store.update(conn, actor.tenant_id, subnet_id, columns):
            raise NotFound("subnet", subnet_id)
        after = await held(conn, actor, subnet_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "dhcp_subnet.update", "dhcp_subnet", subnet_id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, subnet_id: int, *, version: int | None = None) -> None:
    """Serve a subnet no longer; its clients keep their addresses until their leases end. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, subnet_id, lock=True, version=version)
        if not await store.delete(conn, actor.tenant_id, subnet_id):
            raise NotFound("subnet", subnet_id)
        await audit.record(conn, actor, "dhcp_subnet.delete", "dhcp_subnet", subnet_id, before=audit.values(before))


async def held(conn: Connection, actor: Actor, subnet_id: int, *, lock: bool = False, version: int | None = None) -> Subnet:
    """The actor's subnet. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    subnet = await store.get(conn, actor.tenant_id, subnet_id, lock=lock) if 0 < subnet_id <= inputs.ROW_ID_MAX else None
    if subnet is None:
        raise NotFound("subnet", subnet_id)
    inputs.same_version("subnet", subnet.version, version)
    return subnet


# -- reservations --------------------------------------------------------------------------------------------------------


def _value(faults: Faults, new: NewReservation) -> str:
    """What the client is found by, in the form in which it is compared."""
    text = new.value.strip()
    if new.kind == "mac":
        text = re.sub(r"[:.\-]", "", text.lower())
        text = ":".join(text[at : at + 2] for at in range(0, len(text), 2))
        if not MAC.fullmatch(text):
            faults.add("/value", f"{new.value!r} is not a MAC address")
    elif new.kind == "client_id":
        text = re.sub(r"[:\s]", "", text.lower().removeprefix("0x"))
        if not re.fullmatch(r"([0-9a-f]{2}){1,255}", text):
            faults.add("/value", "a client identifier is given in hex")
    elif new.kind in ("circuit_id", "remote_id"):
        faults.attempt("/value", patterns.compile_whole, text)
    elif not text.isprintable():
        faults.add("/value", "has a control character in it")
    return text


async def reserve(db: Database, actor: Actor, new: NewReservation) -> Reservation:
    """Set an address aside for a client. Who has it by DHCP now keeps it until it renews. Raises InvalidInput; Conflict if a subscriber has it, or it or
    the client has a reservation."""
    faults = Faults()
    address = faults.attempt("/address", inputs.address, new.address)
    value = _value(faults, new)
    async with db.transaction(actor.scope) as conn:
        found = await store.by_name(conn, actor.tenant_id, new.subnet)
        if found is None:
            faults.add("/subnet", f"there is no subnet {new.subnet}")
        elif address is not None and (fault := fixed.unusable(found, address)):
            faults.add("/address", fault)
        faults.check()
        if address is None or found is None:
            raise NotFound("address", new.address)  # the faults told of it already
        reservation_id = await store.reserve(conn, actor.tenant_id, found.id, new.kind, value, address, new.description)
        made = await store.reservation(conn, actor.tenant_id, reservation_id)
        if made is None:
            raise NotFound("reservation", reservation_id)
        await audit.record(conn, actor, "dhcp_reservation.create", "dhcp_reservation", reservation_id, after=audit.values(made))
    return made


async def reservations(db: Database, actor: Actor, query: ListQuery) -> Page[Reservation]:
    """Reservations, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.RESERVATIONS, actor.tenant_id, query, store.reservations_of)


async def free(db: Database, actor: Actor, reservation_id: int) -> None:
    """Set an address aside no longer: it is its pool's again. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        before = await store.reservation(conn, actor.tenant_id, reservation_id) if 0 < reservation_id <= inputs.ROW_ID_MAX else None
        if before is None or not await store.free(conn, actor.tenant_id, reservation_id):
            raise NotFound("reservation", reservation_id)
        await audit.record(conn, actor, "dhcp_reservation.delete", "dhcp_reservation", reservation_id, before=audit.values(before))
