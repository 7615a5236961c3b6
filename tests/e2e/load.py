"""Load: a NAS that has hundreds of accounting records under way and remembers which were acknowledged, and one that logs in all the time."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.e2e.daemon import Daemon, eventually
from tests.radius.engine import access_request, accounting_packet, attribute, check_answer

SECRET = b"testing123"
START, STOP, INTERIM = 1, 2, 3
OCTETS = {START: 0, INTERIM: 1_000, STOP: 5_000_000_123}
SECONDS = {START: 0, INTERIM: 60, STOP: 120}
PER_SOCKET = 250  # identifiers of one port


@dataclass(eq=False)
class Record:
    """One Accounting-Request: always the same octets from the same port, as a retransmission must be."""

    session: str
    kind: int
    data: bytes
    sock: socket.socket
    sent: int = 0
    acknowledged: bool = False


@dataclass
class Accountant:
    """Sends records of alice's sessions from the address ``source``; ``tag`` tells its sessions from others'."""

    tag: str
    source: str = "127.0.5.1"
    records: list[Record] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> "Accountant":
        self.began_at = int(time.time()) - 3600
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()

    def add(self, number: int, kinds: Iterable[int] = (START, INTERIM, STOP)) -> None:
        """Prepare the records of one session."""
        for kind in kinds:
            place = len(self.records) % PER_SOCKET
            if place == 0:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                sock.bind((self.source, 0))
                self.sockets.append(sock)
            session = f"{self.tag}-{number}"
            octets, seconds = OCTETS[kind], SECONDS[kind]
            integers = {40: kind, 46: seconds, 55: self.began_at + seconds, 42: octets & 0xFFFFFFFF, 52: octets >> 32}
            body = attribute(1, b"alice") + attribute(44, session.encode()) + b"".join(attribute(k, v.to_bytes(4, "big")) for k, v in integers.items())
            self.records.append(Record(session, kind, accounting_packet(place, body, SECRET), self.sockets[-1]))

    @property
    def unanswered(self) -> list[Record]:
        """Records that were sent and not acknowledged."""
        return [record for record in self.records if record.sent and not record.acknowledged]

    @property
    def acknowledged(self) -> list[Record]:
        """Records that the daemon took responsibility for."""
        return [record for record in self.records if record.acknowledged]

    def send(self, record: Record, port: int) -> None:
        """Send, or send again."""
        record.sent += 1
        record.sock.sendto(record.data, ("127.0.0.1", port))

    def receive(self, seconds: float = 0.0) -> int:
        """Read the acknowledgements that are there, waiting up to ``seconds`` for the first; returns how many were new."""
        new = 0
        for sock in select.select(self.sockets, [], [], seconds)[0]:
            at = self.sockets.index(sock) * PER_SOCKET
            while True:
                try:
                    answer = sock.recv(4096)
                except BlockingIOError:
                    break
                record = self.records[at + answer[1]]
                check_answer(answer, record.data, SECRET)
                assert answer[0] == 5
                new += not record.acknowledged
                record.acknowledged = True
        return new

    def insist(self, port: int, seconds: float = 180.0) -> None:
        """Repeat what is not acknowledged until it is."""
        deadline = time.monotonic() + seconds
        while pending := [record for record in self.records if not record.acknowledged]:
            assert time.monotonic() < deadline, f"{len(pending)} records are not acknowledged after {seconds} s"
            for record in pending:
                self.send(record, port)
            quiet_at = time.monotonic() + 1.0
            while time.monotonic() < quiet_at and any(not record.acknowledged for record in pending):
                self.receive(0.1)


def check_books(running: Daemon, *accountants: Accountant) -> None:
    """What was acknowledged stands in the tables, exactly once, and the subscriber's usage is the sum of it: counted by SQL, not by netd.

    What the daemon says of itself only tells when to look: acknowledged from the journal is not in the tables yet."""
    running.caught_up()
    rows = running.sql("""
        select acctsessionid, true, acctinputoctets, acctsessiontime from sessions
        union all select acctsessionid, false, acctinputoctets, acctsessiontime from radacct""")
    table: dict[str, list[tuple[bool, int, int]]] = {}
    for session, is_open, octets, seconds in rows:
        table.setdefault(session, []).append((is_open, octets, seconds))
    doubled = {session: found for session, found in table.items() if len(found) != 1}
    assert not doubled, "one row per session, open or closed"
    for accountant in accountants:
        for record in accountant.records:
            if not record.sent:
                continue
            found = table.get(record.session)
            if record.acknowledged:
                assert found, f"acknowledged and lost: {record.session} {record.kind}"
                ((is_open, octets, seconds),) = found
                assert octets >= OCTETS[record.kind]
                assert seconds >= SECONDS[record.kind]
                assert record.kind != STOP or not is_open, record.session
    used = running.sql("select coalesce(sum(up_octets), 0)::bigint, coalesce(sum(session_seconds), 0)::bigint from usage_daily")
    assert used == [(sum(row[2] for row in rows), sum(row[3] for row in rows))]
    if running.sql("select 1 from plan_quotas"):
        assert running.sql("select coalesce(sum(used), 0)::bigint from quota_usage") == [(used[0][0],)], "counted towards the quota exactly once"


ANSWER_SECONDS = 30.0
"""Longer than a process may have to wait for its turn: that nothing else is waited for is seen by who is let in while that stands still."""


class Logins:
    """Logs alice in, again and again, in a thread; ``failed`` are requests without an Accept."""

    def __init__(self, port: int, source: str = "127.0.5.2") -> None:
        self.accepted = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        self._port = port
        self._end = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Logins":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)
        self._socket.close()

    def let_in(self, count: int) -> None:
        """Wait until so many more are accepted."""
        wanted = self.accepted + count
        eventually(lambda: self.accepted >= wanted or self.failed)
        assert not self.failed

    def _answer(self, begun: float) -> bytes | None:
        while not self._end.is_set() and time.monotonic() < begun + ANSWER_SECONDS:
            with contextlib.suppress(TimeoutError):
                return self._socket.recv(4096)
        return None

    def _run(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            request = access_request(identifier=number % 256, secret=SECRET)
            begun = time.monotonic()
            self._socket.sendto(request, ("127.0.0.1", self._port))
            answer = self._answer(begun)
            if answer is None:
                if not self._end.is_set():
                    self.failed.append(f"request {number}: no answer")
                continue
            self.slowest = max(self.slowest, time.monotonic() - begun)
            attributes = check_answer(answer, request, SECRET)
            if answer[0] != 2:
                self.failed.append(f"request {number}: answered with code {answer[0]}: {attributes}")
            self.accepted += 1
            time.sleep(0.002)
