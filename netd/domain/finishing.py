"""What is left to do of a device that has booted: its record, its NAS entry, what its configuration is rendered from, and whether it is what was expected."""

import secrets
from datetime import datetime
from typing import Any, Final

from netd.config import Secret
from netd.domain import audit, bootfile, booting, boottokens, devices, nas, targets, templates
from netd.domain.booting import BOOT_USER
from netd.domain.boottokens import SECRET_CONTEXT
from netd.domain.devices import Catalogue, NewDevice
from netd.domain.inputs import Faults
from netd.domain.nas import NewNas
from netd.domain.rendering import Renderer
from netd.errors import NotFound
from netd.keyring import Keyring
from netd.model.boot import ExpectedDevice
from netd.model.device import Facts
from netd.model.inventory import Device
from netd.model.target import Credential, HttpLogin, SnmpCommunity, SnmpUser, SshLogin, TelnetLogin
from netd.store import devices as device_store
from netd.store import expected as store
from netd.store import nas as nas_store
from netd.store.boot import Advance
from netd.store.database import Connection, Database

BOOT_CREDENTIAL: Final = 0
"""The id of the login that the first file makes: none of the store's."""


async def record(db: Database, expected: ExpectedDevice, catalogue: Catalogue) -> Device:
    """The device's record at the address where it is now; made if there is none. Raises InvalidInput."""
    actor = booting.netd(expected.tenant_id)
    address = str(expected.address_now or expected.address or "")
    async with db.transaction() as conn:
        found = expected.device_id or await device_store.id_by_hostname(conn, expected.tenant_id, expected.hostname)
        if found is None:
            new = NewDevice(
                hostname=expected.hostname, mgmt_address=address, vendor=expected.vendor, platform=expected.platform, serial=expected.serial,
                site=expected.site, role=expected.role, variables=dict(expected.variables), target_version=expected.target_version,
                credential=expected.credential,
            )  # fmt: skip
            device = await devices.add(conn, actor, new, catalogue)
        else:
            device = await devices.held(conn, actor, found, lock=True)
            wanted: dict[str, Any] = {"mgmt_address": address, "state": "active"}
            for name in ("platform", "serial", "role", "target_version", "credential"):
                if getattr(expected, name) is not None:
                    wanted[name] = getattr(expected, name)
            faults = Faults()
            columns = await devices.referred(conn, actor, faults, devices.parsed(wanted, catalogue, faults), device)
            device = await devices.change(conn, actor, device, columns)
        if expected.device_id != device.id:
            await store.update(conn, expected.tenant_id, expected.id, {"device_id": device.id})
    return device


async def forget_host_key(db: Database, expected: ExpectedDevice, device: Device) -> Device:
    """A device that boots anew shows a new host key: the pinned one is of its life before. Said in the audit log like any change."""
    actor = booting.netd(expected.tenant_id)
    async with db.transaction() as conn:
        held = await devices.held(conn, actor, device.id, lock=True)
        return held if not held.host_keys else await devices.change(conn, actor, held, {"host_keys": []})


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
    password = boottokens.password(keyring.open(sealed, SECRET_CONTEXT), generation)
    return Credential(id=BOOT_CREDENTIAL, name="the boot account", login=SshLogin(username=BOOT_USER, password=Secret(password)), port=device.ports.get("ssh"))


async def lines(
    db: Database, keyring: Keyring, renderer: Renderer, expected: ExpectedDevice, device: Device, radius_secret: str
) -> tuple[list[str], list[str]]:
    """The configuration that follows the first file, and the secrets that stand in it: its credentials' and its NAS's. Raises InvalidInput."""
    async with db.transaction() as conn:
        library = await templates.library(conn, expected.tenant_id)
        logins = [each.login for each in (await targets.within(conn, keyring, expected.tenant_id, [device.id]))[device.id].credentials]
    context: dict[str, Any] = {
        "hostname": expected.hostname, "serial": expected.serial or "", "model": expected.seen.get("model", ""),
        "address": str(device.mgmt_address), "role": expected.role or "", "site": expected.site or "", "boot_user": BOOT_USER, "nas_secret": radius_secret,
    }  # fmt: skip
    hidden = [radius_secret] if radius_secret else []
    for login in reversed(logins):  # the first of a kind is the one that counts
        for name, value in _told(login).items():
            context[name] = value
    hidden += [str(context[name]) for name in _SECRETS if context.get(name)]
    text = await bootfile.rendered(renderer, library, expected, "configuration", context)
    if text is None:
        return [], []
    return [line.rstrip() for line in text.splitlines() if line.strip()], hidden


_SECRETS: Final = ("password", "enable", "snmp_community", "snmp_auth_key", "snmp_priv_key")


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


def differences(expected: ExpectedDevice, facts: Facts) -> list[str]:
    """What the device is otherwise than it should be; none: it is the one. A device that does not tell its serial number is not proved to be another."""
    found = []
    if expected.serial and facts.serial and expected.serial.upper() != facts.serial.upper():
        found.append(f"its serial number is {facts.serial}, not {expected.serial}")
    if expected.target_version and facts.software_version != expected.target_version:
        found.append(f"it runs {facts.software_version or 'an unknown version'}, not {expected.target_version}")
    return found


async def verified(db: Database, expected: ExpectedDevice, now: datetime, evidence: dict[str, Any]) -> bool:
    """It is what was expected: its URLs and boot account are good for nothing from now on."""
    async with db.transaction() as conn:
        moved = await booting.advance(conn, [Advance(expected.id, expected.tenant_id, "verified", "verified", now, evidence)])
        if moved:
            await store.spend(conn, expected.tenant_id, expected.id)
            await audit.record(conn, booting.netd(expected.tenant_id), "ztp_device.verify", "ztp_device", expected.id, after=evidence)
    return bool(moved)


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
