"""Pings, by every way there is."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from netd.device.ping import Address, Pinger

HERE = ip_address("127.0.0.1")

# In a network of its own: who may ping without rights, an address that nobody has, and one that nothing leads to.
UNPRIVILEGED = """
import asyncio, os
from ipaddress import ip_address
from netd.device.ping import Pinger
os.setgid(65534); os.setuid(65534)
async def main():
    async with Pinger(seconds=60, attempts=1) as pinger, Pinger(seconds=1, attempts=1) as hasty:
        print(pinger.way(4), pinger.way(6))
        asked = {"127.0.0.1": pinger, "::1": pinger, "192.0.2.1": hasty, "198.51.100.1": hasty}
        print(*[await who.ping(ip_address(each)) for each, who in asked.items()])
        print(all(await asyncio.gather(*[pinger.ping(ip_address(f"127.0.{n}.1")) for n in range(200)])))
asyncio.run(main())
"""
NETWORK = """
set -e
ip link set lo up; ip link add v0 type veth peer name v1; ip addr add 192.0.2.2/24 dev v0; ip link set v0 up; ip link set v1 up
echo "$1" > /proc/sys/net/ipv4/ping_group_range
exec "$2" -c "$3"
"""


@pytest.fixture
def unshare(require_peer: Callable[[str], str]) -> str:
    require_peer("ip")
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    return require_peer("unshare")


def in_a_network(unshare: str, group_range: str) -> list[str]:
    command = (unshare, "-n", "--mount-proc", "-m", "sh", "-c", NETWORK, "sh", group_range, sys.executable, UNPRIVILEGED)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


async def test_an_unprivileged_socket(unshare: str):
    ways, answers, many = await asyncio.to_thread(in_a_network, unshare, "0 2147483647")
    assert (ways, answers, many) == ("socket socket", "True True False False", "True")


async def test_without_any_right_by_tcp(unshare: str):
    ways, answers, _ = await asyncio.to_thread(in_a_network, unshare, "1 0")
    assert (ways, answers) == ("tcp tcp", "True True False False")  # refused is an answer, too


async def test_a_raw_socket():
    if os.geteuid() != 0:
        pytest.skip("a raw socket needs root")
    async with Pinger(ways=("raw",), seconds=60) as pinger:
        assert pinger.way(4) == "raw"
        assert await pinger.ping(HERE)
        assert all(await asyncio.gather(*(pinger.ping(ip_address(f"127.0.0.{n}")) for n in range(1, 100))))


async def test_a_lost_packet_is_not_a_slow_one():
    """The round trip is that of the attempt that was answered."""
    if os.geteuid() != 0:
        pytest.skip("a raw socket needs root")
    async with Pinger(ways=("raw",), seconds=20) as pinger:
        real, took = pinger._echo[4].ask, list[float | None]()

        async def ask(address: Address, seconds: float) -> float | None:
            took.append(await real(address, seconds) if took else None)
            return took[-1]

        pinger._echo[4].ask = ask  # type: ignore[method-assign]
        assert await pinger.round_trip(HERE) == took[1] is not None


async def test_by_tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with Pinger(ways=("tcp",), tcp_ports=(port,), seconds=20) as pinger:
            assert pinger.way(4) == "tcp" and await pinger.ping(HERE)
    async with Pinger(ways=()) as pinger:
        assert not await pinger.ping(HERE)
