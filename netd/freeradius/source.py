"""Reads FreeRADIUS's tables from PostgreSQL (asyncpg) or MySQL and MariaDB (PyMySQL, extra ``netd[freeradius]``).

Only SELECT is used, in one read-only snapshot, so the tables may be in use. What goes wrong is told without the DSN: it may hold a password.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from netd.errors import ConfigError, PeerError
from netd.freeradius.rows import Groups, Membership, NasEntry, Row, Source, Table, User, key

CHUNK = 2_000
CONNECT_SECONDS = 15.0

_ATTRIBUTES = "select id, {owner}, attribute, op, value from {table} {where} order by id"
_OWNERS = {"radcheck": "username", "radreply": "username", "radgroupcheck": "groupname", "radgroupreply": "groupname"}


def connect(dsn: str, password: str | None = None) -> Source:
    """Open a source. ``password`` comes in place of one in the DSN.

    Raises ConfigError for what is no DSN, or a library that is not installed; PeerError if the database cannot be reached or used.
    """
    parts = None
    try:
        parts = urlsplit(dsn)
        usable = parts.scheme in ("postgresql", "postgres", "mysql", "mariadb") and parts.path.strip("/") and (parts.port or True)
    except ValueError:
        usable = False
    if parts is None or not usable:
        raise ConfigError("DSN", "", "write postgresql://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE (/, @, : and # in a password as %2F, %40, %3A, %23)")
    if parts.scheme.startswith("postgres"):
        return PostgresSource(dsn, password)
    return MysqlSource(dsn, password)


class _Tables:
    """What both kinds of databases have in common: the statements, and how users are put together."""

    fold_case = False

    def _select(self, statement: str, names: Sequence[str] | None = None) -> list[Sequence[Any]]:
        raise NotImplementedError

    def _in(self, column: str) -> str:
        raise NotImplementedError

    def _columns(self, table: str) -> set[str]:
        return {str(name).lower() for (name,) in self._select(f"select column_name from information_schema.columns where table_name = '{table}'")}

    def _rows(self, table: Table, names: Sequence[str] | None = None) -> dict[str, list[Row]]:
        owner = _OWNERS[table]
        where = "" if names is None else f"where {self._in(owner)}"
        found: dict[str, list[Row]] = {}
        for number, name, attribute, op, value in self._select(_ATTRIBUTES.format(owner=owner, table=table, where=where), names):
            row = Row(table, int(number), _text(name), _text(attribute), _text(op), _text(value))
            found.setdefault(key(row.owner, self.fold_case), []).append(row)
        return found

    def groups(self) -> Groups:
        return Groups(self._rows("radgroupcheck"), self._rows("radgroupreply"))

    def nas(self) -> list[NasEntry]:
        rows = self._select("select id, nasname, shortname, type, secret, server, description from nas order by id")
        return [NasEntry(int(row[0]), *[_text(cell) for cell in row[1:]]) for row in rows]

    def users(self) -> Iterator[User]:
        names: dict[str, str] = {}
        for table in ("radcheck", "radreply", "radusergroup"):
            for (name,) in self._select(f"select distinct username from {table} order by username"):
                names.setdefault(key(_text(name), self.fold_case), _text(name))
        numbered = "id" in self._columns("radusergroup")
        memberships = "select {id}, username, groupname, priority from radusergroup where {where} order by priority, {id}"
        ordered = list(names.items())
        for start in range(0, len(ordered), CHUNK):
            chunk = ordered[start : start + CHUNK]
            wanted = [name for _, name in chunk]
            checks, replies = self._rows("radcheck", wanted), self._rows("radreply", wanted)
            groups: dict[str, list[Membership]] = {}
            statement = memberships.format(id="id" if numbered else "0", where=self._in("username"))
            if not numbered:
                statement = statement.removesuffix(", 0")
            for number, name, group, priority in self._select(statement, wanted):
                member = Membership(int(number), _text(name), _text(group), int(priority))
                groups.setdefault(key(member.username, self.fold_case), []).append(member)
            for own, name in chunk:
                yield User(name, checks.get(own, ()), replies.get(own, ()), groups.get(own, ()))


class PostgresSource(_Tables):
    """PostgreSQL. Names are compared as they are written."""

    def __init__(self, dsn: str, password: str | None) -> None:
        # A loop in a thread of its own: whoever reads may be in a loop, too.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="source database", daemon=True)
        self._thread.start()
        try:
            self._connection = self._run(_connect_postgres(dsn, password))
            self._run(self._connection.execute("begin isolation level repeatable read read only"))
        except BaseException:
            self._end()
            raise

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise PeerError(f"the source database: {_first_line(error)}") from None

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _in(self, column: str) -> str:
        return f"{column} = any($1::text[])"

    def _select(self, statement: str, names: Sequence[str] | None = None) -> list[Sequence[Any]]:
        found: list[Sequence[Any]] = self._run(self._connection.fetch(statement, *([] if names is None else [list(names)])))
        return [tuple(record) for record in found]

    def close(self) -> None:
        """End the connection."""
        self._loop.call_soon_threadsafe(self._connection.terminate)
        self._end()


async def _connect_postgres(dsn: str, password: str | None) -> Any:
    given = {} if password is None else {"password": password}
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=600, **given)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise PeerError(f"the source database: {_first_line(error)}") from None
    except ValueError:  # its text may quote a piece of the password
        raise ConfigError("DSN", "", "is no usable URL (are /, @, : and # in the password written as %2F, %40, %3A, %23?)") from None


class MysqlSource(_Tables):
    """MySQL and MariaDB. By default names are compared without regard to case and to blanks at the end."""

    fold_case = True

    def __init__(self, dsn: str, password: str | None) -> None:
        try:
            import pymysql
        except ImportError:
            raise ConfigError("DSN", "", "for MySQL and MariaDB PyMySQL is needed: pip install 'netd[freeradius]'") from None
        self._error = pymysql.err.MySQLError
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        given = password if password is not None else unquote(parts.password or "")
        where: dict[str, Any] = {"host": parts.hostname or "localhost", "port": parts.port or 3306}
        if "unix_socket" in query:
            where = {"unix_socket": query["unix_socket"][0]}
        try:
            self._connection = pymysql.connect(
                **where, user=unquote(parts.username or ""), password=given, database=unquote(parts.path.strip("/")), charset="utf8mb4",
                connect_timeout=int(CONNECT_SECONDS), read_timeout=600,
            )  # fmt: skip
            with self._connection.cursor() as cursor:
                cursor.execute("set session transaction isolation level repeatable read")
                cursor.execute("start transaction with consistent snapshot, read only")
                cursor.execute("select collation_name from information_schema.columns where table_schema = database() "
                               "and table_name = 'radcheck' and column_name = 'username'")  # fmt: skip
                collation = cursor.fetchone()
            self.fold_case = not (collation and str(collation[0]).endswith(("_bin", "_cs")))
        except (OSError, self._error) as error:
            raise PeerError(f"the source database: {_first_line(error)}") from None

    def _in(self, column: str) -> str:
        return f"{column} in %s"

    def _columns(self, table: str) -> set[str]:
        statement = f"select column_name from information_schema.columns where table_schema = database() and table_name = '{table}'"
        return {_text(name).lower() for (name,) in self._select(statement)}

    def _select(self, statement: str, names: Sequence[str] | None = None) -> list[Sequence[Any]]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, None if names is None else (tuple(names),))
                return list(cursor.fetchall())
        except (OSError, self._error) as error:
            raise PeerError(f"the source database: {_first_line(error)}") from None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _text(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return "" if cell is None else str(cell)


def _first_line(error: BaseException) -> str:
    text = str(error.args[1]) if len(error.args) > 1 and isinstance(error.args[0], int) else str(error)
    return (text or type(error).__name__).splitlines()[0]
