"""Leases in the database: one holder an address, whatever is asked at the same time."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from netd.model.ranges import Span
from netd.store import leases, pools
from netd.store.database import connect
from netd.store.leases import Claim, End
from tests.conftest import PATIENCE_SECONDS


class Net:
    """A tenant with subscribers and pools, made by SQL."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def subscriber(self, name: str, **columns: str) -> int:
        names, values = ", ".join(("", *columns)), [*columns.values()]
        places = "".join(f", '{value}'" for value in values)
        made: int = await self.connection.fetchval(
            f"insert into subscribers (tenant_id, username, username_key, plan_id{names}) values (1, $1, $1, 1{places}) returning id", name
        )
        return made

    async def pool(self, name: str, kind: str, first: str, last: str, length: int = 32, vrf: str | None = None) -> int:
        made = await pools.insert(self.connection, 1, {"name": name, "kind": kind, "prefix_length": length, "vrf": vrf})
        await self.connection.execute(
            """insert into pool_ranges (tenant_id, pool_id, scope, first_address, last_address)
               select 1, id, scope, $2, $3 from pools where id = $1""", made, first, last)  # fmt: skip
        return made

    async def lease(self, pool: int, prefix: str, subscriber: int, slot: int = 0, token: str = "t", line: str = "line") -> int:
        ((_, number, _, _),) = await leases.give(self.connection, [(pool, prefix, subscriber, slot, line, token)], [], 60.0)
        return number

    async def age(self) -> None:
        await self.connection.execute("update leases set until_at = now() - interval '1 minute', ended_at = now() where until_at < 'infinity'")

    async def until(self, lease: int) -> str:
        text: str = await self.connection.fetchval(
            "select case when until_at = 'infinity' then 'infinity' when until_at > now() then 'later' else 'past' end from leases where id = $1", lease
        )
        return text


@pytest.fixture
async def net(connection: asyncpg.Connection) -> Net:
    await connection.execute("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'home', 1000, 1000)")
    return Net(connection)


async def test_ranges_of_one_vrf_do_not_overlap(net):
    await net.pool("a", "ipv4", "10.0.0.1", "10.0.0.100")
    with pytest.raises(asyncpg.ExclusionViolationError):
        await net.pool("b", "ipv4", "10.0.0.100", "10.0.0.200")
    await net.pool("c", "ipv4", "10.0.0.100", "10.0.0.200", vrf="red")
    await net.pool("d", "ipv4", "10.0.0.101", "10.0.0.200")


async def test_an_address_is_leased_once_and_so_is_a_part_of_a_prefix(net):
    v4 = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    red = await net.pool("red", "ipv4", "10.0.0.1", "10.0.0.100", vrf="red")
    pd = await net.pool("pd", "delegated", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff", 56)
    alice, bob = await net.subscriber("alice"), await net.subscriber("bob")
    await net.lease(v4, "10.0.0.7", alice)
    await net.lease(red, "10.0.0.7", alice, slot=1)
    with pytest.raises(asyncpg.ExclusionViolationError):
        await net.lease(v4, "10.0.0.7", bob)
    await net.lease(pd, "2001:db8:0:100::/56", alice)
    with pytest.raises(asyncpg.ExclusionViolationError):
        await net.lease(pd, "2001:db8:0:101::/64", bob)
    with pytest.raises(asyncpg.UniqueViolationError):
        await net.lease(v4, "10.0.0.8", alice)
    assert await leases.give(net.connection, [(v4, "10.0.0.9", 99_999, 0, "", "t")], [], 60.0) == [], "a subscriber that is gone gets none"


async def test_what_is_taken(net):
    await net.pool("pd", "delegated", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff", 56)
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    scope = await net.connection.fetchval("select scope from pools where id = $1", pool)
    await net.subscriber("fixed", ipv4="10.0.0.2", ipv6_prefix="2001:db8:0:200::/64", delegated_ipv6_prefix="2001:db8:0:400::/55")
    await net.subscriber("gone", ipv4="10.0.0.3", state="terminated")
    alice = await net.subscriber("alice")
    await net.lease(pool, "10.0.0.4", alice)
    await net.connection.execute("insert into framed_routes (tenant_id, subscriber_id, prefix) values (1, $1, '10.0.0.8/30')", alice)

    async def taken(*texts: str) -> Sequence[str]:
        return sorted(await leases.taken(net.connection, 1, scope, texts))

    assert await taken("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.9", "10.0.0.12") == ["10.0.0.2", "10.0.0.4", "10.0.0.9"]
    v6 = ("2001:db8:0:200::/56", "2001:db8:0:300::/56", "2001:db8:0:400::/56", "2001:db8:0:500::/56", "2001:db8:0:600::/56")
    assert await taken(*v6) == ["2001:db8:0:200::/56", "2001:db8:0:400::/56", "2001:db8:0:500::/56"]


async def test_the_longest_unused_is_reused_first_and_never_what_a_session_has(net):
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    ids = [await net.lease(pool, f"10.0.0.{n}", await net.subscriber(f"u{n}")) for n in range(1, 5)]
    await net.connection.execute("update leases set ended_at = now(), until_at = now() - make_interval(mins => 100 - id::integer)")
    await net.connection.execute("update leases set until_at = now() + interval '1 minute' where id = $1", ids[1])
    assert [number for number, _ in await leases.reusable(net.connection, pool, 9, [])] == [ids[0], ids[2], ids[3]]
    assert await leases.reusable(net.connection, pool, 1, [ids[0]]) == [(ids[2], (10 << 24) + 3)]
    await net.connection.execute(
        """insert into sessions (acctuniqueid, tenant_id, subscriber_id, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime,
           acctupdatetime, interim_seconds, framedipaddress) select 'u', 1, subscriber_id, 's', 'u', '10.9.9.9', '10.9.9.9', now(), now(), 300, prefix
           from leases where id = $1""", ids[0])  # fmt: skip
    assert [number for number, _ in await leases.reusable(net.connection, pool, 9, [])] == [ids[2], ids[3]]


async def test_what_may_be_reused_is_found_by_its_index(net):
    """Without a sort: the tenant's pools are locked meanwhile, and a pool may have a hundred thousand leases that ended."""
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    async with net.connection.transaction():
        await leases.by_index(net.connection)
        plan = "\n".join(record[0] for record in await net.connection.fetch(f"explain {leases.REUSABLE}", pool, 1, []))
    assert "using leases_reuse on leases l" in plan
    assert "Sort" not in plan


async def test_a_claim_holds_only_while_it_is_the_subscribers_to_use(net):
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    alice, bob = await net.subscriber("alice"), await net.subscriber("bob")
    lease = await net.lease(pool, "10.0.0.1", alice, token="one", line="a")

    async def claim(subscriber: int, token: str, line: str = "a", begun: bool = True) -> bool:
        return lease in await leases.claim(net.connection, [Claim(lease, subscriber, line, token, begun)], 60.0)

    assert await claim(alice, "one")
    assert await net.until(lease) == "infinity"
    assert not await claim(bob, "two"), "it is not his"
    assert not await claim(alice, "other", line="b"), "another line of hers has it"
    assert not await claim(alice, "other", line=""), "a line that cannot be told is another one"
    assert await claim(alice, "again"), "the same line dials again"
    await leases.end(net.connection, [End(lease, alice, "one")])
    assert await net.until(lease) == "infinity", "the end of the session that was replaced ends nothing"
    await leases.end(net.connection, [End(lease, alice, "again")])
    assert await net.until(lease) == "later"
    assert await claim(alice, "other", line="b", begun=False), "nobody has it now"
    assert await net.until(lease) == "later"
    await leases.let_go(net.connection, [lease])
    assert await net.until(lease) == "later", "what a session may still have stays kept"
    assert not await claim(alice, "other", line="b")


async def test_who_lost_a_lease_is_told_to_every_node(net):
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    alice, bob = await net.subscriber("alice"), await net.subscriber("bob")
    lease = await net.lease(pool, "10.0.0.1", alice)
    await net.connection.execute("delete from changes")
    await leases.claim(net.connection, [Claim(lease, alice, "line", "t", True)], 60.0)
    assert await net.connection.fetch("select * from changes") == []
    await leases.give(net.connection, [], [(lease, bob, 0, "b", "x")], 60.0)
    assert [tuple(row) for row in await net.connection.fetch("select entity, entity_id from changes")] == [("lease", alice)]
    await net.connection.execute("delete from subscribers where id = $1", bob)
    assert ("lease", bob) in [tuple(row) for row in await net.connection.fetch("select entity, entity_id from changes")]
    assert await net.connection.fetchval("select subscriber_id from leases where id = $1", lease) is None


async def test_fixing_waits_for_who_leases_and_then_sees_it(net, dsn):
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    alice = await net.subscriber("alice")
    other = await connect(dsn, PATIENCE_SECONDS)
    try:
        async with other.transaction():
            await leases.lock(other, [1])
            fixing = asyncio.create_task(net.subscriber("fixed", ipv4="10.0.0.1"))
            async with asyncio.timeout(60):
                while not await other.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110 - the server's own
                    await asyncio.sleep(0.01)
            await leases.give(other, [(pool, "10.0.0.1", alice, 0, "", "t")], [], 60.0)
            assert not fixing.done()
        with pytest.raises(asyncpg.ExclusionViolationError) as caught:
            await fixing
        assert caught.value.constraint_name == "leases_fixed_ipv4"
    finally:
        await other.close()
    await net.age()
    await net.subscriber("fixed", ipv4="10.0.0.1")
    assert await leases.of_subscribers(net.connection, [alice]) == [], "what was only remembered gives way"


async def test_what_was_fixed_is_looked_for_again(net):
    pool = await net.pool("pd", "delegated", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff", 56)
    await net.subscriber("wide", delegated_ipv6_prefix="2001:db8::/44")
    await net.connection.execute("update subscribers set note = 'x'")
    assert await leases.spans(net.connection, pool) == []
    await net.connection.execute("update subscribers set state = 'terminated'")
    ((_, span),) = await leases.spans(net.connection, pool)
    base = 0x20010DB8 << 96
    assert span == Span(base, base + (1 << 80) - 1), "as much of it as the pool has"


async def test_counting(net):
    pool = await net.pool("v4", "ipv4", "10.0.0.1", "10.0.0.100")
    pd = await net.pool("pd", "delegated", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff", 56)
    await net.subscriber("fixed", ipv4="10.0.0.100", delegated_ipv6_prefix="2001:db8::/56")
    await net.lease(pool, "10.0.0.1", await net.subscriber("a"))
    await net.age()
    await net.lease(pool, "10.0.0.2", await net.subscriber("b"))
    assert await leases.usage(net.connection) == {pool: (1, 1, 1), pd: (0, 0, 1)}
    assert await pools.leased(net.connection, 1, pool) == (1, 1)
    assert await pools.fixed_inside(net.connection, 1, pd) == 1
