"""``ztp.finish``: what follows a device's first file. netd logs in, gives it its whole configuration, and looks whether it is what was expected.

It may be begun again at any point: each step looks at what is there already. What cannot be put right by trying again puts the device into quarantine.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from netd.device.cli import FINE
from netd.domain import booting, expected, facts, finishing, jobs
from netd.domain.actor import Actor
from netd.domain.devices import Catalogue
from netd.domain.facts import Observation
from netd.domain.jobs import NewJob
from netd.domain.kinds import JobContext, Kind, Reach
from netd.domain.redact import Redactor
from netd.errors import Conflict, ExtensionError, InvalidInput, JobFailed, PeerError, PeerUnreachable, TryAgain
from netd.model.boot import ExpectedDevice
from netd.model.device import Facts
from netd.model.inventory import Device
from netd.model.target import Credential
from netd.sdk.device import Configure, Inspect
from netd.store.database import Connection
from netd.work.kinds import configurations
from netd.work.kinds.devices import Devices
from netd.work.kinds.tools import Tools
from netd.work.sessions import Opened

ATTEMPTS: Final = 40
"""With fifteen seconds between them: a device that has fetched its file restarts, perhaps with new software, and ten minutes are not rare."""


class Finish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which expected device."""

    ztp_device_id: int


async def reach(conn: Connection, actor: Actor, order: Finish) -> Reach:
    """One job for a device at a time."""
    await expected.held(conn, actor, order.ztp_device_id)
    key = f"ztp:{order.ztp_device_id}"
    return Reach(lock_keys=(key,), unique_key=key)


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    devices = Devices(tools)

    async def finish(job: JobContext, order: Finish) -> dict[str, Any]:
        device = await finishing.held(tools.owner, job.job.tenant_id, order.ztp_device_id)
        if device.state == "verified":
            return {"state": "verified"}
        if device.state != "configured":
            raise JobFailed(f"it is {device.state}: there is nothing to finish")
        told = Redactor()  # why a device is in quarantine is kept beside it: the device may have quoted what it was sent

        def hide(*secrets: str) -> None:
            job.hide(*secrets)
            told.add(secrets)

        try:
            return await _finished(tools, devices, job, device, hide)
        except PeerUnreachable as error:
            if job.job.attempt < job.job.max_attempts:
                raise TryAgain(str(error), tools.boot_retry_seconds) from None
            reason = f"netd does not get into it: {error}"
        except (PeerError, InvalidInput, Conflict, ExtensionError, JobFailed) as error:
            reason = str(error)
        await finishing.quarantined(tools.owner, device, tools.now(), told.text(reason))
        raise JobFailed(reason)

    return (
        Kind(
            name=booting.FINISH, title="Finish a device that has booted, and look whether it is what was expected", args=Finish, run=finish,
            permission="ztp:write", idempotent=True, timeout_seconds=1800, at_once=20, max_attempts=ATTEMPTS, reach=reach,
        ),
    )  # fmt: skip


async def _finished(tools: Tools, devices: Devices, job: JobContext, device: ExpectedDevice, hide: Callable[..., None]) -> dict[str, Any]:
    platforms = devices.sessions.platforms
    catalogue = Catalogue(frozenset(each.vendor for each in platforms.values()) | {device.vendor}, platforms)
    record = await finishing.record(tools.owner, device, catalogue)
    if job.job.attempt == 1:
        record = await finishing.forget_host_key(tools.owner, device, record)
    radius = await finishing.nas_secret(tools.owner, tools.keyring, device, record)
    boot = await finishing.boot_login(tools.owner, tools.keyring, device, record)
    lines, hidden = await finishing.lines(tools.owner, tools.keyring, tools.renderer, device, record, radius)
    hide(*hidden)
    if lines:
        await _configure(devices, hide, record, [boot], lines)
        await job.log(f"{len(lines)} lines of configuration are in, and saved")
    found = await _look(devices, hide, record, [] if lines else [boot])
    wrong = finishing.differences(device, found)
    if wrong:
        raise JobFailed("; ".join(wrong))
    evidence = {
        "serial": found.serial, "model": found.model, "software_version": found.software_version, "hostname": found.hostname,
        "address": str(record.mgmt_address), "by": "a log-in with its own credential" if lines else "a log-in",
    }  # fmt: skip
    await facts.take(tools.owner, device.tenant_id, [Observation(device_id=record.id, source="cli", at=tools.now(), facts=found)])
    await finishing.verified(tools.owner, device, tools.now(), evidence)
    await _backed_up(tools, job, record)
    return {"state": "verified", **evidence}


async def _configure(devices: Devices, hide: Callable[..., None], record: Device, first: list[Credential], lines: list[str]) -> None:
    async def work(opened: Opened) -> None:
        driver = opened.able(Configure)
        for line, outcome, said in await opened.run(driver.configure(lines)):
            if outcome not in FINE:
                raise JobFailed(f"it does not take {line!r}: {outcome.value}{f', {said}' if said else ''}")
        await opened.run(driver.save())

    await devices.sessions.run(record.tenant_id, record.id, work, hide=hide, first=first)


async def _look(devices: Devices, hide: Callable[..., None], record: Device, first: list[Credential]) -> Facts:
    async def work(opened: Opened) -> Facts:
        found: Facts = await opened.run(opened.able(Inspect).facts())
        return found

    return await devices.sessions.run(record.tenant_id, record.id, work, hide=hide, first=first)


async def _backed_up(tools: Tools, job: JobContext, record: Device) -> None:
    """Let its configuration be kept; a job of its own, for what fails there is not the device's boot."""
    actor = booting.netd(record.tenant_id)
    kind = next(each for each in configurations.kinds(tools) if each.name == "config.backup")
    async with tools.owner.transaction() as conn:
        new = NewJob(kind=kind.name, args={"devices": [record.hostname]})
        made = await jobs.submit_in(conn, jobs.confined(actor, kind), tools.keyring, kind, new, tools.now(), idempotency_key=f"ztp-job-{job.job.id}")
    await job.log(f"job {made.id} reads and keeps its configuration")
