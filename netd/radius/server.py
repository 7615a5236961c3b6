"""The RADIUS server: reads packets, checks where they come from, and answers (RFC 2865, 2866, 5080, 5997, CVE-2024-3596).

Authentication is answered in the turn of the loop in which the packet was read; accounting once it is committed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from netd.config import RadiusConfig
from netd.errors import WireError
from netd.model.access import Reason
from netd.radius import record
from netd.radius.access import Access, Settled, Verdict
from netd.radius.accounting import Accounting, Pending
from netd.radius.allocator import Waiting
from netd.radius.datagrams import Datagram
from netd.radius.directory import Directory
from netd.radius.nas import NasRecord
from netd.radius.replies import IN_WORK, Key, Replies
from netd.radius.sockets import Socket
from netd.store.postauth import PostAuth, encode
from netd.wire import radius

log = logging.getLogger(__name__)

Learned = Callable[[NasRecord, str | None, str | None], None]
_OK: Final = Reason.OK
_WALLED: Final = Reason.WALLED

POSTAUTH_LIMIT = 50_000
"""Log-ins remembered while the database is away; older ones are dropped and counted."""

DETAIL_LENGTH: Final = 1000
CLIENTS_LIMIT: Final = 65_536
LIMITED_SECONDS = 60.0
STRANGER_SECONDS = 60.0
STRANGERS_NAMED = 10

ROOM: Final = radius.MAX_PACKET - 38
"""Octets of attributes that fit into an answer beside header and Message-Authenticator."""


class _Delayed(NamedTuple):
    due: float
    sock: Socket
    source: bytes
    control: bytes
    key: Key
    authenticator: bytes
    answer: bytes


class Server:
    """Sockets, duplicate detection and the two request handlers."""

    def __init__(self, directory: Directory, access: Access, accounting: Accounting, config: RadiusConfig) -> None:
        self.directory = directory
        self._networks = directory.networks
        self.access = access
        self.accounting = accounting
        self.replies = Replies(config.duplicate_seconds)
        self.on_learned: Learned = lambda nas, require, limit: None
        self.on_want: Callable[[Waiting], bool] = lambda waiting: False  # takes in a log-in that needs a lease from the database
        self.reading = False
        self.unknown: dict[str, int] = {}  # packets of nobody's, by reason
        self.postauth: deque[bytes] = deque()  # encoded at once: what is kept of a request is cold, and in the way, when it is written
        self.postauth_dropped = 0
        self._limited: set[tuple[int, str]] = set()  # whose rate-limited log-ins stand in radpostauth already
        self._limited_since = 0.0
        self._strangers: set[str] = set()  # named in the log lately
        self._strangers_unnamed = 0
        self._told_drops: set[tuple[int, str]] = set()  # NAS and reason that the log has named lately
        self._strangers_since = 0.0
        self._config = config
        self._log_accepts = config.log_accepts
        self._answers: list[Datagram] = []  # of the packets being handled, to go out together
        self._acks: dict[int, list[Datagram]] = {}  # of a commit, by the socket's number, to go out together
        self._delayed: deque[_Delayed] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._sockets: list[Socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def forget_told(self) -> None:
        """Let the log name again what goes on being dropped; to be called every few minutes."""
        self._told_drops.clear()

    def start(self, auth: Sequence[Socket], acct: Sequence[Socket]) -> None:
        """Begin to read. The sockets are the caller's to close, after ``stop``."""
        self._loop = loop = asyncio.get_running_loop()
        for sock in auth:
            loop.add_reader(sock.fileno, self._readable, sock, False)
        for sock in acct:
            loop.add_reader(sock.fileno, self._readable, sock, True)
        self._sockets = [*auth, *acct]
        self.reading = True

    def stop(self) -> None:
        """Read no more. Rejects that wait for their delay go out at once."""
        self.reading = False
        if self._loop is not None:
            forget: Callable[[int], object] = self._loop.remove_reader  # uvloop's returns None, whatever typeshed says; compiled code would notice
            for sock in self._sockets:
                forget(sock.fileno)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._delayed:
            self._send_delayed(self._delayed.popleft())

    # -- reading -----------------------------------------------------------------------------------------------------

    def _readable(self, sock: Socket, accounting: bool) -> None:
        """Read what there is, then decide it all, then send the answers: three phases, because each system call between two packets
        costs the interpreter its caches (a fifth of the time per packet)."""
        now = time.monotonic()
        self.replies.turn(now)
        for data, source, control in sock.receive():
            try:
                if accounting:
                    self._accounting(data, source, control, sock)
                else:
                    self._authentication(data, source, control, sock, now)
            except WireError as error:
                self._drop(sock, source, error.reason)
            except Exception:  # barrier: one packet must not end the service; it is dropped, counted and reported
                log.exception("packet dropped by an internal error", extra={"source": sock.host(source), "port": sock.port})
                self._drop(sock, source, "internal_error")
        answers = self._answers
        if answers:
            self._answers = []
            sock.send(answers)

    def _drop(self, sock: Socket, source: bytes, reason: str) -> None:
        host = sock.host(source)
        nas = self._networks.source(host)
        counts = self.unknown if nas is None else nas.drops
        counts[reason] = counts.get(reason, 0) + 1
        if nas is not None and (nas.id, reason) not in self._told_drops:
            log.warning("packets of a NAS are dropped", extra={"nas": nas.name, "source": host, "reason": reason})
            self._told_drops.add((nas.id, reason))

    def _client(self, sock: Socket, source: bytes) -> tuple[str, NasRecord] | None:
        """The address and the NAS that a packet comes from, None if it is nobody's; found once and kept until a NAS changes."""
        host = sock.host(source)
        nas = self._networks.source(host)
        if nas is None:
            self.unknown["unknown_client"] = self.unknown.get("unknown_client", 0) + 1
            self._name_stranger(host)
            return None
        clients = self._networks.clients
        if len(clients) >= CLIENTS_LIMIT:
            clients.clear()
        client = clients[source[sock.host_from : sock.host_to]] = (host, nas)
        return client

    def _name_stranger(self, host: str) -> None:
        """Log whose packet was dropped: each source once a minute, ten of them a minute, and how many there were besides."""
        now = time.monotonic()
        if now - self._strangers_since >= STRANGER_SECONDS:
            if self._strangers_unnamed:
                log.warning("packets from further unknown clients dropped", extra={"packets": self._strangers_unnamed})
            self._strangers, self._strangers_unnamed, self._strangers_since = set(), 0, now
        if host in self._strangers:
            return
        if len(self._strangers) >= STRANGERS_NAMED:
            self._strangers_unnamed += 1
            return
        self._strangers.add(host)
        log.warning("packet from an unknown client dropped", extra={"source": host})

    # -- authentication ----------------------------------------------------------------------------------------------

    def _authentication(self, data: bytes, source: bytes, control: bytes, sock: Socket, now: float) -> None:
        client = self._networks.clients.get(source[sock.host_from : sock.host_to]) or self._client(sock, source)
        if client is None:
            return
        host, nas = client
        packet = radius.parse(data)
        code = packet.code
        if code != radius.ACCESS_REQUEST and code != radius.STATUS_SERVER:
            raise WireError("unexpected_code", str(code))
        authenticator = packet.authenticator
        key = source + sock.tag + data[:2]
        replies = self.replies
        known = replies.find(key, authenticator)
        if known is not None:
            nas.duplicates += 1
            if known:
                self._answers.append((known, source, control))
            return
        if packet.ma_at and not nas.learning and radius.EAP_MESSAGE not in packet.attributes:
            if not radius.message_authenticator_ok(packet, nas.secret):
                raise WireError("message_authenticator_wrong")
        else:
            self._check_signature(packet, nas)
        if code == radius.STATUS_SERVER:
            nas.status += 1
            answer = radius.reply(radius.ACCESS_ACCEPT, packet.identifier, authenticator, _with_proxy_states(packet), nas.secret)
            self._answers.append((answer, source, control))
            return
        wall_clock = time.time()
        verdict = self.access.decide(packet, nas, host, now, wall_clock)
        if len(verdict.attributes) > ROOM:
            detail = f"the answer would exceed {radius.MAX_PACKET} octets"
            verdict = Verdict(Reason.NOT_GRANTABLE, verdict.subscriber, verdict.name, detail=detail)
        reason, body = verdict.reason, verdict.attributes
        if radius.PROXY_STATE in packet.attributes:
            body = _with_proxy_states(packet, body)
        if reason is _OK or reason is _WALLED:
            answer = radius.reply(radius.ACCESS_ACCEPT, packet.identifier, authenticator, body, nas.secret)
            replies.put(key, authenticator, answer)
            self._answers.append((answer, source, control))
            nas.accepts += 1
            if self._log_accepts or verdict.detail:
                self._record(packet, nas, host, verdict, wall_clock)
            return
        if verdict.want is not None:
            self._wait_for_lease(packet, nas, host, verdict, key, sock, source, control)
            return
        replies.put(key, authenticator, IN_WORK)
        self._reject(packet, nas, host, verdict, body, key, sock, source, control, now, wall_clock)

    def _reject(
        self, packet: radius.Packet, nas: NasRecord, host: str, verdict: Verdict, body: bytes, key: Key, sock: Socket, source: bytes, control: bytes,
        now: float, wall_clock: float,
    ) -> None:  # fmt: skip
        """Answer a request that is IN_WORK with an Access-Reject, after the delay."""
        reason, authenticator = verdict.reason, packet.authenticator
        nas.rejects[reason.value] = nas.rejects.get(reason.value, 0) + 1
        answer = radius.reply(radius.ACCESS_REJECT, packet.identifier, authenticator, body, nas.secret)
        self._record(packet, nas, host, verdict, wall_clock)
        delayed = _Delayed(now + self._config.reject_delay_seconds, sock, source, control, key, authenticator, answer)
        if self._config.reject_delay_seconds <= 0:
            self._send_delayed(delayed)
            return
        self._delayed.append(delayed)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(self._config.reject_delay_seconds, self._flush_delayed)

    def _wait_for_lease(
        self, packet: radius.Packet, nas: NasRecord, host: str, verdict: Verdict, key: Key, sock: Socket, source: bytes, control: bytes
    ) -> None:  # fmt: skip
        """Hand a log-in to the allocator; what the NAS sends again meanwhile is absorbed."""
        want = verdict.want
        if want is None:
            return

        def settled(outcome: Settled) -> None:
            self._answer_leased(packet, nas, host, outcome, key, sock, source, control)

        self.replies.put(key, packet.authenticator, IN_WORK)
        if not self.on_want(Waiting(want, settled)):
            self.replies.forget(key, packet.authenticator)
            nas.drops["overload"] = nas.drops.get("overload", 0) + 1

    def _answer_leased(
        self, packet: radius.Packet, nas: NasRecord, host: str, outcome: Settled, key: Key, sock: Socket, source: bytes, control: bytes
    ) -> None:  # fmt: skip
        """Decide a log-in again whose leases were given or refused, and answer it."""
        now, wall_clock = time.monotonic(), time.time()
        verdict = self.access.decide_again(packet, nas, host, now, wall_clock, outcome)
        body = verdict.attributes
        if len(body) > ROOM:
            verdict = Verdict(Reason.NOT_GRANTABLE, verdict.subscriber, verdict.name, detail=f"the answer would exceed {radius.MAX_PACKET} octets")
            body = b""
        try:
            if radius.PROXY_STATE in packet.attributes:
                body = _with_proxy_states(packet, body)
        except WireError as error:
            self.replies.forget(key, packet.authenticator)
            self._drop(sock, source, error.reason)
            return
        if not verdict.accept:
            self._reject(packet, nas, host, verdict, body, key, sock, source, control, now, wall_clock)
            return
        answer = radius.reply(radius.ACCESS_ACCEPT, packet.identifier, packet.authenticator, body, nas.secret)
        self.replies.finish(key, packet.authenticator, answer)
        sock.send([(answer, source, control)])
        nas.accepts += 1
        if self._log_accepts or verdict.detail:
            self._record(packet, nas, host, verdict, wall_clock)

    def _check_signature(self, packet: radius.Packet, nas: NasRecord) -> None:
        """Message-Authenticator and the rules against forged answers (CVE-2024-3596); raises WireError to drop the packet."""
        attributes = packet.attributes
        if radius.EAP_MESSAGE in attributes and (
            radius.USER_PASSWORD in attributes or radius.CHAP_PASSWORD in attributes or radius.ARAP_PASSWORD in attributes
        ):
            raise WireError("eap_with_password")
        if packet.ma_at:
            if not radius.message_authenticator_ok(packet, nas.secret):
                raise WireError("message_authenticator_wrong")
        elif packet.code == radius.STATUS_SERVER or radius.EAP_MESSAGE in attributes or nas.require_ma:
            raise WireError("message_authenticator_missing")
        if nas.learning and packet.code == radius.ACCESS_REQUEST:
            self._learn(packet, nas)
        if nas.limit_proxy_state and not packet.ma_at and radius.PROXY_STATE in attributes:
            raise WireError("proxy_state_unsigned")

    def _learn(self, packet: radius.Packet, nas: NasRecord) -> None:
        """What the first Access-Request of a NAS set to ``auto`` teaches. A prefix may hold different devices: nothing strict is learned for it."""
        require = limit = None
        if "require" in nas.learning:
            if not packet.ma_at:
                require = "no"
            elif radius.EAP_MESSAGE not in packet.attributes and nas.exact:
                require = "yes"
        if "limit" in nas.learning:
            if radius.PROXY_STATE in packet.attributes and not packet.ma_at:
                limit = "no"
            elif nas.exact:
                limit = "yes"
        if require is None and limit is None:
            return
        nas.require_ma = nas.require_ma if require is None else require == "yes"
        nas.limit_proxy_state = nas.limit_proxy_state if limit is None else limit == "yes"
        nas.learning -= {switch for switch, learned in (("require", require), ("limit", limit)) if learned is not None}
        log.info("learned from the first Access-Request", extra={"nas": nas.name, "require_message_authenticator": require, "limit_proxy_state": limit})
        self.on_learned(nas, require, limit)

    def _record(self, packet: radius.Packet, nas: NasRecord, host: str, verdict: Verdict, wall_clock: float) -> None:
        """Remember the answer for radpostauth."""
        if verdict.reason is Reason.RATE_LIMITED and not self._first_lately((nas.tenant_id, verdict.name), wall_clock):
            return  # one row a minute tells it; a router that redials ten times a second would fill the disk
        postauth = self.postauth
        if len(postauth) >= POSTAUTH_LIMIT:
            postauth.popleft()
            self.postauth_dropped += 1
        postauth.append(encode(_postauth_row(packet.attributes, nas, host, verdict, wall_clock)))

    def _first_lately(self, key: tuple[int, str], wall_clock: float) -> bool:
        if wall_clock - self._limited_since >= LIMITED_SECONDS or len(self._limited) > POSTAUTH_LIMIT:
            self._limited, self._limited_since = set(), wall_clock
        if key in self._limited:
            return False
        self._limited.add(key)
        return True

    def take_postauth(self, most: int) -> list[bytes]:
        """Take the oldest answers out, for ``store.postauth.add_rows``."""
        return [self.postauth.popleft() for _ in range(min(len(self.postauth), most))]

    def _flush_delayed(self) -> None:
        self._timer = None
        now = time.monotonic() + 0.002  # timers are coarse; what is due within them goes now
        delayed = self._delayed
        while delayed and delayed[0].due <= now:
            self._send_delayed(delayed.popleft())
        if delayed and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, delayed[0].due - now), self._flush_delayed)

    def _send_delayed(self, delayed: _Delayed) -> None:
        self.replies.finish(delayed.key, delayed.authenticator, delayed.answer)
        delayed.sock.send([(delayed.answer, delayed.source, delayed.control)])

    # -- accounting --------------------------------------------------------------------------------------------------

    def _accounting(self, data: bytes, source: bytes, control: bytes, sock: Socket) -> None:
        client = self._networks.clients.get(source[sock.host_from : sock.host_to]) or self._client(sock, source)
        if client is None:
            return
        host, nas = client
        packet = radius.parse(data)
        code = packet.code
        authenticator = packet.authenticator
        key = source + sock.tag + data[:2]
        known = self.replies.find(key, authenticator)
        if known is not None:
            nas.duplicates += 1
            if known:
                self._answers.append((known, source, control))
            return
        if code == radius.STATUS_SERVER:
            self._check_signature(packet, nas)
            nas.status += 1
            answer = radius.reply(radius.ACCOUNTING_RESPONSE, packet.identifier, authenticator, _with_proxy_states(packet), nas.secret)
            self._answers.append((answer, source, control))
            return
        if code != radius.ACCOUNTING_REQUEST:
            raise WireError("unexpected_code", str(code))
        if not radius.request_authenticator_ok(packet, nas.secret):
            raise WireError("request_authenticator_wrong")
        if packet.ma_at and not radius.message_authenticator_ok(packet, nas.secret):
            raise WireError("message_authenticator_wrong")
        item = record.read(packet, nas, host, time.time())
        proxy_states = _with_proxy_states(packet) if radius.PROXY_STATE in packet.attributes else b""
        answer = radius.reply(radius.ACCOUNTING_RESPONSE, packet.identifier, authenticator, proxy_states, nas.secret, sign=bool(packet.ma_at))

        def done(committed: bool) -> None:
            if committed:
                nas.accounting += 1
                self.replies.finish(key, authenticator, answer)
                self._acknowledge(sock, (answer, source, control))
            else:
                self.replies.forget(key, authenticator)

        if item is None:
            done(True)  # a status type that says nothing of a subscriber's session: there is nothing to keep
        elif self.accounting.offer(Pending(item, nas, done)):
            self.replies.put(key, authenticator, IN_WORK)
        else:
            nas.drops["overload"] = nas.drops.get("overload", 0) + 1

    def _acknowledge(self, sock: Socket, answer: Datagram) -> None:
        """Send an answer with the others of this turn: a system call for each would hold the loop for milliseconds after a large commit."""
        waiting = self._acks.get(sock.number)
        if waiting is not None:
            waiting.append(answer)
            return
        self._acks[sock.number] = [answer]
        if self._loop is not None:
            self._loop.call_soon(self._send_acks, sock)
        else:
            self._send_acks(sock)

    def _send_acks(self, sock: Socket) -> None:
        sock.send(self._acks.pop(sock.number))


def _with_proxy_states(packet: radius.Packet, body: bytes = b"") -> bytes:
    """``body`` and the request's Proxy-State, which goes back unchanged and in order (RFC 2865 5.33)."""
    body += radius.join((radius.PROXY_STATE, value) for value in packet.values(radius.PROXY_STATE))
    if len(body) > ROOM:
        raise WireError("answer_too_long", f"{len(body)} octets of attributes")
    return body


def _postauth_row(attributes: dict[int, bytes], nas: NasRecord, host: str, verdict: Verdict, wall_clock: float) -> PostAuth:
    subscriber = verdict.subscriber
    reason = verdict.reason
    accepted = reason is _OK or reason is _WALLED
    called, calling = attributes.get(radius.CALLED_STATION_ID), attributes.get(radius.CALLING_STATION_ID)
    return PostAuth(
        tenant_id=nas.tenant_id, nas_id=nas.id, subscriber_id=None if subscriber is None else subscriber.id,
        username=clean(attributes.get(radius.USER_NAME, b"")), username_key=verdict.name.replace("\0", "\ufffd") if "\0" in verdict.name else verdict.name,
        reply="Access-Accept" if accepted else "Access-Reject", reason=reason._value_, nasipaddress=host,
        calledstationid=None if called is None else clean(called), callingstationid=None if calling is None else clean(calling),
        class_=verdict.class_, at=wall_clock, detail=clean(verdict.detail.encode("utf-8", "replace"))[:DETAIL_LENGTH] if verdict.detail else None,
    )  # fmt: skip


def clean(value: bytes) -> str:
    """Text from a peer for the database: never a NUL, never invalid UTF-8."""
    text = value.decode("utf-8", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text
