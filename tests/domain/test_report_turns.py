"""Reports that people wait for: a few parts are made at a time on a node, a few wait, and a slow reader holds up nobody."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from netd.domain import reports
from netd.domain.cells import Cell
from netd.errors import TooOften


class Source:
    """Rows that are made when they are let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.at_work = self.most = 0

    async def rows(self, parts: int = 2) -> AsyncIterator[Sequence[Sequence[Cell]]]:
        for number in range(parts):
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            await self.go.wait()
            self.at_work -= 1
            yield [[number]]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_few_are_made_a_few_wait_and_more_are_refused() -> None:
    source, turns = Source(), reports.Turns()

    async def read() -> int:
        return len([part async for part in turns.of(source.rows())])

    wanted = [asyncio.create_task(read()) for _ in range(reports.AT_ONCE + reports.MOST_WAITING)]
    await settle()
    assert source.at_work == reports.AT_ONCE
    with pytest.raises(TooOften):
        await anext(turns.of(source.rows()))
    source.go.set()
    assert await asyncio.gather(*wanted) == [2] * len(wanted) and source.most == reports.AT_ONCE


async def test_slow_readers_and_those_who_go_have_no_turn() -> None:
    source, turns = Source(), reports.Turns()
    source.go.set()
    slow = [turns.of(source.rows(100)) for _ in range(100)]
    async with asyncio.timeout(30):
        for each in slow:
            assert await anext(each) == [[0]]
        source.go.clear()

        async def one(rows: AsyncIterator[Sequence[Sequence[Cell]]]) -> None:
            await anext(rows)

        gone = [asyncio.create_task(one(each)) for each in slow[: reports.AT_ONCE + 1]]
        await settle()
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        source.go.set()
        assert [part async for part in turns.of(source.rows())] == [[[0]], [[1]]]
