"""What reports are asked for: as which file, of which days, of which devices. The same over HTTP, on the command line and as a job's arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from netd.domain import periods
from netd.domain.actor import Actor
from netd.domain.devices import Text
from netd.domain.inputs import Faults, Label
from netd.domain.periods import Period
from netd.model.inventory import DeviceKind, DeviceState, Selector
from netd.store import devices as device_store
from netd.store import sites as site_store
from netd.store.database import Connection, Database
from netd.store.device_reports import Selected

Format = Literal["csv", "xlsx", "pdf"]
Top = Annotated[int, Meta(ge=1, le=1_000_000, description="so many that are used most")]


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As what kind of file."""

    format: Format = "csv"


class PeriodQuery(ReportQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days (UTC), both included, or a ``period`` before today; without ``last`` until today, without ``first`` 31 days."""

    first: date | None = None
    last: date | None = None
    period: Period | None = None


class DeviceQuery(ReportQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices: all that is given must hold. ``organization`` means its sites and those of organizations below it, ``group`` a named selection."""

    site: Label | None = None
    organization: Label | None = None
    group: Label | None = None
    tag: Text | None = None
    vendor: Label | None = None
    platform: Label | None = None
    model: Text | None = None
    kind: DeviceKind | None = None
    role: Label | None = None
    state: DeviceState | None = None


class DevicePeriodQuery(DeviceQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices, and days as a PeriodQuery has them."""

    first: date | None = None
    last: date | None = None
    period: Period | None = None


class UtilisationQuery(DevicePeriodQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices' interfaces over which days; with ``top`` only those that are used most."""

    top: Top | None = None


class DriftQuery(DeviceQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices; with ``problems`` only those that differ from something, that were never read, or whose last reading failed."""

    problems: bool = False


class Measured(NamedTuple):
    """What must be known of polling: for how many days sums are kept, by level, and every how many seconds it is asked whether a device is there."""

    kept_days: Mapping[str, int]
    reach_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A report that was asked for, with what that means: ``days``, ``selected`` devices; by whom, when, and of what measurements."""

    db: Database
    actor: Actor
    query: Any
    now: datetime
    measured: Measured
    days: tuple[date, date] | None = None
    selected: Selected | None = None

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From when until when."""
        assert self.days is not None  # it is a query of days
        return periods.moments(*self.days, self.now)


def has_days(kind: type[ReportQuery]) -> bool:
    """Whether it is about some days."""
    return "first" in kind.__struct_fields__


def days(query: Any, today: date) -> tuple[date, date] | None:
    """The days that a query means, None for one that is about none. Raises InvalidInput."""
    return periods.days(query.first, query.last, query.period, today) if has_days(type(query)) else None


async def selected(conn: Connection, actor: Actor, query: ReportQuery, states: tuple[DeviceState, ...]) -> Selected | None:
    """The devices that a query means, of these states where it names none; None for one that is about none. Raises InvalidInput for a site, organization
    or group that there is not: an empty report would look like one of which all is well."""
    if not isinstance(query, DeviceQuery):
        return None
    faults = Faults()
    if query.site is not None and await site_store.site_id(conn, actor.tenant_id, query.site) is None:
        faults.add("/site", f"there is no site {query.site}")
    if query.organization is not None and await site_store.organization_id(conn, actor.tenant_id, query.organization) is None:
        faults.add("/organization", f"there is no organization {query.organization}")
    selectors = [Selector(
        sites=_one(query.site), tags=_one(query.tag), vendors=_one(query.vendor), platforms=_one(query.platform), models=_one(query.model),
        kinds=_one(query.kind), roles=_one(query.role), states=_one(query.state) or states,
    )]  # fmt: skip
    if query.group is not None:
        group = await device_store.group_selector(conn, actor.tenant_id, query.group)
        if group is None:
            faults.add("/group", f"there is no group {query.group}")
        else:
            selectors.append(group)
    faults.check()
    return Selected(tuple(selectors), query.organization)


def _one(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)
