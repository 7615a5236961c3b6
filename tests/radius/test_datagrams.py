"""Reading and sending in batches and one by one: the same datagrams, to and from the same addresses."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netd.radius import datagrams
from netd.radius.datagrams import BATCH, Batched, Single
from netd.radius.sockets import Socket

SO_PEEK_OFF = 42
"""Linux: each look (MSG_PEEK) goes on behind the one before."""

ADDRESSES = ["127.0.0.1", "0.0.0.0", *(("::1", "::") if Path("/proc/net/if_inet6").exists() else ())]


@pytest.fixture(params=[True, False], ids=["batched", "single"])
def batched(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@contextlib.contextmanager
def bound(address: str, batched: bool) -> Iterator[tuple[Socket, socket.socket, str]]:
    """A socket of the server, a client's, and where the client finds it."""
    sock = Socket(address, 0, 3, batched)
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(20.0)
    try:
        yield sock, client, {"0.0.0.0": "127.0.0.7", "::": "::1"}.get(address, address)
    finally:
        sock.close()
        client.close()


def queued(sock: Socket, count: int) -> None:
    """Wait until so many datagrams stand there to be received: on a busy machine loopback delivers them later."""
    deadline = time.monotonic() + 20.0
    sock.socket.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
    while count:
        try:
            sock.socket.recv(65_536, socket.MSG_PEEK)
            count -= 1
        except BlockingIOError:
            assert time.monotonic() < deadline, f"{count} datagrams did not arrive"
            time.sleep(0.001)
    sock.socket.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, -1)


def test_both_ways_are_there(batched: bool) -> None:
    with bound("127.0.0.1", batched) as (sock, _, _):
        assert isinstance(sock._datagrams, Batched if batched else Single)


@pytest.mark.parametrize("address", ADDRESSES)
def test_each_is_answered_to_where_it_came_from(address: str, batched: bool) -> None:
    with bound(address, batched) as (sock, client, host):
        sent = [bytes((n,)) * n * 20 for n in range(20)]  # the first is empty, which is a datagram too
        for data in sent:
            client.sendto(data, (host, sock.port))
        queued(sock, len(sent))
        received = sock.receive()
        assert [data for data, _, _ in received] == sent
        assert len({source for _, source, _ in received}) == 1
        assert sock.host(received[0][1]) == client.getsockname()[0] or client.getsockname()[0] in ("0.0.0.0", "::")
        sock.send([(data.upper() + b"!", source, control) for data, source, control in received])
        for data in sent:
            answer, source = client.recvfrom(4096)
            assert (answer, source[:2]) == (data.upper() + b"!", (host, sock.port)), "from the address that was asked"
        assert sock.receive() == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_both_ways_know_a_source_by_the_same_octets(address: str) -> None:
    with bound(address, True) as (sock, client, host):
        single = Single(sock.socket, 64)
        found = []
        for way in (sock, single):
            client.sendto(b"x", (host, sock.port))
            queued(sock, 1)
            ((_, source, control),) = way.receive()
            found.append((source, control.ljust(40, b"\0")))
        assert found[0][0] == found[1][0]
        assert found[0][1][:36].rstrip(b"\0") == found[1][1][:36].rstrip(b"\0")


def test_sources_are_not_mixed_up(batched: bool) -> None:
    with contextlib.ExitStack() as stack:
        sock, first, host = stack.enter_context(bound("127.0.0.1", batched))
        _, second, _ = stack.enter_context(bound("127.0.0.1", batched))
        for n in range(10):
            (first, second)[n % 2].sendto(b"%d" % n, (host, sock.port))
        queued(sock, 10)
        sock.send(sock.receive())
        assert [[client.recv(10) for _ in range(5)] for client in (first, second)] == [[b"%d" % n for n in range(start, 10, 2)] for start in (0, 1)]


def test_more_than_a_batch_waits_for_the_next_call(batched: bool) -> None:
    with bound("127.0.0.1", batched) as (sock, client, host):
        for n in range(BATCH + 6):
            client.sendto(b"%d" % n, (host, sock.port))
        queued(sock, BATCH + 6)
        first, second = sock.receive(), sock.receive()
        assert (len(first), len(second), second[-1][0]) == (BATCH, 6, b"%d" % (BATCH + 5))
        sock.send([*first, *second])
        assert [client.recv(100) for _ in range(BATCH + 6)] == [b"%d" % n for n in range(BATCH + 6)]


def test_the_largest_datagram_is_read_whole_and_the_next_one_is_not_longer_for_it(batched: bool) -> None:
    with bound("127.0.0.1", batched) as (sock, client, host):
        for data in (b"a" * 65_507, b"b"):
            client.sendto(data, (host, sock.port))
        queued(sock, 2)
        assert [data for data, _, _ in sock.receive()] == [b"a" * 65_507, b"b"]
        client.sendto(b"c", (host, sock.port))
        queued(sock, 1)
        ((data, source, control),) = sock.receive()
        sock.send([(b"d" * 4096, source, control)] * BATCH)
        assert {client.recv(5000) for _ in range(20)} == {b"d" * 4096}  # more does not fit into its buffer
        assert data == b"c"


def test_what_cannot_be_sent_keeps_back_nothing_else(batched: bool) -> None:
    with bound("127.0.0.1", batched) as (sock, client, host):
        client.sendto(b"x", (host, sock.port))
        queued(sock, 1)
        ((_, source, _),) = sock.receive()
        nowhere = source[:2] + b"\0\0" + source[4:]  # port 0: EINVAL
        sock.send([(b"1", source, b""), (b"2", nowhere, b""), (b"3", source, b""), (b"4", nowhere, b"")])
        assert [client.recv(10), client.recv(10)] == [b"1", b"3"]


def test_a_broken_socket_is_an_error_and_an_interruption_is_none(batched: bool) -> None:
    assert datagrams._nothing(11) == []
    with bound("127.0.0.1", batched) as (sock, _, _):
        sock.close()
        with pytest.raises(OSError, match=r"EBADF|Bad file descriptor"):
            sock.receive()
