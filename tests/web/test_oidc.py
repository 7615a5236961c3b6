"""Log-in through an OpenID provider that nobody here wrote: oidc-provider-mock, on the loopback, with clients that must register."""

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from netd.config import OidcConfig, Secret
from netd.device.fetch import HttpFetch
from netd.domain.oidc import Provider
from tests.web.running import Answer, Api
from tests.web.test_login import Browser

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries of its libraries
    import oidc_provider_mock


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    people = [
        oidc_provider_mock.User(sub="ann-7", claims={"preferred_username": "Ann", "name": "Ann Smith", "groups": ["noc", "lunch"]}),
        oidc_provider_mock.User(sub="bob-8", claims={"preferred_username": "bob", "groups": ["lunch"]}),
        oidc_provider_mock.User(sub="eve-9", claims={"preferred_username": "root", "groups": ["noc"]}),
    ]
    with oidc_provider_mock.run_server_in_thread(user_claims=people, require_client_registration=True, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


class Person:
    """Somebody at a browser, who has an account of the provider."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.page = Browser(api)
        self.flow = ""

    async def begin(self, return_to: str = "/subscribers") -> str:
        answer = await self.api.call("GET", f"/login/oidc?{urlencode({'return_to': return_to})}", role=None, allow_redirects=False)
        assert answer.status == 302, answer.value
        self.flow = answer.headers["set-cookie"].partition(";")[0]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in answer.headers["set-cookie"].split(";")}
        return answer.headers["location"]

    async def consent(self, location: str, sub: str, **form: str) -> dict[str, str]:
        """Log in at the provider; what it sends the browser back with."""
        async with self.api.client.post(location, data={"sub": sub, **form}, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            back = urlsplit(response.headers["Location"])
            assert back.path == "/api/v1/login/oidc/callback"
            return {name: values[0] for name, values in parse_qs(back.query).items()}

    async def come_back(self, query: dict[str, str]) -> Answer:
        self.api.client.cookie_jar.clear()
        headers = {"Cookie": self.flow} if self.flow else {}
        answer = await self.api.call("GET", f"/login/oidc/callback?{urlencode(query)}", role=None, headers=headers, allow_redirects=False)
        if answer.status == 302:
            session, flow = answer.cookies
            assert (flow.startswith("netd_oidc=;"), "Max-Age=0" in flow) == (True, True)
            self.page.cookie = session.partition(";")[0]
        return answer

    async def login(self, sub: str) -> Answer:
        return await self.come_back(await self.consent(await self.begin(), sub))


async def configure(api: Api, issuer: str, **more: Any) -> OidcConfig:
    redirect = f"{api.url}/api/v1/login/oidc/callback"
    async with aiohttp.ClientSession() as client, client.post(f"{issuer}/oauth2/clients", json={"redirect_uris": [redirect]}) as response:
        registered = await response.json()
    config = OidcConfig(
        issuer=issuer, client_id=registered["client_id"], client_secret=Secret(registered["client_secret"]),
        **{"groups": ("noc=noc_engineer@site:oslo",), "create_users": True, **more},
    )  # fmt: skip
    object.__setattr__(api.deps, "oidc", Provider(config, HttpFetch(api.deps.client)))
    return config


@pytest.fixture
async def person(api: Api, issuer: str) -> Person:
    await configure(api, issuer)
    await api.post("/sites", {"name": "oslo"})
    return Person(api)


async def reasons(api: Api) -> list[str]:
    return [row["after"]["reason"] for row in (await api.get("/audit?action=user.login&result=failed")).value["items"]]


async def test_the_whole_way(person: Person, api: Api):
    assert (await api.call("GET", "/login", role=None)).value == {"password": True, "oidc": True}
    answer = await person.login("ann-7")
    assert (answer.status, answer.headers["location"]) == (302, "/subscribers")
    me = (await person.page.call("GET", "/me")).value
    user = me["user"]
    assert (user["name"], user["full_name"], user["oidc_subject"], user["has_password"], user["created_by"]) == ("ann", "Ann Smith", "ann-7", False, "oidc")
    assert [(grant["role"], grant["site"], grant["source"]) for grant in user["grants"]] == [("noc_engineer", "oslo", "oidc")]
    assert (await person.page.call("GET", "/subscribers")).status == 200
    again = await person.login("ann-7")
    assert again.status == 302
    assert [each["name"] for each in (await api.get("/users")).value["items"]] == ["ann"]
    rows = (await api.get("/audit?object_type=user&limit=100")).value["items"]
    assert [(row["action"], row["actor"]) for row in reversed(rows)] == [
        ("user.create", "netd oidc"), ("user.grant", "netd oidc"), ("user.login", "ann"), ("user.login", "ann"),
    ]  # fmt: skip


async def test_groups_of_today(person: Person, api: Api, issuer: str):
    await person.login("ann-7")
    user = (await api.get("/users?name=ann")).value["items"][0]
    await api.post(f"/users/{user['id']}/grants", {"role": "billing"})
    await configure(api, issuer, groups=("lunch=read_only", "nobody=admin", "noc=no_such_role"))
    assert (await person.login("ann-7")).status == 302
    grants = (await api.get(f"/users/{user['id']}")).value["grants"]
    assert [(grant["role"], grant["source"]) for grant in grants] == [("billing", "local"), ("read_only", "oidc")]
    await configure(api, issuer, groups=())
    await person.login("ann-7")
    assert [grant["role"] for grant in (await api.get(f"/users/{user['id']}")).value["grants"]] == ["billing"]


async def test_who_is_not_let_in(person: Person, api: Api):
    assert (await person.login("bob-8")).status == 401  # in no group that may anything
    assert (await person.login("stranger")).status == 401
    await api.post("/users", {"name": "root", "grants": [{"role": "admin"}]})
    refused = await person.login("eve-9")  # calls itself as a user here is called: names link nobody
    assert (refused.status, "not linked" in refused.value["detail"]) == (401, True)
    assert len((await api.get("/users")).value["items"]) == 1
    assert len(await reasons(api)) == 3


async def test_users_are_linked_beforehand(person: Person, api: Api, issuer: str):
    await configure(api, issuer, create_users=False, groups=())
    assert (await person.login("bob-8")).status == 401
    made = await api.post("/users", {"name": "robert", "oidc_issuer": issuer, "oidc_subject": "bob-8", "grants": [{"role": "read_only"}]})
    assert (await person.login("bob-8")).status == 302
    assert (await person.page.call("GET", "/whoami")).value["name"] == "robert"
    await api.patch(f"/users/{made.value['user']['id']}", {"disabled": True})
    assert (await person.page.call("GET", "/whoami")).status == 401
    assert (await person.login("bob-8")).status == 401
    assert "the user is disabled" in await reasons(api)


async def test_an_answer_to_another_log_in(person: Person, api: Api):
    query = await person.consent(await person.begin(), "ann-7")
    for wrong in ({"state": "x"}, {"state": ""}):
        assert (await person.come_back({**query, **wrong})).status == 401
    other = Person(api)
    await other.begin()
    assert (await other.come_back(query)).status == 401  # an attacker's own answer, planted in another browser
    other.flow = ""
    assert (await other.come_back(query)).status == 401
    assert (await person.come_back({**query, "iss": "https://evil.example"})).status == 401
    assert (await person.come_back({**query, "code": "x"})).status == 401
    assert (await person.come_back(query)).status == 302
    assert (await person.come_back(query)).status == 401  # a code is good once


async def test_a_nonce_of_another_log_in(person: Person):
    location = await person.begin()
    nonce = parse_qs(urlsplit(location).query)["nonce"][0]
    query = await person.consent(location.replace(nonce, "another"), "ann-7")
    refused = await person.come_back(query)
    assert (refused.status, "nonce" in refused.value["detail"]) == (401, True)
    assert await reasons(person.api) == [refused.value["detail"]]


async def test_who_says_no_at_the_provider(person: Person):
    query = await person.consent(await person.begin(), "ann-7", action="deny")
    refused = await person.come_back({"state": "", **query})
    assert refused.status == 401


async def test_a_wrong_client_secret(person: Person, api: Api, issuer: str):
    config = await configure(api, issuer)
    object.__setattr__(
        api.deps, "oidc", Provider(OidcConfig(issuer=issuer, client_id=config.client_id, client_secret=Secret("hunter2-not-it")), HttpFetch(api.deps.client))
    )
    refused = await person.login("ann-7")
    assert (refused.status, b"hunter2" in refused.raw) == (401, False)


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "/x\ny", ""])
async def test_nobody_is_sent_elsewhere_afterwards(person: Person, api: Api, target: str):
    answer = await api.call("GET", f"/login/oidc?{urlencode({'return_to': target})}", role=None, allow_redirects=False)
    assert answer.status == 422


async def test_a_provider_that_is_away(api: Api):
    object.__setattr__(api.deps, "oidc", Provider(OidcConfig(issuer="http://localhost:9", client_id="x"), HttpFetch(api.deps.client)))
    answer = await asyncio.wait_for(api.call("GET", "/login/oidc", role=None, allow_redirects=False), 60)
    assert (answer.status, answer.value["type"]) == (502, "/problems/provider-failed")


async def test_without_a_provider(api: Api):
    assert (await api.call("GET", "/login", role=None)).value == {"password": True, "oidc": False}
    assert (await api.call("GET", "/login/oidc", role=None, allow_redirects=False)).status == 404
