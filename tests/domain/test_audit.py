"""The audit log."""

import asyncio

import pytest

from netd.domain import audit, subscribers
from netd.domain.actor import Actor


def test_masking():
    value = {
        "password": "x", "nested": [{"secret": "y", "note": "n"}], "new_password": None, "api_key": "z", "monkey": "fine", "public_id": "p",
        "replies": [{"attribute": "Tunnel-Password", "op": "=", "value": "s"},
                    {"attribute": "MS-MPPE-Send-Key", "value": "k"}, {"attribute": "Filter-Id", "value": "f"}],
    }  # fmt: skip
    assert audit.masked(value) == {
        "password": "***", "nested": [{"secret": "***", "note": "n"}], "new_password": None, "api_key": "***", "monkey": "fine", "public_id": "p",
        "replies": [{"attribute": "Tunnel-Password", "op": "=", "value": "***"},
                    {"attribute": "MS-MPPE-Send-Key", "value": "***"}, {"attribute": "Filter-Id", "value": "f"}],
    }  # fmt: skip


async def test_refused(world, database, actor):
    await audit.refused(database, actor, action="plan.create", object_type="route", object_id="POST /x\0" + "y" * 1000)
    (row,) = await world.audited(actor)
    assert (row.action, row.result, row.before, row.after) == ("plan.create", "refused", None, None)
    assert row.object_id.startswith("POST /x\ufffd")


@pytest.mark.parametrize(("address", "kept"), [("2001:db8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"), (None, None), ("", None), ("unix", None)])
async def test_addresses_of_callers(world, database, actor, address, kept):
    caller = Actor(tenant_id=actor.tenant_id, name="ann", role="admin", address=address)
    await audit.refused(database, caller, action="a", object_type="o", object_id="1")
    assert (await world.audited(actor))[0].address == kept


async def test_page(world, database, actor, stranger):
    await world.plan(stranger, "hidden")
    plan = await world.plan(actor)
    await world.plan(actor, "second")
    await world.subscriber(actor)
    first = await audit.page(database, actor, audit.AuditQuery(limit=2, count=True))
    second = await audit.page(database, actor, audit.AuditQuery(limit=2, after=first.next))
    assert [row.action for row in (*first.items, *second.items)] == ["subscriber.create", "plan.create", "plan.create"]
    assert first.total == 3
    (row,) = (await audit.page(database, actor, audit.AuditQuery(object_type="plan", object_id=str(plan.id)))).items
    assert row.after is not None
    assert row.after["name"] == "Home 100"


class TestChain:
    @pytest.fixture
    async def log(self, world, database, actor, stranger):
        """Seven rows, and some of another tenant in between; ids in order."""
        for number in range(7):
            await world.plan(actor, f"p{number}")
            await world.plan(stranger, f"p{number}")
        return [row.id for row in await world.audited(actor)]

    async def tampered(self, database, statement, *args):
        async with database.acquire() as conn:
            await conn.execute(statement, *args)

    async def test_a_whole_log(self, database, actor, stranger, log, monkeypatch):
        heads = set()
        for most in (20_000, 2, 7):
            monkeypatch.setattr(audit, "VERIFIED_ROWS", most)
            found = await audit.verify(database, actor)
            assert (found.whole, found.rows, found.last_id, found.first_wrong_id, len(found.head)) == (True, 7, log[-1], None, 64)
            heads.add(found.head)
        assert len(heads) == 1
        assert (await audit.verify(database, stranger)).head not in heads

    async def test_an_empty_log(self, database, actor):
        assert (await audit.verify(database, actor)).whole

    @pytest.mark.parametrize(
        "change", ["actor = 'eve'", "after = '{}'", "at = at + interval '1 microsecond'", "result = 'refused'", "request_id = null", "hash = sha256('x')"]
    )
    async def test_a_changed_row_shows(self, database, actor, log, change):
        await self.tampered(database, f"update audit_log set {change} where id = $1", log[3])
        found = await audit.verify(database, actor)
        assert (found.whole, found.first_wrong_id) == (False, log[3])

    async def test_a_removed_row_shows(self, database, actor, stranger, log):
        await self.tampered(database, "delete from audit_log where id = $1", log[3])
        found = await audit.verify(database, actor)
        assert (found.whole, found.first_wrong_id) == (False, log[4])
        assert (await audit.verify(database, stranger)).whole

    async def test_rows_removed_at_the_end_show(self, world, database, actor, log):
        await self.tampered(database, "delete from audit_log where id >= $1", log[5])
        found = await audit.verify(database, actor)
        assert (found.whole, found.rows, found.detail) == (False, 5, f"rows behind {log[4]} are missing, up to {log[6]}")
        await world.plan(actor, "later")
        assert not (await audit.verify(database, actor)).whole

    async def test_a_chain_made_anew_does_not_fit_its_head(self, database, actor, log):
        async with database.acquire() as conn:
            await conn.execute("update audit_log set actor = 'eve' where id = $1", log[6])
            await conn.execute("update audit_log r set hash = netd_audit_hash((select hash from audit_log p where p.id = $2), r) where id = $1", log[6], log[5])
        found = await audit.verify(database, actor)
        assert (found.whole, found.first_wrong_id) == (False, log[6])

    async def test_many_writers_make_one_chain(self, world, database, actor):
        async def one(number):
            await world.plan(actor, f"p{number}")

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(one(number))
        found = await audit.verify(database, actor)
        assert (found.whole, found.rows) == (True, 40)


async def test_a_password_is_shown_to_whoever_may_and_that_is_recorded(world, database, actor, keyring):
    await world.plan(actor)
    alice = await world.subscriber(actor)
    shown = await subscribers.reveal(database, actor, keyring, alice.id)
    assert (shown.password, "wonderland" in repr(shown)) == ("wonderland", False)
    row = (await world.audited(actor))[-1]
    assert (row.action, row.object_id, row.before, row.after) == ("subscriber.reveal", str(alice.id), None, None)
    assert "wonderland" not in await world.dump()
