"""The responder on a real database, packet by packet: who is answered with what, and that no address is given twice."""

import asyncio
import random
from ipaddress import IPv4Address
from typing import Any

import pytest

from netd.config import DhcpConfig
from netd.errors import StoreError
from netd.extensions import Extensions
from netd.model.ztp import BootAnswer
from netd.wire import dhcp
from netd.wire.dhcp import Message
from netd.ztp import leasing
from netd.ztp.asks import Ask
from netd.ztp.binding import Remembered
from netd.ztp.server4 import Arrival, Call
from netd.ztp.service import DhcpService
from tests.garbage import freed_at_once
from tests.ztp import golden
from tests.ztp.conftest import Net, until

RELAY = int(IPv4Address("10.1.0.1"))
SERVER = int(IPv4Address("10.99.0.1"))
ALWAYS = DhcpConfig(enabled=True, relay_new_per_second=0.0)


def number(text: str) -> int:
    return int(IPv4Address(text))


class Talk:
    """A relay before some clients, and what it was answered."""

    def __init__(self, service: DhcpService, local: int = SERVER) -> None:
        self.service = service
        self.local = local
        self.answers: asyncio.Queue[tuple[str, Message, int]] = asyncio.Queue()
        service.server4.out = self
        self._task = asyncio.create_task(service.leasing.run())

    async def end(self) -> None:
        self.service.leasing.finish()
        await self._task

    def relay(self, data: bytes, address: int, local: int) -> None:
        self.answers.put_nowait(("relay", dhcp.parse(data), address))

    def client(self, data: bytes, address: int, local: int) -> None:
        self.answers.put_nowait(("client", dhcp.parse(data), address))

    def link(self, data: bytes, interface: str, hardware: bytes | None, address: int, local: int) -> None:
        self.answers.put_nowait(("everybody" if hardware is None else "link", dhcp.parse(data), address))

    def send(self, kind: int, client: int, *, giaddr: int = RELAY, ciaddr: int = 0, circuit: bytes = b"", source: int = 0, interface: str = "", flags: int = 0,
             waited: float = 0.0, **options: bytes) -> None:  # fmt: skip
        """A message of a client; options as ``o50=…``."""
        made = {53: bytes((kind,)), **{int(name[1:]): value for name, value in options.items()}}
        if circuit:
            made[82] = b"\1" + bytes((len(circuit),)) + circuit + made.pop(82, b"")
        message = Message(1, client, b"\x02\0" + client.to_bytes(4, "big"), made, giaddr=giaddr, ciaddr=ciaddr, flags=flags)
        self.service.server4.packet(dhcp.encode(message), Arrival(source or giaddr, 67, self.local, interface, waited))

    async def ask(self, kind: int, client: int, **more: object) -> Message:
        """The same, and its answer."""
        self.send(kind, client, **more)  # type: ignore[arg-type]
        return (await asyncio.wait_for(self.answers.get(), 60))[1]

    async def boot(self, client: int, **more: object) -> Message:
        """All four; the last answer."""
        offer = await self.ask(dhcp.DISCOVER, client, **more)
        assert offer.type == dhcp.OFFER
        return await self.ask(dhcp.REQUEST, client, o50=offer.yiaddr.to_bytes(4, "big"), o54=offer.options[54], **more)

    async def silence(self) -> None:
        """Nothing is answered: what was sent before is through."""
        await until(lambda: not len(self.service.leasing))
        assert self.answers.empty()

    @property
    def drops(self) -> dict[object, int]:
        return {key: count for key, count in self.service.server4.drops.items()}


@pytest.fixture
async def talk(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), router="10.1.0.1", dns_servers=["10.99.0.53"])
    made = Talk(await responder(ALWAYS))
    yield made
    await made.end()


async def test_four_ways_and_again(talk: Talk, net: Net):
    got = await talk.boot(1, o61=b"\1client", circuit=b"eth 1/1")
    assert (got.type, got.yiaddr, got.giaddr) == (dhcp.ACK, number("10.1.0.10"), RELAY)
    assert got.options[61] == b"\1client"  # RFC 6842
    assert list(got.options)[-1] == 82
    assert got.options[51] == (600).to_bytes(4, "big")
    assert await net.leases() == [("10.1.0.10", "bound", "02:00:00:00:00:01")]
    assert (await talk.boot(1, o61=b"\1client", circuit=b"eth 1/1")).yiaddr == got.yiaddr
    assert (await talk.boot(2)).yiaddr == number("10.1.0.11")


@pytest.mark.parametrize("kind", [dhcp.DISCOVER, dhcp.RELEASE])
def test_a_packet_leaves_nothing_to_the_garbage_collector(extensions: Extensions, kind: int):
    """Packets that wait for a database that hangs would be old by the time that they are done with, and the collector looks at what is old seldom."""
    server, kept, _ = golden.server(extensions, golden.DEVICES[0])
    message = dhcp.parse(golden.discover(golden.DEVICES[0]))
    message.options[53], message.ciaddr = bytes((kind,)), number("10.1.0.20")
    data = dhcp.encode(message)
    with freed_at_once(Ask, Call, Message):
        del message
        server.packet(data, Arrival(RELAY, 67, SERVER, ""))
    assert server.received[dhcp.TYPES[kind]] == 1
    assert not server.drops
    assert len(kept.sent) == (kind == dhcp.DISCOVER)


async def test_renewal_by_unicast_needs_no_relay(talk: Talk, net: Net):
    got = await talk.boot(1)
    talk.send(dhcp.REQUEST, 1, giaddr=0, ciaddr=got.yiaddr, source=got.yiaddr)
    way, answer, to = await asyncio.wait_for(talk.answers.get(), 60)
    assert (way, answer.type, to) == ("client", dhcp.ACK, got.yiaddr)
    talk.send(dhcp.REQUEST, 1, giaddr=0, ciaddr=got.yiaddr, source=number("10.1.0.99"))
    await talk.silence()
    assert talk.drops == {"not_relayed": 1}


async def test_what_is_not_served_is_not_answered(talk: Talk, net: Net):
    talk.send(dhcp.DISCOVER, 1, giaddr=number("10.2.0.1"))
    talk.send(dhcp.DISCOVER, 1, giaddr=0)
    talk.send(9, 1)
    talk.service.server4.packet(b"nonsense", Arrival(RELAY, 67, SERVER, ""))
    talk.service.server4.packet(dhcp.encode(Message(2, 1, bytes(6), {53: b"\2"})), Arrival(RELAY, 67, SERVER, ""))
    talk.send(dhcp.REQUEST, 1, o50=b"\x0a\1\0\x0a", o54=b"\x0a\x63\0\7")
    await talk.silence()
    assert talk.drops == {"no_subnet": 1, "not_relayed": 1, "unknown_type": 1, "short": 1, "not_a_request": 1, "other_server": 1}


async def test_a_class_without_a_profile_gets_nothing(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("cpe", "10.1.0.10", "10.1.0.40"), profiles=["tr069_cpe"], variables={"acs_url": "https://acs.example.net/"})
    talk = Talk(await responder(ALWAYS))
    talk.send(dhcp.DISCOVER, 1)
    await talk.silence()
    assert talk.drops == {"no_profile": 1}
    got = await talk.boot(2, o60=b"dslforum.org")
    assert got.options[43] == b"\1\x18https://acs.example.net/"
    await talk.end()


async def test_only_who_is_expected_boots_and_who_is_not_becomes_a_candidate(net: Net, responder):
    binding = Remembered({"JPE1": BootAnswer(profile="arista_eos")}, lambda seen, address: f"http://10.99.0.1/{seen.serial}/{address}")
    await net.subnet("10.1.0.0/24", await net.pool("boot", "10.1.0.10", "10.1.0.40"), serves="expected", profiles=[])
    talk = Talk(await responder(ALWAYS, binding))
    got = await talk.boot(1, o60=b"Arista;DCS;1;JPE1", o55=b"\1\3\x43", circuit=b"olt eth 1/1/4")
    assert got.options[67] == b"http://10.99.0.1/JPE1/10.1.0.10"
    assert [(grant.step, str(grant.address)) for grant in binding.grants] == [("offered", "10.1.0.10"), ("leased", "10.1.0.10")]
    assert binding.grants[0].seen.circuit_id == b"olt eth 1/1/4"
    talk.send(dhcp.DISCOVER, 2, o60=b"Arista;DCS;1;JPE2")
    await talk.silence()
    assert talk.drops == {"unexpected": 1}
    assert [(seen.serial, seen.model, seen.mac) for seen in binding.candidates] == [("JPE2", "DCS", "02:00:00:00:00:02")]
    await talk.end()


async def test_a_renewal_by_unicast_is_known_by_the_line_it_came_through(net: Net, responder):
    class ByCircuit(Remembered):
        def resolve(self, seen):
            return BootAnswer(profile="plain") if seen.circuit_id == b"olt eth 1/1/4" else None

    await net.subnet("10.1.0.0/24", await net.pool("boot", "10.1.0.10", "10.1.0.40"), serves="expected", profiles=[])
    talk = Talk(await responder(ALWAYS, ByCircuit({})))
    got = await talk.boot(1, circuit=b"olt eth 1/1/4")
    assert (await talk.ask(dhcp.REQUEST, 1, giaddr=0, ciaddr=got.yiaddr, source=got.yiaddr)).type == dhcp.ACK
    await talk.end()
    again = Talk(await responder(ALWAYS, ByCircuit({})))  # after a restart it is read from the leases
    assert (await again.ask(dhcp.REQUEST, 1, giaddr=0, ciaddr=got.yiaddr, source=got.yiaddr)).type == dhcp.ACK
    await again.end()


async def test_link_selection_and_server_override(talk: Talk, net: Net):
    """RFC 3527: the subnet is another than giaddr's. RFC 5107: the server is called what the relay says."""
    talk.send(dhcp.DISCOVER, 1, giaddr=number("192.0.2.1"), o82=b"\x05\4\x0a\1\0\0\x0b\4\xc0\0\2\1")
    way, offer, to = await asyncio.wait_for(talk.answers.get(), 60)
    assert (way, to, offer.yiaddr) == ("relay", number("192.0.2.1"), number("10.1.0.10"))
    assert offer.options[54] == b"\xc0\0\2\1"
    more = {"giaddr": number("192.0.2.1"), "o82": offer.options[82]}
    assert (await talk.ask(dhcp.REQUEST, 1, o50=offer.yiaddr.to_bytes(4, "big"), o54=offer.options[54], **more)).type == dhcp.ACK


async def test_a_release_that_was_read_late_ends_no_lease_that_another_node_gave_since(talk: Talk, net: Net):
    got = await talk.boot(1)
    talk.send(dhcp.RELEASE, 1, ciaddr=got.yiaddr, o54=got.options[54], waited=60.0)  # it came a minute before the client had its address
    await talk.silence()
    assert (await net.leases())[0][1] == "bound"
    assert talk.drops == {"not_its_address": 1}
    talk.send(dhcp.RELEASE, 1, ciaddr=got.yiaddr, o54=got.options[54])
    await talk.silence()
    assert (await net.leases())[0][1] == "released"


async def test_what_waited_too_long_to_be_read_is_not_answered(talk: Talk):
    talk.send(dhcp.DISCOVER, 1, waited=leasing.STALE_SECONDS + 1)
    await talk.silence()
    assert talk.drops == {"stale": 1}


async def test_release_decline_and_inform(talk: Talk, net: Net):
    got = await talk.boot(1)
    talk.send(dhcp.RELEASE, 1, ciaddr=got.yiaddr, o54=got.options[54])
    await talk.silence()
    assert await net.leases() == [("10.1.0.10", "released", "02:00:00:00:00:01")]
    got = await talk.boot(1)
    talk.send(dhcp.DECLINE, 1, o50=got.yiaddr.to_bytes(4, "big"), o54=got.options[54])
    await talk.silence()
    assert await net.leases() == [("10.1.0.10", "declined", "02:00:00:00:00:01")]
    assert (await talk.boot(1)).yiaddr == number("10.1.0.11")
    told = await talk.ask(dhcp.INFORM, 3, ciaddr=number("10.1.0.200"), o55=b"\1\3\6")
    assert (told.type, told.yiaddr, 51 in told.options, told.options[3]) == (dhcp.ACK, 0, False, b"\x0a\1\0\1")
    assert talk.service.leasing.given["declined"] == 1


async def test_who_asks_for_what_is_not_its_own(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    meek = Talk(await responder(ALWAYS))
    got = await meek.boot(1)
    refused = await meek.ask(dhcp.REQUEST, 2, o50=got.yiaddr.to_bytes(4, "big"), o54=got.options[54])  # it names this server
    assert (refused.type, refused.yiaddr, refused.flags) == (dhcp.NAK, 0, dhcp.BROADCAST)
    meek.send(dhcp.REQUEST, 3, o50=number("10.1.0.33").to_bytes(4, "big"))  # INIT-REBOOT of somebody else's client
    await meek.silence()
    assert meek.drops == {"not_its_address": 1}
    await meek.end()
    firm = Talk(await responder(DhcpConfig(enabled=True, authoritative=True)))
    assert (await firm.ask(dhcp.REQUEST, 3, o50=number("10.1.0.33").to_bytes(4, "big"))).type == dhcp.NAK
    await firm.end()


@pytest.mark.parametrize(
    ("kind", "value", "more"),
    [
        ("mac", "02:00:00:00:00:07", {}),
        ("client_id", b"\0box".hex(), {"o61": b"\0box"}),
        ("circuit_id", r"olt1 eth 1/1/(4|5):.*", {"circuit": b"olt1 eth 1/1/5:7"}),
        ("serial", "JPE7", {"o60": b"Arista;X;1;JPE7"}),
    ],
)
async def test_reservations(net: Net, responder, kind: str, value: str, more: dict[str, bytes]):
    pool = await net.pool("access", "10.1.0.10", "10.1.0.12")
    subnet = await net.subnet("10.1.0.0/24", pool, profiles=["arista_eos", "plain"] if kind == "serial" else ["plain"], variables={"url": "http://x/"})
    await net.reserve(subnet, kind, value, "10.1.0.11")
    talk = Talk(await responder(ALWAYS))
    assert [(await talk.boot(client)).yiaddr for client in (1, 2)] == [number("10.1.0.10"), number("10.1.0.12")]
    talk.send(dhcp.DISCOVER, 3)
    await talk.silence()
    assert talk.drops == {"exhausted": 1}
    assert (await talk.boot(7, **more)).yiaddr == number("10.1.0.11")
    await talk.end()


async def test_a_reservation_made_later_moves_who_had_another_address_and_who_had_this_one(talk: Talk, net: Net):
    mine, other = await talk.boot(1), await talk.boot(2)
    await net.reserve(await net.connection.fetchval("select id from dhcp_subnets"), "mac", "02:00:00:00:00:01", str(IPv4Address(other.yiaddr)))
    await talk.service.load()
    talk.send(dhcp.DISCOVER, 1)
    await talk.silence()
    assert talk.drops == {"reservation_in_use": 1}
    talk.send(dhcp.REQUEST, 2, ciaddr=other.yiaddr)  # is not renewed
    await talk.silence()
    await net.connection.execute(
        "update leases set until_at = now() - interval '1 second', expires_at = now() where host(prefix) = $1", str(IPv4Address(other.yiaddr))
    )
    assert (await talk.boot(1)).yiaddr == other.yiaddr
    assert (await talk.boot(2)).yiaddr != other.yiaddr
    assert mine.yiaddr != other.yiaddr


async def test_a_starving_client_behind_a_line_gets_its_share_and_no_more(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.90"))
    talk = Talk(await responder(DhcpConfig(enabled=True, line_clients=4)))
    for client in range(500):
        talk.send(dhcp.DISCOVER, 1000 + client, circuit=b"eth 1/1")
    await until(lambda: not len(talk.service.leasing))
    assert talk.drops == {"line_full": 496}
    assert talk.answers.qsize() == 4
    while not talk.answers.empty():
        talk.answers.get_nowait()
    assert (await talk.boot(1, circuit=b"eth 1/2")).type == dhcp.ACK  # the neighbour
    await talk.end()


async def test_a_starving_client_behind_a_relay_without_lines_leaves_most_of_the_pool(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.109"))  # 100
    talk = Talk(await responder(DhcpConfig(enabled=True, relay_new_per_second=1000.0)))
    known = await talk.boot(1)
    for client in range(500):
        talk.send(dhcp.DISCOVER, 1000 + client)
    await until(lambda: not len(talk.service.leasing))
    assert talk.answers.qsize() == 25  # one part in four waits to be taken, the rest stays
    assert talk.drops == {"too_many_new": 475}
    while not talk.answers.empty():
        talk.answers.get_nowait()
    assert (await talk.ask(dhcp.REQUEST, 1, ciaddr=known.yiaddr)).type == dhcp.ACK  # who has an address keeps it
    free = await net.connection.fetchval("select count(*) from leases where until_at > now()")
    assert free == 26
    await talk.end()


async def test_ten_thousand_malformed_packets(talk: Talk, net: Net):
    rng = random.Random(7)
    known = await talk.boot(9)
    good = dhcp.encode(Message(1, 5, b"\2\0\0\0\0\5", {53: b"\1", 61: b"\1abc", 82: b"\1\4eth1", 124: b"\0\0\0\x09\5\4abcd"}, giaddr=RELAY))
    for _ in range(10_000):
        data = bytearray(good[: rng.randrange(len(good))])
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        talk.service.server4.packet(bytes(data), Arrival(RELAY, 67, SERVER, ""))
    dropped = talk.drops
    assert sum(dropped.values()) > 8_000
    assert {"short", "no_cookie", "bad_option"} <= set(dropped)
    talk.send(dhcp.REQUEST, 9, ciaddr=known.yiaddr)
    assert (await _mine(talk, 9)).type == dhcp.ACK  # all others were not in its way


async def test_two_nodes_never_give_an_address_twice(net: Net, responder, dsn: str):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.109"))
    one, other = Talk(await responder(ALWAYS)), Talk(await responder(ALWAYS), number("10.99.0.2"))
    got = await asyncio.gather(*(_booted(talk, range(place, 60, 2)) for place, talk in ((1, one), (2, other))), _booted(one, [100]), _booted(other, [100]))
    mine = {client: address for part in got[:2] for client, address in part.items()}
    assert len(set(mine.values())) == len(mine)
    assert got[2][100] == got[3][100]  # who asks both is offered the same by both
    rows = await net.connection.fetch("select host(prefix) a, count(*) n from leases group by 1 having count(*) > 1")
    assert rows == []
    await one.end()
    await other.end()


async def _booted(talk: Talk, clients) -> dict[int, int]:
    found = {}
    for client in clients:
        while True:
            talk.send(dhcp.DISCOVER, client)
            offer = await _mine(talk, client)
            talk.send(dhcp.REQUEST, client, o50=offer.yiaddr.to_bytes(4, "big"), o54=offer.options[54])
            answer = await _mine(talk, client)
            if answer.type == dhcp.ACK:
                found[client] = answer.yiaddr
                break
    return found


async def _mine(talk: Talk, client: int) -> Message:
    while True:
        way, answer, to = await asyncio.wait_for(talk.answers.get(), 60)
        if answer.xid == client:
            return answer
        talk.answers.put_nowait((way, answer, to))
        await asyncio.sleep(0.001)


async def test_addresses_of_subscribers_and_of_clients_are_kept_apart(talk: Talk, net: Net):
    """A fixed address of a subscriber is never offered; one that a client has cannot be fixed."""
    await net.connection.execute("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'home', 1000, 1000)")
    await net.connection.execute("insert into subscribers (tenant_id, username, username_key, plan_id, ipv4) values (1, 'a', 'a', 1, '10.1.0.10')")
    got = await talk.boot(1)
    assert got.yiaddr == number("10.1.0.11")
    with pytest.raises(Exception, match="leased to another"):
        await net.connection.execute("insert into subscribers (tenant_id, username, username_key, plan_id, ipv4) values (1, 'b', 'b', 1, '10.1.0.11')")
    with pytest.raises(Exception, match="leased to another"):
        await net.reserve(await net.connection.fetchval("select id from dhcp_subnets"), "mac", "02:00:00:00:00:09", "10.1.0.10")


async def test_a_lease_query_is_for_who_may(net: Net, responder):
    """RFC 4388, by address, by MAC address and by client identifier."""
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    service = await responder(DhcpConfig(enabled=True, relay_new_per_second=0.0, lease_query_from=("10.1.0.0/24",)))
    talk = Talk(service)
    task = asyncio.create_task(service.queries.run())
    got = await talk.boot(1, o61=b"\1id", circuit=b"eth 1/1")

    async def query(ciaddr: int = 0, chaddr: bytes = b"", **options: bytes) -> Message:
        asked = Message(1, 9, chaddr, {53: b"\x0a", **{int(name[1:]): value for name, value in options.items()}}, giaddr=RELAY, ciaddr=ciaddr)
        service.server4.packet(dhcp.encode(asked), Arrival(RELAY, 67, SERVER, ""))
        return (await asyncio.wait_for(talk.answers.get(), 60))[1]

    for answer in (await query(got.yiaddr), await query(chaddr=b"\2\0\0\0\0\1"), await query(o61=b"\1id")):
        assert (answer.type, answer.ciaddr, answer.chaddr) == (dhcp.LEASEACTIVE, got.yiaddr, b"\2\0\0\0\0\1")
        assert answer.options[82] == got.options[82]
        assert answer.options[61] == b"\1id"
        assert 500 <= int.from_bytes(answer.options[51], "big") <= 600
    assert (await query(number("10.1.0.39"))).type == dhcp.LEASEUNASSIGNED  # never leased, but netd's to lease
    assert (await query(number("10.1.0.41"))).type == dhcp.LEASEUNKNOWN
    talk.send(dhcp.RELEASE, 1, giaddr=0, source=got.yiaddr, ciaddr=got.yiaddr, o61=b"\1id")
    await talk.silence()
    assert (await query(got.yiaddr)).type == dhcp.LEASEUNASSIGNED
    service.server4.packet(
        dhcp.encode(Message(1, 9, b"", {53: b"\x0a"}, giaddr=number("10.2.0.1"), ciaddr=got.yiaddr)), Arrival(number("10.2.0.1"), 67, SERVER, "")
    )
    await talk.silence()
    assert talk.drops == {"query_refused": 1}
    task.cancel()
    await talk.end()


async def test_an_address_that_answers_is_set_aside_and_another_is_offered(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    service = await responder(DhcpConfig(enabled=True, relay_new_per_second=0.0, probe_milliseconds=100))

    async def probe(addresses):
        return {address for address in addresses if address == number("10.1.0.10")}

    service.leasing.probe = probe
    talk = Talk(service)
    assert (await talk.boot(1)).yiaddr == number("10.1.0.11")
    assert (await net.leases())[0][:2] == ("10.1.0.10", "declined")
    assert service.leasing.found_in_use == 1
    await talk.end()


async def test_what_is_being_probed_is_answered_before_the_end(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    service = await responder(DhcpConfig(enabled=True, relay_new_per_second=0.0, probe_milliseconds=100))
    begun, over = asyncio.Event(), asyncio.Event()

    async def probe(addresses):
        begun.set()
        await over.wait()
        return set()

    service.leasing.probe = probe
    talk = Talk(service)
    talk.send(dhcp.DISCOVER, 1)
    await asyncio.wait_for(begun.wait(), 60)
    service.leasing.finish()
    asyncio.get_running_loop().call_later(0.05, over.set)
    await talk.end()
    assert talk.answers.get_nowait()[1].type == dhcp.OFFER and len(service.leasing) == 0


async def test_while_the_database_is_away_nobody_is_told_anything(talk: Talk, net: Net, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(talk.service.database, "up", False)
    talk.send(dhcp.DISCOVER, 1)
    await talk.silence()
    assert talk.drops == {"database_away": 1}
    assert talk.service.parts()[0].state == "degraded"


async def test_what_waited_too_long_is_not_answered(net: Net, responder, monkeypatch: pytest.MonkeyPatch):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    service = await responder(ALWAYS)
    talk = Talk(service)
    monkeypatch.setattr("netd.ztp.leasing.STALE_SECONDS", -1.0)
    talk.send(dhcp.DISCOVER, 1)
    await talk.silence()
    assert talk.drops == {"stale": 1}
    monkeypatch.undo()
    assert (await talk.boot(1)).type == dhcp.ACK
    await talk.end()


async def test_only_named_relays_are_listened_to(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    talk = Talk(await responder(DhcpConfig(enabled=True, relays=("10.99.0.0/24", "2001:db8:99::/64"))))
    talk.send(dhcp.DISCOVER, 1)
    await talk.silence()
    assert talk.drops == {"strange_relay": 1}
    assert (await talk.boot(1, source=number("10.99.0.2"))).type == dhcp.ACK
    await talk.end()


async def test_what_cannot_be_recorded_is_not_told(net: Net, responder):
    """Neither the offer nor the acknowledgement leaves before its transaction is committed."""

    class Refuses(Remembered):
        at = "offered"

        async def granted(self, conn, grants):
            if any(grant.step == self.at for grant in grants):
                raise StoreError("no")

    binding = Refuses({"02:00:00:00:00:01": BootAnswer(profile="plain")})
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), serves="expected", profiles=[])
    talk = Talk(await responder(ALWAYS, binding))
    talk.send(dhcp.DISCOVER, 1)
    await talk.silence()
    assert await net.leases() == []
    binding.at = "leased"
    offer = await talk.ask(dhcp.DISCOVER, 1)
    talk.send(dhcp.REQUEST, 1, o50=offer.yiaddr.to_bytes(4, "big"), o54=offer.options[54])
    await talk.silence()
    assert [state for _, state, _ in await net.leases()] == ["offered"]
    assert talk.drops == {"failed": 2}
    binding.at = ""
    assert (await talk.boot(1)).type == dhcp.ACK
    await talk.end()


async def test_a_changed_subnet_holds_at_once(net: Net, responder):
    service = await responder(ALWAYS)
    task = asyncio.create_task(service.feed.run())
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), profiles=["plain", "no_such_profile"])
    await until(lambda: bool(service.subnets.by_id))
    assert "no_such_profile" in service.parts()[0].detail
    task.cancel()


# -- who may say what ----------------------------------------------------------------------------------------------------


async def test_only_relays_say_which_line_a_client_is_on(net: Net, responder):
    """A host with an address of its own sends what it likes to the server: it is no relay, and has no line but that of its lease."""
    binding = Remembered({"JPE1": BootAnswer(profile="arista_eos")}, lambda seen, address: "http://10.99.0.1/x")
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), serves="expected", profiles=[])
    talk = Talk(await responder(DhcpConfig(enabled=True, relays=("10.1.0.1/32",)), binding))
    own = number("10.1.0.200")
    forged: dict[str, Any] = {"giaddr": 0, "source": own, "circuit": b"olt1 eth 1/1/4", "o60": b"Arista;DCS;1;JPE1"}
    talk.send(dhcp.DISCOVER, 1, ciaddr=own, **forged)
    talk.send(dhcp.DECLINE, 1, ciaddr=own, o50=b"\x0a\1\0\x0a", **forged)
    talk.send(dhcp.REQUEST, 1, ciaddr=0, o50=b"\x0a\1\0\x0a", **forged)
    talk.send(dhcp.REQUEST, 1, ciaddr=own, **forged)
    talk.send(dhcp.INFORM, 2, ciaddr=own, **{**forged, "o60": b"Arista;DCS;1;JPE2"})
    await talk.silence()
    assert talk.drops == {"not_relayed": 3, "not_its_address": 1, "unexpected": 1}
    assert (await net.leases(), binding.candidates) == ([], [])
    got = await talk.boot(1, circuit=b"olt1 eth 1/1/4", o60=b"Arista;DCS;1;JPE1")
    assert (await talk.ask(dhcp.REQUEST, 1, **{**forged, "ciaddr": got.yiaddr, "source": got.yiaddr, "circuit": b"forged"})).type == dhcp.ACK
    assert await net.connection.fetchval("select relay_info from leases") == b"\1\x0eolt1 eth 1/1/4"
    assert binding.grants[-1].seen.circuit_id == b"olt1 eth 1/1/4"
    await talk.end()


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_switch_without_giaddr_is_believed_where_the_configuration_says_so(net: Net, responder, trusted: bool):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), interface="eth7")
    talk = Talk(await responder(DhcpConfig(enabled=True, interfaces=("eth7",), option82_interfaces=("eth7",) if trusted else (), line_clients=1)))
    link: dict[str, Any] = {"giaddr": 0, "interface": "eth7", "circuit": b"port 1"}
    got = await talk.boot(1, **link)
    assert got.options[82] == b"\1\6port 1"  # the switch takes it out
    talk.send(dhcp.DISCOVER, 2, **link)
    await until(lambda: not len(talk.service.leasing))
    assert talk.drops == ({"line_full": 1} if trusted else {})
    talk.send(dhcp.DISCOVER, 3, **{**link, "source": number("10.7.0.1")})  # from beyond a router on that link
    await until(lambda: not len(talk.service.leasing))
    assert talk.drops["not_relayed"] == 1
    await talk.end()


async def test_what_is_said_on_another_line_is_of_another_client(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    talk = Talk(await responder(ALWAYS))
    mine = await talk.boot(1, circuit=b"mine")
    own: dict[str, Any] = {"o50": mine.yiaddr.to_bytes(4, "big"), "o54": mine.options[54]}
    talk.send(dhcp.DECLINE, 1, circuit=b"other", **own)
    talk.send(dhcp.RELEASE, 1, circuit=b"other", ciaddr=mine.yiaddr)
    talk.send(dhcp.REQUEST, 1, circuit=b"other", **own)
    await talk.silence()
    assert talk.drops == {"other_line": 3}
    other = await talk.boot(1, circuit=b"other")  # who moves house gets another address
    assert other.yiaddr != mine.yiaddr
    assert (await talk.ask(dhcp.REQUEST, 1, circuit=b"mine", ciaddr=mine.yiaddr)).type == dhcp.ACK
    talk.send(dhcp.RELEASE, 1, giaddr=0, source=mine.yiaddr, ciaddr=mine.yiaddr)  # by unicast its line is that of its lease
    await talk.silence()
    assert [state for _, state, _ in await net.leases()] == ["released", "bound"]
    await talk.end()
    again = Talk(await responder(ALWAYS))
    again.service.server4._relayed.clear()  # as another node has it
    assert (await again.ask(dhcp.REQUEST, 1, giaddr=0, source=other.yiaddr, ciaddr=other.yiaddr)).type == dhcp.ACK
    await again.end()


async def test_two_relays_of_one_link_forward_the_same_packet(talk: Talk, net: Net):
    """As two routers with VRRP do. If each names the line otherwise, one of them answers and the other is silent."""
    offers = []
    for giaddr in (RELAY, number("10.1.0.2")):
        talk.send(dhcp.DISCOVER, 1, giaddr=giaddr, circuit=b"eth 1/1")
        offers.append((await asyncio.wait_for(talk.answers.get(), 60))[1])
    assert offers[0].yiaddr == offers[1].yiaddr
    got = await talk.boot(1, circuit=b"eth 1/1")
    talk.send(dhcp.REQUEST, 1, giaddr=number("10.1.0.2"), circuit=b"other", o50=got.yiaddr.to_bytes(4, "big"), o54=got.options[54])
    await talk.silence()
    assert talk.drops == {"other_line": 1}


async def test_a_client_keeps_its_address_when_its_line_begins_to_be_told(talk: Talk, net: Net):
    got = await talk.boot(1)
    assert (await talk.ask(dhcp.REQUEST, 1, circuit=b"eth 1/1", ciaddr=got.yiaddr)).type == dhcp.ACK
    other = await talk.boot(2)
    assert (await talk.boot(2, circuit=b"eth 1/2")).yiaddr == other.yiaddr
    talk.send(dhcp.REQUEST, 1, circuit=b"eth 1/3", ciaddr=got.yiaddr)
    await talk.silence()
    assert talk.drops == {"other_line": 1}


async def test_declines_cannot_empty_a_pool(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.29"))  # 20
    service = await responder(DhcpConfig(enabled=True, line_clients=16))
    talk = Talk(service)

    async def decline(client: int, line: bytes, *, bound: bool = True) -> None:
        got = await (talk.boot(client, circuit=line) if bound else talk.ask(dhcp.DISCOVER, client, circuit=line))
        talk.send(dhcp.DECLINE, client, circuit=line, o50=got.yiaddr.to_bytes(4, "big"), o54=got.options[54])
        await talk.silence()

    await decline(1, b"a", bound=False)
    assert talk.drops == {"not_bound": 1}
    for _ in range(3):
        await decline(1, b"a")
    assert talk.drops["line_declined"] == 1  # two of sixteen
    await decline(2, b"b")
    await decline(2, b"b")
    assert service.parts()[0].state == "degraded"
    assert "pool access: clients say of 4 addresses" in service.parts()[0].detail
    await decline(3, b"c")
    assert talk.drops["pool_declined"] == 1
    got = [await talk.boot(client, circuit=b"%d" % client) for client in range(4, 22)]  # there are 20: 1 and 3 have one each, 4 are set aside
    assert service.leasing.given["declined_again"] == 4
    assert [each.yiaddr for each in got[-4:]] == [number(f"10.1.0.{last}") for last in (10, 11, 13, 14)]  # the one that was declined first is the first
    talk.send(dhcp.DISCOVER, 30, circuit=b"z")
    await talk.silence()
    assert talk.drops["exhausted"] == 1
    assert "pool access is exhausted" in service.parts()[0].detail
    await talk.end()


async def test_a_line_keeps_the_place_of_what_it_declined(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.90"))
    talk = Talk(await responder(DhcpConfig(enabled=True, line_clients=2)))
    got = await talk.boot(1, circuit=b"a")
    talk.send(dhcp.DECLINE, 1, circuit=b"a", o50=got.yiaddr.to_bytes(4, "big"), o54=got.options[54])
    await talk.silence()
    assert (await talk.boot(1, circuit=b"a")).yiaddr != got.yiaddr  # one client there may always be
    talk.send(dhcp.DISCOVER, 2, circuit=b"a")
    await talk.silence()
    assert talk.drops == {"line_full": 1}
    await talk.end()


@pytest.mark.parametrize(
    ("fixed", "drops"), [("10.1.0.20", {"address_taken": 1}), ("10.1.0.1", {}), ("10.9.9.9", {}), ("10.1.0.255", {}), ("10.1.0.30", {}), ("10.1.0.200", {})]
)
async def test_a_fixed_address_of_a_device_is_as_good_as_a_reservation(net: Net, responder, fixed: str, drops: dict[str, int]):
    subnet = await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), serves="expected", profiles=[], router="10.1.0.1")
    await net.connection.execute("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'home', 1000, 1000)")
    await net.connection.execute("insert into subscribers (tenant_id, username, username_key, plan_id, ipv4) values (1, 'a', 'a', 1, '10.1.0.20')")
    await net.reserve(subnet, "mac", "02:00:00:00:00:09", "10.1.0.30")
    talk = Talk(await responder(ALWAYS, Remembered({"02:00:00:00:00:01": BootAnswer(profile="plain", address=IPv4Address(fixed))})))
    if drops:
        talk.send(dhcp.DISCOVER, 1)
        await talk.silence()
    else:  # where it may not have its own, one of the pool
        assert (await talk.boot(1)).yiaddr == number("10.1.0.200" if fixed == "10.1.0.200" else "10.1.0.10")
    assert talk.drops == drops
    await talk.end()


async def test_who_asks_again_waits_for_the_same_probe(net: Net, responder):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"))
    service = await responder(DhcpConfig(enabled=True, relay_new_per_second=0.0, probe_milliseconds=100))
    probed: list[list[int]] = []
    may = asyncio.Event()

    async def probe(addresses):
        probed.append(list(addresses))
        await may.wait()
        return {number("10.1.0.10")} & set(addresses)

    service.leasing.probe = probe
    talk = Talk(service)
    talk.send(dhcp.DISCOVER, 1)
    await until(lambda: bool(probed))
    talk.send(dhcp.DISCOVER, 1)
    await until(lambda: service.leasing.batches == 2)
    assert talk.answers.empty()
    may.set()
    assert {(await asyncio.wait_for(talk.answers.get(), 60))[1].yiaddr for _ in range(2)} == {number("10.1.0.11")}
    assert (await talk.ask(dhcp.DISCOVER, 1)).yiaddr == number("10.1.0.11")  # which was probed
    assert probed == [[number("10.1.0.10")], [number("10.1.0.11")]]
    await talk.end()


async def test_who_a_client_is_and_what_it_wishes(talk: Talk, net: Net):
    talk.service.server4.packet(dhcp.encode(Message(1, 1, b"", {53: b"\1"}, giaddr=RELAY)), Arrival(RELAY, 67, SERVER, ""))
    assert talk.drops == {"no_client": 1}  # neither an address nor an identifier
    assert (await talk.ask(dhcp.DISCOVER, 1, o50=b"\x0a\1\0\x21")).yiaddr == number("10.1.0.33")  # RFC 2131 4.3.1
    assert (await talk.ask(dhcp.DISCOVER, 2, o50=b"\x0a\1\0\x21")).yiaddr == number("10.1.0.10")
    long = [(await talk.boot(3, o61=b"A" * 128 + end)).yiaddr for end in (b"1", b"2")]
    assert long[0] != long[1]
    kept = len(talk.service.server4._relayed)
    for client in range(4, 9):
        got = await talk.boot(client, circuit=b"eth 1/1")
        talk.send(dhcp.RELEASE, client, circuit=b"eth 1/1", ciaddr=got.yiaddr)
        await talk.silence()
    assert len(talk.service.server4._relayed) == kept


async def test_an_address_of_another_link_is_refused(talk: Talk, net: Net):
    await net.subnet("10.2.0.0/24", await net.pool("other", "10.2.0.10", "10.2.0.40"))
    await talk.service.load()
    got = await talk.boot(1)
    refused = await talk.ask(dhcp.REQUEST, 1, giaddr=number("10.2.0.1"), o50=got.yiaddr.to_bytes(4, "big"))
    assert refused.type == dhcp.NAK
    talk.send(dhcp.REQUEST, 1, giaddr=number("10.2.0.1"), o50=b"\x0a\3\0\1")  # netd knows nothing of where that is
    await talk.silence()
    assert talk.drops == {"not_its_address": 1}


async def test_who_cannot_be_told_what_it_needs_takes_no_address_and_fills_no_log(net: Net, responder, caplog: pytest.LogCaptureFixture):
    await net.subnet("10.1.0.0/24", await net.pool("access", "10.1.0.10", "10.1.0.40"), profiles=["tr069_cpe"])
    talk = Talk(await responder(ALWAYS))
    for client in range(20):
        talk.send(dhcp.DISCOVER, client, o60=b"dslforum.org")
    await talk.silence()
    assert (talk.drops, await net.leases()) == ({"incomplete": 20}, [])
    assert sum("cannot be told" in record.message for record in caplog.records) == 1
    await talk.end()


async def test_a_pool_that_reaches_beyond_its_subnet_gives_what_is_within(net: Net, responder):
    pool = await net.pool("access", "10.0.9.0", "10.0.9.255")
    await net.connection.execute(
        "insert into pool_ranges (tenant_id, pool_id, scope, first_address, last_address) select 1, id, scope, '10.1.0.0', '10.1.0.40' from pools"
    )
    await net.connection.execute("insert into pool_spans (tenant_id, pool_id, first_address, last_address) values (1, $1, '10.1.0.0', '10.1.0.40')", pool)
    await net.subnet("10.1.0.0/24", pool, router="10.1.0.2")
    talk = Talk(await responder(ALWAYS))
    assert [(await talk.boot(client)).yiaddr for client in (1, 2)] == [number("10.1.0.1"), number("10.1.0.3")]
    await talk.end()


async def test_the_log_and_health_say_that_anybody_may_relay(responder, caplog: pytest.LogCaptureFixture):
    for relays, said in (((), True), (("10.99.0.0/24",), False)):
        caplog.clear()
        service = await responder(DhcpConfig(enabled=True, relays=relays))
        async with asyncio.TaskGroup() as group:
            service.start(group, None)
            await service.stop()
        assert any("anybody may relay" in record.message for record in caplog.records) == said
        assert (service.parts()[0].state, "dhcp.relays is empty" in service.parts()[0].detail) == ("ok", said)
