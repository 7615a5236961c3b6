"""What listeners of events share."""

import asyncio
from datetime import UTC, datetime

import pytest

from netd.errors import StoreUnavailable
from netd.model.event import Event
from netd.web.listening import ENCODED, FRESH_SECONDS, Listeners


def event(number: int) -> Event:
    return Event(
        id=f"{number}.1", at=datetime(2026, 11, 1, tzinfo=UTC), type="plan.updated", object_type="plan", object_id="1", subscriber_id=None, site_id=None,
        actor=None, data={},
    )  # fmt: skip


def test_an_event_is_encoded_once_and_not_kept_for_ever():
    listeners, made = Listeners(), []

    def encode(each: Event) -> bytes:
        made.append(each.id)
        return each.id.encode()

    assert [listeners.encoded(event(1), encode) for _ in range(3)] == [b"1.1"] * 3
    assert made == ["1.1"]
    for number in range(ENCODED + 1):
        assert listeners.encoded(event(number), encode) == f"{number}.1".encode()
    assert len(listeners._made) <= ENCODED


async def test_a_caller_is_asked_about_once_for_all_its_listeners():
    listeners, asked, good = Listeners(), 0, True

    async def ask() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return good

    assert await asyncio.gather(*(listeners.allowed("a", 0.0, ask) for _ in range(100))) == [True] * 100
    assert asked == 1
    good = False
    assert await listeners.allowed("b", 1.0, ask) is False, "another caller is another question"
    assert await listeners.allowed("a", FRESH_SECONDS - 1, ask) is True
    assert await listeners.allowed("a", FRESH_SECONDS, ask) is False
    assert await listeners.allowed("a", FRESH_SECONDS + 1, ask) is False
    assert asked == 3


async def test_what_could_not_be_found_out_is_asked_again():
    listeners = Listeners()

    async def away() -> bool:
        raise StoreUnavailable("away")

    async def no() -> bool:
        return False

    with pytest.raises(StoreUnavailable):
        await listeners.allowed("a", 0.0, away)
    assert await listeners.allowed("a", 0.0, no) is False
