"""Patience with the database in the middle of work on a device: what was typed there is not undone because a connection to PostgreSQL ended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from netd.errors import StoreUnavailable

T = TypeVar("T")

RETRY_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 60.0
"""Longer than a job's lease, whose end stops the work; a bound for what has no lease."""


async def patiently(what: Callable[[], Awaitable[T]]) -> T:
    """Do it, again while the database is away; it must be the same when it is done twice. Raises StoreUnavailable after PATIENCE_SECONDS."""
    until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return await what()
        except StoreUnavailable:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(RETRY_SECONDS)
