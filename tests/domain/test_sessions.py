"""Sessions through the eyes of an operator."""

from datetime import UTC, date, datetime, timedelta

import pytest

from netd.domain import sessions
from netd.domain.sessions import SessionQuery
from netd.errors import Conflict, InvalidInput, NotFound
from netd.model.control import ControlResult
from netd.store import sessions as store

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)


async def opened(database, actor, uid="u", nas_id=None, **columns):
    values = {
        "acctuniqueid": uid, "tenant_id": actor.tenant_id, "nas_id": nas_id, "acctsessionid": f"s-{uid}", "username": "alice", "nasipaddress": "10.0.0.1",
        "nassourceaddress": "10.0.0.1", "acctstarttime": T0, "acctupdatetime": T0, "interim_seconds": 300, **columns,
    }  # fmt: skip
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    async with database.acquire() as conn:
        return await conn.fetchval(f"insert into sessions ({', '.join(values)}) values ({places}) returning radacctid", *values.values())


class Control:
    """A NAS side that answers what it is told to."""

    def __init__(self, result):
        self.result = result
        self.asked = []

    async def disconnect(self, session):
        self.asked.append(session.unique_id)
        return self.result


async def test_page(world, database, actor, stranger):
    nas = await world.nas(actor)
    made = [await opened(database, actor, f"u{n}", nas_id=nas.id, framedipaddress=f"192.0.2.{n}") for n in range(4)]
    await opened(database, stranger, "x")
    async with database.acquire() as conn:
        await store.close(conn, ["u1"], "stop", "User-Request", T0 + timedelta(hours=1))
    first = await sessions.page(database, actor, SessionQuery(state="all", limit=2, count=True, nas="BRAS1"))
    second = await sessions.page(database, actor, SessionQuery(state="all", limit=2, after=first.next, nas="bras1"))
    assert [each.id for each in (*first.items, *second.items)] == made[::-1]
    assert (first.total, second.next, first.items[0].nas) == (4, None, "bras1")
    assert [each.id for each in (await sessions.page(database, actor, SessionQuery())).items] == [made[3], made[2], made[0]]
    assert [each.id for each in (await sessions.page(database, actor, SessionQuery(ip="192.0.2.2", username="ALICE"))).items] == [made[2]]
    assert (await sessions.page(database, actor, SessionQuery(state="closed", ip="192.0.2.1", at=T0))).items[0].stopped_at == T0 + timedelta(hours=1)


@pytest.mark.parametrize(("query", "where"), [
    ({"ip": "bras1"}, ["/ip"]), ({"nas": "nosuch", "ip": "10.0.0.0/8"}, ["/ip", "/nas"]), ({"after": "x"}, ["/after"]), ({"at": T0}, ["/at"]),
])  # fmt: skip
async def test_faults(database, actor, query, where):
    with pytest.raises(InvalidInput) as caught:
        await sessions.page(database, actor, SessionQuery(**query))
    assert [fault.where for fault in caught.value.faults] == where


async def test_disconnect_says_what_the_nas_said(world, database, actor):
    number = await opened(database, actor)
    for result in (
        ControlResult(outcome="ack", action="disconnect"),
        ControlResult(outcome="nak", action="disconnect", error_cause=503),
        ControlResult(outcome="timeout", action="disconnect", attempts=3),
    ):
        control = Control(result)
        assert await sessions.disconnect(database, actor, control, number) is result
        assert control.asked == ["u"]
    told = [(row.action, row.object_id, row.result) for row in await world.audited(actor)]
    assert told == [("session.disconnect", str(number), word) for word in ("asked", "ack", "asked", "nak", "asked", "timeout")]


async def test_disconnect_refuses(database, actor, stranger):
    number = await opened(database, actor)
    control = Control(None)
    with pytest.raises(NotFound):
        await sessions.disconnect(database, stranger, control, number)
    async with database.acquire() as conn:
        assert await store.close(conn, ["u"], "operator", "Admin-Reset", None)
    with pytest.raises(Conflict, match="ended at"):
        await sessions.disconnect(database, actor, control, number)
    with pytest.raises(NotFound):
        await sessions.get(database, actor, 10**30)
    assert control.asked == []


async def test_usage(world, database, actor, stranger):
    await world.plan(actor)
    alice = await world.subscriber(actor)
    async with database.acquire() as conn:
        await conn.execute("insert into usage_daily values ($1, $2, '2026-11-01', 1, 2, 3)", actor.tenant_id, alice.id)
    (used,) = await sessions.usage(database, actor, alice.id, date(2026, 11, 1), date(2026, 11, 1))
    assert (used.up_octets, used.down_octets, used.session_seconds) == (1, 2, 3)
    with pytest.raises(NotFound):
        await sessions.usage(database, stranger, alice.id, date(2026, 11, 1), date(2026, 11, 1))
    for last in (date(2026, 10, 31), date(2036, 10, 31)):
        with pytest.raises(InvalidInput, match="/last"):
            await sessions.usage(database, actor, alice.id, date(2026, 11, 1), last)
