"""The DHCP responder as one thing: its parts put together, loaded, started and stopped."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from netd.config import DhcpConfig
from netd.domain.ports import Part
from netd.errors import ConfigError, StoreError
from netd.metrics import Counts, Metrics
from netd.sdk.bootstrap import Profile
from netd.store import dhcp as store
from netd.store import leases as lease_store
from netd.store.database import Database, Target
from netd.store.feed import Batch, ChangeFeed
from netd.ztp import stats
from netd.ztp.binding import Binding
from netd.ztp.leasing import WAITING_LIMIT, Leasing
from netd.ztp.leasing6 import Leasing6
from netd.ztp.limits import Limits
from netd.ztp.probe import Probe
from netd.ztp.query import LeaseQueries
from netd.ztp.server4 import Server4
from netd.ztp.server6 import Server6
from netd.ztp.sockets import Socket4, Socket6, Sockets4, Sockets6, discard
from netd.ztp.subnets import Subnets

log = logging.getLogger(__name__)

FINISH_SECONDS: Final = 5.0
"""How long leases in work may take to be committed when the service stops."""

SHORT_SECONDS: Final = 60.0
"""For so long after a client got nothing its pool is said to be exhausted."""

SWEEP_SECONDS: Final = 3600.0
SWEEP_DAYS: Final = 7

BOUND_SECONDS: Final = 5.0
"""How often it is looked whether interfaces are still those that were listened on."""

ANYBODY_RELAYS: Final = "dhcp.relays is empty: whoever reaches the port may claim to be a relay"

ENTITIES: Final = frozenset(("dhcp", "pool"))
"""What the change feed calls what is kept in memory here."""


class DhcpService:
    """Everything that answers DHCP, on a database pool of its own."""

    def __init__(
        self, database: Database, target: Target, profiles: Mapping[str, Profile], binding: Binding, config: DhcpConfig, duid: bytes = b"\0\4" + bytes(16)
    ) -> None:
        self.database = database
        self.config = config
        self.subnets = Subnets(profiles)
        self.limits = Limits(config)
        self.leasing = Leasing(database, self.subnets, binding, self.limits, config)
        self.server4 = Server4(self.subnets, self.leasing, binding, self.limits, config)
        self.leasing6 = Leasing6(database, self.leasing.stock, binding, self.limits, config, time.monotonic)
        self.server6 = Server6(self.subnets, self.leasing6, binding, self.limits, config, duid)
        self.queries = LeaseQueries(database, self.server4)
        self.server4.query = self.queries.offer
        self.feed = ChangeFeed(target, self._apply, self.load)
        self._sockets: Sockets4 | None = None
        self._sockets6: Sockets6 | None = None
        self._probe: Probe | None = None
        self._started_at = time.time()
        self._tasks: list[asyncio.Task[None]] = []
        self._deaf: dict[str, str] = {}  # interfaces that nothing is heard from, and why

    async def open(self) -> None:
        """Take the feed's position and read everything. Raises StoreUnavailable."""
        await self.feed.start()
        await self.load()
        async with self.database.acquire() as conn:
            self.server4.remember(await store.relayed(conn))

    async def load(self) -> None:
        """Read subnets, reservations and pools anew."""
        async with self.database.transaction() as conn:
            subnets, reservations, pools = await store.subnets(conn), await store.reservations(conn), await lease_store.pools(conn)
        self.subnets.put(subnets, reservations, pools)
        for name, fault in self.subnets.faults.items():
            log.error("a DHCP subnet is not what it should be", extra={"subnet": name, "fault": fault})

    async def sweep(self) -> None:
        """Forget IPv6 addresses that ended a week ago: their clients would get the same again in any case."""
        async with self.database.acquire() as conn:
            await store.sweep(conn, SWEEP_DAYS)

    async def _keep_swept(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("old addresses not swept", extra={"error": str(error)})

    async def _apply(self, batch: Batch) -> None:
        if ENTITIES & set(batch.changed):
            await self.load()

    def start(self, group: asyncio.TaskGroup, sockets4: Sockets4 | None, sockets6: Sockets6 | None = None) -> None:
        """Begin to answer. Raises ConfigError if addresses are to be probed and that is not permitted."""
        if not self.config.relays:
            log.warning("anybody may relay DHCP: name the relays in dhcp.relays, or whoever reaches the port may claim to be any line of any of them")
        self._sockets = sockets4
        self.server4.out = sockets4
        if self.config.probe_milliseconds:
            try:
                self._probe = Probe(self.config.probe_milliseconds / 1000, os.getpid())
            except OSError as error:
                raise ConfigError("configuration", "dhcp.probe_milliseconds", f"cannot ping: {error.strerror}") from error
            self._probe.start()
            self.leasing.probe = self._probe
        endless = {
            "DHCP leases": self.leasing.run(),
            "DHCPv6 leases": self.leasing6.run(),
            "DHCP feed": self.feed.run(),
            "lease queries": self.queries.run(),
            "DHCP sweep": self._keep_swept(),
            "DHCP interfaces": self._keep_listening(),
        }
        self._tasks = [group.create_task(work, name=name) for name, work in endless.items()]
        loop = asyncio.get_running_loop()
        for sock in sockets4.every() if sockets4 is not None else ():
            self._discard(sock.socket, self.server4.drops)
            loop.add_reader(sock.socket.fileno(), self._readable4, sock)
        if sockets6 is not None:
            self._sockets6 = sockets6
            self.server6.send = sockets6.send
            for sock6 in sockets6.every():
                self._discard(sock6.socket, self.server6.drops)
                loop.add_reader(sock6.socket.fileno(), self._readable6, sock6)

    def _discard(self, sock: socket.socket, drops: Counts) -> None:
        """What waited since the port was opened is seconds old: another node has answered since, and a release among it would end what that one gave."""
        if waited := discard(sock):
            drops["before_start"] += waited

    def _readable4(self, sock: Socket4) -> None:
        if self._sockets is not None:
            sock.receive(self.server4.packet, self._sockets.direct)

    def _readable6(self, sock: Socket6) -> None:
        sock.receive(self.server6.packet)

    async def _keep_listening(self) -> None:
        while True:
            await asyncio.sleep(BOUND_SECONDS)
            self.listen_anew()

    def listen_anew(self) -> None:
        """Bind again to interfaces that were made anew (a VLAN or bond that somebody changed): a socket is bound to what had the name before."""
        before, self._deaf = self._deaf, {}
        if self._sockets is not None:
            self._listen_anew(self._sockets, self._readable4)
        if self._sockets6 is not None:
            self._listen_anew(self._sockets6, self._readable6)
        for name, why in self._deaf.items():
            if name not in before:
                log.error("DHCP hears nothing from an interface", extra={"interface": name, "error": why})

    def _listen_anew(self, sockets: Sockets4 | Sockets6, readable: Callable[[Any], None]) -> None:
        loop = asyncio.get_running_loop()
        every: Sequence[Socket4 | Socket6] = sockets.every()
        for sock in tuple(each for each in every if each.deaf):
            loop.remove_reader(sock.socket.fileno())
            try:
                made = sockets.renew(sock.interface)
            except OSError as error:
                loop.add_reader(sock.socket.fileno(), readable, sock)  # its interface may get its name back
                self._deaf[sock.interface] = f"interface {sock.interface}: {error.strerror}"
                continue
            loop.add_reader(made.socket.fileno(), readable, made)
            log.warning("DHCP listens on an interface that was made anew", extra={"interface": sock.interface})

    async def stop(self) -> None:
        """Read no more, and end. Who was not answered yet asks again."""
        loop = asyncio.get_running_loop()
        if self._sockets is not None:
            for sock in self._sockets.every():
                loop.remove_reader(sock.socket.fileno())
        if self._sockets6 is not None:
            for sock6 in self._sockets6.every():
                loop.remove_reader(sock6.socket.fileno())
        self.leasing.finish()
        self.leasing6.finish()
        if self._tasks:
            await asyncio.wait(self._tasks[:2], timeout=FINISH_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    async def close(self) -> None:
        """Let go of the feed's connection."""
        await self.feed.close()

    def register(self, metrics: Metrics) -> None:
        """Add the service's series."""
        stats.register(metrics, self.server4, self.server6, self.leasing, self.subnets)

    def parts(self) -> list[Part]:
        """The state of the responder, from memory."""
        faults = [*self._deaf.values(), *(f"{name}: {fault}" for name, fault in self.subnets.faults.items())]
        now = time.monotonic()
        for pool in self.subnets.pools.values():
            if max(short.get(pool.id, now - SHORT_SECONDS) for short in (self.leasing.short, self.leasing6.short)) > now - SHORT_SECONDS:
                faults.append(f"pool {pool.name} is exhausted")
            aside, full = self.limits.declined(pool.id, pool.total, now)
            if full:
                faults.append(f"pool {pool.name}: clients say of {aside} addresses that they are in use, and no more is believed")
        if len(self.leasing) >= WAITING_LIMIT // 2:
            faults.append(f"{len(self.leasing)} clients wait")
        if not self.database.up:
            faults.append("the database is away: nobody gets or renews an address")
        if not self.feed.up and self._tasks:
            faults.append(f"changes are not seen: {self.feed.last_error}")
        told = faults[:5] if self.config.relays else [*faults[:5], ANYBODY_RELAYS]
        return [Part(name="dhcp", state="degraded" if faults else "ok", since=self._started_at, detail="; ".join(told))]
