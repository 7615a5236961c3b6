"""The Prober of discovery, on the real transports."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from netd.device.greeting import ssh_greeting
from netd.device.ping import Pinger
from netd.device.snmp import Snmp, SnmpTransport, Table
from netd.domain import identity
from netd.domain.ports import SnmpAnswer, SshAnswer
from netd.domain.recognition import Recogniser
from netd.errors import PeerError
from netd.model.target import Credential, Target
from netd.sdk import ifmib

TRIED_AT_ONCE: Final = 4
SSH_SECONDS: Final = 5.0


class TransportProber:
    """Asks by ping, SNMP and SSH. ``guard`` is the barrier round the drivers' code. ``ssh_port`` is where SSH is looked for."""

    def __init__(
        self, pinger: Pinger, snmp: SnmpTransport, recogniser: Recogniser, guard: Callable[[str], AbstractContextManager[None]], *, ssh_port: int = 22,
    ) -> None:  # fmt: skip
        self._pinger = pinger
        self._snmp = snmp
        self._recogniser = recogniser
        self._guard = guard
        self._ssh_port = ssh_port

    async def ping(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether it answers an echo request, or where those cannot be sent, a TCP connection."""
        return await self._pinger.ping(address)

    async def snmp(self, address: IPv4Address | IPv6Address, profiles: Sequence[Credential]) -> SnmpAnswer | None:
        """A few profiles are tried at a time, for a wrong community is not told from nobody: the first in order that is answered counts."""
        for start in range(0, len(profiles), TRIED_AT_ONCE):
            tried = profiles[start : start + TRIED_AT_ONCE]
            answers = await asyncio.gather(*(self._asked(address, profile) for profile in tried))
            for profile, answer in zip(tried, answers, strict=True):
                if answer is not None:
                    session, said = answer
                    return await self._told(session, profile, said)
        return None

    async def ssh(self, address: IPv4Address | IPv6Address) -> SshAnswer | None:
        """What its SSH server says; nobody logs in."""
        greeting = await ssh_greeting(address, self._ssh_port, SSH_SECONDS)
        return None if greeting is None else SshAnswer(banner=greeting.banner, host_key=greeting.host_key)

    async def _asked(self, address: IPv4Address | IPv6Address, profile: Credential) -> tuple[Snmp, Table] | None:
        target = Target(key=f"discovery {address}", address=address, credentials=(profile,))
        try:
            session = self._snmp.session(target, profile)
            return session, await session.get(identity.FIRST)
        except PeerError:  # no answer, or none that can be read: counted by the transport
            return None

    async def _told(self, session: Snmp, profile: Credential, said: Table) -> SnmpAnswer:
        found = await identity.read(session, said, self._recogniser, self._guard)
        return SnmpAnswer(
            credential_id=profile.id, sys_object_id=found.sys_object_id, sys_descr=found.sys_descr,
            sys_name=ifmib.text(said[ifmib.SYS_NAME]) or None, serial=found.facts.serial,
        )  # fmt: skip
