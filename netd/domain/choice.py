"""Which devices a job is about: named ones, a group's, or whatever a selector means when the job runs."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from netd.domain.actor import Actor
from netd.domain.devices import Hostname
from netd.domain.inputs import Faults, Label
from netd.domain.kinds import JobContext, Reach, Subject
from netd.model.inventory import Device, Selector
from netd.store import devices as store
from netd.store.database import Connection, Database

AtOnce = Annotated[int, Meta(ge=1, le=200, description="with how many devices at the same time")]
DEVICES_MOST = 10_000


class DeviceChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``devices`` are names; with ``group`` and ``selector`` ({} is every active device) theirs are added. ``at_once`` is with how many at the same time."""

    devices: Annotated[tuple[Hostname, ...], Meta(max_length=DEVICES_MOST)] = ()
    group: Label | None = None
    selector: Selector | None = None
    at_once: AtOnce = 10


class Chosen(NamedTuple):
    """A device that was chosen."""

    id: int
    hostname: str
    site_id: int | None
    platform: str | None

    @property
    def subject(self) -> Subject:
        """As a job's subject."""
        return Subject(f"device:{self.id}", self.hostname)


async def within(conn: Connection, actor: Actor, choice: DeviceChoice, where: str = "/args") -> list[Chosen]:
    """The devices that are chosen, as far as the actor sees them, by id. Raises InvalidInput for names of what there is not, and for no choice at all;
    ``where`` is the pointer to the choice."""
    faults = Faults()
    selectors: list[Selector] = []
    if choice.devices:
        named = await store.selected(conn, actor.tenant_id, Selector(hostnames=choice.devices, states=()))
        known = {hostname.lower() for _, hostname in named}
        for place, name in enumerate(choice.devices):
            if name.lower() not in known:
                faults.add(f"{where}/devices/{place}", f"there is no device {name}")
        selectors.append(Selector(ids=tuple(each for each, _ in named) or (0,), states=()))
    if choice.group is not None:
        selector = await store.group_selector(conn, actor.tenant_id, choice.group)
        if selector is None:
            faults.add(f"{where}/group", f"there is no group {choice.group}")
        else:
            selectors.append(selector)
    if choice.selector is not None:
        selectors.append(choice.selector)
    if not selectors and not faults.found:
        faults.add(f"{where}/devices", "say with which devices: devices, group or selector")
    faults.check()
    ids = {each for selector in selectors for each, _ in await store.selected(conn, actor.tenant_id, selector)}
    return _chosen(await store.by_ids(conn, actor.tenant_id, sorted(ids)))


def _chosen(devices: Sequence[Device]) -> list[Chosen]:
    return [Chosen(device.id, device.hostname, device.site_id, device.driver_platform) for device in devices]


async def chosen(db: Database, job: JobContext, choice: DeviceChoice) -> list[Chosen]:
    """The devices of a job that is done, as far as its maker sees them: those that it was made for where that is settled, else those that are chosen now."""
    async with db.transaction(job.actor.scope) as conn:
        if job.devices is None:
            return await within(conn, job.actor, choice)
        found = _chosen(await store.by_ids(conn, job.actor.tenant_id, job.devices))
    if gone := len(job.devices) - len(found):
        await job.log(f"{gone} of the {len(job.devices)} devices that it was made for are not there any more", "warning")
    return found


async def reach(conn: Connection, actor: Actor, choice: DeviceChoice) -> Reach:
    """Where a job with these devices reaches: their sites; the whole tenant if one of them is at none. Raises InvalidInput."""
    return reach_of(actor, await within(conn, actor, choice))


def reach_of(actor: Actor, found: Sequence[Chosen]) -> Reach:
    """The same of devices that are known already."""
    devices = {each.id: each.hostname for each in found}
    if not found:
        return Reach(sites=actor.sites, devices=devices)
    sites = {each.site_id for each in found}
    return Reach(sites=None if None in sites else frozenset(each for each in sites if each is not None), devices=devices)
