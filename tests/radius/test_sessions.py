"""The open sessions in memory, and the places held between an Accept and its Start."""

import msgspec
import pytest

from netd.model.accounting import Row
from netd.radius.ahead import Opened
from netd.radius.sessions import Hold, LiveRecord, Sessions
from tests.radius.engine import engine

NAS, ELSEWHERE = "192.0.2.1", "192.0.2.2"
NOW = 5000.0


def row(unique_id: str, subscriber_id: int | None = 1, calling: str | None = "AA", source: str = NAS, radacctid: int = 1, **more: object) -> Row:
    return Row(
        radacctid=radacctid, acctuniqueid=unique_id, tenant_id=1, nas_id=1, subscriber_id=subscriber_id, acctsessionid=unique_id, username="alice",
        nasipaddress=source, nassourceaddress=source, callingstationid=calling, started_at=0.0, updated_at=0.0, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def hold(token: str, calling: bytes | None = b"AA", source: str = NAS, until: float = NOW + 60) -> Hold:
    return Hold(until, token, source, calling)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


def put(sessions: Sessions, given: Row) -> LiveRecord:
    sessions.put(given)
    return sessions.by_id[given.acctuniqueid]


def test_sessions_are_found_by_id_and_by_subscriber(sessions: Sessions) -> None:
    sessions.put(row("one"))
    sessions.put(row("two"))
    sessions.put(row("three", 2))
    sessions.put(row("nobody's", None))
    assert len(sessions) == 4
    assert sorted(live.row.acctuniqueid for live in sessions.of(1)) == ["one", "two"]
    assert sessions.of(3) == []
    sessions.remove(["one", "never seen", "nobody's"])
    assert [live.row.acctuniqueid for live in sessions.of(1)] == ["two"]
    sessions.remove(["two", "three"])
    assert len(sessions) == 0
    assert dict(sessions.by_subscriber) == {}, "no empty sets are left behind"


def test_an_update_keeps_what_enforcement_knows(sessions: Sessions) -> None:
    live = put(sessions, row("one", applied_policy="granted"))
    live.applied, live.attempts = "changed by CoA", 3
    again = put(sessions, row("one", applied_policy="granted", acctinputoctets=7))
    assert again is live
    assert (live.applied, live.attempts, live.row.acctinputoctets) == ("changed by CoA", 3, 7)


def test_a_class_that_comes_late_fills_in_what_was_granted(sessions: Sessions) -> None:
    live = put(sessions, row("one"))
    assert live.applied is None
    sessions.put(row("one", applied_policy="granted"))
    assert live.applied == "granted"


def test_another_generation_of_an_id_is_another_session(sessions: Sessions) -> None:
    live = put(sessions, row("one", applied_policy="old"))
    live.busy = True
    later = put(sessions, row("one", radacctid=2, applied_policy="new"))
    assert later is not live
    assert (later.applied, later.busy, len(sessions), len(sessions.of(1))) == ("new", False, 1, 1)


def test_another_generation_under_another_subscriber_leaves_no_trace_of_the_first(sessions: Sessions) -> None:
    sessions.put(row("one", 1))
    sessions.put(row("one", 2, radacctid=2))
    assert sessions.of(1) == []
    assert [live.row.radacctid for live in sessions.of(2)] == [2]
    sessions.remove(["one"])
    assert dict(sessions.by_subscriber) == {}


def test_a_session_changes_hands_when_its_subscriber_becomes_known(sessions: Sessions) -> None:
    live = put(sessions, row("one", None))
    sessions.put(row("one", 1))
    assert sessions.of(1) == [live]
    sessions.put(row("one", None))
    assert sessions.of(1) == []
    assert dict(sessions.by_subscriber) == {}


def test_every_line_but_the_same_one_counts(sessions: Sessions) -> None:
    sessions.put(row("same line"))
    sessions.put(row("other line", calling="BB"))
    sessions.put(row("other place", source=ELSEWHERE))
    sessions.put(row("a stranger's", 2))
    assert sessions.occupied(1, NAS, b"AA", NOW) == 2
    assert sessions.occupied(1, NAS, b"CC", NOW) == 3
    assert sessions.occupied(3, NAS, b"AA", NOW) == 0


def test_without_calling_station_id_nothing_is_the_same_line(sessions: Sessions) -> None:
    sessions.put(row("anonymous", calling=None))
    sessions.put(row("named"))
    sessions.hold(1, hold("t1", calling=None))
    assert sessions.occupied(1, NAS, None, NOW) == 3
    assert sessions.occupied(1, NAS, b"AA", NOW) == 2
    assert sessions.occupied(1, NAS, b"BB", NOW) == 3


def test_a_calling_station_id_that_is_no_text_is_compared_as_it_is_stored(sessions: Sessions) -> None:
    sessions.put(row("binary", calling=b"\xff\xfe".decode("utf-8", "replace")))
    assert sessions.occupied(1, NAS, b"\xff\xfe", NOW) == 0
    assert sessions.occupied(1, NAS, b"AA", NOW) == 1


def test_holds_count_until_they_end(sessions: Sessions) -> None:
    sessions.hold(1, hold("t1", b"BB", until=NOW + 10))
    sessions.hold(1, hold("t2", b"CC", until=NOW + 60))
    assert sessions.occupied(1, NAS, b"AA", NOW) == 2
    assert sessions.occupied(1, NAS, b"BB", NOW) == 1, "the same line dialling again"
    assert sessions.occupied(1, ELSEWHERE, b"BB", NOW) == 2
    assert sessions.occupied(1, NAS, b"AA", NOW + 10) == 1
    assert sessions.occupied(1, NAS, b"AA", NOW + 60) == 0
    assert sessions._holds == {}


def test_a_start_releases_its_own_hold(sessions: Sessions) -> None:
    for token in ("t1", "t2", "t3"):
        sessions.hold(1, hold(token, token.encode()))
    sessions.release(1, "t2")
    assert [held.token for held in sessions._holds[1]] == ["t1", "t3"]
    sessions.release(1, "another node's")
    assert [held.token for held in sessions._holds[1]] == ["t1", "t3"], "a Class that is not of these holds releases none of them"
    sessions.release(1, None)
    assert [held.token for held in sessions._holds[1]] == ["t3"], "a NAS that returns no Class: the oldest"
    sessions.release(1, "t3")
    sessions.release(1, "t3")
    sessions.release(2, None)
    assert sessions._holds == {}


def test_rows_are_not_changed_by_being_held(sessions: Sessions) -> None:
    given = row("one")
    before = msgspec.structs.replace(given)
    sessions.put(given)
    sessions.remove(["one"])
    assert given == before


async def test_a_later_generation_of_a_session_is_begun_like_any_other() -> None:
    """A NAS that restarts its numbering: the hold of the new session is released and its policy looked at."""
    with engine("127.0.0.1") as made:
        accounting, live = made.server.accounting, made.server.access.sessions
        begun: list[int] = []
        accounting.on_open = lambda row: begun.append(row.radacctid)
        accounting._follow(Opened([row("one")], []))
        accounting._follow(Opened([row("one", acctinputoctets=7)], []))
        live.hold(1, hold("t2"))
        accounting._follow(Opened([row("one", radacctid=2, class_="netd1:t2:1:print")], []))
        assert begun == [1, 2]
        assert live._holds == {}
