"""Sockets, frames and pings by themselves."""

import asyncio
import select
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from netd.config import DhcpConfig
from netd.errors import ConfigError
from netd.metrics import Metrics
from netd.ztp import sockets
from netd.ztp.probe import Probe
from netd.ztp.server4 import Arrival
from tests.e2e.daemon import eventually
from tests.ztp.conftest import until


def number(text: str) -> int:
    return int(IPv4Address(text))


def there(sock: socket.socket) -> bool:
    """Whether something came in: a packet may take its time also on loopback."""
    return bool(select.select([sock], [], [], 30)[0])


@pytest.fixture
def stamped() -> Iterator[None]:
    """Linux begins to take down when packets come in some time after the first socket wants that, of all processes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, sockets.SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))

        def takes_down() -> bool:
            sock.sendto(b"", sock.getsockname())
            time.sleep(0.01)
            return there(sock) and sockets.waited(sock.recvmsg(1, sockets.CONTROL_OCTETS)[1]) >= 0.01

        eventually(takes_down)
        yield


def test_a_frame_is_a_datagram_whose_checksums_are_right():
    data = sockets.datagram(b"odd", number("10.0.0.1"), number("10.0.0.20"))
    head, udp = data[:20], data[20:]
    assert sockets.checksum(head) == 0
    assert sockets.checksum(head[12:20] + struct.pack("!HH", 17, len(udp)) + udp) == 0
    assert (struct.unpack("!HHH", udp[:6]), udp[8:], int.from_bytes(head[2:4], "big")) == ((67, 68, 11), b"odd", 31)


def test_what_cannot_be_bound_names_its_key():
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    with pytest.raises(ConfigError, match=r"dhcp\.addresses: cannot listen on 127\.0\.0\.1 port"):
        sockets.bind4(("127.0.0.1",), taken.getsockname()[1], ())
    with pytest.raises(ConfigError, match=r"dhcp\.interfaces: cannot listen on interface nosuch0"):
        sockets.bind4(("127.0.0.1",), 0, ("nosuch0",))
    with pytest.raises(ConfigError, match=r"dhcp\.addresses: cannot listen on 2001:db8::77 port"):
        sockets.bind6(("2001:db8::77",), 0, ())
    assert sockets.bind4(("::1",), 0, ()) is None
    assert sockets.bind6(("127.0.0.1",), 0, ()) is None
    taken.close()


def test_a_packet_tells_which_address_was_asked_and_the_answer_leaves_from_there():
    bound = sockets.Socket4("0.0.0.0", 0)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(30)
    peer.sendto(b"hello", ("127.0.0.2", bound.port))
    assert there(bound.socket)
    got: list[tuple[bytes, Arrival]] = []
    bound.receive(lambda data, arrival: got.append((data, arrival)), frozenset())
    waited = got[0][1].waited
    assert got == [(b"hello", Arrival(number("127.0.0.1"), peer.getsockname()[1], number("127.0.0.2"), "", waited))]
    bound.send(b"answer", number("127.0.0.1"), peer.getsockname()[1], got[0][1].local)
    assert peer.recvfrom(100) == (b"answer", ("127.0.0.2", bound.port))
    peer.close()
    bound.close()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.usefixtures("stamped")
@pytest.mark.parametrize(("clock_moved_by", "told"), [(0.0, (0.2, 20.0)), (-3600.0, (0.0, 0.0)), (3600.0, (60.0, 60.0))])
def test_a_packet_tells_how_long_it_waited_to_be_read(
    family: socket.AddressFamily, host: str, clock_moved_by: float, told: tuple[float, float], monkeypatch: pytest.MonkeyPatch
):
    got: list[float] = []
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        if family == socket.AF_INET:
            four = sockets.Socket4(host, 0)
            bound, read = four.socket, lambda: four.receive(lambda data, arrival: got.append(arrival.waited), frozenset())
        else:
            six = sockets.Socket6(host, 0)
            bound, read = six.socket, lambda: six.receive(lambda data, arrival: got.append(arrival.waited))
        peer.sendto(b"hello", bound.getsockname()[:2])
        time.sleep(0.2)
        assert there(bound)
        now = time.time
        monkeypatch.setattr("netd.ztp.sockets.time.time", lambda: now() + clock_moved_by)
        read()
        bound.close()
    assert told[0] <= got[0] <= told[1]


async def test_a_ping_tells_who_answers():
    try:
        probe, hasty = Probe(20.0, 1), Probe(0.5, 1)
    except PermissionError:
        pytest.skip("neither ping sockets nor raw sockets are permitted here")
    for each in (probe, hasty):
        each.start()
    assert await probe([number("127.0.0.1"), number("127.0.0.9")]) == {number("127.0.0.1"), number("127.0.0.9")}
    assert await hasty([number("127.0.0.1"), number("240.0.0.9")]) == {number("127.0.0.1")}
    for each in (probe, hasty):
        each.close()


async def test_what_came_before_it_listened_is_not_looked_at(responder):
    """It may be seconds old, and another node have answered since."""
    service = await responder()
    four, six = sockets.bind4(("127.0.0.1",), 0, ()), sockets.bind6(("::1",), 0, ())
    assert four is not None and six is not None
    ports = [each.getsockname() for each in (four.every()[0].socket, six.sockets[0].socket)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as early, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as early6:
        for _ in range(3):
            early.sendto(b"stale", ports[0])
            early6.sendto(b"stale", ports[1])
        async with asyncio.TaskGroup() as group:
            service.start(group, four, six)
            early.sendto(b"short", ports[0])
            early6.sendto(b"s", ports[1])
            await until(lambda: service.server4.drops["short"] == service.server6.drops["short"] == 1)
            assert service.server4.drops == service.server6.drops == {"before_start": 3, "short": 1}
            await service.stop()


async def test_what_is_counted_is_shown(responder):
    service = await responder(DhcpConfig(enabled=True))
    metrics = Metrics("test")
    service.register(metrics)
    service.server4.packet(b"", Arrival(0, 0, 0, ""))
    shown = metrics.render()[0].decode()
    assert 'netd_dhcp_drops_total{reason="short"} 1.0' in shown
    assert "netd_dhcp_waiting 0.0" in shown
