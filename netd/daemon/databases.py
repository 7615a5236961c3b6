"""The daemon's database: the server to use, its schema, and who has which connections to it."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from netd.config import Config
from netd.domain.ports import Part
from netd.errors import StoreUnavailable
from netd.share import share
from netd.store import partitions
from netd.store.database import TENANT_ROLE, Connection, Database, Target, connect
from netd.store.embedded import EmbeddedServer
from netd.store.migrate import migrate

log = logging.getLogger(__name__)

ENGINE_CONNECTIONS: Final = 6
WORK_CONNECTIONS: Final = 6
JOB_CONNECTIONS: Final = 4
DHCP_CONNECTIONS: Final = 4
BOOT_CONNECTIONS: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Databases:
    """Pools of connections, apart from each other so that what is slow in one holds up no other."""

    api: Database  # confined to callers' scopes
    engine: Database  # RADIUS
    work: Database  # webhooks, polling, watching
    jobs: Database  # leases are renewed whatever else is slow
    handlers: Database  # jobs' own, confined to the scopes of who wanted them
    boot: Database  # devices that boot; ``work`` where none do
    dhcp: Database | None


async def server(config: Config, stack: AsyncExitStack) -> tuple[EmbeddedServer | None, Target]:
    """The database to use: the configured one, else an embedded server that runs as long as ``stack``."""
    url = config.database.url.reveal()
    if url:
        return None, url
    embedded = EmbeddedServer(config.data_dir, bin_dir=config.database.bin_dir, start_timeout_seconds=config.database.start_timeout_seconds)
    await stack.enter_async_context(embedded)
    return embedded, embedded.connect_kwargs()


async def prepare(target: Target, config: Config, wanted: asyncio.Event) -> None:
    """Wait for the database, bring its schema up to date and make the months ahead. Raises StoreUnavailable after the start timeout."""
    give_up_at = time.monotonic() + config.database.start_timeout_seconds
    conn: Connection | None = None
    while conn is None:
        try:
            conn = await connect(target)
        except StoreUnavailable as error:
            if time.monotonic() >= give_up_at or wanted.is_set():
                raise
            log.warning("waiting for the database: %s", error)
            await asyncio.sleep(1.0)
    try:
        await migrate(conn, share("sql"))
        await partitions.ensure(conn, datetime.now(UTC).date())
    finally:
        await conn.close()


async def connected(config: Config, target: Target, stack: AsyncExitStack) -> Databases:
    """Open all pools, to be closed with ``stack``."""

    async def opened(size: int, role: str = "") -> Database:
        made = await Database.open(target, size, role=role)
        stack.push_async_callback(made.close)
        return made

    work = await opened(WORK_CONNECTIONS)
    return Databases(
        api=await opened(config.database.pool_size, TENANT_ROLE), engine=await opened(ENGINE_CONNECTIONS), work=work, jobs=await opened(JOB_CONNECTIONS),
        handlers=await opened(JOB_CONNECTIONS, TENANT_ROLE), boot=await opened(BOOT_CONNECTIONS) if config.dhcp.enabled or config.boot.enabled else work,
        dhcp=await opened(DHCP_CONNECTIONS) if config.dhcp.enabled else None,
    )  # fmt: skip


def embedded_part(embedded: EmbeddedServer | None) -> list[Part]:
    """For /health, where the database is netd's own."""
    if embedded is None:
        return []
    up = embedded.state == "running"
    return [
        Part(
            name="embedded_postgresql", state="ok" if up else "down", since=embedded.since, detail="" if up else f"{embedded.state}: {embedded.last_error}",
            last_error=embedded.last_error,
        )
    ]  # fmt: skip
