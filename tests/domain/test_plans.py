"""Plans."""

import msgspec
import pytest

from netd.domain import plans
from netd.domain.plans import NewPlan, PlanPatch
from netd.errors import Conflict, InvalidInput, NotFound


async def test_create_and_read(world, database, actor):
    made = await world.plan(actor, dns=["192.0.2.53", "2001:db8::53"], profile="gold", ipv4_pool="pppoe")
    assert (made.down_bps, made.up_bps, made.version) == (100_000_000, 20_000_000, 1)
    assert [str(server) for server in made.dns] == ["192.0.2.53", "2001:db8::53"]
    assert await plans.get(database, actor, made.id) == made
    assert await plans.by_name(database, actor, "hOME 100") == made
    (row,) = await world.audited(actor)
    assert (row.actor, row.action, row.object_type, row.object_id, row.before, row.result) == ("ann", "plan.create", "plan", str(made.id), None, "ok")
    assert row.after["dns"] == ["192.0.2.53", "2001:db8::53"]
    assert (row.address, row.request_id) == ("192.0.2.7", "r1")


async def test_all_faults_at_once(database, actor):
    new = NewPlan(name="p", down_bps=2000, up_bps=2000, burst_down_bps=1500, burst_threshold_up_bps=1000, dns=("1.1.1.1", "dns.example"))
    with pytest.raises(InvalidInput) as caught:
        await plans.create(database, actor, new)
    assert {fault.where for fault in caught.value.faults} == {"/burst_down_bps", "/burst_threshold_up_bps", "/dns/1"}


async def test_name_is_unique_in_any_case(world, actor, stranger):
    await world.plan(actor, "Home")
    with pytest.raises(Conflict) as caught:
        await world.plan(actor, "HOME")
    assert caught.value.field == "name"
    await world.plan(stranger, "Home")  # another tenant's own
    assert len(await world.audited(actor)) == 1


async def test_update(world, database, actor):
    made = await world.plan(actor, profile="gold")
    after = await plans.update(database, actor, made.id, PlanPatch(down_bps=200_000_000, profile=None), version=1)
    assert (after.down_bps, after.profile, after.up_bps, after.version) == (200_000_000, None, 20_000_000, 2)
    assert after.updated_at > made.updated_at
    row = (await world.audited(actor))[-1]
    assert (row.action, row.before, row.after) == ("plan.update", {"down_bps": 100_000_000, "profile": "gold"}, {"down_bps": 200_000_000, "profile": None})


async def test_update_looks_at_the_whole_plan(world, database, actor):
    made = await world.plan(actor, burst_down_bps=150_000_000)
    with pytest.raises(InvalidInput, match="burst_down_bps"):
        await plans.update(database, actor, made.id, PlanPatch(down_bps=200_000_000))
    assert (await plans.get(database, actor, made.id)).version == 1


async def test_stale_version(world, database, actor):
    made = await world.plan(actor)
    await plans.update(database, actor, made.id, PlanPatch(down_bps=1_000_000), version=1)
    for attempt in (
        plans.update(database, actor, made.id, PlanPatch(down_bps=2_000_000), version=1),
        plans.delete(database, actor, made.id, version=1),
    ):
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.field == "version"


async def test_empty_patch_changes_nothing(world, database, actor):
    made = await world.plan(actor)
    assert await plans.update(database, actor, made.id, PlanPatch()) == made
    assert len(await world.audited(actor)) == 1


async def test_delete(world, database, actor):
    made = await world.plan(actor)
    await world.subscriber(actor)
    with pytest.raises(Conflict, match=r"used by 1 subscriber$"):
        await plans.delete(database, actor, made.id)
    free = await world.plan(actor, "free")
    await plans.delete(database, actor, free.id)
    with pytest.raises(NotFound):
        await plans.get(database, actor, free.id)
    row = (await world.audited(actor))[-1]
    assert (row.action, row.before["name"], row.after) == ("plan.delete", "free", None)


async def test_page(world, database, actor, stranger):
    await world.plan(stranger, "hidden")
    names = [f"p{n}" for n in range(5)]
    for name in names:
        await world.plan(actor, name)
    first = await plans.page(database, actor, plans.PlanQuery(limit=3, count=True))
    second = await plans.page(database, actor, plans.PlanQuery(limit=3, after=first.next))
    assert [plan.name for plan in (*first.items, *second.items)] == names
    assert (first.total, second.total, second.next) == (5, None, None)
    assert [plan.name for plan in (await plans.page(database, actor, plans.PlanQuery(name="P3"))).items] == ["p3"]
    assert (await plans.page(database, actor, plans.PlanQuery(name="\0"))).items == ()


async def test_other_tenants_plan(world, database, actor, stranger):
    made = await world.plan(actor)
    for attempt in (
        plans.get(database, stranger, made.id),
        plans.by_name(database, stranger, made.name),
        plans.update(database, stranger, made.id, PlanPatch(down_bps=1000)),
        plans.delete(database, stranger, made.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await plans.get(database, actor, made.id) == made
    assert await world.audited(stranger) == []


@pytest.mark.parametrize("plan_id", [0, -1, 2**63, 10**30])
async def test_ids_that_no_row_can_have(database, actor, plan_id):
    with pytest.raises(NotFound):
        await plans.get(database, actor, plan_id)


def test_unknown_members_are_refused():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "p", "down_bps": 1000, "up_bps": 1000, "down": 1}, NewPlan)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": None}, PlanPatch)
