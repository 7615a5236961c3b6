"""CSV to records to members."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.domain.records import Record, of_csv
from netd.domain.table import Reader, header_faults
from netd.domain.tables import TABLES
from netd.store import provision

SUBSCRIBERS = TABLES["subscribers"]
COLUMNS = ["username", "password", "plan", "ipv4", "state", "max_sessions", "expires_at", "note", "line_learn", "replies", "lines", "mac_addresses"]


def row(line=2, **cells):
    cells = {"username": "u", "password": "p", "plan": "home", **cells}
    return Record(line, [cells.get(name, "") for name in COLUMNS])


def read(record, columns=COLUMNS):
    found, wrong = Reader(SUBSCRIBERS, columns).row(record)
    return found, wrong


def test_lines_of_records():
    data = b'\xef\xbb\xbfa,b\r\n\r\n1,"x\r\ny"\r\n2,z\n\n3,"q""q"'
    assert [(r.line, r.cells, r.fault) for r in of_csv(data)] == [(1, ["a", "b"], ""), (3, ["1", "x\r\ny"], ""), (5, ["2", "z"], ""), (7, ["3", 'q"q'], "")]


def test_bad_octets_are_told_by_line_and_spoil_no_other():
    found = list(of_csv(b'a,b\n1,caf\xe9\n2,ok\n"3\n\xff",x\n4,ok\n'))
    assert [(r.line, bool(r.fault)) for r in found] == [(1, False), (2, True), (3, False), (4, True), (6, False)]
    assert found[1].fault == "is not UTF-8: octet 0xe9 at position 6; save the file as UTF-8"


@pytest.mark.parametrize(("data", "fault"), [
    (b'a\n"never closed\nb\nc\n', "a quoted cell is not closed"), (b'a\n"x"y\n', "is not CSV"), (b"a\n" + b"x" * 70_000 + b"\n", "is longer than 65536 octets"),
])  # fmt: skip
def test_records_that_are_none(data, fault):
    found = list(of_csv(data))
    assert found[1].line == 2
    assert fault in found[1].fault


@pytest.mark.parametrize(("header", "mode", "told"), [
    (["username", "plan"], "create", []), (["username"], "create", ["plan"]), (["username"], "update", []), (["plan"], "upsert", ["username"]),
    (["username;password;plan"], "create", [""]), (["username", "plan", "speed", "plan"], "create", ["speed", "plan"]),
])  # fmt: skip
def test_header(header, mode, told):
    assert [name for name, _ in header_faults(SUBSCRIBERS, header, mode)] == told


def test_members():
    found, wrong = read(row(
        username=" Alice ", password=" p ", plan="Home", ipv4="192.0.2.1 ", state="pending", max_sessions="3", expires_at="2027-01-31", note=" '=1 ",
        line_learn="TRUE", replies="Filter-Id := a b \n\nReply-Message +=  c", lines='nas=bras1 circuit_id="a \\"b\\""',
        mac_addresses="00:11:22:33:44:55; 0011.2233.4466",
    ))  # fmt: skip
    assert not wrong
    assert found is not None and found.good
    replies, lines = found.members.pop("replies"), found.members.pop("lines")
    assert found.members == {
        "username": "Alice", "password": " p ", "plan": "Home", "ipv4": "192.0.2.1", "state": "pending", "max_sessions": 3, "line_learn": True,
        "expires_at": datetime(2027, 1, 31, tzinfo=UTC), "note": " '=1 ", "mac_addresses": ("00:11:22:33:44:55", "0011.2233.4466"),
    }  # fmt: skip
    assert [(each.attribute, each.op, each.value) for each in replies] == [("Filter-Id", ":=", "a b "), ("Reply-Message", "+=", " c")]
    assert [(each.nas, each.circuit_id, each.mac) for each in lines] == [("bras1", 'a "b"', None)]


def test_an_empty_cell_takes_away_what_can_be_missing_and_says_nothing_of_the_rest():
    found, wrong = read(row(password=""))
    assert not wrong
    assert found is not None
    assert found.members == {
        "username": "u", "plan": "home", "ipv4": None, "max_sessions": None, "expires_at": None, "note": None, "replies": (), "lines": (), "mac_addresses": (),
    }  # fmt: skip


@pytest.mark.parametrize(("cells", "column"), [
    ({"username": " "}, "username"), ({"username": "x" * 254}, "username"), ({"username": "a\tb"}, "username"),
    ({"password": "x" * 129}, "password"), ({"password": "xxx\0"}, "password"), ({"state": "gone"}, "state"), ({"max_sessions": "-1"}, "max_sessions"),
    ({"max_sessions": "1e9"}, "max_sessions"), ({"max_sessions": "99999999999999999999"}, "max_sessions"), ({"max_sessions": "٣"}, "max_sessions"),
    ({"expires_at": "2027-01-31T10:00:00"}, "expires_at"), ({"expires_at": "31.01.2027"}, "expires_at"),
    ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"), ({"note": "x" * 1001}, "note"), ({"line_learn": "maybe"}, "line_learn"),
    ({"replies": "Filter-Id"}, "replies"), ({"replies": "Filter-Id == x"}, "replies"), ({"lines": "nas=a nas=b"}, "lines"), ({"lines": "port=1"}, "lines"),
    ({"lines": 'nas="a'}, "lines"), ({"lines": 'nas="\\x"'}, "lines"),
])  # fmt: skip
def test_faults(cells, column):
    found, ((where, what),) = read(row(**cells))
    assert where == column
    assert column != "password" or "xxx" not in what  # a password is never told
    assert found is not None and not found.good


def test_all_faults_of_a_row():
    assert [column for column, _ in read(row(username="", max_sessions="x", state="y"))[1]] == ["username", "state", "max_sessions"]


def test_repetitions():
    reader = Reader(SUBSCRIBERS, COLUMNS)
    assert reader.row(row(2, username="a"))[1] == []
    assert reader.row(row(3, username=" A"))[1] == [("username", "stands on line 2 already")]
    assert reader.row(Record(5, ["x"])) == (None, [("", "has 1 cells where the header has 12")])
    assert reader.row(row(6, username="b")._replace(faults={2: "is a formula"}))[1] == [("plan", "is a formula")]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='ab,"\r\n;é', max_size=60).map(str.encode))
def test_any_octets_become_records(data):
    reader = Reader(SUBSCRIBERS, COLUMNS)
    lines = 0
    for record in of_csv(data):
        assert record.line > lines
        lines = record.line
        found, wrong = reader.row(record)
        assert wrong or (found is not None and found.members["username"])
    assert lines <= data.count(b"\n") + 1


def test_columns_are_what_the_store_takes():
    stored = set(provision.COLUMNS) - {"line", "subscriber_id", "username_key", "password_hashed"}
    names = {"plan": "plan_id", "site": "site_id"}
    assert stored == {names.get(column.name, column.name) for column in SUBSCRIBERS.columns if column.name != "password_hash"}


def test_every_table_says_all_that_it_must():
    for name, table in TABLES.items():
        assert name == table.name
        assert table.column(table.key) is not None
        assert any(column.secret for column in table.columns) == (table.secrets is not None), name
