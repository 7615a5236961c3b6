from ipaddress import IPv4Address, IPv6Network

import pytest

from netd.extensions import Extensions
from netd.sdk import Avp
from tests.vendors.services import BARE_SESSION, INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, M, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.huawei.driver import Driver

DRIVER = Driver()


def rates(up: int, down: int, committed_up: int | None = None, committed_down: int | None = None) -> list[Avp]:
    return [
        ("Huawei-Input-Average-Rate", committed_up or up),
        ("Huawei-Input-Peak-Rate", up),
        ("Huawei-Output-Average-Rate", committed_down or down),
        ("Huawei-Output-Peak-Rate", down),
    ]


GOLDEN: Golden = {
    "plain": [*rates(20_000_000, 100_000_000), INTERIM],
    "gigabit": [*rates(1_000_000_000, 1_000_000_000), INTERIM],
    "five_gigabit": "down 5000000000 bit/s is more than the 4294967295 bit/s",
    "slow": [*rates(64_000, 128_000), INTERIM],
    "odd": [*rates(765_432, 1_234_567), INTERIM],
    "burst": [*rates(20_000_000, 100_000_000), INTERIM],
    "shared": [*rates(20 * M, 100 * M, 1 * M, 5 * M), INTERIM],
    "shared_burst": [*rates(20 * M, 100 * M, 2_500_000, 12_500_000), INTERIM],
    "vlan": [*rates(20 * M, 100 * M), *VLAN, INTERIM],
    "walled": [*rates(512_000, 1_000_000), ("Filter-Id", "garden"), INTERIM],
    "portal": [*rates(512_000, 1_000_000), ("Filter-Id", "garden"), ("Huawei-HTTP-Redirect-URL", "https://pay.example/"), INTERIM],
    "profile": [("Huawei-Qos-Profile-Name", "gold"), INTERIM],
    "two_profiles": [("Huawei-Qos-Profile-Name", "gold-a"), ("Huawei-Down-QOS-Profile-Name", "gold-b"), INTERIM],
    "full": [
        ("Huawei-Qos-Profile-Name", "gold"),
        ("Framed-Pool", "v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("Huawei-Delegated-IPv6-Prefix-Pool", "pd"),
        ("Huawei-Primary-DNS", IPv4Address("192.0.2.1")),
        ("Huawei-Secondary-DNS", IPv4Address("192.0.2.2")),
        ("Huawei-DNS-Server-IPv6-Address", IPv6Network("2001:db8::1/128")),
        ("Huawei-DNS-Server-IPv6-Address", IPv6Network("2001:db8::2/128")),
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


def test_a_router_reads_the_rates_of_the_plan() -> None:
    def router(avps):
        numbers = {name: value for name, value in avps if name.endswith("-Rate")}
        if not numbers:
            return None
        assert numbers["Huawei-Input-Peak-Rate"] >= numbers["Huawei-Input-Average-Rate"]
        assert numbers["Huawei-Output-Peak-Rate"] >= numbers["Huawei-Output-Average-Rate"]
        return numbers["Huawei-Output-Peak-Rate"], numbers["Huawei-Input-Peak-Rate"]

    rates_come_out(DRIVER, router, exact=True)


def test_ceiling(extensions: Extensions) -> None:
    most = 2**32 - 1
    is_on_the_wire(extensions, DRIVER.grant(but(PLAIN, down_bps=most, up_bps=most)))
    for field in ("down_bps", "up_bps"):
        with pytest.raises(ValueError, match="QoS profile"):
            DRIVER.grant(but(PLAIN, **{field: most + 1}))
    assert DRIVER.grant(but(SERVICES["five_gigabit"], profile="gold")) == [("Huawei-Qos-Profile-Name", "gold"), INTERIM]


@pytest.mark.parametrize("profile", ["", "/", "gold/", "/gold", "a/b/c"])
def test_a_profile_that_is_none_is_refused(profile: str) -> None:
    with pytest.raises(ValueError, match="profile"):
        DRIVER.grant(but(PLAIN, profile=profile))


def test_change() -> None:
    common_rules(DRIVER)
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) == rates(1000 * M, 1000 * M)
    assert DRIVER.change(SERVICES["profile"], SERVICES["two_profiles"]) == GOLDEN["two_profiles"][:-1]
    assert DRIVER.change(PLAIN, SERVICES["shared"]) == rates(20 * M, 100 * M, 1 * M, 5 * M)
    assert DRIVER.change(SERVICES["shared"], PLAIN) == rates(20 * M, 100 * M)
    assert DRIVER.change(PLAIN, SERVICES["profile"]) is None
    assert DRIVER.change(SERVICES["profile"], PLAIN) is None
    assert DRIVER.change(PLAIN, SERVICES["walled"]) is None
    assert DRIVER.change(SERVICES["walled"], PLAIN) is None
    assert DRIVER.change(SERVICES["walled"], but(SERVICES["walled"], profile=None, up_bps=M)) == rates(M, M)


def test_identify() -> None:
    assert DRIVER.identify(SESSION) == [("User-Name", "alice@example.net"), ("Acct-Session-Id", "81a00001")]
    assert DRIVER.identify(BARE_SESSION) == [("User-Name", "bob"), ("Acct-Session-Id", "81a00002")]
