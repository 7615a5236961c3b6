"""Months of radacct: made ahead, filled from the default partition, detached; old rows deleted in batches."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from netd.errors import StoreUnavailable
from netd.store.database import Connection, Database, connect
from netd.store.partitions import Month, ensure, prune, retire
from netd.store.translate import translating
from tests.conftest import PATIENCE_SECONDS

TODAY = date(2026, 1, 15)


async def record(connection: Connection, started: datetime, number: int) -> None:
    await connection.execute(
        "insert into radacct (radacctid, tenant_id, acctuniqueid, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime,"
        " acctupdatetime, acctstoptime, acctterminatecause, interim_seconds, closed_by)"
        " values ($1, 1, $1::bigint::text, 's', 'u', '10.0.0.1', '10.0.0.1', $2, $2, $2, 'User-Request', 300, 'stop')",
        number,
        started,
    )


async def where(connection: Connection) -> dict[int, str]:
    return {row["radacctid"]: row["t"] for row in await connection.fetch("select radacctid, tableoid::regclass::text t from radacct")}


def test_months() -> None:
    assert Month.of(TODAY).plus(-1) == Month(2025, 12)
    assert Month(2025, 12).plus(1) == Month(2026, 1)
    assert Month(2026, 1).plus(-25) == Month(2023, 12)
    assert Month(2026, 1).start == datetime(2026, 1, 1, tzinfo=UTC)


async def test_ensure_is_idempotent_and_bounds_are_utc(connection: Connection) -> None:
    await connection.execute("set timezone = 'Pacific/Auckland'")
    assert await ensure(connection, TODAY) == ["radacct_202512", "radacct_202601", "radacct_202602", "radacct_202603"]
    assert await ensure(connection, TODAY) == []
    await record(connection, datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), 1)
    await record(connection, datetime(2026, 1, 1, tzinfo=UTC), 2)
    await record(connection, datetime(2027, 1, 1, tzinfo=UTC), 3)
    assert await where(connection) == {1: "radacct_202512", 2: "radacct_202601", 3: "radacct_default"}


async def test_rows_in_the_default_partition_move(connection: Connection) -> None:
    for number in range(20):
        await record(connection, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number * 2), number)
    await ensure(connection, TODAY, months_ahead=0)
    found = await where(connection)
    assert [found[number] for number in (0, 15, 16)] == ["radacct_202601", "radacct_202601", "radacct_default"]
    assert len(found) == 20
    names = {row["indexdef"].split(" USING ")[1] for row in await connection.fetch("select indexdef from pg_indexes where tablename = 'radacct_202601'")}
    assert "btree (subscriber_id, acctstarttime)" in names


async def test_ensure_beside_a_writer_and_another_node(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No insert fails while two nodes make the same partitions."""
    monkeypatch.setattr("netd.store.partitions.LOCK_TIMEOUT", "60s")  # each waits for what the other needs several turns of this loop for
    writer, first, second = [await connect(dsn, PATIENCE_SECONDS) for _ in range(3)]
    try:

        async def write() -> None:
            for number in range(300):
                await record(writer, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number * 8), number)

        made = await asyncio.gather(write(), ensure(first, TODAY), ensure(second, TODAY))
        assert sorted(made[1] + made[2]) == ["radacct_202512", "radacct_202601", "radacct_202602", "radacct_202603"]
        found = await where(writer)
        assert len(found) == 300 and found[299] == "radacct_default" and found[0] == "radacct_202601"
    finally:
        for one in (writer, first, second):
            await one.close()


async def test_retire_keeps_the_months_asked_for(connection: Connection) -> None:
    for month in (Month(2025, 9), Month(2025, 10), Month(2025, 11)):
        await ensure(connection, month.start.date(), months_ahead=0)
    await record(connection, datetime(2025, 10, 5, tzinfo=UTC), 1)
    await record(connection, datetime(1970, 1, 1, tzinfo=UTC), 2)
    await record(connection, datetime(2025, 11, 5, tzinfo=UTC), 3)
    detached = await retire(connection, TODAY, 2)
    assert detached == ["radacct_197001_detached", "radacct_202508_detached", "radacct_202509_detached", "radacct_202510_detached"]
    assert await where(connection) == {3: "radacct_202511"}
    assert await connection.fetchval("select count(*) from radacct_202510_detached") == 1
    assert await connection.fetchval("select count(*) from pg_constraint where conrelid = 'radacct_202510_detached'::regclass and contype = 'f'") == 0
    assert await retire(connection, TODAY, 2) == []
    await record(connection, datetime(1970, 1, 2, tzinfo=UTC), 4)
    assert await retire(connection, TODAY, 2) == ["radacct_197001_detached_2"]


async def test_retire_drops(connection: Connection) -> None:
    await ensure(connection, date(2025, 1, 1), months_ahead=0)
    assert await retire(connection, TODAY, 12, drop=True) == ["radacct_202412"]
    assert await connection.fetchval("select count(*) from pg_class where relname like 'radacct_202412%'") == 0


async def test_a_report_in_progress_makes_it_wait_no_longer_than_the_lock_timeout(
    dsn: str,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("netd.store.partitions.LOCK_TIMEOUT", "100ms")
    report = await connect(dsn, PATIENCE_SECONDS)
    try:
        async with report.transaction():
            await report.fetch("select * from radacct")
            with pytest.raises(StoreUnavailable), translating():
                await ensure(connection, TODAY)
    finally:
        await report.close()
    assert len(await ensure(connection, TODAY)) == 4


async def test_prune_deletes_the_old_only_and_in_batches(database: Database) -> None:
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)
    async with database.transaction() as connection:
        await connection.execute("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'p', 1, 1)")
        await connection.execute("insert into subscribers (tenant_id, username, username_key, plan_id) values (1, 'u', 'u', 1)")
        await connection.execute(
            "insert into radpostauth (tenant_id, username, username_key, reply, reason, authdate)"
            " select 1, 'u', 'u', 'Access-Reject', 'locked', $1::timestamptz - i * interval '1 day' from generate_series(0, 99) i",
            now,
        )
        await connection.execute("insert into plan_quotas (tenant_id, plan_id, name, unit, period, amount) values (1, 1, 'q', 'time', 'day', 1)")
        await connection.execute(
            """insert into quota_usage (tenant_id, subscriber_id, quota_id, starts_at, ends_at, amount)
               select 1, 1, 1, $1::timestamptz - i * interval '1 day', $1::timestamptz - i * interval '1 day' + interval '2 hours', 1
               from generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute(
            """insert into quota_events (tenant_id, subscriber_id, quota_id, starts_at, percent, action, used, allowance, at)
               select 1, 1, 1, $1::timestamptz - i * interval '1 day', 80, 'notify', 1, 1, $1::timestamptz - i * interval '1 day'
               from generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute(
            """insert into api_tokens (tenant_id, public_id, token_hash, name, role, created_by, expires_at, subscriber_id)
               select 1, repeat(chr(97 + i), 12), sha256(i::text::bytea), 'x', 'self_service', 'portal',
                   $1::timestamptz - (i - 2) * interval '3 days', case when i % 2 = 1 then 1 end
               from generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute("delete from changes")
        await connection.execute("insert into usage_daily (tenant_id, subscriber_id, day) select 1, 1, $1::date - i from generate_series(0, 9) i", now.date())
        await connection.execute(
            "insert into changes (at, entity, entity_id) select $1::timestamptz - i * interval '12 hours', 'plan', 1 from generate_series(0, 9) i", now
        )
        await connection.execute(
            """insert into events (tenant_id, type, object_type, object_id, at)
               select 1, 'plan.created', 'plan', '1', $1::timestamptz - i * interval '1 day' from generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute(
            """with hook as (insert into webhooks (tenant_id, name, url, secrets, created_by) values (1, 'w', 'https://x/', '', 't') returning id)
               insert into webhook_deliveries (tenant_id, webhook_id, delivery_id, event_type, at, attempt, delivered, seconds)
               select 1, hook.id, i::text, 'plan.created', $1::timestamptz - i * interval '1 day', 1, true, 0 from hook, generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute(
            """with hook as (insert into billing_hooks (tenant_id, public_id, name, secrets, created_by) values (1, 'p', 'b', '', 't') returning id)
               insert into billing_notices (tenant_id, hook_id, notice_id, fingerprint, at)
               select 1, hook.id, i::text, '', $1::timestamptz - i * interval '6 days' from hook, generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute(
            """insert into jobs (tenant_id, kind, state, idempotent, max_attempts, timeout_seconds, created_by, person, finished_at)
               select 1, 'k', 'failed', true, 1, 1, 't', 'p', $1::timestamptz - i * interval '1 day' from generate_series(0, 9) i""", now,
        )  # fmt: skip
        await connection.execute(
            """insert into jobs (tenant_id, kind, state, idempotent, max_attempts, timeout_seconds, created_by, person, created_at)
               values (1, 'k', 'queued', true, 1, 1, 't', 'p', '2020-01-01')"""
        )
        await connection.execute("insert into job_file_parts (tenant_id, job_id, fence, number, data) select 1, id, 1, 0, '' from jobs")
        await connection.execute("insert into job_log (tenant_id, job_id, seq, type, level, attempt, text) select 1, id, 1, 'line', 'info', 1, '' from jobs")
        token = await connection.fetchval(
            "insert into api_tokens (tenant_id, public_id, name, role, token_hash, created_by) values (1, 'tttttttttttt', 't', 'admin', '', 't') returning id"
        )
        await connection.execute(
            """insert into idempotency_keys (tenant_id, token_id, key, request_id, fingerprint, created_at)
               select 1, $1, i::text, 'r', '', $2::timestamptz - i * interval '6 hours' from generate_series(0, 9) i""", token, now,
        )  # fmt: skip
    async with database.acquire() as connection:
        deleted = {
            "radpostauth": 9, "usage_daily": 5, "quota_usage": 5, "quota_events": 5, "changes": 7, "idempotency_keys": 5, "events": 6, "webhook_deliveries": 6,
            "billing_notices": 4,
            "api_tokens": 3,
            "job_log": 6,
            "job_file_parts": 6,
            "jobs": 6,
        }  # fmt: skip
        assert await prune(connection, now, radpostauth_days=90, usage_days=4, events_days=3, jobs_days=3, batch_rows=3) == deleted
        assert await prune(connection, now, radpostauth_days=90, usage_days=4, events_days=3, jobs_days=3) == dict.fromkeys(deleted, 0)
        assert await connection.fetchval("select min(authdate) from radpostauth") == now - timedelta(days=90)


async def test_inserting_through_the_parent_still_checks(connection: Connection) -> None:
    await ensure(connection, TODAY)
    await record(connection, datetime(2026, 1, 2, tzinfo=UTC), 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await record(connection, datetime(2026, 1, 2, tzinfo=UTC), 1)
