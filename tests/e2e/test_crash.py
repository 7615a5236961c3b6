"""kill -9 at the worst moment, of the daemon and of its database: what was acknowledged is there, exactly once."""

import os
import random
import signal
import time

import pytest

from tests.e2e.daemon import Daemon, eventually, furnish
from tests.e2e.load import INTERIM, START, Accountant, Logins, check_books

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("KILL_ROUNDS", "3"))  # make soak asks for more
SESSIONS = 200


def fill(accountant: Accountant) -> None:
    """Several hundred records: sessions that end, and sessions that stay."""
    for number in range(SESSIONS):
        accountant.add(number, (START, INTERIM) if number % 4 == 0 else (START, INTERIM, 2))


def test_kill_9_in_a_burst_of_accounting(fresh: Daemon) -> None:
    fresh.settings |= {"NETD_RADIUS__BATCH_RECORDS": "40", "NETD_RADIUS__JOURNAL_AFTER_MS": "60000"}
    chance = random.Random(4)
    fresh.start()
    furnish(fresh)
    fresh.make("plans/1/quotas", name="monthly", unit="volume", period="month", amount=10**15)
    for round_ in range(ROUNDS):
        fresh.stays_at(f"r{round_}-{SESSIONS - 1}")  # so that the kill comes in the middle
        with Accountant(f"r{round_}") as nas:
            fill(nas)
            threshold = chance.randint(20, 350)
            for record in nas.records:
                nas.send(record, fresh.acct_port)
            deadline = time.monotonic() + 180
            while len(nas.acknowledged) < threshold:
                assert time.monotonic() < deadline
                nas.receive(0.01)
            fresh.signal(signal.SIGKILL)
            fresh.wait()
            while nas.receive(0.1):
                continue
            assert nas.unanswered
            fresh.start()
            check_books(fresh, nas)
            nas.insist(fresh.acct_port)
            check_books(fresh, nas)
            again = nas.records[:: chance.randint(5, 9)]  # the NAS may not have heard: what is long committed comes once more
            for record in again:
                record.acknowledged = False
            nas.insist(fresh.acct_port)
            check_books(fresh, nas)
    rows = fresh.sql("select (select count(*) from sessions), (select count(*) from radacct)")
    assert rows == [(ROUNDS * SESSIONS // 4, ROUNDS * SESSIONS * 3 // 4)]
    assert fresh.stop() == 0
    assert fresh.runs == ROUNDS + 1


def test_kill_9_of_the_database_under_load(fresh: Daemon) -> None:
    fresh.start()
    furnish(fresh)
    fresh.make("plans/1/quotas", name="monthly", unit="volume", period="month", amount=10**15)
    with Logins(fresh.auth_port) as logins, Accountant("db") as nas:
        kills = 0
        for number in range(400):
            nas.add(number)
            for record in nas.records[-3:]:
                nas.send(record, fresh.acct_port)
            nas.receive(0.005)
            if number in (60, 250):
                before = fresh.postmaster()
                os.kill(before, signal.SIGKILL)
                kills += 1
                while fresh.postmaster() in (0, before):
                    nas.receive(0.02)
        assert kills == 2
        nas.insist(fresh.acct_port, 90)
        logins.let_in(100)
        print(f"{logins.accepted} log-ins, the slowest took {logins.slowest * 1000:.0f} ms")
        # what changes afterwards is known, too: the change feed came back. Records may have gone to the journal, so the database need not be back yet.
        late = {"username": "late", "password": "comer", "plan": "home"}
        eventually(lambda: fresh.api("POST", "/api/v1/subscribers", late)[0] == 201)
        assert fresh.process is not None
        assert fresh.process.poll() is None
    check_books(fresh, nas)
    assert fresh.sql("select count(*) from radacct") == [(400,)]
    assert any(line["message"].startswith("PostgreSQL runs again") for line in fresh.log())
    eventually(lambda: fresh.sql("select count(*) from radpostauth")[0][0] >= logins.accepted)
    assert fresh.stop() == 0
