"""A device that follows its subscriber: it may boot while the subscriber has service, and is configured anew when what it is told of that changes.

It is looked at how things stand, never what happened: whoever changed a subscriber or plan, one by one or by the hundred thousand, wrote a row of the
change feed with it; and a node that begins looks at all that may have been left (:func:`netd.store.boot.behind`). So nothing is missed, and nothing is
begun twice: what was begun stands in the row of the device, written with the job.
"""

from datetime import datetime
from typing import Any

from netd.domain import audit, booting
from netd.domain import service as services
from netd.domain.booting import Places
from netd.domain.boottokens import SECRET_CONTEXT
from netd.domain.kinds import Kinds
from netd.domain.service import Service
from netd.keyring import Keyring
from netd.model.boot import ExpectedDevice
from netd.store import boot as boot_store
from netd.store import expected as store
from netd.store.boot import Advance
from netd.store.database import Connection


async def follow(conn: Connection, kinds: Kinds, keyring: Keyring, places: Places, ztp_device_id: int, now: datetime) -> bool:
    """Look at one device, of whatever tenant; False: it has to be looked at again, for a job is at it. Raises StoreError for a secret that does not open."""
    tenant_id = await boot_store.whose(conn, ztp_device_id)
    device = None if tenant_id is None else await store.get(conn, tenant_id, ztp_device_id)
    if device is None:
        return True
    serves = await store.serves(conn, device.tenant_id, device.id)
    service = await services.of(conn, keyring, device.tenant_id, device.subscriber_id)
    if serves != device.armed:
        await _armed(conn, device, service, now) if serves else await _disarmed(conn, device, service, now)
    if not serves:
        return True
    known, since = await store.configured_with(conn, device.tenant_id, device.id)
    if device.state in ("expected", "seen") and (since is None or not device.armed):
        await _found(conn, kinds, keyring, places, device, now)
    if device.state != "verified" or service is None:
        return True
    sealed, _ = await store.secret(conn, device.tenant_id, device.id)
    digest = service.digest(keyring.open(sealed, SECRET_CONTEXT))
    if digest == known:
        return True
    if device.configuration is not None or device.role is not None:
        if not await booting.finish(conn, kinds, keyring, device.tenant_id, device.id, now, again=True):
            return False
        await _note(conn, device, "service_changed", now, {"subscriber": service.username, "plan": service.variables["plan"]})
    await store.configured_for(conn, device.tenant_id, device.id, digest)
    return True


async def overdue(conn: Connection, kinds: Kinds, keyring: Keyring, tenant_id: int, ztp_device_id: int, now: datetime) -> None:
    """Configure a verified device anew of which something was left undone, or whose certificate ends soon; tried once a day."""
    if await boot_store.whose(conn, ztp_device_id) == tenant_id and await booting.finish(conn, kinds, keyring, tenant_id, ztp_device_id, now, again=True):
        known, _ = await store.configured_with(conn, tenant_id, ztp_device_id)
        await store.configured_for(conn, tenant_id, ztp_device_id, known)


async def _armed(conn: Connection, device: ExpectedDevice, service: Service | None, now: datetime) -> None:
    """It may boot from now on, as long as it could have from its making on: the time that it waited does not count."""
    columns: dict[str, Any] = {"armed": True}
    if device.opens_at < now:  # moved whole, so that it is no longer the next time
        columns |= {"opens_at": now, "closes_at": now + (device.closes_at - device.opens_at)}
    await _switched(conn, device, service, columns, now)


async def _disarmed(conn: Connection, device: ExpectedDevice, service: Service | None, now: datetime) -> None:
    """It gets no file any more: what it was told is good no longer."""
    await store.spend(conn, device.tenant_id, device.id)
    await _switched(conn, device, service, {"armed": False}, now)


async def _switched(conn: Connection, device: ExpectedDevice, service: Service | None, columns: dict[str, Any], now: datetime) -> None:
    step = "armed" if columns["armed"] else "disarmed"
    await store.update(conn, device.tenant_id, device.id, columns)
    evidence = {} if service is None else {"subscriber": service.username, "state": service.state, "plan": service.variables["plan"]}
    await _note(conn, device, step, now, evidence)
    await booting.tell(conn, device.tenant_id, device.id, step, evidence)
    actor = booting.netd(device.tenant_id)
    await audit.record(conn, actor, f"ztp_device.{step.removesuffix('ed')}", "ztp_device", device.id, after={"armed": columns["armed"], **evidence})


async def _found(conn: Connection, kinds: Kinds, keyring: Keyring, places: Places, device: ExpectedDevice, now: datetime) -> None:
    """Begin with a device that is there already: one that the inventory has, or that has an address and fetches nothing. Another one that has an address,
    or came unexpected before, is seen, and begins with its next packet."""
    tenant_id = device.tenant_id
    await store.configured_for(conn, tenant_id, device.id, None)
    candidate = await store.candidate_like(conn, tenant_id, device.id)
    if candidate is not None:
        await store.set_candidate(conn, tenant_id, candidate.id, "adopted", device.id)
        seen = {"candidate": candidate.id, "last_seen_at": candidate.last_seen_at.isoformat()}
        await booting.advance(conn, [Advance(device.id, tenant_id, "seen", "seen", now, seen, None, candidate.said)])
    where = await store.whereabouts(conn, tenant_id, device.id)
    if where is None or not device.opens_at <= now < device.closes_at:
        return
    evidence = {"by": where.by, "address": str(where.address)}
    if where.by == "lease" and places.kind(device.profile) != "none":
        await booting.advance(conn, [Advance(device.id, tenant_id, "seen", "seen", now, {**evidence, "waits": "it fetches its file when it restarts"})])
        return
    if where.device_id is not None:
        await store.update(conn, tenant_id, device.id, {"device_id": where.device_id})
    if await booting.advance(conn, [Advance(device.id, tenant_id, "configured", "found", now, evidence, str(where.address))]):
        await booting.finish(conn, kinds, keyring, tenant_id, device.id, now)


async def _note(conn: Connection, device: ExpectedDevice, step: str, now: datetime, evidence: dict[str, Any]) -> None:
    await boot_store.note(conn, Advance(device.id, device.tenant_id, None, step, now, evidence))
