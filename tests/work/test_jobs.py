"""Jobs on a real database: done once, in a true state, with everything that was said."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.domain import jobs, running, tokens
from netd.domain.actor import Actor, Grant, system
from netd.domain.jobs import Decision, NewJob
from netd.domain.tokens import NewToken
from netd.errors import Conflict, InvalidInput, NotFound, OutsideScope
from netd.keyring import Keyring
from netd.model.job import Job
from netd.model.permission import BUILT_IN
from netd.store import work as store
from netd.store.database import TENANT_ROLE, Database
from netd.work import jobs as work
from netd.work import run, writer
from tests.work.jobs import ACTOR, Stage, World, kinds, known, serving

NOW = datetime.now(UTC)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    stage = Stage()
    return World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))


def operator(name: str, token: int, role: str = "operator") -> Actor:
    return Actor(tenant_id=1, name=name, role=role, grants=(Grant(BUILT_IN[role]),), sites=None, token_id=token)


async def test_a_jobs_life(world: World):
    job = await world.submit(lines=3, device="7", password="wonderland")
    assert (job.state, job.args["password"], job.lock_keys, job.created_by) == ("queued", "***", ("device:7",), "ann")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.result, done.error, done.attempt, done.progress, done.progress_text) == (
        "succeeded", {"device": "7", "password": "***"}, None, 1, 1.0, "half",
    )  # fmt: skip
    log = await world.log(job)
    assert [entry.text for entry in log] == ["queued: by ann", "running", "line 0", "line 1", "line 2", "login with ***", "succeeded"]
    assert [entry.seq for entry in log] == list(range(1, 8)) and done.log_seq == 7
    assert await world.rows("select from job_locks") == []
    audit = await world.rows("select actor, action, result from audit_log where object_type = 'job' order by id")
    assert [(row["actor"], row["action"]) for row in audit] == [("ann", "job.submit"), ("ann", "job.succeed")]
    told = await world.rows("select type, data from events where object_type = 'job' order by id")
    assert [row["type"] for row in told] == ["job.submitted", "job.started", "job.succeeded"]
    assert "wonderland" not in await everything(world)


async def everything(world: World) -> str:
    """All that is kept of jobs, but what is sealed."""
    tables = {"jobs": "to_jsonb(t) - 'sealed'", "job_log": "to_jsonb(t)", "job_targets": "to_jsonb(t)", "audit_log": "to_jsonb(t)", "events": "to_jsonb(t)"}
    return "".join([str(await world.rows(f"select {what} from {table} t")) for table, what in tables.items()])


@pytest.mark.parametrize(
    ("what", "error", "result"),
    [
        ("refused", "the device refused: bad password ***", None), ("failed", "not good", {"secret": "***"}),
        ("defect", "a defect of netd, see its log: ZeroDivisionError", None), ("huge", "the result has 2097154 octets, more than 1048576", None),
        ("odd", "what the handler returned (object) has no JSON form", None),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_told_without_secrets(world: World, caplog: pytest.LogCaptureFixture, what: str, error: str, result: Any):
    job = await world.submit(what=what, password="wonderland")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error, done.result) == ("failed", error, result)
    assert (await world.said(job))[-1] == f"failed: {error}"
    assert "wonderland" not in await everything(world) + caplog.text
    assert ("ZeroDivisionError: with ***" in caplog.text) == (what == "defect")
    assert (await world.rows("select action from audit_log where object_type = 'job' order by id"))[-1]["action"] == "job.fail"


async def test_what_a_database_cannot_hold_is_made_fit(world: World):
    """A device says whatever it wants; one line of one job must not keep all others from being written."""
    dirty, clean = await world.submit(what="dirty"), await world.submit(lines=2)
    async with serving(world.service()):
        done = await world.until([dirty, clean])
    assert [job.state for job in done] == ["succeeded"] * 2
    assert (done[0].result, done[0].progress_text) == ({"\ufffd": ["\ufffd"]}, "1 of 1") and "a\ufffdb?" in await world.said(dirty)
    assert [(each.key, each.said, each.result) for each in await world.targets(dirty)] == [("device:\ufffd", "\ufffd", "\ufffd")]
    with pytest.raises(InvalidInput, match="NUL character"):
        await world.submit(device="\0")


async def test_what_the_database_refuses_all_the_same_is_told_to_its_job_alone(world: World, monkeypatch):
    monkeypatch.setattr(store, "storable", lambda text: text)
    monkeypatch.setattr(work, "STOP_SECONDS", 0.5)
    dirty, clean = await world.submit(what="dirty"), [await world.submit(lines=20) for _ in range(3)]
    async with serving(world.service()):
        done = await world.until([dirty, *clean])
    assert [job.state for job in done] == ["failed", "succeeded", "succeeded", "succeeded"]
    assert "the database refused a statement" in (done[0].error or "")


async def test_what_is_busy_is_tried_again_as_often_as_its_kind_allows(world: World):
    job = await world.submit(what="again")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.attempt, done.error, len(world.stage.begun)) == ("failed", 3, "busy", 3)
    assert [text for text in await world.said(job) if text.startswith("queued: busy")] == ["queued: busy"] * 2


async def test_what_waits_can_be_cancelled_at_once(world: World):
    job = await world.submit(job={"run_at": datetime.now(UTC) + timedelta(hours=1)})
    done = await jobs.cancel(world.database, ACTOR, world.kinds, job.id, datetime.now(UTC))
    assert (done.state, done.error, done.cancelled_by) == ("cancelled", "cancelled by ann before it began", "ann")
    with pytest.raises(Conflict, match="it is cancelled"):
        await jobs.cancel(world.database, ACTOR, world.kinds, job.id, datetime.now(UTC))
    async with serving(world.service()):
        await world.until([await world.submit("quick")])
    assert len(world.stage.begun) == 1


async def test_what_a_node_with_a_clock_ahead_wants_is_done_at_once(world: World):
    """What is due is told by one clock, the database's."""
    new = NewJob(kind="quick")
    job = await jobs.submit(world.database, ACTOR, world.kinds, world.keyring, new, datetime.now(UTC) + timedelta(hours=1))
    async with serving(world.service()):
        await world.until([job])


async def test_cancelling_what_waits_to_be_begun_again_leaves_no_target_waiting(world: World):
    job = await world.submit(what="hold targets", targets=2)
    async with serving(world.service()):
        await world.have(job, {"succeeded": 1, "running": 1})
    confined = await Database.open(world.database.target, size=1, role=TENANT_ROLE, acquire_timeout_seconds=60)
    try:
        done = await jobs.cancel(confined, ACTOR, world.kinds, job.id, datetime.now(UTC))
    finally:
        await confined.close()
    assert (done.state, done.targets) == ("cancelled", {"succeeded": 1, "skipped": 1})


async def test_cancelling_stops_the_work(world: World):
    job = await world.submit(what="hold")
    async with serving(world.service()):
        await world.stage.until(lambda: world.stage.at_work == 1)
        asked = await jobs.cancel(world.database, operator("bob", 7), world.kinds, job.id, datetime.now(UTC))
        assert (asked.state, asked.cancelled_by) == ("running", "bob")
        (done,) = await world.until([job])
    assert (done.state, done.error, world.stage.cleaned, world.stage.at_work) == ("cancelled", "cancelled while it ran", [job.id], 0)
    assert (await world.said(job))[-2:] == ["bob wants it to stop", "cancelled: cancelled while it ran"]
    actions = [row["action"] for row in await world.rows("select action from audit_log where object_type = 'job' order by id")]
    assert actions == ["job.submit", "job.request_cancel", "job.cancel"]


async def test_a_handler_that_does_not_stop_is_told_of(database: Database, world: World, monkeypatch, caplog):
    monkeypatch.setattr(run, "NAG_SECONDS", 0.01)
    world.kinds = kinds(world.stage, clean_up_seconds=0.1)
    slow, stubborn = await world.submit(what="clean slowly"), await world.submit(what="stubborn")
    async with serving(world.service()):
        await world.stage.until(lambda: world.stage.at_work == 2)
        for job in (slow, stubborn):
            await jobs.cancel(world.database, ACTOR, world.kinds, job.id, datetime.now(UTC))
        for done in await world.until([slow, stubborn]):
            assert done.state == "cancelled" and "its clean-up did not end within 0.1 s, so what it still does is not known" in (done.error or "")
        world.stage.go.set()
        await world.stage.until(lambda: world.stage.at_work == 0)
    assert "a job's handler does not end" in caplog.text


async def test_time_runs_out(world: World):
    world.kinds = kinds(world.stage, timeout_seconds=2)
    job = await world.submit(what="hold")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error, world.stage.cleaned) == ("timed_out", "it was not done in 2 s", [job.id])


async def test_two_workers_do_each_job_once_and_one_per_device_at_a_time(world: World):
    made = [await world.submit(what="hold", job={"priority": 50}) for _ in range(12)]  # more than one of them takes
    made += [await world.submit(device=str(number % 4), lines=2) for number in range(40)] + [await world.submit("quick") for _ in range(40)]
    services = [world.service(at_once=10), world.service(at_once=10)]
    async with serving(*services):
        await world.stage.until(lambda: world.stage.devices.get("") == 12)
        world.stage.go.set()
        done = await world.until(made)
    assert {job.state for job in done} == {"succeeded"} and {job.attempt for job in done} == {1}
    assert sorted(world.stage.begun) == sorted(job.id for job in made)
    assert not world.stage.together
    assert all(sum(service.ended.values()) > 0 for service in services)
    assert await world.rows("select from job_locks") == []


async def test_two_workers_that_want_a_device_at_the_same_moment(world: World):
    """Neither sees what the other has not committed: the key itself is what one of them gets."""
    for kind in ("work", "once"):
        await world.submit(kind, device="7")
    async with world.database.transaction() as first:
        assert await store.claim(first, "a", ["work"], 30.0) is not None
        second = asyncio.create_task(running.take(world.database, "b", ["once"], 30.0))
        while not (await world.rows("select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")):
            assert not second.done()
    assert await second is None
    assert [row["state"] for row in await world.rows("select state from jobs order by id")] == ["running", "queued"]


async def test_limits_of_a_kind_and_of_a_node(world: World):
    world.kinds = kinds(world.stage, at_once=3)
    made = [await world.submit(what="hold") for _ in range(5)] + [await world.submit("once", what="hold") for _ in range(3)]
    async with serving(world.service(at_once=5)):
        await world.stage.until(lambda: world.stage.at_work == 5)
        states = [(await world.job(job)).state for job in made]
        assert states == ["running"] * 3 + ["queued"] * 2 + ["running"] * 2 + ["queued"]
        world.stage.go.set()
        await world.until(made)
    assert world.stage.most_at_work == 5


async def test_the_more_urgent_is_begun_first(world: World):
    numbers = [await world.submit("quick", job={"priority": priority}) for priority in (0, -5, 50)]
    later = await world.submit("quick", job={"run_at": datetime.now(UTC) + timedelta(hours=1), "priority": 100})
    async with serving(world.service(at_once=1)):
        await world.until(numbers)
    assert world.stage.begun == [numbers[2].id, numbers[0].id, numbers[1].id]
    assert (await world.job(later)).state == "queued"


async def test_keys(world: World):
    first = await world.submit(key="order-9", device="7")
    assert (await world.submit(key="order-9", device="7")).id == first.id
    only = await world.submit(job={"unique_key": "nightly"})
    with pytest.raises(Conflict, match=f"job {only.id} with the key nightly is not ended yet"):
        await world.submit(job={"unique_key": "nightly"})
    async with serving(world.service()):
        await world.until([only])
    assert (await world.submit(job={"unique_key": "nightly"})).id > only.id
    many = await asyncio.gather(*(world.submit(job={"unique_key": "race"}) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(each, Job) for each in many) == 1 and sum(isinstance(each, Conflict) for each in many) == 19


async def test_what_cannot_be_submitted(world: World):
    with pytest.raises(InvalidInput) as caught:
        await world.submit(lines="x", what=1, colour="red")
    assert [fault.where for fault in caught.value.faults] == ["/args/lines", "/args/what", "/args/colour"]
    with pytest.raises(InvalidInput, match="there is no kind nap"):
        await world.submit("nap")
    with pytest.raises(OutsideScope, match="need the permission nas:write"):
        await world.submit(actor=operator("eve", 5, "read_only"))
    with pytest.raises(NotFound):
        await jobs.cancel(world.database, ACTOR, world.kinds, 10**6, NOW)
    running_ = await world.submit()
    with pytest.raises(Conflict, match="only what did not succeed can be retried"):
        await jobs.retry(world.database, ACTOR, world.kinds, world.keyring, running_.id, NOW)
    with pytest.raises(OutsideScope):
        await jobs.cancel(world.database, operator("eve", 5, "read_only"), world.kinds, running_.id, NOW)
    assert len(await world.rows("select from jobs")) == 1


async def test_a_retry_is_a_job_of_its_own(world: World):
    first = await world.submit(what="refused", device="7", password="wonderland")
    async with serving(world.service()):
        await world.until([first])
        await known(world.database, operator("bob", 7))
        again = await jobs.retry(world.database, operator("bob", 7), world.kinds, world.keyring, first.id, datetime.now(UTC))
        (done,) = await world.until([again])
    assert (done.retry_of, done.created_by, done.lock_keys, done.error) == (first.id, "bob", ("device:7",), "the device refused: bad password ***")
    assert "wonderland" not in await everything(world)


async def test_a_second_person_approves(world: World):
    db, bob = world.database, operator("bob", 7)
    await known(db, bob, operator("nora", 4, "noc_engineer"))
    asked = await world.submit("risky", actor=operator("nora", 4, "noc_engineer"))
    assert asked.state == "awaiting_approval" and asked.approval_until is not None
    direct = await world.submit("risky", actor=bob)
    assert direct.state == "queued"  # whose role demands no approval
    wanted = await world.submit("work", actor=bob, job={"approval": True})
    assert wanted.state == "awaiting_approval"
    with pytest.raises(OutsideScope, match="somebody else"):
        await jobs.approve(db, bob, wanted.id, Decision(), datetime.now(UTC))
    with pytest.raises(OutsideScope, match="somebody else"):  # the same person by another token
        await user_with_tokens(world, "nora", 5, 6)
        other = await world.submit("risky", actor=operator("nora's laptop", 5, "noc_engineer"))
        await jobs.approve(db, operator("nora's phone", 6), other.id, Decision(), datetime.now(UTC))
    agreed = await jobs.approve(db, bob, asked.id, Decision(note="window 7"), datetime.now(UTC))
    assert (agreed.state, agreed.approved_by, agreed.approval_note) == ("queued", "bob", "window 7")
    with pytest.raises(Conflict, match="awaits no approval"):
        await jobs.approve(db, bob, asked.id, Decision(), datetime.now(UTC))
    declined = await jobs.decline(db, operator("carl", 8), wanted.id, Decision(note="not now"), datetime.now(UTC))
    assert (declined.state, declined.error) == ("cancelled", "declined by carl: not now")
    async with serving(world.service()):
        assert {job.state for job in await world.until([asked, direct])} == {"succeeded"}
    assert [text for text in await world.said(asked)][:2] == ["awaiting_approval: by nora", "queued: approved by bob"]
    assert (await world.job(wanted)).attempt == 0


async def user_with_tokens(world: World, name: str, *tokens: int) -> None:
    async with world.database.acquire() as conn:
        await conn.execute("insert into users (tenant_id, name, created_by) values (1, $1, 't')", name)
        for token in tokens:
            await conn.execute(
                """insert into api_tokens (id, tenant_id, public_id, name, role, token_hash, created_by) overriding system value
                   values ($1, 1, $2, 't', 'admin', $3, $4)""", token, "a" * 11 + chr(97 + token), bytes([token]), name,
            )  # fmt: skip


async def test_nobody_approves_with_a_token_of_her_own_making(world: World):
    """A token made by one that needs approvals is the same person; one made by who needs none is another."""
    db = world.database
    rights = frozenset(("tokens:read", "tokens:write", "jobs:read", "jobs:write", "jobs:approve", "audit:read"))
    eve = Actor(tenant_id=1, name="eve", role="x", grants=(Grant(rights),), sites=None, token_id=5)
    await known(db, eve, operator("boss", 6, "admin"))
    async with db.acquire() as conn:
        await conn.execute("insert into roles (tenant_id, name, title, permissions) values (1, 'agrees', 'x', $1)", ["jobs:read", "jobs:approve"])
    other = await tokens.create(db, eve, NewToken(name="eve two", role="agrees"), NOW)
    third = await tokens.create(db, operator("boss", 6, "admin"), NewToken(name="ann", role="agrees"), NOW)
    asked = await world.submit("risky", actor=msgspec.structs.replace(eve, grants=(Grant(rights | {world.kinds.get("risky").permission}),)))
    assert asked.state == "awaiting_approval"
    agrees = Grant(frozenset(("jobs:read", "jobs:approve")))
    second = Actor(tenant_id=1, name="eve two", role="agrees", grants=(agrees,), sites=None, token_id=other.token.id)
    with pytest.raises(OutsideScope, match="somebody else"):
        await jobs.approve(db, second, asked.id, Decision(), datetime.now(UTC))
    ann = Actor(tenant_id=1, name="ann", role="agrees", grants=(agrees,), sites=None, token_id=third.token.id)
    assert (await jobs.approve(db, ann, asked.id, Decision(), datetime.now(UTC))).state == "queued"


async def test_a_job_that_waits_is_not_done_for_who_may_not_any_more(world: World):
    await known(world.database, operator("bob", 7))
    job = await world.submit("work", actor=operator("bob", 7))
    async with world.database.acquire() as conn:
        await conn.execute("update api_tokens set revoked_at = now()")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error) == ("failed", "the token that it was made with is no longer good")
    assert world.stage.begun == []


async def test_a_job_that_waits_is_not_done_without_an_approval_that_it_needs_by_now(world: World):
    bob, nora = operator("bob", 7), operator("nora", 4, "noc_engineer")
    await known(world.database, bob, nora)
    direct, plain = await world.submit("risky", actor=bob), await world.submit("work", actor=bob)
    asked = await world.submit("risky", actor=nora)
    await jobs.approve(world.database, bob, asked.id, Decision(), datetime.now(UTC))
    async with world.database.acquire() as conn:
        await conn.execute("update api_tokens set permissions = array_remove(permissions, 'jobs:direct')")
    async with serving(world.service()):
        done = await world.until([direct, plain, asked])
    assert [job.state for job in done] == ["failed", "succeeded", "succeeded"]
    assert done[0].error == "whoever made it needs an approval for it by now"


async def test_trust_holds_where_it_was_given():
    local = Grant(frozenset(("jobs:direct",)), frozenset((1, 2)))
    actor = Actor(tenant_id=1, name="ole", role="", grants=(local, Grant(frozenset(("nas:write",)))))
    assert jobs.trusted(actor, frozenset((1,))) and not jobs.trusted(actor, frozenset((1, 3))) and not jobs.trusted(actor, None)
    assert jobs.trusted(system(1), None) and not jobs.trusted(operator("nora", 5, "noc_engineer"), frozenset((1,)))


async def test_an_approval_that_does_not_come(world: World):
    asked = await world.submit("risky", actor=operator("nora", 5, "noc_engineer"))
    async with world.database.acquire() as conn:
        await conn.execute("update jobs set approval_until = now() - interval '1 second'")
    with pytest.raises(Conflict, match="the time for an approval is over"):
        await jobs.approve(world.database, operator("bob", 7), asked.id, Decision(), datetime.now(UTC))
    async with serving(world.service()):
        (done,) = await world.until([asked])
    assert (done.state, done.error, done.attempt) == ("cancelled", "nobody approved it in time", 0)


async def test_targets_have_states_of_their_own(world: World):
    job = await world.submit(what="fail device:2 device:5", targets=8, password="wonderland", at_once=3)
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error, done.targets) == ("failed", "of 8: 2 failed", {"succeeded": 6, "failed": 2})
    assert (done.progress, done.progress_text, done.result) == (1.0, "8 of 8", {"succeeded": 6, "failed": 2})
    by_key = {each.key: each for each in await world.targets(job)}
    assert (by_key["device:2"].state, by_key["device:2"].outcome, by_key["device:2"].said) == ("failed", "failed", "it said no: % denied ***")
    good = by_key["device:3"]
    assert (good.state, good.outcome, good.said, good.result, good.name) == ("succeeded", "ok", "fine ***", {"at": "core3"}, "core3")
    assert world.stage.most_at_work <= 1 + 3 and "wonderland" not in await everything(world)
    assert await world.rows("select from job_locks") == []


async def test_a_target_that_says_too_much(world: World):
    """What a device says is as long as it likes; what became of it is kept all the same."""
    job = await world.submit(what="talk", targets=2)
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.targets) == ("succeeded", {"succeeded": 2})
    short, long = await world.targets(job)
    assert (short.said, short.result) == ("fine", {"text": "x" * 10})
    assert (long.said, long.result) == ("fine; its result is not kept: it has 2097163 octets, more than 1048576", None)


@pytest.mark.parametrize(
    ("what", "more", "error"),
    [
        ("doubt", {}, "of 4: 4 unverified"), ("bug", {}, "of 4: 4 failed"),
        ("fail device:0 device:1", {"most_failed": 0.25, "at_once": 1}, "of 4: 2 failed, 2 skipped"),
        ("fail device:0", {"most_failed": 0.0, "at_once": 1}, "of 4: 1 failed, 3 skipped"),
    ],
)  # fmt: skip
async def test_a_job_has_not_succeeded_where_a_target_has_not(world: World, what: str, more: dict[str, Any], error: str):
    job = await world.submit(what=what, targets=4, **more)
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error) == ("failed", error)


async def test_a_device_that_another_job_has_is_waited_for(world: World, monkeypatch):
    monkeypatch.setattr(run, "LOCK_SECONDS", 0.02)
    first = await world.submit(what="hold", device="1")
    async with serving(world.service()):
        await world.stage.until(lambda: world.stage.at_work == 1)
        many = await world.submit(targets=3)
        await world.have(many, {"succeeded": 2, "queued": 1})

        async def told() -> bool:
            return "core1 is waited for: another job is at it" in await world.said(many)

        await world.eventually(told)
        world.stage.go.set()
        assert {job.state for job in await world.until([first, many])} == {"succeeded"}
    assert not world.stage.together


async def test_a_log_has_an_end(world: World, monkeypatch):
    monkeypatch.setattr(writer, "LOG_OCTETS", 500)
    monkeypatch.setattr(writer, "LINE_OCTETS", 30)
    job = await world.submit(lines=200)
    service = world.service()
    async with serving(service):
        (done,) = await world.until([job])
    said = await world.said(job)
    assert done.log_cut and said[-2].startswith("the log has reached") and said[-1] == "succeeded"
    assert 20 < len(said) < 100 and service._writer.dropped > 100
    assert writer.cut("ä" * 20) == f"{'ä' * 15}… (10 more octets)"


async def test_what_is_said_at_the_same_time_is_written_together(world: World):
    made = [await world.submit(what="say together", lines=20) for _ in range(20)]
    async with serving(world.service()):
        await world.stage.until(lambda: len(world.stage.begun) == 20)
        world.stage.go.set()
        await world.until(made)
    for job in made:
        assert [text for text in await world.said(job) if text.startswith("line")] == [f"line {number}" for number in range(20)]
    written = len(await world.rows("select distinct xmin::text from job_log where type = 'line'"))
    assert written < 300  # of 400 lines


async def test_a_place_that_gets_free_is_used_at_once(world: World, monkeypatch):
    """A job that waits for a device is begun when the one before has ended, not at the next look."""
    monkeypatch.setattr(work, "POLL_SECONDS", 60.0)
    made = [await world.submit(device="1") for _ in range(10)]
    begun = asyncio.get_running_loop().time()
    async with serving(world.service(), world.service()):
        await world.until(made)
    assert asyncio.get_running_loop().time() - begun < work.POLL_SECONDS
    ids = list(itertools.pairwise(world.stage.begun))
    assert all(first < second for first, second in ids)


async def test_arguments_that_a_new_version_does_not_take(world: World):
    job = await world.submit()
    async with world.database.acquire() as conn:
        await conn.execute("""update jobs set args = '{"colour": "red"}'""")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error) == ("failed", "its arguments cannot be used: /args/colour: is not known here")


async def test_a_job_may_only_do_what_its_submitter_may(world: World, dsn: str):
    """The handler's actor is confined to the sites of the submitter's permission, and to the permission of the kind."""
    async with world.database.acquire() as conn:
        await conn.execute("insert into sites (tenant_id, name) values (1, 'oslo'), (1, 'rome')")
    local = Actor(tenant_id=1, name="ole", role="operator", grants=(Grant(BUILT_IN["operator"], frozenset((1,))),), token_id=9)
    confined = await Database.open(dsn, size=2, role=TENANT_ROLE, acquire_timeout_seconds=60)
    new = NewJob(kind="work", args={})
    job = await jobs.submit(confined, local, world.kinds, world.keyring, new, datetime.now(UTC))
    claim = await running.take(world.database, "w", ["work"], 30.0)
    assert claim is not None and job.sites == (1,)
    actor = running.actor_of(claim, "nas:write")
    assert actor.scope.sites == frozenset((1,)) and actor.permissions == {"nas:write"}
    with pytest.raises(NotFound):
        await jobs.get(confined, elsewhere(frozenset((2,))), job.id)
    await confined.close()


def elsewhere(sites: frozenset[int]) -> Actor:
    found = Actor(tenant_id=1, name="rosa", role="operator", grants=(Grant(BUILT_IN["operator"], sites),), token_id=10).allowed("jobs:read")
    assert found is not None
    return found


async def test_the_health_page_and_metrics(world: World, monkeypatch):
    monkeypatch.setattr(work, "STANDING_SECONDS", 0.02)
    monkeypatch.setattr(work, "LATE_SECONDS", 100)
    job = await world.submit("quick", job={"run_at": datetime.now(UTC) - timedelta(seconds=200)})
    service = world.service(at_once=0)
    async with serving(service):

        async def degraded() -> bool:
            return service.parts()[0].state == "degraded"

        await world.eventually(degraded)
    assert service.parts()[0].detail.startswith("a job waits since 2") and service._waiting.states["queued"] == 1
    async with serving(world.service()):
        await world.until([job])
    assert world.services[-1].ended == {("quick", "succeeded"): 1}


async def test_kinds_say_what_they_need(world: World):
    with pytest.raises(ValueError, match="no permission whim"):
        kinds(world.stage, permission="whim")
    with pytest.raises(ValueError, match="have the secret ones"):
        kinds(world.stage, secrets=("colour",))
    found = {each.name: each for each in jobs.kinds_for(operator("eve", 5, "read_only"), world.kinds).items}
    assert not found["work"].allowed and found["risky"].approval and "password" in str(found["work"].args)
    assert jobs.kinds_for(system(1), world.kinds).items[0].allowed
