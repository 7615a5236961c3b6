"""Times at the edge of the calendar, in every member and filter of every route: told as a fault where it stands, and never a failure."""

from collections.abc import Iterator
from datetime import datetime
from itertools import cycle, islice
from typing import Any, get_args
from urllib.parse import quote

import msgspec
import pytest

from netd.web.api import resources
from netd.web.api.route import UPLOADS, Route
from tests.web.running import Api
from tests.web.test_isolation import body_of, owned, target  # noqa: F401 (a fixture)

BEYOND = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00+00:01", "9999-01-01T00:00:00Z",
    "9998-12-31T23:59:59-00:01", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z", "2026-11-01T00:00:00", "1700000000", "-6e-210",
)  # fmt: skip
WITHIN = ("1970-01-01T00:00:00Z", "9998-12-31T23:59:59.999999Z")
ALL_ASKED = 12
"""So many filters are asked for all of them; further ones, which share their reading with these, for some in turn."""

ROUTES = [each for each in resources.ROUTES if not (each.permission or "").startswith("me:")]


def is_moment(kind: Any) -> bool:
    return kind is datetime or any(map(is_moment, get_args(kind)))


def moments(kind: Any) -> list[str]:
    """The members that are times."""
    return [] if kind is None or kind in UPLOADS else [each.encode_name for each in msgspec.structs.fields(kind) if is_moment(each.type)]


def filters() -> Iterator[tuple[Route, str]]:
    for route in ROUTES:
        names = moments(route.query)
        names += [f"{name}__in" for name in names if f"{name}__in" in route.query.__struct_fields__]
        yield from ((route, name) for name in names)


def bodies() -> Iterator[tuple[Route, str]]:
    yield from ((route, name) for route in ROUTES for name in moments(route.body))


def test_there_is_something_to_ask():
    assert len(list(filters())) > 50
    assert {f"{route.body.__name__}.{name}" for route, name in bodies()} >= {
        "NewSubscriber.expires_at", "SubscriberPatch.expires_at", "NewToken.expires_at", "NewJob.run_at", "NewSchedule.begins_at", "NewTopUp.expires_at",
        "NewLock.until_at", "NewExpected.opens_at", "ExpectedPatch.closes_at",
    }  # fmt: skip


@pytest.mark.timeout(600)
async def test_filters(api: Api, owned: dict[str, int]):  # noqa: F811
    wrong = []
    beyond = cycle(BEYOND)
    for number, (route, name) in enumerate(filters()):
        path = target(route, owned).partition("?")[0]
        for value in (*(BEYOND if number < ALL_ASKED else islice(beyond, 3)), *WITHIN):
            answer = await api.call(route.method, f"{path}?{name}={quote(value)}")
            if value in WITHIN and answer.status < 500:
                continue
            if answer.status != 422 or f"/{name}" not in [each["pointer"] for each in answer.value["errors"]]:
                wrong.append((path, name, value, answer.status))
    assert wrong == []


@pytest.mark.timeout(600)
async def test_bodies(api: Api, owned: dict[str, int]):  # noqa: F811
    wrong = []
    for route, name in bodies():
        body: Any = body_of(route, owned)
        for value in (*BEYOND, *WITHIN):
            answer = await api.call(route.method, target(route, owned), body={**body, name: value})
            if value in WITHIN and answer.status < 500:
                continue
            if answer.status != 422 or f"/{name}" not in [each["pointer"] for each in answer.value["errors"]]:
                wrong.append((route.path, name, value, answer.status))
    assert wrong == []


async def test_in_bulk_and_in_files(api: Api, owned: dict[str, int]):  # noqa: F811
    for value in BEYOND:
        order = {"items": [{"do": "create", "value": {"username": "carol", "plan": "home", "expires_at": value}}]}
        answer = await api.post("/subscribers/bulk", order)
        assert [each["pointer"] for each in answer.value["items"][0]["problem"]["errors"]] == ["/value/expires_at"], value
        line = msgspec.json.encode({"subscriber": {"username": "carol", "plan": "home", "expires_at": value}})
        answer = await api.call("POST", "/import", data=line, headers={"Content-Type": "application/x-ndjson"})
        assert [each["pointer"] for each in answer.value["provision_report"]["errors"]] == ["/subscriber/expires_at"], value


@pytest.mark.parametrize("begins_at", WITHIN)
@pytest.mark.parametrize("when", [{"cron": "0 0 29 2 *"}, {"cron": "@daily"}, {"interval_seconds": 366 * 86400}])
async def test_a_schedule_that_begins_at_the_edge(api: Api, begins_at: str, when: dict[str, Any]):
    made = await api.post("/schedules", {"name": "late", "kind": "audit.verify", "begins_at": begins_at, **when})
    assert made.status in (201, 422), made.value
