"""Filters, orders and pages, on the list of subscribers and of plans."""

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.domain import lists, plans, subscribers
from netd.errors import InvalidInput
from netd.store import plans as plan_store
from netd.store import subscribers as subscriber_store
from netd.store.listing import Column, Listing


async def names(database, actor, **asked):
    page = await subscribers.page(database, actor, subscribers.SubscriberQuery(**asked))
    return [each.username for each in page.items]


@pytest.fixture
async def crowd(world, database, actor):
    """Twelve subscribers of three plans and two states, made a minute apart."""
    for name, rate in (("Gold", 3000), ("bronze", 1000), ("silver", 2000)):
        await world.plan(actor, name, down_bps=rate * 1000)
    for number in range(12):
        plan = ("Gold", "bronze", "silver")[number % 3]
        state = "pending" if number % 4 == 0 else "active"
        made = await world.subscriber(actor, f"User{number:02}", plan=plan, state=state, full_name=None if number % 2 else f"Ann_{number} Doe")
        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        async with database.acquire() as conn:
            await conn.execute("update subscribers set created_at = $1 where id = $2", when, made.id)


@pytest.mark.usefixtures("crowd")
class TestSubscribers:
    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"username__in": "USER03, user01,nobody"}, [1, 3]),
            ({"username__begins": "user1"}, [10, 11]),
            ({"username__contains": "R1"}, [10, 11]),
            ({"state__ne": "active"}, [0, 4, 8]),
            ({"state__in": "pending,suspended"}, [0, 4, 8]),
            ({"plan": "GOLD", "state": "pending"}, [0]),
            ({"plan__in": "gold,SILVER", "username__begins": "user0"}, [0, 2, 3, 5, 6, 8, 9]),
            ({"full_name__null": True, "username__begins": "user0"}, [1, 3, 5, 7, 9]),
            ({"full_name__begins": "ann_1"}, [10]),
            ({"full_name__contains": "%"}, []),
            ({"created_at__gte": datetime(2026, 1, 1, 0, 9, tzinfo=UTC)}, [9, 10, 11]),
            ({"created_at__gt": datetime(2026, 1, 1, 0, 9, tzinfo=UTC), "created_at__lt": datetime(2026, 1, 1, 0, 11, tzinfo=UTC)}, [10]),
            ({"q": "ann_4"}, [4]),
            ({"q": "_1"}, [10]),
            ({"username": "\0"}, []),
        ],
    )
    async def test_filters(self, database, actor, asked, found):
        assert await names(database, actor, **asked) == [f"User{number:02}" for number in found]

    @pytest.mark.parametrize("sort", [None, "id", "-id", "username", "-username", "plan,-username", "-plan,state,username", "state", "-created_at", "plan,-id"])
    @pytest.mark.parametrize("limit", [1, 5, 12])
    async def test_pages_show_each_row_once_in_order(self, database, actor, sort, limit):
        whole = await names(database, actor, sort=sort)
        assert sorted(whole) == [f"User{number:02}" for number in range(12)]
        seen, after = [], None
        while True:
            page = await subscribers.page(database, actor, subscribers.SubscriberQuery(sort=sort, limit=limit, after=after, count=True))
            seen += [each.username for each in page.items]
            assert page.total == 12
            after = page.next
            if after is None:
                break
        assert seen == whole

    async def test_a_row_that_comes_shifts_no_page(self, world, database, actor):
        first = await subscribers.page(database, actor, subscribers.SubscriberQuery(sort="username", limit=6))
        await world.subscriber(actor, "User00a", plan="Gold")
        second = await subscribers.page(database, actor, subscribers.SubscriberQuery(sort="username", limit=6, after=first.next))
        assert [each.username for each in second.items] == [f"User{number:02}" for number in range(6, 12)]

    @pytest.mark.parametrize(
        ("asked", "pointer"),
        [
            ({"sort": "password"}, "/sort"), ({"sort": "expires_at"}, "/sort"), ({"sort": "id,username"}, "/sort"),
            ({"sort": "username,state,plan,created_at"}, "/sort"), ({"after": "AAAA"}, "/after"), ({"after": "é"}, "/after"), ({"plan": "nosuch"}, "/plan"),
            ({"plan_id__in": "1,x"}, "/plan_id__in"), ({"state__in": "active,lost"}, "/state__in"), ({"ipv4": "1.2.3"}, "/ipv4"),
            ({"username__in": ",".join("a" * 201)}, "/username__in"),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_asked(self, database, actor, asked, pointer):
        with pytest.raises(InvalidInput) as caught:
            await names(database, actor, **asked)
        assert pointer in [fault.where for fault in caught.value.faults]

    @pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z"])
    async def test_a_cursor_at_the_edge_of_the_calendar(self, database, actor, at):
        data = msgspec.json.encode(["subscriber", [("created_at", False)], [at, 1]])
        with pytest.raises(InvalidInput, match="/after"):
            await names(database, actor, sort="created_at", after=base64.urlsafe_b64encode(data).decode().rstrip("="))

    async def test_a_cursor_is_of_its_order(self, database, actor):
        page = await subscribers.page(database, actor, subscribers.SubscriberQuery(sort="username", limit=1))
        for sort in ("-username", None, "plan"):
            with pytest.raises(InvalidInput, match="/after"):
                await names(database, actor, sort=sort, after=page.next)
        with pytest.raises(InvalidInput, match="/after"):
            await plans.page(database, actor, plans.PlanQuery(sort="name", after=page.next))


async def test_numbers(world, database, actor):
    for rate in (1000, 2000, 3000):
        await world.plan(actor, f"p{rate}", down_bps=rate)
    for asked, found in (
        ({"down_bps__gte": 2000}, ["p2000", "p3000"]), ({"down_bps__in": "1000,3000"}, ["p1000", "p3000"]),
        ({"sort": "-down_bps", "limit": 2}, ["p3000", "p2000"]),
        ({"down_bps__lt": 2**63 - 1, "name__begins": "P1"}, ["p1000"]), ({"name__in": "P1000,P2000"}, ["p1000", "p2000"]),
    ):  # fmt: skip
        assert [each.name for each in (await plans.page(database, actor, plans.PlanQuery(**asked))).items] == found, asked


def test_a_column_cannot_take_a_parameters_name():
    with pytest.raises(ValueError, match="sort"):
        lists.query_type(Listing(kind="x", select="", counted="", tenant="", id="", columns={"sort": Column(sql="sort")}))


@given(st.text(max_size=60))
def test_no_text_is_a_cursor_by_chance(text):
    query = plans.PlanQuery(after=text)
    try:
        lists.selection(plan_store.LISTING, query)
    except InvalidInput as error:
        assert error.faults[0].where == "/after"
    else:
        pytest.fail("taken")


@given(st.text(max_size=40))
def test_any_sort_is_taken_or_told(text):
    query = subscribers.SubscriberQuery(sort=text)
    try:
        wanted = lists.selection(subscriber_store.LISTING, query)
    except InvalidInput as error:
        assert {fault.where for fault in error.faults} == {"/sort"}
    else:
        assert all(not part.column or subscriber_store.LISTING.columns[part.column].sortable for part in wanted.sort)
