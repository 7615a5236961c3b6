"""The one way to a device's command line: from the inventory's device to a session in which a driver's dialogues are run.

::

    async def look(opened: Opened) -> Facts:
        return await opened.run(opened.driver.facts())

    facts = await sessions.run(tenant_id, device_id, look)

Work with one device waits its turn in the device's queue. Which credential worked is remembered, the first host key pinned, another one refused and told.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from netd.config import Secret
from netd.device.cli import CliSession, CliTransport
from netd.device.queue import DeviceQueues
from netd.device.rest import CertificateChanged, RestTransport
from netd.device.snmp import SnmpTransport
from netd.device.ssh import HostKeyChanged
from netd.domain import configurations, devices, targets
from netd.domain.configurations import Platforms
from netd.errors import PeerError, PeerUnreachable
from netd.extensions import DevicePlatform
from netd.keyring import Keyring
from netd.model.inventory import Device, Protocol
from netd.model.target import Credential, HttpLogin, SnmpCommunity, SnmpUser, SshLogin, Target, TelnetLogin
from netd.sdk.device import CommandLine, Records, Telemetry
from netd.sdk.dialogue import Dialogue
from netd.store import credentials as credential_store
from netd.store import devices as device_store
from netd.store.database import Database
from netd.work import recorded, walked
from netd.work.patience import patiently

T = TypeVar("T")

REACHED: Final = frozenset(("active", "maintenance"))
"""States of devices that work is done with."""


def unchanged(dialogue: Dialogue[Any]) -> Dialogue[Any]:
    """A driver's dialogue as it is."""
    return dialogue


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A prepared session with a device, and who it is with."""

    device: Device
    platform: DevicePlatform
    session: CliSession
    pace: Callable[[Dialogue[Any]], Dialogue[Any]] = unchanged

    @property
    def driver(self) -> Any:
        """The platform's driver; what it can do is asked with the protocols of :mod:`netd.sdk.device`."""
        return self.platform.driver

    def able(self, capability: type) -> Any:
        """The driver, if it has this capability. Raises PeerError."""
        if not isinstance(self.platform.driver, capability):
            raise PeerError(f"{self.device.hostname}: the driver of {self.platform.platform.title} cannot do this ({capability.__name__})")
        return self.platform.driver

    async def run(self, dialogue: Dialogue[T]) -> T:
        """Run one of the driver's dialogues. Raises PeerError."""
        return await self.session.run(self.pace(dialogue))


class Ways(NamedTuple):
    """How a device can be asked what it says of itself. ``driver`` None: nobody knows its platform."""

    driver: Any
    types: bool  # by a command line, with a credential for it
    opened: bool  # which has let netd in before
    walks: bool  # by SNMP

    def typed(self, capability: type) -> bool:
        """Whether its command line says this."""
        return self.types and isinstance(self.driver, capability)


class DeviceSessions:
    """Opens sessions. ``database`` is the daemon's own: a site's operator does not see the tenant's credentials, but work at the site uses them.

    ``pace`` changes every dialogue before it is run; tests have less patience than devices need.
    """

    def __init__(
        self, database: Database, keyring: Keyring, platforms: Platforms, transport: CliTransport, queues: DeviceQueues, *,
        rest: RestTransport, snmp: SnmpTransport, now: Callable[[], datetime], pace: Callable[[Dialogue[Any]], Dialogue[Any]] = unchanged,
    ) -> None:  # fmt: skip
        self.platforms = platforms
        self._database = database
        self._keyring = keyring
        self._transport = transport
        self._queues = queues
        self._now = now
        self._pace = pace
        self._rest = rest
        self._snmp = snmp

    async def run(
        self, tenant_id: int, device_id: int, work: Callable[[Opened], Awaitable[T]], *, image: Path | None = None,
        note: Callable[[str], None] | None = None, hide: Callable[..., None] | None = None, deadline_seconds: float | None = None,
        first: Sequence[Credential] = (), pin: bool = True,
    ) -> T:  # fmt: skip
        """Do ``work`` in a session with the device, in its turn. ``hide`` is told every secret that netd may send. ``first`` are tried before what is stored
        for it, with ids below 1: nothing is remembered of them. ``pin``: remember the first host key, too.

        Raises what the work raises; PeerError for a device that is not to be reached or whose platform nobody knows; PeerUnreachable; StoreError.
        """
        device, target, platform = await self._found(tenant_id, device_id)
        target = msgspec.structs.replace(target, credentials=(*first, *target.credentials))
        if not isinstance(platform.driver, CommandLine):
            raise PeerError(f"{device.hostname}: the driver of {platform.platform.title} has no command line")
        if hide is not None:
            hide(*secrets_of(target))
        driver = platform.driver

        async def begun() -> T:
            async with self._told(device), self._transport.session(target, driver, image=image, note=note) as session:
                await self._learned(device, session, pin=pin)
                return await work(Opened(device=device, platform=platform, session=session, pace=self._pace))

        return await self._queues.run(target.key, begun, sessions=target.sessions, deadline_seconds=deadline_seconds)

    async def records(self, tenant_id: int, device_id: int, *, say: recorded.Say, hide: Callable[..., None] | None = None) -> tuple[Device, dict[str, Any]]:
        """The device, and what it says of itself over its HTTP API, as members of an observation, in its turn: nothing of one that has none, or for which
        there is no credential. What it does not say is told, not raised: there is its command line.

        Raises PeerError for a device that is not to be reached; TooOften where it gets no turn; StoreError.
        """
        device, target, platform = await self._known(tenant_id, device_id)
        rest, driver = self._rest, platform and platform.driver
        if not isinstance(driver, Records) or not any(isinstance(each.login, HttpLogin) for each in target.credentials):
            return device, {}
        if hide is not None:
            hide(*secrets_of(target))

        async def asked() -> dict[str, Any]:
            try:
                session = await rest.connect(target)
            except PeerError as error:
                if isinstance(error, CertificateChanged):
                    await configurations.certificate_changed(self._database, device, error.shown)
                await say(f"it is not asked over HTTP: {error}")
                return {}
            await self._opened(device, "http", session.credential)
            if session.certificate and not device.certificates:
                await patiently(lambda: devices.pin_certificate(self._database, device.tenant_id, device.id, session.certificate))
            return await recorded.read(session, driver, say)

        return device, await self._queues.run(target.key, asked, sessions=target.sessions)

    async def ways(self, tenant_id: int, device_id: int) -> Ways:
        """How the device can be asked. Raises PeerError for one that is not to be reached; StoreError."""
        _, target, platform = await self._known(tenant_id, device_id)
        logins = [credential.login for credential in target.credentials]
        worked = await patiently(lambda: self._worked(tenant_id, device_id))
        return Ways(
            driver=platform and platform.driver, types=platform is not None and any(isinstance(login, SshLogin | TelnetLogin) for login in logins),
            opened=not worked.isdisjoint(("ssh", "telnet")), walks=any(isinstance(login, SnmpCommunity | SnmpUser) for login in logins),
        )  # fmt: skip

    async def walked(
        self, tenant_id: int, device_id: int, wanted: Sequence[str], *, say: walked.Say, hide: Callable[..., None] | None = None
    ) -> tuple[Device, dict[str, Any], PeerError | None]:
        """The device, what its agent says of ``wanted`` (neighbours, macs, arps), in its turn, and why it did not say something.

        Raises PeerError for a device that is not to be reached; TooOften where it gets no turn; StoreError.
        """
        device, target, platform = await self._known(tenant_id, device_id)
        if hide is not None:
            hide(*secrets_of(target))
        driver = platform and platform.driver
        bulk = not isinstance(driver, Telemetry) or all(group.bulk for group in driver.groups())

        async def asked() -> tuple[dict[str, Any], PeerError | None]:
            try:
                session = await self._snmp.connect(target)
            except PeerError as error:
                await say(f"it is not asked by SNMP: {error}")
                return {}, error
            await self._opened(device, "snmp", session.credential)
            return await walked.read(session, wanted, say, bulk=bulk)

        found, failure = await self._queues.run(target.key, asked, sessions=target.sessions)
        return device, found, failure

    async def _found(self, tenant_id: int, device_id: int) -> tuple[Device, Target, DevicePlatform]:
        device, target, platform = await self._known(tenant_id, device_id)
        if platform is None:
            raise PeerError(f"{device.hostname}: its platform is not known, or has no driver: {device.driver_platform or 'it was not recognised'}")
        return device, target, platform

    async def _known(self, tenant_id: int, device_id: int) -> tuple[Device, Target, DevicePlatform | None]:
        device, target = await patiently(lambda: self._target(tenant_id, device_id))
        if device.state not in REACHED:
            raise PeerError(f"{device.hostname} is {device.state}: nothing is done with it")
        return device, target, self.platforms.get(device.driver_platform or "") or self._only(device.vendor)

    async def _opened(self, device: Device, protocol: Protocol, credential: Credential) -> None:
        if credential.id > 0:
            opened = [(device.id, protocol, credential.id, self._now())]
            await patiently(lambda: targets.worked(self._database, device.tenant_id, opened))

    def _only(self, vendor: str) -> DevicePlatform | None:
        """The platform of a vendor that has one: what says nothing of itself by SNMP may be spoken to all the same."""
        found = [each for each in self.platforms.values() if each.vendor == vendor]
        return found[0] if len(found) == 1 else None

    async def _target(self, tenant_id: int, device_id: int) -> tuple[Device, Target]:
        async with self._database.transaction() as conn:
            found = await device_store.by_ids(conn, tenant_id, [device_id])
            if not found:
                raise PeerUnreachable(f"device {device_id} is not known any more", "invalid")
            made = await targets.within(conn, self._keyring, tenant_id, [device_id])
        return found[0], made[device_id]

    async def _worked(self, tenant_id: int, device_id: int) -> set[str]:
        """Protocols by which the device was opened before."""
        async with self._database.transaction() as conn:
            return set((await credential_store.working(conn, tenant_id, [device_id])).get(device_id, {}))

    def _told(self, device: Device) -> AbstractAsyncContextManager[None]:
        return _HostKeyWatch(self._database, device) if device.host_keys else nullcontext()

    async def _learned(self, device: Device, session: CliSession, *, pin: bool) -> None:
        """Remember what opened it, and pin the first host key."""
        if session.credential is not None:
            await self._opened(device, session.protocol, session.credential)
        if pin and (shown := session.host_key) and not device.host_keys:
            await patiently(lambda: devices.pin(self._database, device.tenant_id, device.id, shown))


class _HostKeyWatch:
    """Tells of a host key that is not the pinned one, and lets the refusal through."""

    def __init__(self, database: Database, device: Device) -> None:
        self._database = database
        self._device = device

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HostKeyChanged):
            await configurations.host_key_changed(self._database, self._device, error.shown)


def secrets_of(target: Target) -> list[str]:
    """Every secret of the target's credentials."""
    found = []
    for credential in target.credentials:
        for name in credential.login.__struct_fields__:
            value = getattr(credential.login, name)
            if isinstance(value, Secret):
                found.append(value.reveal())
    return found
