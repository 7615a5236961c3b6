"""kill -9 of the daemon while it does fifty jobs: each ends in a state that is true, and everything that was said up to the kill is in its log."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.e2e.daemon import Daemon, eventually

PROGRAM = Path(__file__).with_name("jobs_daemon.py")
JOBS = 50


def jobs(running: Daemon, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(running.api("GET", f"/api/v1/jobs?limit=1000{query}")[1])["items"]
    return found


def log(running: Daemon, job: int) -> list[dict[str, Any]]:
    """All of it."""
    entries: list[dict[str, Any]] = []
    while page := json.loads(running.api("GET", f"/api/v1/jobs/{job}/log?after={len(entries)}")[1])["items"]:
        entries += page
    return entries


def seen(witness: Path) -> list[tuple[int, ...]]:
    """(pid, job, attempt, number) of each line that counted as written; a torn last one is none."""
    return [tuple(map(int, line.split())) for line in witness.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_kill_9_while_fifty_jobs_run(fresh: Daemon, data_dir: Path) -> None:
    witness = data_dir / "witness"
    fresh.program = [sys.executable, "-P", PROGRAM, witness]
    fresh.start()
    for number in range(JOBS):
        status, answer = fresh.api("POST", "/api/v1/jobs", {"kind": "once" if number % 2 else "again", "args": {"device": f"device:{number}"}})
        assert status == 202, answer
    stopping = jobs(fresh)[0]["id"]
    eventually(lambda: len({job for _, job, _, number in seen(witness) if number >= 5}) == JOBS, 180)
    os.kill(fresh.postmaster(), signal.SIGKILL)  # an outage that is shorter than the leases stops no job
    reached = seen(witness)[-1]
    eventually(lambda: len({job for _, job, _, number in seen(witness)[seen(witness).index(reached) :] if number >= 8}) == JOBS, 180)
    before = jobs(fresh)
    assert {job["state"] for job in before} == {"running"} and all(job["progress"] for job in before)
    first = fresh.pid
    fresh.signal(signal.SIGKILL)
    fresh.wait()
    said = seen(witness)
    eventually(lambda: not fresh.postgres())

    fresh.start()  # nothing is begun or ended while the leases hold, for all that anybody knows the worker lives
    assert {job["state"] for job in jobs(fresh)} == {"running"}
    assert fresh.api("POST", f"/api/v1/jobs/{stopping}/cancel")[0] == 202
    fresh.sql("update jobs set lease_until = now() where state = 'running'")  # their time is over
    eventually(lambda: all(job["finished_at"] for job in jobs(fresh)), 180)
    after = {job["id"]: job for job in jobs(fresh)}
    lines = seen(witness)
    assert {pid for pid, *_ in lines[: len(said)]} == {first} and first not in {pid for pid, *_ in lines[len(said) :]}
    for job in after.values():
        expected = ("cancelled", 1) if job["id"] == stopping else ("succeeded", 2) if job["kind"] == "again" else ("failed", 1)
        assert (job["state"], job["attempt"]) == expected, job
        assert ("worker" in (job["error"] or "")) == (job["state"] != "succeeded")
        assert job["targets"] == {{"succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}[job["state"]]: 1}
        entries = log(fresh, job["id"])
        assert [entry["seq"] for entry in entries] == list(range(1, job["log_seq"] + 1))
        for attempt in range(1, job["attempt"] + 1):
            numbers = [number for _, id_, at, number in lines if (id_, at) == (job["id"], attempt)]
            kept = [  # once more where it was not known whether a commit had come through when the database was killed
                entry["text"] for entry in entries if entry["type"] == "line" and entry["text"].startswith(f"attempt {attempt} ")
            ]
            assert len(kept) - len(set(kept)) <= 1
            kept = list(dict.fromkeys(kept))
            assert kept[: len(numbers)] == [f"attempt {attempt} line {number}" for number in numbers], "every line that counted as written is there"
            assert len(kept) - len(numbers) <= 1  # committed, and killed before it could say so
        states = [entry["text"].partition(":")[0] for entry in entries if entry["type"] == "state"]
        assert states == ["queued", "running", *(["queued", "running"] if job["attempt"] == 2 else []), job["state"]]
    assert fresh.sql("select count(*) from job_locks") == [(0,)]
    assert fresh.metric("netd_jobs_reaped_total") == JOBS
    assert fresh.stop() == 0
