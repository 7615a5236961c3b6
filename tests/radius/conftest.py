import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial, partialmethod, wraps
from pathlib import Path
from typing import Any

import pytest
import uvloop

from netd.store.database import Database, connect
from netd.store.feed import ChangeFeed
from tests.radius.world import TestNas, World, nas_at, world


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the daemon runs on: it differs from the standard one in what a socket's errors do."""
    return {"uvloop": uvloop.new_event_loop}


TEST_SECONDS = 240.0
"""Less than pytest's own limit, whose exception uvloop takes for a callback's and goes on: a test that hangs there would hang for ever."""


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each coroutine of these tests an end."""
    function = getattr(item, "obj", None)
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(function):
        return

    @wraps(function)
    async def bounded(*arguments: Any, **more: Any) -> Any:
        async with asyncio.timeout(TEST_SECONDS):
            return await function(*arguments, **more)

    item.obj = bounded


@pytest.fixture(autouse=True)
def brisk_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let enforcement sweep several times a second: what is tested is that it does, not how long it takes its rest."""
    monkeypatch.setattr("netd.radius.enforce.SWEEP_SECONDS", 0.3)
    monkeypatch.setattr("netd.domain.stock.SHORT_SECONDS", 0.0)  # an exhausted pool is asked again at once


@pytest.fixture(autouse=True)
def upkeep_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are reaped and compared where a test asks for it, and not besides where it takes longer than half a minute."""
    monkeypatch.setattr("netd.radius.upkeep.REAP_SECONDS", 3600.0)
    monkeypatch.setattr("netd.radius.upkeep.RECONCILE_SECONDS", 3600.0)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer until memory has what was committed than the API waits for."""
    real = ChangeFeed.settle

    async def settle(feed: ChangeFeed, timeout_seconds: float = 0.0) -> bool:
        return await real(feed, max(timeout_seconds, 60.0))

    monkeypatch.setattr(ChangeFeed, "settle", settle)


@pytest.fixture
def by_notice_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens because time goes by: no sweep, no look at what changed. What comes all the same comes at once, however long this machine needs."""
    monkeypatch.setattr("netd.radius.enforce.SWEEP_SECONDS", 3600.0)
    monkeypatch.setattr(ChangeFeed, "__init__", partialmethod(ChangeFeed.__init__, poll_seconds=3600.0))


@pytest.fixture
async def daemon(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A whole daemon on a fresh database, whose connections are waited for as long as a busy machine may need."""
    monkeypatch.setattr(connect, "__defaults__", (60.0, None))
    monkeypatch.setattr(Database, "open", partial(Database.open, acquire_timeout_seconds=60.0))
    async with world(dsn, tmp_path) as running:
        yield running


@pytest.fixture
async def bras(daemon: World) -> AsyncIterator[TestNas]:
    """A MikroTik at 127.0.0.2, known to the daemon, with the plan ``home`` and the subscriber ``alice``."""
    await daemon.add_plan()
    await daemon.add_subscriber()
    async with nas_at(daemon, "127.0.0.2") as device:
        yield device
