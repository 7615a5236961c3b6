from ipaddress import IPv4Address, IPv6Address

import pytest

from netd.extensions import Extensions
from tests.vendors.services import INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, agrees, common_rules, is_on_the_wire, rates_come_out
from vendors.coova.driver import Driver

DRIVER = Driver()
GOLDEN: Golden = {
    "plain": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), INTERIM],
    "gigabit": [("ChilliSpot-Bandwidth-Max-Up", 1_000_000), ("ChilliSpot-Bandwidth-Max-Down", 1_000_000), INTERIM],
    "five_gigabit": [("ChilliSpot-Bandwidth-Max-Up", 1_000_000), ("ChilliSpot-Bandwidth-Max-Down", 5_000_000), INTERIM],
    "slow": [("ChilliSpot-Bandwidth-Max-Up", 64), ("ChilliSpot-Bandwidth-Max-Down", 128), INTERIM],
    "odd": [("ChilliSpot-Bandwidth-Max-Up", 765), ("ChilliSpot-Bandwidth-Max-Down", 1235), INTERIM],
    "burst": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), INTERIM],
    "shared": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), INTERIM],
    "shared_burst": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), INTERIM],
    "vlan": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), *VLAN, INTERIM],
    "walled": [("ChilliSpot-Bandwidth-Max-Up", 512), ("ChilliSpot-Bandwidth-Max-Down", 1000), ("Filter-Id", "garden"), INTERIM],
    "portal": [
        ("ChilliSpot-Bandwidth-Max-Up", 512),
        ("ChilliSpot-Bandwidth-Max-Down", 1000),
        ("Filter-Id", "garden"),
        ("WISPr-Redirection-URL", "https://pay.example/"),
        INTERIM,
    ],
    "profile": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), INTERIM],
    "two_profiles": [("ChilliSpot-Bandwidth-Max-Up", 20_000), ("ChilliSpot-Bandwidth-Max-Down", 100_000), INTERIM],
    "full": [
        ("ChilliSpot-Bandwidth-Max-Up", 20_000),
        ("ChilliSpot-Bandwidth-Max-Down", 100_000),
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
    is_on_the_wire(extensions, DRIVER.grant(SERVICES[name]))


def test_chilli_reads_the_rates_of_the_plan() -> None:
    def chilli(avps):
        return tuple(dict(avps)[f"ChilliSpot-Bandwidth-Max-{way}"] * 1000 for way in ("Down", "Up"))

    rates_come_out(DRIVER, chilli, exact=False)


def test_change() -> None:
    common_rules(DRIVER)
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) == GOLDEN["gigabit"]
    assert DRIVER.change(PLAIN, SERVICES["walled"]) is None
    assert DRIVER.change(SERVICES["walled"], PLAIN) is None


def test_identify_must_name_the_user() -> None:
    assert DRIVER.identify(SESSION) == [("User-Name", "alice@example.net"), ("Acct-Session-Id", "81a00001")]
