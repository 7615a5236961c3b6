"""Access-Requests as a NAS would send them, and what differs between two servers' answers. No sockets, clock or entropy."""

from collections import Counter
from collections.abc import Collection, Sequence
from hashlib import md5
from typing import Final, Literal, NamedTuple

import msgspec

from netd.errors import WireError
from netd.wire import passwords, radius
from netd.wire.attributes import Avp, decode, encode, to_text
from netd.wire.dictionary import Dictionary
from netd.wire.radius import Packet, SharedSecret

Method = Literal["pap", "chap", "mschapv2"]
METHODS: Final[tuple[Method, ...]] = ("pap", "chap", "mschapv2")

IGNORED: Final = ("Message-Authenticator", "Class", "State", "Proxy-State", "MS-CHAP-Error")
"""What each server makes up for itself; MS-CHAP-Error holds a challenge of its own."""

TIMED: Final = frozenset(("Session-Timeout",))
"""What may count the seconds until something: two servers are never asked in the very same second."""

CODES: Final = {2: "Access-Accept", 3: "Access-Reject", 5: "Accounting-Response", 11: "Access-Challenge", 41: "Disconnect-ACK"}
NO_ANSWER: Final = "no answer"
_MICROSOFT: Final = b"\0\0\x01\x37"


class Login(NamedTuple):
    """Who logs in; ``attributes`` go into the request as they are."""

    username: str
    password: str
    attributes: Sequence[Avp] = ()

    def __repr__(self) -> str:
        return f"Login({self.username!r}, ***)"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One server's answer: its code, and the attributes that only it sent, as text."""

    code: str
    only: tuple[str, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was not answered alike."""

    username: str
    method: str
    netd: Side
    peer: Side

    @property
    def text(self) -> str:
        """One line."""
        if self.netd.code != self.peer.code:
            codes = f"netd {self.netd.code}, peer {self.peer.code}; "
        else:
            codes = f"{self.netd.code}; "
        sides = [f"only {name}: {', '.join(side.only)}" for name, side in (("netd", self.netd), ("peer", self.peer)) if side.only]
        return f"{self.username} ({self.method}): {codes}{'; '.join(sides)}".rstrip("; ")


def request(dictionary: Dictionary, login: Login, method: Method, secret: SharedSecret, identifier: int, authenticator: bytes, drawn: bytes) -> bytes:
    """A signed Access-Request. ``drawn`` are 32 random octets, for challenges. Raises ValueError for attributes that cannot be."""
    name = login.username.encode()
    password = login.password.encode()
    attributes = radius.join([(radius.USER_NAME, name)]) + encode(dictionary, login.attributes)
    if method == "pap":
        try:
            attributes += radius.join([(radius.USER_PASSWORD, passwords.pap_encrypt(password, md5(secret.value), authenticator))])
        except WireError as error:
            raise ValueError(str(error)) from None
    elif method == "chap":
        challenge, ident = drawn[:16], drawn[16:17]
        attributes += radius.join([(radius.CHAP_PASSWORD, ident + md5(ident + password + challenge).digest()), (radius.CHAP_CHALLENGE, challenge)])
    else:
        challenge, own = drawn[:16], drawn[16:32]
        short = passwords.mschap2_challenge(own, challenge, name)
        response = b"\x01\0" + own + bytes(8) + passwords.challenge_response(short, passwords.nt_hash(login.password))
        for kind, value in ((passwords.MS_CHAP_CHALLENGE, challenge), (passwords.MS_CHAP2_RESPONSE, response)):
            attributes += radius.join([(radius.VENDOR_SPECIFIC, _MICROSOFT + bytes((kind, len(value) + 2)) + value)])
    return radius.request(radius.ACCESS_REQUEST, identifier, attributes, secret, authenticator)


def compare(
    dictionary: Dictionary, netd: Packet | None, peer: Packet | None, secret: SharedSecret, authenticator: bytes,
    ignored: Collection[str] = IGNORED, slack_seconds: int = 0,
) -> tuple[Side, Side] | None:  # fmt: skip
    """What differs between two answers to the request of ``authenticator``; None if nothing does. An answer None did not come.

    Attributes are compared as multisets: their order does not count. ``slack_seconds`` is by how much a Session-Timeout may differ.
    """
    ours, theirs = (_shown(dictionary, answer, secret, authenticator, ignored) for answer in (netd, peer))
    only_ours, only_theirs = ours - theirs, theirs - ours
    if slack_seconds:
        _forgive(only_ours, only_theirs, slack_seconds)
    sides = Side(code=_code(netd), only=_texts(only_ours)), Side(code=_code(peer), only=_texts(only_theirs))
    return None if sides[0].code == sides[1].code and not (only_ours or only_theirs) else sides


def _code(answer: Packet | None) -> str:
    return NO_ANSWER if answer is None else CODES.get(answer.code, f"code {answer.code}")


def _shown(dictionary: Dictionary, answer: Packet | None, secret: SharedSecret, authenticator: bytes, ignored: Collection[str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    if answer is None:
        return found
    hidden = frozenset(name.casefold() for name in ignored)
    for item in decode(dictionary, answer.data[radius.HEADER :], secret.value, authenticator):
        if item.name.casefold() in hidden:
            continue
        try:
            text = to_text(dictionary.attribute(item.name), item.value)
        except LookupError:
            text = repr(item.value)
        found[item.avp[0], f"*** ({md5(text.encode()).hexdigest()[:8]})" if item.secret else text] += 1
    return found


def _forgive(ours: Counter[tuple[str, str]], theirs: Counter[tuple[str, str]], slack_seconds: int) -> None:
    for name in TIMED:
        one, other = ([key for key in side if key[0] == name] for side in (ours, theirs))
        if len(one) == len(other) == 1 and abs(int(one[0][1]) - int(other[0][1])) <= slack_seconds:
            del ours[one[0]], theirs[other[0]]


def _texts(found: Counter[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{name} = {text}" for name, text in sorted(found.elements()))
