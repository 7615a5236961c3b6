"""The load generator: a process of its own with prebuilt packets, that runs one round per line of JSON on its standard input.

Its window is spread over several source ports; within a port identifiers count up, so a packet is never mistaken for a repetition.
It prints one line of JSON when its packets are built, and one per round. Asked to be ``native`` it leaves the sending and receiving to a compiled
program (tests/bench/load.c), which takes a fifth of the time per packet.
"""

import json
import select
import socket
import sys
import time
from functools import partial
from typing import Any, Final

from tests.bench import native, packets
from tests.bench.packets import IDENTIFIERS

OVERDUE_SECONDS: Final = 1.0
"""A request unanswered for so long is sent again, as a NAS does, and once more at every look."""

LOOK_SECONDS: Final = 0.5

GIVE_UP_SECONDS: Final = 30.0
_ANSWER: Final = {packets.ACCESS_REQUEST: packets.ACCESS_ACCEPT, packets.ACCOUNTING_REQUEST: packets.ACCOUNTING_RESPONSE}


def expected_code(request: bytes, what: str) -> int:
    """The code of the right answer to a request; an echo's is the request's."""
    return request[0] if what == "echo" else _ANSWER[request[0]]


def answer_fault(request: bytes, answer: bytes, what: str) -> str:
    """What is wrong with an answer of ``what`` ("echo", "netd" or "peer"), "" if nothing. An echo is right if it is the request."""
    if what == "echo":
        return "" if answer == request else "no echo"
    return packets.answer_fault(request, answer, what == "netd")


class Line:
    """One source port: a slot per identifier holds the number of the request under way, -1 if there is none.

    ``repeated``: something was sent twice, so an answer may be the second one to a request whose identifier went on to another.
    """

    __slots__ = ("repeated", "sent_at", "slots", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.connect(("127.0.0.1", port))
        self.slots = [-1] * IDENTIFIERS
        self.sent_at = [0.0] * IDENTIFIERS
        self.repeated = False


class Round:
    """One run over the packets against one port."""

    def __init__(self, requests: list[bytes], port: int, ports: int, check_every: int, what: str) -> None:
        self.requests = requests
        self.lines = [Line(port) for _ in range(ports)]
        self.by_descriptor = {line.socket.fileno(): line for line in self.lines}
        self.poll = select.epoll()
        for descriptor in self.by_descriptor:
            self.poll.register(descriptor, select.EPOLLIN)
        self.sent = self.answered = self.repeated = self.strange = 0
        self.check_every = check_every
        self.what = what  # "echo", "netd" or "peer"
        self.expected = expected_code(requests[0], what)
        self.kept: list[tuple[int, bytes]] = []
        self.latencies: list[float] = []
        self.look_at = time.monotonic() + LOOK_SECONDS

    def close(self) -> None:
        """Give the ports back."""
        self.poll.close()
        for line in self.lines:
            line.socket.close()

    def send(self, number: int, at: float) -> bool:
        """Send request ``number``; False if its identifier is still under way on its port. Port and identifier follow from the number."""
        line = self.lines[number // IDENTIFIERS % len(self.lines)]
        slot = number % IDENTIFIERS
        if line.slots[slot] != -1:
            return False
        line.slots[slot] = number
        line.sent_at[slot] = at
        self.sent += 1
        self._put(line, self.requests[number % len(self.requests)])
        return True

    def _put(self, line: Line, data: bytes) -> None:
        try:
            line.socket.send(data)
        except (BlockingIOError, ConnectionRefusedError):
            return  # it becomes overdue

    def drain(self, timeout_seconds: float) -> None:
        """Take what has come, waiting at most so long for the first."""
        expected, check_every, kept = self.expected, self.check_every, self.kept
        for descriptor, _ in self.poll.poll(timeout_seconds):
            line = self.by_descriptor[descriptor]
            receive, slots = line.socket.recv, line.slots
            try:
                while True:
                    data = receive(4096)
                    number = slots[data[1]]
                    if number < 0 or data[0] != expected:
                        self.strange += 1
                        continue
                    if line.repeated and self.fault(number, data):
                        self.strange += 1
                        continue
                    slots[data[1]] = -1
                    self.answered += 1
                    if number % check_every == 0:
                        kept.append((number, data))
                        self.latencies.append(time.monotonic() - line.sent_at[data[1]])
            except (BlockingIOError, ConnectionRefusedError):
                continue

    def repeat(self) -> None:
        """Send again what is overdue."""
        now = time.monotonic()
        if now < self.look_at:
            return
        self.look_at = now + LOOK_SECONDS
        for line in self.lines:
            for slot, number in enumerate(line.slots):
                if number != -1 and now - line.sent_at[slot] > OVERDUE_SECONDS:
                    self.repeated += 1
                    line.repeated = True
                    self._put(line, self.requests[number % len(self.requests)])

    def fault(self, number: int, answer: bytes) -> str:
        """What is wrong with the answer to a request, "" if nothing."""
        return answer_fault(self.requests[number % len(self.requests)], answer, self.what)

    def flood(self, count: int, seconds: float, window: int) -> float:
        """Keep ``window`` requests under way until ``count`` are answered or ``seconds`` have gone; returns how long it took."""
        started = time.monotonic()
        number = 0
        while True:
            more = number < count and time.monotonic() - started < seconds
            while more and self.sent - self.answered < window and self.send(number, time.monotonic()):
                number += 1
                more = number < count
            if not more and self.answered >= self.sent:
                break
            if time.monotonic() - started > seconds + GIVE_UP_SECONDS:
                break
            self.drain(0.05)
            self.repeat()
        return time.monotonic() - started

    def pace(self, rate: float, seconds: float) -> float:
        """Send at a steady rate whatever the answers do; latency counts from when a request was due, not from when it left."""
        started = time.monotonic()
        number, count = 0, int(rate * seconds)
        while number < count or (self.answered < self.sent and time.monotonic() - started < seconds + GIVE_UP_SECONDS):
            now = time.monotonic()
            due = min(count, int((now - started) * rate) + 1)
            while number < due and self.send(number, started + number / rate):
                number += 1
            wait = started + number / rate - time.monotonic() if number < count else 0.05
            self.drain(max(0.0, min(wait, 0.05)))
            self.repeat()
        return time.monotonic() - started

    def result(self, seconds: float) -> dict[str, Any]:
        """What is reported: counts, rate, latencies in µs, and the first fault among the answers that were looked at."""
        fault = next((text for number, data in self.kept if (text := self.fault(number, data))), "")
        ordered = sorted(self.latencies)
        quantiles = {f"p{q}_us": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)] * 1e6) for q in (50, 99)} if ordered else {}
        return {
            "sent": self.sent, "answered": self.answered, "repeated": self.repeated, "strange": self.strange, "checked": len(self.kept), "fault": fault,
            "seconds": seconds, "per_second": self.answered / seconds, **quantiles,
        }  # fmt: skip


def build(spec: dict[str, Any]) -> list[bytes]:
    """The packets that a generator was started for."""
    if spec["kind"] == "access":
        return packets.access_requests(spec["count"], spec["subscribers"], spec["seed"])
    return list(packets.accounting_requests(spec["sessions"], spec["subscribers"], spec["at"], spec["ended_of_ten"], spec.get("first", 0)))


def run(requests: list[bytes], order: dict[str, Any]) -> dict[str, Any]:
    """One round by this process itself."""
    work = Round(requests, order["port"], order["ports"], order["check_every"], order["what"])
    try:
        if "rate" in order:
            seconds = work.pace(order["rate"], order["seconds"])
        else:
            seconds = work.flood(order.get("count", 1 << 40), order["seconds"], order["window"])
        return work.result(seconds)
    finally:
        work.close()


def main() -> int:
    """Build, say so, then run the rounds that are asked for until standard input ends."""
    spec = json.loads(sys.stdin.readline())
    requests = build(spec)
    made = native.program() if spec.get("native") else None
    rounds = None if made is None else native.Rounds(made, requests)
    octets = sum(map(len, requests)) // len(requests)
    print(json.dumps({"packets": len(requests), "octets": octets, "native": rounds is not None}), flush=True)
    try:
        for text in sys.stdin:
            order = json.loads(text)
            if rounds is None:
                result = run(requests, order)
            else:
                result = rounds.run(order, expected_code(requests[0], order["what"]), partial(answer_fault, what=order["what"]))
            print(json.dumps(result), flush=True)
    finally:
        if rounds is not None:
            rounds.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
