from datetime import datetime
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from netd.domain.conversion import convert, faults
from netd.domain.subscribers import NewSubscriber, SubscriberPatch
from tests.web.running import Api


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]
    rate: Annotated[int, Meta(ge=1)] = 1
    since: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    one: Inner
    many: Annotated[tuple[Inner, ...], Meta(max_length=3)] = ()
    perhaps: Inner | UnsetType | None = UNSET
    numbers: list[int] | None = None
    either: str | int = 1
    at: datetime | None = None
    named: dict[str, tuple[datetime, ...]] = {}
    anything: Any = None


def told(value, kind=Outer):
    return [tuple(fault) for fault in faults(value, kind)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"one": {"name": "a"}}, []),
        ({}, [("/one", "is missing")]),
        ({"one": {"name": "", "rate": 0}, "many": [{"name": "b"}, {"rate": "x"}], "whim": 1}, [
            ("/one/name", "is empty"), ("/one/rate", "must be at least 1"), ("/many/1/name", "is missing"),
            ("/many/1/rate", "Expected `int`, got `str`"), ("/whim", "is not known here"),
        ]),
        ({"one": {"name": "a"}, "perhaps": {"nam": "b"}, "numbers": [1, "x", None]}, [
            ("/perhaps/name", "is missing"), ("/perhaps/nam", "is not known here"),
            ("/numbers/1", "Expected `int`, got `str`"), ("/numbers/2", "Expected `int`, got `null`"),
        ]),
        ({"one": {"name": "a"}, "many": [{"name": "b"}] * 4}, [("/many", "has more than 3 items")]),
        ({"one": {"name": "a"}, "either": []}, [("/either", "Expected `int | str`, got `array`")]),
        ([], [("", "Expected `object`, got `array`")]),
        ({"one": {"name": "a", "since": "9999-12-31T23:59:59Z"}, "many": [{"name": "b"}, {"name": "c", "since": "0001-01-01T00:00:00Z"}], "numbers": [None]}, [
            ("/one/since", "is not in the years 1970 to 9998 (UTC)"), ("/many/1/since", "is not in the years 1970 to 9998 (UTC)"),
            ("/numbers/0", "Expected `int`, got `null`"),
        ]),
        ({"one": {"name": "a"}, "at": "2026-11-01T00:00:00"}, [("/at", "has no time zone; put Z behind it for UTC")]),
        ({"one": {"name": "a"}, "named": {"x": ["2026-11-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]}}, [
            ("/named/*/1", "is not in the years 1970 to 9998 (UTC)"),
        ]),
        ({"one": {"name": "a"}, "anything": [["0001-01-01T00:00:00Z"]]}, []),
    ],
)  # fmt: skip
def test_every_fault_is_told_with_its_place(value, found):
    assert told(value) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["one", "many", "name", "rate", "perhaps", "numbers", "x/y"]), inner),
    max_leaves=15,
)


@given(JSON)
def test_faults_are_found_exactly_where_msgspec_refuses(value):
    try:
        convert(value, Outer)
    except msgspec.ValidationError:
        assert told(value)
    else:
        assert told(value) == []


def test_a_flood_of_faults_is_cut():
    assert len(told({f"x{number}": 1 for number in range(1000)})) == 100


@pytest.mark.parametrize("kind", [NewSubscriber, SubscriberPatch])
def test_the_apis_own_inputs(kind):
    found = dict(told({"username": "", "plan": [], "max_sessions": -1, "expires_at": "soon", "checks": [{"attribute": "A", "op": "~"}]}, kind))
    assert set(found) == {"/username", "/plan", "/max_sessions", "/expires_at", "/checks/0/op"}


async def test_the_api_tells_them_all(api: Api):
    refused = await api.post("/plans", {"name": "", "up_bps": "fast", "burst": 1})
    assert refused.status == 422
    assert [each["pointer"] for each in refused.value["errors"]] == ["/name", "/down_bps", "/up_bps", "/burst"]
    refused = await api.get("/plans?limit=0&sortt=x&down_bps=y")
    assert sorted(each["pointer"] for each in refused.value["errors"]) == ["/down_bps", "/limit", "/sortt"]
