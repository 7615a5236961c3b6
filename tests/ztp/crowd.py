"""DHCP clients behind a relay that come and go: they renew, give back, vanish, let their lease run out, find their address in use. What they hold is kept from
their own view (RFC 2131 4.4.1): from the ACK on, and until the lease's time after the first REQUEST for it was *sent*. Runs in a thread, in a namespace."""

import random
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from netd.wire import dhcp
from netd.wire.dhcp import Message
from tests.ztp.conftest import within
from tests.ztp.links import Namespace

RELAY = "10.1.0.1"
ANSWER_SECONDS = 0.5
TRIES = 4
IDLE, SELECTING, REQUESTING, BOUND, RENEWING = "idle", "selecting", "requesting", "bound", "renewing"


class Hold(NamedTuple):
    """Who may use an address, and until when."""

    mac: bytes
    until: float


class Client:
    """One line. When its client vanishes another comes."""

    def __init__(self, line: int) -> None:
        self.line = b"line-%d" % line
        self.mac = b""
        self.state = IDLE
        self.due = 0.0
        self.xid = self.address = self.tries = 0
        self.server = b""
        self.asked_at = self.until = 0.0  # when the first packet of this exchange left; the lease's end
        self.options: dict[int, bytes] = {}


class Crowd:
    """So many lines, which speak to all servers as a relay passes everything to each. ``events`` counts what happened, ``sent`` and ``heard`` packets by
    server and type; ``doubled`` has what must not be."""

    def __init__(self, space: Namespace, servers: Sequence[str], lines: int, chance: random.Random) -> None:
        self.servers = servers
        self.events: Counter[str] = Counter()
        self.sent: Counter[tuple[str, int]] = Counter()
        self.heard: Counter[tuple[str, int]] = Counter()
        self.doubled: list[str] = []
        self.held: dict[int, Hold] = {}
        self.most = 0  # addresses that were held at a time
        self.faults: list[BaseException] = []
        self._trail: deque[tuple[float, int, str, str, str]] = deque(maxlen=20_000)  # when, address, MAC address, what, server
        self._chance = chance
        self._clients = [Client(line) for line in range(lines)]
        self._by_xid: dict[int, Client] = {}
        self._macs = 0
        self._socket = within(space, self._bound)
        self._ended = threading.Event()  # nothing is to be sent any more
        self._quiet = threading.Event()  # nothing is
        self._deaf = threading.Event()
        self._thread = threading.Thread(target=self._run)
        for client in self._clients:
            self._replace(client, chance.uniform(0, 0.5))

    def _bound(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((RELAY, 67))
        return sock

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._deaf.set()
        self.stop()
        self._thread.join()
        self._socket.close()

    def stop(self) -> None:
        """Send no more; what is under way is heard until the end of the context."""
        self._ended.set()
        self._quiet.wait()

    @property
    def holding(self) -> dict[int, Hold]:
        """What is held now."""
        now = time.monotonic()
        return {address: hold for address, hold in dict(self.held).items() if hold.until > now}

    def story(self, address: int) -> str:
        """What became of an address of late."""
        lines = [f"{at:.3f} {mac} {what} {server}" for at, where, mac, what, server in self._trail if where == address]
        return "\n".join([f"{IPv4Address(address)}:", *lines[-20:]])

    def _tell(self, client: Client, what: str) -> None:
        server = str(IPv4Address(client.server)) if client.server else ""
        self._trail.append((time.monotonic(), client.address, client.mac.hex(":"), what, server))

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                now = time.monotonic()
                for client in self._clients:
                    if client.due <= now:
                        self._act(client, now)
                self._hear(max(0.0, min(min(client.due for client in self._clients) - now, 0.02)))
            self._quiet.set()
            while not self._deaf.is_set():
                self._hear(0.05)
        except BaseException as error:  # told by whoever looks
            self.faults.append(error)
        finally:
            self._quiet.set()

    def _act(self, client: Client, now: float) -> None:
        if client.state == IDLE:
            self._begin(client, now, SELECTING, {53: bytes((dhcp.DISCOVER,))})
        elif client.state == BOUND:
            self._decide(client, now)
        elif client.state == RENEWING and now >= client.until:
            self.events["expired"] += 1
            self._idle(client, self._chance.uniform(0, 0.5))
        elif client.tries >= TRIES and client.state != RENEWING:
            self.events["given up"] += 1
            self._idle(client, self._chance.uniform(0.2, 1.0))
        else:
            self._transmit(client, self.servers)
            client.due = now + ANSWER_SECONDS

    def _begin(self, client: Client, now: float, state: str, options: dict[int, bytes]) -> None:
        self._by_xid.pop(client.xid, None)
        client.xid = self._chance.randrange(1, 1 << 32)
        self._by_xid[client.xid] = client
        client.state, client.options, client.asked_at, client.tries, client.due = state, options, now, 0, now + ANSWER_SECONDS
        self._transmit(client, self.servers)

    def _decide(self, client: Client, now: float) -> None:
        """Half of its time is over."""
        what = self._chance.choices(("renew", "release", "vanish", "expire", "decline"), (50, 20, 15, 14, 1))[0]
        self.events[what] += 1
        self._tell(client, what)
        if what == "renew":
            self._begin(client, now, RENEWING, {53: bytes((dhcp.REQUEST,))})
        elif what in ("release", "decline"):
            self.held.pop(client.address, None)
            kind = dhcp.RELEASE if what == "release" else dhcp.DECLINE
            client.options = {53: bytes((kind,)), 54: client.server}
            if what == "decline":
                client.options[50] = client.address.to_bytes(4, "big")
            client.state = what
            self._transmit(client, [str(IPv4Address(client.server))])
            self._idle(client, self._chance.choice((0.15, self._chance.uniform(0.15, 1.0))))
        elif what == "vanish":  # what it held is nobody else's before its time is over
            self._replace(client, self._chance.uniform(0, 1.0))
        else:
            self._idle(client, client.until - now + self._chance.uniform(0, 1.0))

    def _replace(self, client: Client, seconds: float) -> None:
        self._macs += 1
        client.mac = b"\2\0" + self._macs.to_bytes(4, "big")
        self._idle(client, seconds)

    def _idle(self, client: Client, seconds: float) -> None:
        self._by_xid.pop(client.xid, None)
        client.state, client.due, client.address = IDLE, time.monotonic() + seconds, 0

    def _transmit(self, client: Client, servers: Sequence[str]) -> None:
        client.tries += 1
        has = client.address if client.state in (RENEWING, "release") else 0
        options = {**client.options, 82: bytes((1, len(client.line))) + client.line}
        data = dhcp.encode(Message(dhcp.BOOTREQUEST, client.xid, client.mac, options, ciaddr=has, giaddr=int(IPv4Address(RELAY)), hops=1))
        for server in servers:
            self._socket.sendto(data, (server, 67))
            self.sent[server, client.options[53][0]] += 1

    def _hear(self, seconds: float) -> None:
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        for _ in range(100):
            try:
                data, (source, _) = self._socket.recvfrom(4096)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # a server that was killed
                continue
            answer = dhcp.parse(data)
            self.heard[source, answer.type] += 1
            client = self._by_xid.get(answer.xid)
            if client is not None:
                self._take(client, answer, time.monotonic())

    def _take(self, client: Client, answer: Message, now: float) -> None:
        if answer.type == dhcp.OFFER and client.state == SELECTING:
            if self._ended.is_set():
                return
            client.server = answer.options[54]
            wanted = {53: bytes((dhcp.REQUEST,)), 50: answer.yiaddr.to_bytes(4, "big"), 54: client.server}
            self._begin(client, now, REQUESTING, wanted)
        elif answer.type == dhcp.ACK and client.state in (REQUESTING, RENEWING):
            self.events["renewed" if client.state == RENEWING else "acknowledged"] += 1
            seconds = int.from_bytes(answer.options[51], "big")
            client.address, client.server, client.until = answer.yiaddr, answer.options[54], client.asked_at + seconds
            client.state, client.due = BOUND, now + seconds * self._chance.uniform(0.3, 0.6)
            self._tell(client, f"has it until {client.until:.3f}")
            self._note(client, now)
        elif answer.type == dhcp.NAK and client.state in (REQUESTING, RENEWING):
            self.events["refused"] += 1
            if client.address:
                self._tell(client, "must leave it")
                self.held.pop(client.address, None)
            self._idle(client, self._chance.uniform(0, 0.5))

    def _note(self, client: Client, now: float) -> None:
        before = self.held.get(client.address)
        if before is not None and before.mac != client.mac and before.until > now:
            self.doubled.append(f"given {before.until - now:.2f} s before {before.mac.hex(':')} had to leave it: {self.story(client.address)}")
        self.held[client.address] = Hold(client.mac, client.until)
        self.most = max(self.most, sum(hold.until > now for hold in self.held.values()))
