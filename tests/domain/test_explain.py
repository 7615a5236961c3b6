"""Why can this subscriber not connect, and since when."""

from datetime import UTC, datetime, timedelta

import pytest

from netd.domain import explain, standing
from netd.domain.ports import Verdict
from netd.domain.standing import NewLock, StateNote
from netd.errors import NotFound
from netd.model.access import Reason
from netd.model.subscriber import username_key
from netd.store import postauth
from netd.store.postauth import PostAuth

AT = datetime(2026, 11, 20, 10, 2, 30, tzinfo=UTC)


class Probe:
    """An engine that decides as told."""

    def __init__(self, reason=Reason.OK, detail=""):
        self.verdict = Verdict(accept=reason in (Reason.OK, Reason.WALLED), reason=reason, detail=detail)
        self.asked = []

    def decide(self, tenant_id, username, password, nas_id=None):
        self.asked.append((tenant_id, username, password))
        return self.verdict


async def attempted(database, actor, username="alice", reason=Reason.SUSPENDED, at=AT, nas_id=None, nas_ip_address="10.0.0.1"):
    record = PostAuth(
        tenant_id=actor.tenant_id, nas_id=nas_id, subscriber_id=None, username=username, username_key=username_key(username),
        reply="Access-Accept" if reason in (Reason.OK, Reason.WALLED) else "Access-Reject", reason=reason.value, nasipaddress=nas_ip_address,
        calledstationid=None, callingstationid="00:11", class_=None, at=at.timestamp(),
    )  # fmt: skip
    async with database.acquire() as conn:
        await postauth.add_rows(conn, [postauth.encode(record)])


async def opened(database, actor, subscriber, **columns):
    values = {
        "acctuniqueid": "u", "tenant_id": actor.tenant_id, "subscriber_id": subscriber.id, "acctsessionid": "s", "username": subscriber.username,
        "nasipaddress": "10.0.0.1", "nassourceaddress": "10.0.0.1", "acctstarttime": AT, "acctupdatetime": AT, "interim_seconds": 300, **columns,
    }  # fmt: skip
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    async with database.acquire() as conn:
        await conn.execute(f"insert into sessions ({', '.join(values)}) values ({places})", *values.values())


async def test_suspended(world, database, actor):
    await world.plan(actor)
    bras = await world.nas(actor)
    alice = await world.subscriber(actor)
    change = await standing.suspend(database, actor, alice.id, StateNote(note="unpaid"))
    await attempted(database, actor, "ALICE", nas_id=bras.id)
    probe = Probe(Reason.SUSPENDED)
    found = await explain.explain(database, actor, "Alice", probe)
    assert probe.asked == [(actor.tenant_id, "Alice", None)]
    since = change.subscriber.state_changed_at
    assert (found.accept, found.reason, found.since, found.by, found.note) == (False, Reason.SUSPENDED, since, "ann", "unpaid")
    assert found.summary == (
        f"alice would be refused: suspended since {since:%Y-%m-%dT%H:%MZ} by ann (unpaid)."
        " The last attempt, 2026-11-20T10:02Z from NAS bras1, was rejected: suspended."
    )
    assert found.plan is not None
    assert (found.plan.name, found.password_set, found.attempts[0].nas, found.attempts[0].username) == ("Home 100", True, "bras1", "ALICE")


async def test_locks(world, database, actor):
    await world.plan(actor)
    alice = await world.subscriber(actor)
    await standing.add_lock(database, actor, alice.id, NewLock(reason="overdue", mode="walled", note="3 bills"))
    walled = await explain.explain(database, actor, "alice", Probe(Reason.WALLED, "overdue"))
    assert walled.subscriber is not None
    since = f"{walled.subscriber.locks[0].created_at:%Y-%m-%dT%H:%MZ}"
    assert walled.accept
    assert walled.summary.startswith(f"alice would be let into the walled garden only: locked (overdue) since {since} by ann (3 bills).")
    await standing.add_lock(database, actor, alice.id, NewLock(reason="fraud"))
    locked = await explain.explain(database, actor, "alice", Probe(Reason.LOCKED, "fraud"))
    assert locked.subscriber is not None
    assert (locked.since, locked.by) == (locked.subscriber.locks[1].created_at, "ann")
    assert "alice would be refused: locked (fraud) since" in locked.summary
    assert "No login attempt is on record" in locked.summary


async def test_online_and_at_its_limit(world, database, actor):
    await world.plan(actor)
    bras = await world.nas(actor)
    alice = await world.subscriber(actor)
    await opened(database, actor, alice, nas_id=bras.id, enforce_state="unreachable", enforce_detail="no answer", enforce_at=AT)
    await attempted(database, actor, reason=Reason.OK)
    found = await explain.explain(database, actor, "alice", Probe(Reason.SESSION_LIMIT, "1 of 1 sessions are open"))
    assert (found.since, len(found.sessions)) == (AT, 1)
    assert found.summary == (
        "alice is online on bras1 since 2026-11-20T10:02Z; a further login would be refused:"
        " session_limit (1 of 1 sessions are open) since 2026-11-20T10:02Z."
        f" The last change to session {found.sessions[0].id} on bras1 is unreachable at 2026-11-20T10:02Z (no answer)."
        " The last attempt, 2026-11-20T10:02Z from NAS 10.0.0.1, was accepted."
    )


async def test_refused_but_still_online(world, database, actor):
    await world.plan(actor)
    alice = await world.subscriber(actor, expires_at="2026-11-01T00:00:00Z")
    await opened(database, actor, alice)
    found = await explain.explain(database, actor, "alice", Probe(Reason.EXPIRED))
    assert "alice would be refused: expired since 2026-11-01T00:00Z; yet a session is still open on 10.0.0.1." in found.summary


async def test_accepted(world, database, actor):
    await world.plan(actor)
    await world.subscriber(actor)
    await attempted(database, actor, reason=Reason.WRONG_PASSWORD)
    found = await explain.explain(database, actor, "alice", Probe())
    assert (found.accept, found.reason, found.since) == (True, Reason.OK, None)
    assert found.summary.startswith("alice would be accepted, with plan Home 100. The last attempt")
    assert found.summary.endswith("Compare the password that the subscriber's router sends.")


async def test_a_right_password_does_not_help_while_limited(world, database, actor):
    await world.plan(actor)
    await world.subscriber(actor)
    await attempted(database, actor, reason=Reason.RATE_LIMITED)
    found = await explain.explain(database, actor, "alice", Probe())
    assert found.summary.endswith(
        "was rejected: rate_limited. After too many failures within a minute log-ins are refused unseen until there are fewer."
        " Compare the password that the subscriber's router sends."
    )


async def test_without_a_password_nothing_helps(world, database, actor):
    await world.plan(actor)
    await world.subscriber(actor, password=None)
    found = await explain.explain(database, actor, "alice", Probe())
    assert (found.accept, found.reason, found.password_set) == (False, Reason.NO_PASSWORD_SET, False)


async def test_unknown_names(world, database, actor, stranger):
    with pytest.raises(NotFound):
        await explain.explain(database, actor, "ghost", Probe(Reason.UNKNOWN_USER))
    for minutes in range(12):
        await attempted(database, actor, "Ghost", Reason.UNKNOWN_USER, AT + timedelta(minutes=minutes))
    found = await explain.explain(database, actor, "ghost", Probe(Reason.UNKNOWN_USER))
    assert (found.reason, found.subscriber, found.since, len(found.attempts)) == (Reason.UNKNOWN_USER, None, AT + timedelta(minutes=2), 10)
    assert found.attempts[0].at == AT + timedelta(minutes=11)
    assert found.summary.startswith("There is no subscriber ghost, but something logs in under that name. The last attempt, 2026-11-20T10:13Z")
    with pytest.raises(NotFound):
        await explain.explain(database, stranger, "ghost", Probe(Reason.UNKNOWN_USER))


async def test_a_name_that_the_database_cannot_hold_is_looked_for_as_it_was_kept(database, actor):
    await attempted(database, actor, "gh\ufffdst?", Reason.UNKNOWN_USER, nas_ip_address="2001:db8::1")
    found = await explain.explain(database, actor, "GH\0st?", Probe(Reason.UNKNOWN_USER))
    assert str(found.attempts[0].nas_ip_address) == "2001:db8::1"


async def test_other_tenants_subscriber(world, database, actor, stranger):
    await world.plan(actor)
    alice = await world.subscriber(actor)
    await opened(database, actor, alice)
    await attempted(database, actor)
    with pytest.raises(NotFound):
        await explain.explain(database, stranger, "alice", Probe())
