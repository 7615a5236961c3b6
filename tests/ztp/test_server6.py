"""DHCPv6 on a real database, message by message."""

import asyncio
from ipaddress import IPv6Address, IPv6Network

import pytest

from netd.config import DhcpConfig
from netd.errors import StoreUnavailable
from netd.model.ztp import BootAnswer
from netd.wire import dhcpv6
from netd.wire.dhcpv6 import Association, Message, Relay
from netd.ztp import leasing
from netd.ztp.binding import Remembered
from netd.ztp.server6 import Peer6
from netd.ztp.service import DhcpService
from tests.ztp.conftest import Net, until

LINK = int(IPv6Address("2001:db8:1::1"))
PEER = Peer6("2001:db8:99::2", 547, 0, "")
SUBNET = IPv6Network("2001:db8:1::/64")
CONFIG = DhcpConfig(enabled=True, relay_new_per_second=0.0)


class Talk:
    """A relay before some clients, and what it was answered."""

    def __init__(self, service: DhcpService) -> None:
        self.service = service
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        service.server6.send = lambda data, peer: self.answers.put_nowait(dhcpv6.parse(data))
        self._task = asyncio.create_task(service.leasing6.run())

    async def end(self) -> None:
        self.service.leasing6.finish()
        await self._task

    def send(
        self,
        kind: int,
        client: int,
        *options: dhcpv6.Option,
        server: bool = False,
        link: int = LINK,
        line: bool = True,
        through: tuple[Relay, ...] = (),
        waited: float = 0.0,
    ) -> None:
        made = [(1, b"\0\3\0\1\2\0" + client.to_bytes(4, "big")), *options]
        if server:
            made.append((2, self.service.server6.duid))
        relays: tuple[Relay, ...] = (Relay(1, 0, 9, ()), Relay(0, link, 7, ((18, b"eth0"), *(((37, b"\0\0\0\x09id"),) if line else ())))) if link else ()
        relays = through or relays
        self.service.server6.packet(dhcpv6.encode(Message(kind, client, tuple(made), relays), dhcpv6.RELAY_FORWARD), PEER._replace(waited=waited))

    async def ask(self, kind: int, client: int, *options: dhcpv6.Option, server: bool = False, **more: object) -> Message:
        self.send(kind, client, *options, server=server, **more)  # type: ignore[arg-type]
        return await asyncio.wait_for(self.answers.get(), 60)

    async def silence(self) -> None:
        await until(lambda: not self.service.leasing6.in_work)
        assert self.answers.empty()

    @property
    def drops(self) -> dict[object, int]:
        return {key: count for key, count in self.service.server6.drops.items()}


def holds(text: str) -> dhcpv6.Option:
    """An address that a client says to have."""
    return dhcpv6.leased_option(dhcpv6.Leased(int(IPv6Address(text)), 128, 0, 0), False)


def remote(name: bytes) -> tuple[int, bytes]:
    return dhcpv6.REMOTE_ID, b"\0\0\0\x09" + name


def relay(link: str, peer: str, *options: dhcpv6.Option) -> Relay:
    return Relay(0, int(IPv6Address(link)), int(IPv6Address(peer)), options)


def na(iaid: int = 1, *options: dhcpv6.Option) -> dhcpv6.Option:
    return dhcpv6.IA_NA, dhcpv6.association_octets(Association(iaid, 0, 0, options))


def pd(iaid: int = 1, *options: dhcpv6.Option) -> dhcpv6.Option:
    return dhcpv6.IA_PD, dhcpv6.association_octets(Association(iaid, 0, 0, options))


def address(answer: Message) -> IPv6Address:
    ia = dhcpv6.association(answer.get(dhcpv6.IA_NA) or b"")
    return IPv6Address(dhcpv6.leased_address(dhcpv6.first(ia.options, dhcpv6.IA_ADDRESS) or b"").address)


def prefix(answer: Message) -> IPv6Network:
    ia = dhcpv6.association(answer.get(dhcpv6.IA_PD) or b"")
    found = dhcpv6.leased_prefix(dhcpv6.first(ia.options, dhcpv6.IA_PREFIX) or b"")
    return IPv6Network((found.address, found.length))


def status(answer: Message, code: int) -> int:
    ia = dhcpv6.association(answer.get(code) or b"")
    return dhcpv6.status_of(dhcpv6.first(ia.options, dhcpv6.STATUS_CODE) or b"")[0]


@pytest.fixture
async def talk(net: Net, responder):
    pool = await net.pool("homes", "2001:db8:4000::", "2001:db8:4000:3ff:ffff:ffff:ffff:ffff", "delegated", 56)
    await net.subnet("2001:db8:1::/64", pool, dns_servers=["2001:db8:99::53"], domain="access.example")
    made = Talk(await responder(CONFIG))
    yield made
    await made.end()


async def test_address_and_prefix_through_two_relays(talk: Talk, net: Net):
    offered = await talk.ask(dhcpv6.SOLICIT, 1, na(), pd(), (6, b"\0\x17\0\x18"))
    assert (offered.type, [relay.link for relay in offered.relays]) == (dhcpv6.ADVERTISE, [0, LINK])
    assert offered.relays[1].options == ((18, b"eth0"),)
    assert offered.get(dhcpv6.DNS_SERVERS) == IPv6Address("2001:db8:99::53").packed
    assert offered.get(dhcpv6.DOMAIN_LIST) == b"\6access\7example\0"
    assert address(offered) in SUBNET
    got = await talk.ask(dhcpv6.REQUEST, 1, na(), pd(), server=True)
    assert (got.type, address(got), prefix(got)) == (dhcpv6.REPLY, address(offered), IPv6Network("2001:db8:4000::/56"))
    again = await talk.ask(dhcpv6.RENEW, 1, na(), pd(), server=True)
    assert (address(again), prefix(again)) == (address(got), prefix(got))
    other = await talk.ask(dhcpv6.SOLICIT, 2, na(), pd(), (dhcpv6.RAPID_COMMIT, b""))
    assert (other.type, prefix(other), other.get(dhcpv6.RAPID_COMMIT)) == (dhcpv6.REPLY, IPv6Network("2001:db8:4000:100::/56"), b"")
    assert address(other) != address(got)
    assert await net.connection.fetchval("select count(*) from dhcp_addresses where until_at > now()") == 2


async def test_release_and_decline(talk: Talk, net: Net):
    got = await talk.ask(dhcpv6.REQUEST, 1, na(), pd(), server=True)
    assert (await talk.ask(dhcpv6.RELEASE, 1, na(), pd(), server=True)).get(dhcpv6.STATUS_CODE) == b"\0\0"
    assert await net.connection.fetchval("select count(*) from dhcp_addresses") == 0
    assert await net.connection.fetchval("select dhcp_state from leases") == "released"
    again = await talk.ask(dhcpv6.REQUEST, 1, na(), pd(), server=True)
    assert (address(again), prefix(again)) == (address(got), prefix(got))
    await talk.ask(dhcpv6.DECLINE, 1, na(), server=True)
    assert address(await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)) != address(got)


async def test_a_release_that_was_read_late_ends_nothing_that_another_node_gave_since(talk: Talk, net: Net):
    await talk.ask(dhcpv6.REQUEST, 1, na(), pd(), server=True)
    late = await talk.ask(dhcpv6.RELEASE, 1, na(), pd(), server=True, waited=60.0)
    assert (status(late, dhcpv6.IA_NA), status(late, dhcpv6.IA_PD)) == (dhcpv6.NO_BINDING, dhcpv6.NO_BINDING)
    assert await net.connection.fetchval("select count(*) from dhcp_addresses") == 1
    assert await net.connection.fetchval("select dhcp_state from leases") == "bound"


async def test_who_is_unknown_has_no_binding(talk: Talk):
    answer = await talk.ask(dhcpv6.RENEW, 5, na(), pd(), server=True)
    assert (status(answer, dhcpv6.IA_NA), status(answer, dhcpv6.IA_PD)) == (dhcpv6.NO_BINDING, dhcpv6.NO_BINDING)


async def test_confirm_tells_whether_the_link_is_right(talk: Talk):
    for text, code in (("2001:db8:1::7", dhcpv6.SUCCESS), ("2001:db8:2::7", dhcpv6.NOT_ON_LINK)):
        held = dhcpv6.leased_option(dhcpv6.Leased(int(IPv6Address(text)), 128, 0, 0), False)
        answer = await talk.ask(dhcpv6.CONFIRM, 1, na(1, held))
        assert dhcpv6.status_of(answer.get(dhcpv6.STATUS_CODE) or b"")[0] == code


async def test_a_pool_that_is_empty_is_told(net: Net, responder):
    pool = await net.pool("homes", "2001:db8:4000::", "2001:db8:4000:ff:ffff:ffff:ffff:ffff", "delegated", 56)
    await net.subnet("2001:db8:1::/64", pool)
    talk = Talk(await responder(CONFIG))
    assert prefix(await talk.ask(dhcpv6.REQUEST, 1, pd(), server=True)).prefixlen == 56
    assert status(await talk.ask(dhcpv6.REQUEST, 2, pd(), server=True), dhcpv6.IA_PD) == dhcpv6.NO_PREFIXES
    assert status(await talk.ask(dhcpv6.SOLICIT, 2, pd()), dhcpv6.IA_PD) == dhcpv6.NO_PREFIXES
    assert (talk.service.parts()[0].state, "pool homes is exhausted" in talk.service.parts()[0].detail) == ("degraded", True)
    await talk.end()


async def test_the_acs_and_the_boot_file_by_dhcpv6(net: Net, responder):
    await net.subnet("2001:db8:1::/64", None, serves="expected", profiles=[], variables={"acs_url": "https://acs.example.net/"})
    expected = {
        "02:00:00:00:00:01": BootAnswer(profile="tr069_cpe"), "NS12345678": BootAnswer(profile="nokia_sros"),
        "02:00:00:00:00:03": BootAnswer(profile="sztp", variables={"sztp_urls": "https://a.example https://b.example"}),
    }  # fmt: skip
    binding = Remembered(expected, lambda seen, address: f"http://[2001:db8:99::1]/{seen.serial}")
    talk = Talk(await responder(CONFIG, binding))
    cpe = await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)
    assert dhcpv6.vendor_options(cpe.get(dhcpv6.VENDOR_OPTIONS) or b"") == (3561, [(1, b"https://acs.example.net/")])
    edge = await talk.ask(dhcpv6.REQUEST, 3, na(), server=True)
    assert dhcpv6.texts(edge.get(dhcpv6.SZTP_REDIRECT) or b"") == [b"https://a.example", b"https://b.example"]
    talk.send(dhcpv6.SOLICIT, 4, na())
    await talk.silence()
    assert talk.drops == {"unexpected": 1}
    chassis = b"\0\2\0\0\x19\x7fNS12345678"
    relays = (Relay(0, LINK, 7, ((79, b"\0\1\2\0\0\0\0\x09"),)),)
    options = ((1, chassis), (2, talk.service.server6.duid), (15, dhcpv6.join_texts([b"7750;TiMOS-23;ztp"])), na())
    talk.service.server6.packet(dhcpv6.encode(Message(dhcpv6.REQUEST, 5, options, relays), dhcpv6.RELAY_FORWARD), PEER)
    router = await asyncio.wait_for(talk.answers.get(), 60)
    assert router.get(dhcpv6.BOOT_FILE_URL) == b"http://[2001:db8:99::1]/NS12345678"
    assert binding.grants[-1].seen.mac == "02:00:00:00:00:09"
    assert binding.grants[-1].seen.model == "7750"
    await talk.end()


async def test_what_is_not_answered_is_counted(talk: Talk):
    talk.send(dhcpv6.SOLICIT, 1, na(), link=int(IPv6Address("2001:db8:77::1")))
    talk.send(dhcpv6.SOLICIT, 1, na(), link=0)
    talk.send(dhcpv6.SOLICIT, 1, na(), server=True)
    talk.send(dhcpv6.REQUEST, 1, na())
    talk.send(dhcpv6.REQUEST, 1, na(), (2, b"\0\4another server's"))
    talk.send(dhcpv6.REPLY, 1, na())
    talk.service.server6.packet(b"\1", PEER)
    await talk.silence()
    assert talk.drops == {"no_subnet": 1, "not_relayed": 1, "bad_ids": 2, "other_server": 1, "not_a_request": 1, "short": 1}


async def test_only_named_relays_are_listened_to(net: Net, responder):
    await net.subnet("2001:db8:1::/64", None)
    talk = Talk(await responder(DhcpConfig(enabled=True, relays=("10.99.0.0/24", "2001:db8:98::/64"))))
    talk.send(dhcpv6.SOLICIT, 1, na())
    await talk.silence()
    assert talk.drops == {"strange_relay": 1}
    await talk.end()


async def test_a_reserved_address(talk: Talk, net: Net):
    await net.reserve(await net.connection.fetchval("select id from dhcp_subnets"), "mac", "02:00:00:00:00:07", "2001:db8:1::7")
    await talk.service.load()
    assert address(await talk.ask(dhcpv6.REQUEST, 7, na(), server=True)) == IPv6Address("2001:db8:1::7")
    told = await talk.ask(dhcpv6.INFORMATION_REQUEST, 8, (6, b"\0\x17"))
    assert (told.type, told.get(dhcpv6.IA_NA), told.get(dhcpv6.DNS_SERVERS)) == (dhcpv6.REPLY, None, IPv6Address("2001:db8:99::53").packed)


@pytest.mark.parametrize(("line", "most"), [(True, 32), (False, 5)])
async def test_who_invents_clients_fills_no_table(net: Net, responder, line: bool, most: int):
    await net.subnet("2001:db8:1::/64", None)
    talk = Talk(await responder(DhcpConfig(enabled=True, relay_new_per_second=5.0)))
    talk.service.leasing6._monotonic = talk.service.server6._clock = lambda: 1000.0  # all of it within a moment
    first = address(await talk.ask(dhcpv6.REQUEST, 1, na(), server=True, line=line))
    for client in range(200):
        talk.send(dhcpv6.REQUEST, 1000 + client, na(), server=True, line=line)
    await until(lambda: not talk.service.leasing6.in_work)
    assert await net.connection.fetchval("select count(*) from dhcp_addresses") == most
    while not talk.answers.empty():
        talk.answers.get_nowait()
    assert address(await talk.ask(dhcpv6.RENEW, 1, na(), server=True, line=line)) == first  # who has an address keeps it
    await talk.end()


async def test_what_ended_long_ago_is_swept(talk: Talk, net: Net):
    await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)
    await talk.ask(dhcpv6.REQUEST, 2, na(), server=True)
    await net.connection.execute("update dhcp_addresses set until_at = now() - interval '8 days' where mac like '%:01'")
    await talk.service.sweep()
    assert await net.connection.fetchval("select array_agg(mac) from dhcp_addresses") == ["02:00:00:00:00:02"]


async def test_one_client_many_times_at_once_has_one_address(talk: Talk, net: Net):
    for _ in range(20):
        talk.send(dhcpv6.REQUEST, 1, na(), pd(), server=True)
    answers = [await asyncio.wait_for(talk.answers.get(), 60) for _ in range(20)]
    assert len({(address(answer), prefix(answer)) for answer in answers}) == 1


# -- who may say what ----------------------------------------------------------------------------------------------------


class ByLine(Remembered):
    """Expects whoever is on this line."""

    def resolve(self, seen):
        return BootAnswer(profile="plain") if b"victim" in (seen.circuit_id, seen.remote_id) else None


FORGED = relay("2001:db8:1::1", "fe80::1", (18, b"victim"), remote(b"victim"))


@pytest.mark.parametrize(
    ("through", "light", "drops"),
    [
        ((relay("2001:db8:2::1", "fe80::bad", (18, b"port 7"), remote(b"own")), FORGED), False, {"strange_link": 1}),
        ((relay("2001:db8:1::1", "fe80::bad", (18, b"port 7"), remote(b"own")), FORGED), False, {"unexpected": 1}),
        ((relay("::", "2001:db8:1::bad"), FORGED), False, {"no_subnet": 1}),  # who sent that is no relay
        ((relay("::", "2001:db8:99::3"), FORGED), False, {}),  # who sent that is one
        ((relay("2001:db8:98::1", "2001:db8:99::3"), FORGED), False, {}),
        ((relay("2001:db8:1::1", "fe80::1", (18, b"vlan 7")), relay("::", "fe80::7", (18, b"victim"))), False, {"unexpected": 1}),
        ((relay("2001:db8:1::1", "fe80::1", (18, b"vlan 7")), relay("::", "fe80::7", (18, b"victim"))), True, {}),  # RFC 6221
        ((relay("2001:db8:1::1", "fe80::1"), relay("::", "fe80::7", (18, b"port 7")), FORGED), True, {"unexpected": 1}),
    ],
)
async def test_a_client_that_plays_relay_chooses_neither_its_link_nor_its_line(net: Net, responder, through: tuple[Relay, ...], light: bool, drops):
    for number in (1, 2):
        await net.subnet(f"2001:db8:{number}::/64", None, serves="expected", profiles=[])
    config = DhcpConfig(enabled=True, relays=("2001:db8:99::/64",), lightweight_relays=("2001:db8:1::/64",) if light else ())
    talk = Talk(await responder(config, ByLine({})))
    if drops:
        talk.send(dhcpv6.SOLICIT, 1, na(), through=through)
        await talk.silence()
    else:
        assert address(await talk.ask(dhcpv6.SOLICIT, 1, na(), through=through)) in SUBNET
    assert talk.drops == drops
    await talk.end()


async def test_what_is_said_on_another_line_is_of_another_client(talk: Talk, net: Net):
    got = await talk.ask(dhcpv6.REQUEST, 1, na(), pd(), server=True)
    mine, other = holds(str(address(got))), (relay("2001:db8:1::1", "fe80::7", remote(b"other")),)
    for kind in (dhcpv6.RELEASE, dhcpv6.DECLINE, dhcpv6.RENEW, dhcpv6.REQUEST):
        talk.send(kind, 1, na(1, mine), server=True, through=other)
    held = dhcpv6.leased_option(dhcpv6.Leased(int(prefix(got).network_address), 56, 0, 0), True)
    talk.send(dhcpv6.RELEASE, 1, pd(1, held), server=True, through=other)
    await talk.silence()
    assert talk.drops == {"other_line": 5}
    moved = await talk.ask(dhcpv6.REQUEST, 1, na(), pd(), server=True, through=other)
    assert (address(moved) != address(got), prefix(moved) != prefix(got)) == (True, True)
    again = await talk.ask(dhcpv6.RENEW, 1, na(1, mine), pd(), server=True)
    assert (address(again), prefix(again)) == (address(got), prefix(got))


async def test_what_a_client_gave_back_counts_no_longer_on_its_line(net: Net, responder):
    await net.subnet("2001:db8:1::/64", None)
    service = await responder(DhcpConfig(enabled=True, line_clients=2, offer_seconds=30))
    now = [1000.0]
    service.server6._clock = lambda: now[0]
    talk = Talk(service)
    for client in (1, 2, 3):
        assert (await talk.ask(dhcpv6.REQUEST, client, na(), server=True)).type == dhcpv6.REPLY
        await talk.ask(dhcpv6.RELEASE, client, na(), server=True)
    for client in (4, 5):
        await talk.ask(dhcpv6.SOLICIT, client, na())
    talk.send(dhcpv6.SOLICIT, 6, na())
    await talk.silence()
    assert talk.drops == {"line_full": 1}
    now[0] += 31  # who was advertised something and did not take it
    await talk.ask(dhcpv6.REQUEST, 6, na(), server=True)
    talk.send(dhcpv6.REQUEST, 6, na(2), na(3), server=True)  # a client is not many by many names
    await talk.silence()
    assert talk.drops == {"line_full": 2}
    await talk.end()


async def test_declines_of_a_line_are_bounded(net: Net, responder):
    await net.subnet("2001:db8:1::/64", None)
    talk = Talk(await responder(DhcpConfig(enabled=True, line_clients=8)))
    found = []
    for _ in range(3):
        found.append(address(await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)))
        await talk.ask(dhcpv6.DECLINE, 1, na(), server=True)
    assert found[0] != found[1] == found[2]
    await talk.end()


async def test_addresses_of_other_links_and_bindings_that_there_are_not(talk: Talk, net: Net):
    strange = holds("2001:db8:77::5")
    answer = await talk.ask(dhcpv6.REQUEST, 1, na(1, strange), pd(2), server=True)
    assert status(answer, dhcpv6.IA_NA) == dhcpv6.NOT_ON_LINK
    assert prefix(answer).prefixlen == 56
    own = address(await talk.ask(dhcpv6.REQUEST, 1, na(1), server=True))
    ia = dhcpv6.association((await talk.ask(dhcpv6.RENEW, 1, na(1, strange, holds(str(own))), server=True)).get(dhcpv6.IA_NA) or b"")
    told = [dhcpv6.leased_address(value) for _, value in ia.options]
    assert [(str(IPv6Address(each.address)), each.valid) for each in told] == [(str(own), 600), ("2001:db8:77::5", 0)]
    answer = await talk.ask(dhcpv6.RELEASE, 1, na(1), na(7), server=True)
    assert dhcpv6.status_of(answer.get(dhcpv6.STATUS_CODE) or b"")[0] == dhcpv6.SUCCESS
    lost = dhcpv6.association(answer.get(dhcpv6.IA_NA) or b"")
    assert (lost.iaid, status(answer, dhcpv6.IA_NA)) == (7, dhcpv6.NO_BINDING)
    answer = await talk.ask(dhcpv6.RENEW, 1, na(1), server=True, link=0)
    assert (dhcpv6.status_of(answer.get(dhcpv6.STATUS_CODE) or b"")[0], answer.get(dhcpv6.IA_NA)) == (dhcpv6.USE_MULTICAST, None)


@pytest.mark.parametrize(("fixed", "given"), [("2001:db8:1::7", True), ("2001:db8:1::1", False), ("2001:db8:77::7", False), ("2001:db8:1::9", False)])
async def test_a_fixed_address_of_a_device_is_as_good_as_a_reservation(net: Net, responder, fixed: str, given: bool):
    subnet = await net.subnet("2001:db8:1::/64", None, serves="expected", profiles=[], router="2001:db8:1::1")
    await net.reserve(subnet, "mac", "02:00:00:00:00:09", "2001:db8:1::9")
    talk = Talk(await responder(CONFIG, Remembered({"02:00:00:00:00:01": BootAnswer(profile="plain", address=IPv6Address(fixed))})))
    assert (address(await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)) == IPv6Address(fixed)) == given
    await talk.end()


async def test_a_device_that_boots_is_answered_where_no_file_is_told(net: Net, responder):
    """Confirm, Release and the news that it has no binding: for these nothing is missing that it must be told."""
    await net.subnet("2001:db8:1::/64", None, serves="expected", profiles=[])
    binding = Remembered({"02:00:00:00:00:01": BootAnswer(profile="generic_boot")}, lambda seen, address: f"http://[2001:db8:99::1]/{address}")
    talk = Talk(await responder(CONFIG, binding))
    got = await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)
    assert got.get(dhcpv6.BOOT_FILE_URL) == f"http://[2001:db8:99::1]/{address(got)}".encode()
    right = await talk.ask(dhcpv6.CONFIRM, 1, na(1, holds(str(address(got)))))
    assert (right.get(dhcpv6.STATUS_CODE), right.get(dhcpv6.BOOT_FILE_URL)) == (b"\0\0", None)
    assert (await talk.ask(dhcpv6.RELEASE, 1, na(), server=True)).get(dhcpv6.STATUS_CODE) == b"\0\0"
    assert status(await talk.ask(dhcpv6.RENEW, 1, na(), server=True), dhcpv6.IA_NA) == dhcpv6.NO_BINDING
    assert talk.drops == {}
    await talk.end()


async def test_one_association_of_a_client_gets_what_is_reserved(talk: Talk, net: Net, caplog: pytest.LogCaptureFixture):
    await net.reserve(await net.connection.fetchval("select id from dhcp_subnets"), "mac", "02:00:00:00:00:07", "2001:db8:1::7")
    await talk.service.load()

    async def both(kind: int) -> list[str]:
        answer = await talk.ask(kind, 7, na(1), na(2), server=True)
        associations = [dhcpv6.association(value) for code, value in answer.options if code == dhcpv6.IA_NA]
        return [str(IPv6Address(dhcpv6.leased_address(dhcpv6.first(ia.options, dhcpv6.IA_ADDRESS) or b"").address)) for ia in associations]

    first, second = await both(dhcpv6.REQUEST)
    assert first == "2001:db8:1::7" != second
    assert await both(dhcpv6.RENEW) == [first, second]
    assert await talk.ask(dhcpv6.RELEASE, 7, na(1), server=True)
    alone = await talk.ask(dhcpv6.RENEW, 7, na(2, holds(second)), server=True)
    assert address(alone) == IPv6Address(first)  # the one that is left gets it
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_reservation_made_later_moves_who_had_the_address(talk: Talk, net: Net):
    had = address(await talk.ask(dhcpv6.REQUEST, 1, na(), server=True))
    await net.reserve(await net.connection.fetchval("select id from dhcp_subnets"), "mac", "02:00:00:00:00:02", str(had))
    await talk.service.load()
    assert status(await talk.ask(dhcpv6.SOLICIT, 2, na()), dhcpv6.IA_NA) == dhcpv6.NO_ADDRESSES
    assert status(await talk.ask(dhcpv6.REQUEST, 2, na(), server=True), dhcpv6.IA_NA) == dhcpv6.NO_ADDRESSES
    assert await net.connection.fetchval("select array_agg(host(address)) from dhcp_addresses") == [str(had)]
    moved = dhcpv6.association((await talk.ask(dhcpv6.RENEW, 1, na(1, holds(str(had))), server=True)).get(dhcpv6.IA_NA) or b"")
    new, old = (dhcpv6.leased_address(value) for _, value in moved.options)
    assert (new.address != int(had), new.valid, old.address, old.valid) == (True, 600, int(had), 0)
    assert address(await talk.ask(dhcpv6.REQUEST, 2, na(), server=True)) == had


async def test_a_prefix_that_is_the_pools_no_longer_ends_with_its_renewal(talk: Talk, net: Net):
    had = prefix(await talk.ask(dhcpv6.REQUEST, 1, pd(), server=True))
    for table in ("pool_ranges", "pool_spans"):
        await net.connection.execute(f"update {table} set first_address = '2001:db8:4000:200::'")
    await talk.service.load()
    named = dhcpv6.leased_option(dhcpv6.Leased(int(had.network_address), 56, 0, 0), True)
    ia = dhcpv6.association((await talk.ask(dhcpv6.RENEW, 1, pd(1, named), server=True)).get(dhcpv6.IA_PD) or b"")
    new, old = (dhcpv6.leased_prefix(value) for _, value in ia.options)
    assert str(IPv6Network((new.address, new.length))) == "2001:db8:4000:200::/56" and new.valid == 600
    assert (IPv6Network((old.address, old.length)), old.preferred, old.valid) == (had, 0, 0)


async def test_it_is_renewed_while_it_is_preferred(talk: Talk):
    """RFC 8415 21.4: T1 and T2 are half and four fifths of the preferred lifetime."""
    ia = dhcpv6.association((await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)).get(dhcpv6.IA_NA) or b"")
    told = dhcpv6.leased_address(ia.options[0][1])
    assert (told.preferred, told.valid, ia.t1, ia.t2) == (375, 600, 187, 300)


async def test_while_the_database_refuses_a_batch_is_tried_twice_and_no_more(talk: Talk, monkeypatch: pytest.MonkeyPatch):
    """A database that hangs takes its time for each statement: a hundred clients must not wait for it one by one."""
    begun = 0

    def refused() -> object:
        nonlocal begun
        begun += 1
        raise StoreUnavailable("it hangs")

    monkeypatch.setattr(talk.service.leasing6.database, "transaction", refused)
    for client in range(100):
        talk.send(dhcpv6.REQUEST, client, na(), server=True, line=False)
    await talk.silence()
    assert talk.drops == {"database_away": 100} and begun <= 4


async def test_what_waited_too_long_is_not_answered(talk: Talk, monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    talk.service.leasing6._monotonic = lambda: now[0]
    talk.send(dhcpv6.REQUEST, 1, na(), server=True)
    now[0] += leasing.STALE_SECONDS + 1
    await talk.silence()
    assert talk.drops == {"stale": 1}
    assert (await talk.ask(dhcpv6.REQUEST, 1, na(), server=True)).type == dhcpv6.REPLY
