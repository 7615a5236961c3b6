"""Looking whether a device that has booted is what was expected: by a log-in, SNMP, its ACS, or only whether it answers, where an operator allowed that."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple

from netd.domain import targets, verification
from netd.domain.verification import UNKNOWN, Compared, Way
from netd.errors import JobFailed, NotYet, PeerError, PeerUnreachable, Undecided
from netd.model.boot import ExpectedDevice
from netd.model.device import Facts
from netd.model.inventory import Device
from netd.model.target import Credential, SnmpCommunity, SnmpUser, Target
from netd.sdk.device import CommandLine, Inspect
from netd.work.kinds.devices import Devices
from netd.work.kinds.tools import Tools
from netd.work.looks import Looks, Polled
from netd.work.sessions import Opened, secrets_of

CLOCKS: Final = timedelta(minutes=2)
"""By so much an ACS' clock may be behind."""

REACH_AFTER: Final = 4
"""Where it is allowed to be enough that a device answers, so many attempts are made to see more first: what it runs begins after its network."""

NO_ACS: Final = "its ACS manages it, and netd does not log in to it: with [genieacs] configured it is verified by what it says there"


def check(compared: Compared) -> None:
    """Raises JobFailed if it is another device than expected, NotYet if it only runs something else."""
    if compared.wrong:
        raise (JobFailed if compared.another else NotYet)("; ".join(compared.wrong))


def pins(expected: ExpectedDevice) -> bool:
    """Whether the host key is kept that a device shows: not of software that is about to be another, which makes one of its own."""
    return expected.state == "verified" or expected.image is None


class Found(NamedTuple):
    """What a look gave: facts with their source (None: there are none), the recognised platform, and what shows it."""

    facts: Facts
    source: Literal["cli", "snmp", "acs"] | None
    platform: str | None
    evidence: dict[str, Any]


class Verifying:
    """One device, to be looked at. ``first`` is what its first file let netd in with, ``attempt`` the job's."""

    def __init__(
        self, tools: Tools, devices: Devices, expected: ExpectedDevice, record: Device, hide: Callable[..., None], first: Sequence[Credential],
        attempt: int,
    ) -> None:  # fmt: skip
        self._tools = tools
        self._devices = devices
        self._expected = expected
        self._record = record
        self._hide = hide
        self._first = first
        self._attempt = attempt

    async def look(self, *, typed: bool) -> Found:
        """Look at it; ``typed``: it got a configuration by its command line. Raises JobFailed if it is another than expected, or nothing proves that it is
        the one; NotYet; Undecided; PeerUnreachable, PeerError."""
        expected, record = self._expected, self._record
        target = (await targets.targets(self._tools.owner, self._tools.keyring, record.tenant_id, [record.id]))[record.id]
        self._hide(*secrets_of(target))
        platform = self._devices.sessions.platforms.get(record.driver_platform or "")
        driver = platform is not None and isinstance(platform.driver, CommandLine)
        managed = self._tools.managed(expected.profile)
        way = verification.way(expected, target.credentials, driver=driver, lines=typed, managed=managed, chosen=record.credential_id)
        try:
            return await self._by(way, target, typed=typed)
        except PeerUnreachable:
            if expected.verify != "reach" or typed or self._attempt < REACH_AFTER:
                raise
            return await self._answers()

    async def runs_it(self) -> None:
        """Whether it runs what it should, before anything is typed. Raises JobFailed, NotYet, PeerUnreachable, PeerError."""

        check(verification.compare(self._expected, await self._facts(self._first)))

    async def _facts(self, first: Sequence[Credential]) -> Facts:
        async def work(opened: Opened) -> Facts:
            found: Facts = await opened.run(opened.able(Inspect).facts())
            return found

        return await self._devices.sessions.run(self._record.tenant_id, self._record.id, work, hide=self._hide, first=first, pin=pins(self._expected))

    async def _by(self, way: Way, target: Target, *, typed: bool) -> Found:
        match way:
            case "login":
                return await self._logged_in(target, typed=typed)
            case "snmp":
                return await self._polled(target)
            case "acs":
                return await self._informed()
            case "reach":
                return await self._answers()
            case "none":
                raise Undecided(verification.NOTHING)

    @property
    def _looks(self) -> Looks:
        if self._tools.looks is None:
            raise PeerUnreachable("this netd has no way to devices", "invalid")
        return self._tools.looks

    async def _logged_in(self, target: Target, *, typed: bool) -> Found:
        first = [] if typed else self._first
        facts = await self._facts(first)
        by = "a log-in with its own credential" if typed or not first else "a log-in"
        if facts.serial is None and self._expected.serial is not None and _polls(target):
            polled = await self._agent(target)
            if polled is not None and polled.identity.facts.serial is not None:
                facts = Facts(**{name: getattr(facts, name) for name in Facts.__struct_fields__} | {"serial": polled.identity.facts.serial})
                by += f", and SNMP ({polled.credential})"
        compared = verification.compare(self._expected, facts)
        return self._judged(compared, facts, "cli", None, by, logged_in=True)

    async def _agent(self, target: Target) -> Polled | None:
        """What SNMP says besides; nothing where there is no answer, for it was a log-in that counts."""
        try:
            return await self._looks.polled(target)
        except PeerError:
            return None

    async def _polled(self, target: Target) -> Found:
        polled = await self._looks.polled(target)
        found = polled.identity
        await targets.worked(self._tools.owner, self._record.tenant_id, [(self._record.id, "snmp", polled.credential_id, self._tools.now())])
        platform = None if found.platform is None else found.platform.platform.name
        compared = verification.compare(self._expected, found.facts, platform or UNKNOWN)
        by = f"SNMP ({polled.credential}): {found.sys_object_id or 'no sysObjectID'}"
        return self._judged(compared, found.facts, "snmp", platform, by, logged_in=False)

    async def _informed(self) -> Found:
        expected, looks = self._expected, self._looks
        if looks.acs is None:
            raise Undecided(NO_ACS)
        serial = expected.serial or str(expected.seen.get("serial", ""))
        if not serial:
            raise Undecided("its ACS manages it, and its serial number, by which it would be found there, is not known")
        try:
            informed = await looks.acs.find(serial)
        except PeerError as error:
            raise Undecided(f"its ACS cannot be asked: {error}", self._tools.boot_retry_seconds) from None
        since = expected.configured_at
        if informed is None or informed.informed_at is None or (since is not None and informed.informed_at < since - CLOCKS):
            raise Undecided(f"its ACS has not heard from it since it got its address: {serial}", self._tools.boot_retry_seconds)
        compared = verification.compare(expected, informed.facts)
        by = f"an Inform to its ACS at {informed.informed_at.isoformat()}: {informed.id}"
        return self._judged(compared, informed.facts, "acs", None, by, logged_in=False)

    async def _answers(self) -> Found:
        if not await self._looks.ping(self._record.mgmt_address):
            raise PeerUnreachable(f"{self._record.mgmt_address} does not answer", "timeout")
        return Found(Facts(), None, None, {"by": "it answers, which was allowed to be enough", "compared": "nothing"})

    def _judged(
        self, compared: Compared, facts: Facts, source: Literal["cli", "snmp", "acs"], platform: str | None, by: str, *, logged_in: bool
    ) -> Found:  # fmt: skip
        check(compared)
        reason = verification.unproved(self._expected, facts, logged_in=logged_in)
        if reason is not None:
            raise JobFailed(reason)
        told = {"serial": facts.serial, "model": facts.model, "software_version": facts.software_version, "hostname": facts.hostname}
        return Found(facts, source, platform, {**told, "by": by, **compared.evidence()})


def _polls(target: Target) -> bool:
    return any(isinstance(each.login, SnmpCommunity | SnmpUser) for each in target.credentials)
