import re
from ipaddress import IPv6Address

import pytest

from netd.extensions import Extensions
from tests.vendors.services import INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.cisco.driver import Driver

DRIVER = Driver()
GOLDEN: Golden = {
    "plain": [("Cisco-Account-Info", "QU;20000000;3750000;D;100000000;18750000"), INTERIM],
    "gigabit": [("Cisco-Account-Info", "QU;1000000000;187500000;D;1000000000;187500000"), INTERIM],
    "five_gigabit": [("Cisco-Account-Info", "QU;1000000000;187500000;D;5000000000;937500000"), INTERIM],
    "slow": [("Cisco-Account-Info", "QU;64000;12000;D;128000;24000"), INTERIM],
    "odd": [("Cisco-Account-Info", "QU;765432;143518;D;1234567;231481"), INTERIM],
    "burst": [("Cisco-Account-Info", "QU;20000000;3750000;D;100000000;18750000"), INTERIM],
    "shared": [("Cisco-Account-Info", "QU;20000000;3750000;D;100000000;18750000"), INTERIM],
    "shared_burst": [("Cisco-Account-Info", "QU;20000000;3750000;D;100000000;18750000"), INTERIM],
    "vlan": [("Cisco-Account-Info", "QU;20000000;3750000;D;100000000;18750000"), *VLAN, INTERIM],
    "walled": [("Cisco-Account-Info", "QU;512000;96000;D;1000000;187500"), ("Cisco-Account-Info", "Agarden"), INTERIM],
    "portal": [("Cisco-Account-Info", "QU;512000;96000;D;1000000;187500"), ("Cisco-Account-Info", "Agarden"), INTERIM],
    "profile": [("Cisco-AVPair", "subscriber:sub-qos-policy-in=gold"), ("Cisco-AVPair", "subscriber:sub-qos-policy-out=gold"), INTERIM],
    "two_profiles": [("Cisco-AVPair", "subscriber:sub-qos-policy-in=gold-a"), ("Cisco-AVPair", "subscriber:sub-qos-policy-out=gold-b"), INTERIM],
    "full": [
        ("Cisco-AVPair", "subscriber:sub-qos-policy-in=gold"),
        ("Cisco-AVPair", "subscriber:sub-qos-policy-out=gold"),
        ("Cisco-AVPair", "ip:addr-pool=v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("Delegated-IPv6-Prefix-Pool", "pd"),
        ("Cisco-AVPair", "ip:dns-servers=192.0.2.1 192.0.2.2"),
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
        for name, value in avps:
            if name == "Cisco-Account-Info" and value.startswith("Q"):
                match = re.fullmatch(r"QU;(\d+);(\d+);D;(\d+);(\d+)", value)
                assert match, value
                up, up_burst, down, down_burst = match.groups()
                assert int(up_burst) == int(int(up) * 1.5 / 8)
                assert int(down_burst) == int(int(down) * 1.5 / 8)
                return int(down), int(up)
        return None

    rates_come_out(DRIVER, router, exact=True)


def test_change() -> None:
    common_rules(DRIVER)
    gold, pair, walled = (SERVICES[name] for name in ("profile", "two_profiles", "walled"))
    assert DRIVER.change(gold, pair) == GOLDEN["two_profiles"][:-1]
    assert DRIVER.change(gold, but(gold, down_bps=1)) == GOLDEN["profile"][:-1]
    for before, after in ((PLAIN, SERVICES["gigabit"]), (PLAIN, gold), (gold, PLAIN), (gold, walled), (walled, gold)):
        assert DRIVER.change(before, after) is None


def test_identify_by_session_id_alone() -> None:
    assert DRIVER.identify(SESSION) == [("Acct-Session-Id", "81a00001")]
