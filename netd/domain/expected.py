"""Expected devices: what an operator says of who may boot, and what can be asked of them."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, bootfile, bootfiles, booting, bootrights, boottokens, devices, dhcp, finishing, fixed, inputs, lists, sites, templates
from netd.domain.actor import Actor
from netd.domain.bootfiles import BootFiles, Sources
from netd.domain.devices import Catalogue, Hostname, Text, Username
from netd.domain.inputs import Faults, Label, given
from netd.domain.kinds import Kinds
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.service import SERVED
from netd.errors import Conflict, Fault, InvalidInput, NotFound
from netd.keyring import Keyring
from netd.model import patterns
from netd.model.boot import BootRule, BootStep, ExpectedDevice, Transport, Verify
from netd.model.certificate import KeyAlgorithm
from netd.model.dhcp import BootProfile
from netd.model.line import mac as parsed_mac
from netd.store import boot as boot_store
from netd.store import credentials as credential_store
from netd.store import devices as device_store
from netd.store import expected as store
from netd.store import subscribers as subscriber_store
from netd.store.boot import Advance
from netd.store.database import Connection, Database

Pattern = Annotated[str, Meta(min_length=1, max_length=512, description="a regular expression that fits the whole of what the relay calls the line")]
Template = Annotated[str, Meta(max_length=1 << 20)]
Serial = Annotated[str, Meta(min_length=1, max_length=128, pattern=inputs.NO_OUTER_BLANKS)]
AddressText = Annotated[str, Meta(min_length=2, max_length=64)]
Folder = Annotated[str, Meta(min_length=1, max_length=200, pattern=inputs.NO_CONTROL)]
MacText = Annotated[str, Meta(min_length=12, max_length=32)]
BootVariables = Annotated[dict[str, Any], Meta(description="for templates: no secrets, they stand in what the device fetches")]

SHOWN: Final = IPv4Address("192.0.2.1")
"""Where a device is in a preview that was nowhere yet."""

CHECKED_AT_ONCE: Final = 20
VARIABLES_OCTETS: Final = 65_536


class NewExpected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device that may boot. Of ``serial``, ``mac`` and ``circuit_id`` one at least; all that is given must fit. ``profile`` is a boot profile,
    ``credential`` opens it once it is configured, ``boot_template`` is what it fetches and ``configuration`` what it gets by SSH afterwards (Jinja2).

    ``transport`` is how it fetches: none, the first way that its profile's devices know.

    With a ``subscriber`` it boots only while that has service, and follows its plan. ``verify``: by what it is, or where that cannot be read by ``reach``
    alone. ``certificate``: it gets a key of that kind and a certificate for it, for its templates, and as files in ``certificate_folder``."""

    hostname: Hostname
    profile: Label
    serial: Serial | None = None
    mac: MacText | None = None
    circuit_id: Pattern | None = None
    site: Label | None = None
    vendor: Label | None = None
    platform: Label | None = None
    role: Label | None = None
    transport: Transport | None = None
    address: AddressText | None = None
    credential: Label | None = None
    variables: BootVariables = msgspec.field(default_factory=dict)
    boot_template: Template | None = None
    configuration: Template | None = None
    target_version: Text | None = None
    make_nas: bool = False
    subscriber: Username | None = None
    verify: Verify = "facts"
    certificate: KeyAlgorithm | None = None
    certificate_folder: Folder | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None


class ExpectedPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an expected device; null takes a value away."""

    hostname: Hostname | UnsetType = UNSET
    profile: Label | UnsetType = UNSET
    serial: Serial | UnsetType | None = UNSET
    mac: MacText | UnsetType | None = UNSET
    circuit_id: Pattern | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET
    vendor: Label | UnsetType = UNSET
    platform: Label | UnsetType | None = UNSET
    role: Label | UnsetType | None = UNSET
    transport: Transport | UnsetType = UNSET
    address: AddressText | UnsetType | None = UNSET
    credential: Label | UnsetType | None = UNSET
    variables: BootVariables | UnsetType = UNSET
    boot_template: Template | UnsetType | None = UNSET
    configuration: Template | UnsetType | None = UNSET
    target_version: Text | UnsetType | None = UNSET
    make_nas: bool | UnsetType = UNSET
    subscriber: Username | UnsetType | None = UNSET
    verify: Verify | UnsetType = UNSET
    certificate: KeyAlgorithm | UnsetType | None = UNSET
    certificate_folder: Folder | UnsetType | None = UNSET
    opens_at: datetime | UnsetType = UNSET
    closes_at: datetime | UnsetType = UNSET


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to go on with a device: ``boot`` from the beginning, else, where it is configured or verified, only with what follows, with another certificate
    if ``renew``. ``days`` opens its window anew."""

    boot: bool = False
    renew: bool = False
    days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class BootPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a device would fetch now, with tokens and a password that are not its own, and what would ``follow`` over its command line, with names in place of
    secrets. ``fault`` says why there is nothing."""

    ztp_device_id: int
    hostname: str
    name: str
    text: str
    configuration: str
    follows: str
    fault: str | None


class BootCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether all that may still boot can be rendered. ``faults`` names the first ones that cannot."""

    rendered: int
    faults: tuple[BootPreview, ...]


async def _columns(
    conn: Connection, actor: Actor, members: Mapping[str, Any], profiles: Sequence[BootProfile], catalogue: Catalogue, before: ExpectedDevice | None
) -> dict[str, Any]:
    """Columns of what is given. Raises InvalidInput with all that is wrong."""
    faults = Faults()
    columns = dict(members)
    profile = next((each for each in profiles if each.name == columns.get("profile")), None)
    if "profile" in columns and profile is None:
        faults.add("/profile", f"there is no such boot profile; there are {', '.join(sorted(each.name for each in profiles))}")
    if before is None and columns.get("transport") is None:
        columns["transport"] = "http" if profile is None else profile.transports[0]
    if profile is not None and "transport" in columns:
        check_transport(faults, profile, columns["transport"])
    if before is None and columns.get("vendor") is None:
        columns["vendor"] = profile.vendor if profile is not None else "generic"
    elif "vendor" in columns and columns["vendor"] not in catalogue.vendors:
        faults.add("/vendor", f"no such vendor; there are {', '.join(sorted(catalogue.vendors))}")
    if columns.get("platform") is not None and columns["platform"] not in catalogue.platforms:
        faults.add("/platform", "no such platform")
    if columns.get("mac") is not None:
        columns["mac"] = faults.attempt("/mac", parsed_mac, columns["mac"])
    if columns.get("address") is not None:
        columns["address"] = faults.attempt("/address", inputs.address, columns["address"])
    if columns.get("address") is not None:
        mac, serial = (columns.get(name, getattr(before, name, None)) for name in ("mac", "serial"))
        await fixed.check(
            conn, faults, actor.tenant_id, columns["address"], mac=mac, serial=serial, device=None if before is None else before.id
        )  # fmt: skip
    if columns.get("circuit_id") is not None:
        check_pattern(faults, "/circuit_id", columns["circuit_id"])
    _check_variables(faults, columns.get("variables", {}))
    for name in ("boot_template", "configuration"):
        if columns.get(name) is not None:
            faults.attempt(f"/{name}", templates.storable, columns[name])
    if "credential" in columns:
        name = columns.pop("credential")
        columns["credential_id"] = None if name is None else await credential_store.id_by_name(conn, actor.tenant_id, name)
        if name is not None and columns["credential_id"] is None:
            faults.add("/credential", f"there is no credential {name}")
    if "subscriber" in columns:
        columns["subscriber_id"] = found = await devices.subscriber_id(conn, actor, faults, columns.pop("subscriber"))
        subscriber = None if found is None else await subscriber_store.get(conn, actor.tenant_id, found)
        if before is None:
            columns["armed"] = subscriber is None or subscriber.state in SERVED
    await sites.place(conn, actor, faults, columns, new=before is None)
    faults.check()
    return columns


def check_pattern(faults: Faults, where: str, text: str) -> None:
    """Report a text that is no regular expression, or one that could hold the daemon up: it runs for every packet."""
    faults.attempt(where, patterns.compile_whole, text)


def check_transport(faults: Faults, profile: BootProfile, transport: Transport) -> None:
    """Report a way to fetch files that devices of the profile do not know, or this netd does not offer."""
    if transport not in profile.transports:
        faults.add("/transport", f"files for {profile.name} are fetched by {' or '.join(profile.transports)}{' here' if transport == 'https' else ''}")


def _check_variables(faults: Faults, variables: Mapping[str, Any]) -> None:
    for name in variables:
        if not dhcp.VARIABLE.fullmatch(name):
            faults.add(f"/variables/{name}", "is not a name of lower case letters, digits and _")
        elif dhcp.SECRET.fullmatch(name):
            faults.add(f"/variables/{name}", "a secret does not stand here: the configuration that follows by SSH has its credential's and its NAS's")
    if len(msgspec.json.encode(variables)) > VARIABLES_OCTETS:
        faults.add("/variables", f"are longer than {VARIABLES_OCTETS >> 10} KiB")


def _check_folder(certificate: str | None, folder: str | None) -> None:
    if folder is not None and certificate is None:
        raise InvalidInput([Fault("/certificate_folder", "is for a device with a certificate")])


async def create(
    db: Database, actor: Actor, keyring: Keyring, new: NewExpected, profiles: Sequence[BootProfile], catalogue: Catalogue, now: datetime, days: int,
) -> ExpectedDevice:  # fmt: skip
    """Expect a device, for ``days`` where it does not say. Raises InvalidInput; Conflict if its name, serial number or MAC address is taken."""
    async with db.transaction(actor.scope) as conn:
        return await add(conn, actor, keyring, new, profiles, catalogue, now, days)


async def add(
    conn: Connection, actor: Actor, keyring: Keyring, new: NewExpected, profiles: Sequence[BootProfile], catalogue: Catalogue, now: datetime, days: int, *,
    rule: BootRule | None = None,
) -> ExpectedDevice:  # fmt: skip
    """The same within a transaction; ``rule`` lets it in. Raises OutsideScope, too."""
    if new.serial is None and new.mac is None and new.circuit_id is None:
        raise InvalidInput([Fault("/serial", "a serial number, MAC address or line is needed to know the device by")])
    columns = await _columns(conn, actor, msgspec.structs.asdict(new), profiles, catalogue, None)
    _check_folder(new.certificate, new.certificate_folder)
    place = columns.get("site_id")
    bootrights.check(actor, msgspec.structs.asdict(new), place)
    if await device_store.id_by_hostname(conn, actor.tenant_id, new.hostname) is not None:
        if rule is not None and rule.site_addressed:
            raise Conflict("a device of the inventory has this name", "hostname")
        bootrights.check_named(actor, new.hostname, place)
    opens = columns["opens_at"] or now
    closes = columns["closes_at"] or min(opens, inputs.MOMENTS[1] - timedelta(days=days)) + timedelta(days=days)
    if closes <= opens:
        raise InvalidInput([Fault("/closes_at", "is before it opens")])
    sealed = keyring.seal(secrets.token_bytes(boottokens.SECRET_OCTETS), boottokens.SECRET_CONTEXT)
    columns |= {"opens_at": opens, "closes_at": closes, "secret": sealed}
    columns |= {"rule_id": None if rule is None else rule.id, "site_addressed": bootrights.narrow(actor) if rule is None else rule.site_addressed}
    device = await held(conn, actor, await store.insert(conn, actor.tenant_id, columns))
    await boot_store.note(conn, Advance(device.id, device.tenant_id, None, "expected", now, {"by": actor.name}))
    await audit.record(conn, actor, "ztp_device.create", "ztp_device", device.id, after=audit.values(device))
    return device


async def get(db: Database, actor: Actor, row_id: int) -> ExpectedDevice:
    """The device. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, row_id)


ExpectedQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[ExpectedDevice]:
    """Expected devices, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


StepQuery = lists.query_type(store.STEPS)


async def steps(db: Database, actor: Actor, row_id: int, query: ListQuery) -> Page[BootStep]:
    """What became of it, the oldest step first unless the query says otherwise. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.STEPS, query, within={"ztp_device_id": row_id})
    async with db.transaction(actor.scope) as conn:
        await held(conn, actor, row_id)
        return await lists.page(conn, store.STEPS, actor.tenant_id, query, store.steps, wanted)


async def update(
    db: Database, actor: Actor, row_id: int, patch: ExpectedPatch, profiles: Sequence[BootProfile], catalogue: Catalogue, *, version: int | None = None,
) -> ExpectedDevice:  # fmt: skip
    """Change an expected device; the next packet and file are as it says. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, row_id, lock=True, version=version)
        if not members:
            return before
        columns = await _columns(conn, actor, members, profiles, catalogue, before)
        after = {name: columns.get(name, getattr(before, name)) for name in ("serial", "mac", "circuit_id", "opens_at", "closes_at")}
        if after["serial"] is None and after["mac"] is None and after["circuit_id"] is None:
            raise InvalidInput([Fault("/serial", "a serial number, MAC address or line is needed to know the device by")])
        _settle_transport(profiles, before, columns)
        if after["closes_at"] <= after["opens_at"]:
            raise InvalidInput([Fault("/closes_at", "is before it opens")])
        _check_folder(columns.get("certificate", before.certificate), columns.get("certificate_folder", before.certificate_folder))
        await _may(conn, actor, before, members, columns)
        await store.update(conn, actor.tenant_id, row_id, columns)
        return await _changed(conn, actor, before, "ztp_device.update")


def _settle_transport(profiles: Sequence[BootProfile], before: ExpectedDevice, columns: dict[str, Any]) -> None:
    """With another profile, and nothing said of it, the way to fetch files is one that its devices know. Raises InvalidInput."""
    if not columns.keys() & {"profile", "transport"}:
        return
    profile = next((each for each in profiles if each.name == columns.get("profile", before.profile)), None)
    if profile is None:  # it was taken away since
        return
    if "transport" not in columns and before.transport not in profile.transports:
        columns["transport"] = profile.transports[0]
    faults = Faults()
    check_transport(faults, profile, columns.get("transport", before.transport))
    faults.check()


async def _may(conn: Connection, actor: Actor, before: ExpectedDevice, members: Mapping[str, Any], columns: dict[str, Any]) -> None:
    """Whether the actor may change that: what a device would be given goes to whatever it is said to be. Raises OutsideScope."""
    if not members.keys() - bootrights.HARMLESS:
        return
    site_id = await store.site_of(conn, actor.tenant_id, before.id)
    for place in {site_id, columns.get("site_id", site_id)}:
        bootrights.check(actor, {**msgspec.structs.asdict(before), **members}, place)
        if "hostname" in members and await device_store.id_by_hostname(conn, actor.tenant_id, members["hostname"]) is not None:
            bootrights.check_named(actor, members["hostname"], place)
    if bootrights.narrow(actor):
        columns["site_addressed"] = True
    elif members.keys() & bootrights.KNOWN_BY:
        columns["site_addressed"] = False


async def _changed(conn: Connection, actor: Actor, before: ExpectedDevice, action: str) -> ExpectedDevice:
    after = await held(conn, actor, before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, action, "ztp_device", before.id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, row_id: int, *, version: int | None = None) -> None:
    """Expect it no longer: its URLs end at once. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, row_id, lock=True, version=version)
        await store.delete(conn, actor.tenant_id, row_id)
        await audit.record(conn, actor, "ztp_device.delete", "ztp_device", row_id, before=audit.values(before))


async def retry(
    db: Database, actor: Actor, kinds: Kinds, keyring: Keyring, row_id: int, wanted: Retry, now: datetime, *, version: int | None = None
) -> ExpectedDevice:
    """Let a device go on that is in quarantine or waits, configure a verified one anew, or let it boot anew: then what it was told before is good no longer.
    Raises NotFound; Conflict for one whose subscriber has no service, and while a job is at a verified one."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, row_id, lock=True)
        inputs.same_version("expected device", before.version, version)
        if not wanted.boot and await boot_store.perhaps_delivered(conn, now, row_id):
            await booting.presume(conn, actor.tenant_id, row_id, now)
        presumed = before.configured_at is None and (await store.delivery(conn, actor.tenant_id, row_id)).presumed_at is not None
        finishing = not wanted.boot and (before.configured_at is not None or presumed) and before.address_now is not None
        anew = finishing and before.state == "verified"
        if not before.armed:
            raise Conflict(f"its subscriber {before.subscriber or ''} has no service", "subscriber")
        state = "expected" if not finishing else "fetching" if presumed else "configured"
        columns: dict[str, Any] = {"reason": None} if anew else {"state": state, "state_at": now, "reason": None}
        if wanted.days is not None or before.closes_at <= now:
            columns |= {"opens_at": min(before.opens_at, now), "closes_at": now + timedelta(days=wanted.days or 1)}
        if not finishing:
            columns |= {"configured_at": None, "presumed_at": None}
            await store.spend(conn, actor.tenant_id, row_id)
        await store.update(conn, actor.tenant_id, row_id, columns)
        await boot_store.note(conn, Advance(row_id, actor.tenant_id, None, "retried", now, {"by": actor.name, "boot": not finishing}))
        after = await _changed(conn, actor, before, "ztp_device.retry")
        begun = not finishing or await booting.finish(conn, kinds, keyring, actor.tenant_id, row_id, now, again=anew, renew=wanted.renew)
        if anew and not begun:
            raise Conflict("a job is at it", "state")
    return after


async def preview(db: Database, actor: Actor, files: BootFiles, row_id: int) -> BootPreview:
    """What it would fetch. Raises NotFound, Conflict."""
    async with db.transaction(actor.scope) as conn:
        device = await held(conn, actor, row_id)
        made_from = await bootfiles.sources(conn, device)
    return await _shown(files, device, made_from)


async def check(db: Database, actor: Actor, files: BootFiles) -> BootCheck:
    """Render all that may still boot. Raises Conflict."""
    rendered, after = 0, 0
    faults: list[BootPreview] = []
    while True:
        async with db.transaction(actor.scope) as conn:
            found = [(each, await bootfiles.sources(conn, each)) for each in await store.waiting(conn, actor.tenant_id, after, CHECKED_AT_ONCE)]
        if not found:
            return BootCheck(rendered=rendered, faults=tuple(faults[:100]))
        for device, made_from in found:
            shown = await _shown(files, device, made_from)
            rendered += shown.fault is None
            if shown.fault is not None:
                faults.append(shown)
        after = found[-1][0].id


async def _shown(files: BootFiles, device: ExpectedDevice, made_from: Sources) -> BootPreview:
    kind = files.places.kind(device.profile)
    made = {"boot": "", "configuration": "", "follows": ""}
    fault = None
    secret = bytes(boottokens.SECRET_OCTETS)  # not its own: who may look gets nothing to boot with
    address = device.address or device.address_now or SHOWN
    try:
        if kind != "none":
            made["boot"] = (await files.render(device, made_from, secret, 1, address, asked="look")).decode()
        if bootfile.has_list(kind):
            made["configuration"] = (await files.render(device, made_from, secret, 1, address, "configuration", "look")).decode()
        made["follows"] = await finishing.foreseen(files.renderer, made_from.library, device, str(address), made_from.subscriber)
    except InvalidInput as error:
        fault = str(error)
    return BootPreview(
        ztp_device_id=device.id, hostname=device.hostname, name="" if kind == "none" else files.places.name(device.profile, "boot"), text=made["boot"],
        configuration=made["configuration"], follows=made["follows"], fault=fault,
    )  # fmt: skip


async def held(conn: Connection, actor: Actor, row_id: int, *, lock: bool = False, version: int | None = None) -> ExpectedDevice:
    """The actor's expected device. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    device = await store.get(conn, actor.tenant_id, row_id, lock=lock) if 0 < row_id <= inputs.ROW_ID_MAX else None
    if device is None:
        raise NotFound("expected device", row_id)
    inputs.same_version("expected device", device.version, version)
    return device
