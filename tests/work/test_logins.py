"""How log-ins stand, as /metrics shows it."""

from datetime import UTC, datetime, timedelta

from netd.config import LoginConfig
from netd.metrics import Metrics
from netd.store.database import Database
from netd.work.logins import LoginWatch

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def series(metrics: Metrics) -> dict[str, float]:
    page = metrics.render()[0].decode()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(("netd_user", "netd_login")))}


async def test_sessions_and_locks_are_counted(database: Database):
    metrics = Metrics("1")
    watch = LoginWatch(database, LoginConfig(idle_minutes=60), now=lambda: NOW)
    watch.register(metrics)
    assert series(metrics)["netd_user_sessions"] == 0
    async with database.acquire() as conn:
        user = await conn.fetchval("insert into users (tenant_id, name, created_by) values (1, 'ann', 'x') returning id")
        good, idle, over = (NOW + timedelta(hours=1), NOW), (NOW + timedelta(hours=1), NOW - timedelta(hours=2)), (NOW - timedelta(minutes=1), NOW)
        for number, (expires_at, last_used_at) in enumerate((good, good, idle, over, good)):
            await conn.execute(
                """insert into user_sessions (tenant_id, user_id, token_hash, method, network, created_at, last_used_at, expires_at, ended_at)
                   values (1, $1, $2, 'password', 'x', $3, $4, $5, $6)""",
                user, bytes([number]), NOW - timedelta(hours=3), last_used_at, expires_at, NOW if number == 4 else None,
            )  # fmt: skip
        for number, (kind, until) in enumerate((("user", 5), ("user", 1), ("address", 5), ("user", -1))):
            await conn.execute(
                "insert into login_failures (tenant_id, kind, key, failures, failed_at, locked_until) values (1, $1, $2, 9, $3, $4)",
                kind, bytes([number]), NOW, NOW + timedelta(minutes=until),
            )  # fmt: skip
    await watch.look()
    assert series(metrics) == {
        "netd_user_sessions": 2, 'netd_login_locks{kind="user"}': 2, 'netd_login_locks{kind="user_at_address"}': 0, 'netd_login_locks{kind="address"}': 1,
    }  # fmt: skip
