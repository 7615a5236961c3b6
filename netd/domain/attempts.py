"""Log-in attempts: how Access-Requests were answered, as radpostauth keeps them."""

from netd.domain import inputs, lists
from netd.domain.actor import Actor
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.attempt import Attempt
from netd.store import postauth as store
from netd.store.database import Database

AttemptQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Attempt]:
    """Answers to Access-Requests, newest first unless the query says otherwise; a username need not be a subscriber's. Raises InvalidInput."""
    wanted = lists.selection(store.LISTING, query, parse={"nas_ip_address": inputs.address})
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of, wanted)
