"""SNMP v1, v2c and v3: read objects and walk columns of one device, patiently and within bounds.

What a device can give at once is found out: GETBULK begins with 25 rows and is halved where the answers are too big to arrive (``Snmp.bulk`` says with
what it works; give it back in ``Target.snmp_bulk``). A walk ends with its column, its deadline, its ceiling, or an agent that goes backwards.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from netd.device.agent import AgentSocket, ErrorStatus, Row, Unreadable, Walk, arcs, dotted, varbind
from netd.errors import PeerError, PeerUnreachable
from netd.metrics import Counts, Metrics
from netd.model.target import Credential, SnmpCommunity, SnmpUser, Target
from netd.sdk.device import Oid, SnmpGroup, Varbind

PORT: Final = 161
BULK: Final = 25
OIDS_IN_A_GET: Final = 10
SYS_UP_TIME: Final[Oid] = (1, 3, 6, 1, 2, 1, 1, 3, 0)
SYS_OBJECT_ID: Final[Oid] = (1, 3, 6, 1, 2, 1, 1, 2, 0)

T = TypeVar("T")
Table = dict[Oid, Varbind]
"""Index -> value."""


class SnmpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How patient netd is. The time for an answer doubles with each attempt: who is slow must not be asked ever faster."""

    attempts: int = 3
    timeout_seconds: float = 2.0  # of the first attempt
    walk_seconds: float = 60.0  # for a column
    most_rows: int = 100_000  # of a column


def fitting(size: int, expected: int) -> int:
    """Rows to ask for at a time, so that so many and the one behind them come in as few answers as can be; up to an eighth more than ``size``."""
    if size < 2 or not expected:
        return size
    answers = -(-(expected + 1) // (size + size // 8))
    return -(-(expected + 1) // answers)


class _Silence(PeerUnreachable):
    """No answer to any attempt."""


class _TooMuch(Exception):
    """The agent answers, but not that many rows at once."""


class Snmp:
    """A session with one device: one request at a time, others wait their turn. Made by :meth:`SnmpTransport.connect`.

    Reading raises PeerUnreachable (``timeout``, ``credentials``) and PeerError.
    """

    def __init__(self, target: Target, credential: Credential, limits: SnmpLimits, clock: Callable[[], float], counts: Counts) -> None:
        login = credential.login
        if not isinstance(login, SnmpCommunity | SnmpUser):
            raise PeerUnreachable(f"{credential.name} is no SNMP profile", "invalid")
        self.target = target
        self.credential = credential
        self.bulk = min(target.snmp_bulk or BULK, BULK)
        self.requests = 0
        self._has_bulk = not (isinstance(login, SnmpCommunity) and login.version == "1")
        self._socket = AgentSocket(target.address, credential.port or PORT, login)
        self._limits = limits
        self._seconds = limits.timeout_seconds
        self._clock = clock
        self._counts = counts
        self._turn = asyncio.Lock()

    async def get(self, oids: Sequence[Oid]) -> Table:
        """Values by OID; None where the agent has no such object."""
        found: Table = {}
        async with self._turn:
            for start in range(0, len(oids), OIDS_IN_A_GET):
                await self._get(oids[start : start + OIDS_IN_A_GET], found)
        return found

    async def walk(self, column: Oid, *, bulk: bool = True, expected: int = 0) -> Table:
        """All values below an OID by what follows it; empty if there are none. ``bulk`` False for agents without GETBULK. ``expected`` is how many rows
        there were the last time: then the last answer shows the end, too, and no further one has to."""
        async with self._turn:
            until = self._clock() + self._limits.walk_seconds
            size = self.bulk if bulk and self._has_bulk else 1
            walk, rows = Walk(column, fitting(size, expected)), Table()
            while True:
                try:
                    await self._column(column, walk, rows, until)
                except _TooMuch:
                    size = max(min(walk.size, size) // 2, 1)
                    walk.go_on(walk.after, size)
                    continue
                if bulk and self._has_bulk:
                    self.bulk = size
                return rows

    async def read(self, group: SnmpGroup, *, expected: int = 0) -> tuple[Table, Mapping[Oid, Table]]:
        """All of a group: its scalars, and its tables column by column, of about so many rows."""
        scalars = await self.get(group.scalars)
        return scalars, {column: await self.walk(column, bulk=group.bulk, expected=expected) for column in group.tables}

    async def _get(self, oids: Sequence[Oid], found: Table) -> None:
        """Objects that are missing and an error-status look alike, so sysUpTime is asked for with them: without it the answer was an error."""
        names = [dotted(oid) for oid in oids]
        witness = dotted(SYS_UP_TIME)
        try:
            answer = await self._patiently(lambda seconds: self._socket.get([*names, witness], seconds))
        except Unreadable:
            if len(oids) == 1:
                raise
            answer = {}
        if witness in answer:
            found.update({oid: varbind(answer.get(name)) for oid, name in zip(oids, names, strict=True)})
        elif len(oids) == 1:
            found[oids[0]] = varbind(await self._patiently(lambda seconds: self._socket.one(names[0], seconds)))
        else:
            half = len(oids) // 2
            await self._get(oids[:half], found)
            await self._get(oids[half:], found)

    async def _column(self, column: Oid, walk: Walk, rows: Table, until: float) -> None:
        """Add a column's rows from where the walk is on. Raises _TooMuch where it should go on with fewer rows at a time, ErrorStatus where it breaks off."""
        prefix = walk.prefix
        last: Oid = next(reversed(rows), ())
        done = False
        while not done:
            page, done = await self._page(walk, until)
            for name, value in page:
                if not walk.covers(name):
                    return
                index = arcs(name[len(prefix) :])
                if index <= last:
                    raise PeerError(f"{self._socket.name}: the OIDs below {dotted(column)} do not increase: {name} follows {prefix}{dotted(last)}")
                rows[index] = varbind(value)
                last = index
            if len(rows) > self._limits.most_rows:
                raise PeerError(f"{self._socket.name}: more than {self._limits.most_rows} rows below {dotted(column)}")

    async def _page(self, walk: Walk, until: float) -> tuple[list[Row], bool]:
        """The next rows, and whether they are the last. Without GETBULK the row behind the column may be among them."""
        if walk.size == 1:
            row = await self._patiently(lambda seconds: self._socket.next(walk, seconds), until)
            if row is not None:
                return [row], False
            if await self._patiently(lambda seconds: self._socket.follows(walk, seconds), until):
                return [], False  # an error-status that did not come again
            return [], True
        try:
            rows, last = await self._patiently(lambda seconds: self._socket.bulk(walk, seconds), until, attempts=2)
        except Unreadable:
            raise _TooMuch from None
        except _Silence:
            await self._patiently(lambda seconds: self._socket.get([dotted(SYS_UP_TIME)], seconds), until)  # raises if it is not the size
            raise _TooMuch from None
        if last is None:  # the end of the agent's view, or an error-status: GETNEXT tells
            after = walk.after
            if await self._patiently(lambda seconds: self._socket.follows(walk, seconds), until):
                row = await self._patiently(lambda seconds: self._socket.next(walk, seconds), until)
                if row is None or walk.covers(row[0]):
                    walk.go_on(after, walk.size)
                    raise _TooMuch
            last = True
        return rows, last

    async def _patiently(self, ask: Callable[[float], Awaitable[T]], until: float | None = None, attempts: int | None = None) -> T:
        """Ask until there is an answer, each time with twice the patience, within a deadline. A slow device is given at once what it needed before."""
        seconds = self._seconds
        for _ in range(attempts or self._limits.attempts):
            left = seconds if until is None else min(seconds, until - self._clock())
            if left <= 0:
                self._counts["deadline"] += 1
                raise PeerUnreachable(f"{self._socket.name}: the walk was not done in {self._limits.walk_seconds:g} s", "timeout")
            self.requests += 1
            begun = self._clock()
            try:
                answer = await ask(left)
            except TimeoutError:
                self._counts["timeout"] += 1
                seconds *= 2
            except PeerError as error:
                self._counts[_outcome(error)] += 1
                raise
            else:
                self._counts["ok"] += 1
                quick = self._clock() - begun < seconds / 4
                self._seconds = max(seconds / 2, self._limits.timeout_seconds) if quick else seconds
                return answer
        raise _Silence(f"{self._socket.name} does not answer SNMP", "timeout")


def _outcome(error: PeerError) -> str:
    if isinstance(error, PeerUnreachable):
        return error.reason
    return "error_status" if isinstance(error, ErrorStatus) else "malformed"


class SnmpTransport:
    """Makes sessions and counts for all of them."""

    def __init__(self, limits: SnmpLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or SnmpLimits()
        self.requests = Counts()  # by outcome
        self._clock = clock

    async def connect(self, target: Target) -> Snmp:
        """A session with the first SNMP profile that is answered; ``credential`` says which. Raises PeerUnreachable: ``timeout`` if none is."""
        profiles = [credential for credential in target.credentials if isinstance(credential.login, SnmpCommunity | SnmpUser)]
        failure = PeerUnreachable(f"{target.called} has no SNMP profile", "invalid")
        for credential in profiles:
            session = self.session(target, credential)
            try:
                await session.get((SYS_OBJECT_ID,))
            except PeerUnreachable as error:
                failure = failure if failure.reason == "credentials" else error
                continue
            return session
        if len(profiles) > 1:
            failure = PeerUnreachable(f"{target.called}: none of {len(profiles)} SNMP profiles works; {failure}", failure.reason)
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    def session(self, target: Target, credential: Credential) -> Snmp:
        """A session that has not asked anything yet. Raises PeerUnreachable ``invalid`` if the credential is no SNMP profile."""
        return Snmp(target, credential, self.limits, self._clock, self.requests)

    def register(self, metrics: Metrics) -> None:
        """Add the transport's series."""
        metrics.counter_of("netd_snmp_requests", "SNMP requests by outcome", lambda: self.requests, ("outcome",))
