import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec
import pytest

from netd.extensions import Extensions
from netd.sdk import Avp
from tests.vendors.services import BARE_SESSION, INTERIM, PLAIN, SERVICES, SESSION, VLAN, Golden, agrees, but, common_rules, is_on_the_wire, rates_come_out
from vendors.nokia.driver import Driver

DRIVER = Driver()


def overrides(up_kbps: int, down_kbps: int, committed_up_kbps: int = 0, committed_down_kbps: int = 0) -> list[Avp]:
    up = f",cir={committed_up_kbps}" if committed_up_kbps else ""
    texts = [f"i:a:root:rate={up_kbps}", f"i:q:1:pir={up_kbps}{up}", f"e:r:rate={down_kbps}"]
    texts += [f"e:q:1:pir={down_kbps},cir={committed_down_kbps}"] if committed_down_kbps else []
    return [("Alc-Subscriber-QoS-Override", text) for text in texts]


GOLDEN: Golden = {
    "plain": [*overrides(20_000, 100_000), INTERIM],
    "gigabit": [*overrides(1_000_000, 1_000_000), INTERIM],
    "five_gigabit": [*overrides(1_000_000, 5_000_000), INTERIM],
    "slow": [*overrides(64, 128), INTERIM],
    "odd": [*overrides(765, 1235), INTERIM],
    "burst": [*overrides(20_000, 100_000), INTERIM],
    "shared": [*overrides(20_000, 100_000, 1000, 5000), INTERIM],
    "shared_burst": [*overrides(20_000, 100_000, 2500, 12_500), INTERIM],
    "vlan": [*overrides(20_000, 100_000), *VLAN, INTERIM],
    "walled": [("Alc-SLA-Prof-Str", "garden"), *overrides(512, 1000), INTERIM],
    "portal": [("Alc-SLA-Prof-Str", "garden"), *overrides(512, 1000), ("Alc-Portal-Url", "https://pay.example/"), INTERIM],
    "profile": [("Alc-SLA-Prof-Str", "gold"), *overrides(20_000, 100_000), INTERIM],
    "two_profiles": [("Alc-Subsc-Prof-Str", "gold-a"), ("Alc-SLA-Prof-Str", "gold-b"), *overrides(20_000, 100_000), INTERIM],
    "full": [
        ("Alc-SLA-Prof-Str", "gold"),
        *overrides(20_000, 100_000),
        ("Framed-Pool", "v4"),
        ("Framed-IPv6-Pool", "v6"),
        ("Alc-Delegated-IPv6-Pool", "pd"),
        ("Alc-Primary-Dns", IPv4Address("192.0.2.1")),
        ("Alc-Secondary-Dns", IPv4Address("192.0.2.2")),
        ("Alc-Ipv6-Primary-Dns", IPv6Address("2001:db8::1")),
        ("Alc-Ipv6-Secondary-Dns", IPv6Address("2001:db8::2")),
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
    # The grammar of the 7750 SR RADIUS Attributes Reference Guide, table 3: an aggregate rate exists on egress only.
    grammar = re.compile(r"([iI]|[eE]):(?:([qQpP]):\d+:pir|(?<=e:)([rR]):rate|([aA]):root:rate)=(\d+)(?:,cir=\d+)?")

    def router(avps):
        up: set[int] = set()
        down: set[int] = set()
        for name, value in avps:
            if name == "Alc-Subscriber-QoS-Override":
                match = grammar.fullmatch(value)
                assert match, value
                (up if match[1] in "iI" else down).add(int(match[5]) * 1000)
        assert len(up) == len(down) == 1
        return down.pop(), up.pop()

    rates_come_out(DRIVER, router, exact=False)


def test_a_rate_is_never_nothing() -> None:
    assert DRIVER.grant(but(PLAIN, up_bps=1, down_bps=1499)) == [*overrides(1, 1), INTERIM]


@pytest.mark.parametrize("profile", ["", "/", "gold/", "/gold", "a/b/c"])
def test_a_profile_that_is_none_is_refused(profile: str) -> None:
    with pytest.raises(ValueError, match="profile"):
        DRIVER.grant(but(PLAIN, profile=profile))


def test_change() -> None:
    common_rules(DRIVER)
    gold, pair, walled, portal = (SERVICES[name] for name in ("profile", "two_profiles", "walled", "portal"))
    assert DRIVER.change(PLAIN, SERVICES["gigabit"]) == overrides(1_000_000, 1_000_000)
    assert DRIVER.change(PLAIN, gold) == [("Alc-SLA-Prof-Str", "gold"), *overrides(20_000, 100_000)]
    assert DRIVER.change(gold, PLAIN) is None, "which profile the default is, only the router knows"
    assert DRIVER.change(pair, gold) is None, "gold names no subscriber profile to replace gold-a"
    assert DRIVER.change(gold, pair) == GOLDEN["two_profiles"][:-1]
    assert DRIVER.change(but(PLAIN, profile="a/b/c"), PLAIN) is None
    shared = SERVICES["shared"]
    assert DRIVER.change(PLAIN, shared) == overrides(20_000, 100_000, 1000, 5000)
    assert DRIVER.change(shared, but(shared, committed_down_bps=7_000_000)) == overrides(20_000, 100_000, 1000, 7000)
    assert DRIVER.change(shared, PLAIN) is None, "an override that is named no more is not known to go"
    # behind the wall and out again
    assert DRIVER.change(gold, portal) == GOLDEN["portal"][:-1]
    assert DRIVER.change(portal, gold) == GOLDEN["profile"][:-1]
    assert DRIVER.change(PLAIN, walled) == GOLDEN["walled"][:-1]
    assert DRIVER.change(walled, PLAIN) is None


def test_identify_by_port_and_one_address_else_by_session_id() -> None:
    port: Avp = ("NAS-Port-Id", "1/1/4:501.1001")
    assert DRIVER.identify(SESSION) == [port, ("Framed-IP-Address", IPv4Address("203.0.113.9"))]
    only_v6 = msgspec.structs.replace(SESSION, framed_ip_address=None)
    assert DRIVER.identify(only_v6) == [port, ("Framed-IPv6-Prefix", IPv6Network("2001:db8:1::/64"))]
    only_delegated = msgspec.structs.replace(only_v6, framed_ipv6_prefix=None)
    assert DRIVER.identify(only_delegated) == [port, ("Delegated-IPv6-Prefix", IPv6Network("2001:db8:2::/56"))]
    assert DRIVER.identify(msgspec.structs.replace(only_delegated, delegated_ipv6_prefix=None)) == [("Acct-Session-Id", "81a00001")]
    assert DRIVER.identify(msgspec.structs.replace(SESSION, nas_port_id=None)) == [("Acct-Session-Id", "81a00001")]
    assert DRIVER.identify(BARE_SESSION) == [("Acct-Session-Id", "81a00002")]
