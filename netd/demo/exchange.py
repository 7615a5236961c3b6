"""The client's half of RADIUS: requests that are repeated until they are answered. Sans-IO; times are seconds of any clock."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from netd.errors import WireError
from netd.wire import radius
from netd.wire.attributes import Avp, Decoded, Value, decode, encode
from netd.wire.dictionary import Dictionary
from netd.wire.radius import SharedSecret

REPEAT_SECONDS: Final = 2.0


class Answer(NamedTuple):
    """What a server said, its signatures checked."""

    code: int
    attributes: tuple[Decoded, ...]

    def first(self) -> dict[str, Value]:
        """The first value of each attribute, by name."""
        return first(self.attributes)


def first(attributes: Sequence[Decoded]) -> dict[str, Value]:
    """The first value of each attribute, by name."""
    found: dict[str, Value] = {}
    for each in attributes:
        found.setdefault(each.name, each.value)
    return found


class _Request(msgspec.Struct, kw_only=True):
    packet: bytes
    authenticator: bytes
    answered: Callable[[Answer], None]
    unanswered: Callable[[], None]
    left: int  # how often it may be sent
    due_at: float


class Exchanges:
    """The requests from one socket to one port of a server. ``entropy(n)`` gives n octets. ``refused`` counts answers that were not believed."""

    def __init__(self, dictionary: Dictionary, secret: SharedSecret, entropy: Callable[[int], bytes]) -> None:
        self.refused = 0
        self._dictionary = dictionary
        self._secret = secret
        self._entropy = entropy
        self._open: dict[int, _Request] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self, code: int, avps: Sequence[Avp], now: float, *, attempts: int, answered: Callable[[Answer], None] = lambda answer: None,
        unanswered: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Let a request go out with the next :meth:`due`, up to ``attempts`` times; one of the two is called in the end. With 256 open none goes out."""
        if len(self._open) == 256:
            unanswered()
            return
        while self._next in self._open:
            self._next = (self._next + 1) % 256
        identifier, self._next = self._next, (self._next + 1) % 256
        authenticator = self._entropy(16) if code == radius.ACCESS_REQUEST else None
        body = encode(self._dictionary, avps, self._secret.value, authenticator or radius.ZEROS)
        packet = radius.request(code, identifier, body, self._secret, authenticator)
        self._open[identifier] = _Request(
            packet=packet, authenticator=packet[4:20], answered=answered, unanswered=unanswered, left=attempts, due_at=now
        )  # fmt: skip

    def due(self, now: float) -> list[bytes]:
        """What is to be sent now."""
        found = []
        for identifier, request in list(self._open.items()):
            if request.due_at > now:
                continue
            if request.left == 0:
                del self._open[identifier]
                request.unanswered()
                continue
            request.left -= 1
            request.due_at = now + REPEAT_SECONDS
            found.append(request.packet)
        return found

    def take(self, data: bytes) -> None:
        """A datagram from the server. What is no answer to an open request, or is not signed as it must be, is counted and dropped."""
        try:
            packet = radius.parse(data)
            request = self._open.get(packet.identifier)
            if request is None:
                raise WireError("late_answer")
            if not radius.response_authenticator_ok(packet, self._secret, request.authenticator):
                raise WireError("response_authenticator_wrong")
            must = radius.requires_signed_answer(packet.code)
            if (must or packet.ma_at) and not radius.message_authenticator_ok(packet, self._secret, request.authenticator):
                raise WireError("message_authenticator_wrong")
            attributes = tuple(decode(self._dictionary, data[radius.HEADER :], self._secret.value, request.authenticator))
        except WireError:
            self.refused += 1
            return
        del self._open[packet.identifier]
        request.answered(Answer(packet.code, attributes))

    def forget(self) -> None:
        """Wait for no answer any more."""
        self._open.clear()
