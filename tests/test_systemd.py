import configparser
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "systemd"


@pytest.fixture
def analyze(require_peer):
    """``analyze(verb, text)``: what systemd-analyze says about a unit netd.service with this text."""
    program = require_peer("systemd-analyze")

    def run(tmp_path: Path, text: str, *arguments: str) -> str:
        unit = tmp_path / "netd.service"
        unit.write_text(text)
        done = subprocess.run([program, *arguments, str(unit)], capture_output=True, text=True, check=False)
        return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not _of_another_unit(line))

    return run


def _of_another_unit(line: str) -> bool:
    """systemd-analyze reads all units of the machine, and has its opinion of them."""
    named = re.match(r"(/\S+/)?([\w@.-]+\.(service|socket|target|timer|mount))[:\s]", line)
    return bool(named and named[2] != "netd.service")


def unit_text() -> str:
    return (FOLDER / "netd.service").read_text(encoding="utf-8")


def startable(text: str) -> str:
    return re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", text)


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_verify_has_nothing_to_say(tmp_path, analyze):
    assert analyze(tmp_path, startable(unit_text()), "verify", "--man=no") == ""


def test_verify_would_see_a_fault(tmp_path, analyze):
    assert "PrivateTemp" in analyze(tmp_path, startable(unit_text()) + "[Service]\nPrivateTemp=yes\n", "verify", "--man=no")
    assert "/opt/netd/bin/netd" in analyze(tmp_path, unit_text(), "verify", "--man=no")


def test_exposure_is_low(tmp_path, analyze):
    said = analyze(tmp_path, unit_text(), "security", "--offline=yes")
    exposure = re.search(r"Overall exposure level for netd\.service: ([\d.]+)", said)
    assert exposure and float(exposure[1]) < 3.0, said


def test_it_fits_the_daemon():
    service = unit(unit_text())["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"].endswith("/bin/netd serve")
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) == 60
    assert int(service["WatchdogSec"]) > 0
    assert service["RestartPreventExitStatus"] == "2"
    assert service["StateDirectory"] == service["RuntimeDirectory"] == service["User"] == "netd"
    assert "DynamicUser" not in service


def test_the_user_is_made_as_the_unit_wants_it():
    users = [line.split() for line in (FOLDER / "netd.sysusers.conf").read_text().splitlines() if line and not line.startswith("#")]
    assert [(line[0], line[1]) for line in users] == [("u", "netd")]
