"""Who had an address then: found however long ago the session began, and without reading the history."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from netd.store import partitions
from netd.store import sessions as store
from netd.store.listing import Condition, Selection
from netd.store.sessions import SessionFilter
from tests.store.test_sessions import T0, opened

JULY = datetime(2026, 7, 1, tzinfo=UTC)
ROWS = 200_000
UNREACHABLE = Selection(conditions=(Condition("enforce_state", "eq", "unreachable"),))
MONTHS = 5


class Recorder:
    """Keeps the statement instead of asking the database."""

    async def fetch(self, statement, *args):
        self.asked = (statement, args)
        return []


async def plan_of(conn, wanted):
    """The nodes of the plan as it was executed, by table: those that were not even looked at are left out."""
    recorder = Recorder()
    await store.newest(recorder, 1, wanted, 101)
    statement, args = recorder.asked
    plan = json.loads(await conn.fetchval(f"explain (analyze, buffers, format json) {statement}", *args))[0]
    return plan, [node for node in _nodes(plan["Plan"]) if node.get("Actual Loops", 0) and node.get("Relation Name", "").startswith("radacct_")]


def _nodes(node):
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


@pytest.fixture
async def history(connection):
    """Five months of sessions of some hours each, every address some 25 times a month; returns the connection."""
    for month in range(MONTHS):
        await partitions.ensure(connection, (JULY + timedelta(days=31 * month)).date())
    await connection.execute(
        """insert into radacct (radacctid, tenant_id, acctuniqueid, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime, acctupdatetime,
               acctstoptime, acctterminatecause, interim_seconds, closed_by, framedipaddress, delegatedipv6prefix)
           select n, 1, md5(n::text), n::text, 'u' || n % 1500, '10.0.0.1', '10.0.0.1', at, at, at + interval '5 hours', 'User-Request', 300, 'stop',
               '100.64.0.0'::inet + n % 1500, set_masklen('2001:db8::'::inet + (n % 1500) * 2^64::numeric::bigint, 64)
           from (select n, $1::timestamptz + n * interval '66 seconds' as at from generate_series(1, $2::int) n) rows""".replace(
            "set_masklen('2001:db8::'::inet + (n % 1500) * 2^64::numeric::bigint, 64)", "('2001:db8:0:' || to_hex(n % 1500) || '::/64')::inet"
        ), JULY, ROWS,
    )  # fmt: skip
    await connection.execute("analyze")
    return connection


async def closed(conn, uid, began, ended, **columns):
    number = await opened(conn, 1, uid, acctstarttime=began, acctupdatetime=ended, **columns)
    await store.close(conn, [uid], "stop", "User-Request", ended)
    return number


async def test_only_the_months_that_can_matter_are_read_and_by_index(history):
    at = datetime(2026, 11, 1, 2, tzinfo=UTC)
    for ip, condition in ((ip_address("100.64.1.7"), "acctstoptime >="), (ip_address("2001:db8:0:107::77"), "acctstoptime >=")):
        plan, read = await plan_of(history, SessionFilter(ip=ip, at=at))
        assert {node["Relation Name"] for node in read} == {"radacct_202610", "radacct_202611", "radacct_reach"}, (
            "the sessions of 31 October reach into November"
        )
        for node in read:
            if node["Relation Name"] != "radacct_reach":
                assert node["Node Type"] in ("Index Scan", "Bitmap Heap Scan"), node
                assert condition in (node.get("Index Cond") or node.get("Recheck Cond")), node
                assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= 40, node
        assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 1_500


async def test_a_session_of_months_is_found_and_costs_only_its_months(history):
    """The month of a long session's start is read again, and those between at the price of one descent of the index."""
    long = await closed(history, "long", datetime(2026, 8, 3, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC), framedipaddress="100.64.200.1")
    at = datetime(2026, 11, 10, tzinfo=UTC)
    wanted = SessionFilter(ip=ip_address("100.64.200.1"), at=at)
    assert [each.id for each in await store.newest(history, 1, wanted, 10)] == [long]
    _, read = await plan_of(history, wanted)
    months = {node["Relation Name"]: node for node in read}
    assert "radacct_202607" not in months
    assert "radacct_202612" not in months
    assert all(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= 1 for name, node in months.items() if name != "radacct_reach")
    after = SessionFilter(ip=ip_address("100.64.200.1"), at=datetime(2026, 11, 20, 0, 0, 1, tzinfo=UTC))
    assert await store.newest(history, 1, after, 10) == []


async def test_every_writer_keeps_the_reach(connection):
    """Inserting, amending and closing all go through the table, so none can forget it."""
    await partitions.ensure(connection, T0.date())
    ended = T0 + timedelta(days=40)
    number = await closed(connection, "a", T0, ended, framedipaddress="192.0.2.1")
    assert await connection.fetchval("select reached_at from radacct_reach where month = '2026-11-01'") == datetime(2026, 12, 12, tzinfo=UTC)
    await connection.execute("update radacct set acctstoptime = $1", ended + timedelta(days=60))
    wanted = SessionFilter(ip=ip_address("192.0.2.1"), at=ended + timedelta(days=59))
    assert [each.id for each in await store.newest(connection, 1, wanted, 2)] == [number]
    await connection.execute("update radacct set acctstoptime = $1", ended)
    assert await connection.fetchval("select reached_at from radacct_reach") > ended + timedelta(days=59), "later than need be does no harm"
    ancient = await closed(connection, "b", datetime(1990, 5, 1, tzinfo=UTC), T0, framedipaddress="192.0.2.2")
    found = await store.newest(connection, 1, SessionFilter(ip=ip_address("192.0.2.2"), at=T0), 2)
    assert [each.id for each in found] == [ancient], "also in the partition for starts far outside"


async def test_the_enforce_state_finds_open_sessions_only(connection):
    await opened(connection, 1, "fine")
    stuck = await opened(connection, 1, "stuck", enforce_state="unreachable")
    await opened(connection, 1, "over", enforce_state="unreachable")
    await store.close(connection, ["over"], "stop", "User-Request", None)
    for state in ("all", "open"):
        found = await store.page(connection, 1, SessionFilter(state=state), UNREACHABLE)
        assert [each.id for each in found] == [stuck]
    assert await store.count(connection, 1, SessionFilter(state="open"), UNREACHABLE) == 1
