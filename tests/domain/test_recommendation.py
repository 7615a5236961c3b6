"""Which version is the newer, and which is recommended for a model."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netd.domain import recommendation, versions
from netd.domain.actor import Actor, system
from netd.domain.recommendation import RecommendationQuery, judged
from netd.model.configuration import VersionCount
from netd.store.database import Connection, Database
from netd.store.software import Fleet

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ORDERS = {
    "mikrotik": ["6.49.17", "7.9", "7.9.2", "7.16beta4", "7.16rc1", "7.16rc3", "7.16", "7.16.1", "7.16.2", "7.17beta2", "7.17"],
    "vrp": ["V200R019C10SPC500", "V800R011C00", "V800R011C00SPC100", "V800R011C00SPC200", "V800R011C10", "V800R021C00SPC100"],
    "smartax": ["MA5800V100R018C00", "MA5800V100R018C10", "MA5800V100R019C00"],
    "sros": ["C-20.10.R5", "B-20.10.R12", "C-23.3.R1", "C-23.10.R1", "C-23.10.R2", "C-23.10.R10"],
    "srlinux": ["v22.11.2", "v23.3.1-343-gab924f2e64", "v23.10.1-218-ga3fc1bea5a"],
    "isam": ["R5.7", "R6.2.03", "R6.2.04", "R6.2.04m"],
    "zxan": ["V1.2.5", "V1.2.5P2", "V1.2.5P3", "V2.1.0"],
    "ios": ["12.2(58)SE2", "15.2(4)M6", "15.2(7)E3", "15.2(7)E10", "16.12.4", "17.9.4", "17.9.4a", "17.9.5", "17.12.1"],
    "frr": ["8.4.4", "10.0-dev", "10.0", "10.0.1"],
    "linux": ["5.10.0-28-amd64", "6.1.0-9-amd64", "6.1.0-28-amd64"],
}


@pytest.mark.parametrize("platform", ORDERS)
def test_the_order_of_versions(platform):
    mixed = random.Random(platform).sample(ORDERS[platform], len(ORDERS[platform]))
    assert sorted(mixed, key=versions.order) == ORDERS[platform]


def test_a_channel_is_no_version_and_odd_texts_have_an_order_too():
    assert versions.order("7.16.2 (stable)") == versions.order("7.16.2") == versions.order("v7.16.2 long-term")
    assert versions.order("") < versions.order("7") and versions.order("unknown") < versions.order("0.1")


def fleet(*rows: tuple[str | None, int, int]) -> list[Fleet]:
    return [Fleet("mikrotik_routeros", "CCR", version, devices, steady, NOW - timedelta(days=40, hours=3)) for version, devices, steady in rows]


@pytest.mark.parametrize(
    ("rows", "version", "reason"),
    [
        ([("7.9", 9, 9), ("7.16.2", 31, 31), (None, 5, 0)], "7.16.2",
         "31 of 45 run 7.16.2, all of them without a restart or major alarm in 30 days, the newest since 40 days"),
        ([("7.16.2", 31, 28), ("7.17", 13, 1), ("7.18rc1", 1, 0)], "7.16.2",
         "31 of 45 run 7.16.2, 28 of them without a restart or major alarm in 30 days, the newest since 40 days; "
         "14 run something newer, on too few, not for long enough, or not released yet"),
        ([("7.9", 9, 9), ("7.16rc2", 9, 9)], "7.9",
         "9 of 18 run 7.9, all of them without a restart or major alarm in 30 days, the newest since 40 days; "
         "9 run something newer, on too few, not for long enough, or not released yet"),
        ([("7.9", 9, 9), ("7.16.2", 1, 1)], "7.9",
         "9 of 10 run 7.9, all of them without a restart or major alarm in 30 days, the newest since 40 days; "
         "1 runs something newer, on too few, not for long enough, or not released yet"),
        ([("7.9", 10, 1), (None, 30, 30)], None, "no version runs on 8 of 40 for 30 days without a restart or major alarm"),
        ([("7.9", 1, 1)], None, "there is one device of the model only"),
    ],
)  # fmt: skip
def test_the_verdict(rows, version, reason):
    found = judged("mikrotik_routeros", "CCR", fleet(*rows), RecommendationQuery(), NOW)
    assert (found.software_version, found.reason, found.devices) == (version, reason, sum(row[1] for row in rows))
    assert found.versions[-1].software_version is None or None not in {each.software_version for each in found.versions}


async def runs(conn: Connection, name: str, version: str, days: float, **columns: Any) -> int:
    told = {"value": version, "source": "snmp", "at": (NOW - timedelta(days=days)).isoformat()}
    values = {"hostname": name, "mgmt_address": "192.0.2.1", "vendor": "mikrotik", "tenant_id": 1, "platform": "mikrotik_routeros", "model": "CCR",
              "observed": {"software_version": told}, **columns}  # fmt: skip
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    return int(await conn.fetchval(f"insert into devices ({', '.join(values)}) values ({places}) returning id", *values.values()))


async def restart(conn: Connection, device: int, days: float) -> None:
    await conn.execute(
        "insert into device_facts (tenant_id, device_id, at, fact, source) values (1, $1, $2, 'running_since', 'snmp')", device, NOW - timedelta(days=days)
    )


async def alarm(conn: Connection, device: int, severity: str, days: float, until: float | None) -> None:
    await conn.execute(
        "insert into alarms (tenant_id, device_id, name, severity, state, raised_at, cleared_at) values (1, $1, 'x', $2, $3, $4, $5)", device, severity,
        "raised" if until is None else "cleared", NOW - timedelta(days=days), None if until is None else NOW - timedelta(days=until),
    )  # fmt: skip


async def ask(database: Database, actor: Actor, **query: Any) -> list[Any]:
    return list((await recommendation.recommend(database, actor, RecommendationQuery(**query), NOW)).items)


async def test_who_runs_it_steadily(database: Database, actor: Actor, stranger: Actor):
    async with database.acquire() as conn:
        calm = await runs(conn, "calm", "7.16", 41)
        await restart(conn, calm, 40.99)  # the upgrade itself
        await alarm(conn, calm, "critical", 60, 31)
        await alarm(conn, calm, "warning", 5, None)
        for name, days in (("new", 29.0), ("also-calm", 31.0)):
            await runs(conn, name, "7.16", days)
        await restart(conn, await runs(conn, "restarted", "7.16", 90), 3)
        await alarm(conn, await runs(conn, "alarmed", "7.16", 90), "major", 9, 8)
        await alarm(conn, await runs(conn, "long", "7.16", 90), "critical", 80, None)
        await runs(conn, "unwatched", "7.16", 90, polling=False)
        await runs(conn, "old", "7.9", 400, state="maintenance")
        await runs(conn, "gone", "7.9", 400, state="retired")
        await conn.execute("update devices set observed = '{}', software_version = '7.9' where hostname = 'old'")
        await runs(conn, "other", "7.16", 400, model="hAP")
        await runs(conn, "unknown", "7.16", 400, model=None)
    one, other = await ask(database, actor)
    assert (one.model, one.software_version, one.devices) == ("CCR", "7.16", 8)
    assert one.versions == (VersionCount(software_version="7.16", devices=7, steady=2), VersionCount(software_version="7.9", devices=1, steady=0))
    assert one.reason.endswith("2 of them without a restart or major alarm in 30 days, the newest since 31 days")
    assert (other.model, other.software_version, other.reason) == ("hAP", None, "there is one device of the model only")
    assert (await ask(database, actor, percent=50))[0].software_version is None
    assert (await ask(database, actor, days=2, model="ccr"))[0].versions[0].steady == 5  # only what still stands, and who is not polled, is not
    assert await ask(database, stranger) == [] and await ask(database, actor, platform="huawei_vrp") == []
    assert len(await ask(database, system(1))) == 2
    async with database.acquire() as conn:
        await conn.execute(
            "insert into software_targets (tenant_id, platform, model, software_version, reason) values (1, 'mikrotik_routeros', 'ccr', '7.9', 'x')"
        )
    assert [each.model for each in await ask(database, actor)] == ["hAP"]
