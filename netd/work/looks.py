"""Ways to see what a device is without logging in: SNMP, the ACS that manages it, or only that it answers."""

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netd.device.snmp import SnmpTransport
from netd.domain import identity
from netd.domain.identity import Guard, Identity
from netd.domain.recognition import Recogniser
from netd.model.target import Target
from netd.work.genieacs import GenieAcs


class Polled(NamedTuple):
    """What an agent says its device is, and the name of the credential that it answers."""

    identity: Identity
    credential: str
    credential_id: int


class Looks:
    """``guard`` is the barrier round the drivers' code, ``ping`` asks whether an address answers; ``acs`` None: none is configured."""

    def __init__(
        self,
        snmp: SnmpTransport,
        recogniser: Recogniser,
        guard: Guard,
        ping: Callable[[IPv4Address | IPv6Address], Awaitable[bool]],
        acs: GenieAcs | None = None,
    ) -> None:
        self.ping = ping
        self.acs = acs
        self._snmp = snmp
        self._recogniser = recogniser
        self._guard = guard

    async def polled(self, target: Target) -> Polled:
        """What the device's agent says. Raises PeerUnreachable, PeerError."""
        session = await self._snmp.connect(target)
        said = await session.get(identity.FIRST)
        found = await identity.read(session, said, self._recogniser, self._guard, thorough=True)
        return Polled(found, session.credential.name, session.credential.id)
