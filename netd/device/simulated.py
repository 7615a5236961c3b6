"""Serves a simulated device (:mod:`netd.simulate`) on loopback: SSH with SFTP, Telnet, SNMP. For tests and demonstrations, never for anything else."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, cast

import asyncssh

from netd.errors import WireError
from netd.simulate import Agent, Behaviour, Console, Painted, Simulated
from netd.wire.telnet import DO, ECHO, IAC, NAWS, SGA, WILL, Telnet

_OPENING: Final = bytes((IAC, WILL, ECHO, IAC, WILL, SGA, IAC, DO, NAWS))


class SimulatedServer:
    """Listens until closed. ``down_seconds`` is how long a restart takes: meanwhile every connection is broken at once.

    ``executes``: the device is a host whose commands run on SSH channels of their own, without a console. ``host_key`` is a private key as
    :func:`made_host_key` makes one, for a device that must be known again; else it has a new one.
    """

    def __init__(
        self, device: Simulated, behaviour: type[Behaviour], *, agent: Agent | None = None, executes: bool = False, down_seconds: float = 0.2,
        host_key: str | None = None,
    ) -> None:  # fmt: skip
        self.device = device
        self.behaviour = behaviour
        self.agent = agent
        self.executes = executes
        self.down_seconds = down_seconds
        self.ssh_port = 0
        self.telnet_port = 0
        self.snmp_port = 0  # stays so without an agent
        self.down = False
        self._breakers: set[Callable[[], None]] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._ssh: asyncssh.SSHAcceptor | None = None
        self._telnet: asyncio.Server | None = None
        self._snmp: asyncio.DatagramTransport | None = None
        self._key = asyncssh.import_private_key(host_key or made_host_key())

    async def start(self, host: str = "127.0.0.1", *, ssh_port: int = 0, telnet_port: int = 0, snmp_port: int = 0) -> None:
        """Listen; port 0 takes a free one, which is then in ``ssh_port``, ``telnet_port`` and ``snmp_port``."""
        self._ssh = await asyncssh.listen(
            host,
            ssh_port,
            server_factory=lambda: _Server(self),
            server_host_keys=[self._key],
            encoding=None,
            line_editor=False,
        )
        self.ssh_port = self._ssh.get_port()
        self._telnet = await asyncio.start_server(self._telnet_connected, host, telnet_port)
        self.telnet_port = self._telnet.sockets[0].getsockname()[1]
        if self.agent is not None:
            self._snmp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Datagrams(self), (host, snmp_port))
            self.snmp_port = self._snmp.get_extra_info("sockname")[1]

    async def close(self) -> None:
        """Break what is open and listen no longer; returns when the last session has ended."""
        self.break_all()
        for server in (self._ssh, self._telnet):
            if server is not None:
                server.close()
        if self._snmp is not None:
            self._snmp.close()
        if self._ssh is not None:
            await self._ssh.wait_closed()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def channel(self, *, sftp: bool) -> asyncssh.SSHServerProcess[bytes]:
        """A shell, a command or files: what the client then asks for."""
        kind = asyncssh.SSHServerProcess[bytes] if sftp else _WithoutSftp
        return kind(self._ssh_session, lambda channel: _Files(cast("asyncssh.SSHServerChannel[bytes]", channel), self.device), 3, True)

    @property
    def host_key(self) -> str:
        """As it would be pinned."""
        return " ".join(self._key.export_public_key("openssh").decode().split()[:2])

    def watch(self, breaker: Callable[[], None]) -> None:
        """Call it when the device restarts or the server is closed."""
        self._breakers.add(breaker)

    def forget(self, breaker: Callable[[], None]) -> None:
        self._breakers.discard(breaker)

    def break_all(self) -> None:
        """As when the power goes."""
        for breaker in list(self._breakers):
            breaker()

    def restart(self) -> None:
        """The device has restarted itself: break everything, and take nothing for a while."""
        self.down = True
        self.break_all()
        asyncio.get_running_loop().call_later(self.down_seconds, self._up)

    def _up(self) -> None:
        self.down = False

    async def _ssh_session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if self.executes or process.command is not None:
            known = self.executes and process.command is not None
            process.stdout.write(self.behaviour(self.device).run(process.command or "").text.encode() + b"\n" if known else b"")
            process.exit(0 if known else 1)
            return
        console, abort = Console(self.device, self.behaviour), process.channel.get_connection().abort
        try:
            painted = console.open()
            while self._tell(painted, lambda text: process.stdout.write(text.encode(self.device.quirks.encoding)), abort):
                await process.stdout.drain()
                data = await process.stdin.read(4096)
                if not data:
                    break
                painted = console.feed(data.decode("utf-8", "replace"))
            console.close()
            process.exit(0)
            await process.wait_closed()
            process.channel.get_connection().close()
        except (asyncssh.Error, ConnectionError, asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
            abort()
        finally:
            console.close()

    def _telnet_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._telnet_session(reader, writer))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _telnet_session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        codec, console = Telnet(), Console(self.device, self.behaviour, asks_login=True)
        self.watch(writer.transport.abort)
        try:
            writer.write(_OPENING)
            painted = console.open()
            while self._tell(
                painted, lambda text: writer.write(text.encode(self.device.quirks.encoding).replace(b"\xff", b"\xff\xff")), writer.transport.abort
            ):
                await writer.drain()
                data = await reader.read(4096)
                if not data:
                    break
                painted = console.feed(codec.receive(data)[0].decode("utf-8", "replace"))
            console.close()
            await writer.drain()
        except (ConnectionError, WireError):
            writer.transport.abort()
        finally:
            console.close()
            self.forget(writer.transport.abort)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _tell(self, painted: Painted, write: Callable[[str], None], abort: Callable[[], None]) -> bool:
        """Write what the device paints; False if the session ends with it."""
        write(painted.text)
        if painted.restarts:
            self.forget(abort)  # it has the time to say so
            self.restart()
        elif painted.resets:
            abort()
        return not (painted.closes or painted.restarts or painted.resets)


def made_host_key() -> str:
    """A new private key for SSH, in OpenSSH's form."""
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        agent = self._server.agent
        answer = agent.answer(data) if agent is not None and not self._server.down else None
        if answer is not None:
            self._transport.sendto(answer, addr)


class _Server(asyncssh.SSHServer):
    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self._abort: Callable[[], None] = lambda: None
        self._channels = 0

    def session_requested(self) -> asyncssh.SSHServerProcess[bytes] | bool:
        self._channels += 1
        few = self._server.behaviour.one_channel
        return False if few and self._channels > 1 else self._server.channel(sftp=not few)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._abort = conn.abort
        if self._server.down:
            conn.abort()
        self._server.watch(self._abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self._abort)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        device = self._server.device
        return not device.shut and (self._server.behaviour(device).account(username), password) == (device.username, device.password)


class _WithoutSftp(asyncssh.SSHServerProcess[bytes]):
    def subsystem_requested(self, subsystem: str) -> bool:
        return False


class _Files(asyncssh.SFTPServer):
    """The device's files: a flat dictionary of what was stored."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], device: Simulated) -> None:
        super().__init__(channel)
        self._device = device

    def _path(self, path: bytes) -> str:
        return path.decode().lstrip("/")

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        name = self._path(path)
        if pflags & asyncssh.FXF_WRITE:
            if pflags & asyncssh.FXF_TRUNC or name not in self._device.files:
                self._device.files[name] = b""
        elif name not in self._device.files:
            raise asyncssh.SFTPNoSuchFile(f"{name}: no such file")
        return name

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> object:
        raise asyncssh.SFTPOpUnsupported("this device speaks version 3")

    def close(self, file_obj: object) -> None:
        """Nothing is buffered."""

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return self._device.files[str(file_obj)][offset : offset + size]

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if self._device.quirks.damages_files and not offset:
            data = bytes((data[0] ^ 1,)) + data[1:]
        content = self._device.files[str(file_obj)]
        self._device.files[str(file_obj)] = content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]
        return len(data)

    def _attributes(self, name: str) -> asyncssh.SFTPAttrs:
        if name in self._device.files:
            return asyncssh.SFTPAttrs(type=asyncssh.FILEXFER_TYPE_REGULAR, size=len(self._device.files[name]), permissions=0o100644)
        if name in {"", "."}:
            return asyncssh.SFTPAttrs(type=asyncssh.FILEXFER_TYPE_DIRECTORY, permissions=0o040755)
        raise asyncssh.SFTPNoSuchFile(f"{name}: no such file")

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return self._attributes(self._path(path))

    def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return self._attributes(self._path(path))

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        return self._attributes(str(file_obj))

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Owners and times are of no interest here."""

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """Owners and times are of no interest here."""

    def realpath(self, path: bytes) -> bytes:
        return b"/" + path.lstrip(b"/")

    def remove(self, path: bytes) -> None:
        if self._device.files.pop(self._path(path), None) is None:
            raise asyncssh.SFTPNoSuchFile(f"{path!r}: no such file")

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._device.files[self._path(newpath)] = self._device.files.pop(self._path(oldpath))

    posix_rename = rename
