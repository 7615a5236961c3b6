"""The database goes away, hangs, or refuses: what is acknowledged meanwhile comes from the journal, memory follows, and the tables do afterwards."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pyrad import packet as pyrad

from netd.radius.ahead import Opened
from netd.radius.journal import Cursor, ask_again
from netd.radius.spool import Spool
from netd.store.database import connect
from tests.radius.world import TestNas, World, an_hour_ago, eventually, nas_at, world

T0 = an_hour_ago()
PATIENT = {"NETD_RADIUS__GRANT_HOLD_SECONDS": "1"}
HASTY = {**PATIENT, "NETD_RADIUS__JOURNAL_AFTER_MS": "150"}
"""Where the journal is to have what is not committed soon: a commit that a busy machine takes longer with, too."""


@pytest.fixture(autouse=True)
def brisk_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netd.store.database.PROBE_UP_SECONDS", 0.1)
    monkeypatch.setattr("netd.store.database.PROBE_DOWN_SECONDS", 0.1)
    monkeypatch.setattr("netd.radius.replay.FAULT_SECONDS", 0.05)


@pytest.fixture
async def bras(dsn: str, data_dir: Path) -> AsyncIterator[TestNas]:
    """A daemon with one line per subscriber, and a NAS."""
    async with with_a_nas(dsn, data_dir, PATIENT) as nas:
        yield nas


@pytest.fixture
async def hasty(dsn: str, data_dir: Path) -> AsyncIterator[TestNas]:
    """The same, where what is not committed soon goes to the journal."""
    async with with_a_nas(dsn, data_dir, HASTY) as nas:
        yield nas


@asynccontextmanager
async def with_a_nas(dsn: str, data_dir: Path, settings: dict[str, str]) -> AsyncIterator[TestNas]:
    async with world(dsn, data_dir, **settings) as made:
        await made.add_plan(max_sessions=1)
        await made.add_subscriber()
        async with nas_at(made, "127.0.0.2") as nas:
            yield nas


def spool_of(made: World) -> Spool:
    return made.running.replay.spool


@asynccontextmanager
async def away(made: World, admin_url: str) -> AsyncIterator[None]:
    """Nobody reaches the database while the context lasts, and who was connected is thrown out."""
    name = made.dsn.rpartition("/")[2].partition("?")[0]
    connection = await connect(admin_url)
    try:
        await connection.execute(f'alter database "{name}" with allow_connections false')

        async def gone() -> bool:
            """Whoever was about to connect when the door was closed is thrown out, too."""
            await connection.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
            return not made.running.replay.database.up

        await eventually(gone)
        yield
    finally:
        await connection.execute(f'alter database "{name}" with allow_connections true')
        await connection.close()


@asynccontextmanager
async def locked(dsn: str, table: str, mode: str = "access exclusive") -> AsyncIterator[asyncpg.Connection]:
    """Statements on ``table`` wait while the context lasts: a database that hangs. In the mode ``share`` those that only read do not."""
    connection = await connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"lock table {table} in {mode} mode")
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def stuck_replay(made: World) -> AsyncIterator[None]:
    """The database is there, and yet nothing comes out of the journal while the context lasts."""
    await rows(made, "alter table accounting_journals rename to elsewhere")
    yield
    await rows(made, "alter table elsewhere rename to accounting_journals")


async def rows(made: World, sql: str) -> list[tuple[Any, ...]]:
    connection = await connect(made.dsn)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def caught_up(made: World) -> None:
    await eventually(lambda: not spool_of(made).waiting, 60)
    await eventually(lambda: not list(spool_of(made).journal.folder.glob("*.journal")))


async def redial(bras: TestNas) -> int:
    """The code of the answer to a log-in of alice from another line."""
    answer = await bras.login(Calling_Station_Id="another line")
    assert answer is not None
    return int(answer.code)


async def test_a_session_that_lives_and_dies_while_the_database_is_away(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    assert await bras.account("Start", "before", Event_Timestamp=T0)
    async with away(made, cluster.admin_url):
        assert await bras.account("Interim-Update", "before", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=10)
        assert await bras.account("Stop", "before", Event_Timestamp=T0 + 90, Acct_Session_Time=90, Acct_Input_Octets=15)
        assert await redial(bras) == pyrad.AccessAccept, "the Stop freed the line at once"
        assert await bras.account("Start", "during", Event_Timestamp=T0 + 100)
        assert await redial(bras) == pyrad.AccessReject, "and the Start took it"
        assert await bras.account("Interim-Update", "before", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=10), "late and repeated"
        assert {live.row.acctsessionid for live in bras.world.running.server.access.sessions.by_id.values()} == {"during"}
        (accounting,) = [found for found in made.running.health.parts() if found.name == "accounting"]
        assert accounting.state == "degraded"
        assert "4 records wait in the journal" in accounting.detail
        assert spool_of(made).journal.octets > 1000
    await caught_up(made)
    assert await rows(made, "select acctsessionid, acctinputoctets, extract(epoch from acctstoptime)::bigint, closed_by from radacct") == [
        ("before", 15, T0 + 90, "stop")
    ]
    assert await rows(made, "select up_octets, session_seconds from usage_daily") == [(15, 90)]
    ((number,),) = await rows(made, "select radacctid from sessions where acctsessionid = 'during'")
    (live,) = made.running.server.access.sessions.by_id.values()
    assert live.row.radacctid == number, "memory has the id that the database gave"
    assert spool_of(made).replayed == 4
    await eventually(lambda: not [found for found in made.running.health.parts() if found.name == "accounting" and found.state != "ok"])
    await eventually(lambda: rows(made, "select 1 where not exists (select from accounting_journals)"))  # after the files are gone
    assert await bras.account("Stop", "during", Event_Timestamp=T0 + 200, Acct_Session_Time=100)
    assert await redial(bras) == pyrad.AccessAccept
    assert spool_of(made).written == 4, "and what comes now is committed directly"


async def test_a_nas_that_restarts_while_the_database_is_away(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    await made.add_nas("127.0.0.3")
    other = TestNas(made, "127.0.0.3")
    assert await bras.account("Start", "old", "x", Event_Timestamp=T0)
    assert await other.account("Start", "elsewhere", "y", Event_Timestamp=T0)
    sessions = made.running.server.access.sessions
    async with away(made, cluster.admin_url):
        assert await bras.account("Start", "young", "z", Event_Timestamp=T0 + 10)
        assert await bras.account("Accounting-On", "0", "", Event_Timestamp=T0 + 20)
        assert {live.row.acctsessionid for live in sessions.by_id.values()} == {"elsewhere"}
        assert await bras.account("Start", "new", "x", Event_Timestamp=T0 + 30)
        assert {live.row.acctsessionid for live in sessions.by_id.values()} == {"elsewhere", "new"}
    await caught_up(made)
    assert {live.row.acctsessionid for live in sessions.by_id.values()} == {"elsewhere", "new"}
    assert {session.acct_session_id for session in await made.sessions()} == {"elsewhere", "new"}
    assert {(session.acct_session_id, session.closed_by) for session in await made.sessions("closed")} == {("old", "nas_reload"), ("young", "nas_reload")}


async def test_nothing_is_reaped_or_forgotten_while_memory_is_ahead(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    assert await bras.account("Start", "gone", Event_Timestamp=T0)
    async with away(made, cluster.admin_url):
        assert await bras.account("Stop", "gone", Event_Timestamp=T0 + 5)
        assert await bras.account("Start", "here", Event_Timestamp=T0 + 10)
        made.running.server.accounting.listening_since = 0
        assert await made.running.upkeep.reap_once() == 0, "not even asked"
        assert await made.running.upkeep.reconcile_once() == (0, 0)
    await caught_up(made)
    assert await made.running.upkeep.reconcile_once() == (0, 0), "memory and tables agree"


async def test_what_was_enforced_on_a_session_that_only_the_journal_knows_is_kept(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    answer = await bras.login()
    assert answer is not None
    async with stuck_replay(made):
        async with away(made, cluster.admin_url):
            assert await bras.account("Start", "s", Class=answer["Class"][0])
        await eventually(lambda: made.running.replay.database.up)
        (live,) = made.running.server.access.sessions.by_id.values()
        assert live.row.radacctid < 0
        outcomes = made.running.server.accounting.on_number.__self__  # type: ignore[attr-defined]
        outcomes.note(live, None, "refused", "it said no")
        await outcomes.flush()
    await caught_up(made)
    (now,) = made.running.server.access.sessions.by_id.values()
    assert now is live
    await eventually(lambda: rows(made, "select 1 from sessions where enforce_state = 'refused' and enforce_detail = 'it said no'"))


async def test_new_packets_never_overtake_those_that_wait(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    async with stuck_replay(made):
        async with away(made, cluster.admin_url):
            assert await bras.account("Start", "first")
        await eventually(lambda: made.running.replay.database.up)
        assert await bras.account("Start", "second", "bob")
        assert (spool_of(made).waiting, await made.sessions()) == (2, [])
    await caught_up(made)
    assert [session.acct_session_id for session in await made.sessions()] == ["second", "first"], "newest id first: in their order"


async def test_a_database_that_hangs(hasty: TestNas) -> None:
    """Its late commit and the journal hold the same records: each is counted once."""
    made, bras = hasty.world, hasty
    assert await bras.account("Start", Event_Timestamp=T0)
    await eventually(lambda: not made.running.server.accounting.behind)  # where that took longer than it may here
    async with locked(made.dsn, "sessions"):
        assert await bras.account("Interim-Update", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=7)
        assert await bras.account("Stop", Event_Timestamp=T0 + 90, Acct_Session_Time=90, Acct_Input_Octets=9)
        assert made.running.server.accounting.late is not None
        assert len(made.running.server.access.sessions) == 0
    await caught_up(made)
    assert await rows(made, "select acctinputoctets, acctsessiontime from radacct") == [(9, 90)]
    assert await rows(made, "select up_octets, session_seconds from usage_daily") == [(9, 90)]
    assert len(made.running.server.access.sessions) == 0


async def test_nothing_overtakes_a_commit_on_its_way_into_memory(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that takes too long leaves its records to the journal; one that is in the tables, and of which memory learns in pieces, does not."""
    made = bras.world
    accounting = made.running.server.accounting
    follow, begun, go, wait = accounting._follow_by_turns, asyncio.Event(), asyncio.Event(), asyncio.wait
    overdue: list[asyncio.Task[Any]] = []

    async def slowly(opened: Opened) -> None:
        begun.set()
        await go.wait()
        await follow(opened)

    async def as_if_time_were_over(tasks: Any, **more: Any) -> Any:
        """A commit has taken as long as it may at the moment at which memory begins to follow it."""
        given = set(tasks)
        commits = [task for task in given if isinstance(task, asyncio.Task) and task.get_name() == "accounting commit"]
        if not commits:
            return await wait(given, **more)
        await begun.wait()
        overdue.extend(commits)
        return set(), given

    with monkeypatch.context() as patch:
        patch.setattr(accounting, "_follow_by_turns", slowly)
        patch.setattr(asyncio, "wait", as_if_time_were_over)
        started = asyncio.create_task(bras.account("Start", "s1", Event_Timestamp=T0))
        await eventually(lambda: overdue)
        stopped = asyncio.create_task(bras.account("Stop", "s1", Event_Timestamp=T0 + 60, Acct_Session_Time=60))
        await asyncio.sleep(0.5)  # time for the journal to have them, and it must not
        assert (spool_of(made).written, accounting.late) == (0, None)
    go.set()
    assert await started
    assert await stopped
    assert spool_of(made).written == 0
    assert not made.running.server.access.sessions.by_id
    assert [session.closed_by for session in await made.sessions("closed")] == ["stop"]


async def test_what_is_replayed_twice_is_written_once(bras: TestNas, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose answer was lost, or a copy of the data folder."""
    made = bras.world

    async def not_yet() -> None:
        """The position of a journal that is done with is forgotten: not before both have read it."""

    monkeypatch.setattr(made.running.replay, "_forget", not_yet)
    async with stuck_replay(made):
        async with away(made, cluster.admin_url):
            for number in range(5):
                assert await bras.account("Start", f"s{number}", f"user{number}")
        await eventually(lambda: made.running.replay.database.up)
        entries = spool_of(made).journal.read(Cursor(), 10)
        assert len(entries) == 5
    opened, new = await made.running.replay._write(entries)
    await eventually(lambda: not spool_of(made).waiting)
    assert new + spool_of(made).replayed == 5  # whoever came first with each
    stored = {number for (number,) in await rows(made, "select radacctid from sessions")}
    assert {row.radacctid for row in opened.rows} == stored
    assert {live.row.radacctid for live in made.running.server.access.sessions.by_id.values()} == stored
    assert len(stored) == 5


async def test_a_record_that_the_database_refuses_is_set_aside_and_holds_nothing_up(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    await rows(made, "alter table sessions add check (username <> 'poison')")
    async with away(made, cluster.admin_url):
        for name in ("a", "b", "poison", "c"):
            assert await bras.account("Start", name, name)
    await caught_up(made)
    assert {session.username for session in await made.sessions()} == {"a", "b", "c"}
    refused = (spool_of(made).journal.folder / "refused.json").read_text()
    assert refused.count("\n") == 1
    assert "poison" in refused
    assert [found.state for found in made.running.health.parts() if found.name == "accounting"] == ["degraded"]


@pytest.fixture
def brisk_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for an operator's wish several times a second."""
    monkeypatch.setattr("netd.radius.second_try.LOOK_SECONDS", 0.1)


@pytest.mark.usefixtures("brisk_second_try")
async def test_what_was_refused_is_taken_again_once_the_reason_is_gone(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    await rows(made, "alter table sessions add constraint strict check (username not in ('poison', 'hemlock'))")
    async with away(made, cluster.admin_url):
        for name in ("poison", "hemlock"):
            assert await bras.account("Start", name, name, Event_Timestamp=T0)
        assert await bras.account("Interim-Update", "poison", "poison", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=10)
    await caught_up(made)
    folder = spool_of(made).journal.folder
    assert (folder / "refused.json").read_text().count("\n") == 3
    await rows(made, "alter table sessions drop constraint strict")
    await rows(made, "alter table sessions add constraint strict check (username <> 'hemlock')")
    with (folder / "refused.json").open("ab") as file:
        file.write(b"no record at all\n")
    assert ask_again(folder.parent) == (4, [])
    await eventually(lambda: not (folder / "again.json").exists())
    assert [(session.username, session.up_octets) for session in await made.sessions()] == [("poison", 10)]
    kept = (folder / "refused.json").read_text().splitlines()
    assert len(kept) == 2, "who is refused again stays, and what nobody can read"
    assert "hemlock" in kept[0]
    await eventually(lambda: spool_of(made).journal.kept_aside == 2)  # counted once again.json is gone
    await rows(made, "alter table sessions drop constraint strict")
    for _ in range(2):  # as if netd had been killed before the file was removed
        (folder / "refused.json").write_text("\n".join(kept) + "\n")
        assert ask_again(folder.parent)[0] == 2
        await eventually(lambda: not (folder / "again.json").exists())
    assert sorted((session.username, session.up_octets) for session in await made.sessions()) == [("hemlock", 0), ("poison", 10)]


async def test_a_schema_that_cannot_take_accounting_refuses_no_packet_of_any_nas(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bras.world
    await rows(made, "alter table usage_daily rename to elsewhere")
    assert await bras.account("Interim-Update", Acct_Session_Time=5)
    assert await bras.account("Stop", Acct_Session_Time=9)
    assert made.running.server.accounting.failed == 0
    await rows(made, "alter table elsewhere rename to usage_daily")
    await caught_up(made)
    assert await rows(made, "select session_seconds from usage_daily") == [(9,)]
    assert not (spool_of(made).journal.folder / "refused.json").exists()


async def test_a_journal_that_refuses_leaves_packets_unacknowledged_and_says_so(bras: TestNas, cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    made = bras.world
    journal = spool_of(made).journal
    journal.most_octets = 0
    data = bras.accounting("Start")
    async with away(made, cluster.admin_url):
        assert await bras.ask(data, made.running.acct_port, 0.3) is None
        assert await bras.ask(bras.accounting("Start", "two"), made.running.acct_port, 0.3) is None
        await eventually(lambda: dict(spool_of(made).refused) == {"full": 2})
        await asyncio.sleep(0.6)  # it is tried again every half a second
        assert dict(spool_of(made).refused) == {"full": 2}, "each is counted once, however often it was tried"
        assert caplog.text.count("the accounting journal refuses") == 1
        (accounting,) = [found for found in made.running.health.parts() if found.name == "accounting"]
        assert (accounting.state, "2 packets wait unacknowledged; the journal refuses: full" in accounting.detail) == ("degraded", True)
        answer = await bras.login()
        assert answer is not None
        assert answer.code == pyrad.AccessAccept
        journal.most_octets = 1 << 20
        await eventually(lambda: spool_of(made).waiting == 2)
        assert spool_of(made).trouble == ""
    await caught_up(made)
    assert {session.acct_session_id for session in await made.sessions()} == {"s1", "two"}


async def test_a_stop_in_an_outage_and_the_start_after_it(dsn: str, data_dir: Path, cluster: Any) -> None:
    """What waits is kept, memory knows it before the first packet is answered, and it is replayed behind nothing and before everything new."""
    async with world(dsn, data_dir, **PATIENT) as made:
        await made.add_plan(max_sessions=1)
        await made.add_subscriber()
        await made.add_nas("127.0.0.2")
        bras = TestNas(made, "127.0.0.2")
        assert await bras.account("Start", "one", Event_Timestamp=T0)
        running = away(made, cluster.admin_url)
        await running.__aenter__()
        assert await bras.account("Stop", "one", Event_Timestamp=T0 + 60, Acct_Session_Time=60)
        assert await bras.account("Start", "two", "bob", Event_Timestamp=T0 + 70)
    await running.__aexit__(None, None, None)
    async with AsyncExitStack() as lock:
        await lock.enter_async_context(locked(dsn, "radacct", "share"))  # before the daemon is there, which replays as soon as it can
        async with world(dsn, data_dir, **HASTY) as made:
            bras = TestNas(made, "127.0.0.2")
            sessions = made.running.server.access.sessions
            assert {live.row.acctsessionid for live in sessions.by_id.values()} == {"two"}
            assert spool_of(made).waiting == 2
            assert await redial(bras) == pyrad.AccessAccept
            assert await bras.account("Stop", "two", "bob", Event_Timestamp=T0 + 80, Acct_Session_Time=10)
            assert len(sessions) == 0
            assert spool_of(made).waiting == 3, "it stands behind the Start that waits"
            await lock.aclose()
    # the daemon, told to stop, has replayed before it ended
    assert not list((data_dir / "journal").glob("*/*.journal"))
    connection = await connect(dsn)
    assert [tuple(row) for row in await connection.fetch("select acctsessionid, acctsessiontime from radacct order by 1")] == [("one", 60), ("two", 10)]
    assert await connection.fetchval("select count(*) from sessions") == 0
    await connection.close()


async def test_the_journal_of_another_database_is_left_alone(dsn: str, cluster: Any, data_dir: Path) -> None:
    async with world(dsn, data_dir, **PATIENT) as made:
        await made.add_nas("127.0.0.2")
        running = away(made, cluster.admin_url)
        await running.__aenter__()
        assert await TestNas(made, "127.0.0.2").account("Start", "one", "bob")
    await running.__aexit__(None, None, None)
    other = cluster.url(cluster.create(cluster.template))
    connection = await connect(other)
    await connection.execute("update database_identity set id = gen_random_uuid()")
    await connection.close()
    async with world(other, data_dir) as made:
        assert spool_of(made).waiting == 0
        assert any("another database" in found.detail for found in made.running.health.parts())
    async with world(dsn, data_dir) as made:
        await caught_up(made)
        assert [session.acct_session_id for session in await made.sessions()] == ["one"]


async def test_an_overload_goes_through_the_journal_and_its_excess_is_dropped(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bras.world
    monkeypatch.setattr("netd.radius.accounting.DEEP_QUEUE", 1)
    assert await bras.account("Start")
    assert spool_of(made).written == 1
    await caught_up(made)
    assert len(await made.sessions()) == 1


async def test_a_full_journal_keeps_nothing_from_a_database_that_is_there(bras: TestNas, cluster: Any) -> None:
    made = bras.world
    sessions = made.running.server.access.sessions
    assert await bras.account("Start", "one", "a", Event_Timestamp=T0)
    async with stuck_replay(made):
        async with away(made, cluster.admin_url):
            assert await bras.account("Stop", "one", "a", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=9)
        spool_of(made).journal.most_octets = 0
        await eventually(lambda: made.running.replay.database.up)
        assert await bras.account("Interim-Update", "one", "a", Event_Timestamp=T0 + 30, Acct_Session_Time=30, Acct_Input_Octets=5)
        assert await bras.account("Start", "two", "b")
        assert {live.row.acctsessionid for live in sessions.by_id.values()} == {"two"}, "memory stays at the newest word on a session"
    await caught_up(made)
    assert "the journal refuses" in spool_of(made).state()
    spool_of(made).journal.most_octets = 1 << 20
    await eventually(lambda: spool_of(made).state() == "")
    assert await rows(made, "select acctinputoctets, acctsessiontime from radacct") == [(9, 60)]
    assert [session.acct_session_id for session in await made.sessions()] == ["two"]


async def test_a_slow_database_without_a_journal_is_waited_for(hasty: TestNas) -> None:
    made, bras = hasty.world, hasty
    spool_of(made).journal.most_octets = 0
    async with locked(made.dsn, "sessions"):
        asked = asyncio.create_task(bras.account("Start"))
        await eventually(lambda: spool_of(made).refused["full"])
        await asyncio.sleep(0.2)
    assert await asked
    assert made.running.server.accounting.commit_seconds > 0.15, "the attempt that took so long is the one that counts"
    assert len(await made.sessions()) == 1
    assert "the journal refuses" in spool_of(made).state()
    spool_of(made).journal.most_octets = 1 << 20
    await eventually(lambda: spool_of(made).state() == "")


async def test_a_journal_that_vanished_is_told_and_held_against_nobody(bras: TestNas, cluster: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    made = bras.world
    async with away(made, cluster.admin_url):
        assert await bras.account("Start", "lost", "a")
        await eventually(lambda: spool_of(made)._cursor.last)  # the replay has read it, and nothing behind it
        assert await bras.account("Start", "lost too", "b")
        for path in spool_of(made).journal.folder.glob("*.journal"):
            path.unlink()
    await eventually(lambda: not spool_of(made).waiting)
    assert "acknowledged" in caplog.text
    assert spool_of(made).journal.damaged
    assert await bras.account("Start", "next", "c")
    assert "next" in {session.acct_session_id for session in await made.sessions()}
    assert await made.running.upkeep.reconcile_once() != (0, 0), "and memory forgets them with the next comparison"


async def test_a_folder_that_cannot_be_used_at_first(dsn: str, data_dir: Path, cluster: Any) -> None:
    (data_dir / "journal").touch()
    async with world(dsn, data_dir) as made:
        await made.add_nas("127.0.0.2")
        bras = TestNas(made, "127.0.0.2")
        assert await bras.account("Start", "one", "a"), "the database is there"
        assert "cannot be opened" in spool_of(made).state() or "refuses" in spool_of(made).state()
        (data_dir / "journal").unlink()
        await eventually(lambda: spool_of(made).journal.is_open)
        async with away(made, cluster.admin_url):
            assert await bras.account("Start", "two", "b")
        await caught_up(made)
        assert spool_of(made).state() == ""


async def test_two_nodes_each_with_a_journal_of_its_own(bras: TestNas, cluster: Any, tmp_path: Path) -> None:
    """The NAS goes over to the other node while its packets wait in the journal of the first."""
    made = bras.world
    shutil.copy2(made.running.data_dir / "secret.key", tmp_path)
    async with world(made.dsn, tmp_path, **PATIENT) as other:
        there = TestNas(other, "127.0.0.2")
        async with stuck_replay(made):
            async with away(made, cluster.admin_url):
                assert await bras.account("Start", Event_Timestamp=T0)
                assert await bras.account("Interim-Update", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=6)
            await eventually(lambda: other.running.replay.database.up)
            assert await there.account("Stop", Event_Timestamp=T0 + 90, Acct_Session_Time=90, Acct_Input_Octets=9)
            assert [session.up_octets for session in await other.sessions("closed")] == [9]
        await caught_up(made)
        assert await made.sessions() == []
        assert await rows(made, "select extract(epoch from acctstarttime)::bigint, acctsessiontime, acctinputoctets from radacct") == [(T0, 90, 9)]
        assert await rows(made, "select up_octets, session_seconds from usage_daily") == [(9, 90)]
        assert len(made.running.server.access.sessions) == len(other.running.server.access.sessions) == 0
