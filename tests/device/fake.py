"""Devices that a test makes up: a coroutine that reads lines and writes a screen, behind a real SSH or Telnet server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncssh

from netd.config import Secret
from netd.model.target import SshLogin, TelnetLogin


class Line:
    """The device's side of a session."""

    def __init__(self, read: Callable[[], Awaitable[str]], write: Callable[[str], None], reset: Callable[[], None]) -> None:
        self._read = read
        self.write = write
        self.reset = reset
        self.typed: list[str] = []

    async def line(self, *, echo: bool = True) -> str:
        """What is typed, without its end; EOFError when the session is over. Echoed as a terminal does."""
        text = await self._read()
        self.typed.append(text)
        if echo:
            self.write(f"{text}\r\n")
        return text


Device = Callable[[Line], Awaitable[int | None]]
"""May return the exit status that SSH tells."""


def password(username: str = "netd", word: str = "right") -> SshLogin:
    """An SSH login."""
    return SshLogin(username=username, password=Secret(word))


def telnet_password(username: str = "netd", word: str = "right") -> TelnetLogin:
    """A Telnet login."""
    return TelnetLogin(username=username, password=Secret(word))


class _Server(asyncssh.SSHServer):
    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._seen.append(f"{username}:{password}")
        return password == "right"


class SshDevice:
    """An SSH server at ``port`` that lets in who says ``right``; ``seen`` are the logins that were tried."""

    def __init__(self, device: Device, **options: Any) -> None:
        self.seen: list[str] = []
        self.key = options.pop("key", None) or asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = " ".join(self.key.export_public_key("openssh").decode().split()[:2])
        self.commands: list[str] = []
        self.port = 0
        self.sessions = 0
        self._device = device
        self._options = options
        self._server: asyncssh.SSHAcceptor

    async def __aenter__(self) -> "SshDevice":
        self._server = await asyncssh.create_server(
            lambda: _Server(self.seen), "127.0.0.1", self.port, server_host_keys=[self.key], process_factory=self._process, line_editor=False, **self._options
        )
        self.port = self._server.get_port()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._server.get_connections() if hasattr(self._server, "get_connections") else ()):
            connection.abort()

    async def _process(self, process: Any) -> None:
        self.sessions += 1

        async def read() -> str:
            try:
                return str(await process.stdin.readuntil(("\n", "\r"))).rstrip("\r\n")
            except (asyncio.IncompleteReadError, asyncssh.Error) as error:
                raise EOFError from error

        line = Line(read, process.stdout.write, process.channel.get_connection().abort)
        status = None
        with contextlib.suppress(EOFError, BrokenPipeError):
            if process.command is not None:
                self.commands.append(process.command)
            status = await self._device(line)
        process.exit(status or 0)


@contextlib.asynccontextmanager
async def telnet_device(device: Device, *, negotiates: bytes = b"") -> AsyncIterator[int]:
    """A Telnet server; yields its port. What the other side negotiates is passed over."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(negotiates)

        async def read() -> str:
            data = bytearray()
            while True:
                octet = await reader.read(1)
                if not octet:
                    raise EOFError
                if octet == b"\xff":
                    command = await reader.readexactly(2)
                    if command[0] == 250:
                        await reader.readuntil(b"\xff\xf0")
                elif octet == b"\n":
                    return data.decode().rstrip("\r\0")
                else:
                    data += octet

        with contextlib.suppress(EOFError, ConnectionError):
            await device(Line(read, lambda text: writer.write(text.encode()), writer.transport.abort))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
