"""The real daemon with two kinds of jobs that say what they do for as long as they live, each word also into a file, the moment it counts as written.

``python -P jobs_daemon.py WITNESS``: the file has a line "PID JOB ATTEMPT NUMBER" per line of a log that was acknowledged.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from netd import daemon
from netd.config import load
from netd.domain.kinds import Done, JobContext, Kind, Subject
from netd.work.jobs import JobService

LINES = 3
LEASE_SECONDS = 600.0
"""Longer than any start takes: what happens at the end of a lease is brought about."""


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device that the job has for itself."""

    device: str


def kinds(witness: Path) -> tuple[Kind, ...]:
    """``again`` may be begun again, and is short then; ``once`` may not. Each goes on for ever in its first attempt."""
    file = os.open(witness, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def work(job: JobContext, orders: Orders) -> int:
        number = 0

        async def at(subject: Subject) -> Done:
            nonlocal number
            while job.job.attempt == 1 or number < LINES:
                await job.log(f"attempt {job.job.attempt} line {number}", target=subject.key)
                os.write(file, f"{os.getpid()} {job.job.id} {job.job.attempt} {number}\n".encode())
                number += 1
                job.progress(min(0.9, number / 100))
                await asyncio.sleep(0.05)
            return Done()

        await job.each([Subject(orders.device, orders.device)], at)
        return number

    common: dict[str, Any] = {"args": Orders, "run": work, "permission": "nas:write", "timeout_seconds": 600, "at_once": 50}
    return Kind(name="again", title="Again", idempotent=True, **common), Kind(name="once", title="Once", idempotent=False, **common)


if __name__ == "__main__":
    (JobService.__init__.__kwdefaults__ or {})["lease_seconds"] = LEASE_SECONDS
    sys.exit(daemon.run(load(None, os.environ), kinds(Path(sys.argv[1]))))
