"""Devices boot end to end on a network that has IPv6 only: behind ISC's relay, by dhclient and dhcpcd, over HTTP and TFTP, and are logged in to by SSH."""

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, eventually
from tests.ztp.conftest import Site
from tests.ztp.test_boots import BOOT, CONFIGURATION, PATIENT_SECONDS, Newcomers
from tests.ztp.test_crash import Inside

LINK = ipaddress.ip_network("2001:db8:1::/64")
SETTINGS = {
    "NETD_DHCP__ENABLED": "true", "NETD_DHCP__ADDRESSES": "2001:db8:99::1", "NETD_BOOT__ENABLED": "true", "NETD_BOOT__HOST": "10.99.0.1",
    "NETD_BOOT__HOST6": "2001:db8:99::1", "NETD_BOOT__ADDRESSES": "10.99.0.1,2001:db8:99::1", "NETD_BOOT__LOGIN_RETRY_SECONDS": "1",
}  # fmt: skip


def expect(daemon: Daemon, name: str, serial: str, **more: object) -> None:
    daemon.make(
        "ztp/devices", hostname=name, profile="arista_eos", serial=serial, circuit_id=".+", platform="cisco_ios", credential="ops", target_version="15.7",
        boot_template=BOOT, configuration=CONFIGURATION, **more,
    )  # fmt: skip


def items(daemon: Daemon, path: str) -> list[dict[str, Any]]:
    """A list of the API's."""
    status, answer = daemon.api("GET", f"/api/v1/{path}")
    assert status == 200, answer
    return list(json.loads(answer)["items"])


def device(daemon: Daemon, name: str) -> dict[str, Any]:
    (found,) = items(daemon, f"ztp/devices?hostname={name}")
    assert found["state"] != "failed", found["reason"]
    return found


@pytest.fixture
def only_ipv6(site: Site) -> Site:
    """No IPv4 behind the relay, and none between relay and server."""
    for space in (site.relay, site.client):
        space.run("sh", "-c", "for each in $(ls /sys/class/net); do ip -4 addr flush dev $each; done")
    return site


@pytest.mark.slow
def test_devices_boot_over_ipv6_alone(only_ipv6: Site, ready_data_dir: Path, require_peer):
    site, relay = only_ipv6, require_peer("dhcrelay")
    for peer in ("dhclient", "dhcpcd", "curl"):
        require_peer(peer)
    daemon = Inside(site.server, ready_data_dir, **SETTINGS).start()
    newcomers = Newcomers(site)

    def booted(name: str, serial: str, client: str) -> str:
        """Its address, once it is verified; it fetched by this scheme."""
        newcomers.plug_in(serial, "tests.ztp.device6", client)
        got = newcomers.until("configured")
        assert got["octets"] == 1 << 20 and f"hostname {name}" in got["first"]
        eventually(lambda: device(daemon, name)["state"] == "verified", PATIENT_SECONDS, 0.1)
        leased = newcomers.until("leased")
        assert ipaddress.ip_address(leased["address"]) in LINK
        assert [each["mgmt_address"] for each in items(daemon, f"devices?hostname={name}")] == [leased["address"]]
        assert leased["url"].startswith({"leaf1": "http://[2001:db8:99::1]:8081/", "leaf2": "tftp://[2001:db8:99::1]/"}[name])
        return str(leased["address"])

    try:
        daemon.make("dhcp/subnets", name="street", prefix=str(LINK), profiles=["arista_eos"])
        daemon.make("credentials", name="ops", type="ssh", username="ops", password="hunter2hunter2")
        image = site.folder / "eos.swi"
        image.write_bytes(bytes(range(256)) * 4096)
        daemon.netd("software", "add", str(image), "--platform", "cisco_ios", "--version", "15.7")
        expect(daemon, "leaf1", "JPE1", make_nas=True)
        expect(daemon, "leaf2", "JPE2", transport="tftp")
        site.start_relay6(relay)
        first = booted("leaf1", "JPE1", "dhclient")
        steps = [each["step"] for each in items(daemon, f"ztp/devices/{device(daemon, 'leaf1')['id']}/steps")]
        assert [step for step in steps if step not in ("fetched", "seen")] == ["expected", "offered", "leased", "fetching", "configured", "verified"]
        assert [each["address"] for each in items(daemon, "radius/nas")] == [f"{first}/128"]
        newcomers.plug_in("JPE3", "tests.ztp.device6", "dhclient")  # nobody expects it
        (stranger,) = eventually(lambda: [each for each in items(daemon, "ztp/candidates") if each["packets"] > 1], step=0.1)
        assert (stranger["serial"], stranger["state"], stranger["relay"], stranger["model"]) == ("JPE3", "new", "2001:db8:1::1", "DCS-7050S-64")
        assert stranger["circuit_id"] and not [each for each in newcomers.said() if each["step"] != "no lease"]
        second = booted("leaf2", "JPE2", "dhcpcd")
        assert {address for (address,) in daemon.sql("select host(address) from dhcp_addresses")} == {first, second}
        assert daemon.metric("netd_dhcp_received_total") == 0 < daemon.metric("netd_dhcpv6_received_total")
        assert daemon.stop() == 0
    finally:
        newcomers.unplug()
        daemon.close()
