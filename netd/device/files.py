"""Files to and from a device over its SSH connection: SFTP, and SCP where there is no SFTP. Sizes are compared; SFTP goes on where it was cut."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, Self, cast

import asyncssh

from netd.device.ssh import SshConnection
from netd.errors import PeerError, PeerUnreachable

BLOCK_OCTETS: Final = 256 << 10
READ_OCTETS: Final = 4 << 20
PRIVATE: Final = asyncssh.SFTPAttrs(permissions=0o600)
TELL_OCTETS: Final = 4 << 20
"""Progress is told once in so many octets."""

STALL_SECONDS: Final = 300.0
"""Flash is slow, but nothing moves for so long only where the device, or the way to it, is gone."""


async def get(connection: SshConnection, path: str, most_octets: int, *, sftp: bool = True) -> bytes:
    """A file's content, without ``sftp`` by SCP at once. Raises PeerError if there is none or it is too large, PeerUnreachable if the connection broke, or
    nothing moved on it for STALL_SECONDS: it is broken off then."""
    with _Moving(connection, path) as moved:
        client = await _sftp(connection, path) if sftp else None
        if client is None:
            return await _scp_get(connection, path, most_octets, moved)
        try:
            async with client:
                size = (await client.stat(path)).size or 0
                if size > most_octets:
                    raise PeerError(f"{path} has {size} octets, more than {most_octets}")
                content = await _read(client, path, most_octets, moved)
        except (asyncssh.Error, OSError) as error:
            raise _fault(connection, path, error) from None
    return content


async def _read(client: asyncssh.SFTPClient, path: str, most_octets: int, moved: Callable[[], None]) -> bytes:
    content = bytearray()
    async with client.open(path, "rb") as file:
        while len(content) <= most_octets:
            block = cast(bytes, await file.read(READ_OCTETS, len(content)))
            if not block:
                return bytes(content)
            content += block
            moved()
    raise PeerError(f"{path} has more than {most_octets} octets")


class _Moving:
    """Breaks a connection on which nothing moves for STALL_SECONDS. It is called whenever something did; who waits gets PeerUnreachable ``timeout``."""

    def __init__(self, connection: SshConnection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._stalled = False
        self._timer = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._stalled and isinstance(error, PeerError):
            raise PeerUnreachable(f"{self._path}: nothing moved for {STALL_SECONDS:g} s", "timeout") from None

    def __call__(self) -> None:
        self._timer.cancel()
        self._timer = self._started()

    def _started(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(STALL_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._stalled = True
        self._connection.close()


async def put(connection: SshConnection, path: str, content: bytes, *, private: bool = False, sftp: bool = True) -> None:
    """Store content as a file. Raises PeerError, PeerUnreachable."""
    with _nameless() as (file, local):
        file.write(content)
        file.flush()
        await put_file(connection, path, local, lambda text: None, private=private, sftp=sftp)


@contextlib.contextmanager
def _nameless() -> Iterator[tuple[IO[bytes], Path]]:
    """A file for private keys and configurations, and where it is opened: it has no name in any folder, so nothing stays when netd is killed."""
    with tempfile.TemporaryFile(prefix="netd-") as file:
        yield file, Path(f"/proc/self/fd/{file.fileno()}")


async def put_file(
    connection: SshConnection, path: str, source: Path, note: Callable[[str], None], *, private: bool = False, sftp: bool = True
) -> None:  # fmt: skip
    """Store a local file; goes on where a transfer was cut, if what is there ends as the same part of the source does. ``private``: nobody but its owner
    reads it, whoever could read what was there before (by SCP a file that is there keeps its mode).

    Raises PeerError if the device says no or has another number of octets at the end, PeerUnreachable if the connection broke.
    """
    size = (await asyncio.to_thread(source.stat)).st_size
    with _Moving(connection, path) as moved:
        client = await _sftp(connection, path) if sftp else None
        if client is None:
            await _scp_put(connection, path, source, note, moved)
            return
        try:
            async with client:
                begin = 0 if private else await _there(client, path, source, size)
                if private:
                    with contextlib.suppress(asyncssh.SFTPNoSuchFile):  # what is there may be anybody's to read
                        await client.remove(path)
                if begin:
                    note(f"{path}: going on at {begin} of {size} octets")
                async with client.open(path, "r+b" if begin else "wb", PRIVATE if private else asyncssh.SFTPAttrs()) as file:
                    await _copy(source, file, begin, size, path, note, moved)
                stored = (await client.stat(path)).size
        except (asyncssh.Error, OSError) as error:
            raise _fault(connection, path, error) from None
    if stored is not None and stored != size:
        raise PeerError(f"{path} has {stored} octets on the device, not {size}")
    note(f"{path}: {size} octets stored")


async def _sftp(connection: SshConnection, path: str) -> asyncssh.SFTPClient | None:
    """None where the device has no SFTP: some say so, others take the channel and close it."""
    try:
        return await connection.connection.start_sftp_client()
    except (asyncssh.Error, OSError) as error:
        if connection.connection.is_closed():
            raise _fault(connection, path, error) from None
        return None


async def _there(sftp: asyncssh.SFTPClient, path: str, source: Path, size: int) -> int:
    """How many octets of the source are on the device already; 0 where it is another file."""
    try:
        there = (await sftp.stat(path)).size or 0
        if not 0 < there < size:
            return 0
        begin = max(there - BLOCK_OCTETS, 0)
        async with sftp.open(path, "rb") as file:
            end = cast(bytes, await file.read(there - begin, begin))
    except asyncssh.SFTPError:
        return 0
    return there if end == await asyncio.to_thread(_part, source, begin, there - begin) else 0


async def _copy(
    source: Path, file: asyncssh.SFTPClientFile, begin: int, size: int, path: str, note: Callable[[str], None], moved: Callable[[], None]
) -> None:  # fmt: skip
    at, told = begin, begin
    while at < size:
        block = await asyncio.to_thread(_part, source, at, BLOCK_OCTETS)
        if not block:
            raise PeerError(f"{path}: its source became shorter meanwhile")
        await file.write(block, at)
        moved()
        at += len(block)
        if at - told >= TELL_OCTETS:
            note(f"{path}: {at} of {size} octets")
            told = at


def _part(source: Path, begin: int, octets: int) -> bytes:
    with source.open("rb") as file:
        file.seek(begin)
        return file.read(octets)


async def _scp_get(connection: SshConnection, path: str, most_octets: int, moved: Callable[[], None]) -> bytes:
    with _nameless() as (_, local):

        def progress(source: bytes, target: bytes, done: int, total: int) -> None:
            moved()
            if total > most_octets:
                raise PeerError(f"{path} has {total} octets, more than {most_octets}")

        try:
            await asyncssh.scp((connection.connection, path), local, progress_handler=progress)
        except (asyncssh.Error, OSError) as error:
            raise _fault(connection, path, error) from None
        return await asyncio.to_thread(local.read_bytes)


async def _scp_put(connection: SshConnection, path: str, source: Path, note: Callable[[str], None], moved: Callable[[], None]) -> None:
    told = 0

    def progress(_source: bytes, _target: bytes, done: int, total: int) -> None:
        nonlocal told
        moved()
        if done - told >= TELL_OCTETS:
            note(f"{path}: {done} of {total} octets")
            told = done

    try:
        await asyncssh.scp(source, (connection.connection, path), progress_handler=progress)
    except (asyncssh.Error, OSError) as error:
        raise _fault(connection, path, error) from None
    note(f"{path}: {source.name} stored")


def _fault(connection: SshConnection, path: str, error: Exception) -> PeerError:
    if connection.connection.is_closed():
        return PeerUnreachable(f"{path}: the connection was lost", "lost")
    match error:
        case asyncssh.ChannelOpenError(code=asyncssh.OPEN_CONNECT_FAILED):  # asyncssh's word for: the connection is gone
            return PeerUnreachable(f"{path}: the connection was lost", "lost")
        case asyncssh.SFTPConnectionLost() | asyncssh.SFTPNoConnection() | asyncssh.DisconnectError() | ConnectionError():
            return PeerUnreachable(f"{path}: the connection was lost", "lost")
        case asyncssh.SFTPNoSuchFile():
            return PeerError(f"{path}: no such file")
        case asyncssh.SFTPPermissionDenied():
            return PeerError(f"{path}: permission denied")
        case _:
            return PeerError(f"{path}: {str(error)[:200] or type(error).__name__}", str(error)[:200])
