"""The daemon itself in a namespace: set up by its commands, killed between OFFER and ACK."""

import contextlib
import select
import signal
import socket
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netd.wire import dhcp
from netd.wire.dhcp import Message
from tests.e2e.daemon import NETD, Daemon, Manager, eventually
from tests.ztp.conftest import Site, within
from tests.ztp.links import Namespace

RELAY = int(IPv4Address("10.1.0.1"))


class Inside(Daemon):
    """A daemon, and its commands, in a network namespace."""

    def __init__(self, space: Namespace, data_dir: Path, **settings: str) -> None:
        super().__init__(data_dir, **settings)
        self.space = space
        self.prefix = ["ip", "netns", "exec", space.name]

    def launch(self, *arguments: str, managed: bool = True) -> None:
        self.runs += 1
        self.manager = Manager(self.data_dir / f"notify.{self.runs}")
        environment = self.environment | {"NOTIFY_SOCKET": str(self.manager.path), "WATCHDOG_USEC": "400000"}
        with (self.data_dir / f"stdout.{self.runs}").open("wb") as out, (self.data_dir / f"stderr.{self.runs}").open("wb") as err:
            self.process = subprocess.Popen([*self.prefix, NETD, "serve"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd="/")

    def command(self, *arguments: str, typed: str | None = None, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, NETD, *arguments], input=typed, capture_output=True, text=True, env=self.environment, cwd="/", timeout=seconds, check=False
        )  # fmt: skip

    def api(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, bytes]:
        ask = super().api
        return within(self.space, lambda: ask(method, path, body, token))

    def metric(self, name: str) -> float:
        read = super().metric
        return within(self.space, lambda: read(name))


ANSWERS = {dhcp.DISCOVER: (dhcp.OFFER,), dhcp.REQUEST: (dhcp.ACK, dhcp.NAK)}


class Relay:
    """A relay's socket: sends for its clients, which ask again as clients do, and hears what they are answered."""

    def __init__(self, space: Namespace) -> None:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind(("10.1.0.1", 67))
            made.settimeout(3)
            return made

        self.socket = within(space, make)

    def ask(self, kind: int, client: int, **options: bytes) -> Message:
        made = {53: bytes((kind,)), **{int(name[1:]): value for name, value in options.items()}, 82: b"\1\6eth1/1"}
        data = dhcp.encode(Message(1, client, b"\2\0" + client.to_bytes(4, "big"), made, giaddr=RELAY, hops=1))
        while select.select([self.socket], [], [], 0)[0]:  # what was answered twice before
            self.socket.recv(4096)
        for _ in range(30):
            self.socket.sendto(data, ("10.99.0.1", 67))
            with contextlib.suppress(TimeoutError):
                while True:
                    answer = dhcp.parse(self.socket.recv(4096))
                    if answer.xid == client and answer.type in ANSWERS[kind]:
                        return answer
        raise AssertionError(f"client {client} is not answered")

    def take(self, client: int, offer: Message) -> Message:
        return self.ask(dhcp.REQUEST, client, o50=offer.yiaddr.to_bytes(4, "big"), o54=offer.options[54])


@pytest.mark.slow
def test_killed_between_offer_and_ack_it_keeps_its_word(site: Site, ready_data_dir: Path):
    settings = {"NETD_DHCP__ENABLED": "true", "NETD_DHCP__ADDRESSES": "10.99.0.1", "NETD_DHCP__OFFER_SECONDS": "600"}  # longer than any start takes
    daemon = Inside(site.server, ready_data_dir, **settings).start()
    try:
        daemon.netd("pool", "add", "access", "--kind", "ipv4", "--ranges", "10.1.0.10-10.1.0.20", "--grace", "0")
        daemon.netd(
            "dhcp", "serve", "street", "--prefix", "10.1.0.0/24", "--serves", "classes", "--profiles", "plain", "--pool", "access", "--router", "10.1.0.1"
        )
        daemon.netd("dhcp", "reserve", "street", "10.1.0.15", "mac", "02:00:00:00:00:07")
        assert "street" in daemon.netd("dhcp", "list")
        assert "02:00:00:00:00:07" in daemon.netd("dhcp", "reservations", "street")
        assert "huawei_ne" in daemon.netd("dhcp", "profiles")
        relay = Relay(site.relay)
        first, second = relay.ask(dhcp.DISCOVER, 1), relay.ask(dhcp.DISCOVER, 2)
        assert relay.take(2, second).type == dhcp.ACK
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        daemon.start()
        third = relay.ask(dhcp.DISCOVER, 3)  # before the first comes back
        answer = relay.take(1, first)
        assert (answer.type, answer.yiaddr) == (dhcp.ACK, first.yiaddr)
        assert relay.take(2, second).yiaddr == second.yiaddr
        reserved = relay.ask(dhcp.DISCOVER, 7)
        assert relay.take(7, reserved).yiaddr == int(IPv4Address("10.1.0.15"))
        assert len({first.yiaddr, second.yiaddr, third.yiaddr, reserved.yiaddr}) == 4
        listed = daemon.json("pool", "leases", "access")["items"]
        assert {lease["mac"] for lease in listed} >= {"02:00:00:00:00:01", "02:00:00:00:00:07"}
        assert len(listed) == len({lease["prefix"] for lease in listed}) == 4
        health = daemon.json("health")
        assert any(part["name"] == "dhcp" and part["state"] == "ok" for part in health["parts"])
        daemon.netd("dhcp", "update", "street", "--lease", "120")
        eventually(lambda: relay.ask(dhcp.DISCOVER, 4).options[51] == (120).to_bytes(4, "big"))
        daemon.netd("dhcp", "remove", "street")
        assert "street" not in daemon.netd("dhcp", "list")
        assert daemon.stop() == 0
    finally:
        daemon.close()
