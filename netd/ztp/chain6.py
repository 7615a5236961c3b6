"""Which of the relays that a DHCPv6 message came through are believed, and of what.

A relay wraps what it was sent in a message of its own, so all within was written by somebody else: another relay, or a client that plays one. The
outermost is who sent the packet. It tells who sent it what it wraps (its peer-address), and so on inwards.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

from netd.wire.dhcpv6 import Relay
from netd.ztp.limits import Relays


class Believed(NamedTuple):
    """The relay that stands on the client's link, and the lightweight one before it (RFC 6221), if that is believed, too."""

    near: Relay
    light: Relay | None


class Chain:
    """Judges relays by what the configuration says of them."""

    def __init__(self, relays: Relays, lightweight: Sequence[str]) -> None:
        self._relays = relays
        self._light = [network for each in lightweight if isinstance(network := ip_network(each), IPv6Network)]

    def judge(self, relays: Sequence[Relay]) -> Believed | str:
        """Of the relays of a message whose sender may relay, the outermost first, the one that says the client's link; why there is none.

        That is the outermost which names a link, unless who sent it that message is named as a relay, too, and is nearer to the client. A relay that
        names no link passes on what another relay sent it (RFC 8415 19.1.2).
        """
        near, place = None, -1
        for at, relay in enumerate(relays):
            if at and not (self._relays.may(str(IPv6Address(relays[at - 1].peer))) if self._relays else near is None):
                break
            if relay.link:
                near, place = relay, at
        if near is None:
            return "no_subnet"
        inner = relays[place + 1 :]
        light = inner[0] if inner and self.lightweight(near.link) else None
        return Believed(near, light)

    def lightweight(self, link: int) -> bool:
        """Whether lightweight relay agents stand on the link of this address."""
        return any(IPv6Address(link) in network for network in self._light)
