"""Sessions: open and closed in one order, closing, usage, and that long histories are read by index."""

import json
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from netd.store import sessions as store
from netd.store.listing import Condition, Selection
from netd.store.sessions import SessionFilter

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
async def tenants(connection):
    default = await connection.fetchval("select id from tenants where name = 'default'")
    return default, await connection.fetchval("insert into tenants (name) values ('other') returning id")


async def opened(conn, tenant, uid, **columns):
    """Insert an open session; returns its id."""
    values = {
        "acctuniqueid": uid, "tenant_id": tenant, "acctsessionid": f"s-{uid}", "username": "alice", "nasipaddress": "10.0.0.1", "nassourceaddress": "10.0.0.1",
        "acctstarttime": T0, "acctupdatetime": T0 + timedelta(minutes=5), "interim_seconds": 300, **columns,
    }  # fmt: skip
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    return await conn.fetchval(f"insert into sessions ({', '.join(values)}) values ({places}) returning radacctid", *values.values())


async def nas_of(conn, tenant):
    """Add a NAS; returns its id."""
    return await conn.fetchval(
        "insert into nas (tenant_id, nasname, shortname, type, secret) values ($1, '10.0.0.0/24', 'bras1', 'generic', 'x') returning id", tenant
    )


async def alice_of(conn, tenant):
    """Add a subscriber; returns its id."""
    plan = await conn.fetchval("insert into plans (tenant_id, name, down_bps, up_bps) values ($1, 'p', 1, 1) returning id", tenant)
    return await conn.fetchval(
        "insert into subscribers (tenant_id, username, username_key, plan_id) values ($1, 'alice', 'alice', $2) returning id", tenant, plan
    )


async def found(conn, tenant, session_id):
    """The session, which must be there."""
    session = await store.get(conn, tenant, session_id)
    assert session is not None
    return session


def asked(before=None, limit=100, username=None, nas_id=None, **wanted):
    """What a list asks for: a filter, and a selection."""
    conditions = [Condition(name, "eq", value) for name, value in (("username", username), ("nas_id", nas_id)) if value is not None]
    return SessionFilter(**wanted), Selection(conditions=tuple(conditions), after=None if before is None else (before,), limit=limit)


async def ids(conn, tenant, **wanted):
    return [each.id for each in await store.page(conn, tenant, *asked(**wanted))]


async def test_both_tables_in_one_order(connection, tenants):
    tenant, other = tenants
    made = [await opened(connection, tenant, f"u{n}", acctstarttime=T0 - timedelta(days=40 * n)) for n in range(6)]
    await opened(connection, other, "x")
    assert await store.close(connection, ["u1", "u4", "nosuch"], "stop", "User-Request", None) == ["u1", "u4"]
    assert await ids(connection, tenant) == made[::-1]
    assert await ids(connection, tenant, limit=3) == [made[5], made[4], made[3]]
    assert await ids(connection, tenant, limit=3, before=made[3]) == [made[2], made[1], made[0]]
    assert await ids(connection, tenant, state="open") == [made[5], made[3], made[2], made[0]]
    assert await ids(connection, tenant, state="closed") == [made[4], made[1]]
    counts = [await store.count(connection, tenant, *asked(state=state)) for state in ("all", "open", "closed")]
    assert counts == [6, 4, 2]


async def test_every_column(connection, tenants):
    tenant, _ = tenants
    nas = await nas_of(connection, tenant)
    number = await opened(
        connection, tenant, "u", nas_id=nas, nasportid="eth1", callingstationid="00:11", calledstationid="svc", acctsessiontime=300, acctinputoctets=10,
        acctoutputoctets=20, framedipaddress="192.0.2.1", framedipv6address="2001:db8::1", framedipv6prefix="2001:db8:1::/64",
        delegatedipv6prefix="2001:db8:2::/128", enforce_state="refused", enforce_detail="no", enforce_at=T0)  # fmt: skip
    live = await found(connection, tenant, number)
    assert (live.unique_id, live.nas, live.nas_id, live.acct_session_id, live.username, str(live.nas_ip_address)) == (
        "u",
        "bras1",
        nas,
        "s-u",
        "alice",
        "10.0.0.1",
    )
    assert (live.up_octets, live.down_octets, live.session_seconds, live.stopped_at, live.closed_by) == (10, 20, 300, None, None)
    assert (live.framed_ip_address, live.framed_ipv6_address) == (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
    assert (live.framed_ipv6_prefix, live.delegated_ipv6_prefix) == (ip_network("2001:db8:1::/64"), ip_network("2001:db8:2::/128"))
    assert (live.enforce_state, live.enforce_detail, live.enforce_at) == ("refused", "no", T0)
    await store.close(connection, ["u"], "not_found", "NAS-Request", T0 + timedelta(hours=1))
    closed = await found(connection, tenant, number)
    assert (closed.stopped_at, closed.closed_by, closed.terminate_cause, closed.enforce_state) == (T0 + timedelta(hours=1), "not_found", "NAS-Request", None)
    assert (closed.up_octets, closed.framed_ipv6_prefix, closed.nas, closed.started_at) == (10, live.framed_ipv6_prefix, "bras1", T0)
    assert await connection.fetchval("select count(*) from sessions") == 0


async def test_when_a_session_ended(connection, tenants):
    tenant, _ = tenants
    silent = await opened(connection, tenant, "a", acctupdatetime=T0 + timedelta(minutes=20))
    swapped = await opened(connection, tenant, "b")
    await store.close(connection, ["a"], "reaper", "Lost-Carrier", None)
    await store.close(connection, ["b"], "nas_reload", "NAS-Reboot", T0 - timedelta(days=1))
    assert (await found(connection, tenant, silent)).stopped_at == T0 + timedelta(minutes=20)
    assert (await found(connection, tenant, swapped)).stopped_at == T0  # never before its start


async def test_closing_what_is_recorded_already(connection, tenants):
    tenant, _ = tenants
    await opened(connection, tenant, "u", acctinputoctets=100, acctoutputoctets=5)
    await store.close(connection, ["u"], "stop", "User-Request", None)
    await opened(connection, tenant, "u", acctinputoctets=50, acctoutputoctets=7)
    assert await store.close(connection, ["u"], "reaper", "Lost-Carrier", None) == ["u"]
    (row,) = await connection.fetch("select acctinputoctets, acctoutputoctets, closed_by from radacct")
    assert tuple(row) == (100, 7, "stop")


async def test_another_tenants_session_is_not_shown(connection, tenants):
    tenant, other = tenants
    number = await opened(connection, tenant, "u")
    assert await store.get(connection, other, number) is None
    assert await store.close(connection, ["u"], "operator", "Admin-Reset", None) == ["u"]
    assert await store.close(connection, ["u"], "operator", "Admin-Reset", None) == []
    assert await store.get(connection, other, number) is None
    assert await ids(connection, other) == []


async def test_filters(connection, tenants):
    tenant, other = tenants
    alice = await alice_of(connection, tenant)
    nas = await nas_of(connection, tenant)
    v4 = await opened(connection, tenant, "a", username="Alice ", subscriber_id=alice, framedipaddress="192.0.2.1")
    v6 = await opened(connection, tenant, "b", username="bob", nas_id=nas, framedipv6prefix="2001:db8:1::/64", delegatedipv6prefix="2001:db8:200::/56")
    one = await opened(connection, tenant, "c", username="carol", framedipv6address="2001:db8:9::9", acctstarttime=T0 + timedelta(days=1))
    await opened(connection, other, "x", framedipaddress="192.0.2.1")
    for closing in ([], ["a", "b", "c"]):
        await store.close(connection, closing, "stop", "User-Request", T0 + timedelta(days=2))
        assert await ids(connection, tenant, username=" aLICE") == [v4]
        assert await ids(connection, tenant, username="\0") == []
        assert await ids(connection, tenant, subscriber_id=alice) == [v4]
        assert await ids(connection, tenant, nas_id=nas) == [v6]
        assert await ids(connection, tenant, ip=ip_address("192.0.2.1")) == [v4]
        assert await ids(connection, tenant, ip=ip_address("2001:db8:1::77")) == [v6]
        assert await ids(connection, tenant, ip=ip_address("2001:db8:200:ff::1")) == [v6]
        assert await ids(connection, tenant, ip=ip_address("2001:db8:9::9")) == [one]
        assert await ids(connection, tenant, ip=ip_address("2001:db8:9::8")) == []
        assert await ids(connection, tenant, at=T0 + timedelta(hours=1)) == [v6, v4]
        assert await ids(connection, tenant, at=T0 + timedelta(days=1, hours=1)) == [one, v6, v4]
        assert await store.count(connection, tenant, *asked(ip=ip_address("2001:db8:1::77"), at=T0)) == 1
    assert await ids(connection, tenant, at=T0 + timedelta(days=3)) == []


async def test_a_long_history_is_read_by_index(connection, tenants):
    """No part of a page may walk through radacct or sort it, whatever the filter."""
    tenant, _ = tenants
    statements = []

    class Recorder:
        async def fetch(self, statement, *args):
            statements.append((statement, args))
            return []

    filters: list[dict[str, Any]] = [
        {}, {"username": "alice"}, {"nas_id": 1}, {"ip": ip_address("192.0.2.1")}, {"ip": ip_address("2001:db8::1")}, {"username": "alice", "at": T0},
    ]  # fmt: skip
    for wanted in filters:
        await store.page(Recorder(), tenant, *asked(before=10**9, **wanted))
    await connection.execute("set enable_seqscan = off")  # the tables of a test are small enough to be read whole
    for wanted, (statement, args) in zip(filters, statements, strict=True):
        plan = json.loads(await connection.fetchval(f"explain (format json) {statement}", *args))[0]["Plan"]
        closed = [node for node in nodes(plan) if node.get("Relation Name", "").startswith("radacct") and node["Relation Name"] != "radacct_reach"]
        assert closed, wanted
        for node in closed:
            assert node["Node Type"] in ("Index Scan", "Bitmap Heap Scan"), (wanted, node)
            condition = node.get("Index Cond") or node.get("Recheck Cond")
            by = ("framedipaddress =", "framedipv6address =", "framedipv6prefix =", "delegatedipv6prefix =") if "ip" in wanted else ("radacctid <",)
            assert any(each in condition for each in by), (wanted, condition)


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_usage(connection, tenants):
    tenant, other = tenants
    alice = await alice_of(connection, tenant)
    for day in (1, 3, 9):
        await connection.execute("insert into usage_daily values ($1, $2, $3, $4, $5, $6)", tenant, alice, date(2026, 11, day), day, day * 10, day * 100)
    used = await store.usage(connection, tenant, alice, date(2026, 11, 1), date(2026, 11, 3))
    assert [(each.day.day, each.up_octets, each.down_octets, each.session_seconds) for each in used] == [(1, 1, 10, 100), (3, 3, 30, 300)]
    assert await store.usage(connection, other, alice, date(2026, 11, 1), date(2026, 11, 3)) == []
