"""Reading the tables of a PostgreSQL; MariaDB and the schema that FreeRADIUS ships are read in tests/e2e/test_freeradius.py."""

import asyncio

import asyncpg
import pytest

from netd.errors import ConfigError, PeerError
from netd.freeradius import source
from netd.freeradius.rows import Membership, User

SCHEMA = """
    create table radcheck (id serial, username text, attribute text, op varchar(2), value text);
    create table radreply (id serial, username text, attribute text, op varchar(2), value text);
    create table radgroupcheck (id serial, groupname text, attribute text, op varchar(2), value text);
    create table radgroupreply (id serial, groupname text, attribute text, op varchar(2), value text);
    create table nas (id serial, nasname text, shortname text, type text, secret text, server text, description text);
    insert into radcheck (username, attribute, op, value)
      values ('bob', 'Cleartext-Password', ':=', 'b'), ('alice', 'Cleartext-Password', ':=', 'a'), ('Alice', 'NAS-Port', '==', '1');
    insert into radreply (username, attribute, op, value) values ('carol', 'Filter-Id', '=', 'x'), ('alice', 'Filter-Id', null, null);
    insert into radgroupreply (groupname, attribute, op, value) values ('gold', 'Filter-Id', '=', 'g');
    insert into radusergroup (username, groupname, priority) values ('alice', 'second', 2), ('alice', 'first', 1), ('dave', 'gold', 1);
    insert into nas (nasname, shortname, type, secret) values ('10.0.0.1', null, 'other', 'hushhush');
"""


@pytest.fixture(params=["id serial, ", ""], ids=["numbered", "of an old version"])
def filled(request, empty_dsn: str) -> str:
    async def fill() -> None:
        connection = await asyncpg.connect(empty_dsn)
        await connection.execute(f"create table radusergroup ({request.param}username text, groupname text, priority integer)")
        await connection.execute(SCHEMA)
        await connection.close()

    asyncio.run(fill())
    return empty_dsn


def test_users_with_all_their_rows_in_chunks(filled, monkeypatch):
    monkeypatch.setattr(source, "CHUNK", 2)
    opened = source.connect(filled)
    try:
        users: dict[str, User] = {user.name: user for user in opened.users()}
        assert set(users) == {"alice", "Alice", "bob", "carol", "dave"}
        alice = users["alice"]
        assert [row.value for row in alice.checks] == ["a"]
        assert [(row.op, row.value) for row in alice.replies] == [("", "")]
        assert [member.group for member in alice.groups] == ["first", "second"]
        assert isinstance(alice.groups[0], Membership)
        assert [row.table for row in users["carol"].replies] == ["radreply"]
        assert opened.groups().replies["gold"][0].value == "g"
        (entry,) = opened.nas()
        assert (entry.nasname, entry.shortname, entry.secret) == ("10.0.0.1", "", "hushhush")
        assert "hushhush" not in repr(entry)
    finally:
        opened.close()


def test_a_database_without_the_tables_says_so(empty_dsn):
    opened = source.connect(empty_dsn)
    with pytest.raises(PeerError, match="radgroupcheck"):
        opened.groups()
    opened.close()


def test_nothing_can_be_written_through_it(filled):
    opened = source.connect(filled)
    assert isinstance(opened, source.PostgresSource)
    with pytest.raises(PeerError, match="read-only"):
        opened._select("delete from radcheck")
    opened.close()


@pytest.mark.parametrize("dsn", ["", "radius", "postgresql://h", "mysql://u@h/", "sqlite:///x", "postgresql://u:p@h:port/d"])
def test_what_is_no_dsn(dsn):
    with pytest.raises(ConfigError, match="write postgresql"):
        source.connect(dsn)
