"""Access policies as operators set them: what is refused, what is kept, what is audited; and no secret anywhere."""

from datetime import UTC, datetime

import pytest

from netd.domain import lines, nas, plans, secrets, subscribers
from netd.domain.lines import NewLine
from netd.domain.nas import LINE_LOGIN_CONTEXT, NasPatch
from netd.domain.plans import PlanPatch
from netd.domain.subscribers import SubscriberPatch
from netd.errors import Conflict, InvalidInput
from netd.store.lines import Kept
from tests.domain.conftest import VENDORS


def pointers(refused) -> set[str]:
    return {fault.where for fault in refused.value.faults}


def kept(**values) -> Kept:
    return Kept(**{"nas_id": None, "circuit_id": None, "remote_id": None, "nas_port_id": None, "mac": None, "learned_at": datetime.now(UTC), **values})


async def test_a_plan_with_hours_vlan_and_committed_rates(world, database, actor):
    plan = await world.plan(actor, access_hours="Wk0800-1659,Sa", time_zone="Europe/Berlin", vlan="0100", contention_ratio=20)
    assert (plan.access_hours, plan.time_zone, plan.vlan) == ("Mo-Fr 08:00-17:00, Sa", "Europe/Berlin", "100")
    assert (plan.committed("down"), plan.committed("up")) == (5_000_000, 1_000_000)
    with pytest.raises(InvalidInput) as refused:
        await plans.update(database, actor, plan.id, PlanPatch(access_hours="Mo 08:00-99:00", time_zone="Mars/Olympus", vlan="4095", committed_down_bps=10**9))
    assert pointers(refused) == {"/access_hours", "/time_zone", "/vlan"}
    with pytest.raises(InvalidInput) as refused:
        await plans.update(database, actor, plan.id, PlanPatch(committed_up_bps=1_000_000))
    assert pointers(refused) == {"/committed_up_bps"}, "told twice"
    with pytest.raises(InvalidInput) as refused:
        await plans.update(database, actor, plan.id, PlanPatch(contention_ratio=None, committed_down_bps=10**9))
    assert pointers(refused) == {"/committed_down_bps"}, "more than the rate"
    changed = await plans.update(database, actor, plan.id, PlanPatch(contention_ratio=None, committed_down_bps=10**7, access_hours=None))
    assert (changed.committed("down"), changed.committed("up"), changed.access_hours) == (10**7, None, None)
    assert (await world.audited(actor))[-1].before["access_hours"] == "Mo-Fr 08:00-17:00, Sa"


async def test_lines_and_devices_of_a_subscriber(world, database, actor, keyring, any_attribute):
    await world.plan(actor)
    await world.nas(actor)
    alice = await world.subscriber(
        actor, access_hours="Al", vlan="guests", line_mode="enforce", mac_addresses=("00-11-22-AA-BB-CC", "0011.22aa.bbcc"), circuit_ids=("0X41", "c 2"),
        lines=[{"circuit_id": "0x00ff"}, {"nas": "BRAS1", "nas_port_id": "ether1", "mac": "001122aabbcc"}],
    )  # fmt: skip
    assert (alice.mac_addresses, alice.circuit_ids) == (("00:11:22:aa:bb:cc",), ("A", "c 2"))
    assert [(line.nas, line.circuit_id, line.nas_port_id, line.mac) for line in alice.lines] == [
        (None, "0x00ff", None, None), ("bras1", None, "ether1", "00:11:22:aa:bb:cc"),
    ]  # fmt: skip

    async def change(**members):
        return await subscribers.update(database, actor, keyring, alice.id, SubscriberPatch(**members), any_attribute)

    with pytest.raises(InvalidInput) as refused:
        await change(
            lines=(NewLine(), NewLine(nas="nowhere"), NewLine(mac="ff:ff:ff:ff:ff:ff")), mac_addresses=("00:11:22:33:44:55", "zz"), circuit_ids=("0xq",)
        )
    assert pointers(refused) == {"/lines/0", "/lines/1/nas", "/lines/2/mac", "/mac_addresses/1", "/circuit_ids/0"}
    with pytest.raises(InvalidInput) as refused:
        await change(lines=())
    assert pointers(refused) == {"/line_mode"}, "a mode that nothing could fulfil"
    await change(lines=(), line_learn=True)
    with pytest.raises(InvalidInput) as refused:
        await change(line_learn=False)
    assert pointers(refused) == {"/line_mode"}
    with pytest.raises(Conflict) as taken:
        await world.subscriber(actor, "bob", mac_addresses=("001122AABBCC",))
    assert taken.value.field == "mac_addresses"
    row = (await world.audited(actor))[-1]
    assert (row.action, len(row.before["lines"]), row.after["lines"]) == ("subscriber.update", 2, [])


async def test_another_tenant_may_have_the_same_device(world, actor, stranger):
    for each in (actor, stranger):
        await world.plan(each)
        found = await world.subscriber(each, mac_addresses=("00:11:22:aa:bb:cc",))
        assert found.mac_addresses == ("00:11:22:aa:bb:cc",)


async def test_a_line_is_learned_once_and_audited(world, database, actor):
    await world.plan(actor)
    box = await world.nas(actor)
    alice = await world.subscriber(actor, line_mode="enforce", line_learn=True)
    assert await lines.learn(database, actor.tenant_id, alice.id, kept(circuit_id="c1"))
    assert not await lines.learn(database, actor.tenant_id, alice.id, kept(circuit_id="c2"))
    assert not await lines.learn(database, actor.tenant_id, 10**9, kept(circuit_id="c2"))
    found = await subscribers.get(database, actor, alice.id)
    assert ([line.circuit_id for line in found.lines], found.version) == (["c1"], alice.version + 1)
    row = (await world.audited(actor))[-1]
    assert (row.actor, row.action, row.after["lines"][0]["circuit_id"]) == ("netd", "subscriber.learn_line", "c1")
    bob = await world.subscriber(actor, "bob", line_mode="log")
    assert not await lines.learn(database, actor.tenant_id, bob.id, kept(circuit_id="c1")), "was not asked to"
    carol = await world.subscriber(actor, "carol", line_mode="log", line_learn=True)
    assert not await lines.learn(database, actor.tenant_id, carol.id, kept(nas_id=10**9, nas_port_id="e1")), "that NAS is gone"
    assert await lines.learn(database, actor.tenant_id, carol.id, kept(nas_id=box.id, nas_port_id="e1"))
    await nas.delete(database, actor, box.id)
    assert (await subscribers.get(database, actor, carol.id)).lines == ()
    assert (await world.audited(actor))[-1].before["learned_lines"] == 1


async def test_a_nas_that_an_operators_line_names_stays(world, database, actor):
    await world.plan(actor)
    box = await world.nas(actor)
    await world.subscriber(actor, line_mode="log", lines=[{"nas": "bras1"}])
    with pytest.raises(Conflict, match="named by 1 line"):
        await nas.delete(database, actor, box.id)


async def test_line_log_ins_of_a_nas_and_no_secret_anywhere(world, database, actor, keyring):
    box = await world.nas(actor, line_login=("mac",), line_login_passwords=("same", "fixed"), line_login_password="sesame99")
    assert (box.line_login, box.line_login_passwords) == (("mac",), ("same", "fixed"))
    for members, where in (
        ({"line_login_passwords": ()}, "/line_login_passwords"),
        ({"line_login_password": None}, "/line_login_password"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await nas.update(database, actor, keyring, box.id, NasPatch(**members), VENDORS)
        assert pointers(refused) == {where}
    with pytest.raises(InvalidInput) as refused:
        await world.nas(actor, "b2", "10.0.0.2", line_login=("circuit_id",))
    assert pointers(refused) == {"/line_login_passwords"}
    await nas.update(database, actor, keyring, box.id, NasPatch(line_login_password="sesame98"), VENDORS)
    assert "sesame" not in await world.dump()
    assert "sesame" not in repr(NasPatch(line_login_password="sesame98"))
    (before,) = await world.fetch("select line_login_password from nas")
    rotated = await secrets.rotate(database, actor, keyring)
    (after,) = await world.fetch("select line_login_password from nas")
    assert (rotated.complete, rotated.nas) == (True, 2)
    assert keyring.key_id(after["line_login_password"]) == keyring.current_id != keyring.key_id(before["line_login_password"])
    assert keyring.open(after["line_login_password"], LINE_LOGIN_CONTEXT) == b"sesame98"
    cleared = await nas.update(database, actor, keyring, box.id, NasPatch(line_login=(), line_login_passwords=("same",), line_login_password=None), VENDORS)
    assert (cleared.line_login, cleared.line_login_passwords) == ((), ("same",))
