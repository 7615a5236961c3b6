"""Looking for devices: which addresses, what is the same device, and candidates that are accepted."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from netd.domain import credentials, devices, discovery
from netd.domain.devices import Catalogue
from netd.domain.discovery import Acceptance, CandidatePatch, DiscoveryOrder, addresses, merged, parsed, same, spans
from netd.domain.recognition import Recogniser
from netd.errors import Conflict, InvalidInput, NotFound
from netd.extensions import DevicePlatform
from netd.model.inventory import Candidate, Finding
from netd.sdk.device import Match, Platform

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ROUTEROS = DevicePlatform(
    platform=Platform(name="mikrotik_routeros", title="RouterOS", kind="router", driver="", data="", match=Match(sys_object_id=("1.3.6.1.4.1.14988.1",))),
    vendor="mikrotik", driver=object(),
)  # fmt: skip
CATALOGUE = Catalogue(frozenset({"mikrotik", "generic"}), {"mikrotik_routeros": ROUTEROS})
RECOGNISER = Recogniser(CATALOGUE.platforms)
KEY = "ssh-ed25519 " + "A" * 68


def finding(address: str, **members: object) -> Finding:
    return Finding(address=ip_address(address), at=NOW, answers=("ping",), **members)  # type: ignore[arg-type]


def test_addresses():
    wanted = [ip_network(each) for each in ("10.0.0.8/30", "10.0.0.0/29", "10.0.0.4/30", "2001:db8::/126")]
    excluded = [ip_network(each) for each in ("10.0.0.2/31", "10.0.0.9", "10.0.0.4/30", "10.0.0.6", "192.0.2.0/24")]
    texts = [str(each) for each in addresses(wanted, excluded)]
    assert texts == ["10.0.0.0", "10.0.0.1", "10.0.0.8", "10.0.0.10", "10.0.0.11", "2001:db8::", "2001:db8::1", "2001:db8::2", "2001:db8::3"]
    assert list(addresses(wanted[:3], [ip_network("10.0.0.0/8")])) == []
    assert sum(last - first + 1 for _, first, last in spans([ip_network("10.0.0.0/16")], [ip_network(f"10.0.{n}.0/30") for n in range(256)])) == 64512


@pytest.mark.parametrize(
    ("ranges", "wrong"),
    [
        (["10.0.0.0/16"], None), (["10.0.0.1-10.0.0.9", "192.0.2.7"], None), (["2001:db8::/112"], None), (["10.0.0.0/15"], "at a time 65536"),
        (["2001:db8::/64"], "at a time 65536"), (["127.0.0.0/30"], "loopback"), (["224.0.0.1"], "multicast"), (["fe80::1"], "link-local"),
        (["169.254.0.0/24"], "link-local"), (["10.0.0.9-10.0.0.1"], "is no range"), (["10.0.0.1/24"], "bits set"), (["10.0.0.1-2001:db8::1"], "is no range"),
        (["nowhere"], "not an IP address"), (["100.64.0.0-224.0.0.1"], "multicast"),
    ],
)  # fmt: skip
def test_what_may_be_looked_at(ranges, wrong):
    if wrong is None:
        assert parsed(DiscoveryOrder(ranges=tuple(ranges)))[0]
        return
    with pytest.raises(InvalidInput, match=wrong):
        parsed(DiscoveryOrder(ranges=tuple(ranges)))


def test_ends_of_networks_are_left_out():
    wanted, _ = parsed(DiscoveryOrder(ranges=("10.0.0.0/30", "10.0.1.0/31", "10.0.2.4")))
    assert [str(each) for each in addresses(wanted, [])] == ["10.0.0.1", "10.0.0.2", "10.0.1.0", "10.0.1.1", "10.0.2.4"]


def test_the_same_device():
    assert same(finding("10.0.0.1", serial="A1"), finding("10.0.0.2", serial="A1"))
    assert not same(finding("10.0.0.1", serial="A1", host_key=KEY), finding("10.0.0.2", serial="B2", host_key=KEY))  # an image that was cloned
    assert same(finding("10.0.0.1", sys_name="r1", host_key=KEY), finding("10.0.0.2", sys_name="r1", host_key=KEY))
    assert not same(finding("10.0.0.1", sys_name="r1", host_key=KEY), finding("10.0.0.2", sys_name="r2", host_key=KEY))
    assert not same(finding("10.0.0.1", sys_name="MikroTik"), finding("10.0.0.2", sys_name="MikroTik"))
    assert not same(finding("10.0.0.1", serial="N/A"), finding("10.0.0.2", serial="n/a"))
    found = [finding("10.0.0.9", serial="A"), finding("10.0.0.10", host_key=KEY), finding("10.0.0.2", serial="A"), finding("10.0.0.2", serial="A")]
    assert [(str(each.address), [*map(str, also)]) for each, also in merged(found)] == [("10.0.0.2", ["10.0.0.9"]), ("10.0.0.10", [])]


@pytest.fixture
def search(database, keyring, actor):
    async def prepared(**members: object) -> discovery.Search:
        order = msgspec.convert({"ranges": ["10.0.0.0/24"], **members}, DiscoveryOrder)
        return await discovery.prepare(database, database, keyring, actor, order)

    return prepared


async def found(database, actor) -> list[Candidate]:
    return list((await discovery.page(database, actor, discovery.CandidateQuery())).items)


async def test_what_is_tried_where(database, keyring, actor, search):
    async with database.acquire() as conn:
        await conn.execute("insert into sites (tenant_id, name) values ($1, 'oslo'), ($1, 'rome')", actor.tenant_id)
    profiles: dict[str, dict[str, object]] = {
        "late": {"position": 200}, "oslo": {"site": "oslo"}, "rome": {"site": "rome"}, "fenced": {"networks": ["10.0.0.128/25"]},
    }  # fmt: skip
    for name, members in profiles.items():
        new = {"name": name, "type": "snmp_community", "community": "s3cr3t", **members}
        await credentials.create(database, actor, keyring, msgspec.convert(new, credentials.NewCredential))
    shell = credentials.NewCredential(name="shell", type="ssh", username="a", password="b")
    await credentials.create(database, actor, keyring, shell)
    at_oslo = await search(site="oslo", rate_per_second=10)
    assert at_oslo.plan == discovery.DiscoveryPlan(addresses=254, seconds_least=25.4, credentials=("oslo", "fenced", "late"), site="oslo")
    assert [each.name for each in at_oslo.tried(ip_address("10.0.0.1"))] == ["oslo", "late"]
    assert [each.name for each in at_oslo.tried(ip_address("10.0.0.200"))] == ["oslo", "fenced", "late"]
    assert (await search(credentials=["LATE", "shell"])).plan.credentials == ("late",)
    assert "s3cr3t" not in repr(at_oslo)
    with pytest.raises(InvalidInput) as caught:
        await search(credentials=["gone"], site="nowhere")
    assert {fault.where for fault in caught.value.faults} == {"/credentials/0", "/site"}


async def test_candidates(world, database, keyring, actor, search):
    known = await devices.create(database, actor, devices.NewDevice(hostname="known", mgmt_address="10.0.0.7", vendor="generic"), CATALOGUE)
    new = {"name": "ro", "type": "snmp_community", "community": "s3cr3t"}
    profile = await credentials.create(database, actor, keyring, msgspec.convert(new, credentials.NewCredential))
    searched = await search()
    core_says = {"sys_object_id": "1.3.6.1.4.1.14988.1", "sys_name": "core1", "serial": "A1", "credential_id": profile.id}
    seen = [
        finding("10.0.0.1", **core_says, sys_descr="RouterOS\x1b[31m", host_key=KEY),
        finding("10.0.0.2", **core_says),
        finding("10.0.0.3", banner="SSH-2.0-dropbear", credential_id=999),
        finding("10.0.0.7"),
    ]  # fmt: skip
    assert await discovery.keep(database, searched, seen, RECOGNISER) == {"new": 2, "accepted": 1, "ignored": 0}
    core, box, old = await found(database, actor)
    assert (core.platform, core.vendor, core.kind, [str(each) for each in core.also_at]) == ("mikrotik_routeros", "mikrotik", "router", ["10.0.0.2"])
    assert (core.sys_descr, core.credential, box.credential_id) == ("RouterOS\N{REPLACEMENT CHARACTER}[31m", "ro", None)
    assert (old.state, old.device) == ("accepted", "known")
    await discovery.update(database, actor, box.id, CandidatePatch(state="ignored"))

    with pytest.raises(InvalidInput, match="/vendor"):
        await discovery.accept(database, actor, box.id, Acceptance(), CATALOGUE, NOW)
    accepted = await discovery.accept(database, actor, core.id, Acceptance(tags=("new",)), CATALOGUE, NOW)
    assert (accepted.state, accepted.device) == ("accepted", "core1")
    made = await devices.get(database, actor, accepted.device_id or 0)
    assert (made.vendor, made.platform, made.driver_platform, made.kind, made.tags) == ("mikrotik", None, "mikrotik_routeros", "router", ("new",))
    assert (made.host_keys, made.now("serial"), made.observed["serial"].source, str(made.mgmt_address)) == ((KEY,), "A1", "discovery", "10.0.0.1")
    assert await world.fetch("select protocol, credential_id from device_credentials") == [{"protocol": "snmp", "credential_id": profile.id}]
    for attempt in (discovery.accept(database, actor, core.id, Acceptance(hostname="x"), CATALOGUE, NOW),
                    discovery.update(database, actor, core.id, CandidatePatch(state="new")),
                    discovery.accept(database, actor, old.id, Acceptance(hostname="x"), CATALOGUE, NOW)):  # fmt: skip
        with pytest.raises(Conflict):
            await attempt

    # Found again: what was decided stays, and a device that is known at another address is seen to be so.
    later = [msgspec.structs.replace(each, at=NOW + timedelta(days=1)) for each in seen]
    assert await discovery.keep(database, searched, [*later, finding("10.0.0.9", host_key=KEY)], RECOGNISER) == {"new": 1, "accepted": 2, "ignored": 1}
    again = (await found(database, actor))[-1]
    assert (again.state, again.device) == ("new", "core1")
    with pytest.raises(Conflict, match="seems to be core1"):
        await discovery.accept(database, actor, again.id, Acceptance(vendor="generic"), CATALOGUE, NOW)
    twin = await discovery.accept(database, actor, again.id, Acceptance(vendor="generic", hostname="twin", again=True), CATALOGUE, NOW)
    assert twin.device == "twin"
    actions = [row.action for row in await world.audited(actor)]
    assert actions.count("candidate.accept") == 2 and actions.count("device.create") == 3

    # A device that is removed may be accepted again.
    await devices.delete(database, actor, known.id)
    await discovery.delete(database, actor, box.id)
    assert await discovery.keep(database, searched, later[2:], RECOGNISER) == {"new": 2, "accepted": 0, "ignored": 0}


async def test_another_tenants(database, actor, stranger, search):
    await discovery.keep(database, await search(), [finding("10.0.0.1")], RECOGNISER)
    (mine,) = await found(database, actor)
    assert await found(database, stranger) == []
    for attempt in (discovery.get(database, stranger, mine.id), discovery.delete(database, stranger, mine.id),
                    discovery.update(database, stranger, mine.id, CandidatePatch(state="ignored")),
                    discovery.accept(database, stranger, mine.id, Acceptance(vendor="generic"), CATALOGUE, NOW)):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
