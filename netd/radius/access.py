"""The access decision: in memory, synchronous, the same code for a packet, ``/radius/test/auth`` and ``netd subscriber explain``."""

import time
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Final, NamedTuple

from netd.config import RadiusConfig
from netd.errors import ExtensionError, WireError
from netd.model.access import Reason
from netd.model.hours import AccessHours
from netd.model.username import username_key
from netd.radius.account import PLAIN, WALLED, Variant
from netd.radius.allocation import Want
from netd.radius.attribute_rows import is_replaced
from netd.radius.directory import Directory
from netd.radius.leases import Held, Leases
from netd.radius.limits import Failures
from netd.radius.lines import Seen, learnable, seen
from netd.radius.nas import NasRecord
from netd.radius.plan import Grant, PlanRecord
from netd.radius.pools import Chosen
from netd.radius.sessions import Hold, Sessions, make_class
from netd.radius.subscriber import SubscriberRecord
from netd.radius.verdict import Verdict as Verdict
from netd.sdk import AccessRequest
from netd.store.directory import LineRow
from netd.wire import passwords, radius
from netd.wire.attributes import decode
from netd.wire.radius import CALLING_STATION_ID, USER_NAME, USER_PASSWORD

MICROSOFT: Final = 311

_STATES: Final = {"pending": Reason.PENDING, "suspended": Reason.SUSPENDED, "terminated": Reason.TERMINATED}
_OK: Final = Reason.OK
_NO_MORE_THAN: Final = 2**32 - 1
_CLASS_HEADS: Final = tuple(bytes((radius.CLASS, length + 2)) for length in range(254))


class Settled(NamedTuple):
    """How the wish for leases ended: what the subscriber has now, or ``fault``; ``token`` is the grant's. Neither: the NAS's own pools serve it."""

    held: Held | None
    token: str
    fault: str = ""


_STANDING_OK: Final = (_OK, "")

Review = Callable[[AccessRequest, Reason], Reason | None]
LineLearned = Callable[[SubscriberRecord, LineRow], None]


class Access:
    """Decides Access-Requests from the directory and the open sessions."""

    def __init__(
        self, directory: Directory, sessions: Sessions, config: RadiusConfig, reviews: Sequence[tuple[str, Review]], node: str,
        leases: Leases | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.sessions = sessions
        self.leases = leases if leases is not None else Leases(directory.pools, config.grant_hold_seconds, time.time)
        self.database_up: Callable[[], bool] = lambda: True
        self._settled: Settled | None = None  # what the database said, while a log-in that waited for it is decided again
        self.failures = Failures()
        self.on_line_learned: LineLearned = lambda subscriber, line: None
        self._config = config
        self._reviews = reviews
        self._node = node  # tells the grants of two nodes, and of two runs of one node, apart
        self._grants = 0
        self._user_limit = config.user_failures_per_minute
        self._source_limit = config.source_failures_per_minute

    def decide(self, packet: radius.Packet, nas: NasRecord, host: str, now: float, wall_clock: float) -> Verdict:
        """Decide one request; ``now`` is monotonic, ``wall_clock`` Unix time. Counts failures and holds a place for an Accept."""
        attributes = packet.attributes
        raw = attributes.get(USER_NAME)
        if raw is None:
            return Verdict(Reason.NO_CREDENTIALS, None, "", detail="no User-Name")
        name = username_key(raw.decode("utf-8", "replace"))
        subscriber = nas.users.get(name)
        calling = attributes.get(CALLING_STATION_ID)
        if self.failures.any:
            owner = self._by_line(packet, nas) if subscriber is None else subscriber
            limited = self._limited(nas, name, calling, owner, now)
            if limited:
                return Verdict(Reason.RATE_LIMITED, owner, name if owner is None else owner.key, detail=limited)
        proof, detail, failing = b"", "", name
        try:
            if subscriber is None:
                reason = Reason.UNKNOWN_USER
                if nas.line_login is not None and (subscriber := self._by_line(packet, nas)) is not None:
                    name = subscriber.key
                    reason = _OK if nas.line_login.password_ok(packet, nas.secret) else Reason.WRONG_PASSWORD
            elif USER_PASSWORD in attributes and subscriber.password is not None:
                plain = passwords.pap_decrypt(attributes[USER_PASSWORD], nas.secret.prefix, packet.authenticator)
                reason = _OK if compare_digest(plain, subscriber.password) else Reason.WRONG_PASSWORD
            else:
                reason, proof = self._authenticate(packet, subscriber, nas)
        except WireError as error:  # the subscriber's doing, not the NAS's: silence would make the NAS think this server dead
            reason, detail = Reason.MALFORMED_CREDENTIALS, str(error)
        if reason is not _OK or subscriber is None:
            self.failures.add((nas.tenant_id, failing), now)
            self.failures.add((nas.id, calling), now)
            return Verdict(reason, subscriber, name, proof, detail)
        return self._authorise(packet, subscriber, name, nas, host, calling, now, wall_clock, proof)

    def decide_again(self, packet: radius.Packet, nas: NasRecord, host: str, now: float, wall_clock: float, settled: Settled) -> Verdict:
        """Decide a request whose leases the database has given or refused; what else changed meanwhile counts too."""
        self._settled = settled
        try:
            return self.decide(packet, nas, host, now, wall_clock)
        finally:
            self._settled = None

    def _by_line(self, packet: radius.Packet, nas: NasRecord) -> SubscriberRecord | None:
        """Whose device this is that came without a subscriber's user name, through a NAS where it may."""
        if nas.line_login is None:
            return None
        return next((nas.devices[key] for key in nas.line_login.identities(packet) if key in nas.devices), None)

    def _limited(self, nas: NasRecord, name: str, calling: bytes | None, subscriber: SubscriberRecord | None, now: float) -> str:
        """Why this request is refused unseen, or "". A line that logged this user in before is spared the user's limit:
        a stranger who guesses passwords must not lock the owner out."""
        failures = self.failures
        if failures.count((nas.tenant_id, name), now) >= self._user_limit and (subscriber is None or calling is None or subscriber.last_source != calling):
            return f"{self._user_limit} failures of this user within a minute"
        if calling is not None and failures.count((nas.id, calling), now) >= self._source_limit:
            return f"{self._source_limit} failures from this Calling-Station-Id within a minute"
        return ""

    def _authenticate(self, packet: radius.Packet, subscriber: SubscriberRecord, nas: NasRecord) -> tuple[Reason, bytes]:
        """Check credentials other than PAP's; the second value is what the answer must carry for them (MS-CHAP)."""
        attributes = packet.attributes
        password = subscriber.password
        if password is None and nas.line_login is not None and self._by_line(packet, nas) is subscriber:  # its user name is its MAC address
            return (_OK if nas.line_login.password_ok(packet, nas.secret) else Reason.WRONG_PASSWORD), b""
        known = subscriber.password_hash
        if USER_PASSWORD in attributes:  # with a password set, decide() has compared it
            if known is None:
                return Reason.NO_PASSWORD_SET, b""
            plain = passwords.pap_decrypt(attributes[USER_PASSWORD], nas.secret.prefix, packet.authenticator)
            return (_OK if known.verify(plain) else Reason.WRONG_PASSWORD), b""
        chap = attributes.get(radius.CHAP_PASSWORD)
        if chap is not None:
            if password is None:
                return (Reason.NO_PASSWORD_SET if known is None else Reason.HASHED_PASSWORD), b""
            challenge = attributes.get(radius.CHAP_CHALLENGE) or packet.authenticator
            return (_OK if passwords.chap_verify(chap, challenge, password) else Reason.WRONG_PASSWORD), b""
        if radius.EAP_MESSAGE in attributes or radius.ARAP_PASSWORD in attributes:
            return Reason.UNSUPPORTED_METHOD, b""
        microsoft = radius.vendor_attributes(packet, MICROSOFT) if radius.VENDOR_SPECIFIC in attributes else {}
        if passwords.MS_CHAP_CHALLENGE in microsoft:
            if subscriber.nt_hash is None:
                if password is None:
                    return (Reason.NO_PASSWORD_SET if known is None else Reason.HASHED_PASSWORD), b""
                subscriber.nt_hash = passwords.nt_hash(password.decode("utf-8", "replace"))
            right, answer = passwords.mschap(microsoft, attributes[radius.USER_NAME], subscriber.nt_hash, nas.secret.value, packet.authenticator, self._salts())
            return (_OK if right else Reason.WRONG_PASSWORD), answer
        return Reason.NO_CREDENTIALS, b""

    def _salts(self) -> tuple[bytes, bytes]:
        """Two salts that differ within the packet and from packet to packet, high bit set (RFC 2868 3.5)."""
        self._grants += 1
        first = self._grants * 2 % 0x8000
        return (0x8000 | first).to_bytes(2, "big"), (0x8000 | first ^ 1).to_bytes(2, "big")

    def standing(self, subscriber: SubscriberRecord, wall_clock: float) -> tuple[Reason, str]:
        """Whether the subscriber may be online at all, credentials and session limit aside: OK, WALLED, or why not."""
        plan = subscriber.plan
        if subscriber.simple and (plan is None or plan.hours is None):
            return _STANDING_OK
        if subscriber.state != "active":
            return _STATES[subscriber.state], ""
        if subscriber.expires_at is not None and subscriber.expires_at <= wall_clock:
            return Reason.EXPIRED, ""
        walled = ""
        for lock in subscriber.locks:
            if lock.until is None or lock.until > wall_clock:
                if not lock.walled:
                    return Reason.LOCKED, lock.reason
                walled = walled or lock.reason
        hours = hours_of(subscriber)
        if hours is not None:
            is_open, until = hours.at(wall_clock)
            if not is_open:
                return Reason.OUTSIDE_HOURS, "" if until is None else f"opens {hours.shown(until)}"
        return (Reason.WALLED, walled) if walled else (_OK, "")

    def entitlement(self, subscriber: SubscriberRecord, wall_clock: float) -> tuple[Reason, str, Variant]:
        """``standing`` and what the plan's quotas make of it: OK, WALLED or why not; in words; and the variant of the service."""
        reason, detail = self.standing(subscriber, wall_clock)
        plan = subscriber.plan
        walled = reason is Reason.WALLED
        if plan is None or not plan.meters or (reason is not _OK and not walled):
            return reason, detail, WALLED if walled else PLAIN
        effect = self.directory.effect(subscriber, plan, wall_clock)
        if effect.blocked:
            return Reason.QUOTA, effect.detail, PLAIN
        if walled:
            return reason, detail, WALLED
        return Reason.WALLED if effect.variant.walled else _OK, effect.detail, effect.variant

    def policy(self, subscriber: SubscriberRecord, nas: NasRecord, wall_clock: float) -> tuple[Reason, Grant | None, str]:
        """What a session of the subscriber should have now: reason, grant, fingerprint. No grant: it should not be online."""
        plan = subscriber.plan
        if subscriber.simple and plan is not None:  # nearly everybody
            known = plan.grants.get(nas.vendor)
            if known is not None and known.plain:
                return _OK, known, known.policy + subscriber.extra_print
        reason, detail, variant = self.entitlement(subscriber, wall_clock)
        if reason is not _OK and reason is not Reason.WALLED:
            return reason, None, detail
        if plan is None or subscriber.fault:
            return Reason.NOT_GRANTABLE, None, subscriber.fault or "its plan could not be loaded"
        grant = self.directory.grants.of(plan, nas.vendor, variant)
        if grant.fault:
            return Reason.NOT_GRANTABLE, None, grant.fault
        return reason, grant, grant.policy + subscriber.extra_print

    def _authorise(
        self, packet: radius.Packet, subscriber: SubscriberRecord, name: str, nas: NasRecord, host: str, calling: bytes | None,
        now: float, wall_clock: float, proof: bytes,
    ) -> Verdict:  # fmt: skip
        """Decide for a subscriber who has proved to be it."""
        reason, grant, print_ = self.policy(subscriber, nas, wall_clock)
        plan = subscriber.plan
        if grant is None or plan is None:
            return Verdict(reason, subscriber, name, detail=print_)
        noted = ""
        if not subscriber.simple:  # nobody with checks or lines is
            unfit, noted = self._unfit(packet, subscriber, nas)
            if unfit is not None:
                return Verdict(unfit, subscriber, name, detail=noted)
        limit = plan.plan.max_sessions if subscriber.max_sessions is None else subscriber.max_sessions
        if limit:
            occupied = self.sessions.occupied(subscriber.id, host, calling, now)
            if occupied >= limit:
                return Verdict(Reason.SESSION_LIMIT, subscriber, name, detail=f"{occupied} of {limit} sessions")
        if self._reviews:
            refused = self._review(packet, nas, reason)
            if refused is not None:
                return Verdict(refused[0], subscriber, name, detail=refused[1])
        if not subscriber.simple:
            self._learn_line(packet, subscriber, nas)
        self._grants += 1
        token = self._node + "%x" % self._grants  # noqa: UP031  # as in make_class
        granted = grant.attributes
        if subscriber.own_body or not grant.plain:
            pools = self.directory.chosen_pools(subscriber, plan, nas)
            if any(pools):
                leased = self._lease(packet, subscriber, name, plan, pools, host, calling, token, wall_clock)
                if isinstance(leased, Verdict):
                    return leased
                held, token = leased
                if held is not None:
                    kinds = sum(1 << kind for kind, unit in enumerate(held.units) if unit)
                    granted = self.directory.grants.without_nas_pools(plan, nas.vendor, grant, kinds) + self.leases.body(held)
            granted = self._body(subscriber, granted, grant.service.walled, wall_clock)
        class_ = make_class(token, subscriber.id, print_)
        if limit:
            self.sessions.hold(subscriber.id, Hold(now + self._config.grant_hold_seconds, token, host, calling))
        if subscriber.last_source != calling:  # a write makes a cold record dirty
            subscriber.last_source = calling
        encoded = class_.encode()
        return Verdict(reason, subscriber, name, granted + _CLASS_HEADS[len(encoded)] + encoded + proof, noted, class_)

    def _unfit(self, packet: radius.Packet, subscriber: SubscriberRecord, nas: NasRecord) -> tuple[Reason | None, str]:
        """Why this request does not fit its subscriber: a radcheck row or the line. A line that is only watched is told without a reason."""
        if subscriber.checks is not None:
            failed = subscriber.checks.failed(decode(self.directory.dictionary, packet.data[radius.HEADER :]))
            if failed is not None:
                return Reason.CHECK_FAILED, failed
        binding = None if subscriber.terms is None else subscriber.terms.binding
        if binding is None:
            return None, ""
        found = seen(packet)
        if binding.fits(found, nas.id):
            return None, ""
        nas.line_mismatches += 1
        told = f"expected {self.lines_told(binding.lines)}; seen {found} on NAS {nas.name}"
        return (Reason.WRONG_LINE, told) if binding.enforce else (None, f"another line: {told}")

    def lines_told(self, lines: Sequence[LineRow]) -> str:
        """Lines in words; a NAS by its name."""
        told = []
        for line in lines:
            port = Seen([line.circuit_id] if line.circuit_id else [], [line.remote_id] if line.remote_id else [], line.nas_port_id, line.mac)
            nas = None if line.nas_id is None else self.directory.nas.get(line.nas_id)
            where = [] if line.nas_id is None else [f"NAS {line.nas_id if nas is None else nas.name}"]
            anything = (line.circuit_id, line.remote_id, line.nas_port_id, line.mac) != (None, None, None, None)
            told.append(" with ".join([*([str(port)] if anything else []), *where]))
        return " or ".join(told) or "a line, and none is named"

    def _learn_line(self, packet: radius.Packet, subscriber: SubscriberRecord, nas: NasRecord) -> None:
        """Bind a subscriber who has no line yet to the one of this Accept, from the next packet on."""
        binding = None if subscriber.terms is None else subscriber.terms.binding
        if binding is None or binding.lines or not binding.learn:
            return
        line = learnable(seen(packet), nas.id)
        if line is not None:
            binding.lines = (line,)
            self.on_line_learned(subscriber, line)

    def _lease(
        self, packet: radius.Packet, subscriber: SubscriberRecord, name: str, plan: PlanRecord, pools: Chosen, host: str, calling: bytes | None,
        token: str, wall_clock: float,
    ) -> tuple[Held | None, str] | Verdict:  # fmt: skip
        """The leases of a log-in and its grant's token; or a Verdict: the database must be asked, or there is nothing to give."""
        settled = self._settled
        if settled is not None:
            if settled.fault:
                return Verdict(Reason.NO_ADDRESS, subscriber, name, detail=settled.fault)
            return settled.held, settled.token
        client_id = _client_id(packet, host, calling)
        held = self.leases.find(subscriber.id, client_id, wall_clock)
        if held is not None and held.pools == pools and (self.leases.safe(held, wall_clock) or not self.database_up()):
            self.leases.grant(held, client_id, token, wall_clock)
            return held, token
        own = plan.plan
        optional = (own.ipv4_pool is not None, own.ipv6_pool is not None, own.delegated_ipv6_pool is not None)
        want = Want(subscriber.id, subscriber.tenant_id, pools, optional, client_id, token)
        return Verdict(Reason.NO_ADDRESS, subscriber, name, detail="it has no lease yet", want=want)

    def _review(self, packet: radius.Packet, nas: NasRecord, reason: Reason) -> tuple[Reason, str] | None:
        """What plugins have against an accept. One that breaks, or names a reason to accept, has no say."""
        request = self._facts(packet, nas)
        for plugin, review in self._reviews:
            try:
                with self.directory.extensions.guard(plugin):
                    changed = review(request, reason)
            except ExtensionError:
                continue  # logged and counted by the guard
            if changed is not None and changed is not _OK and changed is not Reason.WALLED:
                return changed, f"refused by plugin {plugin}"
        return None

    def _body(self, subscriber: SubscriberRecord, granted: bytes, walled: bool, wall_clock: float) -> bytes:
        """What is granted with what is the subscriber's own: addresses, radreply, a Session-Timeout that ends with the subscription, the access hours or a
        time quota."""
        ends_at = _ends_at(subscriber, wall_clock)
        plan = subscriber.plan
        if plan is not None and plan.timed and not walled:
            used_up_at = self.directory.quota_ends_at(subscriber, plan, wall_clock)
            if used_up_at is not None and (ends_at is None or used_up_at < ends_at):
                ends_at = used_up_at
        if ends_at is None and not subscriber.replaced:
            return granted + subscriber.extra
        attributes, own = radius.split(granted), radius.split(subscriber.extra)
        if subscriber.replaced and walled:  # nothing of the subscriber's opens the wall
            kept = frozenset(place for place in subscriber.replaced if any(is_replaced(kind, value, (place,)) for kind, value in attributes))
            own = [(kind, value) for kind, value in own if not is_replaced(kind, value, kept)]
        elif subscriber.replaced:
            attributes = [(kind, value) for kind, value in attributes if not is_replaced(kind, value, subscriber.replaced)]
        attributes += own
        if ends_at is not None:
            attributes = _cut_session_timeout(attributes, max(1, min(int(ends_at - wall_clock), _NO_MORE_THAN)))
        return radius.join(attributes)

    def _facts(self, packet: radius.Packet, nas: NasRecord) -> AccessRequest:
        def text(kind: int) -> str | None:
            value = packet.attributes.get(kind)
            return None if value is None else value.decode("utf-8", "replace")

        return AccessRequest(
            tenant_id=nas.tenant_id, username=text(radius.USER_NAME) or "", nas=nas.name, nas_port_id=text(radius.NAS_PORT_ID),
            calling_station_id=text(radius.CALLING_STATION_ID), called_station_id=text(radius.CALLED_STATION_ID),
        )  # fmt: skip

    def probe(self, tenant_id: int, username: str, password: str | None, nas: NasRecord | None, vendor: str, now: float, wall_clock: float) -> Verdict:
        """What a request would be answered now, without a packet: nothing is counted, held or recorded."""
        name = username_key(username)
        subscriber = self.directory.users.get(tenant_id, {}).get(name)
        if subscriber is None:
            return Verdict(Reason.UNKNOWN_USER, None, name)
        if password is not None:
            if subscriber.password is None and subscriber.password_hash is None:
                return Verdict(Reason.NO_PASSWORD_SET, subscriber, name)
            known = subscriber.password_hash
            if not (known.verify(password.encode()) if known else compare_digest(password.encode(), subscriber.password or b"")):
                return Verdict(Reason.WRONG_PASSWORD, subscriber, name)
        reason, detail, variant = self.entitlement(subscriber, wall_clock)
        if reason is not _OK and reason is not Reason.WALLED:
            return Verdict(reason, subscriber, name, detail=detail)
        if subscriber.plan is None or subscriber.fault:
            return Verdict(Reason.NOT_GRANTABLE, subscriber, name, detail=subscriber.fault or "its plan could not be loaded")
        grant = self.directory.grants.of(subscriber.plan, nas.vendor if nas else vendor, variant)
        if grant.fault:
            return Verdict(Reason.NOT_GRANTABLE, subscriber, name, detail=grant.fault)
        if self.failures.count((tenant_id, name), now) >= self._user_limit:
            return Verdict(Reason.RATE_LIMITED, subscriber, name, detail=f"{self._user_limit} failures of this user within a minute")
        limit = subscriber.plan.plan.max_sessions if subscriber.max_sessions is None else subscriber.max_sessions
        occupied = self.sessions.occupied(subscriber.id, "", None, now) if limit else 0
        if limit and occupied >= limit:
            return Verdict(Reason.SESSION_LIMIT, subscriber, name, detail=f"{occupied} of {limit} sessions")
        if subscriber.checks is not None:
            needed = "provided that the request passes the subscriber's check attributes"
            detail = f"{detail}; {needed}" if detail else needed
        hours = hours_of(subscriber)
        closes_at = None if hours is None else hours.at(wall_clock)[1]
        if hours is not None and closes_at is not None:
            detail = f"{detail + '; ' if detail else ''}until {hours.shown(closes_at)}"
        binding = None if subscriber.terms is None else subscriber.terms.binding
        if binding is not None and binding.enforce and (binding.lines or not binding.learn):
            detail = f"{detail + '; ' if detail else ''}provided that it comes from {self.lines_told(binding.lines)}"
        granted = grant.attributes
        if nas is not None and any(pools := self.directory.chosen_pools(subscriber, subscriber.plan, nas)):
            leased = [held for held in self.leases.slots(subscriber.id) if held.pools == pools]
            if leased:
                granted += self.leases.body(leased[0])
            else:
                names = [pool.name for key in pools if (pool := self.directory.pools.by_id.get(key)) is not None]
                detail = "; ".join(filter(None, (detail, f"an address would be leased from {', '.join(names)}")))
        return Verdict(reason, subscriber, name, self._body(subscriber, granted, grant.service.walled, wall_clock), detail)


def _client_id(packet: radius.Packet, host: str, calling: bytes | None) -> str:
    """The line that a log-in comes from: Calling-Station-Id, else the NAS's port, else "" (then nothing tells two lines of a subscriber apart)."""
    if calling:
        return calling.decode("utf-8", "replace").replace("\0", "\ufffd")
    port = packet.attributes.get(radius.NAS_PORT_ID)
    if port:
        return f"{host} {port.decode('utf-8', 'replace')}".replace("\0", "\ufffd")
    number = packet.attributes.get(radius.NAS_PORT)
    return f"{host} {int.from_bytes(number, 'big')}" if number else ""


def hours_of(subscriber: SubscriberRecord) -> AccessHours | None:
    """The hours that hold for a subscriber: its own, else its plan's, None if at any time."""
    if subscriber.terms is not None and subscriber.terms.hours is not None:
        return subscriber.terms.hours
    return None if subscriber.plan is None else subscriber.plan.hours


def _ends_at(subscriber: SubscriberRecord, wall_clock: float) -> float | None:
    """When a session that begins now must be over: at the end of the subscription or of the access hours, whichever is first. Unix time."""
    hours = hours_of(subscriber)
    closes_at = None if hours is None else hours.at(wall_clock)[1]
    if closes_at is None or subscriber.expires_at is None:
        return subscriber.expires_at if closes_at is None else closes_at
    return min(closes_at, subscriber.expires_at)


def _cut_session_timeout(attributes: list[tuple[int, bytes]], seconds: int) -> list[tuple[int, bytes]]:
    """Session-Timeout (27) no longer than ``seconds``: a session must not outlive the subscription."""
    granted = [int.from_bytes(value, "big") for kind, value in attributes if kind == 27]
    kept = [(kind, value) for kind, value in attributes if kind != 27]
    return [*kept, (27, min([seconds, *granted]).to_bytes(4, "big"))]
