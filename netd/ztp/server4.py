"""DHCPv4: which packets are answered, with what, and to whom. Sockets stand below (``netd.ztp.sockets``), leases beside (``netd.ztp.leasing``).

A packet is dropped, and counted by reason, unless it is of a subnet that is served and of a client that a profile fits; a subnet for expected devices
answers those only.

What is said of a client's line is believed of relays, and of switches on interfaces that are named for it. Anybody may send a packet of a client from
afar: of those only such are taken as a client with an address sends (RENEWING, RELEASE, INFORM), its line is what its lease says.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final, NamedTuple, Protocol

from netd.config import DhcpConfig
from netd.errors import WireError
from netd.metrics import Counts
from netd.model.ztp import BootAnswer, ClientIdentity, Granted
from netd.sdk.bootstrap import Profile
from netd.store.dhcp import Relayed
from netd.wire import dhcp
from netd.wire.dhcp import Message
from netd.ztp import answers4
from netd.ztp.asks import Ask, Done, Kind
from netd.ztp.binding import Binding
from netd.ztp.client4 import NO_RELAY, RelayInfo, identify, key, line_of, mac, off_line, on_line, recognised, relay_info
from netd.ztp.leasing import Leasing
from netd.ztp.limits import Limits, Relays, Source
from netd.ztp.subnets import Subnet, Subnets, readable

log = logging.getLogger(__name__)

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
RELAYED: Final = 500_000
"""Addresses whose clients' relay information is remembered; who is forgotten goes through its relay again when it must (REBINDING)."""

TELL_SECONDS: Final = 60.0
"""How often the log says that a class of devices in a subnet cannot be told what it needs."""

BY_UNICAST: Final = frozenset((dhcp.REQUEST, dhcp.RELEASE, dhcp.INFORM))

EVERYBODY: Final = 0xFFFFFFFF


class Arrival(NamedTuple):
    """How a packet came: from where, to which of this host's addresses (numbers), and on which interface, "" where its clients are not attached directly;
    and how many seconds it ``waited`` to be read."""

    source: int
    port: int
    local: int
    interface: str
    waited: float = 0.0


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
    believed: bool  # the relay's information came with this packet
    unicast: bool  # without a relay, and from the address that the client has
    subnet: Subnet
    server: int  # what this server is called in the answer
    client: str
    line: str
    seen: ClientIdentity
    profile: Profile
    answer: BootAnswer | None  # of an expected device

    def came_from(self) -> Source:
        """What packets are limited by: the relay, else minus the subnet."""
        return self.message.giaddr or -self.subnet.row.id

    def holder(self) -> str:
        """Its name in the table."""
        return on_line(self.client, self.line)

    def seconds(self) -> int:
        """How long it gets its address for."""
        own = self.answer.lease_seconds if self.answer is not None else None
        return own or max(self.subnet.row.lease_seconds, self.profile.data.least_lease_seconds)


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
        self._relayed: OrderedDict[int, tuple[str, bytes]] = OrderedDict()  # address -> whose, option 82: for renewals by unicast, which have none
        self._told: dict[tuple[int, str], float] = {}  # (subnet, profile) that lacks something -> when the log said so
        self._relays = Relays(config.relays)
        self._askers = [ip_network(each) for each in config.lease_query_from]

    def remember(self, relayed: Iterable[Relayed]) -> None:
        """Take in what relays said of clients whose leases are in force."""
        now = self._clock()
        for each in relayed:
            client, line = off_line(each.client_id)
            if line:
                self._relayed[each.address] = each.client_id, each.relay_info
                self.limits.client(each.subnet_id, line, client, each.left, now)

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
        if kind == dhcp.LEASEQUERY:
            return self._lease_query(message, arrival)
        handler = {dhcp.DISCOVER: self._discover, dhcp.REQUEST: self._request, dhcp.RELEASE: self._give_up, dhcp.DECLINE: self._give_up,
                   dhcp.INFORM: self._inform}.get(kind)  # fmt: skip
        if handler is None:
            return "unknown_type"
        attached = self._attached(message, arrival)
        unicast = not message.giaddr and message.ciaddr != 0 and message.ciaddr == arrival.source
        if not message.giaddr and attached is None and not (unicast and kind in BY_UNICAST):
            return "not_relayed"
        trusted = message.giaddr != 0 or (attached is not None and arrival.interface in self._config.option82_interfaces)
        relay = relay_info(message) if trusted and dhcp.RELAY_AGENT in message.options else NO_RELAY
        if not message.giaddr:
            relay = relay._replace(link=0, server=0)
        subnet = self.subnets.find(relay.link or message.giaddr) if message.giaddr else attached or self.subnets.find(message.ciaddr)
        if subnet is None:
            return "no_subnet"
        if not self.limits.packet(message.giaddr or -subnet.row.id, self._clock()):
            return "relay_too_fast"
        call = self._call(message, arrival, relay, subnet, unicast=unicast)
        return handler(call) if isinstance(call, Call) else call

    def _attached(self, message: Message, arrival: Arrival) -> Subnet | None:
        """The subnet of a client that is attached to an interface of this host, and not somewhere beyond a router there."""
        if message.giaddr or not arrival.interface:
            return None
        subnet = self.subnets.on_interface(arrival.interface)
        return subnet if subnet is not None and (not arrival.source or subnet.holds(arrival.source)) else None

    def _call(self, message: Message, arrival: Arrival, relay: RelayInfo, subnet: Subnet, *, unicast: bool) -> Call | str:
        """Who it is and whether it is answered at all."""
        client = key(message)
        if not client:
            return "no_client"
        believed = bool(relay.circuit_id or relay.remote_id or relay.subscriber_id)
        if not believed and not message.giaddr:
            relay = self._remembered(message, client) if unicast else NO_RELAY
        seen = recognised(self.subnets, subnet, identify(message, relay, subnet))
        answer = self.binding.resolve(seen)
        profile = self.subnets.profiles.get(answer.profile if answer else seen.profile)
        if answer is None and subnet.row.serves == "expected":
            if not unicast:  # who has no address yet is a newcomer
                self.binding.unexpected(seen)
            return "unexpected"
        if profile is None or not subnet.answers(profile, bound=answer is not None):
            return "no_profile"
        line = line_of(relay.circuit_id, relay.remote_id)
        return Call(message, arrival, relay, believed, unicast, subnet, relay.server or arrival.local, client, line, seen, profile, answer)

    def _remembered(self, message: Message, client: str) -> RelayInfo:
        """What the relay said when the client that speaks from this address was given it."""
        holder, raw = self._relayed.get(message.ciaddr, ("", b""))
        if off_line(holder)[0] != client:
            return NO_RELAY
        known = relay_info(Message(dhcp.BOOTREQUEST, 0, b"", {dhcp.RELAY_AGENT: raw}))
        return known._replace(server=0)  # the client speaks to this server, not to its relay

    # -- messages ----------------------------------------------------------------------------------------------------

    def _discover(self, call: Call) -> str:
        if self._lacks(call):
            return "incomplete"
        if not self.limits.client(call.subnet.row.id, call.line, call.client, self._config.offer_seconds, self._clock()):
            return "line_full"
        self._ask("offer", call, call.message.address(dhcp.REQUESTED_ADDRESS))
        return ""

    def _request(self, call: Call) -> str:
        message = call.message
        chosen = message.options.get(dhcp.SERVER_ID)
        if chosen is not None and chosen != call.server.to_bytes(4, "big"):
            return "other_server"  # its lease, if it is of another node, stands in the table; an offer of this one ends by itself
        wanted = message.ciaddr or message.address(dhcp.REQUESTED_ADDRESS)
        if not wanted:
            return "no_address_asked"
        if not call.subnet.holds(wanted) and (self._config.authoritative or self.subnets.find(wanted) is not None):
            return self._refuse(call)  # it is of another link, whoever served it there (RFC 2131 4.3.2)
        if self._lacks(call):
            return "incomplete"
        self._ask("bind", call, wanted)
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

        def settled(ask: Ask, got: int, why: str) -> None:
            if why:
                self.drops[why] += 1
                return
            self._relayed.pop(address, None)
            if not declined:
                self.limits.gone(call.subnet.row.id, ask.line, call.client)

        self.leasing.ask(self._asked("decline" if declined else "release", call, address, settled))
        return ""

    def _inform(self, call: Call) -> str:
        """Options for who has an address from elsewhere; nothing is leased (RFC 2131 4.3.5)."""
        if not call.message.ciaddr:
            return "no_address_asked"
        return self._send(call, dhcp.ACK, 0, 0, "")

    # -- leases ------------------------------------------------------------------------------------------------------

    def _asked(self, kind: Kind, call: Call, address: int, done: Done) -> Ask:
        ask = Ask(kind, call.subnet, call.holder(), address, done)
        ask.base, ask.line, ask.unicast = call.client, call.line, call.unicast and not call.believed
        ask.seconds, ask.waited = call.seconds(), call.arrival.waited
        return ask

    def _ask(self, kind: Kind, call: Call, address: int) -> None:
        message, subnet, seen, answer = call.message, call.subnet, call.seen, call.answer
        url: dict[int, str] = {}  # what was recorded is what is sent

        def settled(ask: Ask, got: int, why: str) -> None:
            reason = self._settled(kind, call, ask, got, why, url.get(got, ""))
            if reason:
                self.drops[reason] += 1

        ask = self._asked(kind, call, address, settled)
        ask.reserved = subnet.reservation(seen)
        ask.mac, ask.profile, ask.hostname = mac(message), call.profile.name, readable(seen.hostname)[:255]
        ask.relay = call.came_from()
        ask.relay_info = message.options.get(dhcp.RELAY_AGENT, b"") if call.believed else b""
        if answer is not None:
            ask.device_id = answer.device_id
            if answer.address is not None and answer.address.version == 4 and subnet.fixed(seen, int(answer.address)):
                ask.reserved, ask.fixed = int(answer.address), True

            def granted(got: int) -> Granted:
                there = IPv4Address(got)
                url[got] = self.binding.boot_url(seen, answer, there)
                return Granted(step="offered" if kind == "offer" else "leased", seen=seen, answer=answer, address=there, boot_url=url[got])

            ask.granted = granted
        self.leasing.ask(ask)

    def _settled(self, kind: Kind, call: Call, ask: Ask, got: int, why: str, url: str) -> str:
        """The lease is committed, or there is none: answer. Why nothing is sent, "" if something is."""
        message, subnet_id = call.message, call.subnet.row.id
        if kind == "offer":
            return self._send(call, dhcp.OFFER, got, ask.seconds, url) if got else why
        if got:
            self.limits.client(subnet_id, ask.line, call.client, ask.seconds, self._clock())
            self.limits.taken(subnet_id, ask.client)
            if call.believed and call.line:
                self._relayed[got] = ask.client, message.options[dhcp.RELAY_AGENT]
                self._relayed.move_to_end(got)
                if len(self._relayed) > RELAYED:
                    self._relayed.popitem(last=False)
            return self._send(call, dhcp.ACK, got, ask.seconds, url)
        if why == "not_its_address" and (dhcp.SERVER_ID in message.options or self._config.authoritative):
            return self._refuse(call)
        return why

    def _lacks(self, call: Call) -> bool:
        """Whether the client cannot be told what it needs, whatever its address: then it gets none."""
        url = "" if call.answer is None else self.binding.boot_url(call.seen, call.answer, IPv4Address(call.subnet.row.first))
        try:
            answers4.boot_options(call.subnet, call.profile, call.message, call.seen, call.answer, call.subnet.row.first, call.server, url)
        except ValueError as error:
            self._tell(call, error)
            return True
        return False

    def _tell(self, call: Call, error: ValueError) -> None:
        now, which = self._clock(), (call.subnet.row.id, call.profile.name)
        if self._told.get(which, -TELL_SECONDS) + TELL_SECONDS <= now:
            self._told[which] = now
            told = {"subnet": call.subnet.row.name, "mac": call.seen.mac, "profile": call.profile.name, "error": str(error)}
            log.warning("DHCP clients cannot be told what they need", extra=told)

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
            self._tell(call, error)
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
