"""The dynamic authorization client (RFC 5176): Disconnect- and CoA-Requests to the NAS of a session.

Each NAS has its own queue and socket, so one that is dead delays no other. The result is what the NAS said.
An order is a small object with a callback, no task: as many may wait as there are live sessions.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from netd.config import CoaConfig
from netd.errors import ExtensionError, WireError
from netd.model.control import ControlResult, QueueState
from netd.wire import radius
from netd.wire.radius import SharedSecret

log = logging.getLogger(__name__)

Action = Literal["disconnect", "coa"]
Attributes = bytes | Callable[[], bytes]
Done = Callable[[ControlResult], None]
Settled = Callable[[ControlResult], None]

SESSION_NOT_FOUND: Final = 503
"""Error-Cause "Session Context Not Found" (RFC 5176 3.5)."""

IDLE_SECONDS: Final = 300.0
TELL_SECONDS: Final = 60.0
"""How often the log names a reason for which answers of a NAS are discarded."""

NO_LONGER_WANTED: Final = "no longer wanted"
DEAD_AFTER: Final = 3
"""Requests in a row without an answer, each tried as often as configured, after which a NAS is taken for dead."""

READ_SECONDS: Final = 0.01
"""How long after its time an answer may still be read: where the loop itself stood still, timers come first and the answer lies in the socket."""

URGENT_ROOM: Final = 8
"""Urgent requests under way beside a full window: what waits for a NAS that loses packets does not hold up the operator."""

CAUSES: Final = {
    201: "Residual Session Context Removed", 202: "Invalid EAP Packet (Ignored)", 203: "Administratively Prohibited Session Removed",
    401: "Unsupported Attribute", 402: "Missing Attribute", 403: "NAS Identification Mismatch", 404: "Invalid Request",
    405: "Unsupported Service", 406: "Unsupported Extension", 407: "Invalid Attribute Value", 501: "Administratively Prohibited",
    502: "Request Not Routable (Proxy)", 503: "Session Context Not Found", 504: "Session Context Not Removable",
    505: "Other Proxy Processing Error", 506: "Resources Unavailable", 507: "Request Initiated", 508: "Multiple Session Selection Unsupported",
    509: "Location Info Required", 601: "Response Too Big",
}  # fmt: skip

_REQUESTS: Final[dict[Action, tuple[int, int, int]]] = {
    "disconnect": (radius.DISCONNECT_REQUEST, radius.DISCONNECT_ACK, radius.DISCONNECT_NAK),
    "coa": (radius.COA_REQUEST, radius.COA_ACK, radius.COA_NAK),
}


class Target(NamedTuple):
    """Where a request goes; the secret is that of the NAS."""

    address: str
    port: int


class _Order:
    """A request that waits for its turn or its answer. Its attributes are made when its turn comes: until then it is small."""

    __slots__ = ("action", "attempts", "attributes", "authenticator", "begun_at", "done", "identifier", "packet", "secret", "still_wanted", "timer")

    def __init__(self, action: Action, attributes: Attributes, secret: SharedSecret, done: Done, still_wanted: Callable[[], bool]) -> None:
        self.still_wanted = still_wanted
        self.action = action
        self.attributes = attributes
        self.secret = secret
        self.done = done
        self.attempts = 0
        self.begun_at = 0.0
        self.identifier = -1
        self.packet = b""
        self.authenticator = b""
        self.timer: asyncio.TimerHandle | None = None


class _Queue(asyncio.DatagramProtocol):
    """The requests to one NAS: a window of unanswered ones, each with its own identifier and retransmission timer.

    The window halves when a request must be repeated and grows again with each that is answered at once: a NAS that loses packets is asked
    more slowly. After ``DEAD_AFTER`` requests in a row without an answer the NAS is taken for dead: what waits is told so at once, and from then on
    a single request every ``retry_seconds`` tries whether it is back. Urgent ones are tried whatever is known.
    """

    def __init__(
        self, target: Target, config: CoaConfig, wall_clock: Callable[[], float], settled: Settled, recovered: Callable[[Target], None],
        died: Callable[[Target, float], None],
    ) -> None:  # fmt: skip
        self.target = target
        self.urgent: deque[_Order] = deque()
        self.waiting: deque[_Order] = deque()
        self.in_flight: dict[int, _Order] = {}
        self.discarded: dict[str, int] = {}
        self.last_used = 0.0
        self.window = float(config.window)
        self.unreachable_since: float | None = None  # Unix time of the first request that got no answer
        self.probe_at = 0.0
        self._told: dict[str, float] = {}  # when the log last named a reason to discard an answer
        self._silent = 0  # requests given up since anything was heard
        self._silent_since = 0.0
        self._cut_at = 0.0
        self._config = config
        self._wall_clock = wall_clock
        self._settled = settled
        self._recovered = recovered
        self._died = died
        self._next = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._pumping = False
        self._closed = False

    def put(self, order: _Order, urgent: bool) -> None:
        self.last_used = time.monotonic()
        if urgent:
            self.urgent.append(order)
        elif self.would_wait_in_vain(self.last_used):
            self._settle(order, self._dead(order))
            return
        else:
            self.waiting.append(order)
            if self.unreachable_since is not None:
                self.probe_at = self.last_used + self._config.retry_seconds
        if self._transport is not None:
            self._pump()
        elif self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    def would_wait_in_vain(self, now: float) -> bool:
        """Whether the NAS is taken for dead and it is too soon to try again."""
        return self.unreachable_since is not None and (now < self.probe_at or bool(self.waiting or self.in_flight))

    async def _open(self) -> None:
        local = (self._config.source_address, 0) if self._config.source_address else None
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=local, remote_addr=self.target)
        except (OSError, ValueError) as error:  # ValueError: a source address of the other family
            for order in self._taken_out(every=True):
                self._settle(order, ControlResult(outcome="error", action=order.action, detail=f"cannot reach {self.target.address}: {error}"))
            return
        finally:
            self._opening = None
        if self._closed:  # meanwhile
            transport.close()
            return
        self._transport = transport
        self._pump()

    def _taken_out(self, every: bool) -> list[_Order]:
        """Empty what waits: all, or all but what is urgent."""
        orders = [*self.urgent, *self.waiting] if every else list(self.waiting)
        self.waiting.clear()
        if every:
            self.urgent.clear()
        return orders

    def _pump(self) -> None:
        if self._pumping:  # an order that was settled led to another: the loop that settled it goes on
            return
        self._pumping = True
        try:
            while True:
                under_way = len(self.in_flight)
                if self.urgent and under_way < min(self._config.window + URGENT_ROOM, 255):
                    self._begin(self.urgent.popleft())
                elif self.waiting and under_way < max(1, int(self.window)):
                    self._begin(self.waiting.popleft())
                else:
                    return
        finally:
            self._pumping = False

    def _begin(self, order: _Order) -> None:
        if not order.still_wanted():
            self._settle(order, ControlResult(outcome="error", action=order.action, detail=NO_LONGER_WANTED))
            return
        while self._next in self.in_flight:
            self._next = (self._next + 1) % 256
        order.identifier = self._next
        self._next = (self._next + 1) % 256
        stamp = bytes((radius.EVENT_TIMESTAMP, 6)) + int(self._wall_clock()).to_bytes(4, "big")
        try:
            attributes = order.attributes if isinstance(order.attributes, bytes) else order.attributes()
            order.packet = radius.request(_REQUESTS[order.action][0], order.identifier, attributes + stamp, order.secret)
        except (ExtensionError, ValueError, LookupError) as error:  # a broken driver, an attribute that nobody knows, or too long
            self._settle(order, ControlResult(outcome="error", action=order.action, detail=str(error)))
            return
        order.authenticator = order.packet[4:20]
        order.begun_at = time.monotonic()
        self.in_flight[order.identifier] = order
        self._send(order)

    def _send(self, order: _Order) -> None:
        """Send, or send again the very same octets (RFC 5176 2.3: a retransmission keeps identifier and authenticator)."""
        order.attempts += 1
        if self._transport is not None:
            self._transport.sendto(order.packet)
        wait = self._config.timeout_seconds * 2 ** (order.attempts - 1)
        order.timer = asyncio.get_running_loop().call_later(wait, self._due, order)

    def _due(self, order: _Order) -> None:
        order.timer = asyncio.get_running_loop().call_later(READ_SECONDS, self._overdue, order)

    def _overdue(self, order: _Order) -> None:
        now = time.monotonic()
        if now - self._cut_at > self._config.timeout_seconds:  # what was lost together counts once
            self.window, self._cut_at = max(1.0, self.window / 2), now
        if order.attempts < self._config.attempts:
            self._send(order)
            return
        if not self._silent:
            self._silent_since = self._wall_clock() - (now - order.begun_at)
        self._silent += 1
        dead = self._silent >= DEAD_AFTER and self.unreachable_since is None
        if dead:
            self.unreachable_since = self._silent_since
            self.probe_at = now + self._config.retry_seconds
            log.warning("NAS does not answer dynamic authorization", extra={"nas": self.target.address, "port": self.target.port, "waiting": len(self.waiting)})
        self._finish(order, "timeout", detail=f"no answer from {self.target.address} port {self.target.port} to {order.attempts} requests")
        if dead:
            self._died(self.target, self._silent_since)
            for waiting in self._taken_out(every=False):
                self._settle(waiting, self._dead(waiting))

    def _dead(self, order: _Order) -> ControlResult:
        since = datetime.fromtimestamp(self.unreachable_since or 0.0, UTC)
        detail = f"not asked: {self.target.address} port {self.target.port} answers nothing since {since:%Y-%m-%d %H:%M:%SZ}"
        return ControlResult(outcome="timeout", action=order.action, detail=detail)

    def _heard(self, order: _Order) -> None:
        """An answer that can be believed: the NAS lives."""
        self._silent = 0
        if order.attempts == 1:
            self.window = min(float(self._config.window), self.window + 1 / self.window)
        if self.unreachable_since is not None:
            self.unreachable_since = None
            log.info("NAS answers dynamic authorization again", extra={"nas": self.target.address, "port": self.target.port})
            self._recovered(self.target)

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            packet = radius.parse(data)
            order = self.in_flight.get(packet.identifier)
            if order is None:
                raise WireError("late_answer")
            _, ack, nak = _REQUESTS[order.action]
            if packet.code not in (ack, nak):
                raise WireError("unexpected_code", str(packet.code))
            if not radius.response_authenticator_ok(packet, order.secret, order.authenticator):
                raise WireError("response_authenticator_wrong")
            if packet.ma_at and not radius.message_authenticator_ok(packet, order.secret, order.authenticator):
                raise WireError("message_authenticator_wrong")
        except WireError as error:
            self.discarded[error.reason] = self.discarded.get(error.reason, 0) + 1
            now = time.monotonic()
            if now - self._told.get(error.reason, -TELL_SECONDS) >= TELL_SECONDS:  # a slow NAS answers each repetition, and anybody may send more
                self._told[error.reason] = now
                log.warning("answer to a dynamic authorization request discarded", extra={"nas": self.target.address, "reason": error.reason})
            return
        self._heard(order)
        cause = packet.attributes.get(radius.ERROR_CAUSE)
        number = int.from_bytes(cause) if cause is not None and len(cause) == 4 else None
        self._finish(order, "ack" if packet.code == ack else "nak", number)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: a hint, not an answer (it can be forged, and the NAS may be starting); the timers decide."""
        log.debug("ICMP error from NAS", extra={"nas": self.target.address, "error": str(exc)})

    def _finish(self, order: _Order, outcome: Literal["ack", "nak", "timeout"], cause: int | None = None, detail: str = "") -> None:
        self.in_flight.pop(order.identifier, None)
        self._settle(
            order,
            ControlResult(
                outcome=outcome, action=order.action, error_cause=cause, error_cause_name=None if cause is None else CAUSES.get(cause, f"Error-Cause {cause}"),
                detail=detail, attempts=order.attempts, duration_seconds=round(time.monotonic() - order.begun_at, 4),
            ),
        )  # fmt: skip
        self._pump()

    def _settle(self, order: _Order, result: ControlResult) -> None:
        if order.timer is not None:
            order.timer.cancel()
        self._settled(result)
        order.done(result)

    def close(self) -> None:
        """End; whatever was not answered is reported as not done."""
        self._closed = self._pumping = True  # nothing is begun any more
        orders = [*self.in_flight.values(), *self._taken_out(every=True)]
        self.in_flight.clear()
        for order in orders:
            self._settle(order, ControlResult(outcome="error", action=order.action, detail="netd is stopping", attempts=order.attempts))
        if self._transport is not None:
            self._transport.close()


class DynamicAuthorization:
    """Sends Disconnect- and CoA-Requests; one queue per NAS address and port."""

    def __init__(self, config: CoaConfig, wall_clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._wall_clock = wall_clock
        self._queues: dict[Target, _Queue] = {}
        self._discarded: Counter[str] = Counter()  # of queues closed since
        self._closed = False
        self._unsettled = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.on_recovered: Callable[[Target], None] = lambda target: None
        self.on_died: Callable[[Target, float], None] = lambda target, since: None
        self.results: dict[tuple[str, str], int] = {}  # by action and outcome, for metrics

    def post(
        self, action: Action, target: Target, secret: SharedSecret, attributes: Attributes, done: Done,
        still_wanted: Callable[[], bool] = lambda: True, urgent: bool = False,
    ) -> None:  # fmt: skip
        """Queue a request; ``done`` is called with what the NAS says, which may be before this returns.

        ``attributes`` identify the session and, for a CoA, change it, or make those octets when it is the request's turn (what they raise is
        the result). Event-Timestamp and Message-Authenticator are added. ``still_wanted`` is asked when its turn comes, which for a NAS that is
        slow may be much later: a False ends it unsent, with detail NO_LONGER_WANTED. ``urgent`` goes before what is not: somebody looks on.
        A result ``timeout`` with no attempts was not sent, for the NAS had not answered for long.
        """
        if self._closed:
            done(ControlResult(outcome="error", action=action, detail="netd is stopping"))
            return
        queue = self._queues.get(target)
        if queue is None:
            queue = self._queues[target] = _Queue(
                target, self._config, self._wall_clock, self._count, lambda heard: self.on_recovered(heard), lambda dead, since: self.on_died(dead, since)
            )
        self._unsettled += 1
        self._quiet.clear()
        queue.put(_Order(action, attributes, secret, done, still_wanted), urgent)

    async def send(
        self, action: Action, target: Target, secret: SharedSecret, attributes: Attributes,
        still_wanted: Callable[[], bool] = lambda: True, urgent: bool = False,
    ) -> ControlResult:  # fmt: skip
        """``post``, and wait for what the NAS says. Never raises for what the NAS or the network does."""
        future: asyncio.Future[ControlResult] = asyncio.get_running_loop().create_future()

        def done(result: ControlResult) -> None:
            if not future.done():
                future.set_result(result)

        self.post(action, target, secret, attributes, done, lambda: not future.done() and still_wanted(), urgent)
        return await future

    def _count(self, result: ControlResult) -> None:
        key = (result.action, result.outcome)
        self.results[key] = self.results.get(key, 0) + 1
        self._unsettled -= 1
        if not self._unsettled:
            self._quiet.set()

    async def drain(self, timeout_seconds: float) -> None:
        """Wait until nothing is queued or unanswered, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._quiet.wait()

    def would_wait_in_vain(self, target: Target, now: float) -> bool:
        """Whether the NAS is taken for dead and it is too soon (monotonic ``now``) to try whether it is back."""
        queue = self._queues.get(target)
        return queue is not None and queue.would_wait_in_vain(now)

    def queues(self) -> list[QueueState]:
        """How it stands with every NAS that was asked something lately."""
        return [
            QueueState(
                address=target.address, port=target.port, waiting=len(queue.waiting) + len(queue.urgent), in_flight=len(queue.in_flight),
                window=max(1, int(queue.window)),
                unreachable_since=None if queue.unreachable_since is None else datetime.fromtimestamp(queue.unreachable_since, UTC),
            )
            for target, queue in self._queues.items()
        ]  # fmt: skip

    def close_idle(self, now: float) -> None:
        """Close the sockets of NAS that nothing was asked of for ``IDLE_SECONDS``; ``now`` is monotonic."""
        for target, queue in list(self._queues.items()):
            if not queue.waiting and not queue.urgent and not queue.in_flight and now - queue.last_used > IDLE_SECONDS:
                self._discarded.update(queue.discarded)
                queue.close()
                del self._queues[target]

    def waiting(self) -> dict[str, int]:
        """Requests queued or unanswered, by NAS address."""
        counts: Counter[str] = Counter()
        for queue in self._queues.values():
            counts[queue.target.address] += len(queue.waiting) + len(queue.urgent) + len(queue.in_flight)
        return {address: count for address, count in counts.items() if count}

    def unreachable(self) -> dict[str, float]:
        """Since when (Unix time) each NAS address that is taken for dead answers nothing."""
        return {queue.target.address: queue.unreachable_since for queue in self._queues.values() if queue.unreachable_since is not None}

    def discarded(self) -> dict[str, int]:
        """Answers that could not be believed, by reason."""
        total = self._discarded.copy()
        for queue in self._queues.values():
            total.update(queue.discarded)
        return total

    def close(self) -> None:
        """Give up what is not answered yet, and close the sockets."""
        self._closed = True
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()


def target_of(coa_address: str | None, source: str, coa_port: int | None, vendor_port: int) -> Target:
    """Where the NAS of a session takes dynamic authorization: its configured address, else where its packets come from."""
    return Target(coa_address or source, coa_port or vendor_port)
