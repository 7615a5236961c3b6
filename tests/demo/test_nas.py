"""The simulated NAS by itself, against a server of a few lines that believes only what is signed."""

from collections.abc import Callable
from hashlib import md5
from ipaddress import IPv4Address
from itertools import count
from typing import Any

import pytest

from netd.demo.exchange import REPEAT_SECONDS, first
from netd.demo.nas import INTERIM_SECONDS, REDIAL_SECONDS, REJECTED_SECONDS, At, Nas
from netd.demo.scenario import Subscriber
from netd.extensions import Extensions, load_simulator
from netd.simulate import Rates
from netd.wire import radius
from netd.wire.attributes import Avp, decode, encode
from netd.wire.passwords import chap_verify
from netd.wire.radius import SharedSecret

SECRET = b"demonstration"
ADDRESS = IPv4Address("127.83.0.1")


def person(name: str, *, chap: bool = False) -> Subscriber:
    return Subscriber(
        username=name, full_name=name, plan="home", router="bng1", pon=0, onu=3, mean=Rates(80_000_000, 8_000_000), chap=chap, distance_metres=100
    )  # fmt: skip


class Lab:
    """A NAS and what answers it, with a clock of its own."""

    def __init__(self, extensions: Extensions, *people: Subscriber, vendor: str = "mikrotik_routeros") -> None:
        entropy = count(1)
        self.dictionary = extensions.dictionary
        self.secret = SharedSecret(SECRET)
        granted = load_simulator(extensions.platforms[vendor]).granted
        self.nas = Nas("bng1", ADDRESS, people, SECRET, self.dictionary, granted, seed=1, entropy=lambda size: md5(b"%d" % next(entropy)).digest()[:size])
        self.now = 0.0
        self.silent = False
        self.reject: set[str] = set()
        self.grant: list[Avp] = [("Mikrotik-Rate-Limit", "2M/20M"), ("Framed-IP-Address", IPv4Address("100.64.0.9")), ("Class", b"c1")]
        self.logins: list[dict[str, Any]] = []
        self.accounted: list[dict[str, Any]] = []

    @property
    def at(self) -> At:
        return At(self.now, 1_700_000_000 + self.now)

    def run(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, and answer what comes."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            for to, data in self.nas.tick(self.at):
                answer = None if self.silent else self.serve(to, data)
                if answer is not None:
                    self.nas.answered(to, answer, self.at)

    def serve(self, to: str, data: bytes) -> bytes:
        packet = radius.parse(data)
        assert radius.message_authenticator_ok(packet, self.secret)
        said: dict[str, Any] = first(decode(self.dictionary, data[20:], SECRET, packet.authenticator))
        if to == "acct":
            assert packet.code == radius.ACCOUNTING_REQUEST and radius.request_authenticator_ok(packet, self.secret)
            self.accounted.append(said)
            return radius.reply(radius.ACCOUNTING_RESPONSE, packet.identifier, packet.authenticator, b"", self.secret)
        assert packet.code == radius.ACCESS_REQUEST
        self.logins.append(said)
        name = said["User-Name"]
        code, avps = (radius.ACCESS_REJECT, []) if name in self.reject else (radius.ACCESS_ACCEPT, self.grant)
        return radius.reply(code, packet.identifier, packet.authenticator, encode(self.dictionary, avps), self.secret)

    def ask(self, code: int, *avps: Avp, secret: bytes = SECRET) -> tuple[int, dict[str, Any]] | None:
        """A CoA- or Disconnect-Request, and what was answered."""
        sealed = SharedSecret(secret)
        request = radius.request(code, 7, encode(self.dictionary, avps), sealed)
        answer = self.nas.asked(request, self.at)
        assert answer == self.nas.asked(request, self.at), "a repetition is answered as before"
        if answer is None:
            return None
        packet = radius.parse(answer)
        assert radius.response_authenticator_ok(packet, sealed, request[4:20]) and radius.message_authenticator_ok(packet, sealed, request[4:20])
        told: dict[str, Any] = first(decode(self.dictionary, answer[20:]))
        del told["Message-Authenticator"]
        return packet.code, told

    def kinds(self) -> list[int]:
        return [each["Acct-Status-Type"] for each in self.accounted]


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


@pytest.fixture
def lab(extensions: Extensions) -> Callable[..., Lab]:
    return lambda *people, **more: Lab(extensions, *people, **more)


def test_pap_chap_and_accounting(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"), person("ben", chap=True))
    it.nas.start(it.at)
    it.run(2)
    pap, chap = it.logins
    assert pap["User-Password"] == "simulated-anna" and pap["NAS-Port-Id"] == "pppoe 0/1/0:3"
    assert "User-Password" not in chap and chap_verify(chap["CHAP-Password"], chap["CHAP-Challenge"], b"simulated-ben")
    assert it.kinds() == [7, 1, 1] and it.nas.online.keys() == {"anna", "ben"}
    it.run(2 * INTERIM_SECONDS)
    assert it.kinds()[3:] == [3, 3] * 2
    start, last = it.accounted[1], it.accounted[-2]
    assert (last["Acct-Session-Id"], last["Class"], last["Framed-IP-Address"]) == (start["Acct-Session-Id"], b"c1", IPv4Address("100.64.0.9"))
    seconds = last["Acct-Session-Time"]
    assert 2 * INTERIM_SECONDS - 2 <= seconds <= 2 * INTERIM_SECONDS + 1
    assert 0 < last["Acct-Output-Octets"] <= 20_000_000 / 8 * (seconds + 1) and 0 < last["Acct-Input-Octets"] < last["Acct-Output-Octets"]
    it.nas.stop(it.at)
    it.run(1)
    assert it.kinds()[-3:] == [2, 2, 8] and it.nas.quiet and not it.nas.online
    assert it.accounted[-2]["Acct-Terminate-Cause"] == 11
    carried = it.nas.carried["anna"].down
    it.run(60)
    assert it.nas.carried["anna"].down == carried and it.kinds()[-1] == 8, "off is off"


def test_whoever_would_dial_again_does_not_after_the_end(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"))
    it.nas.start(it.at)
    it.run(1)
    assert it.ask(radius.DISCONNECT_REQUEST, ("User-Name", "anna")) == (radius.DISCONNECT_ACK, {})
    it.nas.stop(it.at)
    it.run(3 * REDIAL_SECONDS)
    assert len(it.logins) == 1 and not it.nas.online and it.nas.quiet


def test_a_session_that_is_ended_comes_back_unless_it_is_rejected(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"))
    it.nas.start(it.at)
    it.run(1)
    old = it.nas.online["anna"].id
    it.reject.add("anna")
    assert it.ask(radius.DISCONNECT_REQUEST, ("User-Name", "anna"), ("Acct-Session-Id", old)) == (radius.DISCONNECT_ACK, {})
    assert not it.nas.online
    it.run(60)
    assert not it.nas.online
    assert it.accounted[-1]["Acct-Status-Type"] == 2 and it.accounted[-1]["Acct-Terminate-Cause"] == 6
    assert 60 / REJECTED_SECONDS - 2 <= len(it.logins) - 1 <= 60 / REJECTED_SECONDS / 0.8, "it tries again and again, but not too often"
    it.reject.clear()
    it.run(REJECTED_SECONDS)
    assert it.nas.online["anna"].id != old


def test_rates_are_changed_and_counted(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"))
    it.nas.start(it.at)
    it.run(1)
    session = it.nas.online["anna"]
    assert session.rates == Rates(20_000_000, 2_000_000)
    said = it.ask(radius.COA_REQUEST, ("Acct-Session-Id", session.id), ("Mikrotik-Rate-Limit", "64k/128k"), ("Session-Timeout", 50))
    assert said == (radius.COA_ACK, {}) and session.rates == Rates(128_000, 64_000)
    before = session.octets.down
    it.run(30)
    assert session.octets.down - before == pytest.approx(128_000 / 8 * 30, rel=0.01)
    it.run(21 + REDIAL_SECONDS)
    stop = next(each for each in it.accounted if each["Acct-Status-Type"] == 2)
    assert stop["Acct-Terminate-Cause"] == 5 and it.nas.online["anna"].id != session.id


def test_what_cannot_be_done_is_refused_with_its_cause(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"))
    it.nas.start(it.at)
    it.run(1)
    session = it.nas.online["anna"]
    right = ("Acct-Session-Id", session.id)
    assert it.ask(radius.COA_REQUEST, right) == (radius.COA_NAK, {"Error-Cause": 401})
    assert it.ask(radius.DISCONNECT_REQUEST, ("Acct-Session-Id", "none")) == (radius.DISCONNECT_NAK, {"Error-Cause": 503})
    assert it.ask(radius.DISCONNECT_REQUEST, right, ("User-Name", "ben")) == (radius.DISCONNECT_NAK, {"Error-Cause": 503})
    assert it.ask(radius.DISCONNECT_REQUEST, ("NAS-Port", 3)) == (radius.DISCONNECT_NAK, {"Error-Cause": 402})
    assert it.ask(radius.DISCONNECT_REQUEST, right, secret=b"another") is None
    body = encode(it.dictionary, [right])
    for forger in (b"another", SECRET):
        unsigned = radius.request(radius.DISCONNECT_REQUEST, 9, body, SharedSecret(forger), sign=False)
        assert (it.nas.asked(unsigned, it.at) is None) == (forger != SECRET)
        if forger != SECRET:
            assert it.nas.online == {"anna": session}
    it.nas.online["anna"] = session
    assert it.nas.asked(b"nonsense", it.at) is None and it.nas.asked(b"", it.at) is None
    assert it.nas.online == {"anna": session}


def test_what_is_not_answered_is_repeated_and_what_is_forged_is_not_believed(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"))
    it.silent = True
    it.nas.start(it.at)
    sent = it.nas.tick(it.at)
    it.now += REPEAT_SECONDS / 2
    assert it.nas.tick(it.at) == []
    it.now += REPEAT_SECONDS / 2
    assert it.nas.tick(it.at) == sent, "the same octets"
    auth = next(data for to, data in sent if to == "auth")
    for forger in (b"another", SECRET):
        answer = radius.reply(radius.ACCESS_ACCEPT, auth[1], auth[4:20], b"", SharedSecret(forger), sign=forger != SECRET)
        it.nas.answered("auth", answer, it.at)
        assert not it.nas.online
    acct = next(data for to, data in sent if to == "acct")
    it.nas.answered("acct", radius.reply(radius.ACCOUNTING_RESPONSE, acct[1], acct[4:20], b"", SharedSecret(b"another"), sign=False), it.at)
    it.now += REPEAT_SECONDS
    assert acct in {data for _, data in it.nas.tick(it.at)}, "it waits still for a right answer"
    it.run(3 * REPEAT_SECONDS + REJECTED_SECONDS)
    it.silent = False
    it.run(3 * REPEAT_SECONDS + REJECTED_SECONDS)
    assert it.nas.online and 7 in it.kinds()


def test_without_rates_a_session_has_what_the_port_does(lab: Callable[..., Lab]) -> None:
    it = lab(person("anna"), vendor="huawei_vrp")
    it.grant = []
    it.nas.start(it.at)
    it.run(1)
    assert it.nas.online["anna"].rates == Rates(1_000_000_000, 1_000_000_000) and it.nas.online["anna"].address is None
