"""A change of plan for 20,000 live sessions on 20 NAS, all alive and then with one of them dead, in turn in one run.

How long the 19 others take must not differ; nor may memory grow with the number of sessions in the queue of the dead one.
"""

import argparse
import asyncio
import json
import resource
import time
from pathlib import Path
from statistics import median

import uvloop

from tests.radius.fanout import Network, devices

ADDRESSES = [f"127.0.77.{number}" for number in range(1, 21)]


async def measure(sessions: int, dead: set[str]) -> dict[str, float]:
    """Seconds until the NAS that live are done, CPU, tasks besides those that there were, and growth of the resident memory in MB."""
    with devices(ADDRESSES, dead) as running:
        network = Network(ADDRESSES, running.ports, sessions)
        alive = [number for number, address in enumerate(ADDRESSES, 1) if address not in dead]
        before, memory = time.process_time(), resident_mb()
        tasks = len(asyncio.all_tasks())
        network.change_plan(200_000_000)
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        looking = loop.create_task(network.enforcer.plans_changed([1]))
        most_tasks, peak = 0.0, memory
        while not (looking.done() and all(network.settled(number) for number in alive)):
            await asyncio.sleep(0.02)
            most_tasks = max(most_tasks, len(asyncio.all_tasks()) - tasks)
            peak = max(peak, resident_mb())
            if time.monotonic() - began > 120:
                raise SystemExit(f"not done after 120 s: {network.states()}")
        took = time.monotonic() - began
        cpu = time.process_time() - before
        await network.stop()
    return {"seconds": round(took, 2), "cpu_seconds": round(cpu, 2), "tasks": most_tasks, "memory_mb": round(peak - memory, 1)}


def resident_mb() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def main(sessions: int, rounds: int) -> None:
    """Measure in turn, and print a line of JSON for each."""
    took: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(rounds):
        for dead in (set[str](), {ADDRESSES[7]}):
            measured = await measure(sessions, dead)
            took[len(dead)].append(measured["seconds"])
            print(json.dumps({"sessions": sessions, "dead": len(dead), **measured}), flush=True)
    print(json.dumps({"ratio_with_a_dead_one": round(median(took[1]) / median(took[0]), 2)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.sessions, arguments.rounds))
