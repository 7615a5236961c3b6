"""Session rows in bulk: each member arrives in its column, what is gone leaves no reference, and work on a packet does not grow with a month's rows."""

import secrets
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest

from netd.model.accounting import Row
from netd.share import share
from netd.store import accounting as store
from netd.store.database import connect
from netd.store.migrate import migrate
from tests.conftest import PATIENCE_SECONDS
from tests.store.test_sessions import alice_of, nas_of, tenants

__all__ = ["tenants"]

T0 = 1_793_000_000.0  # 2026-10-26


def row(number: int, **more: Any) -> Row:
    """An open session, every member set; ``more`` may close it."""
    facts: dict[str, Any] = {
        "acctuniqueid": f"{number:032x}", "radacctid": number, "tenant_id": 1, "nas_id": None, "subscriber_id": None, "acctsessionid": f"s{number}",
        "username": 'O\'Hara "\\\t\u00fc', "nasipaddress": "192.0.2.1", "nassourceaddress": "2001:db8::1", "nasidentifier": "bras", "nasportid": "Gi0/1",
        "nasporttype": "Ethernet", "started_at": T0 + 0.25, "updated_at": T0 + 60.5, "heard_at": T0 + 61.0, "acctinterval": 60, "acctsessiontime": 60,
        "acctauthentic": "RADIUS", "connectinfo_start": "100M", "acctinputoctets": 1 << 55, "acctoutputoctets": 2, "acctinputpackets": 3,
        "acctoutputpackets": 4, "calledstationid": "internet", "callingstationid": "02:00:00:00:00:01", "servicetype": "Framed-User",
        "framedprotocol": "PPP", "framedipaddress": "100.64.0.7", "framedipv6address": "2001:db8::7", "framedipv6prefix": "2001:db8:7::/64",
        "framedinterfaceid": "0000:0000:0000:0001", "delegatedipv6prefix": "2001:db8:700::/56", "class_": "netd1:a:1:b", "realm": "example.net",
        "interim_seconds": 300, "applied_policy": "abcd", "doomed": "deleted",
    }  # fmt: skip
    return Row(**(facts | more))


CLOSED = {"stopped_at": T0 + 60.5, "terminate_cause": "User-Request", "connectinfo_stop": "bye", "closed_by": "stop", "heard_at": 0.0, "doomed": None}


async def test_every_member_comes_back_as_it_was(connection):
    opened, closed = row(1), row(2, **CLOSED)
    await store.insert_open(connection, [opened])
    await store.insert_closed(connection, [closed])
    async with connection.transaction():
        assert await store.read_open(connection, [opened.acctuniqueid]) == [opened]
        assert await store.read_closed(connection, [closed.acctuniqueid], T0 - 60, T0 + 60) == [closed]
        assert await store.read_closed(connection, [closed.acctuniqueid], T0 + 30, T0 + 60) == []


async def test_members_as_they_are_by_default_come_back_too(connection):
    bare = {"acctsessionid": "s", "username": "bob", "nasipaddress": "192.0.2.1", "nassourceaddress": "192.0.2.1"}
    known: dict[str, Any] = {"tenant_id": 1, "nas_id": None, "subscriber_id": None, "started_at": T0, "updated_at": T0, **bare}
    opened = Row(acctuniqueid="a", radacctid=1, **known)
    closed = Row(acctuniqueid="b", radacctid=2, **known, stopped_at=T0, terminate_cause="Unknown", closed_by="stop")
    await store.insert_open(connection, [opened])
    await store.insert_closed(connection, [closed])
    async with connection.transaction():
        assert await store.read_open(connection, ["a"]) == [opened]
        assert await store.read_closed(connection, ["b"], T0 - 60, T0 + 60) == [closed]
    changed = msgspec.structs.replace(row(1), acctuniqueid="a")
    await store.update_open(connection, [changed])
    emptied = msgspec.structs.replace(opened, heard_at=T0)
    await store.update_open(connection, [emptied])
    assert await store.read_all_open(connection) == [emptied]


async def test_counting_and_changing_write_what_they_should(connection):
    first, second = row(1), row(2)
    await store.insert_open(connection, [first, second])
    counted = msgspec.structs.replace(first, **{name: (getattr(first, name) or 0) + 7 for name in store.COUNTED}, framedipaddress="100.64.9.9")
    changed = msgspec.structs.replace(second, framedipaddress="100.64.0.8", acctinputoctets=5, class_=None)
    await store.count_open(connection, [counted])
    await store.update_open(connection, [changed])
    found = {each.radacctid: each for each in await store.read_all_open(connection)}
    assert found == {1: msgspec.structs.replace(counted, framedipaddress=first.framedipaddress), 2: changed}


async def test_what_is_gone_leaves_its_history_without_the_reference(connection, tenants):
    tenant = tenants[0]
    nas_id, alice = await nas_of(connection, tenant), await alice_of(connection, tenant)
    known = {"tenant_id": tenant, "nas_id": nas_id, "subscriber_id": alice}
    await store.insert_open(connection, [row(1, **known), row(2, **known | {"nas_id": 999, "subscriber_id": 999})])
    await store.insert_closed(connection, [row(3, **known, **CLOSED)])
    await store.add_usage(
        connection, [(tenant, alice, T0, 2**63 - 1, 1, 60, T0), (tenant, alice, T0 + 1, 2**63 - 1, 2, 60, T0), (tenant, 999, T0, 1, 1, 1, T0)]
    )
    await store.add_usage(connection, [(tenant, alice, T0, 5, 6, 7, T0)])
    assert [tuple(day) for day in await connection.fetch("select subscriber_id, up_octets, down_octets, session_seconds from usage_daily")] == [
        (alice, 2**63 - 1, 9, 127)
    ]
    assert [(each.nas_id, each.subscriber_id) for each in await store.read_all_open(connection)] == [(nas_id, alice), (None, None)]
    await connection.execute("delete from subscribers where id = $1", alice)
    await connection.execute("delete from nas where id = $1", nas_id)
    assert [(each.nas_id, each.subscriber_id) for each in await store.read_all_open(connection)] == [(None, None), (None, None)]
    assert await connection.fetchval("select count(*) from radacct where subscriber_id is null") == 1
    assert await connection.fetchval("select count(*) from usage_daily") == 0
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute("update radacct set subscriber_id = 999")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute("delete from tenants where id = $1", tenant)


@pytest.fixture
async def connection15(external_postgres15):
    """A connection to a fresh migrated database on the oldest PostgreSQL, whose planner is the easiest to mislead."""
    name = f"accounting_{secrets.token_hex(4)}"
    admin = await connect(external_postgres15, PATIENCE_SECONDS)
    await admin.execute(f"create database {name}")
    opened = await connect(urlunsplit(urlsplit(external_postgres15)._replace(path=f"/{name}")), PATIENCE_SECONDS)
    await migrate(opened, share("sql"))
    yield opened
    await opened.close()
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


async def test_closed_sessions_are_found_by_their_id_even_in_a_month_that_has_just_begun(connection15):
    """A plan made while the month was empty, and kept, must not read all of it for each batch: the tenth thousand would be slower than the first."""
    keys = [f"{number:032x}" for number in range(2_950, 3_050)]
    arguments = keys, T0 - 86_400, T0 + 86_400
    for _ in range(7):  # the planner settles on a plan for all values at the sixth
        async with connection15.transaction():
            await store.lock(connection15, keys)
            assert await store.read_closed(connection15, *arguments) == []
    for start in range(1, 3_001, 500):
        await store.insert_closed(connection15, [row(number, **CLOSED) for number in range(start, start + 500)])
    name = await connection15.fetchval("select name from pg_prepared_statements where statement = $1", store._SELECT_CLOSED)
    places = ", ".join((f"'{{{','.join(keys)}}}'", *map(str, arguments[1:])))
    plan = await connection15.fetch(f'explain (analyze, costs off, timing off) execute "{name}" ({places})')
    async with connection15.transaction():
        assert len(await store.read_closed(connection15, *arguments)) == 51
    text = "\n".join(line[0] for line in plan)
    assert "Seq Scan" not in text, text
    assert "Rows Removed" not in text, text
