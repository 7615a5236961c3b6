"""Users over HTTP: the cookie, who may send it, and what it opens."""

import base64
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest

from netd.domain import totp
from netd.web import browser
from tests.web.running import Answer, Api

PASSWORD = "correct horse battery"
COOKIE = "netd_session"


@pytest.fixture
async def ann(api: Api) -> int:
    """A user with a password."""
    return await make(api, "ann", {"role": "operator"})


async def make(api: Api, name: str, *grants: dict[str, str]) -> int:
    made = await api.post("/users", {"name": name, "grants": grants})
    assert made.status == 201, made.value
    assert made.headers["location"] == f"/api/v1/users/{made.value['user']['id']}"
    done = await api.post("/login/setup", {"token": made.value["setup_token"], "password": PASSWORD}, role=None)
    assert done.status == 204, done.value
    number: int = made.value["user"]["id"]
    return number


class Browser:
    """Keeps a session's cookie and its CSRF token, and sends both."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.cookie = ""
        self.csrf = ""

    async def login(self, name: str = "ann", password: str = PASSWORD, **more: Any) -> Answer:
        answer = await self.call("POST", "/login", {"username": name, "password": password}, **more)
        self.take(answer)
        return answer

    def take(self, answer: Answer) -> None:
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.csrf = (answer.value or {}).get("csrf_token") or ""

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf, **{name.replace("_", "-"): text for name, text in headers.items()}}
        self.api.client.cookie_jar.clear()
        return await self.api.call(method, path, role=None, body=body, headers={name: text for name, text in sent.items() if text})


@pytest.fixture
def page(api: Api) -> Browser:
    return Browser(api)


@pytest.mark.usefixtures("ann")
class TestSession:
    async def test_log_in_use_and_log_out(self, page: Browser):
        answer = await page.login()
        assert (answer.status, answer.value["user"], answer.value["challenge"]) == (200, "ann", None)
        attributes = {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= attributes
        assert "Secure" not in attributes  # plain HTTP on the loopback
        assert page.cookie.startswith(f"{COOKIE}=")
        me = (await page.call("GET", "/me")).value
        assert (me["user"]["name"], me["csrf_token"], me["totp_needed"]) == ("ann", page.csrf, False)
        assert (await page.call("GET", "/whoami")).value["role"] == "operator"
        made = await page.call("POST", "/plans", {"name": "p", "down_bps": 1000, "up_bps": 1000})
        assert made.status == 201
        row = (await page.api.get("/audit?action=plan.create")).value["items"][0]
        assert (row["actor"], row["token_id"], row["address"]) == ("ann", None, "127.0.0.1")
        assert (await page.call("POST", "/tokens", {"name": "x", "role": "admin"})).status == 403
        out = await page.call("POST", "/logout")
        assert (out.status, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)
        assert (await page.call("GET", "/me")).status == 401

    async def test_a_change_needs_the_sessions_own_csrf_token(self, page: Browser, api: Api):
        await page.login()
        body = {"name": "p", "down_bps": 1000, "up_bps": 1000}
        other = Browser(api)
        await other.login()
        for wrong in ("", "x", other.csrf):
            page.csrf, kept = wrong, page.csrf
            refused = await page.call("POST", "/plans", body)
            assert (refused.status, "X-CSRF-Token" in refused.value["detail"]) == (403, True)
            page.csrf = kept
        assert (await page.call("GET", "/plans")).value["items"] == []
        assert (await page.call("POST", "/plans", body)).status == 201

    @pytest.mark.parametrize(
        "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}]
    )
    async def test_other_sites_change_nothing_and_log_nobody_in(self, page: Browser, headers):
        refused = await page.login(**headers)
        assert (refused.status, page.cookie) == (403, "")
        await page.login(Origin=page.api.url, Sec_Fetch_Site="same-origin")
        refused = await page.call("POST", "/plans", {"name": "p", "down_bps": 1000, "up_bps": 1000}, **headers)
        assert refused.status == 403
        assert (await page.call("POST", "/logout", **headers)).status == 403
        assert (await page.call("GET", "/me")).status == 200

    async def test_a_websocket_of_another_site_is_refused(self, page: Browser):
        await page.login()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": base64.b64encode(b"x" * 16).decode()}
        assert (await page.call("GET", "/events", **upgrade)).status == 403
        assert (await page.call("GET", "/events", **upgrade, Origin="https://evil.example")).status == 403
        headers = {"Cookie": page.cookie, "Origin": page.api.url}
        async with page.api.client.ws_connect(f"{page.api.url}/api/v1/events", headers=headers) as socket:
            assert not socket.closed

    async def test_a_planted_session_is_not_adopted(self, page: Browser):
        page.cookie = f"{COOKIE}={'A' * 43}"
        await page.login()
        assert "A" * 43 not in page.cookie
        first = page.cookie
        await page.login()
        assert page.cookie != first
        page.cookie = first
        assert (await page.call("GET", "/me")).status == 401  # the browser's earlier session ended with the new one

    async def test_own_sessions(self, page: Browser, api: Api):
        await page.login()
        other = Browser(api)
        await other.login()
        items = (await page.call("GET", "/me/sessions")).value["items"]
        assert [each["current"] for each in items] == [False, True]
        assert (await page.call("DELETE", f"/me/sessions/{items[0]['id']}")).status == 204
        assert (await other.call("GET", "/me")).status == 401
        assert (await page.call("DELETE", "/me/sessions/999999")).status == 404

    async def test_a_token_wins_over_the_cookie_and_has_no_account(self, page: Browser):
        await page.login()
        token = {"Authorization": f"Bearer {page.api.tokens['read_only']}"}
        assert (await page.call("GET", "/whoami", **token)).value["name"] == "test read_only"
        assert (await page.call("GET", "/me", **token)).status == 404

    async def test_second_factor(self, page: Browser, api: Api):
        now = datetime.now(UTC)
        object.__setattr__(api.deps, "now", lambda: now)  # so that no time step ends meanwhile
        await page.login()
        enrolled = (await page.call("POST", "/me/totp", {"current_password": PASSWORD})).value
        assert enrolled["uri"].startswith("otpauth://totp/netd:ann?secret=" + enrolled["secret"])
        secret, step = base64.b32decode(enrolled["secret"]), totp.step_of(now)
        confirmed = await page.call("POST", "/me/totp/confirm", {"code": totp.code(secret, step - 1)})
        assert (confirmed.status, len(confirmed.value["recovery_codes"])) == (200, 10)
        fresh = Browser(api)
        begun = await fresh.login()
        assert (begun.status, begun.value["user"], begun.value["csrf_token"], fresh.cookie) == (200, None, None, "")
        refused = await fresh.call("POST", "/login/totp", {"challenge": begun.value["challenge"], "code": totp.code(secret, step - 1)})
        assert (refused.status, refused.value["type"]) == (401, "/problems/unauthorized")  # used at the confirmation
        done = await fresh.call("POST", "/login/totp", {"challenge": begun.value["challenge"], "code": totp.code(secret, step)})
        fresh.take(done)
        assert api.deps.login_attempts == {("password", "opened"): 1, ("password", "code_wanted"): 1, ("code", "refused"): 1, ("code", "opened"): 1}
        assert (await fresh.call("GET", "/me")).value["user"]["totp"]
        assert (await fresh.call("POST", "/me/totp/remove", {"current_password": "wrong"})).value["errors"][0]["pointer"] == "/current_password"
        assert (await fresh.call("POST", "/me/totp/remove", {"current_password": PASSWORD})).status == 204

    async def test_idempotency_keys_of_users_are_their_own(self, page: Browser, api: Api):
        await make(api, "bob", {"role": "operator"})
        body, key = {"name": "p", "down_bps": 1000, "up_bps": 1000}, {"Idempotency_Key": "k1"}
        await page.login()
        first = await page.call("POST", "/plans", body, **key)
        again = await page.call("POST", "/plans", body, **key)
        assert (first.status, again.status, again.headers["idempotent-replayed"]) == (201, 201, "true")
        other = Browser(api)
        await other.login("bob")
        assert (await other.call("POST", "/plans", {**body, "name": "q"}, **key)).status == 201

    async def test_failures_lock_out_and_say_for_how_long(self, page: Browser, api: Api):
        seen = [(await page.login(password="guess")).status for _ in range(api.deps.login.user_failures)]
        assert set(seen) == {401}
        locked = await page.login()
        assert api.deps.login_attempts == {("password", "refused"): api.deps.login.user_failures, ("password", "locked_out"): 1}
        assert (locked.status, locked.value["type"]) == (429, "/problems/too-many-requests")
        assert 0 < int(locked.headers["retry-after"]) <= 15 * 60
        (told,) = (await api.get("/lockouts?kind=user")).value["items"]
        assert (told["subject"], told["failures"], told["locked_until"] is not None) == ("ann", 10, True)
        user = (await api.get("/users?name=ann")).value["items"][0]
        assert user["locked_until"] == told["locked_until"]
        assert (await api.post(f"/users/{user['id']}/unlock")).value["locked_until"] is None
        assert (await page.login()).status == 200
        actions = [row["action"] for row in (await api.get("/audit?limit=1000")).value["items"]]
        assert {"user.lock_out", "user.unlock", "user.login"} <= set(actions)

    async def test_a_disabled_user_is_out_at_once(self, page: Browser, api: Api, ann: int):
        await page.login()
        assert (await api.patch(f"/users/{ann}", {"disabled": True})).value["disabled_at"]
        assert (await page.call("GET", "/me")).status == 401
        assert (await page.login()).status == 401

    async def test_a_stream_ends_with_the_session(self, page: Browser, api: Api, ann: int, monkeypatch):
        from netd.web import listening
        from netd.web.api import streaming
        from netd.web.api.resources import events

        monkeypatch.setattr(events, "CHECK_SECONDS", 0.0)
        monkeypatch.setattr(listening, "FRESH_SECONDS", 0.0)
        monkeypatch.setattr(streaming, "IDLE_SECONDS", 0.05)
        await page.login()
        headers = {"Cookie": page.cookie, "Accept": "text/event-stream"}
        async with api.client.get(f"{api.url}/api/v1/events", headers=headers) as response:
            assert (await response.content.readline()).startswith(b"retry")
            await api.patch(f"/users/{ann}", {"disabled": True})
            rest = await response.content.read()
            assert b"data:" not in rest

    async def test_what_a_site_grant_opens(self, page: Browser, api: Api, ann: int):
        await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
        for site, name in (("oslo", "ole"), ("rome", "rosa")):
            await api.post("/sites", {"name": site})
            await api.post("/subscribers", {"username": name, "plan": "home", "site": site})
        grant = (await api.get(f"/users/{ann}")).value["grants"][0]["id"]
        await page.login()
        assert len((await page.call("GET", "/subscribers")).value["items"]) == 2
        assert (await api.post(f"/users/{ann}/grants", {"role": "reseller", "site": "oslo"})).status == 201
        assert (await api.delete(f"/users/{ann}/grants/{grant}")).status == 200
        assert [each["username"] for each in (await page.call("GET", "/subscribers")).value["items"]] == ["ole"]
        assert (await page.call("GET", "/radius/nas")).status == 403


async def test_nothing_of_a_password_comes_back(api: Api, page: Browser):
    await make(api, "ann", {"role": "operator"})
    for body in ({"username": "ann", "password": "hunter2 " * 3}, {"username": "ann", "password": ["hunter2"]}, {"username": 1, "password": "hunter2 hunter2"}):
        answer = await page.call("POST", "/login", body)
        assert b"hunter2" not in answer.raw


class TestPublicUrl:
    @pytest.fixture
    async def secure(self, api: Api, monkeypatch) -> Browser:
        """A browser at the TLS proxy in front of netd."""
        await make(api, "ann", {"role": "operator"})
        object.__setattr__(api.deps, "public_url", "https://netd.example.net:443/")
        return Browser(api)

    async def test_the_cookie_is_a_host_cookie(self, secure: Browser):
        answer = await secure.login(Origin="https://netd.example.net", Host="127.0.0.1:8080")
        assert answer.status == 200
        assert secure.cookie.startswith("__Host-netd_session=")
        attributes = {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"} <= attributes
        assert not any(each.startswith("Domain") for each in attributes)
        assert (await secure.call("GET", "/me")).status == 200
        secure.cookie = secure.cookie.removeprefix("__Host-")  # one that a plain-HTTP neighbour could have set
        assert (await secure.call("GET", "/me")).status == 401

    async def test_the_origin_must_be_that_one(self, secure: Browser):
        for origin in ("http://netd.example.net", "https://netd.example.net:8443", "https://example.net", secure.api.url):
            assert (await secure.login(Origin=origin)).status == 403


async def test_elsewhere_than_on_this_machine_an_address_is_needed(api: Api, page: Browser):
    await make(api, "ann", {"role": "operator"})
    refused = await page.login(Host="netd.example.net")
    assert (refused.status, "web.public_url" in refused.value["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("192.0.2.9", ["203.0.113.1"], "192.0.2.9"),  # not a proxy of ours: whatever it says
        ("127.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.1"], "203.0.113.1"),  # the caller's own invention in front
        ("127.0.0.1", ["203.0.113.1", "10.0.0.7"], "203.0.113.1"),  # two proxies
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("10.0.0.7", ["10.0.0.8"], "10.0.0.8"),
        (None, ["203.0.113.1"], None),
    ],
)
def test_addresses_behind_proxies(remote, forwarded, expected):
    assert browser.address(remote, forwarded, (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))) == expected


async def test_the_proxys_caller_stands_in_the_audit_log(api: Api, page: Browser):
    object.__setattr__(api.deps, "trusted_proxies", (ip_network("127.0.0.1"),))
    await make(api, "ann", {"role": "operator"})
    await page.login(X_Forwarded_For="203.0.113.1")
    row = (await api.get("/audit?action=user.login")).value["items"][0]
    assert row["address"] == "203.0.113.1"


async def test_who_has_no_token_is_limited_too(api: Api, page: Browser):
    object.__setattr__(api.deps, "monotonic", lambda: 1000.0)  # however long the calls take, the bucket does not fill up meanwhile
    answers = [await page.call("GET", "/login") for _ in range(80)]
    assert (answers[0].status, answers[-1].status, answers[-1].headers["retry-after"]) == (200, 429, "1")
    assert (await api.get("/whoami")).status == 200


async def test_a_permission_of_one_place_is_no_help_in_another(api: Api, page: Browser):
    """Who writes subscribers everywhere, but NAS and plans at one site only, and may let passwords be set there only."""
    await api.post("/sites", {"name": "oslo"})
    await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
    await api.post("/radius/nas", {"name": "bras1", "address": "192.0.2.0/24", "vendor": "generic", "secret": "testing123"})
    await api.post("/subscribers", {"username": "alice", "password": "wonderland", "plan": "home"})
    await api.post("/subscribers", {"username": "olga", "password": "wonderland", "plan": "home", "site": "oslo"})
    wide = {"name": "desk", "title": "Desk", "permissions": ["subscribers:read", "subscribers:write", "portal:issue"]}
    assert (await api.post("/roles", wide)).status == 201
    assert (await api.post("/roles", {"name": "setter", "title": "Setter", "permissions": ["portal:password"]})).status == 201
    await make(api, "bob", {"role": "desk"}, {"role": "operator", "site": "oslo"}, {"role": "setter", "site": "oslo"})
    await page.login("bob")

    lines = [
        b'{"plan": {"name": "home", "down_bps": 9, "up_bps": 9}}',
        b'{"nas": {"name": "bras1", "address": "192.0.2.0/24", "vendor": "generic", "secret": "stolen12"}}',
    ]
    for line in lines:
        headers = {"Cookie": page.cookie, "X-CSRF-Token": page.csrf, "Content-Type": "application/x-ndjson"}
        answer = await api.call("POST", "/import", role=None, headers=headers, data=line)
        assert answer.status in (403, 404, 409, 422), answer.value
    assert (await api.get("/plans")).value["items"][0]["down_bps"] == 1000

    wanted = {"permissions": ["me:set_password"]}
    refused = await page.call("POST", "/portal-tokens", {"subscriber": "alice", **wanted})
    assert (refused.status, refused.value["errors"][0]["pointer"]) == (422, "/permissions")
    assert (await page.call("POST", "/portal-tokens", {"subscriber": "olga", **wanted})).status == 201
