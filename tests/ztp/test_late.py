"""Two nodes serve one client: what one of them writes late (a slow disk, a lock, a database that hung) must not end what the other promised since."""

from ipaddress import IPv4Address

import pytest

from netd.store import dhcp as store
from netd.store.dhcp import Binding, Offer
from tests.ztp.conftest import Net

ADDRESS, CLIENT = "10.1.0.10", "one"
ADDRESS4 = int(IPv4Address(ADDRESS))


@pytest.fixture
async def place(net: Net) -> tuple[int, int]:
    """(pool id, subnet id)."""
    pool = await net.pool("access", "10.1.0.10", "10.1.0.20")
    return pool, await net.subnet("10.1.0.0/24", pool)


async def row(net: Net) -> tuple[object, ...]:
    return tuple(await net.connection.fetchrow("select dhcp_state, until_at, expires_at from leases"))


async def number(net: Net) -> int:
    return int(await net.connection.fetchval("select id from leases"))


async def has_it(conn, place: tuple[int, int], seconds: int = 600) -> None:
    """The whole exchange, on a connection of its own."""
    pool, subnet = place
    held = [lease.id for lease in await store.of_clients(conn, [(subnet, CLIENT)])]
    await store.offer(conn, [Offer(held[0] if held else 0, pool, subnet, ADDRESS, CLIENT, 60, "", "plain", "", None)])
    assert await renewed(conn, place, seconds) == {(subnet, CLIENT, ADDRESS4)}


async def renewed(conn, place: tuple[int, int], seconds: int = 600) -> set[tuple[int, str, int]]:
    return await store.bind(conn, [Binding(place[1], CLIENT, ADDRESS, seconds, 0, "", "plain", "", "")])


async def test_a_renewal_that_is_late_shortens_no_lease(net: Net, place, database):
    async with database.acquire() as conn:
        await has_it(conn, place)
    async with database.transaction() as late:
        await late.fetchval("select now()")  # what it takes the time to be
        async with database.acquire() as conn:
            assert await renewed(conn, place)
        promised = await row(net)
        assert await renewed(late, place)
    assert await row(net) == promised


async def test_an_offer_that_is_late_takes_nothing_back(net: Net, place, database):
    async with database.acquire() as conn:
        await has_it(conn, place, 50)
        async with database.transaction() as late:
            (known,) = await store.of_clients(late, [(place[1], CLIENT)])
            assert known.left < 60
            assert await renewed(conn, place)
            promised = await row(net)
            assert await store.offer(late, [Offer(known.id, place[0], place[1], ADDRESS, CLIENT, 60, "", "plain", "", None)])
    assert await row(net) == promised


@pytest.mark.parametrize("again", [True, False])
async def test_a_release_that_is_late_ends_no_lease_that_began_since(net: Net, place, database, again: bool):
    async with database.acquire() as conn:
        await has_it(conn, place)
        gone = store.Gone(await number(net), CLIENT, 600, 30.0)  # it came in half a minute ago
        if not again:  # nobody has renewed it since
            await net.connection.execute("update leases set expires_at = expires_at - interval '31 seconds', until_at = until_at - interval '31 seconds'")
        assert await store.release(conn, [gone]) == (set() if again else {gone.id})
    assert (await row(net))[0] == ("bound" if again else "released")


async def test_a_lease_of_a_longer_time_than_is_given_now_can_be_given_back(net: Net, place, database):
    async with database.acquire() as conn:
        await has_it(conn, place, 86_400)
        assert await store.release(conn, [store.Gone(await number(net), CLIENT, 600, 0.0)])
