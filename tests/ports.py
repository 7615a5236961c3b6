"""Ports for who must know one before anything listens there: of a server that is given its port, of a URL, of a place where nobody is."""

import os
import random
import socket

FIRST, LAST = 10_000, 32_700
"""Below those that Linux gives out by itself (net.ipv4.ip_local_port_range begins at 32768): no other socket comes to have one meanwhile."""

_CHANCE = random.Random(os.getpid())
_PROCESS, _PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_given: set[int] = set()


def free_port() -> int:
    """A port, of UDP as of TCP, that nobody has at any address, and that nobody gets who does not ask for this very one: no other process of the tests,
    for each has its part of them, and none that asks later, when nobody may listen there yet."""
    while True:
        port = _CHANCE.randrange(FIRST + _PROCESS, LAST, _PROCESSES)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            try:
                stream.bind(("", port))
                datagrams.bind(("", port))
            except OSError:
                continue
        _given.add(port)
        return port
