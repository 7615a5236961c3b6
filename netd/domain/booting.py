"""What the parts of booting have in common: where a device's files are, steps with their events, and the job that finishes the work."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import msgspec

from netd.config import BootConfig
from netd.domain import bootfile, jobs
from netd.domain.actor import Actor, system
from netd.domain.boottokens import token
from netd.domain.jobs import NewJob
from netd.domain.kinds import Kinds
from netd.errors import Conflict
from netd.keyring import Keyring
from netd.model.boot import Purpose
from netd.model.dhcp import BootProfile, FirstFile
from netd.store import boot as store
from netd.store import events
from netd.store.boot import Advance
from netd.store.database import Connection

FINISH: Final = "ztp.finish"
BOOT_USER: Final = "netd-boot"
"""The account that a first file makes, with a password of its own; the configuration that follows takes it away."""

_NAMES: Final[Mapping[FirstFile, str]] = {"huawei_ini": "boot.ini", "python": "boot.py", "ipxe": "boot.ipxe", "sonic": "boot.json"}
_STANDARD: Final = {"http": 80, "https": 443, "tftp": 69}


def netd(tenant_id: int, address: str | None = None) -> Actor:
    """The boot server, for what it records; ``address`` is the device's."""
    actor = system(tenant_id, "netd boot")
    return actor if address is None else Actor(**{name: getattr(actor, name) for name in actor.__struct_fields__} | {"address": address})


def offered(profile: BootProfile, config: BootConfig) -> BootProfile:
    """The profile with those ways to fetch files that this netd has: HTTPS only with a certificate."""
    ways = tuple(each for each in profile.transports if each != "https" or config.certificate)
    return msgspec.structs.replace(profile, transports=ways or profile.transports)


class Places:
    """Where files are."""

    def __init__(self, config: BootConfig, profiles: Mapping[str, BootProfile]) -> None:
        self.config = config
        self._profiles = profiles

    def kind(self, profile: str) -> FirstFile:
        """What devices of the profile fetch first."""
        found = self._profiles.get(profile)
        return "none" if found is None else found.first_file

    def configures(self, profile: str) -> Purpose:
        """The file that makes netd's first account on devices of the profile."""
        return "configuration" if bootfile.has_list(self.kind(profile)) else "boot"

    def beside(self, profile: str) -> tuple[Purpose, ...]:
        """What devices of the profile fetch after their first file."""
        return ("configuration", "image") if bootfile.has_list(self.kind(profile)) else ("image",)

    def name(self, profile: str, purpose: Purpose, image: str | None = None) -> str:
        """A file's name; "" for an image that there is not."""
        if purpose == "image":
            return image or ""
        return "config.cfg" if purpose == "configuration" else _NAMES.get(self.kind(profile), "boot.cfg")

    def managed(self, profile: str) -> bool:
        """Whether devices of the profile are told an ACS, which manages them from then on (TR-069)."""
        found = self._profiles.get(profile)
        return found is not None and "acs_url" in found.variables

    def host(self, version: int) -> str:
        """What a device that has an address of this IP version reaches this node by, "" if there is nothing."""
        host = (self.config.host6 if version == 6 else "") or self.config.host
        try:
            return host if ip_address(host).version == version else ""
        except ValueError:  # a name: it may have addresses of both
            return host

    def server(self, transport: str, version: int) -> str:
        """scheme://host:port for a device that has an address of this IP version."""
        host = self.host(version) or self.config.host
        if ":" in host:
            host = f"[{host}]"
        port = {"http": self.config.http_port, "https": self.config.https_port, "tftp": self.config.tftp_port}[transport]
        return f"{transport}://{host}" + ("" if port == _STANDARD[transport] else f":{port}")

    def lists_at(self) -> str:
        """The server that has lists of revoked certificates, "" where this node serves no files."""
        return self.server("http", 4) if self.config.enabled else ""

    def path(self, profile: str, secret: bytes, generation: int, purpose: Purpose, address: IPv4Address | IPv6Address, image: str | None = None) -> str:
        """A file's path on the server, "" where the device has none of that purpose."""
        name = self.name(profile, purpose, image)
        return f"{token(secret, generation, purpose, address)}/{name}" if name else ""


async def advance(conn: Connection, steps: Sequence[Advance]) -> set[tuple[int, str]]:
    """Let devices go forward, with an event for each that did; (device, state) of those."""
    moved = await store.advance(conn, steps)
    for each in sorted(steps, key=lambda step: step.ztp_device_id):
        if each.state is not None and (each.ztp_device_id, each.state) in moved:
            await tell(conn, each.tenant_id, each.ztp_device_id, each.state, each.evidence)
    return moved


async def fail(conn: Connection, tenant_id: int, ztp_device_id: int, at: datetime, reason: str) -> None:
    """Put a device into quarantine."""
    if await store.fail(conn, ztp_device_id, at, reason):
        evidence = {"reason": reason}
        await store.note(conn, Advance(ztp_device_id, tenant_id, None, "failed", at, evidence))
        await tell(conn, tenant_id, ztp_device_id, "failed", evidence)


async def presume(conn: Connection, tenant_id: int, ztp_device_id: int, at: datetime) -> None:
    """Take it that a device has the file that was sent to it and that nobody acknowledged: a log-in will show it."""
    await store.presume(conn, ztp_device_id, at)
    evidence = {"why": "its file was on the way, its receipt was not confirmed, and it did not ask again"}
    await store.note(conn, Advance(ztp_device_id, tenant_id, None, "presumed", at, evidence))


async def waits(conn: Connection, tenant_id: int, ztp_device_id: int, at: datetime, reason: str, step: str = "waiting") -> None:
    """Say why a device stays configured, or what is not done of a verified one (``step``). Told once for each reason."""
    if await store.waits(conn, ztp_device_id, reason):
        evidence = {"reason": reason}
        await store.note(conn, Advance(ztp_device_id, tenant_id, None, step, at, evidence))
        await tell(conn, tenant_id, ztp_device_id, step, evidence)


async def tell(conn: Connection, tenant_id: int, ztp_device_id: int, state: str, data: Mapping[str, Any]) -> None:
    """Write an event ``ztp.…`` of a device."""
    await events.insert(conn, tenant_id, f"ztp.{state}", "ztp_device", str(ztp_device_id), "netd boot", dict(data))


async def finish(
    conn: Connection, kinds: Kinds, keyring: Keyring, tenant_id: int, ztp_device_id: int, now: datetime, *, again: bool = False, renew: bool = False
) -> bool:
    """Let a job do what is left of a device, or configure a verified one ``again``, with another certificate if ``renew``; False if one is at it already."""
    actor = netd(tenant_id)
    kind = kinds.get(FINISH)
    args: dict[str, Any] = {"ztp_device_id": ztp_device_id, **({"again": True} if again else {}), **({"renew": True} if renew else {})}
    try:
        await jobs.submit_in(conn, jobs.confined(actor, kind), keyring, kind, NewJob(kind=FINISH, args=args), now)
    except Conflict:  # its key: one is not ended yet
        return False
    return True
