"""Expected devices in memory: who is answered what, and which URL it is told. The Binding on the database.

What must outlive a crash is written in the transaction of the lease (:meth:`Expected.granted`). What was only seen, and who came unexpected, is written
a few times a second, each client once however many packets it sends.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from netd.config import BootConfig
from netd.domain import adoption, arming, booting, boottokens
from netd.domain.booting import Places
from netd.domain.boottokens import SECRET_CONTEXT
from netd.domain.kinds import Kinds
from netd.domain.ports import Part
from netd.errors import StoreError, StoreUnavailable
from netd.keyring import Keyring
from netd.metrics import Counts, Metrics
from netd.model.boot import BootCandidate, Purpose
from netd.model.dhcp import BootProfile
from netd.model.ztp import BootAnswer, ClientIdentity, Granted
from netd.store import boot as store
from netd.store import certificates
from netd.store.boot import Advance, ExpectedRow, NewToken, Stranger
from netd.store.database import Connection, Database, Target, savepoint
from netd.store.feed import Batch, ChangeFeed
from netd.ztp.known import Index, Known
from netd.ztp.newcomers import Newcomers, identity_of, said, stranger

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.25
SWEEP_SECONDS: Final = 10.0
FOLLOW_SECONDS: Final = 2.0
"""How long a device that a job is at is left alone."""

STRANGERS: Final = 200
"""Unexpected clients that are kept between two writings; a client that invents identities fills no more than that."""

LEAST_RETRY_SECONDS: Final = 10
"""A file that nobody acknowledged may be asked for again so long, whatever ``boot.retry_seconds`` says."""

APPLIED_ROWS: Final = 500
"""Devices that are read at a time when they change: a plan may have all of them, and packets wait meanwhile."""

SEEN: Final = 5000
PURPOSES: Final[tuple[Purpose, ...]] = ("boot", "configuration", "image")
PLAIN: Final = "plain"
"""What a device gets that boots no longer: an address, and nothing to boot from."""

Address = IPv4Address | IPv6Address


class Expected:
    """Keeps the devices current by the change feed, and answers the DHCP responder."""

    def __init__(
        self, database: Database, target: Target, keyring: Keyring, profiles: Mapping[str, BootProfile], config: BootConfig, kinds: Kinds,
        now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.database = database
        self.places = Places(config, profiles)
        self.feed = ChangeFeed(target, self._apply, self.load)
        self.strange: Counts = Counts()
        self.faults: dict[int, str] = {}
        self._ending: list[str] = []
        self._keyring = keyring
        self._profiles = profiles
        self._config = config
        self._kinds = kinds
        self._now = now
        self._monotonic = monotonic
        self._index = Index()
        self._noticed: dict[int, tuple[datetime, ClientIdentity]] = {}
        self._strangers: dict[str, Stranger] = {}
        self._newcomers = Newcomers()
        self._queued = asyncio.Event()
        self._to_follow: set[int] = set()
        self._changed = asyncio.Event()
        self._since = time.time()

    async def open(self) -> None:
        """Take the feed's position and read all. Raises StoreUnavailable."""
        await self.feed.start()
        await self.load()

    def register(self, metrics: Metrics) -> None:
        """Add the series."""
        metrics.gauge("netd_ztp_expected", "Devices that are expected or have booted", lambda: len(self._index.by_id))
        metrics.counter_of("netd_ztp_unexpected", "DHCP packets of devices that nobody expects", lambda: self.strange, ("outcome",))

    def parts(self) -> list[Part]:
        """The state of it, from memory."""
        faults = [*self.faults.values(), *self._ending]
        if not self.feed.up:
            faults.append(f"changes are not seen: {self.feed.last_error}")
        return [Part(name="ztp", state="degraded" if faults else "ok", since=self._since, detail="; ".join(faults[:5]))]

    # -- what is known -----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read all devices anew."""
        async with self.database.transaction() as conn:
            rows, good = await store.load(conn), await store.spent(conn)
            self._follow(await store.behind(conn))
        known: list[Known] = []
        faults: dict[int, str] = {}
        for start in range(0, len(rows), APPLIED_ROWS):
            known += self._opened(rows[start : start + APPLIED_ROWS], faults)
            await asyncio.sleep(0)
        self._index, self.faults = Index(), faults
        self._index.put(known, good)

    async def _apply(self, batch: Batch) -> None:
        ids = set(batch.changed.get("ztp", ()))
        subscribers, plans = batch.changed.get("subscriber", frozenset()), batch.changed.get("plan", frozenset())
        if not ids and not ((subscribers or plans) and self._index.linked):
            return
        async with self.database.transaction() as conn:
            ids |= set(await store.followers(conn, list(subscribers), list(plans)))
        changed = sorted(ids)
        for start in range(0, len(changed), APPLIED_ROWS):
            await self._read_anew(changed[start : start + APPLIED_ROWS])

    async def _read_anew(self, ids: Sequence[int]) -> None:
        async with self.database.transaction() as conn:
            rows, good = await store.load(conn, ids), await store.spent(conn, ids)
        for each in ids:
            self.faults.pop(each, None)
            self._index.forget(each)
        self._index.put(self._opened(rows, self.faults), good)
        self._follow(row.id for row in rows if row.subscriber_id is not None or row.state == "expected" or row.armed != row.serves)

    def _follow(self, ids: Iterable[int]) -> None:
        """Have them looked at: whether each may boot, and is configured as its subscriber wants it."""
        self._to_follow.update(ids)
        if self._to_follow:
            self._changed.set()

    def _opened(self, rows: Sequence[ExpectedRow], faults: dict[int, str]) -> list[Known]:
        """Devices made ready; ``faults`` is told of those that cannot be used."""
        made = []
        for row in rows:
            try:
                made.append(Known(row, self._keyring.open(row.secret, SECRET_CONTEXT)))
            except (StoreError, ValueError) as error:
                faults[row.id] = f"{row.hostname}: {error}"
                log.error("an expected device cannot be used", extra={"ztp_device": row.id, "error": str(error)})
        return made

    # -- Binding -----------------------------------------------------------------------------------------------------

    def resolve(self, seen: ClientIdentity) -> BootAnswer | None:
        """As its profile says while it may boot; who has booted, or is in quarantine, gets an address and no file."""
        known = self._index.find(seen)
        if known is None:
            return None
        row, now = known.row, self._now()
        boots = row.serves and row.state not in ("verified", "failed")
        if boots and not row.opens_at <= now < row.closes_at:
            self.strange["outside_window"] += 1
            return None
        if row.state == "expected" and len(self._noticed) < SEEN:
            self._noticed.setdefault(row.id, (now, seen))
            self._queued.set()
        if not row.serves and row.address_now is None:  # who has an address keeps it
            self.strange["no_service"] += 1
            return None
        variables = {name: str(value) for name, value in row.variables.items() if isinstance(value, str | int | float)}
        for name, told in (("image", row.image), ("target_version", row.target_version)):
            if told:
                variables.setdefault(name, told)
        with contextlib.suppress(ValueError):
            variables.setdefault("tftp_address", str(IPv4Address(self._config.host)))  # a host that is a name has no place in these options
        profile = (
            row.profile if boots or (row.serves and self.places.kind(row.profile) == "none") else PLAIN
        )  # where no file is fetched, the options are all that it needs
        return BootAnswer(profile=profile, device_id=row.device_id, variables=variables, address=row.address)

    def boot_url(self, seen: ClientIdentity, answer: BootAnswer, address: Address) -> str:
        """The first file's, the same until it is used up or its time is nearly over."""
        known = self._index.find(seen)
        if known is None or not self._config.enabled or answer.profile == PLAIN or self.places.kind(known.row.profile) == "none":
            return ""
        if not self.places.host(address.version):  # this family is told no place: whoever needs one gets no answer
            return ""
        generation = self._generation(known, address)
        return f"{self.places.server(known.row.transport, address.version)}/{self.places.path(known.row.profile, known.secret, generation, 'boot', address)}"

    def _generation(self, known: Known, address: Address) -> int:
        """Of the tokens that are told now at this address: another one once what was told there is used up or ends soon. That one ends by itself, and its
        device's first password stays: whoever is told another URL may be at work with what it has."""
        token = known.good.get((str(address), "boot"))
        if token is None or token[0] < known.row.generation:
            return known.row.generation
        now = self._now()
        generation, until, done = token
        used = done is not None and done + timedelta(seconds=self._config.retry_seconds / 2) <= now
        ends = until - now < timedelta(seconds=self._config.token_seconds / 4) and until < known.row.closes_at  # at its window's end another is good no longer
        return generation + (used or ends)

    def unexpected(self, seen: ClientIdentity) -> None:
        """Keep it for the list of candidates, once; not who waits for a subscriber."""
        waiting = self._index.find(seen)
        if waiting is not None and not waiting.row.serves:
            return
        if not (seen.serial or seen.client_id or seen.mac):  # DHCPv6's Information-request may say nothing of who sends it
            self.strange["nameless"] += 1
            return
        identity = identity_of(seen)
        known = self._strangers.get(identity)
        if known is None and not self._newcomers.may(seen, identity, self._monotonic()):
            self.strange["line_too_many"] += 1
            return
        if known is None and len(self._strangers) >= STRANGERS:
            self.strange["not_kept"] += 1
            return
        self.strange["candidate"] += 1
        self._strangers[identity] = stranger(seen, identity, (known.packets if known else 0) + 1, self._now())
        self._queued.set()

    async def granted(self, conn: Connection, grants: Sequence[Granted]) -> None:
        """Write tokens and steps in the lease's transaction."""
        tokens: list[NewToken] = []
        steps: list[Advance] = []
        now = self._now()
        for grant in grants:
            known = self._index.find(grant.seen)
            if known is None or grant.answer.profile == PLAIN:
                continue
            row = known.row
            if not grant.boot_url and self.places.kind(row.profile) != "none":
                continue  # it is not told where its file is, so it is no further than it was
            if grant.boot_url:
                tokens += self._tokens(known, grant.address, now)
            evidence = {"address": str(grant.address), "step": grant.step, "relay": str(grant.seen.relay or "")}
            if grant.step == "offered":
                steps.append(Advance(row.id, row.tenant_id, "offered", "offered", now, evidence, None, said(grant.seen)))
            elif self.places.kind(row.profile) == "none":  # it fetches nothing: it is looked at as soon as it is there
                steps.append(Advance(row.id, row.tenant_id, "configured", "leased", now, evidence, str(grant.address), said(grant.seen)))
            else:
                steps.append(Advance(row.id, row.tenant_id, "offered", "leased", now, evidence, str(grant.address), said(grant.seen)))
        if tokens:
            await store.remember(conn, tokens)
        if steps:
            await booting.advance(conn, steps)

    def _tokens(self, known: Known, address: Address, now: datetime) -> list[NewToken]:
        row = known.row
        generation = self._generation(known, address)
        until = min(now + timedelta(seconds=self._config.token_seconds), row.closes_at)
        made = []
        for purpose in PURPOSES:
            if known.good.get((str(address), purpose), (0,))[0] >= generation:
                continue  # it is in the table
            digest = boottokens.digest(boottokens.token(known.secret, generation, purpose, address)).hex()
            made.append(NewToken(digest, row.tenant_id, row.id, generation, purpose, str(address), until))
        return made

    # -- what is written a little later ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write who was seen, adopt what rules adopt, and see that what is configured is finished, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.feed.run(), name="expected devices' feed")
            group.create_task(self._flushing(), name="expected devices' notes")
            group.create_task(self._sweeping(), name="expected devices' sweep")
            group.create_task(self._following(), name="expected devices' subscribers")

    async def _flushing(self) -> None:
        while True:
            await self._queued.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except StoreError as error:
                log.warning("devices that were seen are not written", extra={"error": str(error)})
                await asyncio.sleep(1.0)
                self._queued.set()
            except Exception:  # barrier: a defect of this must not end the daemon, and RADIUS with it; who was seen comes again
                log.exception("devices that were seen are not written")
                await asyncio.sleep(1.0)

    async def flush(self) -> None:
        """Write what waits. Raises StoreError; then it comes again with the devices' next packets."""
        self._queued.clear()
        noticed, self._noticed = self._noticed, {}
        strangers, self._strangers = self._strangers, {}
        async with self.database.transaction() as conn:
            steps = [Advance(each, self._index.by_id[each].row.tenant_id, "seen", "seen", at, said(seen), None, said(seen))
                     for each, (at, seen) in noticed.items() if each in self._index.by_id]  # fmt: skip
            await booting.advance(conn, steps)
            for tenant_id, candidate, fresh in await store.strangers(conn, list(strangers.values()), self._config.candidates):
                try:
                    async with savepoint(conn):
                        await self._arrived(conn, tenant_id, candidate, fresh=fresh)
                except StoreUnavailable:
                    raise
                except Exception:  # barrier: what one candidate, or a rule, brings up must keep no other from the list
                    log.exception("a candidate is not looked at", extra={"candidate": candidate.id})
            await self._sum_up(conn)

    async def _arrived(self, conn: Connection, tenant_id: int, candidate: BootCandidate, *, fresh: bool) -> None:
        if fresh and self._newcomers.own_event(tenant_id, self._monotonic()):
            await adoption.announced(conn, tenant_id, candidate)
        await adoption.arrived(
            conn, tenant_id, candidate, self._keyring, self._profiles, self._now(), self._config.window_days, self._config.rule_line_devices
        )  # fmt: skip

    async def _sum_up(self, conn: Connection) -> None:
        for tenant_id, count in self._newcomers.due(self._monotonic()).items():
            await adoption.announced_together(conn, tenant_id, count)

    async def _sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("devices that boot are not looked after", extra={"error": str(error)})
            except Exception:  # barrier: a defect of this look must not end the daemon, and RADIUS with it
                log.exception("devices that boot are not looked after")
            await asyncio.sleep(SWEEP_SECONDS)

    async def _following(self) -> None:
        while True:
            await self._changed.wait()
            try:
                if not await self.follow():
                    await asyncio.sleep(FOLLOW_SECONDS)  # a job is at one of them
            except StoreError as error:
                log.warning("devices do not follow their subscribers", extra={"error": str(error)})
                await asyncio.sleep(1.0)

    async def follow(self) -> bool:
        """Look at those that may have to follow their subscribers; False: some have to be looked at again. Raises StoreError; then all that are left have."""
        self._changed.clear()
        again: set[int] = set()
        try:
            while self._to_follow:
                device = self._to_follow.pop()  # before it is looked at: what changes meanwhile brings it back
                again.add(device)
                try:
                    async with self.database.transaction() as conn:
                        done = await arming.follow(conn, self._kinds, self._keyring, self.places, device, self._now())
                except StoreUnavailable:
                    raise
                except StoreError as error:  # a password that does not open: the others go on
                    log.error("a device does not follow its subscriber", extra={"ztp_device": device, "error": str(error)})
                    done = True
                except Exception:  # barrier: what one device brings up must not end the daemon, and RADIUS with it
                    log.exception("a device does not follow its subscriber", extra={"ztp_device": device})
                    done = True
                if done:
                    again.discard(device)
        finally:
            self._follow(again)
        return not again

    async def sweep(self) -> None:
        """Begin what a crash, a lost acknowledgement, or a job that was lost, left: whoever is configured, or may be, has a job, waits, or is verified or in
        quarantine; and what is due of those that are verified. Raises StoreError."""
        now = self._now()
        async with self.database.transaction() as conn:
            for each in await store.perhaps_delivered(conn, now - timedelta(seconds=max(self._config.retry_seconds, LEAST_RETRY_SECONDS))):
                await booting.presume(conn, *each, now)
            left = await store.unfinished(conn)
            due = await store.overdue(conn, now - timedelta(days=1), now + timedelta(days=self._config.certificate_renew_days))
            await store.sweep(conn, now - timedelta(days=1))
            await self._sum_up(conn)
            ending = await certificates.ending(conn, now + timedelta(days=self._config.certificate_renew_days))
        self._ending = [f"the certification authority {subject} ends at {end:%Y-%m-%d}, and all that it signed: another is needed" for subject, end in ending]
        for tenant_id, device in due:
            async with self._alone(device) as conn:
                await arming.overdue(conn, self._kinds, self._keyring, tenant_id, device, now)
        for tenant_id, device in left:
            async with self._alone(device) as conn:
                await booting.finish(conn, self._kinds, self._keyring, tenant_id, device, self._now())

    @contextlib.asynccontextmanager
    async def _alone(self, device: int) -> AsyncIterator[Connection]:
        """A transaction about one device. Raises StoreUnavailable; what else comes up is told, and the devices behind it are looked at all the same."""
        try:
            async with self.database.transaction() as conn:
                yield conn
        except StoreUnavailable:
            raise
        except Exception:  # barrier: what one device brings up must not leave all others undone
            log.exception("a device that boots is not looked after", extra={"ztp_device": device})

    async def close(self) -> None:
        """Let go of the feed's connection."""
        await self.feed.close()
