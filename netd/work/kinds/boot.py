"""``ztp.finish``: what follows a device's first file. netd logs in, gives it its whole configuration, and looks whether it is what was expected.

It may be begun again at any point: each step looks at what is there already. What cannot be put right by trying again puts the device into quarantine;
what netd cannot find out at all leaves it configured, with the reason. ``again``: a verified one is configured anew, and stays verified whatever comes of it.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from netd.domain import booting, certificates, expected, facts, finishing, jobs, verification
from netd.domain.actor import Actor
from netd.domain.certificates import Held
from netd.domain.devices import Catalogue
from netd.domain.facts import Observation
from netd.domain.jobs import NewJob
from netd.domain.kinds import JobContext, Kind, Reach, Subject
from netd.domain.redact import Redactor
from netd.errors import Conflict, ExtensionError, InvalidInput, JobFailed, NotYet, PeerError, PeerUnreachable, TooOften, TryAgain, Undecided
from netd.model.boot import ExpectedDevice
from netd.model.inventory import Device
from netd.model.target import Credential
from netd.sdk.device import Configure, Inspect
from netd.sdk.dialogue import Dialogue, Put
from netd.sdk.shell import FINE
from netd.store.database import Connection
from netd.store.expected import Delivery
from netd.work.kinds import configurations
from netd.work.kinds.devices import Devices
from netd.work.kinds.tools import Tools
from netd.work.kinds.verifying import Found, Verifying, pins
from netd.work.sessions import Opened

ATTEMPTS: Final = 100
QUICK: Final = 40
"""So many attempts come as soon as ``boot.login_retry_seconds`` allows, the others so that all of them last as long as netd has patience: a device restarts
with what it fetched within minutes, and one that is told an image loads, installs and starts it before."""


class Finish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which expected device; ``again``, where it is verified: configure it anew, with another certificate if ``renew``."""

    ztp_device_id: int
    again: bool = False
    renew: bool = False


async def reach(conn: Connection, actor: Actor, order: Finish) -> Reach:
    """One job for a device at a time."""
    await expected.held(conn, actor, order.ztp_device_id)
    key = f"ztp:{order.ztp_device_id}"
    return Reach(lock_keys=(key,), unique_key=key)


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""

    async def finish(job: JobContext, order: Finish) -> dict[str, Any]:
        delivery = await finishing.delivery(tools.owner, job.job.tenant_id, order.ztp_device_id)  # before the device: what changes after this is noticed
        device = await finishing.held(tools.owner, job.job.tenant_id, order.ztp_device_id)
        if device.state == "verified" and not order.again:
            return {"state": "verified"}
        if device.state not in ("configured", "verified") and not (device.state == "fetching" and delivery.presumed_at):
            raise JobFailed(f"it is {device.state}: there is nothing to finish")
        if not await finishing.serves(tools.owner, device):
            raise JobFailed(f"its subscriber {device.subscriber or ''} has no service")
        work = _Work(tools, job, device, order, delivery)
        pause = work.pause_seconds()
        last = pause is None
        try:
            return await work.done()
        except Undecided as error:
            if error.seconds is not None and not last:
                raise TryAgain(str(error), error.seconds) from None
            await finishing.waits(tools.owner, device, delivery.generation, tools.now(), str(error))
            raise JobFailed(str(error)) from None
        except PeerUnreachable as error:
            if pause is not None:
                raise TryAgain(str(error), pause) from None
            reason = f"netd does not get into it: {error}"
        except NotYet as error:
            reason = str(error)
            if pause is not None and device.state != "verified":
                raise TryAgain(reason, pause) from None
        except TooOften as error:  # this machine is busy, which says nothing of the device
            raise TryAgain(str(error), pause or error.retry_seconds) from None
        except (PeerError, InvalidInput, Conflict, ExtensionError, JobFailed) as error:
            reason = str(error)
        reason = work.told.text(reason)
        await (finishing.waits if device.state == "verified" else finishing.quarantined)(tools.owner, device, delivery.generation, tools.now(), reason)
        raise JobFailed(reason)

    return (
        Kind(
            name=booting.FINISH, title="Finish a device that has booted, and look whether it is what was expected", args=Finish, run=finish,
            permission="ztp:write", idempotent=True, timeout_seconds=1800, at_once=20, max_attempts=ATTEMPTS, reach=reach,
        ),
    )  # fmt: skip


class _Work:
    """One attempt at a device. ``told`` takes out of a reason what the device may have quoted of what it was sent."""

    def __init__(self, tools: Tools, job: JobContext, device: ExpectedDevice, order: Finish, delivery: Delivery) -> None:
        self.told = Redactor()
        self._tools = tools
        self._job = job
        self._device = device
        self._order = order
        self._delivery = delivery
        self._devices = Devices(tools)

    def hide(self, *secrets: str) -> None:
        """Never let these out."""
        self._job.hide(*secrets)
        self.told.add(secrets)

    def pause_seconds(self) -> float | None:
        """How long the device is left alone before the next attempt; None if this is the last."""
        tools, job, device = self._tools, self._job.job, self._device
        patience = tools.upgrade_patience_seconds if device.image is not None else tools.boot_patience_seconds
        begun = [job.created_at, self._delivery.delivered_at or job.created_at, *([] if device.state == "verified" else [device.state_at])]
        if job.attempt >= job.max_attempts or (tools.now() - max(begun)).total_seconds() >= patience:
            return None
        return tools.boot_retry_seconds if job.attempt <= QUICK else max(tools.boot_retry_seconds, patience / (ATTEMPTS - QUICK))

    @property
    def _typed(self) -> bool:
        """Whether it has its configuration already, and nothing of what it was sent came after that."""
        typed, delivered, device = self._delivery.typed_at, self._delivery.delivered_at, self._device
        return device.state != "verified" and typed is not None and typed > device.state_at and (delivered is None or typed > delivered)

    async def done(self) -> dict[str, Any]:
        """Do what is left; returns what shows that it is done."""
        tools, device = self._tools, self._device
        platforms = self._devices.sessions.platforms
        catalogue = Catalogue(frozenset(each.vendor for each in platforms.values()) | {device.vendor}, platforms)
        record = await finishing.record(tools.owner, device, catalogue)
        async with self._job.alone(Subject(f"device:{record.id}", record.hostname)):  # from one session to the next it is no other job's
            return await self._of(record)

    async def _of(self, record: Device) -> dict[str, Any]:
        tools, device = self._tools, self._device
        if device.state != "verified" and (self._job.job.attempt == 1 or device.image is not None):  # new software may have made a new key
            record = await finishing.forget_host_key(tools.owner, device, record)
        first = await finishing.first_login(tools.owner, tools.keyring, device, record)
        certificate = await self._certificate(record)
        lines = await self._lines(record, certificate)
        verifying = Verifying(tools, self._devices, device, record, self.hide, first, self._job.job.attempt)
        if lines and self._typed:
            await verifying.runs_it()  # else it is told all of it again with every attempt while it loads its image
        if certificate is not None and device.certificate_folder is not None:
            await self._put(record, first, finishing.files(device, certificate))
        if lines:
            await self._configure(record, first, lines)
        found = await verifying.look(typed=bool(lines))
        evidence = {**found.evidence, "address": str(record.mgmt_address), **_shown(certificate)}
        await self._concluded(record, found, evidence, certificate)
        return {"state": "verified", **evidence}

    async def _certificate(self, record: Device) -> Held | None:
        if self._device.certificate is None:
            return None
        tools = self._tools
        names = [self._device.hostname, str(record.mgmt_address)]
        held = await certificates.held(tools.owner, tools.keyring, self._device, names, tools.now(), tools.terms, anew=self._order.renew)
        self.hide(held.key)
        return held

    async def _lines(self, record: Device, certificate: Held | None) -> list[str]:
        tools = self._tools
        radius = await finishing.nas_secret(tools.owner, tools.keyring, self._device, record)
        lines, hidden = await finishing.lines(tools.owner, tools.keyring, tools.renderer, self._device, record, radius, certificate)
        self.hide(*hidden)
        return lines

    async def _put(self, record: Device, first: Sequence[Credential], files: Sequence[tuple[str, bytes]]) -> None:
        async def work(opened: Opened) -> None:
            await self._is_it(opened)
            await opened.run(_puts(files))

        await self._devices.sessions.run(record.tenant_id, record.id, work, hide=self.hide, first=first, pin=pins(self._device))
        await self._job.log(f"certificate, key and authority are in {self._device.certificate_folder}")

    async def _configure(self, record: Device, first: Sequence[Credential], lines: list[str]) -> None:
        async def work(opened: Opened) -> None:
            driver = opened.able(Configure)
            await self._is_it(opened)
            for line, outcome, said in await opened.run(driver.configure(lines)):
                if outcome not in FINE:
                    raise JobFailed(f"it does not take {line!r}: {outcome.value}{f', {said}' if said else ''}")
            await opened.run(driver.save())
            await finishing.typed(self._tools.owner, self._device, self._tools.now())

        await self._devices.sessions.run(record.tenant_id, record.id, work, hide=self.hide, first=first, pin=pins(self._device))
        await self._job.log(f"{len(lines)} lines of configuration are in, and saved")

    async def _is_it(self, opened: Opened) -> None:
        """Whether the device in the session says that it is another one: it is told no secret that lasts then. Raises JobFailed."""
        if self._device.serial is None or not isinstance(opened.driver, Inspect):
            return
        found = verification.compare(self._device, await opened.run(opened.driver.facts()))
        if found.another:
            raise JobFailed("; ".join(found.wrong))

    async def _concluded(self, record: Device, found: Found, evidence: dict[str, Any], certificate: Held | None) -> None:
        tools, device = self._tools, self._device
        if found.source is not None:
            seen = Observation(device_id=record.id, source=found.source, at=tools.now(), facts=found.facts, platform=found.platform)
            await facts.take(tools.owner, device.tenant_id, [seen])
        if certificate is not None:
            await certificates.installed(tools.owner, certificate, tools.now())
        if device.state == "verified":
            await finishing.configured_anew(tools.owner, device, self._delivery.generation, tools.now(), evidence)
        else:
            await finishing.verified(tools.owner, device, self._delivery.generation, tools.now(), evidence)
        if found.source == "cli":
            await _backed_up(tools, self._job, record)


def _puts(files: Sequence[tuple[str, bytes]]) -> Dialogue[None]:
    for path, content in files:
        yield Put(path=path, content=content, private=True)


def _shown(certificate: Held | None) -> dict[str, Any]:
    if certificate is None:
        return {}
    found = certificate.certificate
    return {"certificate": found.serial, "certificate_not_after": found.not_after.isoformat()}


async def _backed_up(tools: Tools, job: JobContext, record: Device) -> None:
    """Let its configuration be kept; a job of its own, for what fails there is not the device's boot."""
    actor = booting.netd(record.tenant_id)
    kind = next(each for each in configurations.kinds(tools) if each.name == "config.backup")
    async with tools.owner.transaction() as conn:
        new = NewJob(kind=kind.name, args={"devices": [record.hostname]})
        made = await jobs.submit_in(conn, jobs.confined(actor, kind), tools.keyring, kind, new, tools.now(), idempotency_key=f"ztp-job-{job.job.id}")
    await job.log(f"job {made.id} reads and keeps its configuration")
