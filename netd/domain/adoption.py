"""Devices that came unexpected: adopted by somebody's word or by a rule, or ignored."""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, booting, bootrights, conversion, expected, inputs, lists, sites
from netd.domain.actor import Actor
from netd.domain.devices import Catalogue, Hostname
from netd.domain.expected import NewExpected, Pattern
from netd.domain.inputs import Faults, Label, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, Fault, InvalidInput, NotFound
from netd.keyring import Keyring
from netd.model import patterns
from netd.model.boot import BootCandidate, BootRule, ExpectedDevice
from netd.model.dhcp import BootProfile
from netd.store import boot as boot_store
from netd.store import events
from netd.store import expected as store
from netd.store.boot import Advance
from netd.store.database import Connection, Database, savepoint

log = logging.getLogger(__name__)

Settings = Annotated[dict[str, Any], Meta(description="members of the expected device, as at POST /ztp/devices")]
Names = Annotated[tuple[Label, ...], Meta(min_length=1, max_length=100)]
Place = Annotated[int, Meta(ge=0, le=10_000)]

_OWN = ("hostname", "serial", "mac", "profile", "site")
"""What of an expected device comes from the candidate and not from a rule's settings."""


_WHEN = frozenset(("name", "position", "enabled"))


class Adoption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a candidate is adopted: by its serial number, else its MAC address, and its line if ``bind_line``. ``profile`` where another than the
    recognised one is meant, ``settings`` are further members of the expected device."""

    hostname: Hostname
    profile: Label | None = None
    bind_line: bool = False
    settings: Settings = msgspec.field(default_factory=dict)


class Disregard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a candidate is ignored, or new again."""

    ignored: bool = True


class NewRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule that adopts candidates. Patterns must fit the whole of what was said; the first rule by ``position`` that fits counts."""

    name: Label
    profiles: Names
    hostname: Annotated[str, Meta(min_length=1, max_length=253, description="a template: cpe-{serial}, {mac_plain}, {model}, {circuit_id}")]
    position: Place = 100
    site: Label | None = None
    circuit_id: Pattern | None = None
    model: Pattern | None = None
    settings: Settings = msgspec.field(default_factory=dict)
    enabled: bool = True


class RulePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a rule; null takes a value away."""

    name: Label | UnsetType = UNSET
    profiles: Names | UnsetType = UNSET
    hostname: Annotated[str, Meta(min_length=1, max_length=253)] | UnsetType = UNSET
    position: Place | UnsetType = UNSET
    site: Label | UnsetType | None = UNSET
    circuit_id: Pattern | UnsetType | None = UNSET
    model: Pattern | UnsetType | None = UNSET
    settings: Settings | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


# -- candidates ----------------------------------------------------------------------------------------------------------

CandidateQuery = lists.query_type(store.CANDIDATES)


async def candidates(db: Database, actor: Actor, query: ListQuery) -> Page[BootCandidate]:
    """Who came unexpected. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.CANDIDATES, actor.tenant_id, query, store.candidates_of)


async def candidate(db: Database, actor: Actor, row_id: int) -> BootCandidate:
    """The candidate. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, row_id)


async def adopt(
    db: Database, actor: Actor, keyring: Keyring, row_id: int, wanted: Adoption, profiles: Sequence[BootProfile], catalogue: Catalogue, now: datetime,
    days: int, *, version: int | None = None,
) -> ExpectedDevice:  # fmt: skip
    """Expect a candidate from now on. Raises NotFound, InvalidInput; Conflict if it is adopted already, or is known by another name."""
    async with db.transaction(actor.scope) as conn:
        found = await _held(conn, actor, row_id, lock=True)
        inputs.same_version("candidate", found.version, version)
        if found.state == "adopted" and found.ztp_device_id is not None:
            raise Conflict("it is adopted already", "state")
        new = _expected(found, wanted.hostname, wanted.profile or found.profile, wanted.settings, line=wanted.bind_line)
        device = await expected.add(conn, actor, keyring, new, profiles, catalogue, now, days)
        await store.set_candidate(conn, actor.tenant_id, row_id, "adopted", device.id)
        await audit.record(conn, actor, "ztp_candidate.adopt", "ztp_candidate", row_id, after={"state": "adopted", "ztp_device_id": device.id})
    return device


async def disregard(db: Database, actor: Actor, row_id: int, wanted: Disregard, *, version: int | None = None) -> BootCandidate:
    """Ignore a candidate, or think again. Raises NotFound; Conflict for one that is adopted."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, row_id, lock=True)
        inputs.same_version("candidate", before.version, version)
        if before.state == "adopted" and before.ztp_device_id is not None:
            raise Conflict("it is adopted", "state")
        await store.set_candidate(conn, actor.tenant_id, row_id, "ignored" if wanted.ignored else "new", None)
        after = await _held(conn, actor, row_id)
        await audit.record(conn, actor, "ztp_candidate.update", "ztp_candidate", row_id, before={"state": before.state}, after={"state": after.state})
    return after


def _expected(found: BootCandidate, hostname: str, profile: str, settings: Mapping[str, Any], *, line: bool = False) -> NewExpected:
    strange = [name for name in settings if name in _OWN]
    if strange:
        raise InvalidInput([Fault(f"/settings/{name}", "comes from the candidate") for name in strange])
    own: dict[str, Any] = {"hostname": hostname, "profile": profile}
    if found.serial:
        own["serial"] = found.serial
    elif found.mac:
        own["mac"] = found.mac
    if found.site is not None:
        own["site"] = found.site
    if found.circuit_id and (line or not (found.serial or found.mac)):
        own["circuit_id"] = re.escape(found.circuit_id)
    return conversion.checked({**settings, **own}, NewExpected, "/settings")


async def _held(conn: Connection, actor: Actor, row_id: int, *, lock: bool = False) -> BootCandidate:
    found = await store.candidate(conn, actor.tenant_id, row_id, lock=lock) if 0 < row_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("candidate", row_id)
    return found


# -- rules ---------------------------------------------------------------------------------------------------------------


def hostname_of(template: str, found: BootCandidate) -> str:
    """The name that a rule gives; "" if it names what the device does not say."""
    known = {"serial": found.serial, "mac": found.mac, "mac_plain": found.mac.replace(":", ""), "model": found.model, "circuit_id": found.circuit_id}
    missing = [name for name in re.findall(r"\{([a-z_]+)\}", template) if not known.get(name)]
    if missing:
        return ""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"\{([a-z_]+)\}", lambda name: known[name[1]], template)).strip("-.")


def fits(rule: BootRule, found: BootCandidate) -> bool:
    """Whether the rule adopts this one."""
    return (
        found.profile in rule.profiles
        and (rule.site is None or rule.site == found.site)
        and (rule.circuit_id is None or patterns.fits_whole(patterns.compile_whole(rule.circuit_id), found.circuit_id))
        and (rule.model is None or patterns.fits_whole(patterns.compile_whole(rule.model), found.model))
        and bool(hostname_of(rule.hostname, found))
    )


async def announced(conn: Connection, tenant_id: int, found: BootCandidate) -> None:
    """Tell of a candidate that came for the first time."""
    told = {"mac": found.mac, "serial": found.serial, "model": found.model, "profile": found.profile, "circuit_id": found.circuit_id}
    await events.insert(conn, tenant_id, "ztp.candidate", "ztp_candidate", str(found.id), booting.netd(tenant_id).name, told)


async def announced_together(conn: Connection, tenant_id: int, count: int) -> None:
    """Tell of so many candidates at once: too many came for an event of each."""
    await events.insert(conn, tenant_id, "ztp.candidates", "ztp_candidate", "", booting.netd(tenant_id).name, {"count": count})


async def arrived(
    conn: Connection, tenant_id: int, found: BootCandidate, keyring: Keyring, profiles: Mapping[str, BootProfile], now: datetime, days: int, most: int
) -> ExpectedDevice | None:
    """Adopt a candidate if a rule does, and has not adopted ``most`` on its line (0: any number). What a rule cannot adopt stays a candidate; the log says
    why."""
    actor = booting.netd(tenant_id)
    rule = next((each for each in await boot_store.rules(conn, tenant_id) if fits(each, found)), None)
    if rule is None:
        return None
    if most and found.circuit_id and await boot_store.adopted(conn, tenant_id, rule.id, found.id) >= most:
        log.info("a rule adopts no more on this line", extra={"rule": rule.name, "candidate": found.id, "circuit_id": found.circuit_id})
        return None
    catalogue = Catalogue(frozenset(profile.vendor for profile in profiles.values()), {})
    line = rule.circuit_id is not None
    try:
        async with savepoint(conn):  # a name that is taken undoes this one only
            settings = {name: value for name, value in rule.settings.items() if name != "platform"}
            new = _expected(found, hostname_of(rule.hostname, found), found.profile, settings, line=line)
            device = await expected.add(conn, actor, keyring, new, list(profiles.values()), catalogue, now, days, rule=rule)
            if "platform" in rule.settings:
                await store.update(conn, tenant_id, device.id, {"platform": rule.settings["platform"]})
            await store.set_candidate(conn, tenant_id, found.id, "adopted", device.id)
            await boot_store.note(conn, Advance(device.id, tenant_id, None, "adopted", now, {"rule": rule.name}))
    except (InvalidInput, Conflict) as error:
        log.warning("a rule cannot adopt a candidate", extra={"rule": rule.name, "candidate": found.id, "error": str(error)})
        return None
    return device


RuleQuery = lists.query_type(store.RULES)


async def rules(db: Database, actor: Actor, query: ListQuery) -> Page[BootRule]:
    """Rules. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.RULES, actor.tenant_id, query, store.rules_of)


async def rule(db: Database, actor: Actor, row_id: int) -> BootRule:
    """The rule. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held_rule(conn, actor, row_id)


async def create_rule(db: Database, actor: Actor, new: NewRule, profiles: Sequence[BootProfile]) -> BootRule:
    """Make a rule. Raises InvalidInput; Conflict if the name is taken."""
    async with db.transaction(actor.scope) as conn:
        columns = await _columns(conn, actor, msgspec.structs.asdict(new), profiles, new=True)
        bootrights.check(actor, new.settings, columns.get("site_id"))
        made = await _held_rule(conn, actor, await store.insert_rule(conn, actor.tenant_id, {**columns, "site_addressed": bootrights.narrow(actor)}))
        await audit.record(conn, actor, "ztp_rule.create", "ztp_rule", made.id, after=audit.values(made))
    return made


async def update_rule(db: Database, actor: Actor, row_id: int, patch: RulePatch, profiles: Sequence[BootProfile], *, version: int | None = None) -> BootRule:
    """Change a rule; who was adopted stays. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await _held_rule(conn, actor, row_id, lock=True, version=version)
        if not members:
            return before
        columns = await _columns(conn, actor, members, profiles, new=False)
        site_id = await store.rule_site(conn, actor.tenant_id, row_id)
        for place in {site_id, columns.get("site_id", site_id)}:
            bootrights.check(actor, columns.get("settings", before.settings), place)
        if members.keys() - _WHEN:  # who says which devices come in, and as what, answers for it
            columns["site_addressed"] = bootrights.narrow(actor)
        await store.update_rule(conn, actor.tenant_id, row_id, columns)
        after = await _held_rule(conn, actor, row_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "ztp_rule.update", "ztp_rule", row_id, before=old, after=new)
    return after


async def delete_rule(db: Database, actor: Actor, row_id: int, *, version: int | None = None) -> None:
    """Remove a rule; who was adopted stays. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held_rule(conn, actor, row_id, lock=True, version=version)
        await store.delete_rule(conn, actor.tenant_id, row_id)
        await audit.record(conn, actor, "ztp_rule.delete", "ztp_rule", row_id, before=audit.values(before))


async def _columns(conn: Connection, actor: Actor, members: Mapping[str, Any], profiles: Sequence[BootProfile], *, new: bool) -> dict[str, Any]:
    faults = Faults()
    columns = dict(members)
    known = {profile.name for profile in profiles}
    for place, name in enumerate(columns.get("profiles", ())):
        if name not in known:
            faults.add(f"/profiles/{place}", f"there is no boot profile {name}")
    for name in ("circuit_id", "model"):
        if columns.get(name) is not None:
            expected.check_pattern(faults, f"/{name}", columns[name])
    if "settings" in columns:
        strange = [name for name in columns["settings"] if name in _OWN]
        for name in strange:
            faults.add(f"/settings/{name}", "comes from the candidate")
        tried = {**columns["settings"], "hostname": "x", "serial": "x", "profile": "x"}
        for fault in conversion.faults(tried, NewExpected):
            faults.add(f"/settings{fault.where}", fault.what)
    if "profiles" in columns:
        columns["profiles"] = list(columns["profiles"])
    await sites.place(conn, actor, faults, columns, new=new)
    faults.check()
    return columns


async def _held_rule(conn: Connection, actor: Actor, row_id: int, *, lock: bool = False, version: int | None = None) -> BootRule:
    found = await store.rule(conn, actor.tenant_id, row_id, lock=lock) if 0 < row_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("rule", row_id)
    inputs.same_version("rule", found.version, version)
    return found
