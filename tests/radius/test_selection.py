"""What a request says, and how sessions are found by it: no socket, no loop."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.errors import WireError
from netd.model.accounting import Row
from netd.radius import selection
from netd.radius.index import MEMBERS, SessionIndex
from netd.radius.record import IDENTIFICATION
from netd.radius.selection import Refused
from netd.radius.sessions import Sessions
from netd.wire import radius
from tests.radius.engine import EXTENSIONS, attribute, packet

DICTIONARY = EXTENSIONS().dictionary


def row(**more: Any) -> Row:
    values = {
        "acctuniqueid": "a", "tenant_id": 1, "nas_id": 1, "subscriber_id": None, "acctsessionid": "s1", "username": "Alice", "nasipaddress": "10.0.0.1",
        "nassourceaddress": "10.0.0.2", "radacctid": 1, "started_at": 0.0, "updated_at": 0.0, **more,
    }  # fmt: skip
    return Row(**values)


def read(attributes: bytes, code: int = 40) -> selection.Selection:
    return selection.read(radius.parse(packet(code, 1, bytes(16), attributes)), DICTIONARY)


def test_the_index_knows_what_identifies() -> None:
    assert set(MEMBERS) == {member for member, _ in IDENTIFICATION.values()} - {"calledstationid"}
    assert next(member for member, _ in IDENTIFICATION.values()) == "acctsessionid"


@pytest.mark.parametrize(
    ("kind", "value"),
    [(8, b""), (8, b"12345"), (97, b"\0"), (97, b"\0\x81" + bytes(17)), (123, b"\0\x40\1"), (168, bytes(4)), (96, b"x"), (44, b""), (31, b"")],
)
def test_malformed_identification_is_an_invalid_value(kind: int, value: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(attribute(1, b"alice") + attribute(kind, value))
    assert caught.value.cause == 407


def test_nas_by_either_address_and_by_name() -> None:
    by_source, by_self = (read(attribute(1, b"a") + attribute(4, bytes((10, 0, 0, last)))) for last in (2, 1))
    assert by_source.on(row(), "bras1")
    assert by_self.on(row(), "bras1")
    assert read(attribute(1, b"a") + attribute(32, b"bras1")).on(row(), "bras1")
    assert not read(attribute(1, b"a") + attribute(32, b"bras1")).on(row(), None)
    assert read(attribute(1, b"a") + attribute(95, bytes(15) + b"\1")).nas_address == "::1"
    assert read(attribute(1, b"a") + attribute(241, b"\x08BRAS1")).on(row(), "bras1")


def test_what_goes_on_to_the_nas() -> None:
    found = read(
        attribute(1, b"a") + attribute(33, b"p") + attribute(24, b"s") + attribute(126, b"1isp") + attribute(55, bytes(4)) + attribute(5, bytes(4))
        + attribute(27, b"\0\0\0\x3c") + attribute(241, b"\x01" + bytes(4)), 43,
    )  # fmt: skip
    assert radius.split(found.more) == [(5, bytes(4)), (27, b"\0\0\0\x3c"), (241, b"\x01" + bytes(4))]
    assert ("Session-Timeout", "60") in found.told


@pytest.mark.parametrize("kind", [2, 3, 25, 40, 60, 70, 79, 101])
@pytest.mark.parametrize("code", [40, 43])
def test_what_has_no_business_in_such_a_request(code: int, kind: int) -> None:
    with pytest.raises(Refused) as caught:
        read(attribute(1, b"a") + attribute(kind, bytes(16)), code)
    assert caught.value.cause == 401


@given(st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=30)), max_size=12), st.sampled_from([40, 43]))
def test_whatever_stands_in_it_is_read_or_refused(attributes: list[tuple[int, bytes]], code: int) -> None:
    try:
        parsed = radius.parse(packet(code, 1, bytes(16), radius.join(attributes)))
    except WireError:
        return
    try:
        found = selection.read(parsed, DICTIONARY)
    except Refused as refusal:
        assert refusal.cause in (401, 402, 404, 405, 407)
    else:
        assert found.username_key is not None or found.facts
        kept = {kind for kind, _ in radius.split(found.more)}
        assert not kept & {1, 4, 24, 25, 32, 33, 55, 80, *IDENTIFICATION}


FACTS = st.fixed_dictionaries({
    "acctuniqueid": st.sampled_from("abcdef"), "username": st.sampled_from(("u", "U ", "v")), "radacctid": st.integers(1, 3),
    "framedipaddress": st.sampled_from((None, "192.0.2.1", "192.0.2.2")), "acctsessionid": st.sampled_from(("1", "2")),
    "callingstationid": st.sampled_from((None, "AA-BB-CC-00-11-22", "aabb.cc00.1122", "line 7")),
})  # fmt: skip


@given(st.lists(st.one_of(FACTS, st.sampled_from("abcdef")), max_size=60))
def test_the_index_finds_what_looking_at_every_session_finds(steps: list[Any]) -> None:
    """However sessions come, change, are replaced and go: the index has the facts of now, and nothing else."""
    sessions = Sessions()
    sessions.find("username", "u")
    for step in steps:
        if isinstance(step, str):
            sessions.remove([step])
        else:
            sessions.put(row(**step))
        fresh = SessionIndex(live.row for live in sessions.by_id.values())
        assert sessions.index is not None
        assert len(sessions.index) == len(fresh)
        for member, value in (("username", "u"), ("framedipaddress", "192.0.2.1"), ("callingstationid", "aabbcc001122"), ("acctsessionid", "2")):
            assert sorted(live.row.acctuniqueid for live in sessions.find(member, value)) == sorted(fresh.find(member, value))
