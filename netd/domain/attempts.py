"""Log-in attempts: how Access-Requests were answered, as radpostauth keeps them, and how one would be."""

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.ports import AccessProbe, Verdict
from netd.errors import Fault, InvalidInput, NotFound
from netd.model.attempt import Attempt
from netd.store import nas as nas_store
from netd.store import postauth as store
from netd.store import rows, subscribers
from netd.store.database import Database

AttemptQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Attempt]:
    """Answers to Access-Requests, newest first unless the query says otherwise; a username need not be a subscriber's. Raises InvalidInput."""
    wanted = lists.selection(store.LISTING, query, parse={"nas_ip_address": inputs.address})
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of, wanted)


async def try_out(db: Database, actor: Actor, probe: AccessProbe, username: str, password: str | None, nas_name: str | None) -> Verdict:
    """What the engine would answer to a log-in now; on record, for passwords can be guessed so. ``password`` None is taken as right.

    Raises InvalidInput for a NAS that the actor does not see; NotFound for such a subscriber, but of who may do this in the whole tenant the engine is
    asked about any name.
    """
    async with db.transaction(actor.scope) as conn:
        subscriber = await subscribers.by_username(conn, actor.tenant_id, username)
        if subscriber is None and actor.sites is not None:
            raise NotFound("subscriber", username)
        nas = None if nas_name is None else await nas_store.by_name(conn, actor.tenant_id, nas_name)
        if nas is None and nas_name is not None:
            raise InvalidInput([Fault("/nas", str(NotFound("NAS", nas_name)))])
        verdict = probe.decide(actor.tenant_id, username, password, None if nas is None else nas.id)
        told = {"username": rows.storable(username), "nas": None if nas is None else nas.name, "reason": verdict.reason.value}
        await audit.record(conn, actor, "radius.test_auth", "subscriber", "unknown" if subscriber is None else subscriber.id, after=told)
    return verdict
