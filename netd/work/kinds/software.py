"""``device.upgrade``: bring devices to a software image, and see that they run it."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta

from netd.domain import choice, facts, software
from netd.domain.actor import Actor
from netd.domain.facts import Observation
from netd.domain.kinds import Done, JobContext, Kind, Reach, Stopped, Subject
from netd.errors import Fault, InvalidInput, JobFailed, NotFound, PeerError, PeerUnreachable
from netd.model.configuration import SoftwareImage
from netd.model.device import Facts, Image, Outcome
from netd.sdk.device import Backup, Firmware, Inspect
from netd.sdk.terminal import Refused
from netd.store import software as store
from netd.store.database import Connection
from netd.work.kinds.configurations import snapshot
from netd.work.kinds.devices import Batches, Devices, in_batches
from netd.work.kinds.tools import Tools
from netd.work.patience import patiently
from netd.work.sessions import Opened

DEADLINE_SECONDS: Final = 2 * 3600.0
SPARE_SHARE: Final = 0.02
"""Of an image's size, what must be free besides."""


class UpgradeOrder(Batches, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The image that devices are to run, an older one as well. A device that cannot say whether the image arrived whole is left alone unless
    ``unverified``."""

    image_id: Annotated[int, Meta(ge=1)]
    unverified: bool = False


class Upgrade:
    """One device on its way to an image."""

    def __init__(self, tools: Tools, job: JobContext, opened: Opened, image: SoftwareImage, *, unverified: bool) -> None:
        self._tools = tools
        self._job = job
        self._opened = opened
        self._kept = image
        self._image = Image(name=image.file_name, version=image.software_version, octets=image.octets, sha256=image.sha256, md5=image.md5)
        self._unverified = unverified
        self._drives: Firmware = opened.able(Firmware)
        self._inspects: Inspect = opened.able(Inspect)
        self._key = f"device:{opened.device.id}"
        self.version_before: str | None = None
        self.version_after: str | None = None
        self.activated = False  # whoever restarts it now gets the image

    async def say(self, text: str) -> None:
        await self._job.log(text, "info", self._key)

    async def done(self) -> Done:
        """The whole of it. Raises PeerError."""
        wanted, opened = self._image.version, self._opened
        if opened.platform.platform.name != self._kept.platform:
            raise PeerError(f"the image is for {self._kept.platform}, the device is {opened.platform.platform.name}")
        self.version_before = (await self._facts()).software_version
        if self.version_before == wanted:
            return Done(outcome=Outcome.ALREADY, said=f"it runs {wanted} already", result=self._told(wanted))
        if isinstance(opened.driver, Backup):
            kept, _ = await snapshot(self._tools, self._job, opened, "before")
            await self.say(f"before the upgrade: configuration version {kept.number}")
        if (refusal := await self._arrived()) is not None:
            return refusal
        await self.say(f"{self.version_before} -> {wanted}: it restarts")
        self.activated = True
        try:
            await opened.run(self._drives.activate(self._image))
        except Refused:
            self.activated = False
            raise
        await opened.run(self._drives.reboot())
        return await self._judged()

    def left(self, why: str) -> Done:
        """What became of a device that was told to start the image, and was not seen to run it."""
        stands = f"{self._image.name} was activated: what it runs is not known, and the next start may be with {self._image.version}"
        if self.version_after is not None:
            stands = f"it runs {self.version_after}"
        return Done(outcome=Outcome.FAILED, said=f"{why}; {stands}", result=self._told(self.version_after))

    async def _arrived(self) -> Done | None:
        """Bring the image onto the device; None if it is there and whole, else why nothing was activated."""
        free = await self._opened.run(self._drives.free_octets())
        needed = int(self._image.octets * (1 + SPARE_SHARE))
        if free < needed and await self._there():
            await self.say("the image is there already, as it is here")
            return None
        if free < needed:
            return Done(outcome=Outcome.CAPACITY, said=f"{free} octets are free, {needed} are needed; nothing was changed", result=self._told(None))
        await self.say(f"{self._image.octets} octets are sent, {free} are free")
        await self._opened.run(self._drives.transfer(self._image))
        checked = await self._opened.run(self._drives.verify(self._image))
        if checked is Outcome.OK:
            await self.say("the image arrived as it is here")
        elif checked is not Outcome.UNVERIFIED:
            return Done(outcome=checked, said="the image did not arrive as it is here; it was not activated", result=self._told(None))
        elif not self._unverified:
            return Done(outcome=checked, said="the device cannot say whether the image arrived whole; it was not activated", result=self._told(None))
        return None

    async def _there(self) -> bool:
        """Whether an earlier try brought it, and takes the room that it needs."""
        try:
            return bool(await self._opened.run(self._drives.verify(self._image)) is Outcome.OK)
        except PeerUnreachable:
            raise
        except PeerError:
            return False

    async def _judged(self) -> Done:
        """What it runs now is what counts, whatever the steps before said."""
        after = await self._facts()
        self.version_after = after.software_version
        observation = Observation(device_id=self._opened.device.id, source="cli", at=self._tools.now(), facts=after)
        await patiently(lambda: facts.take(self._tools.owner, self._opened.device.tenant_id, [observation]))
        result = self._told(after.software_version)
        if after.software_version != self._image.version:
            said = f"it came back with {after.software_version or 'a version that it does not say'}, not with {self._image.version}"
            return Done(outcome=Outcome.FAILED, said=said, result=result)
        if isinstance(self._opened.driver, Backup):
            kept, _ = await snapshot(self._tools, self._job, self._opened, "after")
            result["configuration"] = {"number": kept.number, "changed": kept.changed}
        return Done(said=f"{self.version_before} -> {after.software_version}", result=result)

    async def _facts(self) -> Facts:
        return await self._opened.run(self._inspects.facts())

    def _told(self, after: str | None) -> dict[str, Any]:
        return {"before": self.version_before, "wanted": self._image.version, "after": after}


class Upgrades:
    """The kind's handler, and what it reaches."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._devices = Devices(tools)

    async def reach(self, conn: Connection, actor: Actor, order: UpgradeOrder) -> Reach:
        """The sites of the devices. Raises InvalidInput."""
        try:
            await software.held_image(conn, actor, order.image_id)
        except NotFound as error:
            raise InvalidInput([Fault("/args/image_id", str(error))]) from None
        return await choice.reach(conn, actor, order)

    async def run(self, job: JobContext, order: UpgradeOrder) -> dict[str, Any]:
        """Upgrade every device, batch by batch."""
        async with self._tools.owner.transaction() as conn:
            image = await store.image(conn, job.job.tenant_id, order.image_id)
        if image is None:
            raise JobFailed(f"there is no image {order.image_id} any more")
        path = self._file(image)
        found = {each.subject.key: each for each in await choice.chosen(self._tools.database, job, order)}

        async def one(subject: Subject) -> Done:
            return await self._one(job, found[subject.key], image, path, order)

        tally = await in_batches(job, [each.subject for each in found.values()], one, order)
        return {"devices": len(found), "version": image.software_version, **tally}

    async def _one(self, job: JobContext, chosen: choice.Chosen, image: SoftwareImage, path: Path, order: UpgradeOrder) -> Done:
        made: list[Upgrade] = []

        async def work(opened: Opened) -> Done:
            made.append(Upgrade(self._tools, job, opened, image, unverified=order.unverified))
            return await made[0].done()

        try:
            done = await self._devices.at(job, chosen, work, image=path, deadline_seconds=DEADLINE_SECONDS)
        except PeerError as error:
            if not made or not made[0].activated:
                raise
            return made[0].left(error.whole)
        except asyncio.CancelledError:
            if not made or not made[0].activated:
                raise
            raise Stopped(made[0].left("it was stopped in the middle")) from None
        before, after = made[0].version_before, (done.result or {}).get("after")
        if done.state == "failed" and after not in (None, before):
            return await self._back(job, chosen, before, image.platform, done, order)
        return done

    async def _back(self, job: JobContext, chosen: choice.Chosen, version: str | None, platform: str, done: Done, order: UpgradeOrder) -> Done:
        """Bring a device that came back with neither version to the one that it had, if the library has that."""
        async with self._tools.owner.transaction() as conn:
            old = None if version is None else await store.image_of_version(conn, job.job.tenant_id, platform, version)
        if old is None:
            return _with(done, f"{done.said}; the library has no image of {version} to go back to")
        await job.log(f"going back to {version}", "warning", chosen.subject.key)
        previous = old

        async def work(opened: Opened) -> Done:
            return await Upgrade(self._tools, job, opened, previous, unverified=order.unverified).done()

        try:
            back = await self._devices.at(job, chosen, work, image=self._file(old), deadline_seconds=DEADLINE_SECONDS)
        except (PeerError, JobFailed) as error:
            return _with(done, f"{done.said}; going back failed: {error}")
        except asyncio.CancelledError:
            raise Stopped(_with(done, f"{done.said}; going back to {version} was stopped in the middle: what it runs is not known")) from None
        return _with(done, f"{done.said}; {'went back to' if back.state == 'succeeded' else 'could not go back to'} {version}")

    def _file(self, image: SoftwareImage) -> Path:
        folder = self._tools.images
        if folder is None or not software.path_of(folder, image).is_file():
            raise JobFailed(f"the file of image {image.id} ({image.file_name}) is not on this node")
        return software.path_of(folder, image)


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    does = Upgrades(tools)
    return (
        Kind(
            name="device.upgrade", title="Bring devices to a software image, and see that they run it", args=UpgradeOrder, run=does.run,
            permission="software:install", idempotent=False, timeout_seconds=24 * 3600, max_attempts=1, approval=True, clean_up_seconds=30.0,
            reach=does.reach,
        ),
    )  # fmt: skip


def _with(done: Done, said: str) -> Done:
    return Done(outcome=done.outcome, said=said, result=done.result)
