"""``config.backup``: read what devices are configured as, keep it, and see whether it is what it should be."""

import secrets
from typing import Any

from netd.domain import choice, configurations, facts
from netd.domain.choice import Chosen, DeviceChoice
from netd.domain.configurations import Kept
from netd.domain.facts import Observation
from netd.domain.kinds import Done, JobContext, Kind, Subject
from netd.errors import NetdError, PeerError
from netd.model.configuration import Source, Which
from netd.model.device import Facts
from netd.sdk.device import Backup, Inspect
from netd.work.kinds.devices import Devices
from netd.work.kinds.tools import Tools
from netd.work.sessions import Opened


async def read(opened: Opened) -> dict[Which, str]:
    """What the device runs and, where its platform has such a thing, what it would start with. Raises PeerError."""
    driver = opened.able(Backup)
    texts: dict[Which, str] = {"running": await opened.run(driver.configuration("running"))}
    try:
        texts["startup"] = await opened.run(driver.configuration("startup"))
    except LookupError:
        return texts  # what is set stays
    return texts


async def inspected(opened: Opened, job: JobContext) -> Facts | None:
    """What the device says of itself, where its driver asks; that it cannot be read does not keep its configuration from being kept."""
    if not isinstance(opened.driver, Inspect):
        return None
    try:
        return await opened.run(opened.driver.facts())
    except PeerError as error:
        await job.log(f"it does not say what it is: {error}", "warning", opened.device.hostname)
        return None


async def snapshot(tools: Tools, job: JobContext, opened: Opened, source: Source = "backup") -> tuple[Kept, dict[Which, str]]:
    """Read the device in a session that is open, and keep it. Raises PeerError, StoreError."""
    texts = await read(opened)
    intended = await tools.intended(opened.device)
    kept = await configurations.keep(
        tools.owner, tools.keyring, opened.platform, opened.device, texts, now=tools.now(), fresh_key=secrets.token_bytes(32), source=source,
        job_id=job.job.id, intended=intended,
    )  # fmt: skip
    return kept, texts


def said(kept: Kept) -> str:
    """One line of what came of it."""
    drift = f"; differs from what is {', '.join(kept.drift)}" if kept.drift else ""
    return f"version {kept.number}, {'new' if kept.changed else 'as before'}{drift}"


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    devices = Devices(tools)

    async def one(job: JobContext, chosen: Chosen) -> Done:
        async def work(opened: Opened) -> Kept:
            seen = await inspected(opened, job)
            kept, _ = await snapshot(tools, job, opened)
            if seen is not None:
                observation = Observation(device_id=opened.device.id, source="cli", at=tools.now(), facts=seen)
                await facts.take(tools.owner, opened.device.tenant_id, [observation])
            return kept

        try:
            kept = await devices.at(job, chosen, work)
        except PeerError as error:
            await devices.failed(job, chosen, str(error))
            raise
        return Done(said=said(kept), result=kept)

    async def backup(job: JobContext, order: DeviceChoice) -> dict[str, Any]:
        found = {each.subject.key: each for each in await choice.chosen(tools.database, job.actor, order)}

        async def each(subject: Subject) -> Done:
            return await one(job, found[subject.key])

        tally = await job.each([each.subject for each in found.values()], each, at_once=order.at_once)
        exported = None
        try:
            exported = await tools.exported(job.job.tenant_id, job.job.id)
        except NetdError as error:
            await job.log(f"the export to git failed: {error}", "error")
        return {"devices": len(found), **tally, **({} if exported is None else {"exported": exported})}

    return (
        Kind(
            name="config.backup", title="Read and keep what devices are configured as", args=DeviceChoice, run=backup, permission="configurations:write",
            idempotent=True, timeout_seconds=4 * 3600, at_once=4, reach=choice.reach,
        ),
    )  # fmt: skip
