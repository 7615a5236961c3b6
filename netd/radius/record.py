"""An Accounting-Request as values: which session, which event, how much (RFC 2866, RFC 2869 gigawords, RFC 3162, RFC 4818, RFC 6911)."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from netd.errors import WireError
from netd.model.accounting import Kind, Record, unique_id
from netd.model.subscriber import username_key
from netd.radius.nas import NasRecord
from netd.radius.sessions import CLASS_PREFIX
from netd.wire import radius
from netd.wire.radius import Packet

ACCT_STATUS_TYPE: Final = 40
ACCT_DELAY_TIME: Final = 41
ACCT_INPUT_OCTETS: Final = 42
ACCT_OUTPUT_OCTETS: Final = 43
ACCT_SESSION_ID: Final = 44
ACCT_AUTHENTIC: Final = 45
ACCT_SESSION_TIME: Final = 46
ACCT_INPUT_PACKETS: Final = 47
ACCT_OUTPUT_PACKETS: Final = 48
ACCT_TERMINATE_CAUSE: Final = 49
ACCT_INPUT_GIGAWORDS: Final = 52
ACCT_OUTPUT_GIGAWORDS: Final = 53
EVENT_TIMESTAMP: Final = 55
NAS_PORT_TYPE: Final = 61
CONNECT_INFO: Final = 77
FRAMED_INTERFACE_ID: Final = 96
FRAMED_IPV6_PREFIX: Final = 97
DELEGATED_IPV6_PREFIX: Final = 123
FRAMED_IPV6_ADDRESS: Final = 168


def _by_octets(names: dict[int, str]) -> dict[bytes, str]:
    """A table of an attribute's values as they stand on the wire."""
    return {number.to_bytes(4, "big"): name for number, name in names.items()}


_KINDS: Final[dict[int, Kind]] = {1: "start", 2: "stop", 3: "interim"}
_AUTHENTIC: Final = _by_octets({1: "RADIUS", 2: "Local", 3: "Remote", 4: "Diameter"})
_CAUSES: Final = _by_octets({
    1: "User-Request", 2: "Lost-Carrier", 3: "Lost-Service", 4: "Idle-Timeout", 5: "Session-Timeout", 6: "Admin-Reset", 7: "Admin-Reboot",
    8: "Port-Error", 9: "NAS-Error", 10: "NAS-Request", 11: "NAS-Reboot", 12: "Port-Unneeded", 13: "Port-Preempted", 14: "Port-Suspended",
    15: "Service-Unavailable", 16: "Callback", 17: "User-Error", 18: "Host-Request", 19: "Supplicant-Restart", 20: "Reauthentication-Failure",
    21: "Port-Reinit", 22: "Port-Disabled",
})  # fmt: skip
_SERVICE_TYPES: Final = _by_octets({
    1: "Login-User", 2: "Framed-User", 3: "Callback-Login-User", 4: "Callback-Framed-User", 5: "Outbound-User", 6: "Administrative-User",
    7: "NAS-Prompt-User", 8: "Authenticate-Only", 10: "Call-Check", 17: "Authorize-Only",
})  # fmt: skip
_PROTOCOLS: Final = _by_octets({1: "PPP", 2: "SLIP", 3: "ARAP", 4: "Gandalf-SLML", 5: "Xylogics-IPX-SLIP", 6: "X.75-Synchronous"})
_PORT_TYPES: Final = _by_octets({
    0: "Async", 1: "Sync", 2: "ISDN", 5: "Virtual", 15: "Ethernet", 16: "xDSL", 17: "Cable", 18: "Wireless-Other", 19: "Wireless-802.11",
    30: "PPPoA", 31: "PPPoEoA", 32: "PPPoEoE", 33: "PPPoEoVLAN", 34: "PPPoEoQinQ", 35: "xPON",
})  # fmt: skip

_OWN_CLASS: Final = f"{CLASS_PREFIX}:".encode()

FUTURE_SECONDS: Final = 600.0
PAST_SECONDS: Final = 400 * 86_400.0
UNBELIEVABLE_OCTETS: Final = 1 << 56
"""72 petabytes: 100 Gbit/s for two months."""


class AccountingSwitch(NamedTuple):
    """Accounting-On or -Off: the NAS holds no session that began before ``event_at``. What it calls itself is None where it does not say."""

    nas_id: int
    source: str
    nas_ip_address: str | None
    nas_identifier: str | None
    event_at: float
    cause: str


def read(packet: Packet, nas: NasRecord, source: str, received_at: float) -> Record | AccountingSwitch | None:
    """The meaning of an Accounting-Request; None for a status type that tells nothing about a subscriber's session.

    An Event-Timestamp far outside of ``received_at`` (a NAS whose clock was never set) is not believed. Raises WireError if the
    packet lacks what RFC 2866 4.1 demands.
    """
    attributes = packet.attributes
    status = _integer(attributes.get(ACCT_STATUS_TYPE))
    if status is None:
        raise WireError("acct_status_type_missing")
    stamp = _integer(attributes.get(EVENT_TIMESTAMP))
    exact = stamp is not None and received_at - PAST_SECONDS < stamp < received_at + FUTURE_SECONDS
    delay = _integer(attributes.get(ACCT_DELAY_TIME)) or 0
    event_at = float(stamp) if exact and stamp is not None else received_at - (delay if delay < PAST_SECONDS else 0)
    source = source.partition("%")[0]
    address = _ipv4(attributes.get(radius.NAS_IP_ADDRESS)) or _ipv6(attributes.get(radius.NAS_IPV6_ADDRESS))
    identifier = _text(attributes.get(radius.NAS_IDENTIFIER))
    if status in (7, 8):
        cause = "NAS-Reboot" if status == 7 else "Admin-Reboot"
        return AccountingSwitch(nas.id, source, address, identifier, event_at, cause)
    kind = _KINDS.get(status)
    if kind is None:
        return None
    session_id = _text(attributes.get(ACCT_SESSION_ID))
    if not session_id:
        raise WireError("acct_session_id_missing")
    username = _text(attributes.get(radius.USER_NAME)) or ""
    get = attributes.get
    return Record(
        acctuniqueid=unique_id(f"{nas.tenant_id}\0{source}\0{address}\0{identifier}", session_id, username_key(username)),
        tenant_id=nas.tenant_id,
        nas_id=nas.id,
        subscriber_id=None,
        acctsessionid=session_id,
        username=username,
        realm=username.rpartition("@")[2] if "@" in username else None,
        nasipaddress=address or source,
        nassourceaddress=source,
        nasidentifier=identifier,
        nasportid=_text(get(radius.NAS_PORT_ID)) or _number(get(radius.NAS_PORT)),
        nasporttype=_named(get(NAS_PORT_TYPE), _PORT_TYPES),
        acctsessiontime=min(_integer(get(ACCT_SESSION_TIME)) or 0, int(PAST_SECONDS)),
        acctauthentic=_named(get(ACCT_AUTHENTIC), _AUTHENTIC),
        connectinfo_start=_text(get(CONNECT_INFO)) if kind == "start" else None,
        connectinfo_stop=_text(get(CONNECT_INFO)) if kind == "stop" else None,
        acctinputoctets=_octets(get(ACCT_INPUT_GIGAWORDS), get(ACCT_INPUT_OCTETS)),
        acctoutputoctets=_octets(get(ACCT_OUTPUT_GIGAWORDS), get(ACCT_OUTPUT_OCTETS)),
        acctinputpackets=_integer(get(ACCT_INPUT_PACKETS)) or 0,
        acctoutputpackets=_integer(get(ACCT_OUTPUT_PACKETS)) or 0,
        calledstationid=_text(get(radius.CALLED_STATION_ID)),
        callingstationid=_text(get(radius.CALLING_STATION_ID)),
        servicetype=_named(get(radius.SERVICE_TYPE), _SERVICE_TYPES),
        framedprotocol=_named(get(radius.FRAMED_PROTOCOL), _PROTOCOLS),
        framedipaddress=_ipv4(get(radius.FRAMED_IP_ADDRESS)),
        framedipv6address=_ipv6(get(FRAMED_IPV6_ADDRESS)),
        framedipv6prefix=_prefix(get(FRAMED_IPV6_PREFIX)),
        framedinterfaceid=_interface_id(get(FRAMED_INTERFACE_ID)),
        delegatedipv6prefix=_prefix(get(DELEGATED_IPV6_PREFIX)),
        class_=_class(packet),
        terminate_cause=_named(get(ACCT_TERMINATE_CAUSE), _CAUSES),
        kind=kind,
        event_at=event_at,
        exact=exact,
        heard_at=received_at,
    )


def _integer(value: bytes | None) -> int | None:
    return int.from_bytes(value) if value is not None and len(value) == 4 else None


def _class(packet: Packet) -> str | None:
    """netd's own Class if it is among them: an operator's, from radreply, or a proxy's may stand before it."""
    values = packet.values(radius.CLASS)
    return _text(next((value for value in values if value.startswith(_OWN_CLASS)), values[0] if values else None))


def _octets(gigawords: bytes | None, octets: bytes | None) -> int:
    """A 64-bit counter (RFC 2869 5.1). One beyond belief is a NAS that counted below zero: it says nothing, so the row keeps what it has."""
    total = _integer(octets) or 0
    if gigawords is not None:
        total |= (_integer(gigawords) or 0) << 32
    return total if total < UNBELIEVABLE_OCTETS else 0


def _number(value: bytes | None) -> str | None:
    number = _integer(value)
    return None if number is None else str(number)


def _named(value: bytes | None, names: dict[bytes, str]) -> str | None:
    return None if value is None else names.get(value) or _number(value)


def _text(value: bytes | None) -> str | None:
    """Text for a column: no NUL, no invalid UTF-8."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _ipv4(value: bytes | None) -> str | None:
    return socket.inet_ntoa(value) if value is not None and len(value) == 4 else None


def _ipv6(value: bytes | None) -> str | None:
    return str(ipaddress.IPv6Address(value)) if value is not None and len(value) == 16 else None


def _interface_id(value: bytes | None) -> str | None:
    return value.hex(":", 2) if value is not None and len(value) == 8 else None


def _prefix(value: bytes | None) -> str | None:
    """Reserved octet, length, and as many octets as the length needs (RFC 3162 2.3); host bits are masked off."""
    if value is None or not 2 <= len(value) <= 18 or value[1] > 128 or len(value) - 2 < (value[1] + 7) // 8:
        return None
    network = ipaddress.IPv6Network((value[2:].ljust(16, b"\0"), value[1]), strict=False)
    return str(network)


IDENTIFICATION: Final[dict[int, tuple[str, Callable[[bytes | None], str | None]]]] = {
    ACCT_SESSION_ID: ("acctsessionid", _text), radius.FRAMED_IP_ADDRESS: ("framedipaddress", _ipv4), FRAMED_IPV6_ADDRESS: ("framedipv6address", _ipv6),
    FRAMED_IPV6_PREFIX: ("framedipv6prefix", _prefix), DELEGATED_IPV6_PREFIX: ("delegatedipv6prefix", _prefix),
    radius.CALLING_STATION_ID: ("callingstationid", _text), radius.NAS_PORT_ID: ("nasportid", _text),
    FRAMED_INTERFACE_ID: ("framedinterfaceid", _interface_id), radius.CALLED_STATION_ID: ("calledstationid", _text),
}  # fmt: skip
"""Attributes besides User-Name that name a session in a Disconnect- or CoA-Request: which member of a row each is, and how it is read (None:
malformed). The most telling one stands first."""
