"""What an SSH server says before anybody logs in."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import asyncssh
import pytest

from netd.device.greeting import Greeting, ssh_greeting
from tests.device.conftest import Sshd
from tests.ports import free_port

HERE = ip_address("127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def test_openssh(sshd: Sshd):
    peer = sshd()
    said = await ssh_greeting(HERE, peer.port, 60)
    assert said is not None and said.host_key == peer.host_key
    assert said.banner.startswith("SSH-2.0-OpenSSH_")


async def test_an_old_server_that_nobody_logs_in_to():
    """Group 1 and CBC only: its key is seen all the same, and it is never told a user name."""
    asked: list[str] = []

    class Old(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            asked.append(username)
            return True

    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    server = await asyncssh.create_server(
        Old, "127.0.0.1", 0, server_host_keys=[key], kex_algs=["diffie-hellman-group1-sha1"], encryption_algs=["3des-cbc"], signature_algs=["ssh-rsa"],
        server_version="ROSSSH",
    )  # fmt: skip
    async with server:
        said = await ssh_greeting(HERE, server.get_port(), 60)
    public = " ".join(key.export_public_key("openssh").decode().split()[:2])
    assert said == Greeting("SSH-2.0-ROSSSH", public)
    assert asked == []


async def test_no_common_algorithm_still_has_a_banner(sshd: Sshd):
    peer = sshd("KexAlgorithms sntrup761x25519-sha512@openssh.com", "Ciphers chacha20-poly1305@openssh.com")
    said = await ssh_greeting(HERE, peer.port, 60)
    assert said is not None and said.banner.startswith("SSH-2.0-OpenSSH_") and said.host_key is None


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(b"x" * 65536 + b"\r\n")
            await writer.drain()
    except ConnectionError:
        writer.close()


async def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("serve", [_silent, _web, _endless, _gone])
async def test_what_is_no_ssh_server(serve: Serve):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ssh_greeting(HERE, port, 0.3) is None
    assert await ssh_greeting(HERE, free_port(), 0.3) is None
