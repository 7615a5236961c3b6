"""``netd record`` against a simulated device over real sockets."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netd.cli import main
from netd.device.simulated import SimulatedServer
from netd.domain import credentials, devices
from netd.domain.actor import system
from netd.domain.credentials import NewCredential
from netd.domain.devices import Catalogue, NewDevice, Ports
from netd.extensions import Extensions, load_simulator
from netd.keyring import Keyring
from netd.sdk.dialogue import play
from netd.sdk.recording import Player, Recording, varbinds
from netd.simulate import Agent, Simulated, objects
from netd.store.database import Database
from tests.cli.conftest import run_netd

AGENT = """\
1.3.6.1.2.1.1.1.0|4|Huawei Integrated Access Software
1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.2011.2.80.8
1.3.6.1.2.1.1.3.0|67|4200000000
1.3.6.1.2.1.1.5.0|4|Springfield-OLT
1.3.6.1.2.1.2.2.1.2.7|4|ETH 0/9/0 of Springfield-OLT
1.3.6.1.2.1.2.2.1.6.7|4x|805e0c5c0001
1.3.6.1.2.1.31.1.1.1.1.7|4|ethernet0/9/0
1.3.6.1.2.1.31.1.1.1.6.7|70|18446744073709551615
1.3.6.1.2.1.31.1.1.1.18.7|4|to Mr Burns, 10.1.2.3
"""
CONFIGURATION = (
    "sysname Springfield-OLT\nsnmp-agent community read canary1\ninterface gpon 0/1\n ont add 0 1 sn-auth 48575443A1B2C3D4 omci ont-lineprofile-id 1\n"
)


@pytest.fixture
def olt() -> Iterator[SimulatedServer]:
    """Served by a loop of its own, for the command runs one."""
    platform = Extensions.discover(packages=()).platforms["huawei_smartax"]
    device = Simulated("Springfield-OLT", version="MA5600V800R018C10", configuration=CONFIGURATION)
    server = SimulatedServer(device, load_simulator(platform), agent=Agent(objects(AGENT), "c0mmunity"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        yield server
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.mark.parametrize("telnet", [False, True], ids=["ssh", "telnet"])
def test_a_device_is_recorded_and_scrubbed(olt: SimulatedServer, telnet: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = olt.telnet_port if telnet else olt.ssh_port
    login = ["--username", "netd", "--password", "simulated", "--port", str(port), *(["--telnet"] if telnet else [])]
    assert main(["record", "127.0.0.1", "--platform", "huawei_smartax", *login, "--word", "Springfield-OLT", "--folder", str(tmp_path)]) == 0
    path = tmp_path / "MA5608T_MA5600V800R018C10" / "session.txt"
    out, err = capsys.readouterr()
    assert out.strip() == str(path) and "read it before" in err
    text = path.read_text()
    for gone in ("Springfield", "canary1", "A1B2C3D4", "simulated", "805e-0c5c"):
        assert gone not in text, gone
    found = Recording.parse(text)
    assert (found.platform, found.made_from) == ("huawei_smartax", "a device")
    driver = Extensions.discover(packages=()).platforms["huawei_smartax"].driver
    facts = play(driver.facts(), Player(found, driver.terminal))  # type: ignore[attr-defined]
    assert facts.software_version == "MA5600V800R018C10"
    assert "ont add 0 1" in play(driver.configuration("running"), Player(found, driver.terminal))  # type: ignore[attr-defined]


def test_its_agent_is_recorded_too_and_scrubbed(olt: SimulatedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--platform", "huawei_smartax", "--community", "c0mmunity", "--snmp-port", str(olt.snmp_port)]
    assert main(["record", "127.0.0.1", *asked, "--folder", str(tmp_path)]) == 0
    path = tmp_path / "unknown_unknown" / "agent.snmprec"  # SmartAX says neither by SNMP
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    for gone in ("Springfield", "Burns", "10.1.2.3", "805e0c5c0001", "c0mmunity"):
        assert gone not in text, gone
    found = varbinds(text)
    assert found[1, 3, 6, 1, 2, 1, 1, 2, 0] == (1, 3, 6, 1, 4, 1, 2011, 2, 80, 8)
    assert found[1, 3, 6, 1, 2, 1, 2, 2, 1, 2, 7] == b"ETH 0/9/0 of hostname1"
    assert found[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6, 7] == 18446744073709551615 and found[1, 3, 6, 1, 2, 1, 1, 3, 0] == 4200000000
    assert found[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 18, 7] == b"alias 7"
    mac = found[1, 3, 6, 1, 2, 1, 2, 2, 1, 6, 7]
    assert isinstance(mac, bytes) and mac[0] == 2 and len(mac) == 6


async def test_a_device_of_the_inventory_is_opened_with_its_own_credentials(olt: SimulatedServer, database: Database, dsn: str, tmp_path: Path) -> None:
    keyring, actor = Keyring.load_or_create(tmp_path / "secret.key"), system(1)
    await credentials.create(database, actor, keyring, NewCredential(name="noc", type="ssh", username="netd", password="simulated"))
    await credentials.create(database, actor, keyring, NewCredential(name="ro", type="snmp_community", community="c0mmunity"))
    extensions = Extensions.discover(packages=())
    catalogue = Catalogue(frozenset(extensions.vendors), extensions.platforms)
    ports = Ports(ssh=olt.ssh_port, snmp=olt.snmp_port)
    await devices.create(
        database, actor, NewDevice(hostname="olt7", mgmt_address="127.0.0.1", vendor="huawei", platform="huawei_smartax", ports=ports), catalogue
    )
    environ = {"NETD_DATABASE__URL": dsn, "NETD_SECRETS__KEY_FILE": str(tmp_path / "secret.key"), "NETD_DATA_DIR": str(tmp_path)}
    ended = await run_netd("record", "olt7", environ=environ, folder=tmp_path)
    assert ended.code == 0, ended.err
    folder = tmp_path / "MA5608T_MA5600V800R018C10"
    assert "alias 7" in (folder / "agent.snmprec").read_text() and "ont add 0 1" in (folder / "session.txt").read_text()
    for arguments, said in ((("olt8",), "there is no device 'olt8'"), (("olt7", "--community", "x"), "its own credentials")):
        refused = await run_netd("record", *arguments, environ=environ, folder=tmp_path)
        assert refused.code in (1, 2) and said in refused.err and refused.err.count("\n") == 1


def test_what_is_wrong_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (("--platform", "acme", "--username", "u", "--password", "p"), "there is no platform 'acme'; there are cisco_ios"),
        (("--username", "u", "--password", "p"), "an address needs --platform"),
        (("--platform", "cisco_ios", "--username", "u"), "an address needs --username and --password, or --community"),
    ):
        assert main(["record", "127.0.0.1", *arguments]) == 2
        assert said in capsys.readouterr().err
