"""Delivers events to webhooks: each webhook's in order, one at a time, every one at least once.

A webhook that has something due is claimed by a lease (``store.deliveries``), so that of several nodes one serves it, and is then served by a task of its
own: an endpoint that is slow or dead keeps nobody else waiting. How far it is stands in the database and follows the deliveries by a second at most;
what a crash leaves unwritten is sent again under the same delivery id. The one event that fails is tried again after seconds, later after a quarter of an
hour, and after a day the webhook is disabled.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from netd.device.http import DEADLINE_SECONDS, Client
from netd.domain import audit, endpoints, webhooks
from netd.domain.actor import system
from netd.domain.ports import Part
from netd.domain.webhooks import Attempt
from netd.errors import NetdError, StoreError
from netd.keyring import Keyring
from netd.metrics import Counts, Metrics
from netd.store import deliveries as store
from netd.store.database import Database
from netd.store.deliveries import LEASE_SECONDS, Claim, Outcome, Row
from netd.store.events import Kept

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
STANDING_SECONDS: Final = 5.0
MOST_CLAIMED: Final = 500
"""Webhooks that one node serves at the same time; the others' turn comes within a deadline."""

BATCH_EVENTS: Final = 50
KEEP_SECONDS: Final = 1.0
SLACK_SECONDS: Final = 20.0
STOP_SECONDS: Final = 3.0
FIRST_RETRY_SECONDS: Final = 2.0
LONGEST_RETRY_SECONDS: Final = 900.0
GIVE_UP: Final = timedelta(hours=24)
GONE: Final = 410


def backoff_seconds(attempts: int, spread: float) -> float:
    """The pause after so many failed attempts; ``spread`` from 0 to 1 keeps endpoints that failed together from being tried together."""
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 20)) * (0.75 + spread / 2)


class _Progress:
    """How far a claimed webhook is, and what of it is not written yet. ``good_until`` is when the lease may be over, by this node's clock."""

    def __init__(self, claim: Claim, good_until: float) -> None:
        self.claim = claim
        self.place = store.place_of(claim.webhook)
        self.lines: list[Row] = []
        self.outcome: Outcome | None = None
        self.good_until = good_until
        self.kept_at = good_until - LEASE_SECONDS


class WebhookService:
    """Serves webhooks until it is cancelled. ``database`` acts as the owner, on connections that the engine does not need."""

    def __init__(
        self, database: Database, client: Client, keyring: Keyring, *, now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._database = database
        self._client = client
        self._keyring = keyring
        self._now = now
        self._monotonic = monotonic
        self._random = random.Random()
        self._owner = secrets.token_hex(8)
        self._serving: set[asyncio.Task[None]] = set()
        self._standing = {"enabled": 0, "failing": 0, "given_up": 0}
        self._looked_at = -STANDING_SECONDS
        self._since = time.time()
        self._fault = ""
        self._stopping = False
        self.attempts = Counts()  # by (outcome,)

    async def run(self) -> None:
        """Deliver what is due, for ever."""
        try:
            while True:
                try:
                    await self.look()
                    self._turned("")
                except StoreError as error:
                    log.warning("webhooks not looked for", extra={"error": str(error)})
                    self._turned(str(error))
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._end()

    async def look(self) -> int:
        """Claim what is due and begin to serve it; returns how many that are. Raises StoreError."""
        free = MOST_CLAIMED - len(self._serving)
        before = self._monotonic()  # the database's clock reads later than this one, so the lease is never thought longer than it is
        async with self._database.acquire() as conn:
            claims = await store.claim(conn, self._owner, self._now(), free) if free > 0 else []
            if before - self._looked_at >= STANDING_SECONDS:
                self._standing, self._looked_at = await store.standing(conn), before
        for claim in claims:
            task = asyncio.create_task(self._serve(_Progress(claim, before + LEASE_SECONDS)), name=f"webhook {claim.webhook.id}")
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        return len(claims)

    async def idle(self) -> None:
        """Wait until nothing is being delivered."""
        while self._serving:
            await asyncio.wait(set(self._serving))

    async def _end(self) -> None:
        """Begin no further delivery, and let those under way end, but not for long; what was delivered is written, and the leases are given back."""
        self._stopping = True
        tasks = set(self._serving)
        if tasks:
            _, slow = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in slow:
                task.cancel()
            if slow:
                await asyncio.wait(slow, timeout=STOP_SECONDS)

    async def _serve(self, progress: _Progress) -> None:
        """Deliver all that is due to one webhook."""
        try:
            try:
                secrets_ = endpoints.opened(self._keyring, webhooks.CONTEXT, progress.claim.secrets, self._now())
                while await self._batch(progress, secrets_):
                    pass
            except asyncio.CancelledError:
                await asyncio.shield(self._keep(progress))
                raise
            finally:
                await asyncio.shield(self._release(progress))
        except NetdError as error:  # the lease runs out, and whoever claims it then goes on from what was written
            log.warning("webhook not served to the end", extra={"webhook": progress.claim.webhook.name, "error": str(error)})
        except Exception:  # barrier: what one webhook brings up must not end the service of the others
            log.exception("webhook not served to the end", extra={"webhook": progress.claim.webhook.name})

    async def _batch(self, progress: _Progress, secrets_: list[str]) -> bool:
        """Deliver the next events; False where there are no more for now, one failed, or the webhook is not this node's any longer."""
        async with self._database.acquire() as conn:
            found, upto = await store.due(conn, progress.claim, progress.place, BATCH_EVENTS)
        for kept in found:
            if progress.good_until - self._monotonic() < DEADLINE_SECONDS + SLACK_SECONDS and not await self._keep(progress):
                return False
            if not await self._deliver(progress, kept, secrets_):
                return False
            if self._stopping:
                await self._keep(progress)
                return False
            if self._monotonic() - progress.kept_at >= KEEP_SECONDS and not await self._keep(progress):
                return False
        progress.place = upto
        return await self._keep(progress) and len(found) == BATCH_EVENTS

    async def _deliver(self, progress: _Progress, kept: Kept, secrets_: list[str]) -> bool:
        hook = progress.claim.webhook
        failed_before = hook.attempts if progress.outcome is None else 0
        now = self._now()
        delivery_id = f"{hook.id}.{kept.event.id}"
        attempt = await webhooks.send(self._client, hook.url, secrets_, kept.event, delivery_id, now)
        self.attempts[("delivered" if attempt.delivered else "failed",)] += 1
        progress.lines.append(
            Row(delivery_id, kept.event.id, kept.event.type, now, failed_before + 1, attempt.delivered, attempt.status, attempt.error, attempt.seconds)
        )
        if attempt.delivered:
            progress.place = kept.place
            progress.outcome = Outcome(attempt.status, None, now, now)
            return True
        since = hook.failing_since if progress.outcome is None and hook.failing_since is not None else now
        await self._failed(progress, attempt, failed_before + 1, since, now)
        return False

    async def _keep(self, progress: _Progress) -> bool:
        """Write how far it is and renew the lease; False if it is no longer this node's."""
        before = self._monotonic()
        async with self._database.transaction() as conn:
            held = await store.advance(conn, progress.claim, progress.place, progress.outcome)
            if progress.lines:
                await store.log(conn, progress.claim.webhook, progress.lines)
        progress.lines = []
        progress.kept_at, progress.good_until = before, before + LEASE_SECONDS
        return held

    async def _failed(self, progress: _Progress, attempt: Attempt, attempts: int, since: datetime, now: datetime) -> None:
        hook = progress.claim.webhook
        pause = max(backoff_seconds(attempts, self._random.random()), min(attempt.retry_after_seconds, LONGEST_RETRY_SECONDS))
        why = ""
        if attempt.status == GONE:
            why = "the endpoint answered 410 Gone"
        elif now - since >= GIVE_UP:
            why = f"{attempts} attempts failed in {GIVE_UP // timedelta(hours=1)} hours, the last: {attempt.error}"
        outcome = Outcome(attempt.status, attempt.error, now, progress.outcome.delivered_at if progress.outcome else None)
        async with self._database.transaction() as conn:
            await store.log(conn, hook, progress.lines)
            held = await store.failed(conn, progress.claim, progress.place, outcome, attempts, since, now + timedelta(seconds=pause))
            if held and why and await store.disable(conn, progress.claim, why, now):
                told = {"name": hook.name, "enabled": False, "disabled_reason": why}
                await audit.record(conn, system(hook.tenant_id), "webhook.disable", "webhook", hook.id, before={"enabled": True}, after=told)
                self._looked_at = -STANDING_SECONDS
        progress.lines = []
        if why:
            log.warning("webhook disabled", extra={"webhook": hook.name, "reason": why})

    async def _release(self, progress: _Progress) -> None:
        async with self._database.acquire() as conn:
            await store.release(conn, progress.claim)

    def _turned(self, fault: str) -> None:
        if bool(fault) != bool(self._fault):
            self._since = time.time()
        self._fault = fault

    def parts(self) -> list[Part]:
        """For /health: never critical. Names and reasons are at /webhooks, for those who may see them."""
        standing = self._standing
        said = [f"{standing['given_up']} disabled after failures" * bool(standing["given_up"]), f"{standing['failing']} failing" * bool(standing["failing"])]
        detail = self._fault or ", ".join(filter(None, said))
        return [Part(name="webhooks", state="degraded" if detail else "ok", since=self._since, detail=detail, last_error=self._fault)]

    def register(self, metrics: Metrics) -> None:
        """Add the service's series."""
        metrics.counter_of("netd_webhook_attempts", "Attempts to deliver an event to a webhook", lambda: self.attempts, ("outcome",))
        metrics.gauge("netd_webhooks", "Webhooks by state", lambda: self._standing, ("state",))
        metrics.gauge("netd_webhooks_serving", "Webhooks that are being delivered to", lambda: len(self._serving))
