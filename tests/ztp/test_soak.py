"""Two daemons on one database serve clients that come and go out of a pool that is nearly full, while one is killed and the database hangs.

DHCP_SEED repeats a run (it is printed); DHCP_ROUNDS asks for more of them, and longer ones (make soak).
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path
from shutil import copy

import pytest

from netd.wire import dhcp
from tests.bench.processes import memory_mb
from tests.conftest import public_folder
from tests.e2e.daemon import Daemon, eventually
from tests.e2e.test_faults import hang, resume
from tests.ztp.conftest import Site
from tests.ztp.crowd import Crowd
from tests.ztp.test_crash import Inside

SEED = int(os.environ.get("DHCP_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = int(os.environ.get("DHCP_ROUNDS", "0"))  # 0: each fault once, and briefly
SERVERS = ("10.99.0.1", "10.99.0.3")
ADDRESSES, LINES = 40, 46
LEASE_SECONDS, CALM_SECONDS, HUNG_SECONDS = (15, 5.0, 10.0) if ROUNDS else (4, 0.3, 1.0)
GROWN_MB = 5.0
"""What packets and outages may cost in memory, however many there were."""
GROWN_ROWS = 50


def settings(address: str) -> dict[str, str]:
    return {"NETD_DHCP__ENABLED": "true", "NETD_DHCP__ADDRESSES": address, "NETD_DHCP__OFFER_SECONDS": "5", "NETD_DHCP__DECLINE_SECONDS": "60"}


def prepared(daemon: Daemon) -> None:
    pool = {"name": "access", "kind": "ipv4", "ranges": [f"10.1.0.10-10.1.0.{9 + ADDRESSES}"], "grace_seconds": 0}
    assert daemon.api("POST", "/api/v1/pools", pool)[0] == 201
    daemon.make("dhcp/subnets", name="street", prefix="10.1.0.0/24", serves="classes", profiles=["plain"], pool="access", router="10.1.0.1")
    daemon.sql("alter table dhcp_subnets drop constraint dhcp_subnets_lease_seconds_check")  # nobody may configure leases that end so soon
    daemon.sql("update dhcp_subnets set lease_seconds = $1", LEASE_SECONDS)


class Pair:
    """The two daemons; the first has the database, and is never killed."""

    def __init__(self, site: Site, folder: Path, other: Path, stack: contextlib.ExitStack) -> None:
        site.server.run("ip", "addr", "add", f"{SERVERS[1]}/24", "dev", "up0")
        self.first = Inside(site.server, folder, **settings(SERVERS[0]))
        stack.callback(self.first.close)  # also where one does not come up
        self.first.start()
        prepared(self.first)
        copy(folder / "secret.key", other)
        url = f"postgresql://netd@/netd?host={self.first.cluster / 'run'}&sslmode=disable"
        self.second = Inside(site.server, other, NETD_DATABASE__URL=url, **settings(SERVERS[1]))
        stack.callback(self.second.close)
        self.second.start()

    def kill(self) -> None:
        """kill -9 of the second, which is begun again after a while."""
        self.second.signal(signal.SIGKILL)
        self.second.wait()
        time.sleep(CALM_SECONDS)
        self.second.start()

    def hang(self) -> None:
        """The database stops where it stands."""
        stopped = hang(self.first)
        time.sleep(HUNG_SECONDS)
        resume(stopped)

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        names = [name for (name,) in self.first.sql("select relname::text from pg_stat_user_tables order by 1")]
        counted = self.first.sql(" union all ".join(f"select '{name}', count(*) from {name}" for name in names))
        return {str(name): int(count) for name, count in counted}


def check_counts(daemon: Daemon, crowd: Crowd, server: str) -> None:
    """Every packet was received, and answered, or dropped and counted, or gave an address back; and every answer came."""
    asked = sum(count for (to, _), count in crowd.sent.items() if to == server)
    eventually(lambda: daemon.metric("netd_dhcp_received_total") >= asked and daemon.metric("netd_dhcp_waiting") == 0)
    received, sent, drops = (daemon.metric(f"netd_dhcp_{what}_total") for what in ("received", "sent", "drops"))
    assert received == asked
    eventually(lambda: sum(count for (source, _), count in dict(crowd.heard).items() if source == server) >= sent)
    assert sent == sum(count for (source, _), count in crowd.heard.items() if source == server)
    given_back = crowd.sent[server, dhcp.RELEASE] + crowd.sent[server, dhcp.DECLINE]
    assert 0 <= received - sent - drops <= given_back, (received, sent, drops, given_back)


def goes_on(crowd: Crowd) -> None:
    """Lines go on to have answers."""
    wanted = crowd.events["acknowledged"] + crowd.events["renewed"] + LINES // 2
    eventually(lambda: crowd.events["acknowledged"] + crowd.events["renewed"] >= wanted, 60)


@pytest.mark.slow
def test_no_address_is_given_twice(site: Site, ready_data_dir: Path):
    print(f"DHCP_SEED={SEED}")
    chance = random.Random(SEED)
    with public_folder() as other, contextlib.ExitStack() as stack:
        pair = Pair(site, ready_data_dir, other, stack)
        crowd = stack.enter_context(Crowd(site.relay, SERVERS, LINES, chance))
        rows: dict[str, int] = {}
        memory: list[float] = []
        for number in range(ROUNDS or 2):
            time.sleep(CALM_SECONDS)
            (pair.kill, pair.hang)[number % 2]()
            goes_on(crowd)
            assert not crowd.doubled, "\n\n".join(crowd.doubled)
            assert not crowd.faults
            memory.append(memory_mb(pair.first.pid))
            if number == 1:
                rows = pair.rows()
        eventually(lambda: crowd.faults or crowd.most >= ADDRESSES * 9 // 10)
        eventually(lambda: crowd.faults or all(crowd.events[what] for what in ("renewed", "release", "vanish", "expire")))
        crowd.stop()
        before = crowd.holding
        stored = dict(pair.first.sql("select prefix - '0.0.0.0'::inet, mac from leases where dhcp_state in ('bound', 'offered')"))
        holding = {address: hold.mac.hex(":") for address, hold in before.items() if hold.until > time.monotonic()}  # still, after the table was read
        print(dict(crowd.events), f"most at a time: {crowd.most}", f"still held: {len(holding)}")
        lost = [crowd.story(address) for address, mac in holding.items() if stored.get(address) != mac]
        assert not lost, "\n\n".join(lost)
        assert not crowd.doubled, "\n\n".join(crowd.doubled)
        assert not crowd.faults
        check_counts(pair.first, crowd, SERVERS[0])
        assert pair.first.sql("select count(*) from leases")[0][0] <= ADDRESSES
        grown = {name: count - rows[name] for name, count in pair.rows().items() if count > rows[name]}
        print(f"rows more than after two rounds: {grown}")
        assert all(count <= GROWN_ROWS for count in grown.values())
        print(f"MB of the first daemon, after each round: {', '.join(f'{each:.1f}' for each in memory)}")
        assert memory[-1] < memory[len(memory) // 3] + GROWN_MB
        assert pair.second.stop() == 0
        assert pair.first.stop() == 0
