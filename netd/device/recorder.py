"""Reads of a device all that its driver can read, as the device says it, and takes out what tells whose it is. For ``netd record``."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from netd.device.cli import CliSession, CliTransport
from netd.device.snmp import Snmp, SnmpTransport
from netd.errors import PeerError, PeerUnreachable
from netd.model.device import Facts
from netd.model.target import SnmpCommunity, SnmpUser, SshLogin, Target, TelnetLogin
from netd.sdk import ifmib
from netd.sdk.device import Oid, Varbind
from netd.sdk.recording import Recording, recorded
from netd.sdk.scrub import Scrubber

_SYSTEM: Final[tuple[Oid, ...]] = (ifmib.SYS_DESCR, ifmib.SYS_OBJECT_ID, ifmib.SYS_UPTIME, ifmib.SYS_NAME)

Tell = Callable[[str], None]


class Recorder:
    """One device's. ``tell`` is given what could not be read, a line each; reading goes on."""

    def __init__(self, platform: str, driver: Any, tell: Tell) -> None:
        self._platform = platform
        self._driver = driver
        self._tell = tell
        self._exchanges: list[tuple[str, str]] = []
        self._objects: dict[Oid, Varbind] = {}
        self._facts: list[Facts] = []  # as its command line said, as its agent said

    async def read(self, target: Target) -> None:
        """By what the target has: its command line, its agent, or both. Raises PeerUnreachable."""
        logins = [credential.login for credential in target.credentials]
        if any(isinstance(login, SshLogin | TelnetLogin) for login in logins):
            async with CliTransport().session(target, self._driver) as session:
                await self._dialogues(session)
        if any(isinstance(login, SnmpCommunity | SnmpUser) for login in logins):
            await self._agent(await SnmpTransport().connect(target))

    def made(self, words: Iterable[str]) -> tuple[Recording, dict[Oid, Varbind]]:
        """The recording and the agent's objects, without secrets, addresses, and ``words``: names that the caller knows."""
        known = {word: f"name{number}" for number, word in enumerate(words, 1) if word}
        for facts in reversed(self._facts):
            known |= {word: f"{member}1" for member in ("hostname", "serial") if (word := getattr(facts, member))}
        recording = Recording(
            platform=self._platform, hardware=self._said("model"), firmware=self._said("software_version"), made_from="a device", sources=("netd record",),
            exchanges=tuple(self._exchanges),
        )  # fmt: skip
        scrubber = Scrubber(secrets.token_bytes(32), masked=getattr(self._driver, "masked", None), words=known)
        return scrubber.recording(recording), scrubber.varbinds(self._objects)

    def _said(self, member: str) -> str:
        return next((said for facts in self._facts if (said := getattr(facts, member))), "unknown")

    async def _dialogues(self, session: CliSession) -> None:
        facts = await self._look(session, "facts", self._driver.facts)
        if facts is not None:
            self._facts.append(facts)
        for name, look in self._looks():
            await self._look(session, name, look)

    def _looks(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        for name in ("neighbours", "macs", "arps"):
            if hasattr(self._driver, name):
                yield name, getattr(self._driver, name)
        if hasattr(self._driver, "configuration"):
            yield "running configuration", lambda: self._driver.configuration("running")
            yield "startup configuration", lambda: self._driver.configuration("startup")

    async def _look(self, session: CliSession, name: str, look: Callable[[], Any]) -> Any:
        """One dialogue; what a device refuses is recorded, too, and told."""
        try:
            return await session.run(recorded(look(), self._exchanges))
        except LookupError:
            return None  # the platform has no such configuration
        except PeerUnreachable:
            raise
        except PeerError as error:
            self._tell(f"{name}: {error}")
            return None

    async def _agent(self, session: Snmp) -> None:
        wanted = (*_SYSTEM, *(self._driver.fact_oids() if hasattr(self._driver, "fact_oids") else ()))
        self._objects |= await session.get(tuple(dict.fromkeys(wanted)))
        facts = self._driver.snmp_facts(self._objects) if hasattr(self._driver, "snmp_facts") else Facts()
        if facts.hostname is None:
            facts = msgspec.structs.replace(facts, hostname=ifmib.text(self._objects[ifmib.SYS_NAME]) or None)
        self._facts.append(facts)
        for group in self._driver.groups() if hasattr(self._driver, "groups") else ():
            try:
                scalars, tables = await session.read(group)
            except PeerUnreachable:
                raise
            except PeerError as error:
                self._tell(f"SNMP, {group.name}: {error}")
                continue
            self._objects |= scalars
            self._objects |= {(*column, *index): value for column, rows in tables.items() for index, value in rows.items()}
