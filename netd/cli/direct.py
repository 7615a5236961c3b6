"""The database without the daemon's API: for the first token, for migrations, for ``netd check``."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from netd.config import Config
from netd.errors import StoreError
from netd.share import share
from netd.store import tokens
from netd.store.database import Database, Target, connect
from netd.store.embedded import DATABASE, PORT, ROLE, EmbeddedServer
from netd.store.migrate import migrate
from netd.store.placement import place

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end. What matters to the operator is told by exceptions, so nothing is logged besides."""
    logging.getLogger("netd").addHandler(logging.NullHandler())
    return asyncio.run(work)


async def running_target(config: Config) -> Target | None:
    """The external database, or the embedded one that a daemon runs now; None if the embedded one does not run. Changes nothing.

    Raises StoreError if this user may not look.
    """
    if config.database.url:
        return config.database.url.reveal()
    folder = config.data_dir.absolute()
    try:
        if not ((folder / "postgres.location").exists() or (folder / "postgres" / "data" / "PG_VERSION").exists()):
            return None
        placement = await place(folder)
        try:
            placement.lock()
        except StoreError:  # a daemon has it: its server lets this user in through the socket
            socket_folder = await placement.socket_folder()
            return {"host": str(socket_folder), "port": int(PORT), "user": ROLE, "database": DATABASE, "ssl": False}
        placement.unlock()
    except PermissionError as error:
        raise StoreError(f"{error.filename} may not be read: run this as the daemon's user") from None
    return None


@asynccontextmanager
async def target(config: Config) -> AsyncIterator[Target]:
    """The database, the embedded one started for the while if no daemon runs it. Raises StoreError, ConfigError."""
    running = await running_target(config)
    if running is not None:
        yield running
        return
    server = EmbeddedServer(config.data_dir, bin_dir=config.database.bin_dir, start_timeout_seconds=config.database.start_timeout_seconds)
    async with server:
        yield server.connect_kwargs()


async def migrated(where: Target, config: Config) -> list[str]:
    """Bring the schema up to date; returns the names of what was applied."""
    connection = await connect(where, config.database.start_timeout_seconds)
    try:
        return await migrate(connection, share("sql"))
    finally:
        await connection.close()


@asynccontextmanager
async def tokens_database(config: Config) -> AsyncIterator[tuple[Database, int]]:
    """The database with its schema in place, and the id of the default tenant."""
    async with target(config) as where:
        await migrated(where, config)
        database = await Database.open(where, size=2)
        try:
            async with database.acquire() as connection:
                tenant_id = await tokens.first_tenant(connection)
            yield database, tenant_id
        finally:
            await database.close()
