"""Versions of devices' configurations: kept sealed, shown masked, compared with each other and with what they should be."""

import asyncio
import hmac
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor, system
from netd.domain.differences import Difference, difference, missing, significant
from netd.domain.inputs import Note
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, NotFound
from netd.extensions import DevicePlatform
from netd.keyring import Keyring
from netd.model.configuration import Configuration, ConfigurationState, Drift, Source, Which
from netd.model.inventory import Device
from netd.sdk.device import Backup
from netd.store import configurations as store
from netd.store import events
from netd.store.configurations import NewVersion
from netd.store.database import Connection, Database

CONTEXT: Final = b"configuration_texts.sealed"
KEY_CONTEXT: Final = b"configuration_keys.secret"

Platforms = Mapping[str, DevicePlatform]


class ConfigurationText(msgspec.Struct, frozen=True, kw_only=True):
    """A version with its text; ``masked`` says that secrets are left out of it."""

    configuration: Configuration
    text: str
    masked: bool


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How one version became another, in the form of ``diff -u``, secrets as ``<secret>``; what changes by itself is left out."""

    before: Configuration
    after: Configuration
    added: int
    removed: int
    text: str


class Approval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a version is as it should be, and why."""

    note: Note | None = None


class Intended(msgspec.Struct, frozen=True, kw_only=True):
    """What a device's template says: its text, or why there is none. ``whole``: the configuration must be this, else it must have every line of it."""

    template: str
    text: str | None = None
    whole: bool = False
    error: str | None = None


class DriftView(msgspec.Struct, frozen=True, kw_only=True):
    """What a device's configuration differs from, and how: one text in the form of ``diff -u`` for each, to what runs, or of what is missing."""

    state: ConfigurationState
    approved: Difference | None = None
    saved: Difference | None = None
    intended: Difference | None = None
    template: str | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What came of reading a device: the ids of its versions, whether what runs is a new one, and what it drifted from."""

    running_id: int
    startup_id: int | None
    number: int
    changed: bool
    drift: tuple[Drift, ...]


# -- secrets -------------------------------------------------------------------------------------------------------------


def seal(keyring: Keyring, text: str) -> bytes:
    """A text as it is kept: compressed, then sealed."""
    return keyring.seal(zlib.compress(text.encode(), 6), CONTEXT)


def unseal(keyring: Keyring, sealed: bytes) -> str:
    """The text. Raises StoreError."""
    return zlib.decompress(keyring.open(sealed, CONTEXT)).decode()


def reader(platforms: Platforms, platform: str) -> Backup:
    """Who knows what is secret in configurations of a platform. Raises Conflict: without it nothing is shown."""
    found = platforms.get(platform)
    if found is None or not isinstance(found.driver, Backup):
        raise Conflict(f"there is no driver of {platform} any more that knows what is secret in this configuration: it can only be revealed")
    return found.driver


def compared(driver: Backup, text: str) -> str:
    """What of a configuration counts when two are compared."""
    return significant(driver.normal(text))


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


async def _key(conn: Connection, keyring: Keyring, tenant_id: int, fresh: bytes) -> bytes:
    sealed = await store.key(conn, tenant_id)
    if sealed is None:
        await store.add_key(conn, tenant_id, keyring.seal(fresh, KEY_CONTEXT))
        sealed = await store.key(conn, tenant_id)
        assert sealed is not None  # it is there now, whoever made it
    return keyring.open(sealed, KEY_CONTEXT)


# -- what devices say ----------------------------------------------------------------------------------------------------


async def keep(
    db: Database, keyring: Keyring, platform: DevicePlatform, device: Device, texts: Mapping[Which, str], *, now: datetime, fresh_key: bytes,
    source: Source = "backup", job_id: int | None = None, intended: Intended | None = None,
) -> Kept:  # fmt: skip
    """Keep what was read of a device (``running`` at least), see what it drifted from, and tell of it. For services: ``db`` is the daemon's own.

    What does not differ but in what changes by itself is no new version. ``fresh_key`` are 32 random octets, used if the tenant has no key yet.
    """
    driver = platform.driver
    assert isinstance(driver, Backup)
    wanted = None if intended is None else await asyncio.to_thread(against, driver, texts["running"], intended)
    async with db.transaction() as conn:
        key = await _key(conn, keyring, device.tenant_id, fresh_key)
    made = await asyncio.to_thread(_versions, keyring, key, platform.platform.name, driver, texts)
    async with db.transaction() as conn:
        before = await store.state(conn, device.tenant_id, device.id)
        ids: dict[Which, int] = {}
        changed, number, older = False, 0, None
        for new in made:
            latest = await store.latest(conn, device.tenant_id, device.id, new.which)
            same = latest is not None and latest.normal == new.normal
            at = 1 if latest is None else latest.number + (not same)
            if latest is not None and same:
                await store.seen(conn, device.tenant_id, latest.id, now)
                ids[new.which] = latest.id
            else:
                ids[new.which] = await store.insert(conn, device.tenant_id, device.id, at, new, source, job_id, now)
            if new.which == "running":
                changed, older, number = not same, latest, at
        normals = {new.which: new.normal for new in made}
        drift = await _drift(conn, device, normals, wanted)
        await store.stands(conn, device.tenant_id, device.id, {
            "running_id": ids["running"], "startup_id": ids.get("startup"), "tried_at": now, "backed_up_at": now, "error": None,
            "intended": None if intended is None else intended.error, **_since(before, drift, now),
        })  # fmt: skip
        if changed and older is not None:
            told = {"device": device.hostname, "configuration_id": ids["running"], "number": number, "before_id": older.id, "source": source, "job_id": job_id}
            await events.insert(conn, device.tenant_id, "configuration.changed", "device", str(device.id), None, told)
        await _tell(conn, device.tenant_id, device.id, device.hostname, before, drift, wanted)
    return Kept(running_id=ids["running"], startup_id=ids.get("startup"), number=number, changed=changed, drift=drift)


def _versions(keyring: Keyring, key: bytes, platform: str, driver: Backup, texts: Mapping[Which, str]) -> list[NewVersion]:
    """What is kept of texts. A large one takes tens of milliseconds, so this is done in a thread."""
    return [
        NewVersion(
            which=which, digest=_digest(key, text), normal=_digest(key, compared(driver, text)), sealed=seal(keyring, text), octets=len(text.encode()),
            lines=text.count("\n"), platform=platform,
        )
        for which, text in texts.items()
    ]  # fmt: skip


async def failed(db: Database, device: Device, error: str, now: datetime) -> None:
    """Remember that the device could not be read. For services."""
    async with db.transaction() as conn:
        await store.stands(conn, device.tenant_id, device.id, {"tried_at": now, "error": error[:1000]})


async def unread(db: Database, device: Device) -> None:
    """Remember that the device has nothing to read, as its platform is now. For services."""
    async with db.transaction() as conn:
        await store.forgive(conn, device.tenant_id, device.id)


async def was_read(db: Database, device: Device) -> bool:
    """Whether any version of what the device runs is known. For services."""
    async with db.transaction() as conn:
        stands = await store.state(conn, device.tenant_id, device.id)
    return stands is not None and stands.running_id is not None


async def _drift(conn: Connection, device: Device, normals: Mapping[Which, bytes], wanted: Difference | None) -> tuple[Drift, ...]:
    found: list[Drift] = []
    approved = await store.approved_normal(conn, device.tenant_id, device.id)
    if approved is not None and approved != normals["running"]:
        found.append("approved")
    if "startup" in normals and normals["startup"] != normals["running"]:
        found.append("saved")
    if wanted:
        found.append("intended")
    return tuple(found)


def _since(before: ConfigurationState | None, drift: Sequence[Drift], now: datetime) -> dict[str, Any]:
    at = before.drifted_at if before is not None and before.drift else now
    return {"drift": list(drift), "drifted_at": at if drift else None}


async def _tell(
    conn: Connection, tenant_id: int, device_id: int, hostname: str, before: ConfigurationState | None, drift: tuple[Drift, ...],
    wanted: Difference | None = None,
) -> None:  # fmt: skip
    """The event that the drift is, if it was another one before."""
    was = () if before is None else before.drift
    if was == drift:
        return
    told: dict[str, Any] = {"device": hostname, "drift": list(drift), "before": list(was)}
    if wanted:
        told["intended_lines"] = wanted.added + wanted.removed
    await events.insert(conn, tenant_id, "configuration.drifted" if drift else "configuration.settled", "device", str(device_id), None, told)


async def judge(db: Database, keyring: Keyring, platforms: Platforms, device: Device, intended: Intended | None, now: datetime) -> tuple[Drift, ...]:
    """Compare what the device ran when it was read last with what is intended now: its template may have changed since. For services. Raises Conflict."""
    async with db.transaction() as conn:
        stands = await store.state(conn, device.tenant_id, device.id)
        if stands is None or stands.running_id is None:
            return ()
        version, text = await read(conn, system(device.tenant_id), keyring, stands.running_id)
    wanted = None if intended is None else await asyncio.to_thread(against, reader(platforms, version.platform), text, intended)
    async with db.transaction() as conn:
        stands = await store.state(conn, device.tenant_id, device.id)
        if stands is None or stands.running_id != version.id:  # read anew meanwhile, and judged with that
            return () if stands is None else stands.drift
        kept: tuple[Drift, ...] = tuple(each for each in stands.drift if each != "intended")
        left: tuple[Drift, ...] = (*kept, "intended") if wanted else kept
        await store.stands(conn, device.tenant_id, device.id, {"intended": None if intended is None else intended.error, **_since(stands, left, now)})
        await _tell(conn, device.tenant_id, device.id, device.hostname, stands, left, wanted)
    return left


def against(driver: Backup, running: str, intended: Intended) -> Difference | None:
    """How what runs differs from what is intended, None if that is not known. Secrets are not compared: templates have none. Pure."""
    if intended.text is None:
        return None
    now, wanted = driver.masked(compared(driver, running)), driver.masked(compared(driver, intended.text))
    if intended.whole:
        return difference(wanted, now, _as_it_is, ("intended", "running"))
    return missing(now, wanted, _as_it_is)


def _as_it_is(text: str) -> str:
    return text


# -- what people ask -----------------------------------------------------------------------------------------------------

ConfigurationQuery = lists.query_type(store.LISTING)
StateQuery = lists.query_type(store.STATES)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Configuration]:
    """Versions, newest first unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def states(db: Database, actor: Actor, query: ListQuery) -> Page[ConfigurationState]:
    """How devices stand, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.STATES, actor.tenant_id, query, store.states_of)


async def state(db: Database, actor: Actor, device_id: int) -> ConfigurationState:
    """How a device stands. Raises NotFound, also if nobody ever tried to read it."""
    async with db.transaction(actor.scope) as conn:
        return await _state(conn, actor, device_id)


async def show(db: Database, actor: Actor, keyring: Keyring, platforms: Platforms, configuration_id: int) -> ConfigurationText:
    """A version without its secrets. Raises NotFound; Conflict if nobody knows what is secret in it."""
    async with db.transaction(actor.scope) as conn:
        found, text = await read(conn, actor, keyring, configuration_id)
    shown = await asyncio.to_thread(reader(platforms, found.platform).masked, text)
    return ConfigurationText(configuration=found, text=shown, masked=True)


async def reveal(db: Database, actor: Actor, keyring: Keyring, configuration_id: int) -> ConfigurationText:
    """A version as the device gave it; that somebody saw it is recorded. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        found, text = await read(conn, actor, keyring, configuration_id)
        await audit.record(
            conn, actor, "configuration.reveal", "device", found.device_id, after={"device": found.device, "configuration_id": found.id, "number": found.number}
        )
    return ConfigurationText(configuration=found, text=text, masked=False)


async def compare(db: Database, actor: Actor, keyring: Keyring, platforms: Platforms, before_id: int, after_id: int) -> Comparison:
    """How one version became another: of one device, or of two. Raises NotFound, Conflict."""
    async with db.transaction(actor.scope) as conn:
        before, old = await read(conn, actor, keyring, before_id)
        after, new = await read(conn, actor, keyring, after_id)
    one, other = reader(platforms, before.platform), reader(platforms, after.platform)
    found = await asyncio.to_thread(
        difference, compared(one, old), compared(other, new), lambda text: other.masked(one.masked(text)), (_name(before), _name(after))
    )  # fmt: skip
    return Comparison(before=before, after=after, added=found.added, removed=found.removed, text=found.text)


async def drift(db: Database, actor: Actor, keyring: Keyring, platforms: Platforms, device_id: int, intended: Intended | None = None) -> DriftView:
    """What a device's configuration, as it was read last, differs from. Raises NotFound, Conflict."""
    async with db.transaction(actor.scope) as conn:
        stands = await _state(conn, actor, device_id)
        if stands.running_id is None:
            return DriftView(state=stands)
        running, now = await read(conn, actor, keyring, stands.running_id)
        others = {
            name: None if other is None or name not in stands.drift else await read(conn, actor, keyring, other)
            for name, other in (("approved", stands.approved_id), ("saved", stands.startup_id))
        }  # fmt: skip
    driver = reader(platforms, running.platform)
    found: dict[str, Difference | None] = {}
    for name, other in others.items():
        if other is not None:
            version, text = other
            found[name] = await asyncio.to_thread(difference, compared(driver, text), compared(driver, now), driver.masked, (_name(version), _name(running)))
    if intended is not None:
        found["intended"] = await asyncio.to_thread(against, driver, now, intended)
    return DriftView(state=stands, template=None if intended is None else intended.template, **found)


def _name(version: Configuration) -> str:
    return f"{version.device} {version.which} {version.number} ({version.first_seen_at:%Y-%m-%d %H:%M:%S} UTC)"


async def approve(db: Database, actor: Actor, configuration_id: int, approval: Approval, now: datetime) -> Configuration:
    """Say that a version is as it should be: the device's configuration is compared with it from now on. Raises NotFound; Conflict for what is no version of
    what runs."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, configuration_id, lock=True)
        if before.which != "running":
            raise Conflict("only a version of the running configuration is approved")
        await store.approve(conn, actor.tenant_id, configuration_id, now, actor.name, approval.note)
        after = await held(conn, actor, configuration_id)
        await audit.record(conn, actor, "configuration.approve", "device", after.device_id,
                           after={"device": after.device, "configuration_id": after.id, "number": after.number, "note": approval.note})  # fmt: skip
        stands = await store.state(conn, actor.tenant_id, after.device_id)
        if stands is not None and stands.running_id is not None:
            same = await store.same(conn, actor.tenant_id, stands.running_id, configuration_id)
            kept: tuple[Drift, ...] = tuple(each for each in stands.drift if each != "approved")
            left: tuple[Drift, ...] = kept if same else ("approved", *kept)
            await store.stands(conn, actor.tenant_id, after.device_id, _since(stands, left, now))
            await _tell(conn, actor.tenant_id, after.device_id, after.device, stands, left)
    return after


async def held(conn: Connection, actor: Actor, configuration_id: int, *, lock: bool = False) -> Configuration:
    """The version within a transaction. Raises NotFound."""
    found = await store.get(conn, actor.tenant_id, configuration_id, lock=lock) if 0 < configuration_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("configuration", configuration_id)
    return found


async def read(conn: Connection, actor: Actor, keyring: Keyring, configuration_id: int) -> tuple[Configuration, str]:
    """The version and its text, with its secrets. Raises NotFound, StoreError."""
    found = await held(conn, actor, configuration_id)
    sealed = await store.text(conn, actor.tenant_id, configuration_id)
    if sealed is None:
        raise NotFound("configuration", configuration_id)
    return found, unseal(keyring, sealed)


async def _state(conn: Connection, actor: Actor, device_id: int) -> ConfigurationState:
    found = await store.state(conn, actor.tenant_id, device_id) if 0 < device_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("configuration of device", device_id)
    return found


async def certificate_changed(db: Database, device: Device, shown: str) -> None:
    """The same of the TLS certificate of its HTTP API: it is recorded, and nothing was sent."""
    async with db.transaction() as conn:
        told = {"device": device.hostname, "pinned": list(device.certificates), "shown": shown}
        await audit.record(conn, system(device.tenant_id), "device.refuse_certificate", "device", device.id, after=told, result="refused")


async def host_key_changed(db: Database, device: Device, shown: str) -> None:
    """A device showed another SSH host key than the pinned one, and was refused. For services: it is told and recorded."""
    async with db.transaction() as conn:
        told = {"device": device.hostname, "pinned": list(device.host_keys), "shown": shown}
        await audit.record(conn, system(device.tenant_id), "device.refuse_host_key", "device", device.id, after=told, result="refused")
        await events.insert(conn, device.tenant_id, "device.host_key_changed", "device", str(device.id), None, told)
