"""Certificates of expected devices: the tenant's authority signs them, the finishing job brings them onto the device, and renews them in time."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, lists, pki
from netd.domain.actor import Actor, system
from netd.domain.inputs import hidden
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.pki import Pair
from netd.errors import Fault, InvalidInput, NotFound
from netd.keyring import Keyring
from netd.model.boot import ExpectedDevice
from netd.model.certificate import Authority, Certificate
from netd.store import certificates as store
from netd.store.database import Connection, Database

AUTHORITY_CONTEXT: Final = b"certificate_authorities.key"
CONTEXT: Final = b"certificates.key"

LISTS: Final = "crl"
"""The boot server's folder of lists of revoked certificates."""

Pem = Annotated[str, Meta(min_length=1, max_length=65_536)]


class NewAuthority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The authority that signs from now on: an operator's (certificate and unencrypted key in PEM), or without them one that netd makes."""

    certificate: Pem | None = None
    key: Pem | None = None

    def __repr__(self) -> str:
        return hidden(self, "key")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How long certificates are good, how many days before their end they are renewed, and by which server (a URL, "": none) netd serves lists of those that
    are revoked."""

    days: int = 365
    renew_days: int = 30
    lists_at: str = ""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A device's certificate with what goes along with it onto the device. Lives in memory only."""

    certificate: Certificate
    key: str
    authority: str

    def __repr__(self) -> str:
        return f"Held({self.certificate.serial})"


AuthorityQuery = lists.query_type(store.AUTHORITIES)
CertificateQuery = lists.query_type(store.LISTING)


async def authorities(db: Database, actor: Actor, query: ListQuery) -> Page[Authority]:
    """Authorities, the one that signs first. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.AUTHORITIES, actor.tenant_id, query, store.authorities_of)


async def authority(db: Database, actor: Actor, row_id: int) -> Authority:
    """The authority. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held_authority(conn, actor, row_id)


async def create_authority(db: Database, actor: Actor, keyring: Keyring, new: NewAuthority, now: datetime) -> Authority:
    """Let another authority sign from now on; what the former one signed stays good. Raises InvalidInput; OutsideScope for who may not in the whole tenant."""
    pair = None
    if new.certificate is not None or new.key is not None:
        try:
            pair = pki.supplied(new.certificate or "", new.key or "", now)
        except ValueError as error:
            raise InvalidInput([Fault("/certificate", f"certificate and key {error}")]) from None
    async with db.transaction(actor.scope) as conn:
        await store.lock(conn, actor.tenant_id)
        return await _made(conn, actor, keyring, pair or pki.authority("netd", now), supplied=pair is not None)


async def _made(conn: Connection, actor: Actor, keyring: Keyring, pair: Pair, *, supplied: bool) -> Authority:
    columns: dict[str, Any] = {
        **pki.shown(pair.certificate)._asdict(), "supplied": supplied, "certificate": pair.certificate,
        "key": keyring.seal(pair.key.encode(), AUTHORITY_CONTEXT), "created_by": actor.name,
    }  # fmt: skip
    made = await _held_authority(conn, actor, await store.insert_authority(conn, actor.tenant_id, columns))
    await audit.record(conn, actor, "certificate_authority.create", "certificate_authority", made.id, after=_told(audit.values(made)))
    return made


async def _held_authority(conn: Connection, actor: Actor, row_id: int) -> Authority:
    found = await store.authority(conn, actor.tenant_id, row_id) if 0 < row_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("certificate authority", row_id)
    return found


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Certificate]:
    """Certificates of devices, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def get(db: Database, actor: Actor, row_id: int) -> Certificate:
    """The certificate. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        found = await store.get(conn, actor.tenant_id, row_id) if 0 < row_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("certificate", row_id)
    return found


# -- for the finishing job: ``db`` is the daemon's own ---------------------------------------------------------------------


async def held(
    db: Database, keyring: Keyring, device: ExpectedDevice, names: Sequence[str], now: datetime, terms: Terms, *, anew: bool = False
) -> Held:  # fmt: skip
    """The certificate that the device is to have: its newest one, or a new one where that ends soon, is of other names or another kind of key, or is on the
    device and one ``anew`` is wanted. The tenant's authority is made with the first one. Raises InvalidInput for names that no certificate can have."""
    assert device.certificate is not None
    if (held := await _held(db, keyring, device, names, now, terms, anew, None)) is not None:
        return held
    key = await asyncio.to_thread(pki.key, device.certificate)  # it takes its time, for which no lock is held
    held = await _held(db, keyring, device, names, now, terms, anew, key)
    assert held is not None
    return held


async def _held(
    db: Database, keyring: Keyring, device: ExpectedDevice, names: Sequence[str], now: datetime, terms: Terms, anew: bool, key: str | None
) -> Held | None:  # fmt: skip
    """The same with this ``key`` for a new one; None if one is needed and there is no key for it."""
    actor = system(device.tenant_id, "netd boot")
    async with db.transaction() as conn:
        await store.lock(conn, device.tenant_id)
        found = await store.newest(conn, device.tenant_id, device.id)
        signs = await _signer(conn, actor, keyring, now, terms)
        if found is None or _stale(found, device, names, signs, now, terms) or (anew and found.installed_at is not None):
            if key is None:
                return None
            found = await _issued(conn, actor, keyring, signs, device, names, key, now, terms)
        opened = keyring.open(await store.key(conn, device.tenant_id, "certificates", found.id), CONTEXT).decode()
        signed = await store.authority(conn, device.tenant_id, found.authority_id)
    return Held(certificate=found, key=opened, authority="" if signed is None else signed.certificate)


async def _signer(conn: Connection, actor: Actor, keyring: Keyring, now: datetime, terms: Terms) -> Authority:
    """The tenant's authority. One that netd made is followed by another as soon as what it signs would have to be renewed; an operator's by nothing but
    another of the operator's."""
    found = await store.authority(conn, actor.tenant_id)
    if found is not None and found.not_after > (now if found.supplied else now + timedelta(days=terms.renew_days)):
        return found
    if found is not None and found.supplied:
        raise InvalidInput([Fault("/certificate", f"the certification authority {found.subject} ended at {found.not_after:%Y-%m-%d}: another is needed")])
    return await _made(conn, actor, keyring, pki.authority("netd", now), supplied=False)


def _stale(found: Certificate, device: ExpectedDevice, names: Sequence[str], signs: Authority, now: datetime, terms: Terms) -> bool:
    """Whether another is needed. One that ends with the operator's authority is not replaced by one that would end with it, too."""
    ends = found.not_after <= now + timedelta(days=terms.renew_days) and signs.not_after > found.not_after
    return found.replaced_at is not None or found.revoked_at is not None or found.algorithm != device.certificate or found.names != tuple(names) or ends


async def _issued(
    conn: Connection, actor: Actor, keyring: Keyring, signs: Authority, device: ExpectedDevice, names: Sequence[str], key: str, now: datetime, terms: Terms
) -> Certificate:
    by = keyring.open(await store.key(conn, device.tenant_id, "certificate_authorities", signs.id), AUTHORITY_CONTEXT).decode()
    serial = device.serial or ""  # what it claims by DHCP is not for an authority to confirm
    try:
        pair = await asyncio.to_thread(
            pki.issue, Pair(signs.certificate, by), names, serial, key, now, terms.days, list_url(terms.lists_at, signs)
        )  # fmt: skip
    except (ValueError, UnicodeError) as error:
        raise InvalidInput([Fault("/hostname", f"cannot stand in a certificate: {error}")]) from None
    columns: dict[str, Any] = {
        **pki.shown(pair.certificate)._asdict(), "ztp_device_id": device.id, "authority_id": signs.id, "names": list(names),
        "algorithm": device.certificate, "certificate": pair.certificate, "key": keyring.seal(pair.key.encode(), CONTEXT),
    }  # fmt: skip
    made = await store.get(conn, device.tenant_id, await store.insert(conn, device.tenant_id, columns))
    assert made is not None
    await audit.record(conn, actor, "certificate.issue", "certificate", made.id, after=_told(audit.values(made)))
    return made


def list_url(server: str, authority: Authority) -> str:
    """Where the authority's list of revoked certificates is; "" where no server has it, or it may sign none."""
    return f"{server}/{LISTS}/{authority.fingerprint}.crl" if server and pki.signs_lists(authority.certificate) else ""


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """What the audit log says of it: what it is known by, not itself."""
    return {name: value for name, value in values.items() if name != "certificate"}


async def installed(db: Database, held: Held, now: datetime) -> None:
    """It is on its device."""
    found = held.certificate
    async with db.transaction() as conn:
        if await store.installed(conn, found.tenant_id, found, now):
            told = {"serial": found.serial, "fingerprint": found.fingerprint, "not_after": found.not_after.isoformat(), "hostname": found.hostname}
            await audit.record(conn, system(found.tenant_id, "netd boot"), "certificate.install", "certificate", found.id, after=told)
