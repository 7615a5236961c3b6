"""A router's RADIUS side that is not there: subscribers dial, use what they are granted, and dial again; sans-IO.

It logs in with PAP or CHAP, accounts Start, Interim-Update and Stop (RFC 2866), and does as Disconnect- and CoA-Requests say (RFC 5176). Whoever is
rejected tries again and again, as routers at home do.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b, md5
from ipaddress import IPv4Address
from typing import Final, Literal, NamedTuple

import msgspec

from netd.demo.exchange import Answer, Exchanges, first
from netd.demo.scenario import Subscriber
from netd.demo.traffic import Octets, wanted
from netd.errors import WireError
from netd.simulate import Attributes, Rates
from netd.wire import radius
from netd.wire.attributes import Avp, decode, encode
from netd.wire.dictionary import Dictionary
from netd.wire.radius import SharedSecret

START, STOP, INTERIM, ON, OFF = 1, 2, 3, 7, 8
SESSION_TIMEOUT, ADMIN_RESET, NAS_REBOOT = 5, 6, 11
MISSING_ATTRIBUTE, UNSUPPORTED_ATTRIBUTE, SESSION_NOT_FOUND = 402, 401, 503

INTERIM_SECONDS: Final = 15.0
"""How often it accounts, as if configured on the router; more often than the plan asks for, so that there is something to see."""

DIAL_EVERY_SECONDS: Final = 0.1
REDIAL_SECONDS: Final = 2.0
REJECTED_SECONDS: Final = 3.0

LOGIN_ATTEMPTS: Final = 3
ACCOUNTING_ATTEMPTS: Final = 30
FRAME_OCTETS: Final = 800
ANSWERS_KEPT: Final = 64
PORT: Final = Rates(1_000_000_000, 1_000_000_000)
"""What a port can do."""


class At(NamedTuple):
    """A moment: seconds of the demonstration, and Unix time."""

    now: float
    wall: float


class Datagram(NamedTuple):
    """To be sent to netd's port for this."""

    to: Literal["auth", "acct"]
    data: bytes


class Session(msgspec.Struct, kw_only=True):
    """Somebody online."""

    id: str
    subscriber: Subscriber
    since: float
    interim_at: float
    rates: Rates
    address: IPv4Address | None
    classes: tuple[bytes, ...]
    ends_at: float | None = None
    octets: Octets = Octets()


class Nas:
    """One router. ``granted`` reads rates out of attributes (:meth:`netd.simulate.Behaviour.granted`); ``most`` is what a session has that is granted none.

    ``carried`` is what went through for each user name since the beginning, sessions and what came before them together.
    """

    def __init__(
        self, name: str, address: IPv4Address, subscribers: Sequence[Subscriber], secret: bytes, dictionary: Dictionary,
        granted: Callable[[Attributes], Rates | None], *, seed: int, entropy: Callable[[int], bytes], most: Rates = PORT,
    ) -> None:  # fmt: skip
        self.online: dict[str, Session] = {}
        self.carried = {each.username: Octets() for each in subscribers}
        self._name = name
        self._address = address
        self._subscribers = {each.username: each for each in subscribers}
        self._secret = SharedSecret(secret)
        self._dictionary = dictionary
        self._granted = granted
        self._seed = seed
        self._entropy = entropy
        self._most = most
        self._auth = Exchanges(dictionary, self._secret, entropy)
        self._acct = Exchanges(dictionary, self._secret, entropy)
        self._dial_at: dict[str, float] = {}
        self._at = At(0.0, 0.0)
        self._number = 0
        self._answers: dict[bytes, bytes] = {}

    def start(self, at: At) -> None:
        """The router comes up: it holds no sessions, whatever was before."""
        self._at = at
        self._account(ON, ())
        self._dial_at = {username: at.now + place * DIAL_EVERY_SECONDS for place, username in enumerate(self._subscribers)}

    def stop(self, at: At) -> None:
        """The router goes down: everybody is told off. What is to be sent comes with the next ticks, until it is :attr:`quiet`."""
        self._flow(at)
        self._dial_at.clear()
        self._auth.forget()
        for username in list(self.online):
            self._end(username, NAS_REBOOT, redial_seconds=None)
        self._account(OFF, ())

    @property
    def quiet(self) -> bool:
        """Whether nothing waits for an answer."""
        return not self._auth and not self._acct

    def tick(self, at: At) -> list[Datagram]:
        """Let time pass; returns what is to be sent."""
        self._flow(at)
        for username in [username for username, due in self._dial_at.items() if due <= at.now]:
            del self._dial_at[username]
            self._dial(self._subscribers[username])
        for username, session in list(self.online.items()):
            if session.ends_at is not None and session.ends_at <= at.now:
                self._end(username, SESSION_TIMEOUT, REDIAL_SECONDS)
            elif session.interim_at <= at.now:
                session.interim_at = at.now + INTERIM_SECONDS
                self._account_session(INTERIM, session)
        return [*(Datagram("auth", data) for data in self._auth.due(at.now)), *(Datagram("acct", data) for data in self._acct.due(at.now))]

    def answered(self, to: Literal["auth", "acct"], data: bytes, at: At) -> None:
        """A datagram from netd's port."""
        self._flow(at)
        (self._auth if to == "auth" else self._acct).take(data)

    def _flow(self, at: At) -> None:
        """Count what was used since the last time."""
        for username, session in self.online.items():
            used = wanted(self._seed, username, session.subscriber.mean, session.rates, self._at.now, at.now)
            session.octets += used
            self.carried[username] += used
        self._at = at

    # -- logging in ------------------------------------------------------------------------------------------------------

    def _dial(self, subscriber: Subscriber) -> None:
        username = subscriber.username
        self._auth.begin(
            radius.ACCESS_REQUEST, [*self._who(subscriber), *self._password(subscriber)], self._at.now, attempts=LOGIN_ATTEMPTS,
            answered=lambda answer: self._said(subscriber, answer), unanswered=lambda: self._later(username, REJECTED_SECONDS),
        )  # fmt: skip

    def _password(self, subscriber: Subscriber) -> list[Avp]:
        if not subscriber.chap:
            return [("User-Password", subscriber.password)]
        identifier, challenge = self._entropy(1), self._entropy(16)
        response = md5(identifier + subscriber.password.encode() + challenge, usedforsecurity=False).digest()  # RFC 1994 4.1
        return [("CHAP-Password", identifier + response), ("CHAP-Challenge", challenge)]

    def _who(self, subscriber: Subscriber) -> list[Avp]:
        return [
            ("User-Name", subscriber.username), ("NAS-IP-Address", self._address), ("NAS-Identifier", self._name),
            ("NAS-Port", subscriber.pon * 1000 + subscriber.onu), ("NAS-Port-Id", f"pppoe {subscriber.port}:{subscriber.onu}"), ("NAS-Port-Type", 15),
            ("Service-Type", 2), ("Framed-Protocol", 1), ("Calling-Station-Id", subscriber.mac), ("Called-Station-Id", "simulated"),
        ]  # fmt: skip

    def _later(self, username: str, seconds: float) -> None:
        """Dial again; not all at the same moment."""
        early = blake2b(f"{self._seed}\0{username}".encode(), digest_size=1).digest()[0] / 255
        self._dial_at[username] = self._at.now + seconds * (1 - early / 5)

    def _said(self, subscriber: Subscriber, answer: Answer) -> None:
        if answer.code != radius.ACCESS_ACCEPT:
            self._later(subscriber.username, REJECTED_SECONDS)
            return
        said, now = answer.first(), self._at.now
        self._number += 1
        address, timeout = said.get("Framed-IP-Address"), said.get("Session-Timeout")
        session = Session(
            id=f"{int(self._at.wall):08x}{self._number:04x}", subscriber=subscriber, since=now, interim_at=now + INTERIM_SECONDS,
            rates=self._granted(said) or self._most, address=address if isinstance(address, IPv4Address) else None,
            classes=tuple(each.value for each in answer.attributes if each.name == "Class" and isinstance(each.value, bytes)),
            ends_at=now + timeout if isinstance(timeout, int) else None,
        )  # fmt: skip
        self.online[subscriber.username] = session
        self._account_session(START, session)

    def _end(self, username: str, cause: int, redial_seconds: float | None) -> None:
        self._account_session(STOP, self.online.pop(username), [("Acct-Terminate-Cause", cause)])
        if redial_seconds is not None:
            self._later(username, redial_seconds)

    # -- accounting ------------------------------------------------------------------------------------------------------

    def _account(self, kind: int, avps: Sequence[Avp]) -> None:
        who: list[Avp] = [("NAS-IP-Address", self._address), ("NAS-Identifier", self._name)]
        facts: list[Avp] = [("Acct-Status-Type", kind), ("Event-Timestamp", int(self._at.wall))]
        self._acct.begin(radius.ACCOUNTING_REQUEST, [*facts, *(avps or who)], self._at.now, attempts=ACCOUNTING_ATTEMPTS)

    def _account_session(self, kind: int, session: Session, more: Sequence[Avp] = ()) -> None:
        avps = [*self._who(session.subscriber), ("Acct-Session-Id", session.id), *(("Class", each) for each in session.classes)]
        if session.address is not None:
            avps.append(("Framed-IP-Address", session.address))
        if kind != START:
            avps.append(("Acct-Session-Time", int(self._at.now - session.since)))
            for way, octets in (("Output", int(session.octets.down)), ("Input", int(session.octets.up))):  # as the NAS sees it
                avps += [
                    (f"Acct-{way}-Octets", octets & 0xFFFFFFFF), (f"Acct-{way}-Gigawords", octets >> 32), (f"Acct-{way}-Packets", octets // FRAME_OCTETS),
                ]  # fmt: skip
        self._account(kind, [*avps, *more])

    # -- what netd asks for ----------------------------------------------------------------------------------------------

    def asked(self, data: bytes, at: At) -> bytes | None:
        """A datagram at the port for dynamic authorization, and the answer; None: it is not believed. A repeated request is answered as before."""
        self._flow(at)
        try:
            packet = radius.parse(data)
            if packet.code not in {radius.DISCONNECT_REQUEST, radius.COA_REQUEST} or not radius.request_authenticator_ok(packet, self._secret):
                return None
            if packet.ma_at and not radius.message_authenticator_ok(packet, self._secret):
                return None
            said = first(decode(self._dictionary, data[radius.HEADER :], self._secret.value, packet.authenticator))
        except WireError:
            return None
        known = self._answers.get(data)
        if known is not None:
            return known
        ends = packet.code == radius.DISCONNECT_REQUEST
        cause = self._do(said, ends)
        if cause is None:
            code, body = radius.DISCONNECT_ACK if ends else radius.COA_ACK, b""
        else:
            code, body = radius.DISCONNECT_NAK if ends else radius.COA_NAK, encode(self._dictionary, [("Error-Cause", cause)])
        if len(self._answers) == ANSWERS_KEPT:
            del self._answers[next(iter(self._answers))]
        self._answers[data] = answer = radius.reply(code, packet.identifier, packet.authenticator, body, self._secret)
        return answer

    def _do(self, said: Attributes, ends: bool) -> int | None:
        """Do it; an Error-Cause if that cannot be (RFC 5176 3.5)."""
        names = [name for name in ("Acct-Session-Id", "User-Name", "Framed-IP-Address") if name in said]
        if not names:
            return MISSING_ATTRIBUTE
        session = next((each for each in self.online.values() if all(said[name] == _named(each, name) for name in names)), None)
        if session is None:
            return SESSION_NOT_FOUND
        if ends:
            self._end(session.subscriber.username, ADMIN_RESET, REDIAL_SECONDS)
            return None
        rates, timeout = self._granted(said), said.get("Session-Timeout")
        if rates is None and timeout is None:
            return UNSUPPORTED_ATTRIBUTE
        session.rates = rates or session.rates
        if isinstance(timeout, int):
            session.ends_at = self._at.now + timeout
        return None


def _named(session: Session, name: str) -> object:
    return {"Acct-Session-Id": session.id, "User-Name": session.subscriber.username, "Framed-IP-Address": session.address}[name]
