"""Rounds of faults under load, over a network that loses, repeats and reorders: what the NAS saw acknowledged is in the tables, once.

FAULT_SEED repeats a run (it is printed); FAULT_ROUNDS asks for more of them (make soak).
"""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, eventually, furnish
from tests.e2e.load import INTERIM, OCTETS, SECONDS, START, STOP, Accountant, Logins, check_books
from tests.e2e.relay import Relay

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))  # 0: each kind once
SESSIONS = 60 if not ROUNDS else 200


def accounting_detail(running: Daemon) -> str:
    """What /health/ready says of accounting, empty if it is well."""
    status, answer = running.api("GET", "/health/ready")
    assert status == 200, "subscribers log in, so a load balancer must not take the node out"
    (found,) = [part for part in json.loads(answer)["parts"] if part["name"] == "accounting"]
    assert (found["state"] == "ok") == (not found["detail"])
    return str(found["detail"])


def hang(running: Daemon) -> list[int]:
    """Stop the database's processes where they stand; returns them."""
    os.kill(running.postmaster(), signal.SIGSTOP)
    found = running.postgres()
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
    return found


def resume(processes: list[int]) -> None:
    """Let them go on."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def kill(processes: list[int]) -> None:
    """kill -9."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


class Lab:
    """A daemon, a bad network before it, and the accounts of all rounds."""

    def __init__(self, running: Daemon, relay: Relay, chance: random.Random) -> None:
        self.running, self.relay, self.chance = running, relay, chance
        self.accountants: list[Accountant] = []

    def start(self) -> None:
        before = self.running.postmaster()
        eventually(lambda: not self.running.postgres() and not (before and Path(f"/proc/{before}").exists()))  # init may take a moment to bury it
        self.running.start()
        self.relay.target = self.running.acct_port

    def burst(self, nas: Accountant, until: int, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Send the records and repeat them, until so many are acknowledged."""
        deadline = time.monotonic() + 120
        while len(nas.acknowledged) < until:
            assert time.monotonic() < deadline, f"{len(nas.acknowledged)} of {until} acknowledged"
            for number, record in enumerate(nas.records):
                if not record.acknowledged:
                    nas.send(record, self.relay.port)
                if number % 10 == 9:
                    nas.receive(0)
                    if len(nas.acknowledged) >= until:
                        return
            meanwhile()
            quiet_at = time.monotonic() + 0.3
            while time.monotonic() < quiet_at and len(nas.acknowledged) < until:
                nas.receive(0.02)

    def hear_out(self, nas: Accountant) -> None:
        """Take the answers that are still under way."""
        while nas.receive(0.15):
            continue

    def finish(self, nas: Accountant) -> None:
        """Have everything acknowledged; then the tables hold exactly that."""
        check_books(self.running, *self.accountants)
        self.burst(nas, len(nas.records))
        self.hear_out(nas)
        check_books(self.running, *self.accountants)
        sessions = {record.session: record.kind for accountant in self.accountants for record in sorted(accountant.records, key=lambda r: SECONDS[r.kind])}
        ((count, octets, seconds),) = self.running.sql("""
            select count(*), sum(acctinputoctets)::bigint, sum(acctsessiontime)::bigint from (
                select acctinputoctets, acctsessiontime from sessions union all select acctinputoctets, acctsessiontime from radacct) both_tables""")
        assert (count, octets, seconds) == (
            len(sessions), sum(OCTETS[kind] for kind in sessions.values()), sum(SECONDS[kind] for kind in sessions.values()),
        )  # fmt: skip
        assert self.running.sql("select sum(up_octets)::bigint, sum(session_seconds)::bigint from usage_daily") == [(octets, seconds)]
        assert not list(self.running.data_dir.glob("journal/*/*.journal"))
        assert not list(self.running.data_dir.glob("journal/*/refused.json"))

    # -- the faults --------------------------------------------------------------------------------------------------

    def some(self, nas: Accountant) -> int:
        return self.chance.randrange(5, len(nas.records) * 3 // 4)

    def daemon(self, nas: Accountant) -> None:
        """kill -9 of the daemon; its database notices and shuts down."""
        self.burst(nas, self.some(nas))
        self.running.signal(signal.SIGKILL)
        self.running.wait()
        self.hear_out(nas)
        self.start()

    def machine(self, nas: Accountant) -> None:
        """kill -9 of everything at once."""
        self.burst(nas, self.some(nas))
        kill([self.running.pid, *self.running.postgres()])
        self.running.wait()
        self.hear_out(nas)
        self.start()

    def postmaster(self, nas: Accountant) -> None:
        """kill -9 of the database's first process; the daemon goes on and starts it again."""
        self.burst(nas, self.some(nas))
        before = self.running.postmaster()
        kill([before])
        eventually(lambda: self.running.postmaster() not in (0, before) and self.running.answers())

    def group(self, nas: Accountant) -> None:
        """kill -9 of all of the database's processes."""
        self.burst(nas, self.some(nas))
        before = self.running.postmaster()
        kill(self.running.postgres())
        eventually(lambda: self.running.postmaster() not in (0, before) and self.running.answers())

    def journal_all(self, nas: Accountant) -> list[int]:
        """The database hangs, and all is acknowledged all the same; returns its processes."""
        stopped = hang(self.running)
        self.burst(nas, len(nas.records))
        assert self.running.metric("netd_radius_accounting_journal_records") >= len(nas.records) // 2
        assert "records wait in the journal" in accounting_detail(self.running)
        return stopped

    def away(self, nas: Accountant) -> None:
        """The database hangs for the whole burst."""
        with Logins(self.running.auth_port) as logins:
            stopped = self.journal_all(nas)
            logins.let_in(20)
            resume(stopped)
        assert not logins.failed

    def away_and_killed(self, nas: Accountant) -> None:
        """It hangs, and then everything is killed: the journal is all there is."""
        self.journal_all(nas)
        kill([self.running.pid, *self.running.postgres()])
        self.running.wait()
        self.start()

    def replay(self, nas: Accountant) -> None:
        """kill -9 in the middle of a replay."""
        self.running.stays_at(f"{nas.tag}-{SESSIONS // 2}")
        resume(self.journal_all(nas))
        eventually(lambda: self.running.sql("select 1 from pg_stat_activity where wait_event = 'PgSleep'"))
        like = f"{nas.tag}-%"
        query = "select (select count(*) from sessions where acctsessionid like $1) + (select count(*) from radacct where acctsessionid like $1)"
        assert 0 < self.running.sql(query, like)[0][0] < SESSIONS
        kill([self.running.pid, *(self.running.postgres() if self.chance.random() < 0.5 else [])])
        self.running.wait()
        assert list(self.running.data_dir.glob("journal/*/*.journal"))
        self.start()

    def stop(self, nas: Accountant) -> None:
        """SIGTERM while records wait."""
        stopped = self.journal_all(nas)
        self.running.signal(signal.SIGTERM)
        eventually(lambda: any(line["message"] == "SIGTERM: stopping" for line in self.running.log()))
        resume(stopped)
        assert self.running.wait() == 0
        self.start()


FAULTS = ("replay", "postmaster", "machine", "away", "away_and_killed", "stop", "daemon", "group")
SHORT = FAULTS[:6]
"""What the last two kill dies in these, too."""


def test_rounds_of_faults(fresh: Daemon) -> None:
    print(f"FAULT_SEED={SEED}")
    chance = random.Random(SEED)
    fresh.settings |= {"NETD_RADIUS__BATCH_RECORDS": "5", "NETD_RADIUS__JOURNAL_AFTER_MS": "100"}
    with Relay(chance.randrange(1 << 32), "127.0.5.3") as relay, contextlib.ExitStack() as stack:
        lab = Lab(fresh, relay, chance)
        lab.start()
        furnish(fresh)
        faults = list(SHORT if not ROUNDS else [chance.choice(FAULTS) for _ in range(ROUNDS)])
        for number, fault in enumerate(faults):
            print(f"round {number}: {fault}", flush=True)
            nas = stack.enter_context(Accountant(f"r{number}"))
            lab.accountants.append(nas)
            for session in range(SESSIONS):
                nas.add(session, (START, INTERIM) if session % 4 == 0 else (START, INTERIM, STOP))
            getattr(lab, fault)(nas)
            lab.finish(nas)
        print(dict(relay.did))
        assert min(relay.did[what] for what in ("lost", "repeated", "late", "passed")) > 20
        assert fresh.stop() == 0


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[Daemon], None]]:
    """A disk of 64 KB for ``folder``: a file system in memory, and where that may not be mounted a limit on the daemon's files,
    which the value, called with the running daemon, sets."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False).returncode == 0
    )

    def limit(running: Daemon) -> None:
        if not mounted:
            resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))

    try:
        yield limit
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_says_so_and_recovers(fresh: Daemon) -> None:
    with small_disk(fresh.data_dir / "journal") as limit, Accountant("full", "127.0.5.4") as nas, contextlib.ExitStack() as stack:
        fresh.settings |= {"NETD_RADIUS__JOURNAL_AFTER_MS": "100"}
        fresh.start()
        limit(fresh)
        furnish(fresh)
        for session in range(300):
            nas.add(session)
        stopped = hang(fresh)
        stack.callback(resume, stopped)
        with Logins(fresh.auth_port) as logins:
            fresh.signal(signal.SIGSTOP)  # so that all come as one group, which is larger than the disk
            for record in nas.records:
                nas.send(record, fresh.acct_port)
            fresh.signal(signal.SIGCONT)
            eventually(lambda: fresh.metric("netd_radius_accounting_journal_refused_total"))
            eventually(lambda: nas.receive(0.05) >= 0 and len(nas.acknowledged) > 20)
            while nas.receive(0.3):
                continue
            assert len(nas.acknowledged) < len(nas.records)
            assert "the journal refuses: no_space" in accounting_detail(fresh)
            kill([fresh.pid])  # full, and the power fails: what was acknowledged is on the disk
            fresh.wait()
        resume(stopped)
        assert logins.accepted
        eventually(lambda: not fresh.postgres())
        fresh.settings |= {"NETD_RADIUS__JOURNAL_AFTER_MS": "60000"}  # a commit that is only slow has no room in the journal
        fresh.start()
        limit(fresh)
        check_books(fresh, nas)
        nas.insist(fresh.acct_port)
        check_books(fresh, nas)
        assert fresh.stop() == 0
        fresh.settings |= {"NETD_RADIUS__JOURNAL_AFTER_MS": "100"}
        fresh.start()
        limit(fresh)
        more = Accountant("more", "127.0.5.5")
        with more:
            more.add(1)
            stopped = hang(fresh)
            stack.callback(resume, stopped)
            more.insist(fresh.acct_port)
            assert "the journal refuses" not in accounting_detail(fresh)
            resume(stopped)
            check_books(fresh, nas, more)
        assert fresh.stderr.count("the accounting journal refuses") == 1, "said once"
        assert fresh.stop() == 0
