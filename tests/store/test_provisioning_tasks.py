"""Jobs as a view for other systems: the columns that they expect, and no more of it than the caller may see."""

from datetime import UTC, datetime

import asyncpg
import pytest

from netd.model.permission import Scope
from netd.store import devices, jobs, pools
from netd.store.database import confine

AT = datetime(2026, 11, 26, 8, 30, 5, tzinfo=UTC)
JOB = {
    "kind": "config.backup", "state": "queued", "idempotent": True, "max_attempts": 1, "timeout_seconds": 1.0, "created_by": "ann", "person": "user:1",
}  # fmt: skip


async def seen(connection: asyncpg.Connection, scope: Scope | None = None) -> list[dict[str, object]]:
    """What the view shows in a scope; None: the owner."""
    async with connection.transaction():
        if scope is not None:
            await connection.execute("set local role netd_tenant")
            await confine(connection, scope)
        return [dict(row) for row in await connection.fetch("select * from provisioning_tasks order by id")]


@pytest.fixture
async def tenant(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("select id from tenants where name = 'default'"))


@pytest.fixture
async def device(connection: asyncpg.Connection, tenant: int) -> int:
    return await devices.insert(connection, tenant, {"hostname": "Core1", "mgmt_address": "10.0.0.1", "vendor": "generic"})


async def test_its_columns(connection: asyncpg.Connection):
    found = await connection.fetch(
        "select column_name, data_type, udt_name from information_schema.columns where table_name = 'provisioning_tasks' order by ordinal_position"
    )
    assert [(row["column_name"], row["data_type"], row["udt_name"]) for row in found] == [
        ("id", "bigint", "int8"), ("playbook", "text", "text"), ("status", "text", "text"), ("started_at", "timestamp with time zone", "timestamptz"),
        ("finished_at", "timestamp with time zone", "timestamptz"), ("log", "text", "text"), ("initiated_by", "text", "text"),
        ("target_ids", "ARRAY", "_int8"),
    ]  # fmt: skip


async def test_a_job_with_its_log_and_its_devices(connection: asyncpg.Connection, tenant: int, device: int):
    begun = await jobs.insert(connection, tenant, {**JOB, "lock_keys": [f"device:{device}", "site:4"]}, "queued: by ann")
    await connection.execute("update jobs set attempt = 1 where id = $1", begun.id)
    for key in (f"device:{device}", "device:907", "onu:12"):
        await connection.execute("insert into job_targets (tenant_id, job_id, key, name) values ($1, $2, $3, 'x')", tenant, begun.id, key)
    await jobs.note(connection, tenant, begun.id, "two\nlines", type_="line", level="warning")
    await connection.execute("update job_log set at = $1, target = case when seq = 2 then 'Core1' end", AT)
    waits = await jobs.insert(connection, tenant, {**JOB, "args": {"playbook": "cpe_update.yml", "devices": ["core1", "gone"]}}, "queued: by ann")
    first, second = await seen(connection)
    assert first == {
        "id": begun.id, "playbook": "config.backup", "status": "queued", "started_at": None, "finished_at": None, "initiated_by": "ann",
        "log": "2026-11-26T08:30:05Z info queued: by ann\n2026-11-26T08:30:05Z warning Core1 two\nlines", "target_ids": [device, 907],
    }  # fmt: skip
    assert (second["id"], second["playbook"], second["target_ids"]) == (waits.id, "cpe_update.yml", [device])


async def test_nobody_sees_more_here_than_of_the_jobs_themselves(connection: asyncpg.Connection, tenant: int, device: int):
    oslo, bergen = [await pools.insert_site(connection, tenant, name) for name in ("oslo", "bergen")]
    other = await connection.fetchval("insert into tenants (name) values ('other') returning id")
    made = [(await jobs.insert(connection, tenant, {**JOB, "sites": sites}, "queued")).id for sites in ([oslo], [bergen], None)]
    await connection.execute("insert into job_targets (tenant_id, job_id, key, name) values ($1, $2, $3, 'x')", tenant, made[0], f"device:{device}")
    assert [row["id"] for row in await seen(connection, Scope(tenant, None))] == made
    (own,) = await seen(connection, Scope(tenant, frozenset((oslo,))))
    assert (own["id"], own["target_ids"], own["log"] != "") == (made[0], [device], True)
    for stranger in (Scope(other, None), Scope(tenant, frozenset((oslo + 1000,))), Scope(tenant, None, 5)):
        assert await seen(connection, stranger) == [], stranger
    async with connection.transaction():
        await connection.execute("set local role netd_tenant")
        assert await connection.fetch("select * from provisioning_tasks") == []  # nobody said for whom
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("delete from provisioning_tasks")
