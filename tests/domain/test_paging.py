"""Pages as they are written."""

import msgspec

from netd.domain.paging import Page


class Thing(msgspec.Struct):
    id: int


def test_total_only_when_counted():
    assert msgspec.json.encode(Page(items=(Thing(1),), next=None)) == b'{"items":[{"id":1}],"next":null}'
    assert b'"total":7' in msgspec.json.encode(Page(items=(Thing(1),), next=None, total=7))
    assert b'"total":0' in msgspec.json.encode(Page(items=(), next=None, total=0))
