"""Bringing plans, NAS and subscribers to a wanted state in one step."""

import asyncio
import json
from typing import Any

import pytest

from netd.domain import nas, plans, provision, standing, subscribers
from netd.domain.provision import ProvisionReport
from netd.errors import InvalidInput
from netd.store import provision as store

PLAN = {"plan": {"name": "Home", "down_bps": 50_000_000, "up_bps": 10_000_000, "replies": [{"attribute": "Framed-MTU", "op": ":=", "value": "1492"}]}}
NAS = {"nas": {"name": "bras1", "address": "10.0.0.1", "secret": "testing123", "vendor": "mikrotik"}}
ALICE = {"subscriber": {"username": "alice", "password": "wonderland", "plan": "home", "replies": [{"attribute": "Filter-Id", "value": "a"}]}}
BOB = {
    "subscriber": {
        "username": "bob",
        "password_hash": "{md5}" + "0" * 32,
        "plan": "home",
        "ipv4": "10.1.0.1",
        "checks": [{"attribute": "NAS-Port", "value": "1"}],
    }
}


@pytest.fixture
def bring(database, actor, keyring, vendors, any_attribute):
    async def bring_in(*lines: Any, who=None, **options: bool) -> ProvisionReport:
        data = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
        return await provision.bring_in(database, who or actor, keyring, any_attribute, vendors, data, **options)

    return bring_in


def counts(report: ProvisionReport) -> list[tuple[int, int, int]]:
    return [(tally.created, tally.updated, tally.unchanged) for tally in (report.plans, report.nas, report.subscribers)]


async def everybody(database, actor) -> list[str]:
    return [each.username for each in (await subscribers.page(database, actor, subscribers.SubscriberQuery())).items]


async def test_once_makes_twice_changes_nothing(bring, world, database, actor, keyring) -> None:
    first = await bring(PLAN, NAS, ALICE, BOB)
    assert first.stored
    assert counts(first) == [(1, 0, 0), (1, 0, 0), (2, 0, 0)]
    before = await world.fetch("select max(id) from changes")
    again = await bring(PLAN, NAS, ALICE, BOB)
    assert counts(again) == [(0, 0, 1), (0, 0, 1), (0, 0, 2)]
    assert await world.fetch("select max(id) from changes") == before, "and the engine has nothing to read"
    bob = await subscribers.by_username(database, actor, "bob")
    assert (str(bob.ipv4), [check.value for check in bob.checks]) == ("10.1.0.1", ["1"])
    (row,) = await world.fetch("select password, password_hashed from subscribers where username = 'bob'")
    assert row["password_hashed"]
    assert keyring.open(row["password"], b"subscribers.password").startswith(b"{md5}")
    assert "wonderland" not in await world.dump()
    assert [row.action for row in await world.audited(actor)] == ["plan.create", "nas.create", "import.store", "import.store"]


async def test_others_of_the_tenant_change_things_meanwhile(bring, world, actor, monkeypatch) -> None:
    real, reached, go = store.take_out_clashes, asyncio.Event(), asyncio.Event()

    async def held(conn, tenant_id):
        reached.set()
        await go.wait()
        return await real(conn, tenant_id)

    monkeypatch.setattr(store, "take_out_clashes", held)
    async with asyncio.TaskGroup() as group:
        importing = group.create_task(bring(PLAN, NAS, ALICE))
        await reached.wait()
        try:
            async with asyncio.timeout(60):
                await world.plan(actor, "Meanwhile")
        finally:
            go.set()
    assert importing.result().stored
    assert [row.action for row in await world.audited(actor)] == ["plan.create", "plan.create", "nas.create", "import.store"]


async def test_only_what_is_given_changes(bring, world, database, actor, keyring, any_attribute) -> None:
    await bring(PLAN, NAS, ALICE, BOB)
    alice = await subscribers.by_username(database, actor, "alice")
    patch = subscribers.SubscriberPatch(note="pays in cash")
    await subscribers.update(database, actor, keyring, alice.id, patch, any_attribute)
    changed = {"subscriber": {"username": "ALICE", "plan": "home", "password": "through the glass", "replies": []}}
    report = await bring({"plan": {"name": "home", "up_bps": 20_000_000}}, {"nas": {**NAS["nas"], "secret": "another secret"}}, changed)
    assert counts(report) == [(0, 1, 0), (0, 1, 0), (0, 1, 0)]
    alice = await subscribers.by_username(database, actor, "alice")
    assert (alice.note, alice.replies, alice.username) == ("pays in cash", (), "ALICE")
    plan = await plans.by_name(database, actor, "Home")
    assert (plan.name, plan.up_bps, plan.down_bps, len(plan.replies)) == ("Home", 20_000_000, 50_000_000, 1)
    (row,) = await world.fetch("select password from subscribers where username_key = 'alice'")
    assert keyring.open(row["password"], b"subscribers.password") == b"through the glass"
    assert "another secret" not in await world.dump()


async def test_a_bad_line_keeps_all_out_or_is_skipped(bring, database, actor) -> None:
    bad = [
        {"subscriber": {"username": "carol", "plan": "none"}},
        {"subscriber": {"username": "alice", "plan": "home"}},
        {"subscriber": {"username": "dave", "plan": "home", "ipv4": "10.1.0.1"}},
        {"subscriber": {"username": "erin", "plan": "home", "password": "x" * 129}},
        {"subscriber": {"username": "frank", "plan": "home", "password_hash": "{crypt}x"}},
        {"nas": {"name": "bras2", "address": "10.0.0.2/8", "secret": "testing123", "vendor": "mikrotik"}},
        {"nas": {"name": "BRAS1", "address": "10.0.0.3", "secret": "testing123", "vendor": "mikrotik"}},
        {"plan": {"name": "no rates"}},
        {"plan": {"name": "x"}, "nas": {"name": "y", "address": "10.0.0.9"}},
        b"not json",
    ]
    lines = [PLAN, NAS, ALICE, BOB, *bad]
    report = await bring(*lines)
    assert not report.stored
    assert {error.line for error in report.errors} == set(range(5, 15))
    assert {error.pointer for error in report.errors} >= {"/subscriber/plan", "/subscriber/username", "/subscriber/ipv4", "/nas/address", "/nas/name", "/plan"}
    assert await everybody(database, actor) == []
    assert (await bring(*lines, dry_run=True, skip_bad=True)).stored is False
    report = await bring(*lines, skip_bad=True)
    assert report.stored
    assert (report.bad, counts(report)) == (10, [(1, 0, 0), (1, 0, 0), (2, 0, 0)])
    assert await everybody(database, actor) == ["alice", "bob"]


async def test_addresses_change_hands_but_are_not_taken_from_others(bring, database, actor) -> None:
    await bring(PLAN, ALICE, BOB)
    swapped = [
        {"subscriber": {"username": "alice", "plan": "home", "ipv4": "10.1.0.1"}},
        {"subscriber": {"username": "bob", "plan": "home", "ipv4": "10.1.0.2"}},
    ]
    taken = await bring(swapped[0])
    assert [error.detail for error in taken.errors] == ["belongs to bob (active)"]
    assert (await bring(*swapped)).stored
    assert str((await subscribers.by_username(database, actor, "alice")).ipv4) == "10.1.0.1"


async def test_state_is_set_only_where_it_is_given_and_the_terminated_stay_so(bring, database, actor) -> None:
    await bring(PLAN, ALICE)
    alice = await subscribers.by_username(database, actor, "alice")
    await standing.suspend(database, actor, alice.id)
    assert counts(await bring(PLAN, ALICE))[2] == (0, 0, 1)
    active = {"subscriber": {**ALICE["subscriber"], "state": "active"}}
    assert counts(await bring(active))[2] == (0, 1, 0)
    await standing.terminate(database, actor, alice.id)
    assert [error.pointer for error in (await bring(active)).errors] == ["/subscriber/username"]


async def test_a_tenant_reaches_nothing_of_another(bring, world, database, actor, stranger) -> None:
    await bring(PLAN, NAS, ALICE)
    report = await bring(NAS, ALICE, who=stranger)
    assert [error.detail for error in report.errors] == ["belongs to another tenant", "there is no plan home"]
    assert (await bring(PLAN, ALICE, who=stranger)).stored
    assert len(await world.fetch("select 1 from subscribers")) == 2
    assert len((await nas.page(database, stranger, nas.NasQuery())).items) == 0


async def test_many_lines_at_once(bring, world) -> None:
    lines = [PLAN, *({"subscriber": {"username": f"u{number}", "password": f"p{number}", "plan": "home"}} for number in range(1_203))]
    assert counts(await bring(*lines))[2] == (1_203, 0, 0)
    assert counts(await bring(*lines))[2] == (0, 0, 1_203)


async def test_a_file_that_is_too_large_is_refused(bring, monkeypatch) -> None:
    monkeypatch.setattr("netd.domain.imports.MAX_OCTETS", 10)
    with pytest.raises(InvalidInput):
        await bring(PLAN)
