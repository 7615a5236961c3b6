"""Which sessions a Disconnect- or CoA-Request means, and what it asks for (RFC 5176 section 3, RFC 8559): read from the packet, without I/O."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from netd.model.accounting import Row
from netd.model.subscriber import username_key
from netd.radius.index import normal
from netd.radius.record import IDENTIFICATION
from netd.wire import radius
from netd.wire.attributes import decode, to_text
from netd.wire.dictionary import Dictionary
from netd.wire.radius import Packet

UNSUPPORTED_ATTRIBUTE: Final = 401
MISSING_ATTRIBUTE: Final = 402
NAS_MISMATCH: Final = 403
INVALID_REQUEST: Final = 404
UNSUPPORTED_SERVICE: Final = 405
INVALID_VALUE: Final = 407
PROHIBITED: Final = 501
NOT_ROUTABLE: Final = 502
NOT_FOUND: Final = 503
PROXY_ERROR: Final = 505
NO_RESOURCES: Final = 506
MULTIPLE_SESSIONS: Final = 508
"""Values of Error-Cause (RFC 5176 3.5)."""

STATE: Final = 24
OPERATOR_NAME: Final = 126
EXTENDED: Final = 241
OPERATOR_NAS_IDENTIFIER: Final = 8
"""241.8, RFC 8559 section 4: opaque to others; netd takes the name of a NAS entry."""

_REPLY_MESSAGE: Final = 18
_TERMINATE_CAUSE: Final = 49
_NAS: Final = frozenset((radius.NAS_IP_ADDRESS, radius.NAS_IPV6_ADDRESS, radius.NAS_IDENTIFIER))
_CHECKED_BY_NAS: Final = frozenset((radius.NAS_PORT, 50, 89))
"""NAS-Port, Acct-Multi-Session-Id, Chargeable-User-Identity: they identify too, but accounting does not keep them. The NAS gets them to check."""

_OWN: Final = frozenset((STATE, radius.PROXY_STATE, radius.EVENT_TIMESTAMP, radius.MESSAGE_AUTHENTICATOR, OPERATOR_NAME))
"""Part of the exchange with the client, so they go no further."""

_FORBIDDEN: Final = frozenset((
    radius.USER_PASSWORD, radius.CHAP_PASSWORD, radius.CLASS, radius.ACCT_STATUS_TYPE, radius.CHAP_CHALLENGE, radius.ARAP_PASSWORD, radius.EAP_MESSAGE,
    radius.ERROR_CAUSE,
))  # fmt: skip
"""Class is netd's: sessions are known by it. The others have no business here."""

_IN_DISCONNECT: Final = frozenset((radius.VENDOR_SPECIFIC, _REPLY_MESSAGE, _TERMINATE_CAUSE))
"""What may stand in a Disconnect-Request beside identification (RFC 5176 3.6)."""


class Refused(Exception):
    """The request is to be answered with a NAK; ``cause`` is an Error-Cause, ``detail`` for people."""

    def __init__(self, cause: int, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says. ``facts`` are members of a row and the values they must have, the most telling first; ``more`` goes to the NAS as it is."""

    username_key: str | None
    facts: tuple[tuple[str, str], ...]
    nas_address: str | None
    nas_identifier: str | None
    operator_nas: str | None
    more: bytes
    told: tuple[tuple[str, str], ...]  # the same, by name

    def matches(self, row: Row, known_as: str | None) -> bool:
        """Whether all that identifies a session fits the row; ``known_as`` is the key of its subscriber's name, if it has one."""
        if self.username_key is not None and self.username_key not in (known_as, username_key(row.username)):
            return False
        return all(normal(member, getattr(row, member)) == value for member, value in self.facts)

    def on(self, row: Row, nas_name: str | None) -> bool:
        """Whether the NAS of the row is the one named, if one is."""
        if self.nas_address is not None and self.nas_address not in (row.nasipaddress, row.nassourceaddress):
            return False
        names = (row.nasidentifier, nas_name)
        if self.nas_identifier is not None and self.nas_identifier not in names:
            return False
        return self.operator_nas is None or (nas_name is not None and nas_name.lower() == self.operator_nas.lower())


def read(packet: Packet, dictionary: Dictionary) -> Selection:
    """Raises Refused for a request that must not be relayed."""
    disconnect = packet.code == radius.DISCONNECT_REQUEST
    if radius.SERVICE_TYPE in packet.attributes:  # with Authorize Only (RFC 5176 3.2) the NAS would ask netd, which knows no such request
        raise Refused(UNSUPPORTED_SERVICE, "Service-Type is not supported, Authorize Only neither")
    operator_nas = None
    more: list[tuple[int, bytes]] = []
    for kind, value in radius.split(packet.data[radius.HEADER :]):
        if kind in _OWN or kind in _NAS or kind == radius.USER_NAME or kind in IDENTIFICATION:
            continue
        if kind == EXTENDED and value[:1] == bytes((OPERATOR_NAS_IDENTIFIER,)):
            operator_nas = value[1:].decode("utf-8", "replace")
            continue
        if kind in _FORBIDDEN or (disconnect and kind not in _IN_DISCONNECT and kind not in _CHECKED_BY_NAS):
            raise Refused(UNSUPPORTED_ATTRIBUTE, f"attribute {_name(dictionary, kind)} does not belong into such a request")
        more.append((kind, value))
    told = tuple(_told(dictionary, more))
    for kind, _ in packet.repeated:
        if kind in _NAS or kind == radius.USER_NAME or kind in IDENTIFICATION:
            raise Refused(INVALID_REQUEST, f"{_name(dictionary, kind)} stands there twice")
    username = packet.attributes.get(radius.USER_NAME)
    facts = tuple(_facts(packet, dictionary))
    if username is None and not facts:
        raise Refused(MISSING_ATTRIBUTE, "nothing identifies a session")
    return Selection(
        username_key=None if username is None else username_key(username.decode("utf-8", "replace").replace("\0", "\ufffd")), facts=facts,
        nas_address=_nas_address(packet), nas_identifier=_nas_identifier(packet), operator_nas=operator_nas, more=radius.join(more),
        told=told,
    )  # fmt: skip


def _facts(packet: Packet, dictionary: Dictionary) -> Iterator[tuple[str, str]]:
    for kind, (member, parse) in IDENTIFICATION.items():
        if kind in packet.attributes:
            yield member, _value(packet, kind, member, parse, dictionary)


def _value(packet: Packet, kind: int, member: str, parse: Callable[[bytes | None], str | None], dictionary: Dictionary) -> str:
    value = normal(member, parse(packet.attributes[kind]))
    if not value:
        raise Refused(INVALID_VALUE, f"{_name(dictionary, kind)} is malformed")
    return value


def _nas_address(packet: Packet) -> str | None:
    for kind, like in ((radius.NAS_IP_ADDRESS, radius.FRAMED_IP_ADDRESS), (radius.NAS_IPV6_ADDRESS, 168)):
        value = packet.attributes.get(kind)
        if value is not None:
            address = IDENTIFICATION[like][1](value)
            if address is None:
                raise Refused(INVALID_VALUE, "the NAS's address is malformed")
            return address
    return None


def _nas_identifier(packet: Packet) -> str | None:
    value = packet.attributes.get(radius.NAS_IDENTIFIER)
    return None if value is None else value.decode("utf-8", "replace").replace("\0", "\ufffd")


def _told(dictionary: Dictionary, attributes: list[tuple[int, bytes]]) -> Iterator[tuple[str, str]]:
    """Names and values of what goes to the NAS. What is encrypted with the client's secret the NAS could not read, and in clear it must not go on."""
    for item in decode(dictionary, radius.join(attributes)):
        attribute = dictionary.attribute(item.name)
        if attribute.encrypt:
            raise Refused(UNSUPPORTED_ATTRIBUTE, f"{item.name} is encrypted, so it cannot be relayed")
        yield item.name, to_text(attribute, item.value)


def _name(dictionary: Dictionary, kind: int) -> str:
    known = dictionary.by_code(0, kind)
    return f"Attr-{kind}" if known is None else known.name
