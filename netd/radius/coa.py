"""The dynamic authorization client (RFC 5176): Disconnect- and CoA-Requests to the NAS of a session.

Each NAS has its own queue and socket, so one that is dead delays no other. The result is what the NAS said.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from netd.config import CoaConfig
from netd.errors import WireError
from netd.model.control import ControlResult
from netd.wire import radius
from netd.wire.radius import SharedSecret

log = logging.getLogger(__name__)

Action = Literal["disconnect", "coa"]

SESSION_NOT_FOUND: Final = 503
"""Error-Cause "Session Context Not Found" (RFC 5176 3.5)."""

IDLE_SECONDS: Final = 300.0
NO_LONGER_WANTED: Final = "no longer wanted"

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
    """A request that waits for its turn or its answer."""

    __slots__ = ("action", "attempts", "attributes", "authenticator", "begun_at", "future", "identifier", "packet", "secret", "still_wanted", "timer")

    def __init__(
        self, action: Action, attributes: bytes, secret: SharedSecret, future: asyncio.Future[ControlResult], still_wanted: Callable[[], bool]
    ) -> None:
        self.still_wanted = still_wanted
        self.action = action
        self.attributes = attributes
        self.secret = secret
        self.future = future
        self.attempts = 0
        self.begun_at = 0.0
        self.identifier = -1
        self.packet = b""
        self.authenticator = b""
        self.timer: asyncio.TimerHandle | None = None


class _Queue(asyncio.DatagramProtocol):
    """The requests to one NAS: at most ``window`` unanswered at a time, each with its own identifier and retransmission timer."""

    def __init__(self, target: Target, config: CoaConfig, wall_clock: Callable[[], float]) -> None:
        self.target = target
        self.waiting: deque[_Order] = deque()
        self.in_flight: dict[int, _Order] = {}
        self.discarded: dict[str, int] = {}
        self.last_used = 0.0
        self._config = config
        self._wall_clock = wall_clock
        self._next = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, order: _Order, urgent: bool) -> None:
        if urgent:
            self.waiting.appendleft(order)
        else:
            self.waiting.append(order)
        self.last_used = time.monotonic()
        if self._transport is not None:
            self._pump()
        elif self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        local = (self._config.source_address, 0) if self._config.source_address else None
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=local, remote_addr=self.target)
        except (OSError, ValueError) as error:  # ValueError: a source address of the other family
            orders, self.waiting = list(self.waiting), deque()
            for order in orders:
                self._settle(order, ControlResult(outcome="error", action=order.action, detail=f"cannot reach {self.target.address}: {error}"))
            return
        finally:
            self._opening = None
        if self._closed:  # meanwhile
            transport.close()
            return
        self._transport = transport
        self._pump()

    def _pump(self) -> None:
        while self.waiting and len(self.in_flight) < self._config.window:
            order = self.waiting.popleft()
            if order.future.done():
                continue
            if not order.still_wanted():
                self._settle(order, ControlResult(outcome="error", action=order.action, detail=NO_LONGER_WANTED))
                continue
            while self._next in self.in_flight:
                self._next = (self._next + 1) % 256
            order.identifier = self._next
            self._next = (self._next + 1) % 256
            stamp = bytes((radius.EVENT_TIMESTAMP, 6)) + int(self._wall_clock()).to_bytes(4, "big")
            try:
                order.packet = radius.request(_REQUESTS[order.action][0], order.identifier, order.attributes + stamp, order.secret)
            except ValueError as error:  # too long
                self._settle(order, ControlResult(outcome="error", action=order.action, detail=str(error)))
                continue
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
        order.timer = asyncio.get_running_loop().call_later(wait, self._overdue, order)

    def _overdue(self, order: _Order) -> None:
        if order.attempts < self._config.attempts:
            self._send(order)
            return
        self._finish(order, "timeout", detail=f"no answer from {self.target.address} port {self.target.port} to {order.attempts} requests")

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
            log.warning("answer to a dynamic authorization request discarded", extra={"nas": self.target.address, "reason": error.reason})
            return
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
        if not order.future.done():
            order.future.set_result(result)

    def close(self) -> None:
        """End; whatever was not answered is reported as not done."""
        self._closed = True
        for order in (*self.in_flight.values(), *self.waiting):
            self._settle(order, ControlResult(outcome="error", action=order.action, detail="netd is stopping", attempts=order.attempts))
        self.in_flight.clear()
        self.waiting.clear()
        if self._transport is not None:
            self._transport.close()


class DynamicAuthorization:
    """Sends Disconnect- and CoA-Requests; one queue per NAS address and port."""

    def __init__(self, config: CoaConfig, wall_clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._wall_clock = wall_clock
        self._queues: dict[Target, _Queue] = {}
        self._discarded: Counter[str] = Counter()  # of queues closed since
        self.results: dict[tuple[str, str], int] = {}  # by action and outcome, for metrics

    async def send(
        self, action: Action, target: Target, secret: SharedSecret, attributes: bytes,
        still_wanted: Callable[[], bool] = lambda: True, urgent: bool = False,
    ) -> ControlResult:  # fmt: skip
        """Send a request and wait for what the NAS says. ``attributes`` identify the session and, for a CoA, change it.

        Event-Timestamp and Message-Authenticator are added. Never raises for what the NAS or the network does. ``still_wanted`` is asked
        when its turn comes, which for a NAS that was silent may be much later: a False ends it unsent, with detail NO_LONGER_WANTED.
        ``urgent`` puts it before what waits: somebody looks on.
        """
        queue = self._queues.get(target)
        if queue is None:
            queue = self._queues[target] = _Queue(target, self._config, self._wall_clock)
        future: asyncio.Future[ControlResult] = asyncio.get_running_loop().create_future()
        queue.put(_Order(action, attributes, secret, future, still_wanted), urgent)
        result = await future
        key = (action, result.outcome)
        self.results[key] = self.results.get(key, 0) + 1
        return result

    def close_idle(self, now: float) -> None:
        """Close the sockets of NAS that nothing was asked of for ``IDLE_SECONDS``; ``now`` is monotonic."""
        for target, queue in list(self._queues.items()):
            if not queue.waiting and not queue.in_flight and now - queue.last_used > IDLE_SECONDS:
                self._discarded.update(queue.discarded)
                queue.close()
                del self._queues[target]

    def waiting(self) -> dict[str, int]:
        """Requests queued or unanswered, by NAS address."""
        return {q.target.address: len(q.waiting) + len(q.in_flight) for q in self._queues.values() if q.waiting or q.in_flight}

    def discarded(self) -> dict[str, int]:
        """Answers that could not be believed, by reason."""
        total = self._discarded.copy()
        for queue in self._queues.values():
            total.update(queue.discarded)
        return total

    def close(self) -> None:
        """Give up what is not answered yet, and close the sockets."""
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()


def target_of(coa_address: str | None, source: str, coa_port: int | None, vendor_port: int) -> Target:
    """Where the NAS of a session takes dynamic authorization: its configured address, else where its packets come from."""
    return Target(coa_address or source, coa_port or vendor_port)
