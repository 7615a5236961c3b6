"""What holds for every route: tokens, roles, problem documents, headers, limits."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from netd.domain import tokens
from netd.domain.actor import system
from netd.domain.ports import Part
from netd.errors import StoreUnavailable
from netd.model.permission import BUILT_IN
from netd.web import exposition
from netd.web.api import resources
from netd.web.api.problem import Problem
from netd.web.api.route import Route
from tests.garbage import freed_at_once
from tests.web.running import Api

NO_TOKEN_NEEDED = {"/health/live", "/health/ready", "/metrics", "/api/openapi.json", "/api/docs", "/api/docs/reference.css", "/api/docs/reference.js"}

LOGIN = {f"/api/v1/login{rest}" for rest in ("", "/totp", "/setup", "/oidc", "/oidc/callback")}


PUBLIC = {"/api/v1/hooks/{public_id}"}


def path_of(route: Route) -> str:
    return re.sub(r"{\w+}", "1", route.path.replace("{reason}", "admin"))


async def test_every_route_but_the_probes_needs_a_token(api: Api):
    seen = set()
    public = {(route.method, route.full_path) for route in resources.ROUTES if route.public}
    assert {path for _, path in public} == LOGIN | PUBLIC
    for route in api.app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if path in NO_TOKEN_NEEDED:
            continue
        seen.add((route.method, path))
        target = "/" + re.sub(r"{\w+}", "1", path.replace("{reason}", "admin"))
        if (route.method, path) in public:
            assert (await api.call(route.method, target, role=None)).status in (200, 404, 422), (route.method, path)
            continue
        answer = await api.call(route.method, target, role=None)
        assert answer.status == 401, (route.method, path)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="netd"')
        assert answer.headers["content-type"].startswith("application/problem+json")
    exposed = {("GET", exposition.PATH), ("GET", f"{exposition.PATH}/targets")}
    assert seen == {(route.method, route.full_path) for route in resources.ROUTES} | exposed


async def test_roles_are_held_and_the_refusal_is_recorded(api: Api):
    def refused_to(role):
        return [route for route in resources.ROUTES if route.permission is not None and route.permission not in BUILT_IN[role]]

    refused = refused_to("read_only")
    assert len(refused) > 20
    for route in refused:
        answer = await api.call(route.method, path_of(route), role="read_only")
        assert answer.status == 403, (route.method, route.path)
    for route in refused_to("operator"):
        assert (await api.call(route.method, path_of(route), role="operator")).status == 403
    for route in resources.ROUTES:
        if route not in refused:
            assert (await api.call(route.method, path_of(route), role="read_only")).status != 403
    rows = (await api.get("/audit?limit=1000")).value["items"]
    recorded = [row["action"] for row in rows if row["result"] == "refused" and row["actor"] == "test read_only"]
    assert sorted(recorded) == sorted(route.action for route in refused if route.action)
    assert {row["address"] for row in rows if row["result"] == "refused"} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer nonsense", "Basic YTpi", "Bearer netd_aaaaaaaaaaaa_" + "a" * 43, "bearer\ttoken", "Bearer \xff"],
)
async def test_what_is_no_good_token_is_refused(api: Api, header):
    answer = await api.get("/plans", role=None, headers={"Authorization": header})
    assert answer.status == 401
    assert "error=" in answer.headers["www-authenticate"]
    assert answer.value["type"] == "/problems/unauthorized"


async def test_expired_and_revoked_tokens_are_refused(api: Api, database):
    soon = tokens.NewToken(name="soon", role="admin", expires_at=datetime.now(UTC) + timedelta(hours=1))
    issued = await tokens.create(database, system(1), soon, datetime.now(UTC))
    headers = {"Authorization": f"Bearer {issued.text}"}
    assert (await api.get("/plans", role=None, headers=headers)).status == 200
    async with database.acquire() as conn:
        await conn.execute("update api_tokens set expires_at = now() where id = $1", issued.token.id)  # the hour is over
    assert (await api.get("/plans", role=None, headers=headers)).status == 401
    created = await api.post("/tokens", {"name": "x", "role": "read_only"})
    headers = {"Authorization": f"Bearer {created.value['text']}"}
    assert (await api.get("/plans", role=None, headers=headers)).status == 200
    assert (await api.delete(f"/tokens/{created.value['token']['id']}")).value["revoked_at"]
    assert (await api.get("/plans", role=None, headers=headers)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "//nowhere", 404, "not-found"),
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/plans/abc", 404, "not-found"),
        ("GET", "/plans/999999999999999999", 404, "not-found"),
        ("GET", "/plans/9999999999999999999", 404, "not-found"),
        ("PUT", "/plans", 405, "method-not-allowed"),
        ("GET", "/plans?limit=0", 422, "invalid"),
        ("GET", "/plans?limit=x", 422, "invalid"),
        ("GET", "/plans?limt=1", 422, "invalid"),
        ("GET", "/plans?limit=1&limit=2", 422, "invalid"),
        ("GET", "/plans?after=x", 422, "invalid"),
        ("GET", "/plans/1?x=1", 422, "invalid"),
        ("DELETE", "/subscribers/1/locks/whim", 422, "invalid"),
    ],
)
async def test_refusals_are_problem_documents(api: Api, method, path, status, slug):
    answer = await api.call(method, path)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.value["type"] == f"/problems/{slug}"
    assert answer.value["status"] == status
    assert answer.value["instance"] == (path[1:] if path.startswith("//") else "/api/v1" + path.partition("?")[0])
    assert answer.value["request_id"] == answer.headers["x-request-id"]
    if status == 422:
        assert answer.value["errors"][0]["pointer"].startswith("/")
    if status == 405:
        assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json", 422),
        (b"", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"name":"' + b"x" * (1 << 20) + b'"}', "application/json", 413),
    ],
)
async def test_bodies_are_checked(api: Api, data, content_type, status):
    answer = await api.call("POST", "/plans", data=data, headers={"Content-Type": content_type})
    assert answer.status == status
    assert answer.value["status"] == status
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_body_sent_in_chunks_is_limited_too(api: Api):
    async def chunks():
        for _ in range(40):
            yield b" " * 32768

    assert (await api.call("POST", "/plans", data=chunks(), headers={"Content-Type": "application/json"})).status == 413


async def test_a_caller_that_goes_away_in_its_body_is_no_defect(api: Api, caplog):
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /api/v1/plans HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.tokens['admin']}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    )
    writer.write(head.encode() + b"Content-Length: 1000\r\n\r\n")
    assert b"100 Continue" in await reader.readline()  # the handler waits for the body
    writer.write(b'{"name"')
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.2)
    assert (await api.call("GET", "/plans")).status == 200
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL") or record.exc_info]


async def test_a_refusal_leaves_nothing_to_the_garbage_collector(api: Api):
    """With its traceback it would keep the request, the body and the connection."""
    with freed_at_once(Problem):
        assert (await api.call("POST", "/plans", data=b"[]", headers={"Content-Type": "application/json"})).status == 422
        assert (await api.call("GET", "/plans/999999")).status == 404


async def test_the_request_id_comes_back(api: Api):
    assert (await api.get("/plans", headers={"X-Request-ID": "ticket-17.a"})).headers["x-request-id"] == "ticket-17.a"
    for bad in ("a b", "x" * 65, "ü", ""):
        made = (await api.get("/plans", headers={"X-Request-ID": bad})).headers["x-request-id"]
        assert made != bad
        assert len(made) == 16


async def test_a_defect_is_told_without_its_text(api: Api, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError("the password is sesame")

    monkeypatch.setattr(api.probe, "decide", broken)
    answer = await api.post("/radius/test/auth", {"username": "alice"}, headers={"X-Request-ID": "r-500"})
    assert (answer.status, answer.value["type"]) == (500, "/problems/internal")
    assert b"sesame" not in answer.raw
    assert "r-500" in caplog.text


async def test_without_the_database_it_is_503(api: Api, database, monkeypatch):
    def away():
        raise StoreUnavailable("no route to 10.1.2.3")

    monkeypatch.setattr(api.confined, "acquire", away)
    answer = await api.get("/plans")
    assert (answer.status, answer.value["type"]) == (503, "/problems/unavailable")
    assert answer.headers["retry-after"] == "5"
    assert b"10.1.2.3" not in answer.raw
    for path in NO_TOKEN_NEEDED:
        assert (await api.get("/" + path, role=None)).status == 200


async def test_headers_of_every_answer(api: Api):
    answer = await api.get("/plans")
    assert (answer.headers["server"], answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("netd", "no-store", "nosniff")


async def test_health_names_each_part(api: Api):
    answer = await api.get("//health/ready", role=None)
    assert (answer.status, answer.value["state"]) == (200, "ok")
    assert [part["name"] for part in answer.value["parts"]] == ["database", "coa"]
    api.health.listed = [Part(name="database", state="ok", critical=True, since=1.5), Part(name="coa", state="down", detail="no socket")]
    answer = await api.get("//health/ready", role=None)
    assert (answer.status, answer.value["state"], answer.value["parts"][1]["detail"]) == (200, "degraded", "no socket")
    assert [part["since"] for part in answer.value["parts"]] == ["1970-01-01T00:00:01Z", None]
    api.health.listed = [Part(name="database", state="down", critical=True)]
    answer = await api.get("//health/ready", role=None)
    assert (answer.status, answer.value["state"]) == (503, "down")
    assert (await api.get("//health/live", role=None)).value == {"state": "ok"}
    assert (await api.call("HEAD", "//health/live", role=None)).status == 200


async def test_metrics_are_served_as_they_are(api: Api):
    answer = await api.get("//metrics", role=None)
    assert answer.raw == b"netd_up 1\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def shared(value: Any, known: dict[bytes, Any]) -> Any:
    """The same document with one object for all parts that are equal: the validator looks at each object once, and hundreds of routes share filters."""
    if isinstance(value, dict):
        made: Any = {key: shared(each, known) for key, each in value.items()}
    elif isinstance(value, list):
        made = [shared(each, known) for each in value]
    else:
        return value
    return known.setdefault(msgspec.json.encode(made), made)


async def test_the_description_is_valid_openapi_and_complete(api: Api):
    answer = await api.get("//api/openapi.json", role=None)
    assert answer.value["openapi"].startswith("3.1")
    validate(shared(answer.value, {}))
    described = {(method.upper(), path) for path, operations in answer.value["paths"].items() for method in operations}
    assert described == {(route.method, route.full_path) for route in resources.ROUTES}
    schemas = answer.value["components"]["schemas"]
    assert schemas["NewPlan"]["additionalProperties"] is False
    assert schemas["NewPlan"]["required"] == ["name", "down_bps", "up_bps"]
    assert schemas["Plan"]["properties"]["created_at"] == {"type": "string", "format": "date-time"}
    assert schemas["Subscriber"]["properties"]["ipv4"]["anyOf"][0] == {"type": "string", "format": "ipv4"}
    listing = answer.value["paths"]["/api/v1/subscribers"]["get"]
    named = {parameter["name"] for parameter in listing["parameters"]}
    assert {"limit", "after", "count", "sort", "fields", "q", "username", "username__begins", "state", "state__in", "plan", "created_at__gte"} <= named
    assert not {"password", "secret"} & set(schemas["Subscriber"]["properties"]) | set(schemas["Nas"]["properties"]) & {"secret"}


async def test_an_answer_fits_its_description(api: Api):
    """What comes back is what the document says: every member of an object is described, none is missing."""
    plan = (await api.post("/plans", {"name": "P", "down_bps": 100_000_000, "up_bps": 20_000_000, "dns": ["2001:db8::53", "192.0.2.53"]})).value
    document = msgspec.json.decode((await api.get("//api/openapi.json", role=None)).raw)
    assert set(plan) == set(document["components"]["schemas"]["Plan"]["properties"])
