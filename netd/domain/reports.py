"""Reports: each a definition from which its CSV, XLSX and PDF, its route and its command follow. A new one is a line in ``REPORTS``."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from netd.domain import cells
from netd.domain.actor import Actor
from netd.domain.cells import Cell
from netd.domain.exports import Rows
from netd.errors import Fault, InvalidInput
from netd.store import reports as store
from netd.store.database import Connection, Database

DAYS: Final = 31
MOST_DAYS: Final = 1100
_PART: Final = 500


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As what kind of file."""

    format: Literal["csv", "xlsx", "pdf"] = "csv"


class PeriodQuery(ReportQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days (UTC), both included; without ``last`` until today, without ``first`` 31 days."""

    first: date | None = None
    last: date | None = None


class ReportLine(msgspec.Struct, frozen=True, kw_only=True):
    """A report that there is: its ``name`` is the end of its path."""

    name: str
    title: str
    columns: tuple[str, ...]
    period: bool


class ReportList(msgspec.Struct, frozen=True, kw_only=True):
    """Every report, in order."""

    items: tuple[ReportLine, ...]
    next: None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report. ``rows`` makes all of them, for a tenant and, where ``query`` is a PeriodQuery, its first and last day."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Callable[..., Awaitable[Sequence[Sequence[Any]]]]
    query: type[ReportQuery] = ReportQuery

    @property
    def period(self) -> bool:
        """Whether it is about some days."""
        return issubclass(self.query, PeriodQuery)


REPORTS: Final = (
    Report("subscribers-by-plan", "Subscribers by state and plan", ("plan", "pending", "active", "suspended", "terminated", "all"), store.subscribers_by_plan),
    Report(
        "usage-by-plan", "Usage by plan and day", ("day", "plan", "subscribers", "down_octets", "up_octets", "session_seconds"), store.usage_by_plan,
        PeriodQuery,
    ),
)  # fmt: skip


def listed() -> ReportList:
    """What there is."""
    return ReportList(items=tuple(ReportLine(name=each.name, title=each.title, columns=each.columns, period=each.period) for each in REPORTS))


@dataclass(frozen=True, slots=True)
class Made:
    """A report with its rows, of which texts are neutral for spreadsheets; ``about`` says of what and when."""

    report: Report
    about: str
    rows: Rows


async def make(db: Database, actor: Actor, report: Report, query: ReportQuery, now: datetime) -> Made:
    """The report of what the actor may see. Raises InvalidInput for days that are none."""
    arguments: tuple[date, ...] = ()
    about = f"{now:%Y-%m-%d %H:%M} UTC"
    if isinstance(query, PeriodQuery):
        arguments = _period(query, now.date())
        about = f"{arguments[0]} to {arguments[1]} (UTC days), made {about}"
    async with db.transaction(actor.scope) as conn:
        found = await _rows(conn, actor, report, arguments)
    return Made(report, about, _parts(found, neutral=query.format != "pdf"))


async def _rows(conn: Connection, actor: Actor, report: Report, arguments: tuple[date, ...]) -> Sequence[Sequence[Any]]:
    return await report.rows(conn, actor.tenant_id, *arguments)


def _period(query: PeriodQuery, today: date) -> tuple[date, date]:
    last = query.last or today
    first = query.first or last - timedelta(days=min(DAYS - 1, last.toordinal() - 1))
    if first > last:
        raise InvalidInput([Fault("/first", f"{first} is after {last}")])
    if (last - first).days >= MOST_DAYS:
        raise InvalidInput([Fault("/first", f"a report is about {MOST_DAYS} days at the most")])
    return first, last


async def _parts(found: Sequence[Sequence[Any]], *, neutral: bool) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    for start in range(0, len(found), _PART):
        yield [[cells.neutral(cell) if neutral and isinstance(cell, str) else cell for cell in row] for row in found[start : start + _PART]]
