"""DHCPv6 (RFC 8415): which messages are answered, with what, and to whom. As ``server4``: a served subnet, and a client that a profile fits. What relays say
is believed as ``chain6`` judges."""

import logging
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from typing import Final, NamedTuple, Protocol

import msgspec

from netd.config import DhcpConfig
from netd.errors import WireError
from netd.metrics import Counts
from netd.model.ztp import BootAnswer, ClientIdentity, Granted
from netd.sdk.bootstrap import Profile, url_variables
from netd.wire import dhcpv6
from netd.wire.dhcpv6 import Association, Leased, Message, Option
from netd.ztp.binding import Binding
from netd.ztp.chain6 import Believed, Chain
from netd.ztp.client4 import line_of
from netd.ztp.leasing6 import Ask6, Got, Kind, Leasing6
from netd.ztp.limits import Limits, Relays, Source, network6
from netd.ztp.subnets import Subnet, Subnets, readable

log = logging.getLogger(__name__)

ASSOCIATIONS: Final = 8
"""Identity associations of one message that are looked at: who sends more gets no more."""

NAMED: Final = 8
"""Addresses that a client says to have in one association, likewise."""

TELL_SECONDS: Final = 60.0
"""How often the log says that a class of devices in a subnet cannot be told what it needs."""

WITH_SERVER: Final = frozenset((dhcpv6.REQUEST, dhcpv6.RENEW, dhcpv6.RELEASE, dhcpv6.DECLINE))
WITHOUT_SERVER: Final = frozenset((dhcpv6.SOLICIT, dhcpv6.CONFIRM, dhcpv6.REBIND))
KINDS: Final[dict[int, Kind]] = {
    dhcpv6.SOLICIT: "advertise", dhcpv6.REQUEST: "assign", dhcpv6.RENEW: "renew", dhcpv6.REBIND: "renew", dhcpv6.RELEASE: "release", dhcpv6.DECLINE: "decline",
}  # fmt: skip


class Peer6(NamedTuple):
    """Where a message came from, as the socket says it, and the interface, "" where its clients are not attached directly; and how many
    seconds it ``waited`` to be read."""

    address: str
    port: int
    scope: int
    interface: str
    waited: float = 0.0


class Call6(NamedTuple):
    """A message that is looked into."""

    message: Message
    peer: Peer6
    subnet: Subnet
    line: str
    seen: ClientIdentity
    profile: Profile
    answer: BootAnswer | None

    def source(self) -> Source:
        """What new clients are limited by: the relay's network, else minus the subnet."""
        return network6(self.peer.address) if self.message.relays else -self.subnet.row.id


class Send(Protocol):
    """Sends to where a message came from."""

    def __call__(self, data: bytes, peer: Peer6) -> None: ...


class Server6:
    """Takes messages, and answers through ``send``. ``duid`` is this server's."""

    def __init__(
        self, subnets: Subnets, leasing: Leasing6, binding: Binding, limits: Limits, config: DhcpConfig, duid: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.subnets = subnets
        self.leasing = leasing
        self.binding = binding
        self.limits = limits
        self.duid = duid
        self.send: Send | None = None
        self.received: Counts = Counts()
        self.sent: Counts = Counts()
        self.drops: Counts = Counts()
        self._config = config
        self._relays = Relays(config.relays)
        self._chain = Chain(self._relays, config.lightweight_relays)
        self._told: dict[tuple[int, str], float] = {}  # (subnet, profile) that lacks something -> when the log said so
        self._clock = clock

    def packet(self, data: bytes, peer: Peer6) -> None:
        """Answer it, now or once its lease is committed; or drop and count it."""
        try:
            reason = self._take(dhcpv6.parse(data), peer)
        except WireError as error:
            reason = error.reason
        if reason:
            self.drops[reason] += 1

    def _take(self, message: Message, peer: Peer6) -> str:
        kind = message.type
        self.received[dhcpv6.TYPES[kind]] += 1
        if message.relays and not self._relays.may(peer.address):
            return "strange_relay"
        if kind not in KINDS and kind not in (dhcpv6.CONFIRM, dhcpv6.INFORMATION_REQUEST):
            return "not_a_request"
        chosen, client = message.get(dhcpv6.SERVER_ID), message.get(dhcpv6.CLIENT_ID)
        if (kind in WITH_SERVER and chosen is None) or (kind in WITHOUT_SERVER and chosen is not None):
            return "bad_ids"  # RFC 8415 16
        if client is None and kind != dhcpv6.INFORMATION_REQUEST:
            return "bad_ids"
        if client is not None and not 3 <= len(client) <= 130:
            return "bad_ids"
        if chosen is not None and chosen != self.duid:
            return "other_server"
        if not message.relays and not peer.interface:
            return self._to_multicast(message, peer)
        judged = self._chain.judge(message.relays) if message.relays else None
        if isinstance(judged, str):
            return judged
        subnet = self.subnets.find(judged.near.link, 6) if judged is not None else self.subnets.on_interface(peer.interface, 6)
        if subnet is None:
            return "no_subnet"
        if judged is not None and any(relay.link and not subnet.holds(relay.link) for relay in message.relays[message.relays.index(judged.near) :]):
            return "strange_link"
        if not self.limits.packet(network6(peer.address) if message.relays else -subnet.row.id, self._clock()):
            return "relay_too_fast"
        call = self._call(message, peer, subnet, judged)
        return self._answer(call) if isinstance(call, Call6) else call

    def _to_multicast(self, message: Message, peer: Peer6) -> str:
        """Who speaks to this server alone, and was not told to, is told not to (RFC 8415 18.4)."""
        if message.type not in WITH_SERVER or self.send is None:
            return "not_relayed"
        answer = ((dhcpv6.SERVER_ID, self.duid), (dhcpv6.CLIENT_ID, message.get(dhcpv6.CLIENT_ID) or b""), dhcpv6.status(dhcpv6.USE_MULTICAST))
        self.sent[dhcpv6.TYPES[dhcpv6.REPLY]] += 1
        self.send(dhcpv6.encode(Message(dhcpv6.REPLY, message.xid, answer)), peer)
        return ""

    def _call(self, message: Message, peer: Peer6, subnet: Subnet, judged: Believed | None) -> Call6 | str:
        seen = identify(message, subnet, judged)
        found = self.subnets.recognise(subnet, seen)
        if found is not None:
            seen = msgspec.structs.replace(seen, profile=found[0].name, serial=found[1], model=found[2])
        answer = self.binding.resolve(seen)
        profile = self.subnets.profiles.get(answer.profile if answer else seen.profile)
        if answer is None and subnet.row.serves == "expected":
            self.binding.unexpected(seen)
            return "unexpected"
        if profile is None or not subnet.answers(profile, bound=answer is not None):
            return "no_profile"
        if judged is not None and judged.light is not None:
            line = line_of(seen.circuit_id, seen.remote_id)
        else:
            line = line_of(seen.relay_subscriber_id or seen.remote_id)  # a relay's Interface-Id is mostly that of a whole link
        return Call6(message, peer, subnet, line, seen, profile, answer)

    def _answer(self, call: Call6) -> str:
        message = call.message
        if message.type == dhcpv6.INFORMATION_REQUEST:
            return self._send(call, dhcpv6.REPLY, [], "", 0)
        wanted = associations(message)
        if message.type == dhcpv6.CONFIRM:
            return self._confirm(call, wanted)
        return self._ask(call, KINDS[message.type], wanted)

    def _confirm(self, call: Call6, wanted: Sequence[tuple[int, Association]]) -> str:
        """Whether the client is still on the link that its addresses are of (RFC 8415 18.3.3)."""
        told = [dhcpv6.leased_address(value).address for _, ia in wanted for code, value in ia.options if code == dhcpv6.IA_ADDRESS]
        if not told:
            return "no_address_asked"
        right = all(call.subnet.holds(address) for address in told)
        return self._send(call, dhcpv6.REPLY, [dhcpv6.status(dhcpv6.SUCCESS if right else dhcpv6.NOT_ON_LINK)], "", 0)

    def _ask(self, call: Call6, kind: Kind, wanted: Sequence[tuple[int, Association]]) -> str:
        message, subnet, seen, answer = call.message, call.subnet, call.seen, call.answer
        client = seen.client_id.hex()
        if message.type == dhcpv6.SOLICIT and message.get(dhcpv6.RAPID_COMMIT) is not None:
            kind = "assign"
        names = {(kind_of(code), ia.iaid): [each.address for each in named(code, ia)] for code, ia in wanted}
        if message.type == dhcpv6.REQUEST:
            astray = {which for which, addresses in names.items() if which[0] == "na" and not all(subnet.holds(address) for address in addresses)}
        else:
            astray = set()
        asked = [(code, ia) for code, ia in wanted if (kind_of(code), ia.iaid) not in astray]
        if kind in ("advertise", "assign"):
            if self._lacks(call):
                return "incomplete"
            for _, ia in asked:
                if not self.limits.client(subnet.row.id, call.line, f"{client}/{ia.iaid}", self._config.offer_seconds, self._clock()):
                    return "line_full"
        urls: list[str] = []

        def settled(got: Got | None, why: str) -> None:
            reason = why if got is None else self._settled(call, kind, wanted, got, urls[-1] if urls else "", astray)
            if reason:
                self.drops[reason] += 1

        ask = Ask6(kind, subnet, client, settled)
        ask.addresses = [ia.iaid for code, ia in asked if code == dhcpv6.IA_NA]
        ask.prefixes = [ia.iaid for code, ia in asked if code == dhcpv6.IA_PD]
        ask.named = {} if kind == "advertise" else names
        ask.reserved = subnet.reservation(seen)
        ask.mac, ask.profile, ask.relay, ask.line = seen.mac, call.profile.name, call.source(), call.line
        ask.seconds, ask.waited = self._seconds(call), call.peer.waited
        if answer is not None:
            if answer.address is not None and answer.address.version == 6 and subnet.fixed(seen, int(answer.address)):
                ask.reserved, ask.fixed = int(answer.address), True

            def granted(got: int) -> Granted:
                there = IPv6Address(got)
                urls.append(self.binding.boot_url(seen, answer, there))
                return Granted(step="offered" if kind == "advertise" else "leased", seen=seen, answer=answer, address=there, boot_url=urls[-1])

            if kind not in ("release", "decline"):
                ask.granted = granted
        self.leasing.ask(ask)
        return ""

    def _seconds(self, call: Call6) -> int:
        asked = call.answer.lease_seconds if call.answer is not None else None
        return asked or max(call.subnet.row.lease_seconds, call.profile.data.least_lease_seconds)

    def _settled(self, call: Call6, kind: Kind, wanted: Sequence[tuple[int, Association]], got: Got, url: str, astray: set[tuple[str, int]]) -> str:
        seconds, now, client = self._seconds(call), self._clock(), call.seen.client_id.hex()
        if kind in ("release", "decline"):
            lost = []
            for code, ia in wanted:
                if not got.get((kind_of(code), ia.iaid)):  # RFC 8415 18.3.7
                    lost.append((code, dhcpv6.association_octets(Association(ia.iaid, 0, 0, (dhcpv6.status(dhcpv6.NO_BINDING, "not known here"),)))))
                elif kind == "release":
                    self.limits.gone(call.subnet.row.id, call.line, f"{client}/{ia.iaid}")
            return self._send(call, dhcpv6.REPLY, [dhcpv6.status(dhcpv6.SUCCESS), *lost], "", 0)
        if kind != "advertise":
            for which, address in got.items():
                if address:
                    self.limits.client(call.subnet.row.id, call.line, f"{client}/{which[1]}", seconds, now)
        made = [self._association(call, code, ia, got, kind, seconds, astray) for code, ia in wanted]
        first = next((address for address in got.values() if address), 0)
        rapid = call.message.type == dhcpv6.SOLICIT and kind == "assign"
        if rapid:
            made.append((dhcpv6.RAPID_COMMIT, b""))
        return self._send(call, dhcpv6.ADVERTISE if kind == "advertise" else dhcpv6.REPLY, made, url, first)

    def _association(
        self, call: Call6, code: int, ia: Association, got: Got, kind: Kind, seconds: int, astray: set[tuple[str, int]]
    ) -> Option:  # fmt: skip
        prefix = code == dhcpv6.IA_PD
        which = kind_of(code), ia.iaid
        address, preferred = got.get(which, 0), seconds * 5 // 8
        members: tuple[Option, ...] = ()
        if address:
            length = call.subnet.pool.layout.prefix_length if prefix and call.subnet.pool is not None else 128
            members = (dhcpv6.leased_option(Leased(address, length, preferred, seconds), prefix),)
        elif which in astray:
            members = (dhcpv6.status(dhcpv6.NOT_ON_LINK, "not of this link"),)
        elif kind == "renew":
            members = (dhcpv6.status(dhcpv6.NO_BINDING, "not known here"),)
        else:
            members = (dhcpv6.status(dhcpv6.NO_PREFIXES if prefix else dhcpv6.NO_ADDRESSES, "none is free"),)
        if kind == "renew" and address:  # what else it says to have ends now (RFC 8415 18.3.4)
            wrong = [Leased(other.address, other.length, 0, 0) for other in named(code, ia) if other.address != address]
            members += tuple(dhcpv6.leased_option(other, prefix) for other in wrong)
        return code, dhcpv6.association_octets(Association(ia.iaid, preferred // 2, preferred * 4 // 5, members))

    def _lacks(self, call: Call6) -> bool:
        """Whether the client cannot be told what it needs, whatever its address: then it gets none."""
        try:
            url = "" if call.answer is None else self.binding.boot_url(call.seen, call.answer, IPv6Address(call.subnet.row.first))
            call.profile.options(variables(call, url, call.subnet.row.first), dhcpv6.requested(call.message), 6)
        except ValueError as error:
            self._tell(call, error)
            return True
        return False

    def _tell(self, call: Call6, error: ValueError) -> None:
        now, which = self._clock(), (call.subnet.row.id, call.profile.name)
        if self._told.get(which, -TELL_SECONDS) + TELL_SECONDS <= now:
            self._told[which] = now
            told = {"subnet": call.subnet.row.name, "mac": call.seen.mac, "profile": call.profile.name, "error": str(error)}
            log.warning("DHCPv6 clients cannot be told what they need", extra=told)

    def _send(self, call: Call6, kind: int, made: Sequence[Option], url: str, address: int) -> str:
        message, row = call.message, call.subnet.row
        wanted = dhcpv6.requested(message)
        answer = [(dhcpv6.SERVER_ID, self.duid)]
        if (client := message.get(dhcpv6.CLIENT_ID)) is not None:
            answer.append((dhcpv6.CLIENT_ID, client))
        answer += made
        if row.dns_servers and dhcpv6.DNS_SERVERS in wanted:
            answer.append((dhcpv6.DNS_SERVERS, b"".join(server.to_bytes(16, "big") for server in row.dns_servers)))
        if row.domain and dhcpv6.DOMAIN_LIST in wanted:
            answer.append((dhcpv6.DOMAIN_LIST, domain(row.domain)))
        if address or message.type == dhcpv6.INFORMATION_REQUEST:  # who is given nothing is told nothing to boot from
            try:
                answer += call.profile.options(variables(call, url, address), wanted, 6)
            except ValueError as error:
                self._tell(call, error)
                return "incomplete"
        if self.send is not None:
            self.sent[dhcpv6.TYPES[kind]] += 1
            self.send(dhcpv6.encode(Message(kind, message.xid, tuple(answer), dhcpv6.back(message.relays))), call.peer)
        return ""


def associations(message: Message) -> list[tuple[int, Association]]:
    """IA_NA and IA_PD of a message, some. Raises WireError for a malformed one."""
    found = [(code, dhcpv6.association(value)) for code, value in message.options if code in (dhcpv6.IA_NA, dhcpv6.IA_PD)]
    return found[:ASSOCIATIONS]


def kind_of(code: int) -> str:
    """How leases call what an identity association is for."""
    return "pd" if code == dhcpv6.IA_PD else "na"


def named(code: int, ia: Association) -> list[Leased]:
    """The addresses, or prefixes, that a client says to have. Raises WireError."""
    if code == dhcpv6.IA_PD:
        return [dhcpv6.leased_prefix(value) for which, value in ia.options if which == dhcpv6.IA_PREFIX][:NAMED]
    return [dhcpv6.leased_address(value) for which, value in ia.options if which == dhcpv6.IA_ADDRESS][:NAMED]


def identify(message: Message, subnet: Subnet, judged: Believed | None) -> ClientIdentity:
    """All that the client and the relays that are believed said. Raises WireError for a malformed option."""
    row, duid = subnet.row, message.get(dhcpv6.CLIENT_ID) or b""
    near = judged.near if judged is not None else None
    told = () if judged is None else (judged.light or judged.near).options
    link_layer = dhcpv6.first(told, dhcpv6.CLIENT_LINK_LAYER) or (dhcpv6.first(near.options, dhcpv6.CLIENT_LINK_LAYER) if near is not None else None) or b""
    hardware = link_layer[2:] if link_layer[:2] == b"\0\1" else dhcpv6.hardware_address(duid)
    classes = [dhcpv6.vendor_class(value) for code, value in message.options if code == dhcpv6.VENDOR_CLASS]
    vendor = [(int.from_bytes(value[:4], "big"), value[4:]) for code, value in message.options if code == dhcpv6.VENDOR_OPTIONS and len(value) >= 4]
    user = [each for code, value in message.options if code == dhcpv6.USER_CLASS for each in dhcpv6.texts(value)]
    return ClientIdentity(
        family=6, tenant_id=row.tenant_id, subnet_id=row.id, site_id=row.site_id, mac=hardware.hex(":") if len(hardware) == 6 else "", client_id=duid,
        relay=IPv6Address(near.link) if near is not None else None, circuit_id=dhcpv6.first(told, dhcpv6.INTERFACE_ID) or b"",
        remote_id=(dhcpv6.first(told, dhcpv6.REMOTE_ID) or b"")[4:], relay_subscriber_id=dhcpv6.first(told, dhcpv6.SUBSCRIBER_ID) or b"",
        vendor_class=b"".join(part for _, parts in classes for part in parts), user_classes=tuple(user),
        vendor_classes=tuple((enterprise, b"".join(parts)) for enterprise, parts in classes), vendor_options=tuple(vendor),
        requested=dhcpv6.requested(message),
    )  # fmt: skip


def variables(call: Call6, url: str, address: int) -> dict[str, str]:
    """What templates may name."""
    seen = call.seen
    own = {
        "serial": seen.serial, "model": seen.model, "mac": seen.mac, "mac_plain": seen.mac.replace(":", ""), "circuit_id": readable(seen.circuit_id),
        "remote_id": readable(seen.remote_id), "relay_subscriber_id": readable(seen.relay_subscriber_id),
        "address": str(IPv6Address(address)) if address else "", "domain": call.subnet.row.domain,
    }  # fmt: skip
    return {**call.subnet.row.variables, **own, **(call.answer.variables if call.answer else {}), **url_variables(url)}


def domain(name: str) -> bytes:
    """A domain name as labels (RFC 8415 10)."""
    return b"".join(bytes((len(label),)) + label for label in name.encode("ascii", "replace").split(b".")) + b"\0"
