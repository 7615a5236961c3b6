"""Pools as an operator sets them up and a client that is not ours sees them, across a kill -9 of the daemon."""

import signal

from tests.e2e.daemon import Daemon, furnish
from tests.e2e.radclient import radclient

KINDS = ("Framed-IP-Address", "Framed-IPv6-Prefix", "Delegated-IPv6-Prefix")


def test_radclient_sees_all_three_kinds_and_the_same_after_a_crash(fresh: Daemon, radclient_program: str) -> None:
    fresh.start()
    furnish(fresh)
    fresh.netd("subscriber", "add", "bob", "--password", "-", "--plan", "home", typed="builder")
    for name, kind, ranges in (("v4", "ipv4", "100.64.0.0/24"), ("v6", "ipv6", "2001:db8::/48"), ("pd", "delegated", "2001:db8:1000::/40")):
        fresh.netd("pool", "add", name, "--kind", kind, "--ranges", ranges)
        fresh.netd("pool", "assign", name)

    def log_in(name: str, password: str) -> list[str]:
        line = f'User-Name = "{name}", User-Password = "{password}", Calling-Station-Id = "{name}", Message-Authenticator = 0x00'
        reply = radclient(radclient_program, fresh.auth_port, "auth", line)
        assert reply.name == "Access-Accept", reply.printed
        return [reply.one(kind) for kind in KINDS]

    first = log_in("alice", "wonderland")
    assert first == ["100.64.0.1", "2001:db8::/64", "2001:db8:1000::/56"]
    other = log_in("bob", "builder")
    assert other == ["100.64.0.2", "2001:db8:0:1::/64", "2001:db8:1000:100::/56"]
    assert fresh.netd("pool", "who", "100.64.0.2").splitlines()[1].split()[:4] == ["100.64.0.2", "bob", "lease", "v4"]
    fresh.signal(signal.SIGKILL)
    fresh.wait()
    fresh.start()
    assert log_in("alice", "wonderland") == first
    assert log_in("bob", "builder") == other
    assert fresh.stop() == 0
