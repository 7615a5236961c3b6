import re
from ipaddress import IPv4Address, IPv6Address

import pytest

from netd.extensions import Extensions
from tests.vendors.services import BARE_SESSION, INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, M, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.mikrotik.driver import Driver, rate_limit

DRIVER = Driver()
GOLDEN: Golden = {
    "plain": [("Mikrotik-Rate-Limit", "20M/100M"), INTERIM],
    "gigabit": [("Mikrotik-Rate-Limit", "1000M/1000M"), INTERIM],
    "five_gigabit": [("Mikrotik-Rate-Limit", "1000M/5000M"), INTERIM],
    "slow": [("Mikrotik-Rate-Limit", "64k/128k"), INTERIM],
    "odd": [("Mikrotik-Rate-Limit", "765432/1234567"), INTERIM],
    "burst": [("Mikrotik-Rate-Limit", "20M/100M 40M/200M 16M/80M 8/8 3"), INTERIM],
    "shared": [("Mikrotik-Rate-Limit", "20M/100M 0/0 0/0 0/0 8 1M/5M"), INTERIM],
    "shared_burst": [("Mikrotik-Rate-Limit", "20M/100M 40M/200M 20M/100M 8/8 8 2500k/12500k"), INTERIM],
    "vlan": [("Mikrotik-Rate-Limit", "20M/100M"), *VLAN, INTERIM],
    "walled": [("Mikrotik-Rate-Limit", "512k/1M"), ("Mikrotik-Address-List", "garden"), INTERIM],
    "portal": [("Mikrotik-Rate-Limit", "512k/1M"), ("Mikrotik-Address-List", "garden"), INTERIM],
    "profile": [("Mikrotik-Rate-Limit", "20M/100M"), ("Mikrotik-Group", "gold"), INTERIM],
    "two_profiles": [("Mikrotik-Rate-Limit", "20M/100M"), ("Mikrotik-Group", "gold-a/gold-b"), INTERIM],
    "full": [
        ("Mikrotik-Rate-Limit", "20M/100M"),
        ("Mikrotik-Group", "gold"),
        ("Framed-Pool", "v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("Mikrotik-Delegated-IPv6-Pool", "pd"),
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


def test_a_router_reads_the_rates_of_the_plan() -> None:
    def router(avps):
        fields = re.fullmatch(r"(\d+)([kM]?)/(\d+)([kM]?)( .*)?", dict(avps)["Mikrotik-Rate-Limit"])
        assert fields
        unit = {"": 1, "k": 10**3, "M": 10**6}
        received, sent = int(fields[1]) * unit[fields[2]], int(fields[3]) * unit[fields[4]]
        return sent, received  # what the router sends is the subscriber's download

    rates_come_out(DRIVER, router, exact=True)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "20M/100M"),
        ({"priority": 8}, "20M/100M 0/0 0/0 0/0 8"),
        ({"burst_down_bps": 200 * M}, "20M/100M 0/200M 0/100M 0/1"),
        ({"burst_up_bps": 40 * M, "burst_seconds": 4}, "20M/100M 40M/0 20M/0 4/0"),
        ({"burst_down_bps": 200 * M, "burst_up_bps": 40 * M, "priority": 1}, "20M/100M 40M/200M 20M/100M 1/1 1"),
        ({"committed_down_bps": 5 * M}, "20M/100M 0/0 0/0 0/0 8 0/5M"),
        ({"committed_up_bps": M, "priority": 2}, "20M/100M 0/0 0/0 0/0 2 1M/0"),
        ({"burst_seconds": 4, "burst_threshold_up_bps": M}, "20M/100M"),
    ],
)
def test_rate_limit_fields_keep_their_places(fields, text: str) -> None:
    assert rate_limit(but(PLAIN, **fields)) == text


@pytest.mark.parametrize(("fields", "reason"), [({"priority": 0}, "1..8"), ({"priority": 9}, "1..8"), ({"burst_down_bps": 99 * M}, "below")])
def test_what_a_router_would_not_take_is_refused(fields, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        DRIVER.grant(but(PLAIN, **fields))


def test_change() -> None:
    common_rules(DRIVER)
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) == [("Mikrotik-Rate-Limit", "1000M/1000M")]
    assert DRIVER.change(SERVICES["burst"], PLAIN) == [("Mikrotik-Rate-Limit", "20M/100M")], "the old burst goes with the old string"
    assert DRIVER.change(PLAIN, SERVICES["shared"]) == [("Mikrotik-Rate-Limit", "20M/100M 0/0 0/0 0/0 8 1M/5M")]
    assert DRIVER.change(SERVICES["shared"], PLAIN) == [("Mikrotik-Rate-Limit", "20M/100M")], "the string is replaced as a whole"
    assert DRIVER.change(PLAIN, SERVICES["profile"]) == [("Mikrotik-Rate-Limit", "20M/100M"), ("Mikrotik-Group", "gold")]
    assert DRIVER.change(SERVICES["profile"], PLAIN) is None
    assert DRIVER.change(PLAIN, but(PLAIN, session_timeout_seconds=60)) == [("Mikrotik-Rate-Limit", "20M/100M"), ("Session-Timeout", 60)]
    assert DRIVER.change(PLAIN, but(PLAIN, interim_seconds=60)) == [("Mikrotik-Rate-Limit", "20M/100M")]


def test_the_wall_is_an_address_list_which_no_coa_changes() -> None:
    walled = SERVICES["walled"]
    assert DRIVER.change(PLAIN, walled) is None
    assert DRIVER.change(walled, PLAIN) is None
    assert DRIVER.change(walled, but(walled, wall="other")) is None
    assert DRIVER.change(walled, but(walled, up_bps=M)) == [("Mikrotik-Rate-Limit", "1M/1M")]


def test_identify() -> None:
    assert DRIVER.identify(SESSION) == [
        ("User-Name", "alice@example.net"),
        ("Acct-Session-Id", "81a00001"),
        ("Framed-IP-Address", IPv4Address("203.0.113.9")),
    ]
    assert DRIVER.identify(BARE_SESSION) == [("User-Name", "bob"), ("Acct-Session-Id", "81a00002")]
