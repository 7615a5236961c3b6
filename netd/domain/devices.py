"""Devices as operators describe them, and named groups of them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, conversion, inputs, lists, sites
from netd.domain.actor import Actor, system
from netd.domain.inputs import NO_CONTROL, NO_OUTER_BLANKS, Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Fault, InvalidInput, NotFound
from netd.extensions import DevicePlatform
from netd.model.inventory import Device, DeviceGroup, DeviceKind, DeviceState, Selector
from netd.store import credentials as credential_store
from netd.store import devices as store
from netd.store import nas as nas_store
from netd.store import rows
from netd.store import subscribers as subscriber_store
from netd.store.database import Connection, Database

Hostname = Annotated[str, Meta(min_length=1, max_length=253, pattern=NO_OUTER_BLANKS)]
Address = Annotated[str, Meta(min_length=2, max_length=64)]
Username = Annotated[str, Meta(min_length=1, max_length=253, pattern=NO_OUTER_BLANKS)]
Text = Annotated[str, Meta(min_length=1, max_length=253, pattern=NO_CONTROL)]
Tag = Annotated[str, Meta(min_length=1, max_length=64, pattern=inputs.TAG)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=64)]
PollGroups = Annotated[tuple[Label, ...], Meta(max_length=16)]
Certificates = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")], ...],
    Meta(max_length=8, description="SHA-256 in hex of TLS certificates that its HTTP API may show; none: the first one seen is pinned"),
]
HostKeys = Annotated[
    tuple[Annotated[str, Meta(max_length=4000)], ...],
    Meta(max_length=8, description="pinned SSH host keys, 'ssh-ed25519 AAAA…'; an empty list pins the next one"),
]
Sessions = Annotated[int, Meta(ge=1, le=16)]
Timeout = Annotated[float, Meta(ge=1, le=300)]
Variables = Annotated[dict[str, Any], Meta(description="for the template of its role: no secrets, they are shown to whoever sees the device")]

_HOST_KEY = re.compile(r"(ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,}={0,2}")
VARIABLES_OCTETS = 65_536


class Ports(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ports where they are not the credential's, or the usual ones."""

    ssh: Annotated[int, Meta(ge=1, le=65535)] | None = None
    telnet: Annotated[int, Meta(ge=1, le=65535)] | None = None
    snmp: Annotated[int, Meta(ge=1, le=65535)] | None = None
    http: Annotated[int, Meta(ge=1, le=65535)] | None = None


class NewDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device to be known. ``site``, ``parent`` (what it is reached through), ``nas``, ``credential`` and ``subscriber`` (whose it is) are names; without
    ``platform`` it is recognised."""

    hostname: Hostname
    mgmt_address: Address
    vendor: Label
    platform: Label | None = None
    kind: DeviceKind | None = None
    state: DeviceState = "active"
    model: Text | None = None
    serial: Text | None = None
    software_version: Text | None = None
    target_version: Text | None = None
    site: Label | None = None
    parent: Hostname | None = None
    nas: Label | None = None
    credential: Label | None = None
    subscriber: Username | None = None
    role: Label | None = None
    variables: Variables = msgspec.field(default_factory=dict)
    tags: Tags = ()
    ports: Ports = Ports()
    host_keys: HostKeys = ()
    certificates: Certificates = ()
    legacy_algorithms: bool = False
    sessions: Sessions = 1
    timeout_seconds: Timeout = 10.0
    polling: bool = True
    poll_groups: PollGroups = ()
    note: Note | None = None


class DevicePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a device; null takes a value away."""

    hostname: Hostname | UnsetType = UNSET
    mgmt_address: Address | UnsetType = UNSET
    vendor: Label | UnsetType = UNSET
    platform: Label | UnsetType | None = UNSET
    kind: DeviceKind | UnsetType = UNSET
    state: DeviceState | UnsetType = UNSET
    model: Text | UnsetType | None = UNSET
    serial: Text | UnsetType | None = UNSET
    software_version: Text | UnsetType | None = UNSET
    target_version: Text | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET
    parent: Hostname | UnsetType | None = UNSET
    nas: Label | UnsetType | None = UNSET
    credential: Label | UnsetType | None = UNSET
    subscriber: Username | UnsetType | None = UNSET
    role: Label | UnsetType | None = UNSET
    variables: Variables | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    ports: Ports | UnsetType = UNSET
    host_keys: HostKeys | UnsetType = UNSET
    certificates: Certificates | UnsetType = UNSET
    legacy_algorithms: bool | UnsetType = UNSET
    sessions: Sessions | UnsetType = UNSET
    timeout_seconds: Timeout | UnsetType = UNSET
    polling: bool | UnsetType = UNSET
    poll_groups: PollGroups | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


_WHERE: Final = frozenset(("mgmt_address", "ports", "host_keys", "certificates", "site_id"))
"""What says who is spoken to."""


class Catalogue(msgspec.Struct, frozen=True):
    """What devices may be of: names of vendors, and the platforms that have a driver."""

    vendors: frozenset[str]
    platforms: Mapping[str, DevicePlatform]


def parsed(members: Mapping[str, Any], catalogue: Catalogue, faults: Faults) -> dict[str, Any]:
    """Members as the store takes them, but for names of other things."""
    columns = dict(members)
    if "mgmt_address" in members:
        columns["mgmt_address"] = faults.attempt("/mgmt_address", inputs.address, members["mgmt_address"])
    if "vendor" in members and members["vendor"] not in catalogue.vendors:
        faults.add("/vendor", f"no such vendor; there are {', '.join(sorted(catalogue.vendors))}")
    if members.get("platform") is not None and members["platform"] not in catalogue.platforms:
        faults.add("/platform", f"no such platform; there are {', '.join(sorted(catalogue.platforms)) or 'none'}")
    for place, key in enumerate(members.get("host_keys", ())):
        if not _HOST_KEY.fullmatch(key):
            faults.add(f"/host_keys/{place}", "is not of the form 'ssh-ed25519 AAAA…'")
    if "variables" in members and len(msgspec.json.encode(members["variables"])) > VARIABLES_OCTETS:
        faults.add("/variables", f"are longer than {VARIABLES_OCTETS >> 10} KiB")
    for name in ("tags", "host_keys", "certificates", "poll_groups"):
        if name in members:
            columns[name] = list(dict.fromkeys(members[name]))
    if "ports" in members:
        columns["ports"] = msgspec.to_builtins(members["ports"])
    return columns


async def _refer(conn: Connection, actor: Actor, faults: Faults, columns: dict[str, Any], own_id: int | None) -> None:
    """Turn names of other things into ids."""
    if "parent" in columns:
        name = columns.pop("parent")
        found = columns["parent_id"] = None if name is None else await store.id_by_hostname(conn, actor.tenant_id, name)
        if name is not None and found is None:
            faults.add("/parent", f"there is no device {name}")
        if own_id is not None and found is not None and own_id in await store.above(conn, actor.tenant_id, found):
            faults.add("/parent", f"{name} is the device itself, or is reached through it")
    if "nas" in columns:
        name = columns.pop("nas")
        nas = None if name is None else await nas_store.by_name(conn, actor.tenant_id, name)
        columns["nas_id"] = None if nas is None else nas.id
        if name is not None and nas is None:
            faults.add("/nas", f"there is no NAS {name}")
    if "credential" in columns:
        name = columns.pop("credential")
        columns["credential_id"] = None if name is None else await credential_store.id_by_name(conn, actor.tenant_id, name)
        if name is not None and columns["credential_id"] is None:
            faults.add("/credential", f"there is no credential {name}")
    if "subscriber" in columns:
        columns["subscriber_id"] = await subscriber_id(conn, actor, faults, columns.pop("subscriber"))


async def subscriber_id(conn: Connection, actor: Actor, faults: Faults, name: str | None) -> int | None:
    """The id of a subscriber that is named; an unknown one is reported."""
    if name is None:
        return None
    found = await subscriber_store.by_username(conn, actor.tenant_id, name)
    if found is None:
        faults.add("/subscriber", f"there is no subscriber {name}")
        return None
    return found.id


def _kind(columns: dict[str, Any], catalogue: Catalogue) -> None:
    """A new device is of the platform's kind unless somebody says otherwise."""
    if columns.get("kind") is None:
        platform = catalogue.platforms.get(columns.get("platform") or "")
        columns["kind"] = "other" if platform is None else platform.platform.kind


async def create(db: Database, actor: Actor, new: NewDevice, catalogue: Catalogue) -> Device:
    """Let netd know a device. Raises InvalidInput; Conflict if the name is taken."""
    async with db.transaction(actor.scope) as conn:
        return await add(conn, actor, new, catalogue)


async def add(conn: Connection, actor: Actor, new: NewDevice, catalogue: Catalogue) -> Device:
    """The same within a transaction."""
    faults = Faults()
    columns = parsed(msgspec.structs.asdict(new), catalogue, faults)
    _kind(columns, catalogue)
    await referred(conn, actor, faults, columns, None)
    device = await held(conn, actor, await store.insert(conn, actor.tenant_id, {**columns, "site_addressed": actor.sites is not None}))
    await audit.record(conn, actor, "device.create", "device", device.id, after=audit.values(device))
    return device


async def get(db: Database, actor: Actor, device_id: int) -> Device:
    """The device. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, device_id)


DeviceQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Device]:
    """Devices, by id unless the query says otherwise. Raises InvalidInput."""
    wanted = lists.selection(store.LISTING, query, parse={"mgmt_address": inputs.address})
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of, wanted)


async def update(db: Database, actor: Actor, device_id: int, patch: DevicePatch, catalogue: Catalogue, *, version: int | None = None) -> Device:
    """Change what an operator says of a device. With another address, which credentials open it has to be found out anew; what is pinned stays pinned.

    Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``.
    """
    members = given(patch)
    faults = Faults()
    columns = parsed(members, catalogue, faults)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, device_id, lock=True, version=version)
        if not members:
            return before
        return await change(conn, actor, before, await referred(conn, actor, faults, columns, before))


async def referred(conn: Connection, actor: Actor, faults: Faults, columns: dict[str, Any], before: Device | None) -> dict[str, Any]:
    """Columns of ``parsed`` with names of other things as ids; ``before`` None: of a new device. Raises InvalidInput with all that is wrong."""
    await sites.place(conn, actor, faults, columns, new=before is None)
    await _refer(conn, actor, faults, columns, None if before is None else before.id)
    faults.check()
    return columns


async def change(conn: Connection, actor: Actor, before: Device, columns: Mapping[str, Any]) -> Device:
    """Write columns of ``referred`` within a transaction, in which the device is locked."""
    if columns.keys() & (_WHERE if actor.sites is not None else {"mgmt_address"}):  # who forgets a pinned key has not said whose the address is
        columns = {**columns, "site_addressed": actor.sites is not None}
    await store.update(conn, actor.tenant_id, before.id, columns)
    if columns.keys() & {"mgmt_address", "site_id", "ports", "credential_id"}:
        await store.forget_working(conn, actor.tenant_id, before.id)
    after = await held(conn, actor, before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, "device.update", "device", before.id, before=old, after=new)
    return after


async def pin(db: Database, tenant_id: int, device_id: int, host_key: str) -> bool:
    """Pin the first SSH host key that a device showed; False if one is pinned already. For services: ``db`` is the daemon's own."""
    async with db.transaction() as conn:
        pinned = await store.pin(conn, tenant_id, device_id, host_key)
        if pinned:
            await audit.record(conn, system(tenant_id), "device.pin_host_key", "device", device_id, before={"host_keys": []}, after={"host_keys": [host_key]})
    return pinned


async def pin_certificate(db: Database, tenant_id: int, device_id: int, fingerprint: str) -> bool:
    """The same of the first TLS certificate that its HTTP API showed."""
    async with db.transaction() as conn:
        pinned = await store.pin_certificate(conn, tenant_id, device_id, fingerprint)
        if pinned:
            told = {"certificates": [fingerprint]}
            await audit.record(conn, system(tenant_id), "device.pin_certificate", "device", device_id, before={"certificates": []}, after=told)
    return pinned


async def delete(db: Database, actor: Actor, device_id: int, *, version: int | None = None) -> None:
    """Forget a device and all that was observed of it. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, device_id, lock=True, version=version)
        await store.delete(conn, actor.tenant_id, device_id)
        await audit.record(conn, actor, "device.delete", "device", device_id, before=audit.values(before))


async def held(conn: Connection, actor: Actor, device_id: int, *, lock: bool = False, version: int | None = None) -> Device:
    """The actor's device. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    device = await store.get(conn, actor.tenant_id, device_id, lock=lock) if 0 < device_id <= inputs.ROW_ID_MAX else None
    if device is None:
        raise NotFound("device", device_id)
    inputs.same_version("device", device.version, version)
    return device


# -- groups --------------------------------------------------------------------------------------------------------------


class NewDeviceGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group to be made: whatever its selector selects at the time when it is asked."""

    name: Label
    selector: Selector
    note: Note | None = None


class DeviceGroupPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a group; null takes a value away."""

    name: Label | UnsetType = UNSET
    selector: Selector | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


def with_selector(members: Mapping[str, Any]) -> dict[str, Any]:
    """Members as the store takes them. Raises InvalidInput for a selector with what the store has no place for."""
    selector = members.get("selector")
    if not isinstance(selector, Selector):
        return dict(members)
    plain = conversion.plain(selector)
    if rows.storable_json(plain) != plain:
        raise InvalidInput([Fault("/selector", "there is a NUL character in it")])
    return {**members, "selector": plain}


async def create_group(db: Database, actor: Actor, new: NewDeviceGroup) -> DeviceGroup:
    """Make a group. Raises Conflict if the name is taken; OutsideScope for who may not in the whole tenant."""
    async with db.transaction(actor.scope) as conn:
        return await create_group_in(conn, actor, new)


async def create_group_in(conn: Connection, actor: Actor, new: NewDeviceGroup) -> DeviceGroup:
    """``create_group`` within the transaction of ``conn``."""
    group = await held_group(conn, actor, await store.insert_group(conn, actor.tenant_id, with_selector(msgspec.structs.asdict(new))))
    await audit.record(conn, actor, "device_group.create", "device_group", group.id, after=audit.values(group))
    return group


async def get_group(db: Database, actor: Actor, group_id: int) -> DeviceGroup:
    """The group. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held_group(conn, actor, group_id)


DeviceGroupQuery = lists.query_type(store.GROUPS)


async def group_page(db: Database, actor: Actor, query: ListQuery) -> Page[DeviceGroup]:
    """Groups, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.GROUPS, actor.tenant_id, query, lambda records: store.groups_of(conn, actor.tenant_id, records))


async def update_group(db: Database, actor: Actor, group_id: int, patch: DeviceGroupPatch, *, version: int | None = None) -> DeviceGroup:
    """Change a group. Raises NotFound, OutsideScope; Conflict on a taken name or another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_group(conn, actor, group_id, lock=True, version=version)
        return await update_group_in(conn, actor, before, given(patch))


async def update_group_in(conn: Connection, actor: Actor, before: DeviceGroup, members: dict[str, Any]) -> DeviceGroup:
    """Change a group that is locked, within the transaction of ``conn``."""
    if not members:
        return before
    await store.update_group(conn, actor.tenant_id, before.id, with_selector(members))
    after = await held_group(conn, actor, before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, "device_group.update", "device_group", before.id, before=old, after=new)
    return after


async def delete_group(db: Database, actor: Actor, group_id: int, *, version: int | None = None) -> None:
    """Remove a group; its devices stay. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_group(conn, actor, group_id, lock=True, version=version)
        if not await store.delete_group(conn, actor.tenant_id, group_id):
            raise NotFound("device group", group_id)
        await audit.record(conn, actor, "device_group.delete", "device_group", group_id, before=audit.values(before))


async def held_group(conn: Connection, actor: Actor, group_id: int, *, lock: bool = False, version: int | None = None) -> DeviceGroup:
    """The actor's group. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    group = await store.group(conn, actor.tenant_id, group_id, lock=lock) if 0 < group_id <= inputs.ROW_ID_MAX else None
    if group is None:
        raise NotFound("device group", group_id)
    inputs.same_version("device group", group.version, version)
    return group


async def select(db: Database, actor: Actor, selector: Selector, group: str | None = None) -> list[tuple[int, str]]:
    """(id, hostname) of the devices that a selector, or a group by its name, means for this actor: none that it may not see. Raises NotFound for a group."""
    async with db.transaction(actor.scope) as conn:
        if group is not None:
            found = await store.group_selector(conn, actor.tenant_id, group)
            if found is None:
                raise NotFound("device group", group)
            selector = found
        return await store.selected(conn, actor.tenant_id, selector)
