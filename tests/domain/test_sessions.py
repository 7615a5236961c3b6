"""Sessions through the eyes of an operator."""

from datetime import UTC, date, datetime, timedelta

import pytest

from netd.domain import sessions
from netd.domain.sessions import SessionQuery, WhoHadQuery
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


async def test_who_had_an_address(world, database, actor, stranger):
    nas = await world.nas(actor)
    first = await opened(database, actor, "first", nas_id=nas.id, framedipaddress="192.0.2.1", nasportid="eth1", callingstationid="00:11")
    await opened(database, stranger, "x", framedipaddress="192.0.2.1")
    async with database.acquire() as conn:
        await store.close(conn, ["first"], "stop", "User-Request", T0 + timedelta(hours=1))
    had = await sessions.who_had(database, actor, WhoHadQuery(ip="192.0.2.1", at=T0 + timedelta(minutes=5)), T0 + timedelta(days=9))
    (holder,) = had.holders
    assert (holder.session.id, holder.had_it, holder.doubts, had.ambiguous, had.more) == (first, True, (), False, False)
    assert (holder.session.nas, holder.session.nas_port_id, holder.session.calling_station_id) == ("bras1", "eth1", "00:11")
    nobody = await sessions.who_had(database, actor, WhoHadQuery(ip="192.0.2.9", at=T0), T0)
    assert (nobody.holders, nobody.ambiguous) == ((), False)
    with pytest.raises(InvalidInput):
        await sessions.who_had(database, actor, WhoHadQuery(ip="192.0.2.0/24"), T0)


async def test_contradicting_answers_are_all_shown_and_marked(database, actor):
    """A Stop that got lost, two clocks that differ, and a neighbour in time."""
    silent = await opened(database, actor, "silent", framedipaddress="192.0.2.1")
    reaped = await opened(database, actor, "reaped", framedipaddress="192.0.2.1", acctstarttime=T0 + timedelta(hours=2))
    near = await opened(database, actor, "near", framedipaddress="192.0.2.1", acctstarttime=T0 + timedelta(hours=3, seconds=20))
    async with database.acquire() as conn:
        await store.close(conn, ["reaped"], "reaper", "Lost-Carrier", T0 + timedelta(hours=3, seconds=5))
        await store.close(conn, ["near"], "stop", "User-Request", T0 + timedelta(hours=4))
    query = WhoHadQuery(ip="192.0.2.1", at=T0 + timedelta(hours=3))
    had = await sessions.who_had(database, actor, query, T0 + timedelta(days=1))
    told = {holder.session.id: (holder.had_it, " ".join(holder.doubts)) for holder in had.holders}
    assert had.ambiguous
    assert set(told) == {silent, reaped, near}
    assert told[silent] == (
        True,
        f"claimed at that moment by session {reaped} too still open, but nothing was heard of it since 2026-11-01 12:00:00Z: its Stop may be lost",
    )
    assert told[reaped][0]
    assert "no Stop came (reaper)" in told[reaped][1]
    assert told[near] == (False, "began 20 s after that")
    exactly = await sessions.who_had(database, actor, WhoHadQuery(ip="192.0.2.1", at=query.at, slack_seconds=0), T0 + timedelta(days=1))
    assert {holder.session.id for holder in exactly.holders} == {silent, reaped}


async def test_an_address_inside_a_delegated_prefix(database, actor):
    number = await opened(database, actor, "d", delegatedipv6prefix="2001:db8:7::/56", framedipv6prefix="2001:db8:9::/64", framedipv6address="2001:db8:9::1")
    for ip in ("2001:db8:7:42::9", "2001:db8:9::1"):
        for _ in ("open", "closed"):
            had = await sessions.who_had(database, actor, WhoHadQuery(ip=ip, at=T0), T0)
            assert [holder.session.id for holder in had.holders] == [number]
        async with database.acquire() as conn:
            await store.close(conn, ["d"], "stop", "User-Request", T0 + timedelta(hours=1))


async def test_only_open_sessions_have_an_enforce_state(database, actor):
    await opened(database, actor, "fine")
    stuck = await opened(database, actor, "stuck", enforce_state="unreachable")
    assert [each.id for each in (await sessions.page(database, actor, SessionQuery(enforce_state="unreachable"))).items] == [stuck]
    for more in ({"state": "closed"}, {"state": "all"}, {"at": T0, "ip": "192.0.2.1"}):
        with pytest.raises(InvalidInput):
            await sessions.page(database, actor, SessionQuery(enforce_state="unreachable", **more))
