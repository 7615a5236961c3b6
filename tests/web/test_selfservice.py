"""A subscriber's own account, through a token that a customer portal was given for it."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

from netd.domain import subscribers
from netd.model.control import ControlResult
from netd.store.database import Database
from netd.web.ratelimit import RateLimit
from tests.web.running import Answer, Api, running
from tests.web.test_resources import open_session

NEW = "a much longer secret"


class Own:
    """A subscriber with a session, and a client that calls with its token."""

    def __init__(self, api: Api, subscriber_id: int, session_id: int, token: dict[str, Any]) -> None:
        self.api = api
        self.id = subscriber_id
        self.session_id = session_id
        self.token = token
        self.headers = {"Authorization": f"Bearer {token['text']}"}

    async def get(self, path: str) -> Answer:
        return await self.api.get(path, role=None, headers=self.headers)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.api.post(path, body, role=None, headers=self.headers)


async def portal(api: Api) -> dict[str, str]:
    """The headers of a customer portal."""
    made = await api.post("/tokens", {"name": "portal", "role": "customer_portal"})
    return {"Authorization": f"Bearer {made.value['text']}"}


async def own(api: Api, database: Database, username: str = "alice", **wanted: Any) -> Own:
    await api.post("/plans", {"name": "home", "down_bps": 100_000_000, "up_bps": 20_000_000})
    new = {"username": username, "password": "wonderland", "plan": "home", "full_name": "Alice L", "note": "pays late"}
    made = (await api.post("/subscribers", new)).value["id"]
    session = await open_session(database, username, f"{made:032x}")
    async with database.acquire() as conn:
        await conn.execute("update sessions set subscriber_id = $1 where radacctid = $2", made, session)
    token = await api.post("/portal-tokens", {"subscriber": username, **wanted}, role=None, headers=await portal(api))
    assert token.status == 201, token.value
    return Own(api, made, session, token.value)


async def test_a_portal_gets_a_token_that_is_short_lived_scoped_hashed_and_on_record(api: Api, database: Database):
    before = datetime.now(UTC)
    alice = await own(api, database)
    token = alice.token["token"]
    assert (token["role"], token["subscriber_id"], token["created_by"]) == ("self_service", alice.id, "portal")
    assert token["permissions"] == ["me:disconnect", "me:password", "me:read"]
    assert before <= datetime.fromisoformat(token["expires_at"]) - timedelta(seconds=900) <= datetime.now(UTC)
    async with database.acquire() as conn:
        kept = await conn.fetchval("select to_jsonb(t)::text from api_tokens t where id = $1", token["id"])
        assert alice.token["text"].split("_", 2)[2] not in kept
        row = await conn.fetchrow("select actor, action from audit_log where object_type = 'token' and object_id = $1", str(token["id"]))
    assert tuple(row) == ("portal", "token.create")


async def test_the_own_account_tells_nothing_of_the_providers_notes(api: Api, database: Database):
    alice = await own(api, database)
    await api.post(f"/subscribers/{alice.id}/locks", {"reason": "overdue", "mode": "walled", "note": "third reminder"})
    shown = (await alice.get("/self")).value
    assert shown["plan"] == {"name": "home", "down_bps": 100_000_000, "up_bps": 20_000_000, "max_sessions": 0}
    assert shown["locks"] == [{"reason": "overdue", "mode": "walled", "until_at": None}]
    assert (shown["username"], shown["full_name"], shown["state"]) == ("alice", "Alice L", "active")
    assert shown["permissions"] == ["me:disconnect", "me:password", "me:read"]
    assert "pays late" not in str(shown)
    assert "reminder" not in str(shown)


async def test_sessions_come_in_pages_and_are_the_own_ones(api: Api, database: Database):
    alice = await own(api, database)
    bob = await own(api, database, "bob")
    async with database.acquire() as conn:
        for number in range(5):
            await conn.execute(
                """insert into radacct (acctuniqueid, tenant_id, subscriber_id, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime,
                       acctupdatetime, acctstoptime, interim_seconds, closed_by, acctterminatecause, radacctid)
                   values ($1, 1, $2, 'S', 'alice', '10.0.0.1', '10.0.0.1', now() - interval '2 h', now(), now(), 300, 'stop', 'User-Request', 1000 + $3)""",
                f"{number:032x}", alice.id, number,
            )  # fmt: skip
    seen: list[int] = []
    path = "/self/sessions?limit=2&count=true"
    while path:
        page = (await alice.get(path)).value
        assert page["total"] == 6
        seen += [each["id"] for each in page["items"]]
        path = f"/self/sessions?limit=2&count=true&after={page['next']}" if page["next"] else ""
    assert sorted(seen) == sorted([alice.session_id, *range(1000, 1005)])
    assert [each["id"] for each in (await alice.get("/self/sessions?state=open")).value["items"]] == [alice.session_id]
    assert (await alice.get(f"/self/sessions/{alice.session_id}")).value["framed_ip_address"] == "192.0.2.7"
    assert (await alice.get(f"/self/sessions/{bob.session_id}")).status == 404
    assert (await alice.post(f"/self/sessions/{bob.session_id}/disconnect")).status == 404
    assert api.control.asked == []


async def test_the_own_session_ends_when_the_nas_says_so(api: Api, database: Database):
    alice = await own(api, database)
    done = await alice.post(f"/self/sessions/{alice.session_id}/disconnect")
    assert (done.status, done.value["outcome"]) == (200, "ack")
    api.control.result = ControlResult(outcome="timeout", action="disconnect", attempts=3)
    silent = await alice.post(f"/self/sessions/{alice.session_id}/disconnect")
    assert (silent.status, silent.value["outcome"]["attempts"]) == (504, 3)
    assert [each.id for each in api.control.asked] == [alice.session_id] * 2


async def test_usage_by_day_and_month(api: Api, database: Database):
    alice = await own(api, database)
    async with database.acquire() as conn:
        for day, octets in ((date(2026, 9, 30), 1), (date(2026, 10, 1), 10), (date(2026, 10, 31), 100)):
            await conn.execute("insert into usage_daily (tenant_id, subscriber_id, day, up_octets, down_octets, session_seconds) values (1, $1, $2, $3, 2, 3)",
                               alice.id, day, octets)  # fmt: skip
    days = (await alice.get("/self/usage/days?first=2026-10-01&last=2026-10-31")).value["items"]
    assert [(each["day"], each["up_octets"]) for each in days] == [("2026-10-01", 10), ("2026-10-31", 100)]
    months = (await alice.get("/self/usage/months?first=2026-09-15&last=2026-10-02")).value["items"]
    assert [(each["month"], each["up_octets"], each["session_seconds"]) for each in months] == [("2026-09-01", 1, 3), ("2026-10-01", 110, 6)]
    assert (await alice.get("/self/usage/months")).status == 200
    assert (await alice.get("/self/usage/months?first=2026-09-15&last=2026-08-02")).status == 422
    assert (await alice.get("/self/usage/days?first=0001-01-01&last=9999-12-31")).status == 422
    assert (await alice.get("/self/usage/months?first=0001-01-01&last=9999-12-31")).status == 422


async def test_quota_left(api: Api, database: Database):
    alice = await own(api, database)
    plan = (await api.get(f"/subscribers/{alice.id}")).value["plan_id"]
    await api.post(f"/plans/{plan}/quotas", {"name": "monthly", "unit": "volume", "period": "month", "amount": 10**9})
    await api.post(f"/subscribers/{alice.id}/top-ups", {"amount": 500, "note": "goodwill"})
    (quota,) = (await alice.get("/self/quota")).value["items"]
    assert (quota["quota"], quota["left"], quota["used"], quota["top_ups"]) == ("monthly", 10**9 + 500, 0, [{"amount": 500, "used": 0, "expires_at": None}])


async def stored_password(api: Api, alice: Own) -> str:
    return str((await api.post(f"/subscribers/{alice.id}/reveal")).value["password"])


class TestPassword:
    async def test_is_changed_by_who_knows_the_old_one(self, api: Api, database: Database):
        alice = await own(api, database)
        changed = await alice.post("/self/password", {"current_password": "wonderland", "password": NEW})
        assert changed.status == 204, changed.value
        assert await stored_password(api, alice) == NEW

    async def test_is_refused(self, api: Api, database: Database):
        alice = await own(api, database)
        cases: list[tuple[dict[str, str], list[str]]] = [
            ({"current_password": "wrong", "password": NEW}, ["/current_password"]),
            ({"password": NEW}, ["/current_password"]),
            ({"current_password": "wonderland", "password": "short"}, ["/password"]),
            ({"current_password": "wonderland", "password": "its alice again"}, ["/password"]),
            ({"current_password": "wrong", "password": "short"}, ["/current_password", "/password"]),
        ]
        for body, pointers in cases:
            refused = await alice.post("/self/password", body)
            assert (refused.status, [each["pointer"] for each in refused.value["errors"]]) == (422, pointers)
        assert await stored_password(api, alice) == "wonderland"
        tried = (await api.get("/audit?action=subscriber.set_password")).value["items"]
        assert [row["result"] for row in tried] == ["refused"] * 2

    async def test_is_set_without_the_old_one_where_the_token_may(self, api: Api, database: Database):
        alice = await own(api, database)
        wanted = {"subscriber": "alice", "permissions": ["me:set_password"]}
        refused = await api.post("/portal-tokens", wanted, role=None, headers=await portal(api))
        assert (refused.status, refused.value["errors"][0]["pointer"]) == (422, "/permissions")
        given = Own(api, alice.id, 0, (await api.post("/portal-tokens", wanted)).value)
        assert (await given.post("/self/password", {"password": NEW})).status == 204
        assert await stored_password(api, alice) == NEW
        assert (await given.get("/self")).status == 403

    async def test_a_hashed_one_is_known_too(self, api: Api, database: Database):
        alice = await own(api, database)
        await api.patch(f"/subscribers/{alice.id}", {"password_hash": "{sha}" + "5b3f11cf6a7e8b3e5d3ea2a4b0c87bc5d4f9d9c1"})
        assert (await alice.post("/self/password", {"current_password": "wonderland", "password": NEW})).status == 422
        await api.patch(f"/subscribers/{alice.id}", {"password_hash": "{sha}" + hashlib.sha1(b"wonderland", usedforsecurity=False).hexdigest()})
        assert (await alice.post("/self/password", {"current_password": "wonderland", "password": NEW})).status == 204
        async with database.acquire() as conn:
            sealed, hashed = await conn.fetchrow("select password, password_hashed from subscribers where id = $1", alice.id)
        assert (api.deps.keyring.open(sealed, subscribers.PASSWORD_CONTEXT), hashed) == (NEW.encode(), False)

    async def test_guessing_is_slow(self, api: Api, database: Database):
        alice = await own(api, database)
        statuses = [(await alice.post("/self/password", {"current_password": "guess", "password": NEW})).status for _ in range(7)]
        assert statuses == [422] * 5 + [429] * 2
        right = await alice.post("/self/password", {"current_password": "wonderland", "password": NEW})
        assert (right.status, int(right.headers["retry-after"]) > 60) == (429, True)


async def test_permissions_of_the_token_count(api: Api, database: Database):
    alice = await own(api, database, permissions=["me:read"])
    assert (await alice.get("/self")).status == 200
    assert (await alice.post(f"/self/sessions/{alice.session_id}/disconnect")).status == 403
    assert (await alice.post("/self/password", {"current_password": "wonderland", "password": NEW})).status == 403


async def test_a_token_ends_by_itself_and_with_its_subscriber(api: Api, database: Database):
    alice = await own(api, database)
    async with database.acquire() as conn:
        await conn.execute("update api_tokens set expires_at = now() where subscriber_id = $1", alice.id)
    assert (await alice.get("/self")).status == 401
    bob = await own(api, database, "bob")
    assert (await bob.get("/self")).status == 200
    await api.delete(f"/subscribers/{bob.id}")
    assert (await bob.get("/self")).status == 401


async def test_who_is_no_subscriber_has_no_own_account(api: Api, database: Database):
    assert (await api.get("/self")).status == 403
    assert (await api.post("/portal-tokens", {"subscriber": "nobody"})).value["errors"][0]["pointer"] == "/subscriber"
    assert (await api.post("/portal-tokens", {"subscriber": "x", "lifetime_seconds": 90_000})).status == 422
    assert (await api.post("/portal-tokens", {"subscriber": "x"}, role="read_only")).status == 403
    assert (await api.get("/subscribers", role=None, headers=await portal(api))).status == 403


async def test_a_reseller_gets_tokens_for_the_subscribers_of_its_site_only(api: Api, database: Database):
    alice = await own(api, database)
    await api.post("/sites", {"name": "oslo"})
    await api.post("/subscribers", {"username": "ole", "plan": "home", "site": "oslo"})
    made = await api.post("/tokens", {"name": "shop", "role": "customer_portal", "site": "oslo"})
    headers = {"Authorization": f"Bearer {made.value['text']}"}
    assert (await api.post("/portal-tokens", {"subscriber": "ole"}, role=None, headers=headers)).status == 201
    refused = await api.post("/portal-tokens", {"subscriber": "alice"}, role=None, headers=headers)
    assert (refused.status, refused.value["errors"][0]["pointer"]) == (422, "/subscriber")
    assert alice.id


async def test_all_tokens_of_a_subscriber_share_one_rate(database: Database, tmp_path):
    async with running(database, tmp_path) as api:
        alice = await own(api, database)
        bob = await own(api, database, "bob")
        second = Own(api, alice.id, 0, (await api.post("/portal-tokens", {"subscriber": "alice"})).value)
        object.__setattr__(api.deps, "own_limit", RateLimit(0.001, 4))
        assert [(await each.get("/self")).status for each in (alice, second, alice, second, alice, second)] == [200] * 4 + [429] * 2
        assert (await bob.get("/self")).status == 200
