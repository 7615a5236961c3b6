"""Certificates that are good no longer before their end, and the lists that their authorities sign of them: for whoever a device shows its certificate to."""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from netd.domain import audit, bootrights, certificates, inputs, pki
from netd.domain.actor import Actor
from netd.domain.pki import Pair
from netd.errors import Conflict, NotFound, StoreUnavailable
from netd.keyring import Keyring
from netd.model.certificate import Authority, Certificate, RevocationList, RevocationReason
from netd.store import certificates as store
from netd.store import expected as expected_store
from netd.store.database import Database

LIST_DAYS: Final = 7
"""So long a list is good; a newer one is signed as soon as it is a day old, or something was revoked."""

MADE_ANEW: Final = timedelta(days=1)
_NAME: Final = re.compile(r"([0-9a-f]{64})\.crl")


class Revoke(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a certificate is good no longer."""

    reason: RevocationReason = "unspecified"


async def revoke(db: Database, actor: Actor, row_id: int, wanted: Revoke, now: datetime) -> Certificate:
    """Say that a certificate is good no longer. Its device gets another one the next time that it is configured. Raises NotFound; OutsideScope for who does
    not manage the device; Conflict if it is revoked, or has ended, or its authority may sign no lists."""
    async with db.transaction(actor.scope) as conn:
        found = await store.get(conn, actor.tenant_id, row_id) if 0 < row_id <= inputs.ROW_ID_MAX else None
        if found is None:
            raise NotFound("certificate", row_id)
        bootrights.check(actor, {"certificate": found.algorithm}, await expected_store.site_of(conn, actor.tenant_id, found.ztp_device_id))
        authority = await store.authority(conn, actor.tenant_id, found.authority_id)
        if found.not_after <= now:
            raise Conflict(f"it ended at {found.not_after:%Y-%m-%d}", "not_after")
        if authority is None or not pki.signs_lists(authority.certificate):
            raise Conflict("its authority may not sign lists of revoked certificates", "authority_id")
        if not await store.revoke(conn, actor.tenant_id, found, wanted.reason, actor.name, now):
            raise Conflict("it is revoked already", "revoked_at")
        told = {"serial": found.serial, "hostname": found.hostname, "reason": wanted.reason}
        await audit.record(conn, actor, "certificate.revoke", "certificate", found.id, after=told)
        after = await store.get(conn, actor.tenant_id, row_id)
    assert after is not None
    return after


class Signed(NamedTuple):
    """A list in DER, and what it was made of."""

    octets: bytes
    number: int
    revoked: int
    standing: int
    this_update: datetime
    next_update: datetime


class Lists:
    """The newest list of each authority that somebody asked for, in memory. ``database`` is the daemon's own: lists are for everybody. ``server`` is where
    the boot server is by HTTP, "" where it is not."""

    def __init__(self, database: Database, keyring: Keyring, now: Callable[[], datetime], server: str) -> None:
        self._database = database
        self._keyring = keyring
        self._now = now
        self._server = server
        self._kept: dict[str, Signed] = {}  # by the authority's fingerprint
        self._one = asyncio.Lock()

    async def named(self, name: str) -> bytes:
        """The list of that file name. Raises NotFound, StoreUnavailable."""
        known = _NAME.fullmatch(name)
        if known is None:
            raise NotFound("list", name)
        try:
            async with self._database.transaction() as conn:
                found = await store.authority_of(conn, known[1])
            if found is None:
                raise NotFound("list", name)
            return (await self._of(found)).octets
        except StoreUnavailable:
            kept = self._kept.get(known[1])
            if kept is None or kept.next_update <= self._now():
                raise
            return kept.octets  # it is good yet, and better than none

    async def shown(self, db: Database, actor: Actor, authority_id: int) -> RevocationList:
        """The list of one of the actor's authorities. Raises NotFound; Conflict if it has ended or may sign no lists."""
        authority = await certificates.authority(db, actor, authority_id)
        try:
            signed = await self._of(authority)
        except NotFound:
            raise Conflict("it has ended, or may not sign lists of revoked certificates", "not_after") from None
        return RevocationList(
            authority_id=authority.id, number=signed.number, this_update=signed.this_update, next_update=signed.next_update, revoked=signed.revoked,
            crl=pki.armoured(signed.octets), url=certificates.list_url(self._server, authority),
        )  # fmt: skip

    async def _of(self, authority: Authority) -> Signed:
        now = self._now()
        if authority.not_after <= now or not pki.signs_lists(authority.certificate):
            raise NotFound("list", authority.fingerprint)
        async with self._one:  # who asks meanwhile waits for the same list
            async with self._database.transaction() as conn:
                standing = await store.standing(conn, authority.fingerprint)
                kept = self._kept.get(authority.fingerprint)
                if kept is not None and kept.standing == standing and timedelta() <= now - kept.this_update < MADE_ANEW:
                    return kept
                key = self._keyring.open(await store.key(conn, authority.tenant_id, "certificate_authorities", authority.id), certificates.AUTHORITY_CONTEXT)
                revoked = await store.revoked(conn, authority.fingerprint, now)
                number = await store.next_list(conn, authority.fingerprint)
            until = now + timedelta(days=LIST_DAYS)
            octets = await asyncio.to_thread(pki.revocation_list, Pair(authority.certificate, key.decode()), number, revoked, now, until)
            self._kept[authority.fingerprint] = made = Signed(octets, number, len(revoked), standing, now, until)
        return made
