"""Migrations: in order, once, and nothing changed behind the back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netd.errors import StoreError
from netd.store.database import Connection, connect
from netd.store.migrate import migrate, pending, read
from tests.conftest import PATIENCE_SECONDS

SQL = Path(__file__).resolve().parents[2] / "sql"


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[Connection]:
    opened = await connect(empty_dsn, PATIENCE_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("create table a (id int);\ninsert into a values (1);\n")
    (tmp_path / "0002_second.sql").write_text("alter table a add b int;\n")
    return tmp_path


async def test_applies_in_order_and_once(empty: Connection, folder: Path) -> None:
    assert await pending(empty, folder) == ["0001_first", "0002_second"]
    assert await migrate(empty, folder) == ["0001_first", "0002_second"]
    assert await migrate(empty, folder) == [] == await pending(empty, folder)
    (folder / "0003_third.sql").write_text("alter table a add c int")
    assert await pending(empty, folder) == ["0003_third"]
    assert await migrate(empty, folder) == ["0003_third"]
    rows = await empty.fetch("select version, name, length(checksum) n, netd_version from schema_migrations order by 1")
    assert [(row["version"], row["name"], row["n"]) for row in rows] == [(1, "0001_first", 64), (2, "0002_second", 64), (3, "0003_third", 64)]


async def test_a_changed_released_file_is_refused(empty: Connection, folder: Path) -> None:
    await migrate(empty, folder)
    (folder / "0001_first.sql").write_bytes((folder / "0001_first.sql").read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate(empty, folder) == [], "line ends do not matter"
    (folder / "0001_first.sql").write_text("create table a (id bigint);")
    for act in (migrate, pending):
        with pytest.raises(StoreError, match="0001_first was changed after it was applied"):
            await act(empty, folder)


async def test_a_newer_database_is_refused(empty: Connection, folder: Path) -> None:
    await migrate(empty, folder)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(StoreError, match=r"made by a newer netd \(.*0002_second"):
        await migrate(empty, folder)


async def test_a_hole_in_the_books_is_refused(empty: Connection, folder: Path) -> None:
    await migrate(empty, folder)
    await empty.execute("delete from schema_migrations where version = 1")
    with pytest.raises(StoreError, match="lacks migration 0001_first"):
        await migrate(empty, folder)


@pytest.mark.parametrize(("extra", "said"), [("0002_other.sql", "two migrations"), ("0004_gap.sql", "0003 is missing"), ("03_x.sql", "NNNN_name")])
def test_strange_folders_are_refused(folder: Path, extra: str, said: str) -> None:
    (folder / extra).write_text("select 1")
    with pytest.raises(StoreError, match=said):
        read(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no migrations"):
        read(tmp_path)


async def test_a_failing_file_leaves_nothing(empty: Connection, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("create table c (id int);\nselect 1/0;")
    with pytest.raises(StoreError, match="0003_third failed: division by zero"):
        await migrate(empty, folder)
    assert await empty.fetchval("select to_regclass('c')") is None
    assert await pending(empty, folder) == ["0003_third"]
    (folder / "0003_third.sql").write_text("commit; create table c (id int);")
    with pytest.raises(StoreError, match="ends its transaction itself"):
        await migrate(empty, folder)


async def test_two_nodes_at_once(empty_dsn: str, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("select pg_sleep(0.2)")
    nodes = [await connect(empty_dsn, PATIENCE_SECONDS) for _ in range(3)]
    try:
        applied = await asyncio.gather(*(migrate(node, folder) for node in nodes))
        assert sorted(map(len, applied)) == [0, 0, 3]
    finally:
        for node in nodes:
            await node.close()


async def test_an_old_server_is_refused(folder: Path) -> None:
    class Old:
        def get_server_version(self):
            return type("Version", (), {"major": 14})

    with pytest.raises(StoreError, match="PostgreSQL 14; netd needs 15"):
        await migrate(Old(), folder)


async def test_a_user_without_rights_is_told(empty: Connection, folder: Path) -> None:
    await empty.execute("revoke create on schema public from public; set role pg_monitor")
    with pytest.raises(StoreError, match="may not make tables"):
        await migrate(empty, folder)
    await empty.execute("reset role")


async def test_the_schema_applies_to_postgresql_15(external_postgres15: str) -> None:
    connection = await connect(external_postgres15, PATIENCE_SECONDS)
    try:
        assert connection.get_server_version().major == 15
        assert await migrate(connection, SQL) == [path.stem for path in sorted(SQL.glob("*.sql"))]
        assert await pending(connection, SQL) == []
    finally:
        await connection.close()
