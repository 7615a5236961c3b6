"""Which addresses a request may go to whose URL somebody else chose (server-side request forgery): public ones, and what the operator allows."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

LOOPBACK: Final = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits, which a gateway goes on to
_COMPATIBLE: Final = IPv6Network("::/96")  # RFC 4291 2.5.5.1
_NEVER: Final[Networks] = (
    IPv6Network("64:ff9b:1::/48"),  # local NAT64 (RFC 8215)
    IPv6Network("fec0::/10"),  # site-local, given up
    IPv6Network("2001::/32"),  # Teredo
    IPv4Network("192.0.0.0/24"),  # protocol assignments, which not every Python takes to be private
)


def reached(address: Address) -> Address:
    """The address that is reached in the end: of IPv6 forms that carry an IPv4 address, that."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def within(text: str, networks: Networks) -> bool:
    """Whether an address, or the one that it carries, is in one of these networks."""
    address = ip_address(text.partition("%")[0])
    return any(each in network for network in networks for each in (address, reached(address)))


def refusal(text: str, allowed: Networks = ()) -> str:
    """Why a connection to this address is not made; empty if it may be. ``text`` as in a socket's address, with or without an interface."""
    if within(text, allowed):
        return ""
    address = ip_address(text.partition("%")[0])
    end = reached(address)
    for word, so in (
        ("unspecified", end.is_unspecified), ("a loopback address", end.is_loopback), ("link-local", end.is_link_local), ("multicast", end.is_multicast),
    ):  # fmt: skip
        if so:
            return f"{address} is {word}"
    if not end.is_global or end.is_reserved or any(end in network for network in _NEVER):
        return f"{address} is not a public address"
    return ""
