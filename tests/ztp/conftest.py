"""A DHCP responder on a real database, its sockets in a namespace of their own, and what it serves."""

import asyncio
import ctypes
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from netd.config import DhcpConfig
from netd.extensions import Extensions
from netd.store.database import Database
from netd.ztp import leasing, leasing6
from netd.ztp.binding import Binding, Nobody
from netd.ztp.service import DhcpService
from tests.e2e.daemon import eventually
from tests.ztp.links import Namespace, namespaces, permitted, short_folder, wire

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


PATIENT_SECONDS = 600.0


async def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for it."""
    for _ in range(int(seconds / 0.005)):
        if what():
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"still not so after {seconds} s")


def within(space: Namespace, work: Callable[[], T]) -> T:
    """Run ``work`` in a thread that stands in this network namespace: the sockets that it makes stay there."""
    found: list[T] = []
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(f"/run/netns/{space.name}", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            os.close(descriptor)
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


class Net:
    """What is served, made by SQL."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def pool(self, name: str, first: str, last: str, kind: str = "ipv4", length: int = 32, grace: int = 0) -> int:
        made: int = await self.connection.fetchval(
            "insert into pools (tenant_id, name, kind, prefix_length, grace_seconds) values (1, $1, $2, $3, $4) returning id", name, kind, length, grace
        )
        await self.connection.execute(
            "insert into pool_ranges (tenant_id, pool_id, scope, first_address, last_address) select 1, id, scope, $2::inet, $3::inet from pools where id = $1",
            made, first, last,
        )  # fmt: skip
        await self.connection.execute(
            "insert into pool_spans (tenant_id, pool_id, first_address, last_address) values (1, $1, $2::inet, $3::inet)", made, first, last
        )
        return made

    async def subnet(self, prefix: str, pool: int | None, **more: Any) -> int:
        columns: dict[str, Any] = {"name": prefix, "serves": "classes", "profiles": ["plain"], "lease_seconds": 600, **more}
        names = ", ".join(columns)
        places = ", ".join(f"${place}" for place in range(3, len(columns) + 3))
        made: int = await self.connection.fetchval(
            f"insert into dhcp_subnets (tenant_id, prefix, pool_id, {names}) values (1, $1::cidr, $2, {places}) returning id", prefix, pool, *columns.values()
        )
        return made

    async def reserve(self, subnet: int, kind: str, value: str, address: str) -> None:
        await self.connection.execute(
            "insert into dhcp_reservations (tenant_id, subnet_id, kind, value, address) values (1, $1, $2, $3, $4::inet)", subnet, kind, value, address
        )

    async def leases(self) -> list[tuple[str, str, str]]:
        """(address, state, MAC address) of all leases of DHCP clients."""
        records = await self.connection.fetch("select host(prefix), dhcp_state, mac from leases where dhcp_subnet_id is not null order by prefix")
        return [tuple(record) for record in records]


@pytest.fixture
def net(connection: asyncpg.Connection) -> Net:
    return Net(connection)


@pytest.fixture(scope="session")
def extensions() -> Extensions:
    return Extensions.discover()


Start = Callable[..., Any]


@pytest.fixture
async def responder(database: Database, dsn: str, extensions: Extensions) -> AsyncIterator[Callable[..., Any]]:
    """``await responder(config, binding)`` -> a DhcpService that is loaded; ended after the test. What clients asked is not old after seconds, for they do
    not ask again as real ones do."""
    made: list[DhcpService] = []

    async def start(config: DhcpConfig | None = None, binding: Binding | None = None) -> DhcpService:
        service = DhcpService(database, dsn, extensions.profiles, binding or Nobody(), config or DhcpConfig(enabled=True))
        await service.open()
        made.append(service)
        return service

    with pytest.MonkeyPatch.context() as patched:
        for module in (leasing, leasing6):
            patched.setattr(module, "STALE_SECONDS", PATIENT_SECONDS)
        yield start
        for service in made:
            await service.stop()
            await service.close()


class Site:
    """A server, a relay and a client, each in a namespace: 10.99.0.0/24 between server and relay, 10.1.0.0/24 towards the client."""

    def __init__(self, server: Namespace, relay: Namespace, client: Namespace, folder: Path) -> None:
        self.server = server
        self.relay = relay
        self.client = client
        self.folder = folder
        wire(server, "up0", relay, "up0")
        wire(relay, "down0", client, "eth0")
        server.run("ip", "addr", "add", "10.99.0.1/24", "dev", "up0")
        server.run("ip", "-6", "addr", "add", "2001:db8:99::1/64", "dev", "up0", "nodad")
        relay.run("ip", "addr", "add", "10.99.0.2/24", "dev", "up0")
        relay.run("ip", "-6", "addr", "add", "2001:db8:99::2/64", "dev", "up0", "nodad")
        relay.run("ip", "addr", "add", "10.1.0.1/24", "dev", "down0")
        relay.run("ip", "-6", "addr", "add", "2001:db8:1::1/64", "dev", "down0", "nodad")
        relay.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        server.run("ip", "route", "add", "10.1.0.0/24", "via", "10.99.0.2")
        server.run("ip", "-6", "route", "add", "2001:db8:1::/64", "via", "2001:db8:99::2")

    def start_relay(self, program: str = "dhcrelay") -> None:
        """ISC's relay agent with option 82: the circuit id is the interface's name. It hears clients when this returns."""
        self.relays("dhcrelay.log", "Socket/fallback", program, "-4", "-d", "-a", "--no-pid", "-id", "down0", "-iu", "up0", "10.99.0.1")

    def start_relay6(self, program: str = "dhcrelay") -> None:
        """The same for IPv6, with the number of the interface as Interface-Id; and router advertisements that say whom to ask for addresses."""
        self.relays("dhcrelay6.log", "Socket/down0", program, "-6", "-d", "-I", "--no-pid", "-l", "down0", "-u", "2001:db8:99::1%up0")
        here = f"PYTHONPATH={Path(__file__).resolve().parents[2]}"
        self.relay.start("env", here, sys.executable, "-m", "tests.ztp.router", "down0", "2001:db8:1::", log=self.folder / "router.log")

    def relays(self, name: str, last: str, *command: str) -> None:
        """Start a relay agent, which logs where it sends; ``last`` is what it names last. It hears then, and no client's first packets are lost: the next come
        seconds later."""
        log = self.folder / name
        process = self.relay.start(*command, log=log)
        eventually(lambda: f"Sending on   {last}" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()

    async def udhcpc(self, *more: str, interface: str = "eth0") -> dict[str, str]:
        """What busybox' client was told; an AssertionError if it got nothing."""
        told = self.folder / "udhcpc.env"
        script = self.folder / "udhcpc.sh"
        script.write_text(f'#!/bin/sh\n[ "$1" = bound ] && env > {told}\nexit 0\n')
        script.chmod(0o755)
        told.unlink(missing_ok=True)
        await asyncio.to_thread(self.client.run, "udhcpc", "-i", interface, "-f", "-q", "-n", "-t", "60", "-T", "1", "-s", str(script), *more)
        return dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)


@pytest.fixture
def site(require_peer: Callable[[str], str]) -> Iterator[Site]:
    """The three namespaces, without any daemon in them."""
    require_peer("ip")
    if not permitted():
        require_peer("(the right to make network namespaces)")
    with namespaces("server", "relay", "client") as (server, relay, client), short_folder() as folder:
        yield Site(server, relay, client, folder)
