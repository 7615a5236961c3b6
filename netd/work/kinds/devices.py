"""What kinds that work with devices share: a session for one of a job's devices, with its notes in the job's log."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from netd.domain import commands, configurations
from netd.domain.choice import Chosen, DeviceChoice
from netd.domain.inputs import Faults
from netd.domain.kinds import Done, JobContext, Subject
from netd.errors import PeerError, PeerUnreachable
from netd.model.inventory import Device
from netd.store import devices as device_store
from netd.work.kinds.tools import Tools
from netd.work.sessions import DeviceSessions, Opened, Ways

T = TypeVar("T")


class Batches(DeviceChoice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With how many devices it begins (``first``), how many follow at a time (``at_once``, when those before have ended), and of which share of all may have
    failed for it to go on."""

    first: Annotated[int, Meta(ge=0, le=200, description="so many devices before all others, none of which may fail; 0: none")] = 1
    most_failed: Annotated[float, Meta(ge=0, le=1, description="the share of all devices that may fail: with more the rest is skipped")] = 0.1


class Devices:
    """Devices as kinds reach them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @property
    def sessions(self) -> DeviceSessions:
        """Raises PeerUnreachable where this netd has no way to devices."""
        if self._tools.sessions is None:
            raise PeerUnreachable("this netd has no way to devices", "invalid")
        return self._tools.sessions

    async def at(
        self, job: JobContext, chosen: Chosen, work: Callable[[Opened], Awaitable[T]], *, image: Path | None = None, deadline_seconds: float | None = None
    ) -> T:
        """Do ``work`` in a session with the device; what its driver notes stands in the job's log. Raises as ``DeviceSessions.run``."""
        noting: set[asyncio.Task[None]] = set()

        def note(text: str) -> None:
            task = asyncio.get_running_loop().create_task(job.log(text, "info", chosen.subject.key))
            noting.add(task)
            task.add_done_callback(noting.discard)

        try:
            return await self.sessions.run(
                job.job.tenant_id, chosen.id, work, image=image, note=note, hide=job.hide, deadline_seconds=deadline_seconds
            )  # fmt: skip
        finally:
            if noting:
                await asyncio.gather(*noting)

    async def by_http(self, job: JobContext, chosen: Chosen) -> tuple[Device, dict[str, Any]]:
        """The device, and what it says of itself over its HTTP API, if anything. Raises as ``DeviceSessions.records``."""

        async def say(text: str) -> None:
            await job.log(text, "warning", chosen.subject.key)

        return await self.sessions.records(job.job.tenant_id, chosen.id, say=say, hide=job.hide)

    async def by_snmp(self, job: JobContext, chosen: Chosen, wanted: Sequence[str]) -> tuple[Device, dict[str, Any], PeerError | None]:
        """The device, what its agent says of ``wanted``, and why it did not say something. Raises as ``DeviceSessions.walked``."""

        async def say(text: str) -> None:
            await job.log(text, "warning", chosen.subject.key)

        return await self.sessions.walked(job.job.tenant_id, chosen.id, wanted, say=say, hide=job.hide)

    async def ways(self, job: JobContext, chosen: Chosen) -> Ways:
        """How the device can be asked. Raises as ``DeviceSessions.ways``."""
        return await self.sessions.ways(job.job.tenant_id, chosen.id)

    async def known(self, job: JobContext, chosen: Chosen) -> Device:
        """The device as the inventory has it. Raises PeerUnreachable if it has not got it any more."""
        async with self._tools.owner.transaction() as conn:
            found = await device_store.by_ids(conn, job.job.tenant_id, [chosen.id])
        if not found:
            raise PeerUnreachable(f"{chosen.hostname} is not known any more", "invalid")
        return found[0]

    async def failed(self, job: JobContext, chosen: Chosen, error: str) -> None:
        """Remember that the device's configuration could not be read. Raises PeerUnreachable if it is not known any more."""
        await configurations.failed(self._tools.owner, await self.known(job, chosen), error, self._tools.now())

    async def unread(self, job: JobContext, chosen: Chosen) -> None:
        """Remember that there is nothing to read of the device: no attempt of before failed in that. Raises as ``failed``."""
        await configurations.unread(self._tools.owner, await self.known(job, chosen))


async def in_batches(job: JobContext, subjects: Sequence[Subject], work: Callable[[Subject], Awaitable[Done]], order: Batches) -> Mapping[str, int]:
    """Do ``work`` batch by batch, as the order says; returns how many there are by state."""
    tally: Counter[str] = Counter()
    first = min(order.first, len(subjects) - 1) if len(subjects) > 1 else 0
    cuts = [0, *([first] if first else []), *range(first + order.at_once, len(subjects), order.at_once), len(subjects)]
    stop = False
    for number, (begin, end) in enumerate(pairwise(cuts)):
        batch = subjects[begin:end]
        if stop:
            tally += Counter(await job.each(batch, work, at_once=len(batch), most_failed=-1.0))
            continue
        if batch:
            tally += Counter(await job.each(batch, work, at_once=len(batch)))
        bad = tally["failed"] + tally["unverified"]
        stop = bad > order.most_failed * len(subjects) or (bool(bad) and bool(first) and number == 0)
        if stop and end < len(subjects):
            await job.log(f"{bad} of {sum(tally.values())} did not succeed: the other {len(subjects) - end} are left alone", "error")
    return dict(tally)


def told_secrets(lines: Sequence[str], secrets: str, member: str) -> None:
    """Look whether every secret that lines ask for is told. Raises InvalidInput."""
    faults = Faults()
    known = faults.attempt("/args/secrets", commands.secrets_of, secrets)
    for place, line in enumerate(lines):
        for name in sorted(commands.places([line]) - (known or {}).keys()):
            faults.add(f"/args/{member}/{place}", f"there is no {name} among the secrets")
    faults.check()


def known_secrets(job: JobContext, secrets: str) -> dict[str, str]:
    """The secrets of an order, which are hidden from now on."""
    found = commands.secrets_of(secrets)
    job.hide(*found.values())
    return found
