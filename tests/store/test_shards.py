"""Who polls what: fair parts, and the same ones after the database was away."""

from datetime import timedelta

import asyncpg

from netd.store import shards

LEASE = timedelta(seconds=3000)
"""What passes while a test runs is little of it."""


async def shared(conn: asyncpg.Connection, *nodes: str) -> list[set[int]]:
    return [await shards.share(conn, node, LEASE) for node in nodes]


async def later(conn: asyncpg.Connection, seconds: int) -> None:
    """All that was written is so much older."""
    await conn.execute("update poll_nodes set seen_at = seen_at - make_interval(secs => $1)", float(seconds))
    await conn.execute("update poll_shards set until_at = until_at - make_interval(secs => $1) where node is not null", float(seconds))


async def test_each_keeps_its_part_when_the_database_was_away(connection: asyncpg.Connection) -> None:
    """The first one back sees nobody else, and must not take all: each device that moves loses what its counters were compared with."""
    await shared(connection, "one", "two", "one")
    one, two = await shared(connection, "one", "two")
    assert (len(one), len(two), one & two) == (128, 128, set())
    await later(connection, 12_000)
    assert await shared(connection, "one", "two", "one", "two") == [one, two, one, two]


async def test_what_a_node_that_is_gone_held_is_taken_within_a_lease(connection: asyncpg.Connection) -> None:
    await shared(connection, "one", "two", "one", "two")
    await later(connection, 2000)
    (one,) = await shared(connection, "one")
    assert len(one) == 128
    await later(connection, 2000)
    (one,) = await shared(connection, "one")
    assert len(one) == 256
    await later(connection, 2000)
    assert [len(part) for part in await shared(connection, "two", "one", "two", "one")][1:] == [128, 128, 128]
