"""/self: a subscriber's own account; and /portal-tokens, where a customer portal gets the tokens for it."""

from datetime import date, timedelta

import msgspec

from netd.domain import selfservice
from netd.domain.paging import Page
from netd.domain.selfservice import NewPortalToken, OwnPassword, OwnSessionQuery, OwnSessionTerms
from netd.domain.tokens import IssuedToken
from netd.model.control import ControlResult
from netd.model.selfservice import OwnAccount, OwnQuota, OwnSession
from netd.model.usage import DayUsage, MonthUsage
from netd.web.api.resources.sessions import answered
from netd.web.api.route import Call, route

USAGE_DAYS = 31
USAGE_MONTHS_DAYS = 365


class OwnUsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days (UTC), both included; without ``last`` until today, without ``first`` 31 days, or twelve months."""

    first: date | None = None
    last: date | None = None


class OwnDayList(msgspec.Struct, frozen=True, kw_only=True):
    """Days with traffic, in order."""

    items: list[DayUsage]
    next: None = None


class OwnMonthList(msgspec.Struct, frozen=True, kw_only=True):
    """Months with traffic, in order."""

    items: list[MonthUsage]
    next: None = None


class OwnQuotaList(msgspec.Struct, frozen=True, kw_only=True):
    """One for each quota of the plan."""

    items: tuple[OwnQuota, ...]
    next: None = None


def _span(call: Call, query: OwnUsageQuery, days: int) -> tuple[date, date]:
    last = query.last or call.deps.now().date()
    return query.first or last - timedelta(days=min(days - 1, last.toordinal() - 1)), last


@route(
    "POST", "/portal-tokens", permission="portal:issue", status=201, action="token.create",
    summary="Make a short-lived token for one subscriber's own account; its text is shown this once",
)  # fmt: skip
async def portal_token_create(call: Call, body: NewPortalToken) -> IssuedToken:
    return await selfservice.issue(call.deps.database, call.actor, body, call.deps.now())


@route("GET", "/self", permission="me:read", summary="The own account: plan, state, locks, addresses")
async def self_show(call: Call) -> OwnAccount:
    return await selfservice.account(call.deps.database, call.actor)


@route("GET", "/self/sessions", permission="me:read", summary="The own sessions, newest first", query=OwnSessionQuery)
async def self_session_list(call: Call, query: OwnSessionTerms) -> Page[OwnSession]:
    return await selfservice.session_page(call.deps.database, call.actor, query)


@route("GET", "/self/sessions/{id}", permission="me:read", summary="One of the own sessions, open or closed")
async def self_session_show(call: Call, id: int) -> OwnSession:
    return await selfservice.session(call.deps.database, call.actor, id)


@route(
    "POST", "/self/sessions/{id}/disconnect", permission="me:disconnect", action="session.disconnect",
    summary="End one of the own sessions: 200 only if the NAS said yes; 409 it refused, 504 it did not answer, 502 it could not be asked",
)  # fmt: skip
async def self_session_disconnect(call: Call, id: int) -> ControlResult:
    return answered(await selfservice.disconnect(call.deps.database, call.actor, call.deps.control, id))


@route("GET", "/self/usage/days", permission="me:read", summary="What the subscriber used, by day")
async def self_usage_days(call: Call, query: OwnUsageQuery) -> OwnDayList:
    return OwnDayList(items=await selfservice.days(call.deps.database, call.actor, *_span(call, query, USAGE_DAYS)))


@route("GET", "/self/usage/months", permission="me:read", summary="What the subscriber used, by month")
async def self_usage_months(call: Call, query: OwnUsageQuery) -> OwnMonthList:
    return OwnMonthList(items=await selfservice.months(call.deps.database, call.actor, *_span(call, query, USAGE_MONTHS_DAYS)))


@route("GET", "/self/quota", permission="me:read", summary="What the subscriber used of its quotas, and what is left")
async def self_quota(call: Call) -> OwnQuotaList:
    return OwnQuotaList(items=await selfservice.quotas(call.deps.database, call.actor, call.deps.now()))


@route("POST", "/self/password", permission="me:password", summary="Change the own password; the old one is needed", action="subscriber.set_password")
async def self_password(call: Call, body: OwnPassword) -> None:
    wait = call.deps.password_limit.wait_seconds(call.actor.subscriber_id, call.deps.monotonic())
    await selfservice.set_password(call.deps.database, call.actor, call.deps.keyring, body, wait)


ROUTES = (
    portal_token_create, self_show, self_session_list, self_session_show, self_session_disconnect, self_usage_days, self_usage_months, self_quota,
    self_password,
)  # fmt: skip
