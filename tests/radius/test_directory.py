"""The directory's records: what is kept of a subscriber, and what a million of them cost."""

import sys
from collections.abc import Callable

import pytest

from netd.radius.directory import Directory
from netd.radius.grants import Wall
from netd.store.directory import SubscriberRow
from tests.radius.engine import EXTENSIONS

PLAIN = SubscriberRow(7, 1, "alice", "alice", b"wonderland", 1, "active", 0.0, None, None, None, None, None, None, None, None)


@pytest.fixture
def directory() -> Directory:
    return Directory(EXTENSIONS(), lambda sealed, context: sealed, Wall("wall", "", 1, 1))


def test_what_few_subscribers_have_costs_the_others_a_reference(directory: Directory) -> None:
    directory.put_subscribers([PLAIN, PLAIN._replace(id=8, username="bob", username_key="bob")])
    alice, bob = directory.subscribers[7], directory.subscribers[8]
    assert alice.rare is bob.rare
    assert alice.username is alice.key, "a name that is its own key is kept once"
    assert sys.getsizeof(alice) <= 152, "a member that few subscribers need belongs into Rare"


@pytest.mark.parametrize(
    "change", [
        lambda row: row._replace(state="suspended"), lambda row: row._replace(locks=[("overdue", "walled", None)]), lambda row: row._replace(expires_at=1.0),
        lambda row: row._replace(ipv4="100.64.0.1"), lambda row: row._replace(replies=[("Framed-MTU", "=", "1492")]),
        lambda row: row._replace(replies=[("No-Such-Attribute", "=", "1")]),
    ],
)  # fmt: skip
def test_what_one_subscriber_has_is_not_shared(directory: Directory, change: Callable[[SubscriberRow], SubscriberRow]) -> None:
    directory.put_subscribers([change(PLAIN), PLAIN._replace(id=8, username="bob", username_key="bob")])
    alice, bob = directory.subscribers[7], directory.subscribers[8]
    assert alice.rare is not bob.rare
    assert (bob.state, bob.locks, bob.expires_at, bob.ipv4, bob.extra, bob.replaced, bob.fault) == ("active", (), None, None, b"", frozenset(), "")
    assert (bob.simple, bob.own_body) == (True, False)
    assert not alice.simple or alice.own_body


def test_a_changed_subscriber_goes_by_the_new_name_only(directory: Directory) -> None:
    directory.put_subscribers([PLAIN])
    before = directory.subscribers[7]
    before.last_source = b"02:00:00:00:00:01"
    directory.put_subscribers([PLAIN._replace(username="Alice", username_key="".join(("al", "ice")))])
    again = directory.subscribers[7]
    assert again is directory.users[1]["alice"]
    assert (again.username, again.last_source) == ("Alice", b"02:00:00:00:00:01")
    assert again.key is before.key, "the tables keep their keys, so the record must not hold copies of them"
    directory.put_subscribers([PLAIN._replace(username="Alicia", username_key="alicia")])
    assert list(directory.users[1]) == ["alicia"]
    directory.remove_subscribers([7])
    assert (directory.users[1], directory.subscribers) == ({}, {})


def test_a_name_taken_over_stays_with_the_new_subscriber(directory: Directory) -> None:
    directory.put_subscribers([PLAIN])
    directory.put_subscribers([PLAIN._replace(id=9)])  # the feed tells of the new one before the old one's renaming
    directory.put_subscribers([PLAIN._replace(username="old", username_key="old")])
    assert directory.users[1]["alice"].id == 9
    directory.remove_subscribers([7])
    assert list(directory.users[1]) == ["alice"]
