"""``netd record`` against a simulated device over real sockets."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netd.cli import main
from netd.device.simulated import SimulatedServer
from netd.extensions import Extensions, load_simulator
from netd.sdk.dialogue import play
from netd.sdk.recording import Player, Recording
from netd.simulate import Simulated

CONFIGURATION = (
    "sysname Springfield-OLT\nsnmp-agent community read canary1\ninterface gpon 0/1\n ont add 0 1 sn-auth 48575443A1B2C3D4 omci ont-lineprofile-id 1\n"
)


@pytest.fixture
def olt() -> Iterator[SimulatedServer]:
    """Served by a loop of its own, for the command runs one."""
    platform = Extensions.discover(packages=()).platforms["huawei_smartax"]
    server = SimulatedServer(Simulated("Springfield-OLT", version="MA5600V800R018C10", configuration=CONFIGURATION), load_simulator(platform))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
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


def test_what_is_wrong_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "127.0.0.1", "--platform", "acme", "--username", "u", "--password", "p"]) == 2
    assert "there is no platform 'acme'; there are cisco_ios" in capsys.readouterr().err
