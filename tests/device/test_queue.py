"""Queues of devices: order, bounds, deadlines, breakers, and that a device that hangs slows no other."""

import asyncio

import pytest

from netd.device.queue import DeviceQueues, QueueLimits
from netd.errors import PeerError, PeerUnreachable, TooOften


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def _fails(reason: str) -> None:
    raise PeerUnreachable("no", reason)


async def test_one_at_a_time_in_order_and_others_meanwhile() -> None:
    queues, order, under_way = DeviceQueues(), [], 0
    gate = asyncio.Event()

    async def work(number: int) -> int:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await gate.wait()
        order.append(number)
        under_way -= 1
        return number

    async def other() -> str:
        return "at once"

    waiting = [asyncio.create_task(queues.run("a", lambda n=number: work(n))) for number in range(5)]  # type: ignore[misc]
    assert await queues.run("b", other) == "at once"
    gate.set()
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3, 4] == order
    assert queues.outcomes == {"ok": 6} and not queues._lines, "nothing is kept of devices that are well"


async def test_as_many_sessions_as_the_device_takes() -> None:
    queues, under_way, most = DeviceQueues(), 0, 0

    async def work() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(queues.run("a", work, sessions=3) for _ in range(12)))
    assert most == 3


async def test_no_more_sessions_than_the_ceiling_over_all_devices() -> None:
    queues, under_way, most = DeviceQueues(QueueLimits(sessions=3)), 0, 0

    async def work() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(queues.run(f"d{number}", work) for number in range(12)))
    assert most == 3


async def test_a_hung_device_holds_its_own_slot_only() -> None:
    """Ten hung devices with work waiting behind each hold ten of twelve sessions; two hundred others go through the two that are left."""
    queues = DeviceQueues(QueueLimits(sessions=12, deadline_seconds=30))
    never = asyncio.Event()

    async def hang() -> None:
        await never.wait()

    async def quick() -> int:
        await asyncio.sleep(0)
        return 1

    hung = [asyncio.create_task(queues.run(f"hung{number % 10}", hang)) for number in range(50)]
    await asyncio.sleep(0)
    assert sum(await asyncio.gather(*(queues.run(f"well{number}", quick) for number in range(200)))) == 200
    assert queues._running == 10
    for task in hung:
        task.cancel()
    ended = await asyncio.gather(*hung, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended) and queues._running == 0 and not queues._lines


async def test_a_deadline_ends_the_work_and_counts() -> None:
    queues = DeviceQueues(QueueLimits(open_after=1))
    cleaned = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    with pytest.raises(PeerUnreachable, match="was not done within") as failure:
        await queues.run("a", hang, deadline_seconds=0.02)
    assert failure.value.reason == "timeout" and cleaned.is_set() and queues.away("a")
    blocker = asyncio.create_task(queues.run("b", hang))
    await asyncio.sleep(0)
    with pytest.raises(PeerUnreachable, match="did not get its turn within"):
        await queues.run("b", hang, deadline_seconds=0.02)
    assert not queues.away("b"), "that its turn did not come says nothing of the device"
    blocker.cancel()
    await asyncio.gather(blocker, return_exceptions=True)


async def test_the_breaker_opens_twice_as_long_each_time() -> None:
    clock = Clock()
    queues = DeviceQueues(QueueLimits(open_after=3, open_seconds=30, most_open_seconds=100), clock)
    for _ in range(3):
        with pytest.raises(PeerUnreachable, match="no"):
            await queues.run("a", lambda: _fails("timeout"))
    for seconds in (30, 60, 100, 100):
        clock.now += seconds - 1
        with pytest.raises(PeerUnreachable) as failure:
            await queues.run("a", lambda: _fails("timeout"))
        assert failure.value.reason == "breaker_open" and queues.away("a")
        clock.now += 1
        assert not queues.away("a")
        with pytest.raises(PeerUnreachable, match="no"):
            await queues.run("a", lambda: _fails("timeout"))
    clock.now += 100
    await queues.run("a", lambda: asyncio.sleep(0))
    assert not queues.away("a") and queues.outcomes == {"timeout": 7, "breaker_open": 4, "ok": 1}


@pytest.mark.parametrize("reason", ["credentials", "busy", "host_key"])
async def test_a_device_that_answers_is_not_away(reason: str) -> None:
    queues = DeviceQueues(QueueLimits(open_after=1))
    with pytest.raises(PeerUnreachable):
        await queues.run("a", lambda: _fails(reason))
    assert not queues.away("a")


async def test_what_waits_when_the_breaker_opens_is_turned_away() -> None:
    queues = DeviceQueues(QueueLimits(open_after=1))
    ended = await asyncio.gather(*(queues.run("a", lambda: _fails("connect")) for _ in range(4)), return_exceptions=True)
    assert [each.reason for each in ended if isinstance(each, PeerUnreachable)] == ["connect", *["breaker_open"] * 3]


async def test_too_much_waits() -> None:
    queues = DeviceQueues(QueueLimits(waiting=2))

    async def refused() -> None:
        raise PeerError("no")

    gate = asyncio.Event()
    tasks = [asyncio.create_task(queues.run("a", gate.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooOften):
        await queues.run("a", gate.wait)
    gate.set()
    await asyncio.gather(*tasks)
    with pytest.raises(PeerError):
        await queues.run("a", refused)
    assert queues.outcomes == {"full": 1, "ok": 3, "refused": 1}
