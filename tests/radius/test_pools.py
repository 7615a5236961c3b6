"""Addresses from pools end to end: what a NAS that is not ours sees on the wire."""

from pyrad import packet as pyrad

from tests.radius.world import TestNas


async def add_pools(bras: TestNas, **more) -> None:
    await bras.world.add_pool("v4", "ipv4", ("100.64.0.0/24",), **more)
    await bras.world.add_pool("v6", "ipv6", ("2001:db8::/48",), **more)
    await bras.world.add_pool("pd", "delegated", ("2001:db8:100::/40",), **more)


async def test_a_dual_stack_subscriber_gets_all_three_kinds(bras: TestNas) -> None:
    await add_pools(bras)
    answer = await bras.login(Calling_Station_Id="line 1")
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    assert answer["Framed-IP-Address"] == ["100.64.0.1"], "neither network nor broadcast address"
    assert answer["Framed-IPv6-Prefix"] == ["2001:db8::/64"]
    assert answer["Delegated-IPv6-Prefix"] == ["2001:db8:100::/56"]
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]
