"""Subscribers by the hundred thousand, put into netd's database by COPY: what is measured is the engine, not the import."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from netd.keyring import Keyring
from netd.share import share
from netd.store import partitions
from netd.store.database import Target, connect
from netd.store.migrate import migrate
from tests.bench import packets

_COLUMNS: Final = ("tenant_id", "username", "username_key", "password", "plan_id")


def _rows(keyring: Keyring, tenant_id: int, plan_id: int, first: int, last: int) -> Iterator[tuple[Any, ...]]:
    for number in range(first, last):
        name = packets.username(number)
        yield tenant_id, name, name, keyring.seal(packets.password(number).encode(), b"subscribers.password"), plan_id


async def put(target: Target, keyring: Keyring, first: int, last: int) -> None:
    """Migrate a database if need be, and put plan, NAS and subscribers ``first`` to ``last`` (exclusive) into it. No daemon may be running on it."""
    conn = await connect(target)
    try:
        await migrate(conn, share("sql"))
        await partitions.ensure(conn, datetime.now(UTC).date())
        tenant_id = await conn.fetchval("select id from tenants where name = 'default'")
        plan_id = await conn.fetchval("select id from plans where name = 'home'")
        if plan_id is None:
            plan_id = await conn.fetchval(
                "insert into plans (tenant_id, name, down_bps, up_bps) values ($1, 'home', 100000000, 20000000) returning id", tenant_id
            )
            secret = keyring.seal(packets.SECRET, b"nas.secret")
            await conn.execute(
                "insert into nas (tenant_id, nasname, shortname, type, secret) values ($1, '127.0.0.1/32', 'bench', 'mikrotik', $2)", tenant_id, secret
            )
        await conn.execute("set session_replication_role = replica")  # nobody reads the change feed yet
        await conn.copy_records_to_table("subscribers", records=_rows(keyring, tenant_id, plan_id, first, last), columns=_COLUMNS)
    finally:
        await conn.close()


def populate(url: str, data_dir: Path, first: int, last: int) -> None:
    """Migrate the database if need be, and put plan, NAS and subscribers ``first`` to ``last`` (exclusive) into it, under the keys of ``data_dir``.

    No daemon may be running on it: it would not be told.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(put(url, Keyring.load_or_create(data_dir / "secret.key"), first, last))
