"""Log-in attempts: how Access-Requests were answered, as radpostauth keeps them."""

from typing import Annotated

from msgspec import Meta

from netd.domain import paging
from netd.domain.actor import Actor
from netd.domain.paging import Page, PageQuery
from netd.model.attempt import Attempt
from netd.store import postauth as store
from netd.store.database import Database


class AttemptQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose attempts; the username need not be a subscriber's."""

    username: Annotated[str, Meta(min_length=1, max_length=253)]


async def page(db: Database, actor: Actor, query: AttemptQuery) -> Page[Attempt]:
    """The answers to a user name's Access-Requests, newest first."""
    before = paging.position(query, "attempt")
    async with db.transaction(actor.scope) as conn:
        rows = await store.page(conn, actor.tenant_id, query.username, before=before, limit=query.limit + 1)
        total = await store.count(conn, actor.tenant_id, query.username) if query.count else None
    return paging.page(rows, query, "attempt", total)
