"""CSV to records to values."""

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.domain import table
from netd.domain.table import Record, Table, header_faults, records

PLANS = {"home": 7}
COLUMNS = ["username", "password", "plan", "ipv4", "state", "max_sessions", "expires_at", "note", "delegated_ipv6_prefix"]


def row(line=2, **cells):
    cells = {"username": "u", "password": "p", "plan": "home", **cells}
    return Record(line, [cells.get(name, "") for name in COLUMNS])


def faults(**cells):
    return Table(COLUMNS, PLANS, allow_no_password=False).values(row(**cells))[1]


def test_lines_of_records():
    data = b'\xef\xbb\xbfa,b\r\n\r\n1,"x\r\ny"\r\n2,z\n\n3,"q""q"'
    assert [(r.line, r.cells, r.fault) for r in records(data)] == [(1, ["a", "b"], ""), (3, ["1", "x\r\ny"], ""), (5, ["2", "z"], ""), (7, ["3", 'q"q'], "")]


def test_bad_octets_are_told_by_line_and_spoil_no_other():
    found = list(records(b'a,b\n1,caf\xe9\n2,ok\n"3\n\xff",x\n4,ok\n'))
    assert [(r.line, bool(r.fault)) for r in found] == [(1, False), (2, True), (3, False), (4, True), (6, False)]
    assert found[1].fault == "is not UTF-8: octet 0xe9 at position 6; save the file as UTF-8"


@pytest.mark.parametrize(("data", "fault"), [
    (b'a\n"never closed\nb\nc\n', "a quoted cell is not closed"), (b'a\n"x"y\n', "is not CSV"), (b"a\n" + b"x" * 70_000 + b"\n", "is longer than 65536 octets"),
])  # fmt: skip
def test_records_that_are_none(data, fault):
    found = list(records(data))
    assert found[1].line == 2
    assert fault in found[1].fault


@pytest.mark.parametrize(("header", "told"), [
    (["username", "password", "plan"], []),
    (["username;password;plan"], [("", "the columns are not separated by commas")]),
    (["username", "plan", "speed", "plan"], ["speed", "plan", "password"]),
])  # fmt: skip
def test_header(header, told):
    found = header_faults(header)
    assert [name for name, _ in found] == [each if isinstance(each, str) else each[0] for each in told]


def test_values():
    values, wrong = Table(COLUMNS, PLANS, allow_no_password=False).values(
        row(username=" Alice ", password=" p ", plan="HOME", ipv4="192.0.2.1 ", state="pending", max_sessions="3", expires_at="2027-01-31", note="hi, there")
    )
    assert not wrong
    assert values == {
        "username": "Alice", "username_key": "alice", "password": " p ", "plan_id": 7, "ipv4": ip_address("192.0.2.1"), "state": "pending", "max_sessions": 3,
        "expires_at": datetime(2027, 1, 31, tzinfo=UTC), "note": "hi, there",
    }  # fmt: skip


@pytest.mark.parametrize(("cells", "column"), [
    ({"username": " "}, "username"), ({"username": "é" * 127}, "username"), ({"username": "a\tb"}, "username"), ({"password": ""}, "password"),
    ({"password": "x" * 129}, "password"), ({"password": "xxx\0"}, "password"), ({"plan": ""}, "plan"), ({"plan": "gold"}, "plan"),
    ({"ipv4": "10.0.0.0/8"}, "ipv4"),
    ({"ipv4": "::1"}, "ipv4"), ({"state": "gone"}, "state"), ({"max_sessions": "-1"}, "max_sessions"), ({"max_sessions": "1e9"}, "max_sessions"),
    ({"max_sessions": "99999999999999999999"}, "max_sessions"), ({"max_sessions": "٣"}, "max_sessions"), ({"expires_at": "2027-01-31T10:00:00"}, "expires_at"),
    ({"expires_at": "31.01.2027"}, "expires_at"), ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"), ({"note": "x" * 1001}, "note"),
    ({"delegated_ipv6_prefix": "2001:db8::1/56"}, "delegated_ipv6_prefix"),
])  # fmt: skip
def test_faults(cells, column):
    ((where, what),) = faults(**cells)
    assert where == column
    assert column != "password" or "xxx" not in what  # a password is never told


def test_all_faults_of_a_row():
    assert [column for column, _ in faults(username="", password="", plan="x", ipv4="y")] == ["username", "password", "plan", "ipv4"]


def test_repetitions():
    read = Table(COLUMNS, PLANS, allow_no_password=True)
    assert read.values(row(2, username="a", ipv4="192.0.2.1", password=""))[1] == []
    assert read.values(row(3, username="A", ipv4="192.0.2.1"))[1] == [("username", "stands on line 2 already"), ("ipv4", "stands on line 2 already")]
    assert read.values(row(4, username="b", ipv4="192.0.2.1", state="terminated"))[1] == []
    assert read.values(Record(5, ["x"]))[1] == [("", "has 1 cells where the header has 9")]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='ab,"\r\n;é', max_size=60).map(str.encode))
def test_any_octets_become_records(data):
    read = Table(COLUMNS, PLANS, allow_no_password=False)
    lines = 0
    for record in records(data):
        assert record.line > lines
        lines = record.line
        values, wrong = read.values(record)
        assert wrong or values["username"]
    assert lines <= data.count(b"\n") + 1


def test_columns_are_what_the_store_takes():
    from netd.store.imports import COLUMNS as STORED

    assert set(STORED) - {"line", "username_key"} == {"plan_id" if name == "plan" else name for name in table.COLUMNS}
