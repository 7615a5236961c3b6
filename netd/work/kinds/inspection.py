"""``device.inspect``: ask devices what they are, whom they hear, and which addresses are behind which interface. A backup asks the same, in its session.

Where a driver and a credential are there for it, the device's HTTP API is asked first, and its command line for the rest only. What that cannot say, or where
nobody can log in, is asked by SNMP: of the same device always the same way, for each names interfaces and neighbours as it does.
"""

import logging
from collections.abc import Collection
from typing import Any, Final

from netd.domain import choice, facts
from netd.domain.choice import Chosen, DeviceChoice
from netd.domain.facts import Observation
from netd.domain.kinds import Done, JobContext, Kind, Subject
from netd.errors import PeerError, PeerUnreachable, TooOften
from netd.model.inventory import Device
from netd.sdk.device import Arps, Inspect, Macs, Neighbours
from netd.work.kinds.devices import Devices
from netd.work.kinds.tools import Tools
from netd.work.patience import patiently
from netd.work.sessions import Opened, Ways
from netd.work.walked import QUESTIONS

log = logging.getLogger(__name__)

ASKED: Final[dict[str, tuple[type, str]]] = {
    "facts": (Inspect, "what it is"), "neighbours": (Neighbours, "whom it hears"), "macs": (Macs, "where MAC addresses are"),
    "arps": (Arps, "which MAC addresses IP addresses have"),
}  # fmt: skip
"""What a driver is asked for, by its method and the member of an observation: the capability, and what it is to people."""


async def inspected(opened: Opened, job: JobContext, *members: str) -> tuple[dict[str, Any], PeerError | None]:
    """What the device says of itself, as members of an observation, and why it did not say something (the last reason): that is left out, and logged."""
    found: dict[str, Any] = {}
    failure: PeerError | None = None
    for name in members:
        capability, what = ASKED[name]
        if not isinstance(opened.driver, capability):
            continue
        try:
            found[name] = await opened.run(getattr(opened.driver, name)())
        except PeerError as error:
            failure = error
            await job.log(f"it does not say {what}: {error}", "warning", f"device:{opened.device.id}")
            if isinstance(error, PeerUnreachable) and error.reason != "timeout":
                break  # there is no session any more
        except Exception as error:  # barrier: what a driver makes of a text that nobody foresaw is no reason to lose the rest
            failure = PeerError(f"its driver does not understand what it says: {type(error).__name__}")
            log.exception("a driver does not understand a device", extra={"device": opened.device.hostname, "what": name})
            await job.log(f"it does not say {what}: {failure}", "warning", f"device:{opened.device.id}")
    return found, failure


async def take(tools: Tools, device: Device, found: dict[str, Any], source: str = "cli") -> None:
    """Keep it, if there is anything. Raises StoreError."""
    if found:
        observation = Observation(device_id=device.id, source=source, at=tools.now(), **found)
        await patiently(lambda: facts.take(tools.owner, device.tenant_id, [observation]))


async def by_http(tools: Tools, devices: Devices, job: JobContext, chosen: Chosen) -> dict[str, Any]:
    """Keep what the device says over its HTTP API, if it has one, and return it. Raises PeerError, TooOften, StoreError."""
    device, found = await devices.by_http(job, chosen)
    await take(tools, device, found, "http")
    return found


async def by_snmp(
    tools: Tools, devices: Devices, job: JobContext, chosen: Chosen, ways: Ways, known: Collection[str]
) -> tuple[dict[str, Any], PeerError | None]:
    """Keep what the device's agent says of what is not ``known``, and what its command line could not say, and return it; and why it did not say something.
    Raises PeerError, TooOften, StoreError."""
    wanted = [name for name, (capability, _) in ASKED.items() if name in QUESTIONS and name not in known and not ways.typed(capability)]
    if not wanted or not ways.walks:
        return {}, None
    device, found, failure = await devices.by_snmp(job, chosen, wanted)
    await take(tools, device, found, "snmp")
    return found, failure


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    devices = Devices(tools)

    async def typed(opened: Opened, job: JobContext, members: list[str]) -> tuple[dict[str, Any], PeerError | None]:
        found, failure = await inspected(opened, job, *members)
        if not found and failure is not None:
            try:
                raise failure
            finally:
                del failure  # or it keeps its traceback, and that this frame
        await take(tools, opened.device, found)
        return found, failure

    async def one(chosen: Chosen, job: JobContext) -> Done:
        found = await by_http(tools, devices, job, chosen)
        failure: PeerError | TooOften | None = None
        ways = await devices.ways(job, chosen)
        left = [name for name, (capability, _) in ASKED.items() if name not in found and ways.typed(capability)]
        if left:
            try:
                more, failure = await devices.at(job, chosen, lambda opened: typed(opened, job, left))
                found |= more
            except (PeerError, TooOften) as error:
                failure = error
                if isinstance(error, PeerUnreachable) and not ways.opened:  # it may only be polled, and the credential is everybody's
                    ways = ways._replace(types=False)
        try:
            more, silent = await by_snmp(tools, devices, job, chosen, ways, found)
            found |= more
            failure = failure or silent
        except (PeerError, TooOften) as error:  # what was said before is kept
            failure = failure or error
        if not found:
            raise failure or PeerError(f"{chosen.hostname}: {_unasked(ways)}")
        tally = {name: len(found[name]) for name in ("neighbours", "macs", "arps") if name in found}
        said = ", ".join(f"{number} {name}" for name, number in tally.items())
        return Done(said=f"{said}; not all was said: {failure}" if failure else said, result=tally)

    async def inspect(job: JobContext, order: DeviceChoice) -> dict[str, Any]:
        found = {each.subject.key: each for each in await choice.chosen(tools.database, job, order)}

        async def each(subject: Subject) -> Done:
            return await one(found[subject.key], job)

        return {"devices": len(found), **await job.each([each.subject for each in found.values()], each, at_once=order.at_once)}

    return (
        Kind(
            name="device.inspect", title="Ask devices what they are, whom they hear, and where addresses are", args=DeviceChoice, run=inspect,
            permission="devices:write", idempotent=True, timeout_seconds=4 * 3600, at_once=4, reach=choice.reach,
        ),
    )  # fmt: skip


def _unasked(ways: Ways) -> str:
    """Why a device that did not refuse says nothing."""
    if ways.walks:
        return "its agent has neither neighbours nor addresses"
    if ways.driver is None:
        return "its platform is not known, or has no driver, and there is no SNMP credential for it"
    said = "its driver cannot ask it anything of this" if ways.types else "there is no credential for its command line"
    return f"{said}, and none for SNMP"
