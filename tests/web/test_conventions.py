"""What holds for every resource: lists are paged, filtered and sorted alike, lost updates are told, a POST sent twice is done once.

The route table is walked, so a new resource is held to it without being named here; what is left out is named, with the reason.
"""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from netd.domain.lists import RESERVED, ListQuery
from netd.store.database import Database
from netd.web.api import resources
from netd.web.api.openapi import document
from netd.web.api.route import UPLOADS, Route, is_versioned, places
from tests.web.running import Answer, Api
from tests.web.test_isolation import BODIES, body_of, owned, target  # noqa: F401 (a fixture)

SHORT = {
    "/subscribers/{id}/quota": "one for each quota of a plan",
    "/subscribers/{id}/locks": "one for each reason there is",
    "/subscribers/{id}/usage": "a day each, at most as many as were asked for",
    "/addresses": "who has one address, or what one subscriber has",
    "/permissions": "netd's own",
    "/events/types": "netd's own",
    "/me/sessions": "the own",
    "/reports": "netd's own",
    "/jobs/kinds": "netd's own",
    "/top-talkers": "as many as were asked for",
    "/dhcp/profiles": "the vendors'",
    "/software-recommendations": "one for each model",
}
"""Lists of one page, and why they are never long."""

OWN_CURSOR = {
    "/events": "an event's id is the cursor, as in Last-Event-ID", "/jobs/{id}/log": "an entry's number is the cursor, as in Last-Event-ID",
}  # fmt: skip

REFUSED = {
    "/radius/enforcement/confirm": "no wave is held",
    "/radius/enforcement/discard": "no wave is held",
    "/jobs/{id}/retry": "its arguments are made up",
    "/jobs/{id}/approve": "it was cancelled a moment before", "/jobs/{id}/decline": "it was cancelled a moment before",
    "/logout": "a token is no session", "/me/password": "a token is no session", "/me/totp": "a token is no session",
    "/me/totp/confirm": "a token is no session", "/me/totp/remove": "a token is no session",
}  # fmt: skip
"""POSTs that the estate of the walk refuses, so that nothing is done to be done twice."""

OTHER = {
    "name": "other", "username": "other", "hostname": "other", "address": "198.51.100.77", "mgmt_address": "198.51.100.77", "ranges": ["198.18.77.0/24"],
    "prefix": "198.18.78.0/24", "vrf": "blue", "model": "other",
}  # fmt: skip

ROUTES = [each for each in resources.ROUTES if not (each.permission or "").startswith("me:")]
"""Without those that need a token bound to a subscriber, which see to themselves in test_selfservice.py."""

DOCUMENT = document(resources.ROUTES)


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def lists() -> list[Route]:
    return [each for each in ROUTES if each.method == "GET" and "items" in getattr(each.returns, "__struct_fields__", ())] + [
        each for each in ROUTES if each.method == "GET" and issubclass(each.query, ListQuery)
    ]


def parameters(route: Route) -> dict[str, Any]:
    described = DOCUMENT["paths"][route.full_path][route.method.lower()].get("parameters", ())
    return {each["name"]: each for each in described if each["in"] == "query"}


def sortable(route: Route) -> list[str]:
    texts = [each["description"] for each in parameters(route)["sort"]["schema"]["anyOf"] if "description" in each] + [
        parameters(route)["sort"]["schema"].get("description", "")
    ]
    return str(max(texts, key=len)).partition(": ")[2].split(", ")


def test_a_list_is_a_page_of_a_listing_or_short():
    paged = {each.path for each in lists() if issubclass(each.query, ListQuery)}
    assert {each.path for each in lists()} - paged == SHORT.keys() | OWN_CURSOR.keys()
    assert len(paged) > 20


def text(value: object) -> str:
    return quote(str(value).lower() if isinstance(value, bool) else str(value), safe="")


async def every(api: Api, path: str, size: int) -> list[dict[str, Any]]:
    """All items, page by page."""
    found, after, pages = [], "", 0
    while True:
        answer = await api.get(f"{path}&limit={size}{after}")
        assert answer.status == 200, (path, answer.value)
        found += answer.value["items"]
        pages += 1
        assert len(found) <= 1000, f"{path} does not come to an end"
        if answer.value["next"] is None:
            assert pages <= len(found) // size + 1, path
            return found
        assert len(answer.value["items"]) == size
        after = f"&after={answer.value['next']}"


@pytest.fixture
async def estate(api: Api, database: Database, owned: dict[str, int]) -> dict[str, int]:  # noqa: F811
    """Two of nearly everything, and what the walk of tenants does not need."""
    for route in ROUTES:
        if route.method == "POST" and route.status == 201 and "{" not in route.path and route.body not in UPLOADS:
            assert (await api.post(route.path, another(route.body.__name__, "vrf", "model"))).status == 201, named(route)
    plan = (await api.post("/plans", {"name": "metered", "down_bps": 1000, "up_bps": 1000})).value["id"]
    for name in ("monthly", "daily"):
        owned["quotas"] = (await api.post(f"/plans/{plan}/quotas", {**BODIES["NewQuota"], "name": name})).value["id"]
    bob = (await api.post("/subscribers", {"username": "bob", "plan": "metered"})).value["id"]
    for number in (1, 2):
        router = {"hostname": f"router{number}", "mgmt_address": f"198.51.100.9{number}", "vendor": "mikrotik", "platform": "mikrotik_routeros"}
        assert (await api.post("/devices", router)).status == 201
        assert (await api.post(f"/subscribers/{bob}/top-ups", {"amount": 7, "quota": "daily"})).status == 201
    async with database.acquire() as conn:
        await conn.execute(
            """insert into quota_events (tenant_id, subscriber_id, quota_id, starts_at, percent, action, used, allowance, at)
               select 1, $1, $2, now(), n, 'notify', n, 100, now() from generate_series(1, 3) n""", bob, owned["quotas"],
        )  # fmt: skip
        await conn.execute(
            """insert into webhook_deliveries (tenant_id, webhook_id, delivery_id, event_id, event_type, delivered, attempt, at, seconds)
               select 1, $1, gen_random_uuid(), n || '.1', 'quota.reached', n = 1, 1, now(), 0.1 from generate_series(1, 3) n""", owned["webhooks"],
        )  # fmt: skip
    return {**owned, "metered": plan, "bob": bob}


def at(route: Route, estate: dict[str, int]) -> str:
    """Where the estate has a list, with the beginning of a query."""
    path = route.path
    if path.startswith("/plans/{id}/"):
        path = path.replace("{id}", str(estate["metered"]))
    if path == "/subscribers/{id}/top-ups":
        path = path.replace("{id}", str(estate["bob"]))
    found = target(Route(**{**vars(route), "path": path}), estate).partition("?")[0]
    return found + "?"


async def test_every_list_is_paged_filtered_and_sorted(api: Api, estate: dict[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("netd.domain.tokens._USE_NOTED_EVERY", timedelta(days=1))  # else asking changes what is asked for, once a minute
    for route in lists():
        if not issubclass(route.query, ListQuery):
            continue
        path = at(route, estate)
        whole = (await api.get(f"{path}&limit=1000&count=true")).value
        items = whole["items"]
        assert items, f"{path} is empty, so nothing was looked at"
        assert (whole["next"], whole["total"]) == (None, len(items))
        for sort in sortable(route):
            for sign in ("", "-"):
                asked = f"{path}&sort={sign}{sort}"
                in_order = (await api.get(f"{asked}&limit=1000")).value["items"]
                assert [each["id"] for each in await every(api, asked, max(1, len(items) // 3))] == [each["id"] for each in in_order], asked
                assert sorted(each["id"] for each in in_order) == sorted(each["id"] for each in items), asked
                assert ordered(in_order, sort, sign), asked
        assert [list(each) for each in (await api.get(f"{path}&fields=id")).value["items"]] == [["id"]] * min(100, len(items))
        for bad in ("nonsense=1", "sort=nonsense", "fields=nonsense", "after=nonsense", "limit=0"):
            assert (await api.get(f"{path}&{bad}")).status == 422, (path, bad)
        await filtered(api, route, path, items[0])


def ordered(items: list[dict[str, Any]], sort: str, sign: str) -> bool:
    """Whether the items stand in the order that was asked for, texts as PostgreSQL compares those of letters and digits in one case."""
    values: list[Any] = [each[sort].lower() if isinstance(each.get(sort), str) else each.get(sort) for each in items]
    plain = [value for value in values if not isinstance(value, str) or re.fullmatch(r"[a-z0-9:.]+", value)]
    return len(plain) < len(values) or all(a >= b if sign else a <= b for a, b in pairwise(values))


async def filtered(api: Api, route: Route, path: str, item: dict[str, Any]) -> None:
    """All filters by members that the item has find it together; each that it does not meet leaves it out by itself."""
    met, missed = [], []
    for name in parameters(route):
        column, _, op = name.partition("__")
        if name in RESERVED or column not in item:
            continue
        value = item[column]
        if op == "null":
            met.append(f"{name}={text(value is None)}")
            missed.append(f"{name}={text(value is not None)}")
        elif value is None or isinstance(value, list | dict):
            continue
        elif op in ("ne", "gt", "lt"):
            missed.append(f"{name}={text(value)}")
        else:
            met.append(f"{name}={text(value)}")
            if op in ("", "in") and "enum" not in str(parameters(route)[column]) and not isinstance(value, bool):
                missed.append(f"{name}={text(different(value))}")
    asked = "&".join(["", *met, "limit=1000", "fields=id"])
    found = await api.get(path + asked)
    assert found.status == 200, (path, asked, found.value)
    assert {"id": item["id"]} in found.value["items"], (path, asked)
    for each in missed:
        found = await api.get(f"{path}&{each}&limit=1000&fields=id")
        assert found.status in (200, 422), (path, each, found.value)  # 422: there is no plan of this name
        assert {"id": item["id"]} not in found.value.get("items", ()), (path, each)
    if "q" in parameters(route):
        assert (await api.get(f"{path}&q=%25%5Cno%20such%20word")).value["items"] == []


def different(value: object) -> object:
    """Another value of the same kind."""
    if isinstance(value, int):
        return value + 1_000
    words = str(value)
    if re.fullmatch(r"\d{4}-.*Z", words):
        return "1999" + words[4:]
    return "2001:db8::99" if re.fullmatch(r"[\d.]+|[\da-f:]+", words) and len(words) > 3 else words + "x"


async def test_a_lost_update_is_told(api: Api, estate: dict[str, int]):
    """Whatever changes or removes an object with an ETag does not, at another version than the caller saw; where there is none, If-Match is refused."""
    known = places(resources.ROUTES)
    versioned = {path for path, place in known.items() if place.versioned}
    assert len(versioned) > 10
    for route in ROUTES:
        if route.method == "PATCH":
            assert route.path in versioned, f"{named(route)}: of two who change it at once, one is not told"
    for route in ROUTES:
        if route.method == "GET" or route.public or route.body in UPLOADS:
            continue
        path = address(route, estate)
        body = None if route.body is None else body_of(route, estate)
        answer = await api.call(route.method, path, body=body, headers={"If-Match": '"999999"'})
        assert answer.status == 412, (named(route), answer.status, answer.value)
        if route.path in versioned:
            await versions(api, route, path, body)


def address(route: Route, estate: dict[str, int]) -> str:
    if "quota_id" in route.path:
        return f"/plans/{estate['metered']}/quotas/{estate['quotas']}"
    if route.path.startswith("/tenants/"):
        return "/tenants/2"
    return target(route, estate).partition("?")[0]


async def versions(api: Api, route: Route, path: str, body: object) -> None:
    """The ETag is that of the object, good for one change, and for asking whether there is another."""
    shown = await api.get(path)
    etag = shown.headers["etag"]
    assert etag == f'"{shown.value["version"]}"'
    assert (await api.get(path, headers={"If-None-Match": etag})).status == 304
    assert (await api.get(path, headers={"If-Match": '"999999"'})).status == 412
    if route.method == "PATCH" and not shown.value.get("built_in"):
        changed = await api.patch(path, body, headers={"If-Match": etag})
        assert changed.status == 200, (named(route), changed.value)
        assert changed.headers["etag"] != etag
        assert (await api.patch(path, body, headers={"If-Match": etag})).status == 412


async def test_a_post_that_is_sent_twice_is_done_once(api: Api, owned: dict[str, int]):  # noqa: F811
    shown = {(each.method, each.path) for each in ROUTES}
    refused = []
    for number, route in enumerate(ROUTES):
        if not route.takes_key:
            continue
        path, headers = target(route, owned), {"Idempotency-Key": f"key-{number}"}
        body = None if route.body is None else created(route, owned)
        first = await api.post(path, body, headers=headers)
        if first.status >= 300:
            refused.append(route.path)
            continue
        again = await api.post(path, body, headers=headers)
        assert (again.status, again.raw, again.headers.get("idempotent-replayed")) == (first.status, first.raw, "true"), named(route)
        if first.status == 201 and any(method == "GET" and re.fullmatch(re.escape(route.path) + r"/{\w+}", other) for method, other in shown):
            await made(api, named(route), first, again)
    assert sorted(refused) == sorted(REFUSED)


def created(route: Route, owned: dict[str, int]) -> object:  # noqa: F811
    """A body that the route takes; for bulk routes, to make one more, or what else can be done."""
    if route.path == "/pools/leases/bulk":
        return {"items": [{"do": "release", "id": owned["leases"], "value": {"force": True}}]}
    if route.path == "/alarms/bulk":
        return {"items": [{"do": "acknowledge", "id": owned["alarms"]}]}
    if route.path.endswith("/bulk"):
        makes = next((each for each in ROUTES if (each.method, each.path) == ("POST", route.path.removesuffix("/bulk"))), None)
        if makes is None:  # found by netd, so changed only
            changes = next(each for each in ROUTES if (each.method, each.path) == ("PATCH", route.path.replace("/bulk", "/{id}")))
            listed = route.path.removesuffix("/bulk").rpartition("/")[2]
            return {"items": [{"do": "update", "id": owned[listed], "value": BODIES[changes.body.__name__]}]}
        return {"items": [{"do": "create", "value": another(makes.body.__name__, *OTHER)}]}
    if route.path == "/software-targets":
        return another("NewSoftwareTarget", "model")
    if route.path.endswith("/accept"):
        return {**BODIES["Acceptance"], "hostname": "accepted"}
    if route.path.endswith("/adopt"):
        return {**BODIES[route.body.__name__], "hostname": "adopted"}
    if route.path.endswith("/preview"):
        return {"device": "core9"}
    if route.path == "/users/{id}/grants":
        return {"role": "support_agent"}
    return {**BODIES["NewPoolRule"], "vrf": "red"} if route.path == "/pools/rules" else body_of(route, owned)


def another(kind: str, *names: str) -> dict[str, Any]:
    """A body with other values in the members of these names, where it has them, or must have them to be no second of the same."""
    body = BODIES[kind]
    return {**body, **{name: OTHER[name] for name in names if name in body or (kind, name) in (("NewPoolRule", "vrf"), ("NewSoftwareTarget", "model"))}}


async def made(api: Api, name: str, first: Answer, again: Answer) -> None:
    """What was made is where the answer says."""
    assert first.headers["location"] == again.headers["location"], name
    assert (await api.get("/" + first.headers["location"].removeprefix("/api/v1/"))).status == 200, name


def test_what_can_be_made_changed_and_removed_can_be_so_in_bulk():
    """Of the resources that a portal keeps in step with its own."""
    methods: dict[str, set[str]] = {}
    for route in ROUTES:
        methods.setdefault(route.path, set()).add(route.method)
    whole = {path for path in methods if "{" not in path and {"PATCH", "DELETE"} <= methods.get(path + "/{id}", set()) and "POST" in methods[path]}
    few = {
        "/roles",
        "/webhooks",
        "/billing-hooks",
        "/templates",
        "/template-variables",
        "/software-targets",
        "/ztp/rules",
        "/ztp/devices",
    }
    assert {path for path in whole if f"{path}/bulk" not in methods} == few, "made one by one"


def test_single_objects_that_change_have_versions():
    for route in ROUTES:
        if route.method == "PATCH":
            assert is_versioned(route.returns), named(route)
