"""Reports: each a definition from which its CSV, XLSX and PDF, its route, its command and its kind of job follow. A new one is a line in ``REPORTS``."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import msgspec

from netd.domain import cells, device_reports, exports, report_queries
from netd.domain.actor import Actor
from netd.domain.cells import Cell
from netd.domain.device_reports import HEAD
from netd.domain.exports import Rows
from netd.domain.report_queries import Asked, DevicePeriodQuery, DeviceQuery, DriftQuery, Measured, PeriodQuery, ReportQuery, UtilisationQuery
from netd.errors import Fault, InvalidInput, TooOften
from netd.model.inventory import DeviceState
from netd.sheets.converter import PDF, XLSX, Converter
from netd.store import reports as store
from netd.store.database import Connection, Database

IN_USE: Final[tuple[DeviceState, ...]] = ("active", "maintenance")
MEDIA_TYPES: Final = {"csv": "text/csv", "xlsx": XLSX, "pdf": PDF}
_PART: Final = 500
AT_ONCE: Final = 2
MOST_WAITING: Final = 30
RETRY_SECONDS: Final = 10


class ReportLine(msgspec.Struct, frozen=True, kw_only=True):
    """A report that there is: its ``name`` is the end of its path. ``allowed``: the caller may see it, somewhere at least."""

    name: str
    title: str
    columns: tuple[str, ...]
    period: bool
    devices: bool
    permission: str
    allowed: bool


class ReportList(msgspec.Struct, frozen=True, kw_only=True):
    """Every report, in order."""

    items: tuple[ReportLine, ...]
    next: None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report. ``rows`` makes its rows, some at a time, of what the actor may see; ``permission`` is what seeing it needs.

    ``states`` are those of the devices that it is about unless the query says otherwise; none: any.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Callable[[Asked], AsyncIterator[Sequence[Sequence[Any]]]]
    query: type[ReportQuery] = ReportQuery
    permission: str = "reports:read"
    states: tuple[DeviceState, ...] = IN_USE

    @property
    def period(self) -> bool:
        """Whether it is about some days."""
        return report_queries.has_days(self.query)


def _whole(read: Callable[..., Awaitable[Sequence[Sequence[Any]]]]) -> Callable[[Asked], AsyncIterator[Sequence[Sequence[Any]]]]:
    """The rows of a report that are few: one statement for a tenant and, where there are days, the first and the last."""

    async def rows(asked: Asked) -> AsyncIterator[Sequence[Sequence[Any]]]:
        async with asked.db.transaction(asked.actor.scope) as conn:
            found = await read(conn, asked.actor.tenant_id, *(asked.days or ()))
        for start in range(0, len(found), _PART):
            yield found[start : start + _PART]

    return rows


_DIRECTIONS: Final = tuple(f"{way}_{figure}" for way in ("in", "out") for figure in ("avg", "max", "p95"))
REPORTS: Final = (
    Report(
        "subscribers-by-plan", "Subscribers by state and plan", ("plan", "pending", "active", "suspended", "terminated", "all"),
        _whole(store.subscribers_by_plan),
    ),
    Report(
        "usage-by-plan", "Usage by plan and day", ("day", "plan", "subscribers", "down_octets", "up_octets", "session_seconds"), _whole(store.usage_by_plan),
        PeriodQuery,
    ),
    Report(
        "uptime", "Uptime and restarts of devices",
        (*HEAD, "up", "running_since", "uptime_seconds", "told_at", "restarts", "last_restart_at"), device_reports.uptime, DevicePeriodQuery, "devices:read",
    ),
    Report(
        "availability", "Availability of devices",
        (*HEAD, "up_percent", "known_percent", "looks", "failed", "down_seconds", "outages", "longest_outage_seconds", "resolution"),
        device_reports.availability, DevicePeriodQuery, "devices:read",
    ),
    Report(
        "drift", "Configurations that differ",
        (*HEAD, "differs_from", "since", "intended_unknown", "version", "approved_version", "approved_at", "backup", "backed_up_at", "tried_at", "error"),
        device_reports.drift, DriftQuery, "configurations:read",
    ),
    Report(
        "software-versions", "Software versions and their targets", ("platform", "model", "software_version", "devices", "target", "compliant", "reason"),
        device_reports.software_versions, DeviceQuery, "software:read",
    ),
    Report(
        "interface-utilisation", "Utilisation of interfaces",
        ("device", "interface", "alias", "site", "speed_bps", *(f"{name}_bps" for name in _DIRECTIONS), *(f"{name}_percent" for name in _DIRECTIONS),
         "known_percent", "resolution"), device_reports.utilisation, UtilisationQuery, "devices:read",
    ),
    Report(
        "inventory", "Inventory of devices",
        (*HEAD, "platform", "kind", "serial", "software_version", "organization", "role", "tags", "state", "last_seen_at", "interfaces"),
        device_reports.inventory, DeviceQuery, "devices:read", (),
    ),
)  # fmt: skip


def listed(actor: Actor) -> ReportList:
    """What there is, and what of it the actor may see."""
    return ReportList(items=tuple(
        ReportLine(
            name=each.name, title=each.title, columns=each.columns, period=each.period, devices=issubclass(each.query, DeviceQuery),
            permission=each.permission, allowed=each.permission in actor.permissions,
        )
        for each in REPORTS
    ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A report with its rows, of which texts are neutral for spreadsheets; ``about`` says of what and when. ``days`` where it is about some."""

    report: Report
    query: ReportQuery
    about: str
    rows: Rows
    days: tuple[date, date] | None

    @property
    def name(self) -> str:
        """What its file is called: with its days, for there will be others."""
        return "_".join((self.report.name, *map(str, self.days or ()))) + f".{self.query.format}"

    async def file(self, converter: Converter, now: datetime) -> AsyncIterator[bytes]:
        """Its octets. Raises InvalidInput for what such a file does not hold, TooOften."""
        if self.query.format == "csv":
            return exports.as_csv(self.report.columns, self.rows)
        title = self.report.title
        return await exports.as_file(converter, self.query.format, self.report.columns, self.rows, title=title, subtitle=self.about, made_at=now)


async def make(
    db: Database, actor: Actor, report: Report, query: ReportQuery, now: datetime, measured: Measured, *, today: date | None = None,
) -> Made:  # fmt: skip
    """The report of what the actor may see. Days are reckoned from ``today``, which is that of ``now`` where nobody says otherwise.

    Raises InvalidInput for days that are none, and for a group that there is not.
    """
    days = report_queries.days(query, today or now.date())
    async with db.transaction(actor.scope) as conn:
        selected = await report_queries.selected(conn, actor, query, report.states)
    asked = Asked(db=db, actor=actor, query=query, now=now, measured=measured, days=days, selected=selected)
    about = f"{now:%Y-%m-%d %H:%M} UTC"
    if days is not None:
        about = f"{days[0]} to {days[1]} (UTC days), made {about}"
    about = "; ".join((about, *_filters(query)))
    return Made(report, query, about, _neutral(report.rows(asked)) if query.format != "pdf" else report.rows(asked), days)


async def check(conn: Connection, actor: Actor, report: Report, query: ReportQuery, today: date, where: str) -> None:
    """Raise InvalidInput, with pointers below ``where``, for what ``make`` would refuse."""
    try:
        report_queries.days(query, today)
        await report_queries.selected(conn, actor, query, report.states)
    except InvalidInput as error:
        raise InvalidInput([Fault(where + place, what) for place, what in error.faults]) from None


def _filters(query: ReportQuery) -> list[str]:
    """What of the devices was asked for."""
    if not isinstance(query, DeviceQuery):
        return []
    named = [name for name in query.__struct_fields__ if name not in ("format", "first", "last", "period")]
    return [f"{name} {value}" for name in named if (value := getattr(query, name))]


class Turns:
    """Hands out the turns in which parts of reports are made for people who wait for them, for all of a node: each part is work for the database. Who reads
    what was made slowly has no turn meanwhile."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def of(self, rows: Rows) -> AsyncIterator[Sequence[Sequence[Cell]]]:
        """The rows, each part in its turn. Raises TooOften, before the first part, where too many wait."""
        if self._waiting >= MOST_WAITING:
            raise TooOften("too many reports are being made", RETRY_SECONDS)
        parts = aiter(rows)
        while True:
            self._waiting += 1
            try:
                await self._free.acquire()
            finally:
                self._waiting -= 1
            try:
                part = await anext(parts, None)
            finally:
                self._free.release()
            if part is None:
                return
            yield part


async def _neutral(parts: AsyncIterator[Sequence[Sequence[Any]]]) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    async for part in parts:
        yield [[cells.neutral(cell) if isinstance(cell, str) else cell for cell in row] for row in part]
