"""Carrying a search out: addresses at the order's pace, each asked by ping, SNMP and SSH, and what was found kept as candidates."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec

from netd.domain import discovery
from netd.domain.discovery import Address, Search
from netd.domain.ports import Prober
from netd.domain.recognition import Recogniser
from netd.model.inventory import Finding
from netd.store.database import Database

IN_WORK_MOST: Final = 256


class Progress(Protocol):
    """Is told how far a search is."""

    def __call__(self, done: int, total: int, found: int) -> None: ...


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a search came to: addresses that were asked and answered, and of the candidates how many are new, known and ignored."""

    asked: int
    answered: int
    new: int
    accepted: int
    ignored: int


def silent(done: int, total: int, found: int) -> None:
    """Progress that nobody wants to know."""


class Discovery:
    """Searches; any number at a time. ``database`` is the daemon's own."""

    def __init__(
        self, database: Database, prober: Prober, recogniser: Recogniser, *, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._database = database
        self._prober = prober
        self._recogniser = recogniser
        self._now = now
        self._clock = clock
        self._sleep = sleep

    async def run(self, search: Search, progress: Progress = silent) -> Result:
        """Search to the end. Cancelled, it keeps nothing more. Raises StoreError if what was found cannot be kept."""
        findings: list[Finding] = []
        room = asyncio.Semaphore(IN_WORK_MOST)
        done = 0

        async def look(address: Address) -> None:
            nonlocal done
            try:
                finding = await self.look(search, address)
            finally:
                room.release()
            done += 1
            if finding is not None:
                findings.append(finding)
            progress(done, search.plan.addresses, len(findings))

        begun, asked = self._clock(), 0
        async with asyncio.TaskGroup() as group:
            for address in search.addresses():
                await room.acquire()
                wait = begun + asked / search.rate_per_second - self._clock()
                if wait > 0:
                    await self._sleep(wait)
                asked += 1
                group.create_task(look(address), name=f"discovery of {address}")
        kept = await discovery.keep(self._database, search, findings, self._recogniser)
        return Result(asked=asked, answered=len(findings), new=kept["new"], accepted=kept["accepted"], ignored=kept["ignored"])

    async def look(self, search: Search, address: Address) -> Finding | None:
        """What is at one address; None for nothing that answers."""
        alive = await self._prober.ping(address)
        if not alive and not search.silent:
            return None
        snmp, ssh = await asyncio.gather(self._prober.snmp(address, search.tried(address)), self._prober.ssh(address))
        answers = tuple(name for name, answered in (("ping", alive), ("snmp", snmp is not None), ("ssh", ssh is not None)) if answered)
        if not answers:
            return None
        told = {} if snmp is None else msgspec.structs.asdict(snmp)
        said = {} if ssh is None else msgspec.structs.asdict(ssh)
        return Finding(address=address, at=self._now(), answers=answers, **told, **said)
