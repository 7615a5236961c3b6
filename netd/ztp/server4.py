"""DHCPv4: which packets are answered, with what, and to whom. Sockets stand below (``netd.ztp.sockets``), leases beside (``netd.ztp.leasing``).

A packet is dropped, and counted by reason, unless it is of a subnet that is served and of a client that a profile fits; a subnet for expected devices
answers those only.
"""

import logging
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final, NamedTuple, Protocol

from netd.config import DhcpConfig
from netd.errors import WireError
from netd.metrics import Counts
from netd.model.ztp import BootAnswer, ClientIdentity, Granted
from netd.sdk.bootstrap import Profile
from netd.wire import dhcp
from netd.wire.dhcp import Message
from netd.ztp import answers4
from netd.ztp.binding import Binding
from netd.ztp.client4 import NO_RELAY, RelayInfo, identify, key, mac, recognised, relay_info
from netd.ztp.leasing import Ask, Kind, Leasing
from netd.ztp.limits import Limits, Relays
from netd.ztp.subnets import Subnet, Subnets, readable

log = logging.getLogger(__name__)

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
RELAYED: Final = 500_000
"""Clients whose relay's information is remembered; one beyond goes through its relay again when it must (REBINDING)."""

EVERYBODY: Final = 0xFFFFFFFF


class Arrival(NamedTuple):
    """How a packet came: from where, to which of this host's addresses (numbers), and on which interface, "" where its clients are not attached directly."""

    source: int
    port: int
    local: int
    interface: str


class Out(Protocol):
    """Sends."""

    def relay(self, data: bytes, address: int, local: int) -> None:
        """To a relay."""
        ...

    def client(self, data: bytes, address: int, local: int) -> None:
        """To a client that has its address, by routing."""
        ...

    def link(self, data: bytes, interface: str, hardware: bytes | None, address: int, local: int) -> None:
        """To a client on a link, which may not have the address yet; ``hardware`` None: to everybody."""
        ...


class Call(NamedTuple):
    """A packet that is looked into."""

    message: Message
    arrival: Arrival
    relay: RelayInfo
    subnet: Subnet
    server: int  # what this server is called in the answer
    seen: ClientIdentity
    profile: Profile
    answer: BootAnswer | None  # of an expected device

    def came_from(self) -> int:
        """What packets are limited by: the relay, else minus the subnet."""
        return self.message.giaddr or -self.subnet.row.id


class Server4:
    """Takes packets, and answers through ``out``."""

    def __init__(
        self, subnets: Subnets, leasing: Leasing, binding: Binding, limits: Limits, config: DhcpConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.subnets = subnets
        self.leasing = leasing
        self.binding = binding
        self.limits = limits
        self.out: Out | None = None
        self.query: Callable[[Message, Arrival, list[int], int], None] | None = None  # who answers lease queries
        self.received: Counts = Counts()
        self.sent: Counts = Counts()
        self.drops: Counts = Counts()
        self._config = config
        self._clock = clock
        self._relayed: dict[tuple[int, str], bytes] = {}  # for renewals by unicast, which have no option 82
        self._relays = Relays(config.relays)
        self._askers = [ip_network(each) for each in config.lease_query_from]

    def remember(self, relayed: Iterable[tuple[int, str, bytes]]) -> None:
        """Take in what relays said of clients whose leases are in force: (subnet id, client, option 82)."""
        for subnet_id, client, raw in relayed:
            self._relayed[subnet_id, client] = raw

    def packet(self, data: bytes, arrival: Arrival) -> None:
        """Answer it, now or once its lease is committed; or drop and count it."""
        try:
            message = dhcp.parse(data)
            reason = self._take(message, arrival)
        except WireError as error:
            reason = error.reason
        if reason:
            self.drops[reason] += 1

    def _take(self, message: Message, arrival: Arrival) -> str:
        """Look into it; why it is dropped, "" if it is not (yet)."""
        if message.op != dhcp.BOOTREQUEST:
            return "not_a_request"
        kind = message.type
        name = dhcp.TYPES.get(kind)
        if name is None:
            return "unknown_type"
        self.received[name] += 1
        if message.giaddr and not self._relays.may(arrival.source):
            return "strange_relay"
        relay = relay_info(message) if dhcp.RELAY_AGENT in message.options else NO_RELAY
        if kind == dhcp.LEASEQUERY:
            return self._lease_query(message, arrival)
        handler = {dhcp.DISCOVER: self._discover, dhcp.REQUEST: self._request, dhcp.RELEASE: self._give_up, dhcp.DECLINE: self._give_up,
                   dhcp.INFORM: self._inform}.get(kind)  # fmt: skip
        if handler is None:
            return "unknown_type"
        subnet = self._subnet(message, arrival, relay)
        if subnet is None:
            return "not_relayed" if not message.giaddr and not arrival.interface else "no_subnet"
        if not self.limits.packet(message.giaddr or -subnet.row.id, self._clock()):
            return "relay_too_fast"
        call = self._call(message, arrival, relay, subnet)
        return handler(call) if isinstance(call, Call) else call

    def _subnet(self, message: Message, arrival: Arrival, relay: RelayInfo) -> Subnet | None:
        """Where the client is: what the relay says (RFC 3527, giaddr); its own address, if it speaks from there; the interface it is attached to."""
        if message.giaddr:
            return self.subnets.find(relay.link or message.giaddr)
        if message.ciaddr and arrival.source == message.ciaddr:
            return self.subnets.find(message.ciaddr)
        return self.subnets.on_interface(arrival.interface) if arrival.interface else None

    def _call(self, message: Message, arrival: Arrival, relay: RelayInfo, subnet: Subnet) -> Call | str:
        """Who it is and whether it is answered at all."""
        if relay is NO_RELAY and not message.giaddr:
            relay = self._remembered(subnet, message)
        seen = recognised(self.subnets, subnet, identify(message, relay, subnet))
        answer = self.binding.resolve(seen)
        profile = self.subnets.profiles.get(answer.profile if answer else seen.profile)
        if answer is None and subnet.row.serves == "expected":
            self.binding.unexpected(seen)
            return "unexpected"
        if profile is None or not subnet.answers(profile, bound=answer is not None):
            return "no_profile"
        return Call(message, arrival, relay, subnet, relay.server or arrival.local, seen, profile, answer)

    def _remembered(self, subnet: Subnet, message: Message) -> RelayInfo:
        raw = self._relayed.get((subnet.row.id, key(message)))
        if raw is None:
            return NO_RELAY
        known = relay_info(Message(dhcp.BOOTREQUEST, 0, b"", {dhcp.RELAY_AGENT: raw}))
        return known._replace(server=0)  # the client speaks to this server, not to its relay

    # -- messages ----------------------------------------------------------------------------------------------------

    def _discover(self, call: Call) -> str:
        client = key(call.message)
        if not self.limits.client(call.message.giaddr, call.relay.circuit_id, client, self._config.offer_seconds, self._clock()):
            return "line_full"
        self._ask("offer", call, client, call.message.address(dhcp.REQUESTED_ADDRESS))
        return ""

    def _request(self, call: Call) -> str:
        message = call.message
        chosen = message.options.get(dhcp.SERVER_ID)
        if chosen is not None and chosen != call.server.to_bytes(4, "big"):
            return "other_server"  # its lease, if it is of another node, stands in the table; an offer of this one ends by itself
        wanted = message.ciaddr or message.address(dhcp.REQUESTED_ADDRESS)
        if not wanted:
            return "no_address_asked"
        self._ask("bind", call, key(message), wanted)
        return ""

    def _give_up(self, call: Call) -> str:
        message = call.message
        chosen = message.options.get(dhcp.SERVER_ID)
        if chosen is not None and chosen != call.server.to_bytes(4, "big"):
            return "other_server"
        declined = message.type == dhcp.DECLINE
        address = message.address(dhcp.REQUESTED_ADDRESS) if declined else message.ciaddr
        if not address:
            return "no_address_asked"
        client = key(message)
        self.limits.gone(message.giaddr, call.relay.circuit_id, client)
        self.leasing.ask(Ask("decline" if declined else "release", call.subnet, client, address, self._counted))
        return ""

    def _counted(self, address: int, why: str) -> None:
        """A release or decline was written, or not."""
        if why:
            self.drops[why] += 1

    def _inform(self, call: Call) -> str:
        """Options for who has an address from elsewhere; nothing is leased (RFC 2131 4.3.5)."""
        if not call.message.ciaddr:
            return "no_address_asked"
        return self._send(call, dhcp.ACK, 0, 0, "")

    # -- leases ------------------------------------------------------------------------------------------------------

    def _ask(self, kind: Kind, call: Call, client: str, address: int) -> None:
        message, subnet, seen, answer = call.message, call.subnet, call.seen, call.answer
        url: dict[int, str] = {}  # what was recorded is what is sent

        def settled(got: int, why: str) -> None:
            reason = self._settled(kind, call, client, got, why, url.get(got, ""))
            if reason:
                self.drops[reason] += 1

        ask = Ask(kind, subnet, client, address, settled)
        ask.reserved = subnet.reservation(seen)
        ask.mac, ask.profile, ask.hostname = mac(message), call.profile.name, readable(seen.hostname)[:255]
        ask.relay, ask.circuit, ask.relay_info = call.came_from(), call.relay.circuit_id, message.options.get(dhcp.RELAY_AGENT, b"")
        ask.seconds = max(subnet.row.lease_seconds, call.profile.data.least_lease_seconds)
        if answer is not None:
            ask.device_id = answer.device_id
            if answer.lease_seconds:
                ask.seconds = answer.lease_seconds
            if answer.address is not None and answer.address.version == 4:
                ask.reserved = int(answer.address)

            def granted(got: int) -> Granted:
                there = IPv4Address(got)
                url[got] = self.binding.boot_url(seen, answer, there)
                return Granted(step="offered" if kind == "offer" else "leased", seen=seen, answer=answer, address=there, boot_url=url[got])

            ask.granted = granted
        self.leasing.ask(ask)

    def _settled(self, kind: Kind, call: Call, client: str, got: int, why: str, url: str) -> str:
        """The lease is committed, or there is none: answer. Why nothing is sent, "" if something is."""
        message = call.message
        seconds = max(call.subnet.row.lease_seconds, call.profile.data.least_lease_seconds)
        if call.answer is not None and call.answer.lease_seconds:
            seconds = call.answer.lease_seconds
        if kind == "offer":
            return self._send(call, dhcp.OFFER, got, seconds, url) if got else why
        if got:
            now = self._clock()
            self.limits.client(message.giaddr, call.relay.circuit_id, client, seconds, now)
            self.limits.taken(call.subnet.row.id, client)
            if call.relay.circuit_id and dhcp.RELAY_AGENT in message.options and len(self._relayed) < RELAYED:
                self._relayed[call.subnet.row.id, client] = message.options[dhcp.RELAY_AGENT]
            return self._send(call, dhcp.ACK, got, seconds, url)
        if why == "not_its_address" and (dhcp.SERVER_ID in message.options or self._config.authoritative):
            return self._refuse(call)
        return why

    def _send(self, call: Call, kind: int, address: int, seconds: int, url: str) -> str:
        message, subnet = call.message, call.subnet
        wanted = message.options.get(dhcp.PARAMETER_LIST, b"")
        try:
            boot, file, next_server = answers4.boot_options(
                subnet, call.profile, message, call.seen, call.answer, address or message.ciaddr, call.server, url
            )  # fmt: skip
            options = answers4.network_options(subnet, wanted) | (answers4.lease_options(seconds) if seconds else {}) | dict(boot)
            made = answers4.reply(message, kind, call.server, options, address=address, file=file, next_server=next_server)
            data = dhcp.encode(made, answers4.limit(message))
        except ValueError as error:
            log.warning("a DHCP client cannot be told what it needs", extra={"mac": call.seen.mac, "profile": call.profile.name, "error": str(error)})
            return "incomplete"
        self._transmit(call, kind, data, address or message.ciaddr)
        return ""

    def _refuse(self, call: Call) -> str:
        message = call.message
        made = answers4.reply(message, dhcp.NAK, call.server, {dhcp.MESSAGE_TEXT: b"this address is not yours here"})
        if message.giaddr:
            made.flags |= dhcp.BROADCAST  # the client may not have the address it is told of (RFC 2131 4.3.2)
        self._transmit(call, dhcp.NAK, dhcp.encode(made), 0)
        return ""

    def _transmit(self, call: Call, kind: int, data: bytes, address: int) -> None:
        message, arrival, out = call.message, call.arrival, self.out
        if out is None:
            return
        self.sent[dhcp.TYPES[kind]] += 1
        if message.giaddr:
            out.relay(data, message.giaddr, arrival.local)
        elif message.ciaddr and kind != dhcp.NAK:
            out.client(data, message.ciaddr, arrival.local)
        elif arrival.interface:
            alone = kind != dhcp.NAK and not message.flags & dhcp.BROADCAST and len(message.chaddr) == 6
            out.link(data, arrival.interface, message.chaddr if alone else None, address if alone else EVERYBODY, arrival.local)
        else:
            out.client(data, message.ciaddr, arrival.local)

    # -- lease query -------------------------------------------------------------------------------------------------

    def _lease_query(self, message: Message, arrival: Arrival) -> str:
        """RFC 4388: for relays that were told to be trusted with it, about the subnets of the tenant that the relay stands in."""
        source, asker = ip_address(arrival.source), ip_address(message.giaddr)
        if not message.giaddr or not any(source in network and asker in network for network in self._askers if network.version == 4):
            return "query_refused"
        home = self.subnets.find(message.giaddr)
        if home is None:
            return "no_subnet"
        mine = [subnet.row.id for subnet in self.subnets.by_id.values() if subnet.row.tenant_id == home.row.tenant_id and subnet.row.version == 4]
        if self.query is None:
            return "query_refused"
        self.query(message, arrival, mine, home.row.tenant_id)
        return ""
