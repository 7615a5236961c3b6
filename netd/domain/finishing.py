"""What is left to do of a device that has booted: its record, its NAS entry, what its configuration is rendered from, and what becomes of it."""

import secrets
from datetime import datetime
from typing import Any, Final

from netd.config import Secret
from netd.domain import audit, bootfile, booting, boottokens, devices, nas, targets, templates
from netd.domain import service as services
from netd.domain.booting import BOOT_USER
from netd.domain.boottokens import SECRET_CONTEXT
from netd.domain.certificates import Held
from netd.domain.devices import Catalogue, NewDevice
from netd.domain.inputs import Faults
from netd.domain.nas import NewNas
from netd.domain.rendering import Renderer
from netd.errors import Conflict, NotFound
from netd.keyring import Keyring
from netd.model.boot import ExpectedDevice
from netd.model.inventory import Device
from netd.model.target import Credential, HttpLogin, SnmpCommunity, SnmpUser, SshLogin, TelnetLogin
from netd.store import boot as boot_store
from netd.store import devices as device_store
from netd.store import expected as store
from netd.store import nas as nas_store
from netd.store.boot import Advance
from netd.store.database import Connection, Database
from netd.store.expected import Delivery

BOOT_CREDENTIAL: Final = 0
"""The id of the login that the first file makes: none of the store's."""


async def record(db: Database, expected: ExpectedDevice, catalogue: Catalogue) -> Device:
    """The device's record at the address where it is now; made if there is none. Raises InvalidInput, Conflict."""
    actor = booting.netd(expected.tenant_id)
    address = str(expected.address_now or expected.address or "")
    async with db.transaction() as conn:
        if expected.state == "verified" and expected.device_id is not None:  # what it is by now is an operator's to say
            return await devices.held(conn, actor, expected.device_id)
        found = expected.device_id or await device_store.id_by_hostname(conn, expected.tenant_id, expected.hostname)
        chosen = True
        if found is None:
            new = NewDevice(
                hostname=expected.hostname, mgmt_address=address, vendor=expected.vendor, platform=expected.platform, serial=expected.serial,
                site=expected.site, role=expected.role, variables=dict(expected.variables), target_version=expected.target_version,
                credential=expected.credential, subscriber=expected.subscriber,
            )  # fmt: skip
            device = await devices.add(conn, actor, new, catalogue)
        else:
            device = await devices.held(conn, actor, found, lock=True)
            if expected.site_addressed and not device.site_addressed and (expected.site is None or device.site != expected.site):
                raise Conflict(f"the device {device.hostname} is not for who expects this one to change", "hostname")
            chosen = device.site_addressed or str(device.mgmt_address) != address
            wanted: dict[str, Any] = {"mgmt_address": address, "state": "active"}
            for name in ("platform", "serial", "role", "target_version", "credential", "subscriber"):
                if getattr(expected, name) is not None:
                    wanted[name] = getattr(expected, name)
            faults = Faults()
            columns = await devices.referred(conn, actor, faults, devices.parsed(wanted, catalogue, faults), device)
            device = await devices.change(conn, actor, device, columns)
        if expected.site_addressed and chosen:  # whoever expects it chose where it is
            await device_store.update(conn, expected.tenant_id, device.id, {"site_addressed": True})
            device = await devices.held(conn, actor, device.id)
        if expected.device_id != device.id:
            await store.update(conn, expected.tenant_id, expected.id, {"device_id": device.id})
    return device


async def forget_host_key(db: Database, expected: ExpectedDevice, device: Device) -> Device:
    """A device that boots anew shows a new host key and certificate: the pinned ones are of its life before. Said in the audit log like any change. One
    that was found, and did not boot, keeps them."""
    actor = booting.netd(expected.tenant_id)
    async with db.transaction() as conn:
        held = await devices.held(conn, actor, device.id, lock=True)
        if not (held.host_keys or held.certificates) or await store.found_by(conn, expected.tenant_id, expected.id) == "device":
            return held
        return await devices.change(conn, actor, held, {"host_keys": [], "certificates": []})


async def first_login(db: Database, keyring: Keyring, expected: ExpectedDevice, device: Device) -> list[Credential]:
    """The login that its first file made; none where it has booted long since. Raises StoreError."""
    if expected.state == "verified":
        return []
    async with db.transaction() as conn:
        there = await store.found_by(conn, expected.tenant_id, expected.id) == "device"
    return [] if there else [await boot_login(db, keyring, expected, device)]


async def nas_secret(db: Database, keyring: Keyring, expected: ExpectedDevice, device: Device) -> str:
    """The secret that the device shares with RADIUS, "" where it is no NAS; its entry is made if there is none. Raises Conflict, InvalidInput."""
    if not expected.make_nas:
        return ""
    actor = booting.netd(expected.tenant_id)
    if device.nas is None:
        new = NewNas(name=expected.hostname[:64], address=str(device.mgmt_address), secret=secrets.token_hex(16), vendor=device.vendor, site=expected.site)
        made = await nas.create(db, actor, keyring, new, (device.vendor,))
        async with db.transaction() as conn:
            held = await devices.held(conn, actor, device.id, lock=True)
            await devices.change(conn, actor, held, {"nas_id": made.id})
        nas_id = made.id
    else:
        nas_id = (await nas.by_name(db, actor, device.nas)).id
    async with db.transaction() as conn:
        return keyring.open(await nas_store.sealed_secret(conn, expected.tenant_id, nas_id), nas.SECRET_CONTEXT).decode()


async def boot_login(db: Database, keyring: Keyring, expected: ExpectedDevice, device: Device) -> Credential:
    """What the first file lets netd in with. Raises StoreError."""
    async with db.transaction() as conn:
        sealed, generation = await store.secret(conn, expected.tenant_id, expected.id)
        sent = (await store.delivery(conn, expected.tenant_id, expected.id)).sent_generation
    password = boottokens.password(keyring.open(sealed, SECRET_CONTEXT), generation if sent is None else sent)
    return Credential(id=BOOT_CREDENTIAL, name="the boot account", login=SshLogin(username=BOOT_USER, password=Secret(password)), port=device.ports.get("ssh"))


async def lines(
    db: Database, keyring: Keyring, renderer: Renderer, expected: ExpectedDevice, device: Device, radius_secret: str, certificate: Held | None = None
) -> tuple[list[str], list[str]]:
    """The configuration that follows the first file, and the secrets that stand in it: its credentials', its NAS's and its subscriber's. From now on it is
    configured with what its subscriber is told now. Raises InvalidInput."""
    async with db.transaction() as conn:
        library = await templates.library(conn, expected.tenant_id)
        logins = [each.login for each in (await targets.within(conn, keyring, expected.tenant_id, [device.id]))[device.id].credentials]
        service = await services.of(conn, keyring, expected.tenant_id, expected.subscriber_id)
        sealed, _ = await store.secret(conn, expected.tenant_id, expected.id)
        digest = None if service is None else service.digest(keyring.open(sealed, SECRET_CONTEXT))
        await store.configured_for(conn, expected.tenant_id, expected.id, digest)
    context: dict[str, Any] = {
        "hostname": expected.hostname, "serial": expected.serial or "", "model": expected.seen.get("model", ""),
        "address": str(device.mgmt_address), "role": expected.role or "", "site": expected.site or "", "boot_user": BOOT_USER, "nas_secret": radius_secret,
        "subscriber": None if service is None else service.variables, "subscriber_password": "" if service is None else service.password or "",
        **_certified(expected, certificate),
    }  # fmt: skip
    for login in reversed(logins):  # the first of a kind is the one that counts
        for name, value in _told(login).items():
            context[name] = value
    hidden = [str(context[name]) for name in _SECRETS if context.get(name)]
    text = await bootfile.rendered(renderer, library, expected, "configuration", context)
    if text is None:
        return [], hidden
    return [line.rstrip() for line in text.splitlines() if line.strip()], hidden


async def foreseen(
    renderer: Renderer, library: templates.Library, expected: ExpectedDevice, address: str, subscriber: dict[str, Any] | None
) -> str:  # fmt: skip
    """The configuration that will follow the first file, "" if none will, with the names of secrets in their places: ``<password>``. What stands in a
    credential is taken to be there. Raises InvalidInput for what does not render, Conflict."""
    named = (*_TOLD, *(("certificate_pem", "certificate_key_pem", "ca_pem") if expected.certificate else ()))
    context = {
        **{name: f"<{name}>" for name in named},
        "hostname": expected.hostname, "serial": expected.serial or "", "model": expected.seen.get("model", ""), "address": address,
        "role": expected.role or "", "site": expected.site or "", "boot_user": BOOT_USER, "nas_secret": "<nas_secret>" if expected.make_nas else "",
        "subscriber": subscriber, "subscriber_password": "<subscriber_password>" if subscriber else "",
        **(paths(expected.certificate_folder) if expected.certificate and expected.certificate_folder else {}),
    }  # fmt: skip
    return await bootfile.rendered(renderer, library, expected, "configuration", context, "look") or ""


def files(expected: ExpectedDevice, certificate: Held) -> list[tuple[str, bytes]]:
    """(path on the device, content) of what a certificate comes as where it has a folder: itself, its key and its authority. The key is the second."""
    if expected.certificate_folder is None:
        return []
    texts = (certificate.certificate.certificate, certificate.key, certificate.authority)
    return [(path, text.encode()) for path, text in zip(paths(expected.certificate_folder).values(), texts, strict=True)]


def paths(folder: str) -> dict[str, str]:
    """Where the files are, by what templates call them."""
    within = folder.rstrip("/") + "/" if folder[-1] not in "/:" else folder
    return {"certificate_file": f"{within}netd.crt", "certificate_key_file": f"{within}netd.key", "ca_file": f"{within}netd-ca.crt"}


def _certified(expected: ExpectedDevice, certificate: Held | None) -> dict[str, str]:
    if certificate is None:
        return {}
    found = {"certificate_pem": certificate.certificate.certificate, "certificate_key_pem": certificate.key, "ca_pem": certificate.authority}
    return found | (paths(expected.certificate_folder) if expected.certificate_folder else {})


_TOLD: Final = (
    "username", "password", "enable", "snmp_community", "snmp_user", "snmp_auth_protocol", "snmp_auth_key", "snmp_priv_protocol", "snmp_priv_key",
)  # fmt: skip
_SECRETS: Final = ("password", "enable", "snmp_community", "snmp_auth_key", "snmp_priv_key", "nas_secret", "subscriber_password")


def _told(login: SshLogin | TelnetLogin | SnmpCommunity | SnmpUser | HttpLogin) -> dict[str, str]:
    """What a configuration may say of a login."""

    def shown(secret: Secret | None) -> str:
        return "" if secret is None else secret.reveal()

    if isinstance(login, SshLogin):
        return {"username": login.username, "password": shown(login.password), "enable": shown(login.enable)}
    if isinstance(login, SnmpCommunity):
        return {"snmp_community": shown(login.community)}
    if isinstance(login, SnmpUser):
        return {
            "snmp_user": login.username, "snmp_auth_protocol": login.auth_protocol or "", "snmp_auth_key": shown(login.auth_key),
            "snmp_priv_protocol": login.priv_protocol or "", "snmp_priv_key": shown(login.priv_key),
        }  # fmt: skip
    return {}


async def verified(db: Database, expected: ExpectedDevice, now: datetime, evidence: dict[str, Any]) -> bool:
    """It is what was expected: its URLs and boot account are good for nothing from now on."""
    async with db.transaction() as conn:
        if expected.state == "fetching":
            shown = {"by": "a log-in, for nobody said that its file had arrived"}
            await booting.advance(conn, [Advance(expected.id, expected.tenant_id, "configured", "configured", now, shown)])
        moved = await booting.advance(conn, [Advance(expected.id, expected.tenant_id, "verified", "verified", now, evidence)])
        if moved:
            await store.spend(conn, expected.tenant_id, expected.id)
            await store.update(conn, expected.tenant_id, expected.id, {"reason": None})
            await audit.record(conn, booting.netd(expected.tenant_id), "ztp_device.verify", "ztp_device", expected.id, after=evidence)
    return bool(moved)


async def configured_anew(db: Database, expected: ExpectedDevice, now: datetime, evidence: dict[str, Any]) -> None:
    """A verified device has what its subscriber, template and certificate say now."""
    async with db.transaction() as conn:
        await store.update(conn, expected.tenant_id, expected.id, {"reason": None})
        await boot_store.note(conn, Advance(expected.id, expected.tenant_id, None, "configured_anew", now, evidence))
        await booting.tell(conn, expected.tenant_id, expected.id, "configured_anew", evidence)
        await audit.record(conn, booting.netd(expected.tenant_id), "ztp_device.configure", "ztp_device", expected.id, after=evidence)


async def waits(db: Database, expected: ExpectedDevice, now: datetime, reason: str) -> None:
    """It stays what it is, configured or verified, with what is not done of it: that is no reason for a quarantine."""
    async with db.transaction() as conn:
        step = "not_configured_anew" if expected.state == "verified" else "waiting"
        await booting.waits(conn, expected.tenant_id, expected.id, now, reason, step)
        await audit.record(conn, booting.netd(expected.tenant_id), "ztp_device.wait", "ztp_device", expected.id, after={"reason": reason})


async def delivery(db: Database, expected: ExpectedDevice) -> Delivery:
    """What it has of its files."""
    async with db.transaction() as conn:
        return await store.delivery(conn, expected.tenant_id, expected.id)


async def typed(db: Database, expected: ExpectedDevice, now: datetime) -> None:
    """It got its configuration by its command line."""
    async with db.transaction() as conn:
        await store.typed(conn, expected.tenant_id, expected.id, now)


async def serves(db: Database, expected: ExpectedDevice) -> bool:
    """Whether its subscriber, if it has one, has service."""
    async with db.transaction() as conn:
        return await store.serves(conn, expected.tenant_id, expected.id)


async def quarantined(db: Database, expected: ExpectedDevice, now: datetime, reason: str) -> None:
    """Leave it alone until somebody says otherwise."""
    async with db.transaction() as conn:
        await booting.fail(conn, expected.tenant_id, expected.id, now, reason)
        await audit.record(conn, booting.netd(expected.tenant_id), "ztp_device.fail", "ztp_device", expected.id, after={"reason": reason})


async def held(db: Database, tenant_id: int, row_id: int) -> ExpectedDevice:
    """The device. Raises NotFound."""
    async with db.transaction() as conn:
        return await within(conn, tenant_id, row_id)


async def within(conn: Connection, tenant_id: int, row_id: int) -> ExpectedDevice:
    """The same within a transaction."""
    found = await store.get(conn, tenant_id, row_id)
    if found is None:
        raise NotFound("expected device", row_id)
    return found
