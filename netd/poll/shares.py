"""This node's part of the devices: leases of shards in the store. While the database is away it goes on with what it had, as every node does."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from netd.errors import StoreError
from netd.store import shards
from netd.store.database import Database

log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=30)
RENEW_SECONDS: Final = 10.0


class Shares:
    """``node`` names this process among all that share the database; ``changed`` is called when its part is another one. ``scrape_address`` is where
    Prometheus reaches it, "" if nobody said."""

    def __init__(self, database: Database, node: str, changed: Callable[[], None], scrape_address: str = "") -> None:
        self.held: frozenset[int] = frozenset()
        self._scraped: dict[int, str] = {}  # by shard, of all nodes
        self._scrape_address = scrape_address
        self._database = database
        self._node = node
        self._changed = changed

    def mine(self, device_id: int) -> bool:
        """Whether this node polls a device."""
        return shards.of(device_id) in self.held

    def scrape_address(self, device_id: int) -> str:
        """Where the node is scraped that polls a device; "" if it does not say."""
        return self._scraped.get(shards.of(device_id), "")

    async def try_to_renew(self) -> None:
        """Renew; if the store is away this node goes on with what it had."""
        try:
            await self.renew()
        except StoreError as error:
            log.warning("leases of devices not renewed", extra={"error": str(error)})

    async def renew(self) -> None:
        """Once."""
        async with self._database.transaction() as conn:
            held = frozenset(await shards.share(conn, self._node, LEASE, self._scrape_address))
            self._scraped = await shards.scrape_addresses(conn)
        if held != self.held:
            log.info("devices to poll", extra={"shards": len(held), "of": shards.SHARDS})
            self.held = held
            self._changed()

    async def leave(self) -> None:
        """Let others have this node's part at once."""
        self.held = frozenset()
        try:
            async with self._database.transaction() as conn:
                await shards.leave(conn, self._node)
        except StoreError as error:
            log.warning("leases of devices not given back; they end by themselves", extra={"error": str(error)})
