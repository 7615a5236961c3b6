"""The dynamic authorization server and proxy (RFC 5176, RFC 8559): requests of trusted systems for sessions that netd knows, relayed to their NAS.

A request is verified, matched to open sessions of the client's tenant, and sent to the NAS of each under netd's own identifier, authenticator and
timers. The client is told what the NAS said. Nothing here ends a session or changes a row: the NAS's Stop does.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from netd.config import RelayConfig
from netd.domain import audit
from netd.domain.actor import Actor
from netd.errors import StoreError, StoreUnavailable, WireError
from netd.model.control import ControlResult
from netd.model.subscriber import username_key
from netd.radius import selection
from netd.radius.clients import ClientRecord, Clients
from netd.radius.coa import CAUSES, Action
from netd.radius.enforce import Enforcer
from netd.radius.index import MEMBERS
from netd.radius.nas import NasRecord
from netd.radius.replies import Key, Replies
from netd.radius.selection import Refused, Selection
from netd.radius.sessions import LiveRecord
from netd.radius.sockets import Socket
from netd.store.database import Database
from netd.wire import radius
from netd.wire.radius import Packet

log = logging.getLogger(__name__)

DUPLICATE_SECONDS: Final = 10
IN_WORK_LIMIT: Final = 10_000
CLIENT_LIMIT: Final = 1_000
"""Requests in work, of all clients and of one; beyond, a request is refused with 506."""

SESSIONS_LIMIT: Final = 64
"""Sessions that one request may be relayed to."""

AUDIT_SECONDS: Final = 0.5
AUDIT_ROWS: Final = 200
AUDIT_LIMIT: Final = 20_000
ROOM: Final = radius.MAX_PACKET - radius.HEADER - 18 - 6
"""Octets of an answer beside header, Message-Authenticator and Error-Cause."""

TELL_SECONDS: Final = 60.0

_ANSWERS: Final[dict[int, tuple[Action, int, int]]] = {
    radius.DISCONNECT_REQUEST: ("disconnect", radius.DISCONNECT_ACK, radius.DISCONNECT_NAK),
    radius.COA_REQUEST: ("coa", radius.COA_ACK, radius.COA_NAK),
}


class _Entry(NamedTuple):
    """A row of the audit log that is not written yet."""

    actor: Actor
    action: str
    object_type: str
    object_id: int
    before: dict[str, Any]
    after: dict[str, Any]
    result: str


class _Request:
    """A verified request and how to answer it."""

    __slots__ = ("action", "client", "host", "key", "packet", "replies", "reply", "results", "waiting")

    def __init__(self, packet: Packet, client: ClientRecord, host: str, key: Key, replies: Replies, reply: Callable[[bytes], object]) -> None:
        self.packet = packet
        self.client = client
        self.host = host
        self.key = key
        self.replies = replies
        self.reply = reply
        self.action: Action = _ANSWERS[packet.code][0]
        self.waiting = 0
        self.results: list[ControlResult] = []


class Relay:
    """Reads requests and answers them; one request may be in work at many NAS."""

    def __init__(self, database: Database, clients: Clients, enforcer: Enforcer, config: RelayConfig, wall_clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clients = clients
        self.enforcer = enforcer
        self.sessions = enforcer.sessions
        self.directory = enforcer.directory
        self.reading = False
        self.unknown: dict[str, int] = {}  # packets of nobody's, by reason
        self.audit_lost = 0
        self._config = config
        self._wall_clock = wall_clock
        # Identical octets within the time window are the same request wherever they come from: else a copy of it could be replayed. Without
        # a time in it a request may be meant anew after a while, so then only a retransmission counts as one (RFC 5080 2.2.2).
        self._dated = Replies(2.0 * config.window_seconds)
        self._undated = Replies(DUPLICATE_SECONDS)
        self._in_work: set[tuple[Key, bytes]] = set()
        self._load: Counter[int] = Counter()
        self._audit: deque[_Entry] = deque()
        self._flushing = asyncio.Lock()
        self._told: dict[tuple[int, str], float] = {}
        self._sockets: list[Socket] = []
        self._stopping = False

    # -- reading -----------------------------------------------------------------------------------------------------

    def start(self, sockets: Sequence[Socket]) -> None:
        """Begin to read. The sockets are the caller's to close, after ``stop``."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            loop.add_reader(sock.fileno, self._readable, sock)
        self._sockets = list(sockets)
        self.reading = bool(sockets)

    def stop(self) -> None:
        """Read no more. Answers of NAS to what is in work are still passed on; what netd itself gives up is not answered, for nothing is known of it."""
        self.reading = False
        self._stopping = True
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno)

    def _readable(self, sock: Socket) -> None:
        now = time.monotonic()
        self._dated.turn(now)
        self._undated.turn(now)
        for data, source, control in sock.receive():
            host = sock.host(source)
            client = self.clients.source(host)
            try:
                if client is None:
                    raise WireError("unknown_client")
                self._handle(data, source, control, sock, host, client)
            except WireError as error:
                self._drop(client, host, error.reason)
            except Exception:  # barrier: one packet must not end the service; it is dropped, counted and reported
                log.exception("packet dropped by an internal error", extra={"source": host, "port": sock.port})
                self._drop(client, host, "internal_error")

    def _drop(self, client: ClientRecord | None, host: str, reason: str) -> None:
        counts = self.unknown if client is None else client.drops
        counts[reason] = counts.get(reason, 0) + 1
        key, now = (0 if client is None else client.row.id, reason), time.monotonic()
        if now - self._told.get(key, -TELL_SECONDS) >= TELL_SECONDS:
            self._told[key] = now
            name = None if client is None else client.row.name
            log.warning("Disconnect- or CoA-Requests dropped", extra={"client": name, "source": host, "reason": reason})

    def _handle(self, data: bytes, source: bytes, control: bytes, sock: Socket, host: str, client: ClientRecord) -> None:
        packet = radius.parse(data)
        dated = self._verify(packet, client)
        if dated:
            replies, key = self._dated, b"client" + client.row.id.to_bytes(8) + packet.authenticator
        else:
            replies, key = self._undated, source + sock.tag + bytes((packet.code, packet.identifier))
        known = replies.find(key, packet.authenticator)
        if known is not None or (key, packet.authenticator) in self._in_work:
            client.duplicates += 1
            if known:
                sock.send([(known, source, control)])
            return
        if len(_returned(packet)) > ROOM:
            raise WireError("answer_too_long")
        request = _Request(packet, client, host, key, replies, lambda answer: sock.send([(answer, source, control)]))
        try:
            self._take(request)
        except Refused as refusal:
            self._refuse(request, refusal)
        except Exception:
            self._done(request)
            raise

    def _verify(self, packet: Packet, client: ClientRecord) -> bool:
        """Whether it carries the time; raises WireError to drop what is forged, too old or not what the client must send (RFC 5176 3, 6.3)."""
        if packet.code not in _ANSWERS:
            raise WireError("unexpected_code", str(packet.code))
        if not radius.request_authenticator_ok(packet, client.secret):
            raise WireError("request_authenticator_wrong")
        if packet.ma_at:
            if not radius.message_authenticator_ok(packet, client.secret):
                raise WireError("message_authenticator_wrong")
        elif client.row.require_message_authenticator:
            raise WireError("message_authenticator_missing")
        stamp = packet.attributes.get(radius.EVENT_TIMESTAMP)
        if stamp is None:
            if client.row.require_event_timestamp:
                raise WireError("event_timestamp_missing")
            return False
        if len(stamp) != 4 or abs(int.from_bytes(stamp) - self._wall_clock()) > self._config.window_seconds:
            raise WireError("event_timestamp_stale")
        return True

    # -- what is asked for -------------------------------------------------------------------------------------------

    def _take(self, request: _Request) -> None:
        """Relay the request, or raise Refused."""
        client, row = request.client, request.client.row
        if not (row.may_disconnect if request.action == "disconnect" else row.may_change):
            raise Refused(selection.PROHIBITED, f"{row.name} may not do that")
        wanted = selection.read(request.packet, self.directory.dictionary)
        targets = [(live, self._nas(live)) for live in self._selected(wanted, row.tenant_id)]
        if len(targets) > 1 and not (row.may_select_many and len(targets) <= SESSIONS_LIMIT):
            raise Refused(selection.MULTIPLE_SESSIONS, f"{len(targets)} sessions match")
        if request.action == "coa" and not row.may_override and any(self.enforcer.enforces(live) for live, _ in targets):
            raise Refused(selection.PROHIBITED, f"netd itself enforces the plan of the session, and {row.name} may not override")
        if len(self._in_work) >= IN_WORK_LIMIT or self._load[row.id] >= CLIENT_LIMIT:
            raise Refused(selection.NO_RESOURCES, "too many requests are in work")
        self._in_work.add((request.key, request.packet.authenticator))
        self._load[row.id] += 1
        request.waiting = len(targets)
        for live, nas in targets:
            self._order(request, client, wanted, live, nas)

    def _selected(self, wanted: Selection, tenant_id: int) -> list[LiveRecord]:
        """The open sessions of the tenant that all of the identification fits; raises Refused if there is none."""
        found = [live for live in self._candidates(wanted, tenant_id) if live.row.tenant_id == tenant_id and wanted.matches(live.row, self._known_as(live))]
        if not found:
            raise Refused(selection.NOT_FOUND, "no open session fits")
        here = []
        for live in found:
            nas = self.enforcer.orders.nas_of(live.row)
            if wanted.on(live.row, None if nas is None else nas.name):
                here.append(live)
        if not here:
            raise Refused(selection.NAS_MISMATCH, "the session is on another NAS")
        return here

    def _candidates(self, wanted: Selection, tenant_id: int) -> list[LiveRecord]:
        """Sessions that may be meant, by the most telling fact that there is."""
        for member, value in wanted.facts:
            if member in MEMBERS:
                return self.sessions.find(member, value)
        if wanted.username_key is None:
            raise Refused(selection.MISSING_ATTRIBUTE, "Called-Station-Id alone identifies no session")
        found = self.sessions.find("username", wanted.username_key)
        subscriber = self.directory.users.get(tenant_id, {}).get(wanted.username_key)
        if subscriber is not None:  # whatever name its NAS gives it
            found = list(dict.fromkeys([*found, *self.sessions.of(subscriber.id)]))
        return found

    def _known_as(self, live: LiveRecord) -> str | None:
        subscriber = None if live.subscriber_id is None else self.directory.subscribers.get(live.subscriber_id)
        return None if subscriber is None else username_key(subscriber.username)

    def _nas(self, live: LiveRecord) -> NasRecord:
        nas = self.enforcer.orders.nas_of(live.row)
        if nas is None:
            raise Refused(selection.NOT_ROUTABLE, "the session's NAS is no longer configured")
        return nas

    def _order(self, request: _Request, client: ClientRecord, wanted: Selection, live: LiveRecord, nas: NasRecord) -> None:
        row = live.row

        def done(result: ControlResult) -> None:
            try:
                self._ordered(request, wanted, live, result)
            except Exception:  # barrier: called by the queue of the NAS, which must go on
                log.exception("relayed request failed", extra={"client": client.row.name, "user": row.username})
                self._done(request)

        self.enforcer.orders.post(request.action, row, nas, (), done, urgent=True, more=wanted.more)

    def _ordered(self, request: _Request, wanted: Selection, live: LiveRecord, result: ControlResult) -> None:
        """What one NAS said has come."""
        client = request.client.row
        row = live.row
        if result.outcome == "nak" and result.error_cause == selection.NOT_FOUND:
            self.enforcer.vanished.add(row)
        elif request.action == "coa" and result.outcome in ("ack", "timeout") and self.enforcer.enforces(live):
            what = ", ".join(dict.fromkeys(name for name, _ in wanted.told)) or "nothing by name"
            how = "changed" if result.outcome == "ack" else "perhaps changed (the NAS did not answer)"
            self.enforcer.note_override(live, f"{how} by CoA client {client.name}: {what}; left so until the plan changes or the next login")
        before = {"username": row.username, "acct_session_id": row.acctsessionid, "nas_ip_address": row.nasipaddress}
        after = {"attributes": [_shown(name, text) for name, text in wanted.told], **audit.values(result)}
        action = "session.disconnect" if request.action == "disconnect" else "session.change"
        self._record(request, action, "session", row.radacctid, before, after, result.outcome)
        request.results.append(result)
        if len(request.results) == request.waiting:
            self._conclude(request)

    # -- the answer --------------------------------------------------------------------------------------------------

    def _conclude(self, request: _Request) -> None:
        """All NAS have said their word: an ACK only if all agreed. Silence is 505: what the NAS did is unknown, and the client may ask again."""
        self._done(request)
        failed = next((result for result in request.results if result.outcome != "ack"), None)
        if failed is None:
            self._answer(request, True, None)
            return
        if failed.outcome == "error" and self._stopping:
            return
        self._answer(request, False, failed.error_cause if failed.outcome == "nak" else selection.PROXY_ERROR)

    def _done(self, request: _Request) -> None:
        if (request.key, request.packet.authenticator) in self._in_work:
            self._in_work.remove((request.key, request.packet.authenticator))
            self._load[request.client.row.id] -= 1

    def _refuse(self, request: _Request, refusal: Refused) -> None:
        row = request.client.row
        log.info("request refused", extra={"client": row.name, "action": request.action, "cause": CAUSES.get(refusal.cause), "detail": refusal.detail})
        if refusal.cause == selection.PROHIBITED:
            told = {"error_cause": refusal.cause, "detail": refusal.detail}
            self._record(request, f"coa_client.{request.action}", "coa_client", row.id, {}, told, "refused")
        self._answer(request, False, refusal.cause, keep=refusal.cause != selection.NO_RESOURCES)

    def _answer(self, request: _Request, ack: bool, cause: int | None, keep: bool = True) -> None:
        packet, client = request.packet, request.client
        _, yes, no = _ANSWERS[packet.code]
        body = b"" if cause is None else bytes((radius.ERROR_CAUSE, 6)) + cause.to_bytes(4, "big")
        answer = radius.reply(yes if ack else no, packet.identifier, packet.authenticator, body + _returned(packet), client.secret, sign=bool(packet.ma_at))
        if keep:
            request.replies.put(request.key, packet.authenticator, answer)
        outcome = "ack" if ack else f"nak_{cause}" if cause is not None else "nak"
        key = (request.action, outcome)
        client.results[key] = client.results.get(key, 0) + 1
        request.reply(answer)

    # -- the audit log -----------------------------------------------------------------------------------------------

    def _record(self, request: _Request, action: str, object_type: str, object_id: int, before: dict[str, Any], after: dict[str, Any], result: str) -> None:
        if len(self._audit) >= AUDIT_LIMIT:
            self._audit.popleft()
            self.audit_lost += 1
        row = request.client.row
        actor = Actor(tenant_id=row.tenant_id, name=f"coa-client {row.name}", role="operator", sites=None, address=request.host)
        self._audit.append(_Entry(actor, action, object_type, object_id, before, after, result))

    async def keep_audit(self) -> None:
        """Write what was relayed to the audit log, for ever; while the database is away it waits in memory."""
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            await self.flush_audit()

    async def flush_audit(self) -> None:
        """Write the rows that are not written yet."""
        async with self._flushing:  # the last flush, when netd stops, waits for the one of this moment, which would be cancelled else
            await self._flush_audit()

    async def _flush_audit(self) -> None:
        while self._audit:
            entries = [self._audit.popleft() for _ in range(min(AUDIT_ROWS, len(self._audit)))]
            try:
                async with self.database.transaction() as conn:
                    for entry in entries:
                        await audit.record(
                            conn, entry.actor, entry.action, entry.object_type, entry.object_id, before=entry.before, after=entry.after, result=entry.result
                        )
            except StoreUnavailable:
                self._audit.extendleft(reversed(entries))
                return
            except StoreError as error:
                self.audit_lost += len(entries)
                log.error("audit rows refused by the database", extra={"rows": len(entries), "error": str(error)})


def _returned(packet: Packet) -> bytes:
    """What goes back unchanged and in order: State (RFC 5176 3.3) and Proxy-State (RFC 5176 3.1, RFC 2865 5.33)."""
    attributes = radius.split(packet.data[radius.HEADER :])
    return radius.join((kind, value) for kind, value in attributes if kind in (selection.STATE, radius.PROXY_STATE))


def _shown(name: str, text: str) -> dict[str, str]:
    return {"attribute": name, "value": audit.MASK if audit.tells_secret(text) else text}
