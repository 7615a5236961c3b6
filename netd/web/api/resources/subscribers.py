"""/subscribers. The password goes in and never comes out."""

from datetime import date, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import explain, sessions, subscribers
from netd.domain.explain import Explanation
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.subscribers import NewPassword, NewSubscriber, RevealedPassword, SubscriberPatch
from netd.model.subscriber import Subscriber
from netd.model.usage import DayUsage
from netd.web.api.route import Call, route

USAGE_DAYS = 31


class ExplainQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``username`` as it comes in a request; it need not be a subscriber's."""

    username: Annotated[str, Meta(min_length=1, max_length=253)]


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days (UTC), both included; without ``last`` until today, without ``first`` 31 days."""

    first: date | None = None
    last: date | None = None


class UsageList(msgspec.Struct, frozen=True, kw_only=True):
    """Days with traffic, in order."""

    items: list[DayUsage]
    next: None = None


@route("GET", "/subscribers", permission="subscribers:read", summary="List subscribers", query=subscribers.SubscriberQuery)
async def subscriber_list(call: Call, query: ListQuery) -> Page[Subscriber]:
    return await subscribers.page(call.deps.database, call.actor, query)


@route("POST", "/subscribers", permission="subscribers:write", summary="Make a subscriber, who can connect at once", status=201, action="subscriber.create")
async def subscriber_create(call: Call, body: NewSubscriber) -> Subscriber:
    return await subscribers.create(call.deps.database, call.actor, call.deps.keyring, body, call.deps.rules)


@route("GET", "/subscribers/{id}", permission="subscribers:read", summary="Show a subscriber")
async def subscriber_show(call: Call, id: int) -> Subscriber:
    return await subscribers.get(call.deps.database, call.actor, id)


@route("PATCH", "/subscribers/{id}", permission="subscribers:write", summary="Change a subscriber; live sessions follow", action="subscriber.update")
async def subscriber_update(call: Call, id: int, body: SubscriberPatch) -> Subscriber:
    deps = call.deps
    return await subscribers.update(deps.database, call.actor, deps.keyring, id, body, deps.rules, version=call.if_match)


@route(
    "DELETE", "/subscribers/{id}", permission="subscribers:write", summary="Remove a subscriber; the sessions stay in the history", action="subscriber.delete"
)
async def subscriber_delete(call: Call, id: int) -> None:
    await subscribers.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("POST", "/subscribers/{id}/password", permission="subscribers:write", summary="Set the password or take it away", action="subscriber.set_password")
async def subscriber_set_password(call: Call, id: int, body: NewPassword) -> None:
    await subscribers.set_password(call.deps.database, call.actor, call.deps.keyring, id, body)


@route(
    "POST", "/subscribers/{id}/reveal", permission="secrets:reveal", action="subscriber.reveal", every_time=True,
    summary="See the password; it is recorded who did",
)  # fmt: skip
async def subscriber_reveal(call: Call, id: int) -> RevealedPassword:
    return await subscribers.reveal(call.deps.database, call.actor, call.deps.keyring, id)


@route("GET", "/subscribers/{id}/usage", permission="subscribers:read", summary="What a subscriber used, by day")
async def subscriber_usage(call: Call, id: int, query: UsageQuery) -> UsageList:
    last = query.last or call.deps.now().date()
    first = query.first or last - timedelta(days=min(USAGE_DAYS - 1, last.toordinal() - 1))
    return UsageList(items=await sessions.usage(call.deps.database, call.actor, id, first, last))


@route("GET", "/subscribers/explain", permission="subscribers:read", summary="Why can this user name (not) connect, and since when", errors=(404,))
async def username_explain(call: Call, query: ExplainQuery) -> Explanation:
    return await explain.explain(call.deps.database, call.actor, query.username, call.deps.probe)


@route("GET", "/subscribers/{id}/explain", permission="subscribers:read", summary="Why can this subscriber (not) connect, and since when")
async def subscriber_explain(call: Call, id: int) -> Explanation:
    subscriber = await subscribers.get(call.deps.database, call.actor, id)
    return await explain.explain(call.deps.database, call.actor, subscriber.username, call.deps.probe)


ROUTES = (
    subscriber_list, subscriber_create, subscriber_show, subscriber_update, subscriber_delete, subscriber_set_password, subscriber_reveal, subscriber_usage,
    username_explain, subscriber_explain,
)  # fmt: skip
