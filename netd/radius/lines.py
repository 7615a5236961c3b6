"""Where a request comes from: circuit and remote ids in every form that NAS send them, port, MAC address; and the lines a subscriber is bound to."""

from collections.abc import Iterator, Sequence
from hmac import compare_digest
from typing import Final

from netd.model.line import circuit, mac_or_none
from netd.store.directory import LineRow
from netd.wire import passwords
from netd.wire.radius import (
    CALLING_STATION_ID,
    CHAP_CHALLENGE,
    CHAP_PASSWORD,
    EAP_MESSAGE,
    NAS_PORT_ID,
    USER_NAME,
    USER_PASSWORD,
    VENDOR_SPECIFIC,
    Packet,
    SharedSecret,
    sub_attributes,
    vendor_attributes,
)

FRAMED_PROTOCOL: Final = 7
PPP: Final = 1

MICROSOFT: Final = 311
ADSL_FORUM, REDBACK, CISCO, NOKIA, JUNIPER, HUAWEI = 3561, 2352, 9, 6527, 4874, 2011

_CIRCUIT: Final = frozenset(((ADSL_FORUM, 1), (REDBACK, 97)))
_REMOTE: Final = frozenset(((ADSL_FORUM, 2), (REDBACK, 96)))
_MAC_TEXT: Final = frozenset(((NOKIA, 27), (HUAWEI, 153), (JUNIPER, 56)))
_DHCP_OPTIONS: Final = frozenset(((NOKIA, 102), (JUNIPER, 55)))
"""The client's DHCP options as they came, option 82 among them."""
_AV_PAIR: Final = (CISCO, 1)
_RELAY_AGENT_INFORMATION: Final = 82
_READ: Final = frozenset((ADSL_FORUM, REDBACK, CISCO, NOKIA, JUNIPER, HUAWEI))


class Seen:
    """What a request tells of its line. ``circuit_ids`` and ``remote_ids`` are in the form of ``netd.model.line.circuit``, each once."""

    __slots__ = ("circuit_ids", "mac", "nas_port_id", "remote_ids")

    def __init__(self, circuit_ids: list[str], remote_ids: list[str], nas_port_id: str | None, mac: str | None) -> None:
        self.circuit_ids = circuit_ids
        self.remote_ids = remote_ids
        self.nas_port_id = nas_port_id
        self.mac = mac

    def __str__(self) -> str:
        told = [f"circuit id {each}" for each in self.circuit_ids] + [f"remote id {each}" for each in self.remote_ids]
        told += [f"NAS-Port-Id {self.nas_port_id}"] if self.nas_port_id is not None else []
        told += [f"MAC {self.mac}"] if self.mac is not None else []
        return ", ".join(told) or "no id of a line"


def seen(packet: Packet) -> Seen:
    """Read what a request tells of its line. Octets that do not fit their form are left out."""
    circuits: list[str] = []
    remotes: list[str] = []
    hardware: str | None = None
    for vendor, kind, value in _vendor_values(packet):
        key = (vendor, kind)
        if key in _CIRCUIT:
            circuits.append(circuit(value))
        elif key in _REMOTE:
            remotes.append(circuit(value))
        elif key in _DHCP_OPTIONS:
            for number, octets in _relay_agent_information(value):
                (circuits if number == 1 else remotes).append(circuit(octets))
        elif key in _MAC_TEXT:
            hardware = hardware or mac_of(value)
        elif key == _AV_PAIR:
            name, _, rest = value.partition(b"=")
            if name == b"circuit-id-tag":
                circuits.append(circuit(rest))
            elif name == b"remote-id-tag":
                remotes.append(circuit(rest))
            elif name == b"client-mac-address":
                hardware = hardware or mac_of(rest)
    calling, port = packet.attributes.get(CALLING_STATION_ID), packet.attributes.get(NAS_PORT_ID)
    return Seen(
        list(dict.fromkeys(circuits)), list(dict.fromkeys(remotes)), None if port is None else circuit(port),
        (None if calling is None else mac_of(calling)) or hardware,
    )  # fmt: skip


def _vendor_values(packet: Packet) -> Iterator[tuple[int, int, bytes]]:
    """(vendor, type, value) of the vendors that tell of lines, in the usual 1+1 octet format (RFC 2865 5.26); bad framing is skipped."""
    if VENDOR_SPECIFIC not in packet.attributes:
        return
    for value in packet.values(VENDOR_SPECIFIC):
        vendor = int.from_bytes(value[:4], "big")
        if vendor in _READ:
            for kind, octets in sub_attributes(value):
                yield vendor, kind, octets


def _relay_agent_information(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Sub-options 1 (circuit id) and 2 (remote id) of option 82 (RFC 3046) among DHCP options."""
    for number, value in _options(options):
        if number == _RELAY_AGENT_INFORMATION:
            for sub, octets in _options(value):
                if sub in (1, 2) and octets:
                    yield sub, octets


def _options(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(octets):
        if octets[at] == 0:  # pad
            at += 1
            continue
        end = at + 2 + octets[at + 1]
        if octets[at] == 255 or end > len(octets):
            return
        yield octets[at], octets[at + 2 : end]
        at = end


def mac_of(value: bytes) -> str | None:
    """A MAC address from an attribute, as text of any notation or as six octets."""
    if len(value) == 6:
        return value.hex(":")
    return mac_or_none(value.decode("ascii", "replace"))


class Binding:
    """The lines of one subscriber, and what a log-in from another one comes to."""

    __slots__ = ("enforce", "learn", "lines")

    def __init__(self, enforce: bool, learn: bool, lines: Sequence[LineRow]) -> None:
        self.enforce = enforce
        self.learn = learn
        self.lines = tuple(lines)

    def fits(self, found: Seen, nas_id: int) -> bool:
        """Whether a request comes from one of the lines. Where none is named, there is nothing to compare with, and nothing to let in by."""
        if not self.lines:
            return self.learn or not self.enforce
        return any(_fits(line, found, nas_id) for line in self.lines)


def _fits(line: LineRow, found: Seen, nas_id: int) -> bool:
    return (
        (line.nas_id is None or line.nas_id == nas_id)
        and (line.circuit_id is None or line.circuit_id in found.circuit_ids)
        and (line.remote_id is None or line.remote_id in found.remote_ids)
        and (line.nas_port_id is None or (found.nas_port_id is not None and plain(line.nas_port_id) == plain(found.nas_port_id)))
        and (line.mac is None or line.mac == found.mac)
    )


def plain(port: str) -> str:
    """A NAS-Port-Id to be compared: names of ports differ neither by case nor by the number of blanks."""
    return " ".join(port.lower().split())


def learnable(found: Seen, nas_id: int) -> LineRow | None:
    """The line that a first log-in binds: circuit and remote id, else port and NAS, else the MAC address. None if the request tells none of them."""
    if found.circuit_ids or found.remote_ids:
        return LineRow(None, next(iter(found.circuit_ids), None), next(iter(found.remote_ids), None), None, None)
    if found.nas_port_id is not None:
        return LineRow(nas_id, None, None, found.nas_port_id, None)
    return None if found.mac is None else LineRow(None, None, None, None, found.mac)


class LineLogin:
    """How devices without a user name may log in through a NAS: by what, and what counts as the password."""

    __slots__ = ("by_circuit_id", "by_mac", "fixed", "none", "same", "secret")

    def __init__(self, by: Sequence[str], accepted: Sequence[str], fixed: bytes | None) -> None:
        self.by_mac = "mac" in by
        self.by_circuit_id = "circuit_id" in by
        self.same = "same" in accepted
        self.secret = "secret" in accepted
        self.none = "none" in accepted
        self.fixed = fixed if "fixed" in accepted else None

    def identities(self, packet: Packet) -> list[str]:
        """What the device may be known by, as keys of the directory, most telling first.

        A User-Name is a MAC address only where it agrees with Calling-Station-Id, if that is one, and never in PPP: there anybody types it. What stands
        behind an @ is the NAS's doing. A circuit id is put in by the access node.
        """
        keys = []
        if self.by_mac and int.from_bytes(packet.attributes.get(FRAMED_PROTOCOL, b""), "big") != PPP:
            hardware = mac_of(packet.attributes[USER_NAME].partition(b"@")[0])
            calling = mac_of(packet.attributes.get(CALLING_STATION_ID, b""))
            if hardware is not None and calling in (None, hardware):
                keys.append(f"mac {hardware}")
        if self.by_circuit_id:
            keys += [f"circuit_id {each}" for each in seen(packet).circuit_ids]
        return keys

    def password_ok(self, packet: Packet, secret: SharedSecret) -> bool:
        """Whether the request carries a password that counts. Raises WireError for one of a length that cannot be."""
        attributes = packet.attributes
        if EAP_MESSAGE in attributes or passwords.MS_CHAP_CHALLENGE in vendor_attributes(packet, MICROSOFT):
            return False
        name = attributes[USER_NAME]
        texts = [text for wanted, text in ((self.same, name), (self.secret, secret.value), (self.none, b"")) if wanted]
        texts += [self.fixed] if self.fixed is not None else []
        chap = attributes.get(CHAP_PASSWORD)
        if chap is not None:
            challenge = attributes.get(CHAP_CHALLENGE) or packet.authenticator
            return any([passwords.chap_verify(chap, challenge, text) for text in texts])
        if not attributes.get(USER_PASSWORD):  # some send it without a single octet
            return self.none
        plain_text = passwords.pap_decrypt(attributes[USER_PASSWORD], secret.prefix, packet.authenticator)
        hardware = mac_of(plain_text) if self.same else None
        another_notation = hardware is not None and hardware == mac_of(name.partition(b"@")[0])
        return any([compare_digest(plain_text, text) for text in texts]) or another_notation
