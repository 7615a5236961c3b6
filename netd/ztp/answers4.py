"""What a DHCPv4 client is told: pure. Which options stand in an answer, in which order, and where it is sent."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Final

from netd.model.ztp import BootAnswer, ClientIdentity
from netd.sdk.bootstrap import Profile, url_variables
from netd.wire import dhcp
from netd.wire.dhcp import Message
from netd.ztp.subnets import Subnet, readable

OWN_VARIABLES: Final = frozenset((
    "serial", "model", "mac", "mac_plain", "circuit_id", "remote_id", "relay_subscriber_id", "hostname", "address", "router", "server", "domain",
    "url", "url_scheme", "url_host", "url_server", "url_port", "url_path",
    "url_dir", "url_or_path", "image", "target_version",
))  # fmt: skip
"""What templates may name besides the variables of the subnet and the device."""

CACHED: Final = 256
HEADERS: Final = 28
"""Octets of IPv4's and UDP's."""


def variables(subnet: Subnet, seen: ClientIdentity, answer: BootAnswer | None, address: int, server: int, url: str) -> dict[str, str]:
    """What templates may name; the device's own go before the subnet's."""
    row = subnet.row
    own = {
        "serial": seen.serial, "model": seen.model, "mac": seen.mac, "mac_plain": seen.mac.replace(":", ""), "circuit_id": readable(seen.circuit_id),
        "remote_id": readable(seen.remote_id), "relay_subscriber_id": readable(seen.relay_subscriber_id), "hostname": readable(seen.hostname),
        "address": str(IPv4Address(address)), "router": str(IPv4Address(row.router)) if row.router else "", "server": str(IPv4Address(server)),
        "domain": row.domain,
    }  # fmt: skip
    return {**row.variables, **own, **(answer.variables if answer else {}), **url_variables(url)}


def boot_options(
    subnet: Subnet, profile: Profile, message: Message, seen: ClientIdentity, answer: BootAnswer | None, address: int, server: int, url: str
) -> tuple[list[tuple[int, bytes]], bytes, int]:
    """The profile's options, and BOOTP's file and next server. Raises ValueError if something that the device must have is missing."""
    wanted = message.options.get(dhcp.PARAMETER_LIST, b"")
    same = answer is None and not url
    if same and (found := subnet.cache.get((profile.name, wanted))) is not None:
        return found
    values = variables(subnet, seen, answer, address, server, url)
    made = (profile.options(values, wanted), *profile.fields(values))
    if same and len(subnet.cache) < CACHED and not profile.variables() & OWN_VARIABLES:
        subnet.cache[profile.name, wanted] = made
    return made


def reply(request: Message, kind: int, server: int, options: Mapping[int, bytes], *, address: int = 0, file: bytes = b"", next_server: int = 0) -> Message:
    """An answer: the client's identifier comes back (RFC 6842), and what the relay put in, last and unchanged (RFC 3046)."""
    made = {dhcp.MESSAGE_TYPE: bytes((kind,)), dhcp.SERVER_ID: server.to_bytes(4, "big"), **options}
    for code in (dhcp.CLIENT_ID, dhcp.RELAY_AGENT):
        if code in request.options:
            made[code] = request.options[code]
    return Message(
        dhcp.BOOTREPLY, request.xid, request.chaddr, made, htype=request.htype, flags=request.flags, yiaddr=address, siaddr=next_server,
        giaddr=request.giaddr, ciaddr=request.ciaddr if kind == dhcp.ACK else 0, file=file,
    )  # fmt: skip


def network_options(subnet: Subnet, wanted: bytes) -> dict[int, bytes]:
    """What a host needs of its network. Mask, routers and resolvers go to everybody, the rest to who asks."""
    row = subnet.row
    made = {dhcp.SUBNET_MASK: ((0xFFFFFFFF << (32 - row.prefix_length)) & 0xFFFFFFFF).to_bytes(4, "big")}
    if row.router:
        made[dhcp.ROUTER] = row.router.to_bytes(4, "big")
    if row.dns_servers:
        made[dhcp.DNS_SERVERS] = dhcp.address_octets(row.dns_servers)
    if row.domain and dhcp.DOMAIN_NAME in wanted:
        made[dhcp.DOMAIN_NAME] = row.domain.encode()
    if row.ntp_servers and dhcp.NTP_SERVERS in wanted:
        made[dhcp.NTP_SERVERS] = dhcp.address_octets(row.ntp_servers)
    return made


def lease_options(seconds: int) -> dict[int, bytes]:
    """How long the lease lasts, when to renew and to rebind (RFC 2131 4.4.5)."""
    times = (dhcp.LEASE_SECONDS, seconds), (dhcp.RENEWAL_SECONDS, seconds // 2), (dhcp.REBINDING_SECONDS, seconds * 7 // 8)
    return {code: number.to_bytes(4, "big") for code, number in times}


def limit(request: Message) -> int:
    """Octets that the answer may have (option 57), headers aside."""
    told = request.options.get(dhcp.MAXIMUM_SIZE, b"")
    asked = int.from_bytes(told, "big") if len(told) == 2 else 0
    return max(dhcp.LONGEST_WITHOUT_ASKING, min(asked, 1500) - HEADERS)
