"""Where the CPU of an Access-Request goes: the server in this process, over real sockets and step by step.

``.venv/bin/python tests/bench/hotpath.py``; all numbers are µs of CPU per request. What is compared runs in turn, a batch each, and the
median of the batches and the best one are shown, for a shared machine's speed changes from second to second.
NETD_COMPILED=no measures the sources where a compiled engine lies ready.
"""

import argparse
import cProfile
import gc
import os
import pstats
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from netd import compiled
from netd.config import load
from netd.extensions import Extensions
from netd.model.plan import Plan
from netd.radius.access import Access
from netd.radius.directory import Directory
from netd.radius.grants import Wall
from netd.radius.replies import Replies
from netd.radius.server import Server
from netd.radius.sessions import Sessions
from netd.radius.sockets import Socket
from netd.store.directory import NasRow, SubscriberRow
from netd.wire import passwords, radius
from tests.bench import packets

BATCH: Final = 32
SOURCE: Final = struct.pack("@H", socket.AF_INET) + b"\x9c\x40" + socket.inet_aton("127.0.0.1") + bytes(8)
"""A sockaddr: 127.0.0.1, port 40000."""

Work = Callable[[list[bytes]], object]
Micros = tuple[float, float]


class Nothing:
    """Accounting that is not under test."""


def world(subscribers: int, folder: Path) -> Server:
    """A server over a directory of ``subscribers``, without a database."""
    config = load(None, {"NETD_DATA_DIR": str(folder)})
    directory = Directory(Extensions.discover([]), lambda sealed, context: sealed, Wall("wall", "", 1, 1))
    directory.put_plans([Plan(id=1, tenant_id=1, name="home", down_bps=100_000_000, up_bps=20_000_000, **_rest())])
    directory.put_subscribers(
        SubscriberRow(
            n + 1, 1, packets.username(n), packets.username(n), packets.password(n).encode(), 1, "active", 0.0, None, None, None, None, None, None, None, None
        )
        for n in range(subscribers)
    )
    directory.put_nas([NasRow(1, 1, "127.0.0.1/32", "bench", "mikrotik", packets.SECRET, None, None, "yes", "yes", None, None, True)])
    access = Access(directory, Sessions(), config.radius, [], "0badcafe")
    return Server(directory, access, Nothing(), config.radius)  # type: ignore[arg-type]


def _rest() -> dict[str, Any]:
    """The members of Plan that do not matter here."""
    given = {"id", "tenant_id", "name", "down_bps", "up_bps"}
    values: dict[str, Any] = {"interim_seconds": 300, "max_sessions": 0, "version": 1, "dns": (), "replies": (), "raw": False}
    return {name: values.get(name) for name in Plan.__struct_fields__ if name not in given}


def in_turn(works: dict[str, Work], requests: list[bytes], before: Callable[[str, list[bytes]], None], after: Callable[[str], None]) -> dict[str, Micros]:
    """Median and best µs per request of each work, a batch of each in turn; ``before`` and ``after`` are not counted."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for start in range(0, len(requests) - BATCH + 1, BATCH):
        batch = requests[start : start + BATCH]
        for name, work in works.items():
            before(name, batch)
            started = time.thread_time_ns()
            work(batch)
            found[name].append((time.thread_time_ns() - started) / BATCH / 1000)
            after(name)
    return {name: (statistics.median(values), min(values)) for name, values in found.items()}


def over_sockets(server: Server, requests: list[bytes]) -> dict[str, Micros]:
    """An echo and the server behind real sockets, all in this process."""
    places = {
        "echo: recvfrom, sendto": Socket("127.0.0.1", 0, 0),
        "netd, bound to one address": Socket("127.0.0.1", 0, 1),
        "netd, bound to 0.0.0.0 (pktinfo)": Socket("0.0.0.0", 0, 2),
    }
    clients = {}
    for name, place in places.items():
        clients[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        clients[name].connect(("127.0.0.1", place.port))

    def echo(batch: list[bytes]) -> None:
        receive, send = places["echo: recvfrom, sendto"].socket.recvfrom, places["echo: recvfrom, sendto"].socket.sendto
        for _ in batch:
            data, source = receive(4096)
            send(data, source)

    def netd(name: str) -> Work:
        return lambda batch: server._readable(places[name], False)

    def ask(name: str, batch: list[bytes]) -> None:
        server.postauth.clear()
        for data in batch:
            clients[name].send(data)

    def answers(name: str) -> None:
        for _ in range(BATCH):
            clients[name].recv(4096)

    works: dict[str, Work] = {name: echo if name.startswith("echo") else netd(name) for name in places}
    try:
        return in_turn(works, requests, ask, answers)
    finally:
        for place in places.values():
            place.close()
        for client in clients.values():
            client.close()


def steps(server: Server, requests: list[bytes]) -> dict[str, Micros]:
    """Every step by itself, without system calls between."""
    nas = next(iter(server.directory.nas.values()))
    secret, now, wall_clock = nas.secret, time.monotonic(), time.time()
    parsed = {data: radius.parse(data) for data in requests}
    verdicts = {data: server.access.decide(packet, nas, "127.0.0.1", now, wall_clock) for data, packet in parsed.items()}
    table, sink = Replies(10), Socket("127.0.0.1", 0, 0)

    def each(step: Callable[[bytes, radius.Packet], object]) -> Work:
        def work(batch: list[bytes]) -> None:
            for data in batch:
                step(data, parsed[data])

        return work

    def remember(data: bytes, packet: radius.Packet) -> None:
        key = SOURCE + sink.tag + data[:2]
        table.find(key, packet.authenticator)
        table.put(key, packet.authenticator, data)

    def reset(name: str, batch: list[bytes]) -> None:
        server._answers.clear()
        server.postauth.clear()

    whole = "the handler, all of it"
    works = {
        "nothing": each(lambda data, packet: None),
        "wire.radius.parse": each(lambda data, packet: radius.parse(data)),
        "wire.radius.message_authenticator_ok": each(lambda data, packet: radius.message_authenticator_ok(packet, secret)),
        "Replies.find and put": each(remember),
        "wire.passwords.pap_decrypt": each(lambda data, packet: passwords.pap_decrypt(packet.attributes[2], secret.prefix, packet.authenticator)),
        "Access.decide (with pap_decrypt)": each(lambda data, packet: server.access.decide(packet, nas, "127.0.0.1", now, wall_clock)),
        "wire.radius.reply": each(lambda data, packet: radius.reply(2, packet.identifier, packet.authenticator, verdicts[data].attributes, secret)),
        "Server._record, a row for radpostauth": each(lambda data, packet: server._record(packet, nas, "127.0.0.1", verdicts[data], wall_clock)),
        whole: each(lambda data, packet: server._authentication(data, SOURCE, b"", sink, now)),
    }
    found = in_turn(works, requests, reset, lambda name: None)
    sink.close()
    empty = found.pop("nothing")
    return {name: (micros[0] - empty[0], micros[1] - empty[1]) for name, micros in found.items()}


def calls(server: Server, requests: list[bytes]) -> None:
    """cProfile's table; its overhead makes small functions look dear."""
    profile, sink = cProfile.Profile(), Socket("127.0.0.1", 0, 3)
    profile.enable()
    for data in requests:
        server._authentication(data, SOURCE, b"", sink, 0.0)
    profile.disable()
    sink.close()
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(25)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=16_384)
    parser.add_argument("--calls", action="store_true", help="cProfile's table too")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        server = world(given.subscribers, Path(folder))
    requests = packets.access_requests(given.requests, given.subscribers, 1)
    gc.collect()
    gc.freeze()  # as the daemon does
    print(f"engine: {'' if compiled.status().active else 'not compiled, '}{compiled.status().detail}\n{'median':>11} {'best':>11}")
    for measure in (over_sockets, steps):
        for name, (median, best) in measure(server, requests).items():
            print(f"{median:8.2f} µs {best:8.2f} µs  {name}")
        print()
    nas = server.directory.nas[1]
    if nas.rejects or nas.drops:
        print(f"rejected {nas.rejects}, dropped {nas.drops}")
        return 1
    if given.calls:
        calls(server, requests)
    return 0


if __name__ == "__main__":
    sys.exit(main())
