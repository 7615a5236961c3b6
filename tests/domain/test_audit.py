"""The audit log."""

import pytest

from netd.domain import audit
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
