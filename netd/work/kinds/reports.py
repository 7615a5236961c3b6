"""``report.availability`` and so on: make a report as a file, which the job keeps. A kind for each report, so that it needs what seeing the report needs."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import IO, Any, Final

from netd.domain import reports
from netd.domain.actor import Actor
from netd.domain.exports import Rows
from netd.domain.kinds import FILE_OCTETS, JobContext, Kind, Reach
from netd.domain.report_queries import ReportQuery
from netd.domain.reports import Made, Report
from netd.errors import JobFailed, TooOften, TryAgain
from netd.store.database import Connection
from netd.work.kinds.tools import Tools

AT_ONCE: Final = 2
"""Reports that one node makes at the same time: each is work for the database, or one of two processes that make spreadsheets."""


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    turns = asyncio.Semaphore(AT_ONCE)
    return tuple(_kind(tools, turns, report) for report in reports.REPORTS)


def _kind(tools: Tools, turns: asyncio.Semaphore, report: Report) -> Kind:
    async def reach(conn: Connection, actor: Actor, query: ReportQuery) -> Reach:
        await reports.check(conn, actor, report, query, tools.now().date(), "/args")
        return Reach(sites=actor.sites)

    async def run(job: JobContext, query: ReportQuery) -> dict[str, Any]:
        async with turns:
            # A job of a schedule is about the days before it was due, however late it is done.
            today = (job.job.due_at or job.job.run_at).date()
            made = await reports.make(tools.database, job.actor, report, query, tools.now(), tools.measured, today=today)
            with await asyncio.to_thread(_temporary) as file:
                rows = await _write(tools, made, file, lambda count: job.progress(None, f"{count} rows"))
                octets = await job.keep_file(made.name, reports.MEDIA_TYPES[query.format], report.permission, file)
        return {"file": made.name, "octets": octets, "rows": rows, "about": made.about}

    return Kind(
        name=f"report.{report.name}", title=f"{report.title}: as a file, for `netd job file`", args=report.query, run=run, permission=report.permission,
        idempotent=True, timeout_seconds=4 * 3600, at_once=AT_ONCE, reach=reach,
    )  # fmt: skip


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="netd-report-")


async def _write(tools: Tools, made: Made, file: IO[bytes], told: Callable[[int], None]) -> int:
    """Write the report; returns how many rows it has. Raises JobFailed for one that is too large, InvalidInput for what such a file does not hold,
    TryAgain."""
    count = octets = 0

    async def counted(rows: Rows) -> AsyncIterator[Any]:
        nonlocal count
        async for part in rows:
            count += len(part)
            told(count)
            yield part

    try:
        chunks = await replace(made, rows=counted(made.rows)).file(tools.converter, tools.now())
    except TooOften as error:  # people have their turns at spreadsheets, too
        raise TryAgain(str(error), error.retry_seconds) from None
    async for chunk in chunks:
        octets += len(chunk)
        if octets > FILE_OCTETS:
            raise JobFailed(f"the file has more than {FILE_OCTETS >> 20} MiB; ask for less of it, or for XLSX")
        await asyncio.to_thread(file.write, chunk)
    return count
