from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest

from netd import sdk
from netd.sdk import Service

PLAN = Service(down_bps=100_000_000, up_bps=20_000_000, profile="gold", wall="garden", wall_url="https://pay.example/")
WALLED = msgspec.structs.replace(PLAN, walled=True, down_bps=1_000_000, up_bps=1_000_000)


def but(service: Service, **fields: object) -> Service:
    return msgspec.structs.replace(service, **fields)


def test_timers_and_pools_stand_for_what_is_set() -> None:
    assert sdk.timers(PLAN) == [("Acct-Interim-Interval", 300)]
    assert sdk.timers(but(PLAN, session_timeout_seconds=0, idle_timeout_seconds=0))[:2] == [("Session-Timeout", 0), ("Idle-Timeout", 0)]
    assert sdk.pools(PLAN) == []
    assert sdk.pools(but(PLAN, delegated_ipv6_pool="pd"), delegated="X") == [("X", "pd")]


def test_resolvers_are_sorted_by_family_and_counted_by_attributes() -> None:
    dns = (*(IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3)), IPv6Address("::1"))
    assert sdk.resolvers(but(PLAN, dns=dns), ipv4=("A", "B"), ipv6=("C",)) == [
        ("A", IPv4Address("192.0.2.1")),
        ("B", IPv4Address("192.0.2.2")),
        ("C", IPv6Address("::1")),
    ]


@pytest.mark.parametrize(("bps", "expected"), [(1, 1), (499, 1), (1499, 1), (1500, 2), (64_000, 64), (100_000_000, 100_000)])
def test_kbps_rounds_to_the_nearest_but_never_to_nothing(bps: int, expected: int) -> None:
    assert sdk.kbps(bps) == expected


def test_profiles_for_both_ways() -> None:
    assert sdk.both_ways("gold") == ("gold", "gold")
    assert sdk.both_ways("u/d") == ("u", "d")


def test_what_counts_for_nothing_does_not_differ() -> None:
    assert sdk.differing(PLAN, but(PLAN, wall="other", wall_url=None)) == frozenset()
    assert sdk.differing(WALLED, but(WALLED, profile=None)) == frozenset()
    assert sdk.differing(WALLED, but(WALLED, wall="other")) == {"wall"}
    assert sdk.differing(PLAN, WALLED) == {"down_bps", "up_bps", "profile", "walled", "wall", "wall_url"}


@pytest.mark.parametrize(
    ("before", "after", "settable", "expected"),
    [
        (None, PLAN, frozenset(Service.__struct_fields__), False),
        (PLAN, PLAN, frozenset(), True),
        (PLAN, but(PLAN, interim_seconds=60), frozenset(), True),
        (PLAN, but(PLAN, up_bps=1), frozenset(), False),
        (PLAN, but(PLAN, up_bps=1), sdk.RATES, True),
        (but(PLAN, burst_up_bps=1), PLAN, sdk.RATES, True),
        (PLAN, but(PLAN, profile="silver"), sdk.RATES | {"profile"}, True),
        (PLAN, but(PLAN, profile=None), sdk.RATES | {"profile"}, False),
        (PLAN, WALLED, sdk.RATES | {"profile"}, False),
        (PLAN, WALLED, sdk.RATES | {"profile", "walled", "wall", "wall_url"}, True),
        (WALLED, PLAN, sdk.RATES | {"profile", "walled", "wall", "wall_url"}, True),
        (WALLED, but(PLAN, profile=None), sdk.RATES | {"walled", "wall", "wall_url"}, True),
    ],
)
def test_reachable(before: Service | None, after: Service, settable: frozenset[str], expected: bool) -> None:
    assert sdk.reachable(before, after, settable) is expected
