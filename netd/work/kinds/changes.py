"""``config.change`` and ``config.restore``, each with a ``.preview`` that only shows what would differ. How one device is changed: ``changing``."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from netd.domain import choice, commands, configurations
from netd.domain.actor import Actor
from netd.domain.devices import Hostname
from netd.domain.differences import foreseen
from netd.domain.kinds import Done, JobContext, Kind, Reach, Subject
from netd.errors import Fault, InvalidInput, JobFailed, NotFound
from netd.sdk.device import Backup, Configure
from netd.store.database import Connection
from netd.work.kinds.changing import CLEAN_UP_SECONDS, Change, ChangeOrder, Changing
from netd.work.kinds.devices import Devices, in_batches, known_secrets, told_secrets
from netd.work.kinds.masking import unmasked
from netd.work.kinds.tools import Tools
from netd.work.sessions import Opened


class RestoreOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version of the device's configuration that it is to run again."""

    device: Hostname
    configuration_id: Annotated[int, Meta(ge=1)]


class Changes:
    """The kinds' handlers, and what they reach."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._devices = Devices(tools)

    async def change_reach(self, conn: Connection, actor: Actor, order: ChangeOrder) -> Reach:
        """The sites of the devices. Raises InvalidInput, also for a secret that stands in a line."""
        found = await choice.within(conn, actor, order)
        platforms = {each.platform for each in found}
        for member in ("lines", "expected", "unexpected"):
            told_secrets(getattr(order, member), order.secrets, member)
            await asyncio.to_thread(unmasked, self._tools, platforms, getattr(order, member), member)
        return choice.reach_of(actor, found)

    async def restore_reach(self, conn: Connection, actor: Actor, order: RestoreOrder) -> Reach:
        """The site of the device. Raises InvalidInput, also for a version of another device."""
        reach = await choice.reach(conn, actor, choice.DeviceChoice(devices=(order.device,)))
        try:
            found = await configurations.held(conn, actor, order.configuration_id)
        except NotFound as error:
            raise InvalidInput([Fault("/args/configuration_id", str(error))]) from None
        if found.device.lower() != order.device.lower():
            raise InvalidInput([Fault("/args/configuration_id", f"is a version of {found.device}")])
        return reach

    async def change(self, job: JobContext, order: ChangeOrder) -> dict[str, Any]:
        """Type the lines at every device, batch by batch."""
        secrets = known_secrets(job, order.secrets)
        lines = commands.filled(order.lines, secrets)
        looked_for = {member: tuple(commands.filled(getattr(order, member), secrets)) for member in ("expected", "unexpected")}
        filled = msgspec.structs.replace(order, **looked_for)
        found = await self._found(job, order)

        async def one(subject: Subject) -> Done:
            return await Changing(self._tools, self._devices, job, found[subject.key]).run(lambda change: change.type(filled, lines))

        return {"devices": len(found), **await in_batches(job, [each.subject for each in found.values()], one, order)}

    async def preview(self, job: JobContext, order: ChangeOrder) -> dict[str, Any]:
        """Show what the lines would change."""
        found = await self._found(job, order)

        async def one(subject: Subject) -> Done:
            return await self._devices.at(job, found[subject.key], lambda opened: _foreseen(opened, order.lines))

        return {"devices": len(found), **await job.each([each.subject for each in found.values()], one, at_once=order.at_once)}

    async def restore(self, job: JobContext, order: RestoreOrder) -> dict[str, Any]:
        """Let the device run the version."""
        return await self._restored(job, order, only_show=False)

    async def restore_preview(self, job: JobContext, order: RestoreOrder) -> dict[str, Any]:
        """Show what that would change."""
        return await self._restored(job, order, only_show=True)

    async def _found(self, job: JobContext, order: ChangeOrder) -> dict[str, choice.Chosen]:
        return {each.subject.key: each for each in await choice.chosen(self._tools.database, job, order)}

    async def _restored(self, job: JobContext, order: RestoreOrder, *, only_show: bool) -> dict[str, Any]:
        tools = self._tools
        found = await choice.chosen(tools.database, job, choice.DeviceChoice(devices=(order.device,)))
        if not found:
            raise JobFailed(f"{order.device} is not there any more")
        (target,) = found
        async with tools.database.transaction(job.actor.scope) as conn:
            version, text = await configurations.read(conn, job.actor, tools.keyring, order.configuration_id)
        if version.device_id != target.id:  # names may have changed since somebody looked
            raise JobFailed(f"configuration {version.id} is a version of {version.device}, not of {target.hostname}")

        async def work(change: Change) -> Done:
            change.of_platform(version.platform)
            return await change.preview(text) if only_show else await change.restore(text)

        async def one(subject: Subject) -> Done:
            return await Changing(tools, self._devices, job, target).run(work)

        return {"device": target.hostname, "number": version.number, **await job.each([target.subject], one)}


async def _foreseen(opened: Opened, lines: Sequence[str]) -> Done:
    reads: Backup = opened.able(Backup)
    opened.able(Configure)
    running = await opened.run(reads.configuration("running"))
    shown = await asyncio.to_thread(lambda: foreseen(reads.masked(running), lines))
    return Done(said=f"{shown.added} lines are new, {shown.removed} go", result={"added": shown.added, "removed": shown.removed, "diff": shown.text})


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    does = Changes(tools)
    common: dict[str, Any] = {"permission": "commands:run", "timeout_seconds": 4 * 3600, "max_attempts": 1, "clean_up_seconds": CLEAN_UP_SECONDS}
    changes: dict[str, Any] = {**common, "args": ChangeOrder, "reach": does.change_reach, "secrets": ("secrets",)}
    restores: dict[str, Any] = {**common, "args": RestoreOrder, "reach": does.restore_reach}
    risky: dict[str, Any] = {"idempotent": False, "approval": True}
    return (
        Kind(name="config.change", title="Type lines of configuration at devices, and see that they took", run=does.change, **risky, **changes),
        Kind(name="config.change.preview", title="Show what typing lines would change", run=does.preview, idempotent=True, **changes),
        Kind(name="config.restore", title="Let a device run a version of its configuration again", run=does.restore, **risky, **restores),
        Kind(name="config.restore.preview", title="Show what restoring a version would change", run=does.restore_preview, idempotent=True, **restores),
    )  # fmt: skip
