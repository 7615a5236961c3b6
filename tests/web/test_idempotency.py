"""A POST that is sent again with its Idempotency-Key does its work once."""

import asyncio

import pytest

from netd.errors import StoreUnavailable
from netd.web.ratelimit import RateLimit
from tests.web.running import Api, running

PLAN = {"name": "home", "down_bps": 1_000_000, "up_bps": 1_000_000}
KEY = {"Idempotency-Key": "one"}


async def plans(api: Api) -> list[str]:
    return [each["name"] for each in (await api.get("/plans")).value["items"]]


async def test_the_same_request_is_answered_as_before(api: Api):
    first = await api.post("/plans", PLAN, headers=KEY)
    again = await api.post("/plans", PLAN, headers=KEY)
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert again.headers["location"] == first.headers["location"]
    assert await plans(api) == ["home"]
    assert (await api.get("/audit?action=plan.create&count=true")).value["total"] == 1


async def test_a_key_is_of_one_request(api: Api):
    await api.post("/plans", PLAN, headers=KEY)
    other = await api.post("/plans", {**PLAN, "name": "other"}, headers=KEY)
    assert other.status == 422
    assert (await api.post("/sites", PLAN, headers=KEY)).status == 422
    assert await plans(api) == ["home"]


async def test_keys_of_two_tokens_are_two(api: Api):
    await api.post("/plans", PLAN, headers=KEY)
    assert (await api.post("/plans", {**PLAN, "name": "other"}, headers=KEY, role="operator")).status == 201


async def test_a_refused_request_may_be_corrected(api: Api):
    assert (await api.post("/plans", {**PLAN, "down_bps": 1}, headers=KEY)).status == 422
    assert (await api.post("/plans", PLAN, headers=KEY)).status == 201
    assert (await api.post("/plans", PLAN, headers={"Idempotency-Key": "two"})).status == 409
    assert (await api.post("/plans", {**PLAN, "name": "other"}, headers={"Idempotency-Key": "two"})).status == 201


async def test_many_at_once_do_it_once(api: Api):
    subscriber = {"username": "alice", "plan": "home"}
    await api.post("/plans", PLAN)
    answers = await asyncio.gather(*(api.post("/subscribers", subscriber, headers=KEY) for _ in range(20)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert sum(answer.status == 201 and "idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert (await api.post("/subscribers", subscriber, headers=KEY)).headers["idempotent-replayed"] == "true"
    assert (await api.get("/subscribers?count=true")).value["total"] == 1


async def test_a_client_that_repeats_its_request_id_too_is_no_exception(api: Api, database):
    """As HTTP libraries do when they try again: the first is still at work, held up by another's change of the audit log."""
    await api.post("/plans", PLAN)
    headers = {**KEY, "X-Request-ID": "once-more"}
    async with database.acquire() as conn:
        held = conn.transaction()
        await held.start()
        await conn.execute("select from audit_heads for update")
        tries = [asyncio.create_task(api.post("/tokens", {"name": "t", "role": "read_only"}, headers=headers)) for _ in range(3)]
        async with asyncio.timeout(60):
            while await conn.fetchval("select count(*) from pg_locks where not granted") < 3:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
        await held.rollback()
    answers = await asyncio.gather(*tries)
    assert sum(answer.status == 201 and "idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert [each["name"] for each in (await api.get("/tokens")).value["items"]].count("t") == 1


async def test_what_is_shown_on_the_record_is_not_shown_again_off_it(api: Api):
    await api.post("/plans", PLAN)
    alice = (await api.post("/subscribers", {"username": "alice", "password": "wonderland", "plan": "home"})).value["id"]
    for _ in range(2):
        assert (await api.post(f"/subscribers/{alice}/reveal", headers=KEY)).value["password"] == "wonderland"
    assert len((await api.get("/audit?action=subscriber.reveal")).value["items"]) == 2


async def test_a_lost_answer_is_told_not_repeated(api: Api, database, monkeypatch):
    """The process dies between the commit and the keeping of the answer: then it is known that the work was done, not what was answered."""

    async def dies(*_args, **_more):
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr("netd.web.api.idempotency.store.answered", dies)
        assert (await api.post("/plans", PLAN, headers=KEY)).status == 503
    assert await plans(api) == ["home"]
    again = await api.post("/plans", PLAN, headers=KEY)
    assert (again.status, again.headers["retry-after"]) == (409, "1")
    async with database.acquire() as conn:
        await conn.execute("update idempotency_keys set created_at = now() - interval '5 minutes'")
    again = await api.post("/plans", PLAN, headers=KEY)
    assert (again.status, "its answer was lost" in again.value["detail"]) == (409, True)
    assert await plans(api) == ["home"]


async def test_a_key_ends_after_a_day(api: Api, database):
    await api.post("/plans", PLAN, headers=KEY)
    async with database.acquire() as conn:
        await conn.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    assert (await api.post("/plans", {**PLAN, "name": "next"}, headers=KEY)).status == 201


async def test_a_kept_answer_shows_no_secret(api: Api, database):
    made = await api.post("/tokens", {"name": "x", "role": "read_only"}, headers=KEY)
    again = await api.post("/tokens", {"name": "x", "role": "read_only"}, headers=KEY)
    assert again.value["text"] == made.value["text"]
    async with database.acquire() as conn:
        kept = str([dict(row) for row in await conn.fetch("select * from idempotency_keys")])
    assert made.value["text"].split("_", 2)[2] not in kept


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
async def test_what_is_no_key(api: Api, key):
    answer = await api.post("/plans", PLAN, headers={"Idempotency-Key": key})
    assert answer.status == 422


class TestRateLimit:
    def test_a_burst_then_a_steady_rate(self):
        limit = RateLimit(2, 3)
        assert [limit.wait_seconds(1, 10.0) for _ in range(4)] == [0, 0, 0, 1]
        assert limit.wait_seconds(2, 10.0) == 0
        assert [limit.wait_seconds(1, 10.5), limit.wait_seconds(1, 10.5)] == [0, 1]
        assert [limit.wait_seconds(1, 100.0) for _ in range(4)] == [0, 0, 0, 1]
        assert limit.refused == 3

    def test_no_limit(self):
        limit = RateLimit(0, 1)
        assert not any(limit.wait_seconds(1, 0.0) for _ in range(100))

    def test_memory_is_bounded(self):
        limit = RateLimit(1, 1)
        for caller in range(30_000):
            limit.wait_seconds(caller, caller * 0.001)
        assert len(limit._buckets) <= 10_001

    async def test_over_http(self, database, tmp_path):
        async with running(database, tmp_path, RateLimit(0.001, 2)) as api:
            answers = [await api.get("/plans") for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 429]
            assert 900 < int(answers[2].headers["retry-after"]) <= 1000
            assert answers[2].value["type"] == "/problems/too-many-requests"
            assert (await api.get("/plans", role="operator")).status == 200
