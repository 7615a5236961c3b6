"""``netd demo`` as a process: a simulated provider that an operator can look at and act on, and that goes without a trace."""

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netd.daemon import DEMO
from netd.demo import folder
from netd.demo.scenario import SCENARIO, Machine
from tests.conftest import public_folder
from tests.e2e.daemon import NETD, START_SECONDS, Daemon, eventually

ANNA, CARLA = "anna@simulated.example", "carla@simulated.example"
ROUTER, OTHER, OLT = (machine.name for machine in SCENARIO.machines)


def started(place: Path, *more: str) -> Daemon:
    """A demonstration of which all is there."""
    made = Daemon(place)
    made.program = [NETD, "demo", "--data-dir", place, "--change-after", "1", *more]
    made.launch(managed=False)
    process = made.process
    assert process is not None
    try:
        eventually(lambda: "provider is online" in made.stdout or process.poll() is not None, START_SECONDS)
        assert process.poll() is None
    except BaseException:
        print(made.stdout + made.stderr)
        made.close()
        raise
    return made


@pytest.fixture(scope="module")
def demo(made_cluster: Path) -> Iterator[Daemon]:
    """A running demonstration, in a folder that has its database already."""
    with public_folder() as place:
        folder.keep(place, folder.State())
        if (made_cluster / "postgres").exists():
            subprocess.run(["cp", "-a", made_cluster / "postgres", place], check=True)
        made = started(place)
        try:
            yield made
        finally:
            made.close()


def get(demo: Daemon, path: str) -> Any:
    status, answer = demo.api("GET", f"/api/v1{path}")
    assert status == 200, answer
    return json.loads(answer)


def one(demo: Daemon, path: str) -> Any:
    (found,) = get(demo, path)["items"]
    return found


def sessions(demo: Daemon, username: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(demo, f"/radius/sessions?limit=100{'&username=' * bool(username)}{username}")["items"]
    return found


def everybody(demo: Daemon) -> list[dict[str, Any]]:
    """The sessions of all subscribers; none while some are missing."""
    found = sessions(demo)
    return found if len(found) == len(SCENARIO.subscribers) else []


def left(demo: Daemon) -> list[str]:
    """Processes that have the demonstration's environment, by name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"NETD_DATA_DIR={demo.data_dir}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "comm").read_text().strip())
    return found


def kept(demo: Daemon, name: str) -> dict[str, Any]:
    """What a device had when it was switched off, or on."""
    found: dict[str, Any] = json.loads((demo.data_dir / "demo" / f"{name}.json").read_text())
    return found


def act(demo: Daemon, username: str, verb: str) -> None:
    subscriber = one(demo, f"/subscribers?username={username}")
    status, answer = demo.api("POST", f"/api/v1/subscribers/{subscriber['id']}/{verb}", {})
    assert status == 200, answer


def test_sessions_are_live(demo: Daemon) -> None:
    def applied() -> list[dict[str, Any]]:
        found = everybody(demo)
        return found if {each["enforce_state"] for each in found} == {"applied"} else []

    found = eventually(applied)
    assert {each["nas"] for each in found} == {ROUTER, OTHER}
    assert all(each["framed_ip_address"].startswith("100.64.83.") for each in found)


def test_whoever_is_suspended_is_out_until_restored(demo: Daemon) -> None:
    before = eventually(lambda: sessions(demo, ANNA))[0]
    act(demo, ANNA, "suspend")
    eventually(lambda: not sessions(demo, ANNA))
    ended = get(demo, f"/radius/sessions/{before['id']}")
    assert (ended["terminate_cause"], ended["closed_by"]) == ("Admin-Reset", "stop")

    def last() -> tuple[str, str]:
        """The newest answer to a log-in of hers, and why; written down a moment after it was given."""
        attempts = get(demo, f"/subscribers/explain?username={ANNA}")["attempts"]
        return (attempts[0]["reply"], attempts[0]["reason"]) if attempts else ("", "")

    eventually(lambda: last() == ("Access-Reject", "suspended"))
    assert [each["id"] for each in get(demo, f"/radius/sessions?state=all&username={ANNA}")["items"]] == [before["id"]]
    act(demo, ANNA, "restore")
    after = eventually(lambda: sessions(demo, ANNA))[0]
    assert after["acct_session_id"] != before["acct_session_id"]
    eventually(lambda: last()[0] == "Access-Accept")


def test_a_new_plan_changes_the_live_rate(demo: Daemon) -> None:
    session, subscriber = eventually(lambda: sessions(demo, CARLA))[0], one(demo, f"/subscribers?username={CARLA}")
    acknowledged = demo.metric("netd_coa_results_total")
    status, answer = demo.api("PATCH", f"/api/v1/subscribers/{subscriber['id']}", {"plan": "simulated-business-500"})
    assert status == 200, answer
    eventually(lambda: demo.metric("netd_coa_results_total") > acknowledged)
    eventually(lambda: [each["enforce_state"] for each in sessions(demo, CARLA)] == ["applied"])
    assert sessions(demo, CARLA)[0]["id"] == session["id"]


def test_devices_are_polled_and_have_traffic(demo: Daemon) -> None:
    devices = {each["hostname"]: each["id"] for each in get(demo, "/devices")["items"]}
    assert devices.keys() == {ROUTER, OTHER, OLT}

    def rates(name: str) -> dict[str, dict[str, float]]:
        now = get(demo, f"/devices/{devices[name]}/telemetry")
        found = {port["counters"]["name"]: port["rates"] for port in now["interfaces"] if (port["rates"] or {}).get("in_bps")}
        return found if now["up"] and now["system"] else {}

    def adds_up(machine: Machine) -> bool:
        """Whether what was looked at twice, once the subscribers were online, shows what they do."""
        found = rates(machine.name)
        for link in machine.links:
            port = found.get(link.port.name, {"in_bps": 0.0, "out_bps": 0.0})
            down, up = ("in_bps", "out_bps") if link.side == "core" else ("out_bps", "in_bps")
            if not (port[down] > port[up] > 1_000_000 if link.routers else link.port.name not in found):
                return False
        return bool(found)

    for machine in SCENARIO.machines:
        eventually(lambda machine=machine: adds_up(machine), 120, 0.1)  # type: ignore[misc]
    optics = eventually(lambda: get(demo, f"/devices/{devices[OLT]}/telemetry")["optics"])
    assert {each["onu"] for each in optics} >= {"0", "7"}
    assert eventually(lambda: get(demo, "/top-talkers?limit=3")["items"])


def test_a_change_behind_netds_back_is_drift(demo: Daemon) -> None:
    eventually(lambda: "behind netd's back" in demo.stdout)
    device = one(demo, f"/devices?hostname={OTHER}")
    drift = get(demo, f"/devices/{device['id']}/drift")
    assert drift["state"]["drift"] == ["approved", "saved"]
    assert "+ ip address 198.18.99.1" in drift["approved"]["text"]
    states = {each["device"]: each for each in get(demo, "/configuration-states")["items"]}
    assert states[ROUTER]["backed_up_at"] and states[OLT]["backed_up_at"] and not states[ROUTER]["drift"] and not states[OLT]["drift"]


def test_it_says_everywhere_that_it_is_simulated(demo: Daemon) -> None:
    assert "ALL OF IT IS SIMULATED" in demo.stdout and str(demo.data_dir) in demo.stdout and demo.url in demo.stdout
    parts = {part["name"]: part for part in get(demo, "/health")["parts"]}
    assert "SIMULATED" in parts["demo"]["detail"]
    eventually(lambda: all("model" in each["observed"] for each in get(demo, "/devices")["items"]))
    for each in get(demo, "/devices")["items"]:
        assert each["tags"] == ["simulated"] and each["site"] == "simulated-town" and "simulated" in each["note"]
        assert "simulated" in each["observed"]["model"]["value"]
    for path, member in (("/subscribers", "note"), ("/radius/nas", "description"), ("/credentials", "note"), ("/pools", "description"), ("/sites", "note")):
        for each in get(demo, path)["items"]:
            assert "simulated" in each[member], path
    assert "demo" in demo.netd("health") and "SIMULATED" in demo.netd("health")


def test_it_ends_clean_and_goes_on_where_it_was(demo: Daemon) -> None:
    assert left(demo)
    assert demo.stop() == 0, demo.stderr
    assert not demo.postgres() and not left(demo) and "stopped" in demo.stdout
    assert not [line for line in demo.stderr.splitlines() if "Traceback" in line]
    demo.program[-1] = "1000000"
    runs, before = demo.stdout.count("provider is online"), kept(demo, ROUTER)
    with socket.create_server((SCENARIO.machines[0].address, before["ssh_port"])):  # another program has taken one of its ports
        demo.launch(managed=False)
        eventually(lambda: demo.stdout.count("provider is online") > runs, START_SECONDS)
    found = eventually(lambda: everybody(demo))
    closed = get(demo, "/radius/sessions?state=closed&limit=100")["items"]
    assert len(closed) >= len(found) and {each["closed_by"] for each in closed} == {"stop"}
    assert one(demo, f"/subscribers?username={CARLA}")["plan"] == "simulated-business-500"
    devices = {each["hostname"]: each for each in get(demo, "/devices")["items"]}
    assert len(devices) == 3 and (demo.data_dir / DEMO).exists()
    assert devices[ROUTER]["ports"]["ssh"] == kept(demo, ROUTER)["ssh_port"] != before["ssh_port"]
    assert devices[OLT]["ports"]["ssh"] == kept(demo, OLT)["ssh_port"]
    assert get(demo, "/jobs?limit=1")["items"][0]["state"] == "succeeded", "devices are reached where they are now, with the host keys of before"
    assert demo.stop() == 0, demo.stderr
