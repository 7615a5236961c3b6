"""Many live sessions on many NAS without a database, and the NAS: a process of their own that acknowledges, or says nothing."""

import asyncio
import contextlib
import hashlib
import multiprocessing
import selectors
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from netd.config import CoaConfig, EnforcementConfig, RadiusConfig
from netd.model.accounting import Row
from netd.radius.access import Access
from netd.radius.coa import DynamicAuthorization
from netd.radius.directory import Directory
from netd.radius.enforce import Enforcer
from netd.radius.grants import Wall
from netd.radius.orders import Orders
from netd.radius.sessions import Sessions
from netd.store.directory import NasRow, SubscriberRow
from tests.radius.engine import EXTENSIONS, SECRET, plan


def _answer(addresses: list[str], dead: set[str], lossy: dict[str, int], told: Connection) -> None:
    """The NAS: each acknowledges what it is told, but a dead one nothing and a lossy one only every n-th datagram."""
    selector = selectors.DefaultSelector()
    ports = []
    for address in addresses:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((address, 0))
        ports.append(sock.getsockname()[1])
        selector.register(sock, selectors.EVENT_READ, address)
    selector.register(told, selectors.EVENT_READ, "")
    told.send(ports)
    heard = dict.fromkeys(addresses, 0)
    while True:
        for key, _ in sorted(selector.select(), key=lambda ready: not ready[0].data):  # what was heard is counted before it is told
            if not key.data:
                order = told.recv()
                if order is None:
                    return
                dead.difference_update(order)
                told.send(heard)
                continue
            ready: Any = key.fileobj
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, peer = ready.recvfrom(4096)
                    heard[key.data] += 1
                    if key.data in dead or heard[key.data] % lossy.get(key.data, 1):
                        continue
                    head = bytes((data[0] + 1, data[1], 0, 20))
                    ready.sendto(head + hashlib.md5(head + data[4:20] + SECRET).digest(), peer)


class Devices:
    """The process that plays the NAS at ``addresses``; ``ports`` are theirs."""

    def __init__(self, addresses: list[str], dead: set[str], lossy: dict[str, int]) -> None:
        self.pipe, far = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_answer, args=(addresses, dead, lossy, far), daemon=True)
        self.process.start()
        self.ports: list[int] = self.pipe.recv()

    def heard(self, revive: tuple[str, ...] = ()) -> dict[str, int]:
        """Datagrams that each NAS received; those of ``revive`` answer from now on."""
        self.pipe.send(revive)
        received: dict[str, int] = self.pipe.recv()
        return received

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join(30)


class Network:
    """An enforcer with one subscriber per session, ``sessions`` of them spread evenly over the NAS at ``addresses``."""

    def __init__(self, addresses: list[str], ports: list[int], sessions: int, **settings: Any) -> None:
        config = msgspec.structs.replace(CoaConfig(), **settings)
        self.directory = Directory(EXTENSIONS(), lambda sealed, context: sealed, Wall("walled-garden", "", 1_000_000, 1_000_000))
        self.directory.put_plans([plan()])
        self.directory.put_nas(
            NasRow(
                id=number, tenant_id=1, nasname=address, shortname=address, vendor="mikrotik", secret=SECRET, coa_address=None, coa_port=port,
                require_message_authenticator="yes", limit_proxy_state="yes", learned_require_message_authenticator=None,
                learned_limit_proxy_state=None, enabled=True,
            )
            for number, (address, port) in enumerate(zip(addresses, ports, strict=True), 1)
        )  # fmt: skip
        self.directory.put_subscribers(subscriber(number) for number in range(1, sessions + 1))
        self.sessions = Sessions()
        self.access = Access(self.directory, self.sessions, RadiusConfig(), (), "node")
        self.client = DynamicAuthorization(config)
        self.enforcer = Enforcer(None, self.directory, self.access, self.sessions, Orders(self.directory, self.client), config, EnforcementConfig())  # type: ignore[arg-type]  # nothing is written
        for number in range(1, sessions + 1):
            nas = self.directory.nas[number % len(addresses) + 1]
            record = self.directory.subscribers[number]
            self.sessions.put(
                Row(
                    acctuniqueid=f"{number:032x}", tenant_id=1, nas_id=nas.id, subscriber_id=number, acctsessionid=f"{number:08x}", username=record.username,
                    nasipaddress=nas.name, nassourceaddress=nas.name, radacctid=number, started_at=0.0, updated_at=0.0,
                    framedipaddress=f"100.64.{number >> 8}.{number & 255}", applied_policy=self.enforcer.policies.of(record, nas),
                )
            )  # fmt: skip

    def change_plan(self, down_bps: int) -> None:
        """Give the plan another rate, as the loader does."""
        self.directory.put_plans([plan(down_bps)])

    def wait_longer(self) -> None:
        """From here on a busy machine may take its time to answer."""
        for queue in self.client._queues.values():
            queue._config = msgspec.structs.replace(queue._config, timeout_seconds=120.0)

    def states(self, nas_id: int | None = None) -> dict[str, int]:
        """Sessions by enforcement state, of one NAS or of all."""
        found: dict[str, int] = {}
        for live in self.sessions.by_id.values():
            if nas_id is None or live.row.nas_id == nas_id:
                found[live.enforce_state] = found.get(live.enforce_state, 0) + 1
        return found

    def settled(self, nas_id: int) -> bool:
        """Whether every session of this NAS has what it should have."""
        return all(live.enforce_state == "applied" and not live.busy for live in self.sessions.by_id.values() if live.row.nas_id == nas_id)

    async def stop(self) -> None:
        """Give up what is under way."""
        self.enforcer.outcomes.flush = _nothing  # type: ignore[method-assign]
        await self.enforcer.stop(0.0)


async def _nothing() -> None:
    await asyncio.sleep(0)


def subscriber(number: int, state: str = "active") -> SubscriberRow:
    """A subscriber of the plan."""
    return SubscriberRow(number, 1, f"u{number}", f"u{number}", b"x", 1, state, 0.0, None, None, None, None, None, None, None, None)


@contextlib.contextmanager
def devices(addresses: list[str], dead: set[str] = frozenset(), lossy: dict[str, int] | None = None) -> Iterator[Devices]:  # type: ignore[assignment]
    """Run the NAS while the context lasts."""
    made = Devices(addresses, set(dead), lossy or {})
    try:
        yield made
    finally:
        made.close()
