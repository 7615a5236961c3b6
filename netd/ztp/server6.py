"""DHCPv6 (RFC 8415): which messages are answered, with what, and to whom. As ``server4``: a served subnet, and a client that a profile fits."""

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
from netd.ztp.leasing6 import Ask6, Got, Kind, Leasing6
from netd.ztp.limits import Limits, Relays
from netd.ztp.subnets import Subnet, Subnets, readable

log = logging.getLogger(__name__)

ASSOCIATIONS: Final = 8
"""Identity associations of one message that are looked at: who sends more gets no more."""

WITH_SERVER: Final = frozenset((dhcpv6.REQUEST, dhcpv6.RENEW, dhcpv6.RELEASE, dhcpv6.DECLINE))
WITHOUT_SERVER: Final = frozenset((dhcpv6.SOLICIT, dhcpv6.CONFIRM, dhcpv6.REBIND))
KINDS: Final[dict[int, Kind]] = {
    dhcpv6.SOLICIT: "advertise", dhcpv6.REQUEST: "assign", dhcpv6.RENEW: "renew", dhcpv6.REBIND: "renew", dhcpv6.RELEASE: "release", dhcpv6.DECLINE: "decline",
}  # fmt: skip


class Peer6(NamedTuple):
    """Where a message came from, as the socket says it, and the interface, "" where its clients are not attached directly."""

    address: str
    port: int
    scope: int
    interface: str


class Call6(NamedTuple):
    """A message that is looked into."""

    message: Message
    peer: Peer6
    subnet: Subnet
    seen: ClientIdentity
    profile: Profile
    answer: BootAnswer | None


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
        subnet = self._subnet(message, peer)
        if subnet is None:
            return "no_subnet" if message.relays or peer.interface else "not_relayed"
        if not self.limits.packet(subnet.row.id, self._clock()):
            return "relay_too_fast"
        call = self._call(message, peer, subnet)
        return self._answer(call) if isinstance(call, Call6) else call

    def _subnet(self, message: Message, peer: Peer6) -> Subnet | None:
        """The link of the client: of the relays' link-addresses the one nearest to it (RFC 8415 13.1)."""
        for relay in reversed(message.relays):
            if relay.link:
                return self.subnets.find(relay.link, 6)
        return self.subnets.on_interface(peer.interface, 6) if peer.interface and not message.relays else None

    def _call(self, message: Message, peer: Peer6, subnet: Subnet) -> Call6 | str:
        seen = identify(message, subnet)
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
        return Call6(message, peer, subnet, seen, profile, answer)

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
        relay, line = subnet.row.id, seen.relay_subscriber_id or seen.remote_id  # an Interface-Id is mostly that of a whole link
        if kind in ("advertise", "assign") and not self.limits.client(relay, line, client, subnet.row.lease_seconds, self._clock()):
            return "line_full"
        urls: list[str] = []

        def settled(got: Got | None, why: str) -> None:
            reason = why if got is None else self._settled(call, kind, wanted, got, urls[-1] if urls else "")
            if reason:
                self.drops[reason] += 1

        ask = Ask6(kind, subnet, client, settled)
        ask.addresses = [ia.iaid for code, ia in wanted if code == dhcpv6.IA_NA]
        ask.prefixes = [ia.iaid for code, ia in wanted if code == dhcpv6.IA_PD]
        ask.reserved = subnet.reservation(seen)
        ask.mac, ask.profile, ask.relay, ask.line = seen.mac, call.profile.name, relay, line
        ask.seconds = self._seconds(call)
        if answer is not None:
            if answer.address is not None and answer.address.version == 6:
                ask.reserved = int(answer.address)

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

    def _settled(self, call: Call6, kind: Kind, wanted: Sequence[tuple[int, Association]], got: Got, url: str) -> str:
        seconds = self._seconds(call)
        if kind in ("release", "decline"):
            return self._send(call, dhcpv6.REPLY, [dhcpv6.status(dhcpv6.SUCCESS)], "", 0)
        made = [self._association(call, code, ia, got, kind, seconds) for code, ia in wanted]
        first = next((address for address in got.values() if address), 0)
        if kind == "advertise" and not first:
            return "no_address"  # another server may have some (RFC 8415 18.3.9)
        rapid = call.message.type == dhcpv6.SOLICIT and kind == "assign"
        if rapid:
            made.append((dhcpv6.RAPID_COMMIT, b""))
        return self._send(call, dhcpv6.ADVERTISE if kind == "advertise" else dhcpv6.REPLY, made, url, first)

    def _association(self, call: Call6, code: int, ia: Association, got: Got, kind: Kind, seconds: int) -> Option:
        prefix = code == dhcpv6.IA_PD
        address = got.get(("pd" if prefix else "na", ia.iaid), 0)
        if address:
            length = call.subnet.pool.layout.prefix_length if prefix and call.subnet.pool is not None else 128
            members: tuple[Option, ...] = (dhcpv6.leased_option(Leased(address, length, seconds * 5 // 8, seconds), prefix),)
        elif kind == "renew":
            members = (dhcpv6.status(dhcpv6.NO_BINDING, "not known here"),)
        else:
            members = (dhcpv6.status(dhcpv6.NO_PREFIXES if prefix else dhcpv6.NO_ADDRESSES, "none is free"),)
        return code, dhcpv6.association_octets(Association(ia.iaid, seconds // 2, seconds * 4 // 5, members))

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
        if made or message.type == dhcpv6.INFORMATION_REQUEST:
            try:
                answer += call.profile.options(variables(call, url, address), wanted, 6)
            except ValueError as error:
                log.warning("a DHCPv6 client cannot be told what it needs", extra={"profile": call.profile.name, "error": str(error)})
                return "incomplete"
        if self.send is not None:
            self.sent[dhcpv6.TYPES[kind]] += 1
            self.send(dhcpv6.encode(Message(kind, message.xid, tuple(answer), dhcpv6.back(message.relays))), call.peer)
        return ""


def associations(message: Message) -> list[tuple[int, Association]]:
    """IA_NA and IA_PD of a message, some. Raises WireError for a malformed one."""
    found = [(code, dhcpv6.association(value)) for code, value in message.options if code in (dhcpv6.IA_NA, dhcpv6.IA_PD)]
    return found[:ASSOCIATIONS]


def identify(message: Message, subnet: Subnet) -> ClientIdentity:
    """All that the client and its relays said. Raises WireError for a malformed option."""
    row, duid = subnet.row, message.get(dhcpv6.CLIENT_ID) or b""
    near = message.relays[-1] if message.relays else None
    told = near.options if near is not None else ()
    link_layer = dhcpv6.first(told, dhcpv6.CLIENT_LINK_LAYER) or b""
    hardware = link_layer[2:] if link_layer[:2] == b"\0\1" else dhcpv6.hardware_address(duid)
    classes = [dhcpv6.vendor_class(value) for code, value in message.options if code == dhcpv6.VENDOR_CLASS]
    vendor = [(int.from_bytes(value[:4], "big"), value[4:]) for code, value in message.options if code == dhcpv6.VENDOR_OPTIONS and len(value) >= 4]
    user = [each for code, value in message.options if code == dhcpv6.USER_CLASS for each in dhcpv6.texts(value)]
    return ClientIdentity(
        family=6, tenant_id=row.tenant_id, subnet_id=row.id, site_id=row.site_id, mac=hardware.hex(":") if len(hardware) == 6 else "", client_id=duid,
        relay=IPv6Address(near.link) if near is not None and near.link else None, circuit_id=dhcpv6.first(told, dhcpv6.INTERFACE_ID) or b"",
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
