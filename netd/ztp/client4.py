"""Who a DHCPv4 client is, by what it and the relay before it say."""

import hashlib
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final, NamedTuple

import msgspec

from netd.errors import WireError
from netd.model.ztp import ClientIdentity
from netd.wire import dhcp
from netd.wire.dhcp import Message
from netd.ztp.subnets import Subnet, Subnets


class RelayInfo(NamedTuple):
    """Option 82, its members raw; addresses are 0 where it has none."""

    circuit_id: bytes = b""
    remote_id: bytes = b""
    subscriber_id: bytes = b""
    link: int = 0  # RFC 3527
    server: int = 0  # RFC 5107


NO_RELAY = RelayInfo()


def relay_info(message: Message) -> RelayInfo:
    """What the relay said. Raises WireError for one that is malformed: whose relay garbles it cannot be told apart from others."""
    raw = message.options.get(dhcp.RELAY_AGENT)
    if raw is None:
        return NO_RELAY
    members = dict(dhcp.suboptions(raw))
    link, server = members.get(dhcp.LINK_SELECTION, b""), members.get(dhcp.SERVER_ID_OVERRIDE, b"")
    if len(link) not in (0, 4) or len(server) not in (0, 4):
        raise WireError("bad_suboption", "an address that is none")
    return RelayInfo(
        members.get(dhcp.CIRCUIT_ID, b""), members.get(dhcp.REMOTE_ID, b""), members.get(dhcp.SUBSCRIBER_ID, b""),
        int.from_bytes(link, "big"), int.from_bytes(server, "big"),
    )  # fmt: skip


LONG_IDENTIFIER: Final = 128
"""Octets of a client identifier that are kept as they are; of a longer one the SHA-256 is."""


def key(message: Message) -> str:
    """What the client is told from others by (RFC 2131 4.2): its client identifier, else its hardware address; in hex. "" if it has neither."""
    identifier = message.options.get(dhcp.CLIENT_ID)
    if identifier and len(identifier) >= 2:
        return identifier_key(identifier)
    return f"{message.htype:02x}/{message.chaddr.hex()}" if message.chaddr else ""


def identifier_key(identifier: bytes) -> str:
    """A client identifier as it stands in the table."""
    return identifier.hex() if len(identifier) <= LONG_IDENTIFIER else f"sha256/{hashlib.sha256(identifier).hexdigest()}"


def line_of(*told: bytes) -> str:
    """A short name for the line of which relays told this (circuit and remote id); "" if they tell no lines apart. The remote id alone is a relay's."""
    if not told[0]:
        return ""
    return hashlib.sha256(b"".join(len(each).to_bytes(2, "big") + each for each in told)).hexdigest()[:16]


def on_line(client: str, line: str) -> str:
    """The name of a lease's holder in the table. The line is part of it: who says on another line that it is this client is another one, and neither
    takes, releases nor declines what that one has."""
    return f"{client}@{line}" if line else client


def off_line(holder: str) -> tuple[str, str]:
    """The other way: client and line."""
    client, _, line = holder.partition("@")
    return client, line


def mac(message: Message) -> str:
    """Its hardware address as text, "" if it is not an Ethernet's."""
    return message.chaddr.hex(":") if message.htype == 1 and len(message.chaddr) == 6 else ""


@lru_cache(maxsize=4096)
def _address(number: int) -> IPv4Address:
    return IPv4Address(number)  # of relays, of which there are few


def identify(message: Message, relay: RelayInfo, subnet: Subnet) -> ClientIdentity:
    """All that it said. Raises WireError for a malformed vendor option."""
    options = message.options
    row = subnet.row
    link = relay.link or message.giaddr
    return ClientIdentity(
        family=4, tenant_id=row.tenant_id, subnet_id=row.id, site_id=row.site_id, mac=mac(message), client_id=options.get(dhcp.CLIENT_ID, b""),
        relay=_address(link) if link else None, circuit_id=relay.circuit_id, remote_id=relay.remote_id, relay_subscriber_id=relay.subscriber_id,
        vendor_class=options.get(dhcp.VENDOR_CLASS, b""), user_classes=tuple(dhcp.user_classes(options.get(dhcp.USER_CLASS, b""))),
        vendor_classes=tuple(dhcp.vendor_classes(options.get(dhcp.VENDOR_CLASSES, b""))),
        vendor_options=tuple(dhcp.vendor_options(options.get(dhcp.VENDOR_OPTIONS, b""))),
        hostname=options.get(dhcp.HOST_NAME, b""), requested=tuple(options.get(dhcp.PARAMETER_LIST, b"")),
    )  # fmt: skip


def recognised(subnets: Subnets, subnet: Subnet, seen: ClientIdentity) -> ClientIdentity:
    """The same with its profile, serial number and model, as far as a profile of the subnet fits it."""
    found = subnets.recognise(subnet, seen)
    if found is None:
        return seen
    profile, serial, model = found
    return msgspec.structs.replace(seen, profile=profile.name, serial=serial, model=model)
