from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netd.store.database import Database
from tests.web.running import Api, running


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """The API on a fresh database."""
    async with running(database, tmp_path) as started:
        yield started
