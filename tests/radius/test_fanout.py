"""Enforcement of many sessions at many NAS: a dead one delays nobody and is not asked over and over; one that loses packets is asked more slowly."""

import asyncio
import time

import pytest

from netd.errors import Conflict
from netd.radius.control import Control
from tests.radius.fanout import Network, devices, subscriber
from tests.radius.world import eventually

ADDRESSES = [f"127.0.78.{number}" for number in range(1, 21)]
SESSIONS = 2_000
DEAD = ADDRESSES[7]
QUICK = {"timeout_seconds": 0.1, "attempts": 2, "retry_seconds": 1}
"""Where a NAS says nothing: it is soon taken for dead."""

PATIENT = {"timeout_seconds": 120.0}
"""Where all answer: a busy machine must not repeat what is counted."""


async def rolled_out(network: Network, alive: list[int]) -> None:
    """Change the plan; returns once all NAS of ``alive`` have it."""
    network.change_plan(200_000_000)
    looking = asyncio.create_task(network.enforcer.plans_changed([1]))
    await eventually(lambda: looking.done() and all(network.settled(number) for number in alive), 60.0)


async def test_a_dead_nas_does_not_slow_the_nineteen_others() -> None:
    alive = [number for number, address in enumerate(ADDRESSES, 1) if address != DEAD]
    with devices(ADDRESSES, {DEAD}) as running:
        network = Network(ADDRESSES, running.ports, SESSIONS, **PATIENT)
        tasks = len(asyncio.all_tasks())
        await rolled_out(network, alive)
        assert len(asyncio.all_tasks()) <= tasks + len(ADDRESSES), "no task for each session"
        assert not network.client.unreachable(), "the others have it before the first that the dead one was asked is given up"
        await network.stop()


async def test_the_queue_of_a_dead_nas_is_not_tried_one_by_one() -> None:
    with devices([DEAD], {DEAD}) as running:
        network = Network([DEAD], running.ports, SESSIONS // 20, **QUICK)
        network.change_plan(200_000_000)
        await network.enforcer.plans_changed([1])
        await eventually(lambda: network.states() == {"unreachable": SESSIONS // 20})
        heard = running.heard()[DEAD]
        assert heard <= 2 * 2 * 8, f"{heard} datagrams"
        assert DEAD in network.client.unreachable()
        await network.stop()


async def test_a_nas_that_is_back_gets_all_that_it_missed() -> None:
    with devices(ADDRESSES[:2], {ADDRESSES[0]}) as running:
        begun = time.time()
        network = Network(ADDRESSES[:2], running.ports, 100, **QUICK)
        sweeping = asyncio.create_task(network.enforcer.run())
        await rolled_out(network, [2])
        await eventually(lambda: network.states(1) == {"unreachable": 50})
        assert begun <= network.client.unreachable()[ADDRESSES[0]] <= time.time()
        (queue,) = [queue for queue in Control(network.enforcer).standing(1).queues if queue.nas == ADDRESSES[0]]
        assert queue.unreachable_since is not None
        began, heard = time.monotonic(), running.heard()[ADDRESSES[0]]
        await asyncio.sleep(1.5)
        await eventually(lambda: running.heard()[ADDRESSES[0]] > heard)
        more = running.heard()[ADDRESSES[0]] - heard
        assert more <= 2 * (time.monotonic() - began + 2), "a single request every second, sent twice, looks whether it is back"
        running.heard(revive=(ADDRESSES[0],))
        await eventually(lambda: network.settled(1))
        assert network.client.unreachable() == {}
        sweeping.cancel()
        await network.stop()


async def test_one_answer_brings_all_that_was_missed_without_waiting_for_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    with devices(ADDRESSES[:1], {ADDRESSES[0]}) as running:
        network = Network(ADDRESSES[:1], running.ports, 50, **QUICK)
        network.change_plan(200_000_000)
        await network.enforcer.plans_changed([1])
        await eventually(lambda: network.states() == {"unreachable": 50})
        monkeypatch.setattr("netd.radius.enforce.SWEEP_SECONDS", 3600.0)
        sweeping = asyncio.create_task(network.enforcer.run())
        running.heard(revive=(ADDRESSES[0],))
        network.wait_longer()
        answered: list[str] = []
        row = network.sessions.by_id[f"{1:032x}"].row
        network.enforcer.orders.post("disconnect", row, network.directory.nas[1], (), lambda result: answered.append(result.outcome), urgent=True)
        await eventually(lambda: network.settled(1))
        assert answered == ["ack"], "an operator's order is tried whatever is known of the NAS"
        sweeping.cancel()
        await network.stop()


async def test_a_nas_that_loses_packets_gets_a_smaller_window_and_is_served_all_the_same() -> None:
    with devices(ADDRESSES[:1], lossy={ADDRESSES[0]: 2}) as running:
        network = Network(ADDRESSES[:1], running.ports, 60, timeout_seconds=0.05, attempts=6, retry_seconds=1, window=16)
        smallest = 16

        def done() -> bool:
            nonlocal smallest
            smallest = min([smallest, *(queue.window for queue in network.client.queues())])
            return network.settled(1)

        sweeping = asyncio.create_task(network.enforcer.run())  # a machine that is busy besides may lose all six
        network.change_plan(200_000_000)
        await network.enforcer.plans_changed([1])
        await eventually(done, 60.0)
        assert smallest < 8
        sweeping.cancel()
        await network.stop()


# -- too many at once ------------------------------------------------------------------------------------------------


async def suspended(network: Network, numbers: range) -> None:
    """What the loader does when these subscribers were suspended in one go."""
    with network.enforcer.gathering():
        for start in range(numbers.start, numbers.stop, 100):
            chunk = range(start, min(start + 100, numbers.stop))
            network.directory.put_subscribers(subscriber(number, "suspended") for number in chunk)
            await network.enforcer.subscribers_changed(chunk)


@pytest.fixture
def few() -> list[str]:
    return ADDRESSES[:2]


async def test_a_wave_is_held_before_anybody_is_disconnected_and_done_once_confirmed(few: list[str]) -> None:
    with devices(few) as running:
        network = Network(few, running.ports, 1000, **PATIENT)
        await suspended(network, range(1, 301))
        assert network.states() == {"applied": 700, "pending": 300}
        held = network.enforcer.guard.held(1)
        assert held is not None
        assert (held.sessions, held.live, held.causes) == (300, 1000, {"suspended": 300})
        await network.enforcer.sweep()
        await asyncio.sleep(0.1)
        assert set(running.heard().values()) == {0}, "nobody was disconnected"
        network.change_plan(200_000_000)
        await network.enforcer.plans_changed([1])
        await eventually(lambda: sum(running.heard().values()) == 700)
        with pytest.raises(Conflict, match="300 sessions are held by now, not 299"):
            network.enforcer.guard.confirm(1, 299)
        assert network.enforcer.guard.confirm(1, 300) == 300
        await eventually(lambda: sum(running.heard().values()) == 1000)
        assert network.enforcer.guard.held(1) is None
        await eventually(lambda: network.states() == {"applied": 1000})
        await network.stop()


async def test_a_wave_that_is_discarded_leaves_the_sessions_as_they_are(few: list[str]) -> None:
    with devices(few) as running:
        network = Network(few, running.ports, 1000, **PATIENT)
        await suspended(network, range(1, 301))
        assert network.enforcer.guard.discard(1, 300, "ann") == 300
        await network.enforcer.sweep()
        await asyncio.sleep(0.1)
        assert set(running.heard().values()) == {0}
        assert network.states() == {"applied": 700, "unverified": 300}
        with pytest.raises(Conflict, match="nothing is held"):
            network.enforcer.guard.confirm(1, 300)
        await suspended(network, range(301, 311))
        await eventually(lambda: sum(running.heard().values()) == 10)
        await network.stop()


async def test_rows_that_are_mended_end_the_wave(few: list[str]) -> None:
    with devices(few) as running:
        network = Network(few, running.ports, 1000, **PATIENT)
        await suspended(network, range(1, 301))
        network.directory.put_subscribers(subscriber(number) for number in range(1, 301))
        await network.enforcer.subscribers_changed(range(1, 301))
        assert network.enforcer.guard.held(1) is None
        assert network.states() == {"applied": 1000}
        assert set(running.heard().values()) == {0}
        await network.stop()


async def test_changes_that_only_a_disconnect_brings_are_a_wave_too(few: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor that cannot change rates, or a NAS that refuses every CoA, must not have all its subscribers disconnected for a new rate."""
    with devices(few) as running:
        network = Network(few, running.ports, 1000, **PATIENT)
        monkeypatch.setattr(network.enforcer._steps, "_change", lambda live, grant, vendor: None)
        network.change_plan(200_000_000)
        await network.enforcer.plans_changed([1])
        await asyncio.sleep(0.1)
        assert set(running.heard().values()) == {0}
        held = network.enforcer.guard.held(1)
        assert held is not None
        assert held.sessions == 1000
        await network.stop()
