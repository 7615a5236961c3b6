"""The connection pool: bounded waits, netd's own errors, and a state that says whether the database is there."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import msgspec

from netd.errors import ConfigError, Conflict, StoreError, StoreUnavailable
from netd.model.permission import Once, Scope
from netd.store.translate import is_gone, raise_known, unreachable

log = logging.getLogger(__name__)

# What row functions take: a connection of the pool (inside acquire or transaction) or a dedicated one (connect).
Connection: TypeAlias = asyncpg.Connection
Target: TypeAlias = str | Mapping[str, Any]
T = TypeVar("T")

TENANT_ROLE = "netd_tenant"
"""The role that the API's connections act as: it sees what the policies of the scope show, see sql/0003_access_control.sql."""

_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What connecting, rolling back, releasing and closing may raise where the server or the connection to it is gone."""

PROBE_DOWN_SECONDS = 1.0
PROBE_UP_SECONDS = 5.0


def arguments(target: Target) -> dict[str, Any]:
    """asyncpg's connect arguments for a URL or ready-made keywords.

    A URL may name several hosts; the one that accepts writes is used unless it says otherwise (``target_session_attrs``).
    ``statement_cache_size=0`` in its query is for PgBouncer in transaction mode. Raises ConfigError for what is no PostgreSQL URL.
    """
    if not isinstance(target, str):
        return dict(target)
    if not target.startswith(("postgres://", "postgresql://")):
        raise ConfigError("database", "url", "must begin with postgresql://")
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    found: dict[str, Any] = {}
    if "statement_cache_size" in query:
        size = query.pop("statement_cache_size")
        if not size.isdecimal():
            raise ConfigError("database", "url", "statement_cache_size must be a number")
        found["statement_cache_size"] = int(size)
    query.setdefault("target_session_attrs", "read-write")
    return {"dsn": urlunsplit(parts._replace(query=urlencode(query))), **found}


async def connect(target: Target, timeout_seconds: float = 5.0, command_timeout_seconds: float | None = None) -> Connection:
    """Open a dedicated connection with the same codecs as the pool's (LISTEN, migrations). Raises StoreUnavailable."""
    keywords: dict[str, Any] = {"server_settings": {"application_name": "netd"}, **arguments(target)}
    try:
        async with asyncio.timeout(timeout_seconds):
            connection = await asyncpg.connect(timeout=timeout_seconds, command_timeout=command_timeout_seconds, **keywords)
            await _prepare(connection)
    except ValueError as error:
        raise _unusable(error) from None
    except _FAILURES as error:
        raise unreachable(error) from error
    return connection


class Database:
    """A pool of connections to one database. Made by :meth:`open`; it comes back by itself after an outage.

    ``up`` and ``since`` (Unix time of the last change) follow what statements and a probe in the background see.
    """

    def __init__(self, target: Target, pool: asyncpg.Pool, acquire_timeout_seconds: float) -> None:
        self.target = target
        self._pool = pool
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self.up = True
        self.since = time.time()
        self.last_error = ""
        self.latency_seconds: float | None = None  # of the last probe that was answered
        self._doubt = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        target: Target,
        size: int = 10,
        *,
        command_timeout_seconds: float = 30.0,
        acquire_timeout_seconds: float = 5.0,
        role: str = "",
    ) -> "Database":
        """Connect to ``target`` (URL or asyncpg's keywords), to act as ``role`` if given. Raises StoreUnavailable if the database cannot be reached now."""
        keywords: dict[str, Any] = {"server_settings": {"application_name": "netd"}, **arguments(target)}

        async def prepare(connection: Connection) -> None:
            await _prepare(connection)
            if role:  # here, not as a start-up parameter, which a connection pooler in between may refuse
                await connection.execute(f'set role "{role}"')

        try:
            pool = await asyncpg.create_pool(
                min_size=0, max_size=size, command_timeout=command_timeout_seconds, timeout=acquire_timeout_seconds, init=prepare, reset=_as_it_is, **keywords
            )
        except ValueError as error:
            raise _unusable(error) from None
        database = cls(target, pool, acquire_timeout_seconds)
        try:
            async with database.acquire() as connection:
                asked = time.monotonic()
                await connection.fetchval("select 1")
                database.latency_seconds = time.monotonic() - asked
        except BaseException as error:
            pool.terminate()
            if isinstance(error, ValueError):
                raise _unusable(error) from None
            raise
        database._watcher = asyncio.create_task(database._watch(), name="database probe")
        return database

    async def close(self) -> None:
        """Close all connections; those in use are given a few seconds, then cut."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except _FAILURES:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A connection without a transaction: each statement commits by itself. Raises StoreUnavailable, Conflict, StoreError."""
        connection = await self._acquire()
        try:
            yield connection
        except BaseException as error:
            await self._release(connection, clean=False)
            await self._note(error)
            raise_known(error)
            raise
        else:
            await self._release(connection, clean=True)
            self._set_up()

    @contextlib.asynccontextmanager
    async def transaction(self, scope: Scope | None = None) -> AsyncIterator[Connection]:
        """A connection inside a transaction that commits at the end of the block and rolls back if it raises.

        ``scope`` is for whom it acts; a connection of TENANT_ROLE without one sees and changes nothing that a tenant owns.
        StoreUnavailable means that nothing was committed, except when the connection is lost during the commit itself:
        then the outcome is unknown and the text says so. Repeat only what may be repeated.
        """
        async with self.acquire() as connection:
            try:
                await connection.execute(_begin(scope))
                if scope is not None and scope.once is not None:
                    await _mark(connection, scope.tenant_id, scope.once)
                yield connection
            except BaseException:
                # A lost connection rolls back by itself; the first error is the one to tell.
                with contextlib.suppress(*_FAILURES):
                    await connection.execute("rollback")
                raise
            try:
                await connection.execute("commit")
            except Exception as error:
                if not is_gone(error) and not isinstance(error, TimeoutError):
                    raise
                raise StoreUnavailable("the database went away during a commit; whether it was committed is unknown") from error

    async def twice(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What ``work`` returns, which does all of it in a transaction; tried twice, for somebody else's lock may have made PostgreSQL refuse it.

        Raises as ``transaction``.
        """
        try:
            async with self.transaction() as connection:
                return await work(connection)
        except StoreUnavailable:
            if not self.up:
                raise
        async with self.transaction() as connection:
            return await work(connection)

    async def _acquire(self) -> Connection:
        try:
            return await self._pool.acquire(timeout=self._acquire_timeout_seconds)
        except TimeoutError as error:
            if self._pool.get_size() >= self._pool.get_max_size() and self._pool.get_idle_size() == 0 and self.up:
                self._doubt.set()
                raise StoreUnavailable(f"no database connection became free in {self._acquire_timeout_seconds:g} s") from error
            self._set_down(error)
            raise unreachable(error) from error
        except asyncpg.ClientConfigurationError:
            raise
        except _FAILURES as error:
            self._set_down(error)
            raise unreachable(error) from error

    async def _release(self, connection: Connection, clean: bool) -> None:
        try:
            await self._pool.release(connection, timeout=self._acquire_timeout_seconds)
        except _FAILURES as error:
            # The statements had their result already; the pool drops this connection.
            if clean:
                log.warning("a database connection was dropped: %s", error)
            self._doubt.set()

    async def _note(self, error: BaseException) -> None:
        cause = error.__cause__ if isinstance(error, StoreUnavailable) and error.__cause__ is not None else error
        if is_gone(cause) or isinstance(cause, TimeoutError):
            self._doubt.set()  # one connection lost is no outage: the probe finds out
        elif isinstance(cause, asyncpg.ReadOnlySQLTransactionError):
            # The server became a standby: connect anew, to the one that accepts writes.
            await self._pool.expire_connections()

    async def _watch(self) -> None:
        while True:
            self._doubt.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_UP_SECONDS if self.up else PROBE_DOWN_SECONDS):
                    await self._doubt.wait()
            with contextlib.suppress(StoreError):
                async with self.acquire() as connection:
                    asked = time.monotonic()
                    await connection.fetchval("select 1", timeout=self._acquire_timeout_seconds)
                    self.latency_seconds = time.monotonic() - asked

    def _set_up(self) -> None:
        if not self.up:
            log.info("the database is back after %.0f s", time.time() - self.since)
            self._set(True)

    def _set_down(self, error: BaseException) -> None:
        self.last_error = (str(error) or type(error).__name__).splitlines()[0]
        if self.up:
            log.error("the database is away: %s", self.last_error)
            self._set(False)

    def _set(self, up: bool) -> None:
        self.up, self.since = up, time.time()
        if not up:
            self._doubt.set()  # the probe goes over to its quicker step


@contextlib.asynccontextmanager
async def savepoint(connection: Connection) -> AsyncIterator[None]:
    """A part of a transaction that is undone by itself if it raises, with netd's own errors for the database's refusals."""
    await connection.execute("savepoint part")
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(*_FAILURES):
            await connection.execute("rollback to savepoint part; release savepoint part")
        raise_known(error)
        raise
    await connection.execute("release savepoint part")


def _begin(scope: Scope | None) -> str:
    """Begin a transaction and say for whom it acts, in one round trip."""
    return "begin" if scope is None else f"begin; {_acting_for(scope)}"


def _acting_for(scope: Scope) -> str:
    """Say for whom a transaction acts: numbers only, so they can stand in the text."""
    settings = {"tenant": int(scope.tenant_id), "sites": _sites(scope), "subscriber": "" if scope.subscriber_id is None else int(scope.subscriber_id)}
    return "select " + ", ".join(f"set_config('netd.{name}', '{value}', true)" for name, value in settings.items())


async def confine(connection: Connection, scope: Scope) -> None:
    """Let the rest of the transaction of an owner's connection act as TENANT_ROLE, for ``scope``."""
    await connection.execute(f'set local role "{TENANT_ROLE}"; {_acting_for(scope)}')


# Taken over from a request that is so old that its key counts for nothing; kept where it is this request's own, of an earlier transaction.
_ONCE = """
    insert into idempotency_keys (tenant_id, token_id, key, request_id, fingerprint) values ($1, $2, $3, $4, $5)
    on conflict (token_id, key) do update
        set request_id = excluded.request_id, fingerprint = excluded.fingerprint, status = null, headers = null, body = null, created_at = now()
        where idempotency_keys.request_id = excluded.request_id or idempotency_keys.created_at < now() - interval '24 hours'
    returning true
"""


async def _mark(connection: Connection, tenant_id: int, once: Once) -> None:
    """Note in this transaction that the request did its work. Raises Conflict if another one with the same key did, or is at it."""
    if not await connection.fetchval(_ONCE, tenant_id, once.token_id, once.key, once.request_id, once.fingerprint):
        raise Conflict("a request with this Idempotency-Key is being worked on, or was done just now")


def _sites(scope: Scope) -> str:
    return "*" if scope.sites is None else ",".join(str(int(site)) for site in sorted(scope.sites))


def _unusable(error: ValueError) -> ConfigError:
    # asyncpg tells what is wrong with a parameter; Python's own ValueError may quote a piece of the password (one with an unescaped / or #).
    known = isinstance(error, asyncpg.ClientConfigurationError) and "parameter" in str(error)
    return ConfigError("database", "url", str(error) if known else "is no usable URL (are /, @, : and # in the password written as %2F, %40, %3A, %23?)")


async def _as_it_is(_: Connection) -> None:
    """Give a connection back: one that is still in a transaction was rolled back by then, and netd sets nothing that outlives one. What asyncpg sends
    by default (RESET ALL and more) is a round trip for each use."""


async def _prepare(connection: Connection) -> None:
    # The binary form of jsonb is a version octet (1) and the text.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
    )
