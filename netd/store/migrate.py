"""Schema migrations: numbered SQL files, applied once each, forward only."""

import hashlib
import logging
import re
from pathlib import Path

import asyncpg
import msgspec

import netd
from netd.errors import StoreError
from netd.store.database import Connection
from netd.store.translate import is_gone, translating

log = logging.getLogger(__name__)

OLDEST_SERVER = 15
LOCK_KEY = 0x6E657464  # "netd": one migration at a time in a database, also between nodes
PATIENCE_SECONDS = 3600.0  # a migration of large tables takes its time; statement timeouts of the pool do not apply

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_BOOKS = """
    create table if not exists schema_migrations (
        version      integer primary key,
        name         text not null,
        checksum     text not null,
        applied_at   timestamptz not null default now(),
        netd_version text not null
    )
"""


class Migration(msgspec.Struct, frozen=True):
    """One file: ``name`` is the file's without ``.sql``; ``checksum`` is the SHA-256 of its text with LF line ends."""

    version: int
    name: str
    text: str
    checksum: str


def read(folder: Path) -> list[Migration]:
    """The migrations in ``folder`` (NNNN_name.sql), in order. Raises StoreError for a gap, a duplicate or a strange name."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise StoreError(f"{path}: a migration is named NNNN_name.sql")
        text = path.read_bytes().replace(b"\r\n", b"\n").decode()
        found.append(Migration(int(match[1]), path.stem, text, hashlib.sha256(text.encode()).hexdigest()))
    for place, migration in enumerate(found, start=1):
        if migration.version < place:
            raise StoreError(f"{folder}: two migrations have the number {migration.version:04}")
        if migration.version > place:
            raise StoreError(f"{folder}: migration {place:04} is missing")
    if not found:
        raise StoreError(f"{folder} holds no migrations")
    return found


async def migrate(connection: Connection, folder: Path) -> list[str]:
    """Apply what is not yet applied, each file in a transaction of its own; returns the names applied now.

    Safe to run from several nodes at once. Raises StoreError if the server is older than 15, a released file was changed, or the
    database was made by a newer netd; a file that fails leaves the database as it was before that file.
    """
    _check_server(connection)
    wanted = read(folder)
    with translating():
        await connection.execute("select pg_advisory_lock($1)", LOCK_KEY, timeout=PATIENCE_SECONDS)
        try:
            await connection.execute(_BOOKS)
            return [await _apply(connection, migration) for migration in await _missing(connection, wanted)]
        except asyncpg.InsufficientPrivilegeError as error:
            # A migration that needs more than the database's ownership says itself what to do.
            told = str(error) if "as a superuser:" in str(error) else f"the database user may not make tables: {error}; it should own the database"
            raise StoreError(told) from error
        finally:
            if not connection.is_closed():
                await connection.execute("select pg_advisory_unlock($1)", LOCK_KEY)


async def pending(connection: Connection, folder: Path) -> list[str]:
    """The names of the migrations that :func:`migrate` would apply. Raises StoreError where it would."""
    _check_server(connection)
    wanted = read(folder)
    with translating():
        if await connection.fetchval("select to_regclass('schema_migrations') is null"):
            return [migration.name for migration in wanted]
        return [migration.name for migration in await _missing(connection, wanted)]


def _check_server(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        raise StoreError(f"the server is PostgreSQL {version.major}; netd needs {OLDEST_SERVER} or newer")


async def _missing(connection: Connection, wanted: list[Migration]) -> list[Migration]:
    applied = {row["version"]: row for row in await connection.fetch("select version, name, checksum, netd_version from schema_migrations order by version")}
    newest = max(applied, default=0)
    if newest > len(wanted):
        raise StoreError(
            f"the database was made by a newer netd ({applied[newest]['netd_version']}, migration {applied[newest]['name']}); this is {netd.__version__}"
        )
    for migration in wanted[:newest]:
        row = applied.get(migration.version)
        if row is None:
            raise StoreError(f"the database lacks migration {migration.name}, but has later ones")
        if row["checksum"] != migration.checksum:
            raise StoreError(f"migration {migration.name} was changed after it was applied (as {row['name']}, by netd {row['netd_version']})")
    return wanted[newest:]


async def _apply(connection: Connection, migration: Migration) -> str:
    try:
        async with connection.transaction():
            await connection.execute(migration.text, timeout=PATIENCE_SECONDS)
            if not connection.is_in_transaction():
                raise StoreError(f"migration {migration.name} ends its transaction itself")
            await connection.execute(
                "insert into schema_migrations (version, name, checksum, netd_version) values ($1, $2, $3, $4)",
                migration.version,
                migration.name,
                migration.checksum,
                netd.__version__,
            )
    except asyncpg.PostgresError as error:
        if is_gone(error) or isinstance(error, asyncpg.InsufficientPrivilegeError):
            raise
        raise StoreError(f"migration {migration.name} failed: {error}") from error
    log.info("applied migration %s", migration.name)
    return migration.name
