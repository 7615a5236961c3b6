"""From an address that nobody knows to a router that runs again what it should: the daemon and its commands against net-snmp, OpenSSH, FRRouting and lldpd."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.boxes import COMMUNITY, HOST, IF_HC_IN_OCTETS, IF_NAME, ROUTER, SYS_UP_TIME, V2C, V3, Router, Street, street
from tests.e2e.daemon import eventually
from tests.ztp.conftest import within
from tests.ztp.links import permitted
from tests.ztp.test_crash import Inside

DATAGRAMS, OCTETS, HEADERS = 400, 1000, 42
SETTINGS = {"NETD_POLL__SYSTEM_SECONDS": "10", "NETD_POLL__INTERFACES_SECONDS": "10", "NETD_POLL__REACH_SECONDS": "5"}


@pytest.fixture
def lab(require_peer: Callable[[str], str]) -> Iterator[Street]:
    if not permitted():
        require_peer("(the right to make network namespaces)")
    with street(require_peer) as made:
        yield made


def discover(daemon: Inside) -> dict[str, Any]:
    """The candidates that a search of two ranges finds, by address."""
    ranges = ("10.98.0.0/29", "10.98.1.0/29", "--exclude", "10.98.0.1,10.98.1.1")
    assert daemon.json("discovery", "plan", *ranges)["credentials"] == ["v2", "v3"]
    new = 0
    while True:
        job = daemon.json("discovery", "start", *ranges)["id"]
        ended = eventually(lambda job=job: found if (found := asked(daemon, f"/jobs/{job}"))["state"] not in ("queued", "running") else None, 180, 0.1)  # type: ignore[misc]
        assert ended["state"] == "succeeded", ended
        new += ended["result"]["new"]
        found = {each["address"]: each for each in daemon.json("discovery", "list")["items"]}
        assert new == len(found) <= 2
        if [each["answers"] for each in found.values()] == [["ping", "snmp", "ssh"]] * 2:  # who is slow for a moment is missed, and found by the next search
            return found


def asked(daemon: Inside, path: str) -> Any:
    """What the control API answers: quicker than a command where something is waited for."""
    status, answer = within(daemon.space, partial(daemon.api, "GET", f"/api/v1{path}"))
    assert status == 200, answer
    return json.loads(answer)


def now(daemon: Inside, name: str) -> dict[str, Any]:
    (device,) = asked(daemon, f"/devices?hostname={name}")["items"]
    found: dict[str, Any] = asked(daemon, f"/devices/{device['id']}/telemetry")
    assert not found["last_error"], found["last_error"]
    return found


def looked_at(daemon: Inside, name: str) -> dict[str, Any] | None:
    """What the device does, once its interfaces are read and the system is."""
    found = now(daemon, name)
    return found if found["system"] and found["interfaces"] else None


def counters(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["counters"]["name"]: each["counters"] for each in found["interfaces"]}


@pytest.mark.slow
def test_from_an_unknown_address_to_a_restored_router(lab: Street, ready_data_dir: Path) -> None:
    daemon = Inside(lab.netd, ready_data_dir, **SETTINGS)
    daemon.start()
    try:
        v3 = ("--username", "netd", "--auth-protocol", "sha", "--auth-key", "authsecret", "--priv-protocol", "aes128", "--priv-key", "privsecret")
        daemon.netd("credential", "add", "v2", "--type", "snmp_community", "--community", COMMUNITY)
        daemon.netd("credential", "add", "v3", "--type", "snmp_user", *v3)
        daemon.netd("credential", "add", "noc", "--type", "ssh", "--username", "root", "--private-key", str(lab.private_key))

        # Discovered and recognised
        found = discover(daemon)
        assert {each["sys_name"] for each in found.values()} == {"router1", "leaf1"}
        for address, name in ((ROUTER, "router1"), (HOST, "leaf1")):
            candidate = found[address]
            assert candidate["answers"] == ["ping", "snmp", "ssh"] and candidate["platform"] == "generic_linux", candidate
            assert candidate["sys_name"] == name and candidate["banner"].startswith("SSH-2.0-OpenSSH")
            assert candidate["host_key"] == " ".join((lab.folder / name / "host.pub").read_text().split()[:2])
        daemon.netd("discovery", "accept", ROUTER, "--platform", "generic_frr")  # net-snmp does not say what the log-in shell is
        daemon.netd("discovery", "accept", HOST)
        shown = daemon.json("device", "show", "leaf1")
        assert (shown["vendor"], shown["kind"], shown["observed"]["platform"]["value"]) == ("generic", "server", "generic_linux")

        (place,) = (oid for oid, name in lab.snmpget(ROUTER, V3, IF_NAME, "snmpwalk").items() if name == '"eth1"')
        counter = place.replace(IF_NAME, IF_HC_IN_OCTETS)
        before = int(lab.snmpget(ROUTER, V3, counter)[counter])
        lab.send(DATAGRAMS, OCTETS)
        shown = restored(daemon, lab.router)  # meanwhile the devices come to be polled
        polled(daemon, lab, counter, before)
        neighbours(daemon, lab)
        assert "canary" not in shown + daemon.stdout + daemon.stderr
        assert not any(secret in daemon.stdout + daemon.stderr for secret in ("authsecret", "privsecret", COMMUNITY))
        assert daemon.stop() == 0
    finally:
        daemon.close()


def restored(daemon: Inside, router: Router) -> str:
    """Backed up, changed behind netd's back with vtysh, drifted, and restored; returns what netd showed of it."""
    daemon.netd("device", "backup", "router1")
    text = router.vtysh("show running-config")
    assert len(daemon.json("config", "list", "--device", "router1")["items"]) == 1
    kept = daemon.netd("config", "show", "router1")
    assert "description to leaf1" in kept and lines(kept) == lines(text)
    assert daemon.json("device", "show", "router1")["observed"]["software_version"]["value"] in router.vtysh("show version")
    daemon.netd("device", "approve", "router1", "--note", "as built")
    assert daemon.command("device", "drift", "router1").returncode == 0
    router.vtysh("configure terminal", "interface eth1", "description behind netd's back", "exit", "password canaryvty")
    changed = router.vtysh("show running-config")
    assert "description behind netd's back" in changed and "canaryvty" in changed
    daemon.netd("device", "backup", "router1")
    drift = daemon.command("device", "drift", "router1")
    assert drift.returncode == 1 and "differs from what is approved" in drift.stdout
    assert "- description to leaf1" in drift.stdout and "+ description behind netd's back" in drift.stdout and "+password <secret>" in drift.stdout
    (told,) = [each for each in json.loads(daemon.netd("config", "status", "--drifted", "--json"))["items"]]
    assert told["device"] == "router1" and told["drift"] == ["approved"]
    preview = daemon.netd("device", "restore", "router1", "1")
    assert "+ description to leaf1" in preview and router.vtysh("show running-config") == changed, "a preview changes nothing"
    daemon.netd("device", "restore", "router1", "1", "--commit")
    assert lines(router.vtysh("show running-config")) == lines(text)
    assert daemon.command("device", "drift", "router1").returncode == 0
    return drift.stdout + preview


def polled(daemon: Inside, lab: Street, counter: str, before: int) -> None:
    """Both devices, one by SNMPv3 and one by v2c; ``before`` is what the counter of the router's eth1 was before the known traffic."""
    for name, address, login in (("router1", ROUTER, V3), ("leaf1", HOST, V2C)):
        found = eventually(partial(looked_at, daemon, name), 180, 0.2)
        ticks = int(lab.snmpget(address, login, SYS_UP_TIME)[SYS_UP_TIME])
        since = (datetime.now().astimezone() - datetime.fromisoformat(found["system_at"])).total_seconds()
        assert abs(found["system"]["uptime_seconds"] + since - ticks / 100) < 15, (found["system"], ticks, since)
        names = lab.snmpget(address, login, IF_NAME, "snmpwalk")
        assert {f'"{each}"' for each in counters(found)} == set(names.values()) == {'"lo"', '"eth0"', '"eth1"'}
    printed = lab.router.vtysh("show interface brief")
    assert set(counters(now(daemon, "router1"))) == {line.split()[0] for line in printed.splitlines()[2:] if line.strip()}
    sent = DATAGRAMS * (OCTETS + HEADERS)

    def counted() -> dict[str, Any] | None:
        """The look that has counted it, if the agent still says the same: now and then lldpd says something, too."""
        found = counters(now(daemon, "router1"))["eth1"]
        return found if before + sent <= found["in_octets"] == int(lab.snmpget(ROUTER, V3, counter)[counter]) else None

    found = eventually(counted, 180, 0.2)
    assert found["in_octets"] < before + sent + 20_000 and found["counter_bits"] == 64
    assert f"HWaddr: {found['mac']}" in lab.router.vtysh("show interface eth1")


def neighbours(daemon: Inside, lab: Street) -> None:
    """The host's lldpd hears the router; netd knows which device that is, once it knows the router's interfaces."""
    lab.router.lldp("configure", "lldp", "tx-interval", "1")
    eventually(lambda: "router1" in lab.host.lldp("show", "neighbors"), 180, 0.2)
    eventually(
        lambda: {each["name"] for each in asked(daemon, "/interfaces")["items"] if each["device"] == "router1" and each["mac"]} >= {"eth0", "eth1"}, 180, 0.2
    )
    said = daemon.netd("device", "inspect", "leaf1")
    assert re.search(r"leaf1: succeeded: 1 neighbours", said), said
    (link,) = daemon.json("device", "links", "leaf1")["items"]
    assert (link["local_interface"], link["protocol"], link["remote_name"]) == ("eth1", "lldp", "router1")
    assert (link["remote_interface"], link["remote_device"]) == ("eth1", "router1")
    assert link["remote_mac"] in {lab.router.mac("eth0"), lab.router.mac("eth1")}
    asked_by_snmp(daemon, lab)
    seen = daemon.json("device", "where", lab.router.mac("eth1"))["items"]
    assert [(each["device"], each["interface"], each["address"]) for each in seen if each["source"] == "arp"] == [("leaf1", "eth1", "10.98.2.1")]


def asked_by_snmp(daemon: Inside, lab: Street) -> None:
    """The router's vtysh knows nothing of LLDP and ARP. Its agent does: lldpd tells net-snmp's."""
    lab.host.lldp("configure", "lldp", "tx-interval", "1")
    eventually(lambda: "leaf1" in lab.router.lldp("show", "neighbors"), 180, 0.2)
    lab.send(1, OCTETS)  # so that the router knows where the host is
    netd_mac = lab.netd.run("cat", "/sys/class/net/up0/address").strip()
    known = {("10.98.0.1", netd_mac, "eth0"), ("10.98.2.2", lab.host.mac("eth1"), "eth1")}

    def arps() -> bool:
        """The agent reads the kernel's table now and then."""
        said = daemon.netd("device", "inspect", "router1")
        assert re.search(r"router1: succeeded: 1 neighbours, \d arps", said), said
        found = [each for mac in (netd_mac, lab.host.mac("eth1")) for each in daemon.json("device", "where", mac)["items"] if each["device"] == "router1"]
        return {(each["address"], each["mac"], each["interface"]) for each in found} == known

    eventually(arps, 180, 1.0)
    (link,) = daemon.json("device", "links", "router1")["items"]
    assert (link["local_interface"], link["protocol"], link["remote_name"], link["remote_interface"]) == ("eth1", "lldp", "leaf1", "eth1")
    assert (link["remote_address"], link["remote_device"]) == (HOST, "leaf1")
    assert link["remote_mac"] in {lab.host.mac("eth0"), lab.host.mac("eth1")}


def lines(configuration: str) -> list[str]:
    """What counts of it."""
    return [line for line in configuration.splitlines() if line.strip("! ") and not line.startswith(("Building", "Current"))]
