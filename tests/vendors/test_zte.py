from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest

from netd.extensions import Extensions
from netd.sdk import Avp
from tests.vendors.services import INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.zte.driver import Driver

DRIVER = Driver()
PEAKS: Sequence[Avp] = (("ZTE-Rate-Bust-UPIR", 20_000_000), ("ZTE-Rate-Bust-DPIR", 100_000_000))
GOLDEN: Golden = {
    "plain": [("ZTE-Rate-Ctrl-SCR-Up", 20_000_000), ("ZTE-Rate-Ctrl-SCR-Down", 100_000_000), INTERIM],
    "gigabit": [("ZTE-Rate-Ctrl-SCR-Up", 1_000_000_000), ("ZTE-Rate-Ctrl-SCR-Down", 1_000_000_000), INTERIM],
    "five_gigabit": "down 5000000000 bit/s is more than the 4294967295 bit/s",
    "slow": [("ZTE-Rate-Ctrl-SCR-Up", 64_000), ("ZTE-Rate-Ctrl-SCR-Down", 128_000), INTERIM],
    "odd": [("ZTE-Rate-Ctrl-SCR-Up", 765_432), ("ZTE-Rate-Ctrl-SCR-Down", 1_234_567), INTERIM],
    "burst": [("ZTE-Rate-Ctrl-SCR-Up", 20_000_000), ("ZTE-Rate-Ctrl-SCR-Down", 100_000_000), INTERIM],
    "shared": [
        ("ZTE-Rate-Ctrl-SCR-Up", 1_000_000),
        ("ZTE-Rate-Ctrl-SCR-Down", 5_000_000),
        ("ZTE-Rate-Bust-UPIR", 20_000_000),
        ("ZTE-Rate-Bust-DPIR", 100_000_000),
        INTERIM,
    ],
    "shared_burst": [
        ("ZTE-Rate-Ctrl-SCR-Up", 2_500_000),
        ("ZTE-Rate-Ctrl-SCR-Down", 12_500_000),
        ("ZTE-Rate-Bust-UPIR", 20_000_000),
        ("ZTE-Rate-Bust-DPIR", 100_000_000),
        INTERIM,
    ],
    "vlan": [("ZTE-Rate-Ctrl-SCR-Up", 20_000_000), ("ZTE-Rate-Ctrl-SCR-Down", 100_000_000), *VLAN, INTERIM],
    "walled": [("ZTE-Rate-Ctrl-SCR-Up", 512_000), ("ZTE-Rate-Ctrl-SCR-Down", 1_000_000), ("Filter-Id", "garden"), INTERIM],
    "portal": [("ZTE-Rate-Ctrl-SCR-Up", 512_000), ("ZTE-Rate-Ctrl-SCR-Down", 1_000_000), ("Filter-Id", "garden"), INTERIM],
    "profile": [("ZTE-QOS-Profile-Up", "gold"), ("ZTE-QoS-Profile-Down", "gold"), INTERIM],
    "two_profiles": [("ZTE-QOS-Profile-Up", "gold-a"), ("ZTE-QoS-Profile-Down", "gold-b"), INTERIM],
    "full": [
        ("ZTE-QOS-Profile-Up", "gold"),
        ("ZTE-QoS-Profile-Down", "gold"),
        ("Framed-Pool", "v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("Delegated-IPv6-Prefix-Pool", "pd"),
        ("ZTE-Client-DNS-Pri", IPv4Address("192.0.2.1")),
        ("ZTE-Client-DNS-Sec", IPv4Address("192.0.2.2")),
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


def test_a_gateway_reads_the_rates_of_the_plan() -> None:
    def gateway(avps):
        numbers = dict(avps)
        if "ZTE-Rate-Ctrl-SCR-Up" not in numbers:
            return None
        return (  # what a session can have at most: the peak where one is named, else the sustained rate
            numbers.get("ZTE-Rate-Bust-DPIR", numbers["ZTE-Rate-Ctrl-SCR-Down"]),
            numbers.get("ZTE-Rate-Bust-UPIR", numbers["ZTE-Rate-Ctrl-SCR-Up"]),
        )

    rates_come_out(DRIVER, gateway, exact=True)


def test_every_change_is_a_new_login() -> None:
    common_rules(DRIVER)
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) is None
    assert DRIVER.grant(but(SERVICES["five_gigabit"], profile="gold")) == GOLDEN["profile"]


def test_identify() -> None:
    assert DRIVER.identify(SESSION) == [("User-Name", "alice@example.net"), ("Acct-Session-Id", "81a00001")]
