from ipaddress import IPv4Address, IPv6Address

import pytest

from netd.extensions import Extensions
from tests.vendors.services import INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.accel.driver import Driver

DRIVER = Driver()
NO_WALL = "no attribute for a walled garden"
GOLDEN: Golden = {
    "plain": [("Filter-Id", "100000/20000"), INTERIM],
    "gigabit": [("Filter-Id", "1000000/1000000"), INTERIM],
    "five_gigabit": [("Filter-Id", "5000000/1000000"), INTERIM],
    "slow": [("Filter-Id", "128/64"), INTERIM],
    "odd": [("Filter-Id", "1235/765"), INTERIM],
    "burst": [("Filter-Id", "100000/20000"), INTERIM],
    "shared": [("Filter-Id", "100000/20000"), INTERIM],
    "shared_burst": [("Filter-Id", "100000/20000"), INTERIM],
    "vlan": [("Filter-Id", "100000/20000"), *VLAN, INTERIM],
    "walled": NO_WALL,
    "portal": NO_WALL,
    "profile": [("Filter-Id", "100000/20000"), INTERIM],
    "two_profiles": [("Filter-Id", "100000/20000"), INTERIM],
    "full": [
        ("Filter-Id", "100000/20000"),
        ("Framed-Pool", "v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("Delegated-IPv6-Prefix-Pool", "pd"),
        ("MS-Primary-DNS-Server", IPv4Address("192.0.2.1")),
        ("MS-Secondary-DNS-Server", IPv4Address("192.0.2.2")),
        ("DNS-Server-IPv6-Address", IPv6Address("2001:db8::1")),
        ("DNS-Server-IPv6-Address", IPv6Address("2001:db8::2")),
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


def test_accel_reads_the_rates_of_the_plan() -> None:
    def accel(avps):
        down, up = dict(avps)["Filter-Id"].split("/")
        return int(down) * 1000, int(up) * 1000

    rates_come_out(DRIVER, accel, exact=False)


def test_change() -> None:
    common_rules(DRIVER)
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) == [("Filter-Id", "1000000/1000000")]
    assert DRIVER.change(PLAIN, but(PLAIN, session_timeout_seconds=60)) == [("Filter-Id", "100000/20000"), ("Session-Timeout", 60)]
    assert DRIVER.change(PLAIN, but(PLAIN, idle_timeout_seconds=60)) is None


def test_identify_by_session_id_alone() -> None:
    assert DRIVER.identify(SESSION) == [("Acct-Session-Id", "81a00001")]
