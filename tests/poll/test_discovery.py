"""Searches: at their pace, by every way, and against an agent and a server that nobody here wrote."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import msgspec
import pytest

from netd.config import Secret
from netd.device.ping import Pinger
from netd.device.snmp import Snmp, SnmpLimits, SnmpTransport
from netd.domain import credentials, discovery
from netd.domain.actor import Actor, system
from netd.domain.discovery import DiscoveryOrder, DiscoveryPlan, Search
from netd.domain.ports import SnmpAnswer, SshAnswer
from netd.domain.recognition import Recogniser
from netd.extensions import DevicePlatform, Guard
from netd.keyring import Keyring
from netd.model.device import Facts
from netd.model.inventory import StoredCredential
from netd.model.target import Credential, SnmpCommunity, Target
from netd.poll import probe
from netd.poll.discovery import Discovery, Result
from netd.poll.probe import TransportProber
from netd.sdk.device import Match, Oid, Platform, Varbind
from netd.store.database import Database
from tests.device.conftest import Sshd
from tests.ports import free_port

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
Address = IPv4Address | IPv6Address
LINUX = Platform(name="linux", title="Linux", kind="server", driver="", data="", match=Match(sys_object_id=("1.3.6.1.4.1.8072",), banner=("OpenSSH",)))


class Serial:
    """A driver that finds the serial number where only it knows of: here, sysContact."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault

    def fact_oids(self) -> Sequence[Oid]:
        return [(1, 3, 6, 1, 2, 1, 1, 4, 0)]

    def snmp_facts(self, scalars: dict[Oid, Varbind]) -> Facts:
        if self.fault is not None:
            raise self.fault
        return Facts(serial=f"of {len(scalars)}")


class World:
    """A prober of a world in which everybody's answers are known. Keeps who was asked for what."""

    def __init__(self, **answers: tuple[bool, SnmpAnswer | None, SshAnswer | None]) -> None:
        self.answers = {address.replace("_", ".").lstrip("."): answer for address, answer in answers.items()}
        self.asked: list[tuple[str, str]] = []
        self.profiles: dict[str, list[str]] = {}

    def _answer(self, way: str, address: Address) -> tuple[bool, SnmpAnswer | None, SshAnswer | None]:
        self.asked.append((way, str(address)))
        return self.answers.get(str(address), (False, None, None))

    async def ping(self, address: Address) -> bool:
        return self._answer("ping", address)[0]

    async def snmp(self, address: Address, profiles: Sequence[Credential]) -> SnmpAnswer | None:
        self.profiles[str(address)] = [each.name for each in profiles]
        return self._answer("snmp", address)[1]

    async def ssh(self, address: Address) -> SshAnswer | None:
        return self._answer("ssh", address)[2]


@pytest.fixture
def actor() -> Actor:
    return system(1, "ann")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.load_or_create(tmp_path / "secret.key")


@pytest.fixture
def recogniser() -> Recogniser:
    return Recogniser({"linux": DevicePlatform(platform=LINUX, vendor="generic", driver=Serial())})


def search(*ranges: str, profiles: Sequence[Credential] = (), **members: object) -> Search:
    wanted = tuple(map(ip_network, ranges))
    number = sum(each.num_addresses for each in wanted)
    plan = DiscoveryPlan(addresses=number, seconds_least=0, credentials=(), site=None)
    tried = tuple((STORED, each) for each in profiles)
    values = {"tenant_id": 1, "site_id": None, "wanted": wanted, "excluded": (), "profiles": tried, "rate_per_second": 1e6, "silent": False, "plan": plan}
    return Search(**(values | members))  # type: ignore[arg-type]


STORED = StoredCredential(
    id=1, tenant_id=1, name="ro", type="snmp_community", username=None, settings={}, secrets=(), port=None, site_id=None, site=None, networks=(), position=1,
    enabled=True, note=None, version=1, created_at=NOW, updated_at=NOW,
)  # fmt: skip


async def test_a_search(database: Database, keyring: Keyring, actor: Actor, recogniser: Recogniser):
    new = msgspec.convert({"name": "ro", "type": "snmp_community", "community": "s3cr3t"}, credentials.NewCredential)
    profile = await credentials.create(database, actor, keyring, new)
    answer = SnmpAnswer(credential_id=profile.id, sys_object_id="1.3.6.1.4.1.8072.3", sys_name="host1")
    world = World(_10_0_0_1=(True, answer, None), _10_0_0_2=(True, None, None), _10_0_0_3=(False, None, SshAnswer(banner="SSH-2.0-OpenSSH_9.2")))
    order = DiscoveryOrder(ranges=("10.0.0.0/29",), exclude=("10.0.0.4",), rate_per_second=500)
    prepared = await discovery.prepare(database, database, keyring, actor, order)
    told: list[tuple[int, int, int]] = []
    ran = Discovery(database, world, recogniser, now=lambda: NOW)
    result = await ran.run(prepared, lambda done, total, found: told.append((done, total, found)))
    assert result == Result(asked=5, answered=2, new=2, accepted=0, ignored=0)
    assert told[-1] == (5, 5, 2) and len(told) == 5
    assert [address for way, address in world.asked if way == "ping"] == [f"10.0.0.{n}" for n in (1, 2, 3, 5, 6)]
    assert world.profiles == {"10.0.0.1": ["ro"], "10.0.0.2": ["ro"]}  # who answers no ping is asked nothing more
    found = (await discovery.page(database, actor, discovery.CandidateQuery())).items
    assert [(str(each.address), each.answers, each.platform) for each in found] == [("10.0.0.1", ("ping", "snmp"), "linux"), ("10.0.0.2", ("ping",), None)]
    thorough = msgspec.structs.replace(prepared, silent=True)
    assert (await ran.run(thorough)).new == 3
    (third,) = (await discovery.page(database, actor, discovery.CandidateQuery(address="10.0.0.3"))).items
    assert (third.answers, third.platform, third.state) == (("ssh",), "linux", "new")


async def test_the_pace(database: Database, recogniser: Recogniser):
    """Addresses are begun at the order's rate, however slow or quick they are; the clock is the test's."""
    begun: list[float] = []
    clock = [0.0]

    class Slow(World):
        async def ping(self, address: Address) -> bool:
            begun.append(clock[0])
            return False

    async def pause(seconds: float) -> None:
        clock[0] += seconds

    ran = Discovery(database, Slow(), recogniser, now=lambda: NOW, clock=lambda: clock[0], sleep=pause)
    await ran.run(search("10.0.0.0/29", rate_per_second=4.0))
    assert clock[0] == pytest.approx(7 / 4)


class Knowing(SnmpTransport):
    """Waits long where there will be an answer, and not long where a wrong community has none."""

    def session(self, target: Target, credential: Credential) -> Snmp:
        self.limits = SnmpLimits(attempts=1, timeout_seconds=60 if credential.name == "c0mmunity" else 1)
        return super().session(target, credential)


async def test_an_agent_and_a_server(database: Database, snmpd: int, sshd: Sshd, monkeypatch: pytest.MonkeyPatch):
    """net-snmp's agent and OpenSSH's server are found, recognised and told apart from profiles that are wrong."""
    monkeypatch.setattr(probe, "SSH_SECONDS", 60.0)
    peer = sshd()
    profiles = [
        Credential(id=number, name=text, login=SnmpCommunity(version="2c", community=Secret(text)), port=snmpd)
        for number, text in enumerate(("wrong", "c0mmunity", "also-wrong"), 7)
    ]
    transport = Knowing()
    counts: Counter[tuple[str, str]] = Counter()
    for fault, serial in ((None, "of 1"), (RuntimeError("broken"), None)):
        known = Recogniser({"linux": DevicePlatform(platform=LINUX, vendor="generic", driver=Serial(fault))})
        async with Pinger(seconds=60) as pinger:
            prober = TransportProber(pinger, transport, known, lambda name: Guard(name, counts), ssh_port=peer.port)
            finding = await Discovery(database, prober, known, now=lambda: NOW).look(search("127.0.0.1", profiles=profiles), ip_address("127.0.0.1"))
        assert finding is not None
        assert (finding.answers, finding.credential_id, finding.sys_name, finding.serial) == (("ping", "snmp", "ssh"), 8, "lab", serial)
        assert finding.sys_object_id is not None and finding.sys_object_id.startswith("1.3.6.1.4.1.8072.3.2.")
        assert finding.sys_descr is not None and finding.sys_descr.startswith("Linux ")
        assert finding.banner is not None and finding.banner.startswith("SSH-2.0-OpenSSH_")
        assert finding.host_key == peer.host_key
        assert [each for each, _ in discovery.merged([finding])] == [finding]
        platform = known.recognise(finding.sys_object_id, finding.sys_descr, finding.banner)
        assert platform is not None and platform.platform.name == "linux"
    assert counts == {("generic", "failed"): 1}


async def test_nobody_there(database: Database, recogniser: Recogniser):
    async with Pinger(seconds=0.1, attempts=1, ways=()) as pinger:
        prober = TransportProber(
            pinger, SnmpTransport(SnmpLimits(attempts=1, timeout_seconds=0.05)), recogniser, lambda name: Guard(name, Counter()), ssh_port=free_port()
        )
        profile = Credential(id=1, name="x", login=SnmpCommunity(version="2c", community=Secret("x")), port=free_port())
        looked = await Discovery(database, prober, recogniser, now=lambda: NOW).look(
            search("127.0.0.1", profiles=[profile], silent=True), ip_address("127.0.0.1")
        )
    assert looked is None
