"""``config.backup``: read what devices are configured as, keep it, and see whether it is what it should be. ``config.compare``: only see it anew."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Final

from netd.domain import choice, configurations
from netd.domain.choice import Chosen, DeviceChoice
from netd.domain.configurations import Intended, Kept
from netd.domain.kinds import Done, JobContext, Kind, Subject
from netd.errors import NetdError, PeerError, TooOften
from netd.model.configuration import Source, Which
from netd.model.device import Outcome
from netd.sdk.device import Backup
from netd.work.kinds.devices import Devices
from netd.work.kinds.inspection import by_http, by_snmp, inspected, take
from netd.work.kinds.tools import Tools
from netd.work.patience import patiently
from netd.work.sessions import Opened

RENDERED_AT_ONCE: Final = 100
NO_CONFIGURATION: Final = "its platform has no configuration that is read"


async def read(opened: Opened) -> dict[Which, str]:
    """What the device runs and, where its platform has such a thing, what it would start with. Raises PeerError."""
    driver = opened.able(Backup)
    texts: dict[Which, str] = {"running": await opened.run(driver.configuration("running"))}
    try:
        texts["startup"] = await opened.run(driver.configuration("startup"))
    except LookupError:
        return texts  # what is set stays
    return texts


class Intents:
    """What is intended of a job's devices: rendered for many at once, when the first of them is asked for."""

    def __init__(self, tools: Tools, tenant_id: int, device_ids: Sequence[int]) -> None:
        self._tools = tools
        self._tenant_id = tenant_id
        self._ids = tuple(device_ids)
        self._place = {device_id: place // RENDERED_AT_ONCE for place, device_id in enumerate(device_ids)}
        self._made: dict[int, asyncio.Task[dict[int, Intended]]] = {}

    async def of(self, device_id: int) -> Intended | None:
        """What is intended of one, to be asked for once. Raises StoreError."""
        place = self._place[device_id]
        if place not in self._made:
            chunk = self._ids[place * RENDERED_AT_ONCE : (place + 1) * RENDERED_AT_ONCE]
            self._made[place] = asyncio.create_task(self._tools.intended(self._tenant_id, chunk), name="rendering")
        return (await asyncio.shield(self._made[place])).pop(device_id, None)


async def snapshot(tools: Tools, job: JobContext, opened: Opened, source: Source = "backup", intents: Intents | None = None) -> tuple[Kept, dict[Which, str]]:
    """Read the device in a session that is open, and keep it. Raises PeerError, StoreError."""
    texts = await read(opened)
    intended = await (intents or Intents(tools, opened.device.tenant_id, [opened.device.id])).of(opened.device.id)
    kept = await patiently(lambda: configurations.keep(
        tools.owner, tools.keyring, opened.platform, opened.device, texts, now=tools.now(), fresh_key=secrets.token_bytes(32), source=source,
        job_id=job.job.id, intended=intended,
    ))  # fmt: skip
    return kept, texts


def said(kept: Kept) -> str:
    """One line of what came of it."""
    drift = f"; differs from what is {', '.join(kept.drift)}" if kept.drift else ""
    return f"version {kept.number}, {'new' if kept.changed else 'as before'}{drift}"


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    devices = Devices(tools)

    async def one(job: JobContext, chosen: Chosen, intents: Intents, *, named: bool) -> Done:
        kept: Kept | None = None

        async def work(opened: Opened, known: dict[str, Any]) -> None:
            nonlocal kept
            seen, _ = await inspected(opened, job, *(name for name in ("facts",) if name not in known))
            if isinstance(opened.driver, Backup):
                kept, _ = await snapshot(tools, job, opened, intents=intents)
            more, _ = await inspected(opened, job, *(name for name in ("neighbours", "macs", "arps") if name not in known))
            await take(tools, opened.device, {**seen, **more})

        try:
            known = await by_http(tools, devices, job, chosen)
            await devices.at(job, chosen, lambda opened: work(opened, known))
            await by_snmp(tools, devices, job, chosen, await devices.ways(job, chosen), known)
        except (PeerError, TooOften) as error:
            if kept is None:
                await devices.failed(job, chosen, str(error))
                raise
            await job.log(f"its configuration is kept; the rest was not said: {error}", "warning", chosen.subject.key)
        if kept is None:
            await devices.unread(job, chosen)
            if named:
                raise PeerError(NO_CONFIGURATION)
            return Done(outcome=Outcome.EMPTY, said=NO_CONFIGURATION)  # a host among routers, as a group may have it, fails no night's backup
        return Done(said=said(kept), result=kept)

    async def backup(job: JobContext, order: DeviceChoice) -> dict[str, Any]:
        found = {each.subject.key: each for each in await choice.chosen(tools.database, job, order)}
        intents = Intents(tools, job.job.tenant_id, [each.id for each in found.values()])
        named = {name.lower() for name in order.devices}

        async def each(subject: Subject) -> Done:
            return await one(job, found[subject.key], intents, named=subject.name.lower() in named)

        tally = await job.each([each.subject for each in found.values()], each, at_once=order.at_once)
        exported = None
        try:
            exported = await tools.exported(job.job.tenant_id, job.job.id)
        except NetdError as error:
            await job.log(f"the export to git failed: {error}", "error")
        return {"devices": len(found), **tally, **({} if exported is None else {"exported": exported})}

    async def compare(job: JobContext, order: DeviceChoice) -> dict[str, Any]:
        found = {each.subject.key: each for each in await choice.chosen(tools.database, job, order)}
        intents = Intents(tools, job.job.tenant_id, [each.id for each in found.values()])

        async def each(subject: Subject) -> Done:
            device = await devices.known(job, found[subject.key])
            if not await configurations.was_read(tools.owner, device):
                return Done(outcome=Outcome.EMPTY, said="it was never read: there is nothing to compare")
            intended = await intents.of(device.id)
            drift = await configurations.judge(tools.owner, tools.keyring, devices.sessions.platforms, device, intended, tools.now())
            return Done(said=f"differs from what is {', '.join(drift)}" if drift else "", result={"drift": drift})

        return {"devices": len(found), **await job.each([each.subject for each in found.values()], each, at_once=order.at_once, locked=False)}

    return (
        Kind(
            name="config.compare", title="Compare what devices ran when they were read last with what is intended now", args=DeviceChoice, run=compare,
            permission="configurations:write", idempotent=True, timeout_seconds=3600, at_once=2, reach=choice.reach,
        ),
        Kind(
            name="config.backup", title="Read and keep what devices are configured as", args=DeviceChoice, run=backup, permission="configurations:write",
            idempotent=True, timeout_seconds=4 * 3600, at_once=4, reach=choice.reach,
        ),
    )  # fmt: skip
