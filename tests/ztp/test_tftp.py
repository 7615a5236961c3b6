"""TFTP datagram by datagram, as clients send them that lose some or begin anew."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from netd.wire import tftp
from netd.wire.tftp import Request
from netd.ztp import tftp as tftp_service
from tests.ztp.booting import Booting, client, serving
from tests.ztp.conftest import until


@pytest.fixture
async def booting(database, dsn, tmp_path, extensions, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Booting]:
    monkeypatch.setattr(tftp.Sending, "timeout_seconds", 600.0)  # nothing is sent twice but for what the client says
    async with serving(database, dsn, tmp_path, extensions) as made:
        yield made


class Loader:
    """A client with one port."""

    def __init__(self, booting: Booting, path: str) -> None:
        self.server = ("127.0.0.1", booting.tftp_port)
        self.path = path
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(("127.0.0.1", 0))
        self.got: list[tuple[bytes, tuple[str, int]]] = []

    def ask(self, **options: str) -> None:
        self.socket.sendto(tftp.encode_request(Request(self.path, "octet", options)), self.server)

    async def answer(self) -> tuple[bytes, tuple[str, int]]:
        def there() -> bool:
            try:
                self.got.append(self.socket.recvfrom(2048))
            except BlockingIOError:
                return False
            return True

        await until(there)
        return self.got[-1]

    def acknowledge(self, block: int, server: tuple[str, int]) -> None:
        self.socket.sendto(b"\0\4" + block.to_bytes(2, "big"), server)


@contextmanager
def loaders(booting: Booting, path: str, count: int = 1) -> Iterator[list[Loader]]:
    made = [Loader(booting, path) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.socket.close()


async def test_a_request_that_comes_twice_is_answered_once(booting: Booting) -> None:
    await booting.device(boot_template="x" * 1000)
    with loaders(booting, await booting.told(client())) as (loader,):
        loader.ask(blksize="512")
        answer, server = await loader.answer()
        assert answer.startswith(b"\0\6blksize\0")
        loader.ask(blksize="512")  # the answer was late
        await until(lambda: booting.tftp.drops["repeated"] == 1)
        assert len(booting.tftp.transfers) == 1
        loader.acknowledge(0, server)
        assert (await loader.answer()) == (b"\0\3\0\1" + b"x" * 512, server)
        loader.acknowledge(1, server)
        assert (await loader.answer()) == (b"\0\3\0\2" + b"x" * 488, server)
        loader.acknowledge(2, server)
        await until(lambda: booting.tftp.outcomes["done"] == 1)


async def test_who_begins_anew_from_the_same_port_is_served_anew(booting: Booting) -> None:
    await booting.device(boot_template="x" * 1000)
    with loaders(booting, await booting.told(client())) as (loader,):
        loader.ask()
        _, before = await loader.answer()
        loader.acknowledge(1, before)
        assert (await loader.answer())[0][:4] == b"\0\3\0\2"
        loader.ask()  # it restarted
        answer, server = await loader.answer()
        while server == before:  # what was sent to it before
            answer, server = await loader.answer()
        assert answer[:4] == b"\0\3\0\1" and len(booting.tftp.transfers) == 1
        assert booting.tftp.outcomes["restarted"] == 1


async def test_who_asks_for_many_at_once_has_no_more_than_others(booting: Booting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tftp_service, "OF_A_SOURCE", 2)
    await booting.device(boot_template="x" * 1000)
    with loaders(booting, await booting.told(client()), 5) as asking:
        for each in asking:
            each.ask()
        await until(lambda: sum(booting.tftp.drops.values()) + len(booting.tftp.transfers) == 5)
        assert booting.tftp.drops["too_many_of_source"] == 3
