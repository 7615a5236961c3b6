import re
from ipaddress import IPv4Address, IPv6Address

import pytest

from netd.extensions import Extensions
from tests.vendors.services import INTERIM, PLAIN, SERVICES, SESSION, Golden, M, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.juniper.driver import Driver

DRIVER = Driver()
NEEDS_A_SERVICE = "name one in the plan's profile"
GOLDEN: Golden = {
    "plain": NEEDS_A_SERVICE,
    "gigabit": NEEDS_A_SERVICE,
    "five_gigabit": NEEDS_A_SERVICE,
    "slow": NEEDS_A_SERVICE,
    "odd": NEEDS_A_SERVICE,
    "burst": NEEDS_A_SERVICE,
    "shared": NEEDS_A_SERVICE,
    "shared_burst": NEEDS_A_SERVICE,
    "vlan": NEEDS_A_SERVICE,
    "walled": [("ERX-Service-Activate:1", "garden(512000,1000000)"), INTERIM],
    "portal": [("ERX-Service-Activate:1", "garden(512000,1000000)"), INTERIM],
    "profile": [("ERX-Service-Activate:1", "gold(20000000,100000000)"), INTERIM],
    "two_profiles": [("ERX-Service-Activate:1", "gold-a/gold-b(20000000,100000000)"), INTERIM],
    "full": [
        ("ERX-Service-Activate:1", "gold(20000000,100000000)"),
        ("Framed-Pool", "v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("ERX-IPv6-Delegated-Pool-Name", "pd"),
        ("ERX-Primary-Dns", IPv4Address("192.0.2.1")),
        ("ERX-Secondary-Dns", IPv4Address("192.0.2.2")),
        ("ERX-Ipv6-Primary-Dns", IPv6Address("2001:db8::1")),
        ("ERX-Ipv6-Secondary-Dns", IPv6Address("2001:db8::2")),
        ("Session-Timeout", 86_400),
        ("Idle-Timeout", 900),
        ("Acct-Interim-Interval", 600),
    ],
}


@pytest.mark.parametrize("name", SERVICES)
def test_golden(name: str, extensions: Extensions) -> None:
    agrees(DRIVER, GOLDEN, name)
    if not isinstance(GOLDEN[name], str):
        is_on_the_wire(extensions, DRIVER.grant(SERVICES[name]))


@pytest.mark.parametrize("name", ["plain", "gigabit", "five_gigabit", "slow", "odd", "burst"])
def test_with_a_service_every_rate_is_exact(name: str, extensions: Extensions) -> None:
    service = SERVICES[name]
    avps = DRIVER.grant(but(service, profile="internet"))
    assert avps[0] == ("ERX-Service-Activate:1", f"internet({service.up_bps},{service.down_bps})")
    is_on_the_wire(extensions, avps)


def test_a_router_reads_the_rates_of_the_plan() -> None:
    def router(avps):
        # Juniper's example: <# tiered(inputBW, outputBW) #>; input is what comes from the subscriber.
        match = re.fullmatch(r"[^(]+\((?P<input>\d+),(?P<output>\d+)\)", dict(avps)["ERX-Service-Activate:1"])
        assert match
        return int(match["output"]), int(match["input"])

    rates_come_out(DRIVER, router, exact=True)


@pytest.mark.parametrize("name", ["", "gold(1,2)", "a b", "a,b"])
def test_a_service_name_that_would_change_the_parameters_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="service name"):
        DRIVER.grant(but(PLAIN, profile=name))


def test_change_names_the_old_service_with_its_parameters() -> None:
    common_rules(DRIVER)
    gold, walled, portal = (SERVICES[name] for name in ("profile", "walled", "portal"))
    old = ("ERX-Service-Deactivate", "gold(20000000,100000000)")
    assert DRIVER.change(gold, but(gold, down_bps=200 * M)) == [old, ("ERX-Service-Activate:1", "gold(20000000,200000000)")]
    assert DRIVER.change(gold, but(gold, profile="silver")) == [old, ("ERX-Service-Activate:1", "silver(20000000,100000000)")]
    assert DRIVER.change(gold, portal) == [old, ("ERX-Service-Activate:1", "garden(512000,1000000)")]
    assert DRIVER.change(portal, gold) == [("ERX-Service-Deactivate", "garden(512000,1000000)"), ("ERX-Service-Activate:1", old[1])]
    assert DRIVER.change(walled, portal) == [], "the address of the portal stands in the service on the router"
    assert DRIVER.change(gold, but(gold, interim_seconds=60)) == []
    assert DRIVER.change(PLAIN, gold) is None, "that session was not granted by this driver"


def test_identify_by_session_id_alone() -> None:
    assert DRIVER.identify(SESSION) == [("Acct-Session-Id", "81a00001")]
