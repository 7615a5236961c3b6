"""Address pools, their rules, and who has what."""

import msgspec
import pytest

from netd.domain import leases, pools, sites
from netd.domain.leases import HoldingQuery, LeaseQuery, NewFramedRoute, Release
from netd.domain.pools import MoreRanges, NewPool, NewPoolRule, PoolPatch
from netd.errors import Conflict, InvalidInput, NotFound
from netd.model.ranges import Span
from netd.store import leases as lease_store


async def make(database, actor, name="v4", kind="ipv4", ranges=("100.64.0.0/24",), **more):
    return await pools.create(database, actor, msgspec.convert({"name": name, "kind": kind, "ranges": ranges, **more}, NewPool))


async def lease(database, pool, subscriber, prefix):
    async with database.transaction() as conn:
        ((_, number, _, _),) = await lease_store.give(conn, [(pool.id, prefix, subscriber.id, 0, "line 1", "t")], [], 60.0)
    return number


async def spans(database, pool):
    async with database.acquire() as conn:
        return [span for _, span in await lease_store.spans(conn, pool.id)]


async def test_create_and_read(world, database, actor):
    made = await make(database, actor, exclusions=("100.64.0.10-100.64.0.19", "100.64.0.64/26"), gateway="100.64.0.1", vrf="red", grace_seconds=60)
    assert made.ranges == ("100.64.0.1-100.64.0.254",), "an IPv4 prefix stands for its hosts"
    assert made.exclusions == ("100.64.0.10-100.64.0.19", "100.64.0.64-100.64.0.127")
    assert (made.prefix_length, made.vrf, str(made.gateway), made.grace_seconds) == (32, "red", "100.64.0.1", 60)
    assert await pools.get(database, actor, made.id) == made
    usage = await pools.usage(database, actor, made.id)
    assert (usage.total, usage.used, usage.free) == (254 - 1 - 10 - 64, 0, 179)
    (row,) = await world.audited(actor)
    assert (row.action, row.after["ranges"]) == ("pool.create", ["100.64.0.1-100.64.0.254"])
    assert (await make(database, actor, "pd", "delegated", ("2001:db8::/40",))).prefix_length == 56
    assert (await make(database, actor, "v6", "ipv6", ("2001:db9::/40",))).prefix_length == 64


async def test_all_faults_at_once(database, actor):
    new = NewPool(name="p", kind="ipv4", prefix_length=24, ranges=("10.0.0.9-10.0.0.1", "2001:db8::/64", "10.0.0.5/24", "x"), gateway="::1", exclusions=("y",))
    with pytest.raises(InvalidInput) as caught:
        await pools.create(database, actor, new)
    assert {fault.where for fault in caught.value.faults} == {
        "/prefix_length", "/ranges/0", "/ranges/1", "/ranges/2", "/ranges/3", "/gateway", "/exclusions/0",
    }  # fmt: skip
    with pytest.raises(InvalidInput, match="no room for a /56"):
        await make(database, actor, "pd", "delegated", ("2001:db8::/60",))


async def test_what_is_taken_conflicts(database, actor, stranger):
    await make(database, actor)
    with pytest.raises(Conflict) as caught:
        await make(database, actor, "V4", ranges=("10.0.0.0/24",))
    assert caught.value.field == "name"
    with pytest.raises(Conflict) as caught:
        await make(database, actor, "other", ranges=("100.64.0.254-100.64.1.9",))
    assert caught.value.field == "ranges"
    await make(database, stranger)


async def test_update_moves_where_free_addresses_are_looked_for(world, database, actor):
    await world.plan(actor)
    alice, bob = await world.subscriber(actor), await world.subscriber(actor, "bob")
    pool = await make(database, actor, ranges=("100.64.0.1-100.64.0.9",))
    inside = await lease(database, pool, alice, "100.64.0.3")
    outside = await lease(database, pool, bob, "100.64.0.8")
    async with database.acquire() as conn:
        await conn.execute("update leases set until_at = now() - interval '1 hour', ended_at = now() where id = $1", outside)
    base = (100 << 24) + (64 << 16)
    after = await pools.update(database, actor, pool.id, PoolPatch(ranges=("100.64.0.1-100.64.0.5", "100.64.1.1"), exclusions=("100.64.0.4",)), version=1)
    assert (after.version, after.ranges, after.exclusions) == (2, ("100.64.0.1-100.64.0.5", "100.64.1.1"), ("100.64.0.4",))
    assert await spans(database, pool) == [Span(base + 1, base + 3), Span(base + 5, base + 5), Span(base + 257, base + 257)]
    assert [each.id for each in (await leases.page(database, actor, LeaseQuery())).items] == [inside]
    more = await pools.add_ranges(database, actor, pool.id, MoreRanges(ranges=("100.64.2.0-100.64.2.1",), exclusions=("100.64.0.5",)))
    assert (more.version, more.ranges[-1], more.exclusions) == (3, "100.64.2.0-100.64.2.1", ("100.64.0.4", "100.64.0.5"))
    assert (await pools.update(database, actor, pool.id, PoolPatch())) == more
    with pytest.raises(Conflict):
        await pools.update(database, actor, pool.id, PoolPatch(grace_seconds=5), version=1)
    row = (await world.audited(actor))[-1]
    assert (row.action, row.after) == ("pool.add_ranges", {"ranges": ["100.64.2.0-100.64.2.1"], "exclusions": ["100.64.0.5"]})


async def test_delete_only_what_nothing_is_leased_from(world, database, actor):
    await world.plan(actor)
    pool = await make(database, actor)
    await pools.create_rule(database, actor, NewPoolRule(pool="v4"))
    number = await lease(database, pool, await world.subscriber(actor), "100.64.0.3")
    with pytest.raises(Conflict, match="1 lease of pool v4 is in use"):
        await pools.delete(database, actor, pool.id)
    with pytest.raises(Conflict, match="in use by alice"):
        await leases.release(database, actor, number, Release())
    await leases.release(database, actor, number, Release(force=True))
    assert (await world.audited(actor))[-1].before["prefix"] == "100.64.0.3/32"
    await pools.delete(database, actor, pool.id)
    assert (await pools.rules(database, actor, pools.RuleQuery(count=True))).total == 0
    assert (await world.audited(actor))[-1].action == "pool.delete"
    with pytest.raises(NotFound):
        await pools.get(database, actor, pool.id)


async def test_rules(world, database, actor):
    await world.plan(actor, "home")
    await sites.create_site(database, actor, sites.NewSite(name="north"))
    await world.nas(actor, site="north", vrf="red")
    await world.nas(actor, "bras2", "10.0.0.2", site="NORTH")
    await make(database, actor)
    made = await pools.create_rule(database, actor, NewPoolRule(pool="V4", plan="HOME", nas="Bras1", site="North", vrf="red"))
    assert (made.pool, made.kind, made.plan, made.nas, made.site, made.vrf) == ("v4", "ipv4", "home", "bras1", "north", "red")
    everybody = await pools.create_rule(database, actor, NewPoolRule(pool="v4"))
    await make(database, actor, "other", ranges=("10.9.0.0/24",))
    with pytest.raises(Conflict) as caught:
        await pools.create_rule(database, actor, NewPoolRule(pool="other"))
    assert caught.value.field == "pool"
    with pytest.raises(InvalidInput) as faulty:
        await pools.create_rule(database, actor, NewPoolRule(pool="x", plan="x", nas="x", site="x"))
    assert {fault.where for fault in faulty.value.faults} == {"/pool", "/plan", "/nas", "/site"}
    assert (await pools.rules(database, actor, pools.RuleQuery(pool="v4"))).items == (made, everybody)
    assert (await pools.rules(database, actor, pools.RuleQuery(pool="other"))).items == ()
    await pools.delete_rule(database, actor, made.id)
    with pytest.raises(NotFound):
        await pools.delete_rule(database, actor, made.id)
    actions = [row.action for row in await world.audited(actor)]
    assert actions[-1] == "pool_rule.delete"


async def test_who_has_and_what_has(world, database, actor, stranger):
    await world.plan(actor)
    alice = await world.subscriber(actor, ipv6_prefix="2001:db8:1::/64")
    await world.subscriber(actor, "bob", ipv4="192.0.2.9", delegated_ipv6_prefix="2001:db8:2::/56")
    pool = await make(database, actor)
    await lease(database, pool, alice, "100.64.0.3")
    await leases.add_route(database, actor, alice.id, NewFramedRoute(prefix="10.5.0.0/16"))

    async def who(ip: str) -> list[tuple[str, str | None]]:
        return [(each.source, each.username) for each in (await leases.holdings(database, actor, HoldingQuery(ip=ip))).items]

    assert await who("100.64.0.3") == [("lease", "alice")]
    assert await who("192.0.2.9") == [("fixed", "bob")]
    assert await who("2001:db8:2:0:77::1") == [("fixed", "bob")]
    assert await who("2001:db8:1::5") == [("fixed", "alice")]
    assert await who("10.5.200.1") == [("route", "alice")]
    assert await who("10.6.0.1") == []
    mine = (await leases.holdings(database, actor, HoldingQuery(username="Alice"))).items
    assert [(each.source, str(each.prefix)) for each in mine] == [("fixed", "2001:db8:1::/64"), ("route", "10.5.0.0/16"), ("lease", "100.64.0.3/32")]
    for wrong in (HoldingQuery(), HoldingQuery(ip="10.0.0.1", username="alice"), HoldingQuery(username="nobody"), HoldingQuery(ip="x")):
        with pytest.raises(InvalidInput):
            await leases.holdings(database, actor, wrong)
    assert (await leases.holdings(database, stranger, HoldingQuery(ip="100.64.0.3"))).items == ()


async def test_lists_of_leases(world, database, actor, stranger):
    await world.plan(actor)
    pool = await make(database, actor)
    made = [await lease(database, pool, await world.subscriber(actor, f"u{n}"), f"100.64.0.{n}") for n in range(1, 6)]
    first = await leases.page(database, actor, LeaseQuery(limit=3, count=True), pool_id=pool.id)
    second = await leases.page(database, actor, LeaseQuery(limit=3, after=first.next))
    assert [each.id for each in (*first.items, *second.items)] == made
    assert (first.total, first.items[0].username, first.items[0].state, first.items[0].client_id) == (5, "u1", "in_use", "line 1")
    for query in (LeaseQuery(username="U2"), LeaseQuery(ip="100.64.0.2")):
        assert [each.id for each in (await leases.page(database, actor, query)).items] == [made[1]]
    assert (await leases.page(database, actor, LeaseQuery(state="grace", count=True))).total == 0
    assert (await leases.page(database, actor, LeaseQuery(pool="none"))).items == ()
    with pytest.raises(InvalidInput):
        await leases.page(database, actor, LeaseQuery(ip="none"))
    with pytest.raises(NotFound):
        await leases.page(database, stranger, LeaseQuery(), pool_id=pool.id)
    with pytest.raises(NotFound):
        await leases.release(database, stranger, made[0], Release(force=True))


async def test_routes(world, database, actor, stranger):
    await world.plan(actor)
    alice, bob = await world.subscriber(actor), await world.subscriber(actor, "bob")
    made = await leases.add_route(database, actor, alice.id, NewFramedRoute(prefix="10.5.0.0/16", gateway="10.4.0.1", metric=7))
    assert (await leases.routes(database, actor, alice.id, leases.RouteQuery())).items == (made,)
    with pytest.raises(Conflict) as caught:
        await leases.add_route(database, actor, bob.id, NewFramedRoute(prefix="10.5.7.0/24"))
    assert caught.value.field == "prefix"
    for wrong in (NewFramedRoute(prefix="10.5.0.1/16"), NewFramedRoute(prefix="10.7.0.0/16", gateway="::1")):
        with pytest.raises(InvalidInput):
            await leases.add_route(database, actor, bob.id, wrong)
    for attempt in (
        leases.routes(database, stranger, alice.id, leases.RouteQuery()), leases.add_route(database, stranger, alice.id, NewFramedRoute(prefix="10.8.0.0/16")),
        leases.remove_route(database, actor, bob.id, made.id),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
    await leases.remove_route(database, actor, alice.id, made.id)
    assert [row.action for row in await world.audited(actor)][-2:] == ["subscriber.add_route", "subscriber.remove_route"]


async def test_fixing_what_is_leased_points_at_the_member(world, database, actor):
    await world.plan(actor)
    pool = await make(database, actor, "pd", "delegated", ("2001:db8::/40",))
    await lease(database, pool, await world.subscriber(actor), "2001:db8:0:100::/56")
    with pytest.raises(Conflict) as caught:
        await world.subscriber(actor, "bob", delegated_ipv6_prefix="2001:db8::/48")
    assert caught.value.field == "delegated_ipv6_prefix"
