"""Which node polls which devices: leases of shards, renewed all the time, free for others once they are not. None of it is a tenant's."""

from datetime import timedelta
from typing import Final

from netd.store.database import Connection

SHARDS: Final = 256


def of(device_id: int) -> int:
    """A device's shard. Ids follow each other, and so do the shards that a node holds: unless ids are spread, a hundred devices are all one node's."""
    return (device_id * 0x9E3779B1 & 0xFFFFFFFF) >> 24


async def share(conn: Connection, node: str, lease: timedelta, scrape_address: str = "") -> set[int]:
    """Say that a node is there, and where it is scraped, renew its leases, and bring it to its fair part: give back what is too much, take what is free.
    Returns its shards.

    A database's clock counts, so that nodes need not agree on theirs. A node that was away for longer than a lease takes back only what was its own: if it was
    the database that was away, the others are coming back as well, and devices had better stay where they are.
    """
    seconds = lease.total_seconds()
    was_away = await conn.fetchval("select seen_at < now() - make_interval(secs => $2) from poll_nodes where node = $1", node, seconds)
    await conn.execute(
        """insert into poll_nodes (node, seen_at, scrape_address) values ($1, now(), nullif($2, ''))
           on conflict (node) do update set seen_at = now(), scrape_address = excluded.scrape_address""", node, scrape_address,
    )  # fmt: skip
    await conn.execute("delete from poll_nodes where seen_at < now() - make_interval(secs => $1)", seconds * 100)
    nodes = await conn.fetchval("select count(*) from poll_nodes where seen_at >= now() - make_interval(secs => $1)", seconds)
    fair = -(-SHARDS // nodes)
    mine = await conn.fetch("select shard from poll_shards where node = $1 order by shard for update", node)  # also what ran out, if nobody took it
    keep = [record["shard"] for record in mine][:fair]
    await conn.execute("update poll_shards set node = null, until_at = '-infinity' where node = $1 and shard <> all($2::smallint[])", node, keep)
    wanted = 0 if was_away else fair - len(keep)
    taken = await conn.fetch("select shard from poll_shards where until_at <= now() and shard <> all($2) order by shard limit $1 for update skip locked",
                             wanted, keep)  # fmt: skip
    held = [*keep, *(record["shard"] for record in taken)]
    await conn.execute("update poll_shards set node = $1, until_at = now() + make_interval(secs => $2) where shard = any($3::smallint[])", node, seconds, held)
    return set(held)


async def scrape_addresses(conn: Connection) -> dict[int, str]:
    """Where each shard's devices are scraped, as far as their nodes say it."""
    return dict(await conn.fetch(
        "select s.shard, n.scrape_address from poll_shards s join poll_nodes n on n.node = s.node where s.until_at > now() and n.scrape_address is not null"
    ))  # fmt: skip


async def leave(conn: Connection, node: str) -> None:
    """Give all back: the node stops."""
    await conn.execute("update poll_shards set node = null, until_at = '-infinity' where node = $1", node)
    await conn.execute("delete from poll_nodes where node = $1", node)
