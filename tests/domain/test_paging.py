"""Cursors and pages."""

import base64

import msgspec
import pytest

from netd.domain import paging
from netd.domain.paging import Page, PageQuery
from netd.errors import InvalidInput


class Thing(msgspec.Struct):
    id: int


def test_walk():
    things = [Thing(n) for n in range(1, 6)]
    seen, after = [], None
    while True:
        query = PageQuery(limit=2, after=after)
        begin = paging.position(query, "thing") or 0
        page = paging.page([t for t in things if t.id > begin][:3], query, "thing", None)
        seen += [t.id for t in page.items]
        after = page.next
        if after is None:
            break
    assert seen == [1, 2, 3, 4, 5]


def test_exactly_one_page_has_no_next():
    assert paging.page([Thing(1), Thing(2)], PageQuery(limit=2), "thing", None).next is None


def test_total_only_when_counted():
    assert msgspec.json.encode(Page(items=(Thing(1),), next=None)) == b'{"items":[{"id":1}],"next":null}'
    assert b'"total":7' in msgspec.json.encode(Page(items=(Thing(1),), next=None, total=7))
    assert b'"total":0' in msgspec.json.encode(Page(items=(), next=None, total=0))


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "%%%",
        paging.cursor("other", 3),
        base64.urlsafe_b64encode(b"thing:-1").decode(),
        base64.urlsafe_b64encode(b"thing:" + b"9" * 30).decode(),
        base64.urlsafe_b64encode("thing:٣".encode()).decode(),
        base64.urlsafe_b64encode(b"thing:").decode(),
        "é",
        "\0",
    ],
)
def test_not_a_cursor(after):
    with pytest.raises(InvalidInput) as caught:
        paging.position(PageQuery(after=after), "thing")
    assert caught.value.faults[0].where == "/after"


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_limits(limit):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"limit": limit}, PageQuery)
