from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest

from netd.extensions import Extensions
from netd.sdk import Avp
from tests.vendors.services import INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.generic.driver import Driver

DRIVER = Driver()
GENERIC: Sequence[Avp] = (("WISPr-Bandwidth-Max-Up", 20_000_000), ("WISPr-Bandwidth-Max-Down", 100_000_000))
GOLDEN: Golden = {
    "plain": [("WISPr-Bandwidth-Max-Up", 20_000_000), ("WISPr-Bandwidth-Max-Down", 100_000_000), INTERIM],
    "gigabit": [("WISPr-Bandwidth-Max-Up", 1_000_000_000), ("WISPr-Bandwidth-Max-Down", 1_000_000_000), INTERIM],
    "five_gigabit": "down 5000000000 bit/s is more than the 4294967295 bit/s",
    "slow": [("WISPr-Bandwidth-Max-Up", 64_000), ("WISPr-Bandwidth-Max-Down", 128_000), INTERIM],
    "odd": [("WISPr-Bandwidth-Max-Up", 765_432), ("WISPr-Bandwidth-Max-Down", 1_234_567), INTERIM],
    "burst": [("WISPr-Bandwidth-Max-Up", 20_000_000), ("WISPr-Bandwidth-Max-Down", 100_000_000), INTERIM],
    "shared": [*GENERIC, ("WISPr-Bandwidth-Min-Up", 1_000_000), ("WISPr-Bandwidth-Min-Down", 5_000_000), INTERIM],
    "shared_burst": [*GENERIC, ("WISPr-Bandwidth-Min-Up", 2_500_000), ("WISPr-Bandwidth-Min-Down", 12_500_000), INTERIM],
    "vlan": [*GENERIC, *VLAN, INTERIM],
    "walled": [("WISPr-Bandwidth-Max-Up", 512_000), ("WISPr-Bandwidth-Max-Down", 1_000_000), ("Filter-Id", "garden"), INTERIM],
    "portal": [
        ("WISPr-Bandwidth-Max-Up", 512_000),
        ("WISPr-Bandwidth-Max-Down", 1_000_000),
        ("Filter-Id", "garden"),
        ("WISPr-Redirection-URL", "https://pay.example/"),
        INTERIM,
    ],
    "profile": [("WISPr-Bandwidth-Max-Up", 20_000_000), ("WISPr-Bandwidth-Max-Down", 100_000_000), INTERIM],
    "two_profiles": [("WISPr-Bandwidth-Max-Up", 20_000_000), ("WISPr-Bandwidth-Max-Down", 100_000_000), INTERIM],
    "full": [
        ("WISPr-Bandwidth-Max-Up", 20_000_000),
        ("WISPr-Bandwidth-Max-Down", 100_000_000),
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


def test_a_nas_reads_the_rates_of_the_plan() -> None:
    def nas(avps):
        return dict(avps)["WISPr-Bandwidth-Max-Down"], dict(avps)["WISPr-Bandwidth-Max-Up"]

    rates_come_out(DRIVER, nas, exact=True)


def test_change() -> None:
    common_rules(DRIVER)
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) == GOLDEN["gigabit"]
    assert DRIVER.change(PLAIN, but(PLAIN, idle_timeout_seconds=60)) == [*GOLDEN["plain"][:-1], ("Idle-Timeout", 60), INTERIM]
    assert DRIVER.change(PLAIN, SERVICES["shared"]) == GOLDEN["shared"]
    assert DRIVER.change(SERVICES["shared"], PLAIN) is None, "a CoA takes no attribute away"
    assert DRIVER.change(PLAIN, SERVICES["walled"]) is None
    assert DRIVER.change(SERVICES["walled"], PLAIN) is None


def test_identify() -> None:
    assert DRIVER.identify(SESSION) == [("User-Name", "alice@example.net"), ("Acct-Session-Id", "81a00001")]
