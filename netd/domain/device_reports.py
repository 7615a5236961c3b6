"""Reports of devices: their rows, read a part at a time in transactions of their own, and merged into one order."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from netd.domain import telemetry
from netd.domain.cells import Cell, told
from netd.domain.report_queries import Asked
from netd.domain.runs import Keyed, Runs
from netd.store import device_reports as store
from netd.store.database import Connection
from netd.store.device_reports import Selected
from netd.store.timeseries import LEVELS

Parts = AsyncIterator[Sequence[Sequence[Cell]]]
Read = Callable[[Connection, Sequence[int]], Awaitable[Sequence[tuple[Any, ...]]]]

HEAD: Final = ("device", "address", "site", "vendor", "model")
AT_A_TIME: Final = 250
"""Devices, or four times as many interfaces, that one statement is about."""

SUMS_AT_A_TIME: Final = 1_000_000
"""Sums that one statement reads."""


async def uptime(asked: Asked) -> Parts:
    """Since when devices run, and how often they began anew."""
    since, until = asked.span

    async def read(conn: Connection, ids: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        return await store.uptime(conn, asked.actor.tenant_id, ids, since, until, asked.now)

    async for part in _by_name(asked, read, lambda row: row[6:]):
        yield part


async def availability(asked: Asked) -> Parts:
    """How much of the days devices were there, as ``/devices/{id}/availability`` says it."""
    since, until = asked.span
    level = telemetry.sums(since, asked.now, asked.measured.kept_days)
    seconds, every = (until - since).total_seconds(), asked.measured.reach_seconds

    async def read(conn: Connection, ids: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        return await store.availability(conn, asked.actor.tenant_id, ids, level, since, until, every)

    def line(row: tuple[Any, ...]) -> Sequence[Any]:
        looks, failed, measured, down, outages, longest = row[6:]
        known = telemetry.percent(measured, seconds)
        told = (outages, round(longest)) if looks else (None, None)
        return telemetry.up_percent(measured, down), known, looks, failed, round(down), *told, level

    async for part in _by_name(asked, read, line, at_a_time=_at_a_time(AT_A_TIME, seconds, level)):
        yield part


async def drift(asked: Asked) -> Parts:
    """What devices' configurations differ from, and how reading them goes."""

    async def read(conn: Connection, ids: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        found = await store.drift(conn, asked.actor.tenant_id, ids)
        return [row for row in found if not asked.query.problems or row[6] or row[12] is None or row[14] is not None]

    def line(row: tuple[Any, ...]) -> Sequence[Any]:
        differs, since, unknown, running, approved, approved_at, read_at, tried_at, error = row[6:]
        backup = "failed" if error is not None else "never" if read_at is None else "ok"
        return differs or "", since, unknown, running, approved, approved_at, backup, read_at, tried_at, error

    async for part in _by_name(asked, read, line):
        yield part


async def inventory(asked: Asked) -> Parts:
    """What there is."""

    async def read(conn: Connection, ids: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        return await store.inventory(conn, asked.actor.tenant_id, ids, asked.now)

    async for part in _by_name(asked, read, lambda row: row[6:]):
        yield part


async def software_versions(asked: Asked) -> Parts:
    """What devices run and should run, counted."""
    async with asked.db.transaction(asked.actor.scope) as conn:
        found = await store.software_versions(conn, asked.actor.tenant_id, _selected(asked))
    yield [[told(value) for value in row] for row in found]


async def utilisation(asked: Asked) -> Parts:
    """How much of interfaces was used: those that are used most come first, by the 95th percentile of the busier direction, then those without a speed."""
    (since, until), tenant, selected = asked.span, asked.actor.tenant_id, _selected(asked)
    async with asked.db.transaction(asked.actor.scope) as conn:
        count = await store.interface_count(conn, tenant, selected)
    level = telemetry.level_for(count, since, until, asked.now, asked.measured.kept_days)
    seconds = (until - since).total_seconds()

    async def ids(conn: Connection, after: int, limit: int) -> list[int]:
        return await store.interface_ids(conn, tenant, selected, after, limit)

    async def read(conn: Connection, ids: Sequence[int]) -> list[Keyed]:
        return [_used(row, level, seconds) for row in await store.utilisation(conn, tenant, ids, level, since, until)]

    async for part in _merged(asked, ids, read, _at_a_time(4 * AT_A_TIME, seconds, level), asked.query.top):
        yield part


def _used(row: tuple[Any, ...], level: str, seconds: float) -> Keyed:
    id_, device, interface, alias, site, speed, *figures, measured = row
    shares = [None if bps is None or not speed else round(100 * bps / speed, 2) for bps in figures]
    peaks = [bps for bps in (figures[2], figures[5]) if bps is not None]
    peak = max(peaks, default=-1)
    key = (-peak / speed if speed and peaks else 1.0, -peak, id_)
    return key, (device, interface, alias, site, speed, *figures, *shares, telemetry.percent(measured or 0.0, seconds), level)


def _at_a_time(most: int, seconds: float, level: str) -> int:
    """Of how many one statement reads no more sums than it should."""
    return max(1, min(most, int(SUMS_AT_A_TIME // (seconds / LEVELS[level] + 1))))


def _selected(asked: Asked) -> Selected:
    assert asked.selected is not None  # it is a query of devices
    return asked.selected


async def _by_name(asked: Asked, read: Read, line: Callable[[tuple[Any, ...]], Sequence[Any]], *, at_a_time: int = AT_A_TIME) -> Parts:
    """Rows of devices by name: what ``read`` finds begins with id, and the columns of HEAD; ``line`` makes the other cells of it."""

    async def ids(conn: Connection, after: int, limit: int) -> list[int]:
        return await store.device_ids(conn, asked.actor.tenant_id, _selected(asked), after, limit)

    async def keyed(conn: Connection, ids: Sequence[int]) -> list[Keyed]:
        return [((row[1].lower(), row[0]), [told(value) for value in (*row[1:6], *line(row))]) for row in await read(conn, ids)]

    async for part in _merged(asked, ids, keyed, at_a_time):
        yield part


async def _merged(
    asked: Asked, ids: Callable[[Connection, int, int], Awaitable[list[int]]], read: Callable[[Connection, Sequence[int]], Awaitable[list[Keyed]]],
    at_a_time: int, most: int | None = None,
) -> Parts:  # fmt: skip
    async with Runs() as runs:
        after, some = 0, at_a_time
        while some == at_a_time:
            async with asked.db.transaction(asked.actor.scope) as conn:
                found = await ids(conn, after, at_a_time)
                rows = await read(conn, found) if found else []
            if rows:
                await runs.add(rows)
            some, after = len(found), found[-1] if found else after
        async for part in runs.merged(most):
            yield part
