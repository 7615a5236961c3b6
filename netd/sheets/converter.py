"""The daemon's side: runs the child, feeds it, and believes nothing of it that does not come to a proper end."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Literal

import msgspec

from netd.errors import ConversionFailed, Fault, InvalidInput, TooOften

log = logging.getLogger(__name__)

Form = Literal["xlsx", "pdf"]
Cell = str | int | float | None

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PDF = "application/pdf"

SECONDS = 600.0
AT_ONCE = 2
WAITING = 8
_REFUSED = 3  # netd.sheets.__main__
_TOLD_OCTETS = 4096
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
"""Of the environment: where things are. Secrets are there, too."""

_END = b"null\n"

Row = tuple[int, list[str], dict[str, str]]


class Converter:
    """Runs two children at a time, and lets eight more wait."""

    def __init__(self, *, at_once: int = AT_ONCE, seconds: float = SECONDS) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._seconds = seconds

    @contextlib.asynccontextmanager
    async def reading(self, file: IO[bytes]) -> AsyncIterator[Iterator[Row]]:
        """The rows of an XLSX file, all read already: number, cells as text, and by a cell's place what is wrong with it.

        Raises InvalidInput for a file that is not taken, TooOften.
        """
        with await asyncio.to_thread(_temporary) as rows:
            async with self._child("read", file, rows) as (child, _):
                await _end(child)
            if not _is_whole(rows):
                raise ConversionFailed("the child ended before the file did")
            rows.seek(0)
            yield _decoded(rows)

    async def write(
        self, form: Form, columns: Sequence[str], rows: AsyncIterable[Sequence[Sequence[Cell]]], *, title: str, subtitle: str = "", made_at: datetime
    ) -> IO[bytes]:
        """A temporary file with the table, to be read from its beginning and closed. ``rows`` come some at a time; waiting for them is not
        in the time that it may take.

        Raises InvalidInput for what such a file does not hold, TooOften; and whatever ``rows`` raises.
        """
        made = await asyncio.to_thread(_temporary)
        try:
            head = {"title": title, "subtitle": subtitle, "columns": columns, "made_at": made_at}
            async with self._child(form, asyncio.subprocess.PIPE, made) as (child, limit):
                assert child.stdin is not None
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has said why on standard error
                    child.stdin.write(msgspec.json.encode(head) + b"\n")
                    async for some in _outside(limit, rows):
                        child.stdin.write(b"".join(msgspec.json.encode(row) + b"\n" for row in some))
                        await child.stdin.drain()
                    child.stdin.write(b"null\n")
                    await child.stdin.drain()
                child.stdin.close()
                await _end(child)
            await asyncio.to_thread(made.seek, 0)
        except BaseException:
            made.close()
            raise
        return made

    @contextlib.asynccontextmanager
    async def _child(self, what: str, stdin: IO[bytes] | int, stdout: IO[bytes] | int) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Timeout]]:
        if self._waiting >= WAITING:
            raise TooOften("too many spreadsheets are being read and written", 30)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            # -I: neither the folder that netd was started in nor the environment says what is imported.
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "netd.sheets", what, str(os.getpid()), stdin=stdin, stdout=stdout,
                stderr=asyncio.subprocess.PIPE, env=_environment(os.environ), start_new_session=True,
            )  # fmt: skip
            limit = asyncio.timeout(self._seconds)
            try:
                async with limit:
                    yield child, limit
            except TimeoutError:
                if not limit.expired():
                    raise
                raise InvalidInput([Fault("", f"takes longer than {self._seconds:g} s; split it, or take CSV")]) from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        finally:
            self._free.release()


async def _outside(limit: asyncio.Timeout, rows: AsyncIterable[Sequence[Sequence[Cell]]]) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """The rows, while they are waited for without the limit."""
    clock = asyncio.get_running_loop().time
    parts = aiter(rows)
    while True:
        left = (limit.when() or clock()) - clock()
        limit.reschedule(None)
        some = await anext(parts, None)
        limit.reschedule(clock() + left)
        if some is None:
            return
        yield some


def _environment(of: Mapping[str, str]) -> dict[str, str]:
    return {name: of[name] for name in _PASSED_ON if name in of}


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="netd-sheet-")


def _is_whole(rows: IO[bytes]) -> bool:
    """Whether the child wrote its end mark."""
    rows.seek(max(0, rows.seek(0, os.SEEK_END) - len(_END)))
    return rows.read() == _END


def _decoded(rows: IO[bytes]) -> Iterator[Row]:
    decoder = msgspec.json.Decoder(Row | None)
    for line in rows:
        row = decoder.decode(line)
        if row is None:
            return
        yield row


async def _end(child: asyncio.subprocess.Process) -> None:
    """Wait for the child's end. Raises what it amounts to."""
    assert child.stderr is not None
    said = (await child.stderr.read(_TOLD_OCTETS)).decode("utf-8", "replace")
    code = await child.wait()
    if code == _REFUSED:
        raise InvalidInput([Fault("", said)])
    if code == -signal.SIGXCPU:
        raise InvalidInput([Fault("", "takes longer than a spreadsheet may; split it, or take CSV")])
    if code:
        log.error("a child that converts spreadsheets ended with %s: %s", code, said)
        raise ConversionFailed(f"the child ended with {code}")
