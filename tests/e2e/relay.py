"""A network that loses, repeats and reorders: a UDP relay on loopback, in a thread. What it does to which packet follows from its seed."""

import contextlib
import heapq
import random
import select
import socket
import threading
import time
from collections import Counter
from typing import Any

Address = tuple[str, int]


class Relay:
    """Hands packets of anybody at ``port`` on to 127.0.0.1:``target``, from a port of its own for each sender, and answers back; both ways badly.

    ``target`` may change, as the daemon's port does; 0 loses everything. ``did`` counts what happened.
    """

    def __init__(self, seed: int, source: str, loss: float = 0.1, repeat: float = 0.1, late: float = 0.3, late_seconds: float = 0.05) -> None:
        self.target = 0
        self.did: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._source = source
        self._loss, self._repeat, self._late, self._late_seconds = loss, repeat, late, late_seconds
        self._front = self._socket("127.0.0.1")
        self.port: int = self._front.getsockname()[1]
        self._behind: dict[Address, socket.socket] = {}
        self._sender: dict[socket.socket, Address] = {}
        self._held: list[tuple[float, int, socket.socket, bytes, Address]] = []
        self._number = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def _socket(host: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind((host, 0))
        return made

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)
        for sock in (self._front, *self._sender):
            sock.close()

    def _run(self) -> None:
        while not self._end.is_set():
            pause = min(0.05, max(0.0, self._held[0][0] - time.monotonic())) if self._held else 0.05
            for sock in select.select([self._front, *self._sender], [], [], pause)[0]:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        self._pass_on(sock, *sock.recvfrom(4096))
            now = time.monotonic()
            while self._held and self._held[0][0] <= now:
                self._send(*heapq.heappop(self._held)[2:])

    def _pass_on(self, sock: socket.socket, data: bytes, sender: Any) -> None:
        if sock is self._front:
            if sender not in self._behind:
                self._behind[sender] = made = self._socket(self._source)
                self._sender[made] = sender
            out, to = self._behind[sender], ("127.0.0.1", self.target)
        else:
            out, to = self._front, self._sender[sock]
        if self._chance.random() < self._loss or not to[1]:
            self.did["lost"] += 1
            return
        copies = 1
        if self._chance.random() < self._repeat:
            copies = 2
            self.did["repeated"] += 1
        for _ in range(copies):
            if self._chance.random() < self._late:
                self.did["late"] += 1
                self._number += 1
                heapq.heappush(self._held, (time.monotonic() + self._chance.random() * self._late_seconds, self._number, out, data, to))
            else:
                self.did["passed"] += 1
                self._send(out, data, to)

    @staticmethod
    def _send(out: socket.socket, data: bytes, to: Address) -> None:
        with contextlib.suppress(OSError):  # nobody listens just now: that is a loss, too
            out.sendto(data, to)
