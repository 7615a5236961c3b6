from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.radius.world import TestNas, World, nas_at, world


@pytest.fixture
async def daemon(dsn: str, tmp_path: Path) -> AsyncIterator[World]:
    """A whole daemon on a fresh database."""
    async with world(dsn, tmp_path) as running:
        yield running


@pytest.fixture
async def bras(daemon: World) -> AsyncIterator[TestNas]:
    """A MikroTik at 127.0.0.2, known to the daemon, with the plan ``home`` and the subscriber ``alice``."""
    await daemon.add_plan()
    await daemon.add_subscriber()
    async with nas_at(daemon, "127.0.0.2") as device:
        yield device
