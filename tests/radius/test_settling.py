"""How long an answer of the API waits for the engine to know of the change."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from netd.daemon import serving
from netd.store.feed import Batch, ChangeFeed
from netd.web.app import create_app
from netd.web.deps import WebDeps
from tests.radius.world import eventually, world

REAL_SETTLE = ChangeFeed.settle
"""Without the patience that these tests have besides."""


async def test_who_makes_many_changes_waits_long_once(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the engine is at a large import it is behind with all that comes after."""
    made: list[WebDeps] = []
    waited: list[float] = []
    applying, applied = asyncio.Event(), asyncio.Event()

    def remembered(deps: WebDeps) -> Any:
        made.append(deps)
        return create_app(deps)

    async def settle(feed: ChangeFeed, timeout_seconds: float) -> bool:
        waited.append(timeout_seconds)
        return await REAL_SETTLE(feed, 60.0 if applied.is_set() else 0.05)

    monkeypatch.setattr(serving, "create_app", remembered)
    async with world(dsn, tmp_path) as daemon:
        feed = daemon.running.feed
        await eventually(lambda: feed.up)
        monkeypatch.setattr(ChangeFeed, "settle", settle)
        apply = feed._apply

        async def slowly(batch: Batch) -> None:
            applying.set()
            await applied.wait()
            await apply(batch)

        feed._apply = slowly
        await daemon.add_plan()
        await applying.wait()
        assert [await made[0].settled() for _ in range(4)] == [False] * 4
        assert waited == [serving.SETTLE_SECONDS, *[serving.AWAY_SECONDS] * 3] and feed.up
        applied.set()
        await eventually(made[0].settled)
        waited.clear()
        assert await made[0].settled() and waited == [serving.SETTLE_SECONDS], "it has caught up"
