"""The services and sessions that every vendor's golden table is about, and what is asked of all tables alike."""

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec
import pytest

from netd import sdk
from netd.extensions import Extensions
from netd.sdk import Access, Avp, LiveSession, Service
from netd.wire import attributes

M = 1_000_000

PLAIN = Service(down_bps=100 * M, up_bps=20 * M)
SERVICES: Mapping[str, Service] = {
    "plain": PLAIN,
    "gigabit": Service(down_bps=1000 * M, up_bps=1000 * M),
    "five_gigabit": Service(down_bps=5000 * M, up_bps=1000 * M),
    "slow": Service(down_bps=128_000, up_bps=64_000),
    "odd": Service(down_bps=1_234_567, up_bps=765_432),
    "burst": Service(
        down_bps=100 * M,
        up_bps=20 * M,
        burst_down_bps=200 * M,
        burst_up_bps=40 * M,
        burst_threshold_down_bps=80 * M,
        burst_threshold_up_bps=16 * M,
        burst_seconds=8,
        priority=3,
    ),
    "shared": Service(down_bps=100 * M, up_bps=20 * M, committed_down_bps=5 * M, committed_up_bps=1 * M),
    "shared_burst": Service(
        down_bps=100 * M,
        up_bps=20 * M,
        burst_down_bps=200 * M,
        burst_up_bps=40 * M,
        burst_seconds=8,
        committed_down_bps=12_500_000,
        committed_up_bps=2_500_000,
    ),
    "vlan": Service(down_bps=100 * M, up_bps=20 * M, vlan="100"),
    "walled": Service(down_bps=1 * M, up_bps=512_000, walled=True, wall="garden", profile="gold"),
    "portal": Service(down_bps=1 * M, up_bps=512_000, walled=True, wall="garden", wall_url="https://pay.example/"),
    "profile": Service(down_bps=100 * M, up_bps=20 * M, profile="gold"),
    "two_profiles": Service(down_bps=100 * M, up_bps=20 * M, profile="gold-a/gold-b"),
    "full": Service(
        down_bps=100 * M,
        up_bps=20 * M,
        profile="gold",
        ipv4_pool="v4",
        ipv6_pool="v6",
        delegated_ipv6_pool="pd",
        dns=(IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"), IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2"), IPv4Address("192.0.2.3")),
        session_timeout_seconds=86_400,
        idle_timeout_seconds=900,
        interim_seconds=600,
    ),
}

SESSION = LiveSession(
    username="alice@example.net",
    acct_session_id="81a00001",
    nas_ip_address=IPv4Address("198.51.100.1"),
    nas_port_id="1/1/4:501.1001",
    calling_station_id="00:11:22:33:44:55",
    framed_ip_address=IPv4Address("203.0.113.9"),
    framed_ipv6_prefix=IPv6Network("2001:db8:1::/64"),
    delegated_ipv6_prefix=IPv6Network("2001:db8:2::/56"),
)
BARE_SESSION = LiveSession(username="bob", acct_session_id="81a00002", nas_ip_address=IPv4Address("198.51.100.1"))

VLAN: Sequence[Avp] = (("Tunnel-Type", 13), ("Tunnel-Medium-Type", 6), ("Tunnel-Private-Group-Id", "100"))
INTERIM: Avp = ("Acct-Interim-Interval", 300)

Golden = Mapping[str, Sequence[Avp] | str]
"""By name of the service: the attributes, in order, or a piece of the reason why it is refused."""


def but(service: Service, **fields: object) -> Service:
    return msgspec.structs.replace(service, **fields)


def agrees(driver: Access, golden: Golden, name: str) -> None:
    """The driver grants exactly what the table says, and refuses the same in a CoA as in a login."""
    service, expected = SERVICES[name], golden[name]
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(expected)):
            driver.grant(service)
        with pytest.raises(ValueError, match=re.escape(expected)):
            driver.change(PLAIN, service)
    else:
        assert list(driver.grant(service)) == list(expected)


def rates_come_out(driver: Access, rates: Callable[[Sequence[Avp]], tuple[int, int] | None], exact: bool) -> None:
    """What a device would read from the attributes is (down, up) of the service; ``rates`` gives None where a profile stands for them."""
    seen = 0
    for name, service in SERVICES.items():
        try:
            read = rates(driver.grant(service))
        except ValueError as refusal:
            assert "bit/s" in str(refusal) or "profile" in str(refusal) or service.walled, name
            continue
        if read is None:
            assert service.profile is not None, f"{name}: no rate and no profile"
            continue
        seen += 1
        if exact:
            assert read == (service.down_bps, service.up_bps), name
        else:  # kbit/s: within half of one
            assert abs(read[0] - service.down_bps) <= 500, name
            assert abs(read[1] - service.up_bps) <= 500, name
    assert seen


def is_on_the_wire(extensions: Extensions, avps: Sequence[Avp]) -> None:
    """The attributes exist in the dictionary and take the values: encoded and decoded they are the same."""
    octets = attributes.encode(extensions.dictionary, avps)
    decoded = [(item.name if item.tag is None else f"{item.name}:{item.tag}", item.value) for item in attributes.decode(extensions.dictionary, octets)]
    assert [(name.lower(), value) for name, value in decoded] == [(name.lower(), value) for name, value in avps]


def common_rules(driver: Access) -> None:
    """What holds for every vendor's change()."""
    full = SERVICES["full"]
    assert isinstance(driver, sdk.Access)
    assert driver.change(None, full) is None, "with nothing known of the session only a new login is sure"
    for field, value in {"ipv4_pool": "other", "ipv6_pool": "other", "delegated_ipv6_pool": "other", "dns": ()}.items():
        assert driver.change(full, but(full, **{field: value})) is None, f"{field} cannot be changed in a live session"
    assert driver.change(full, but(full, session_timeout_seconds=None)) is None, "a CoA takes nothing away"
    for before, after in ((None, "100"), ("100", "200"), ("100", None)):
        assert driver.change(but(full, vlan=before), but(full, vlan=after)) is None, "no CoA moves a session to another VLAN"
