"""Rows that come in parts and are wanted in one order: each part is sorted and kept in a temporary file, and all of them are merged as they are read.

However many rows there are, in memory is one part, then a block of each; whoever reads slowly holds up no transaction.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import IO, Any, Final

import msgspec

from netd.domain.cells import Cell
from netd.errors import StoreError

BLOCK_OCTETS: Final = 1 << 14
PART_ROWS: Final = 500

Key = Sequence[str | int | float]
Keyed = tuple[Key, Sequence[Cell]]

_key = itemgetter(0)
_decoder = msgspec.json.Decoder(tuple[list[Any], list[Any]])


class Runs:
    """The parts of one table. ``async with`` it; it holds a file."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []  # where in the file each part begins and ends
        self._end = 0

    async def __aenter__(self) -> "Runs":
        """Open the file. Raises StoreError."""
        try:
            self._file: IO[bytes] = await asyncio.to_thread(tempfile.TemporaryFile, prefix="netd-rows-")
        except OSError as error:
            raise _full(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove it."""
        self._file.close()

    async def add(self, rows: list[Keyed]) -> None:
        """Keep a part, its rows in whatever order. Keys are of one form: texts and numbers, no None. Raises StoreError."""
        try:
            await asyncio.to_thread(self._add, rows)
        except OSError as error:
            raise _full(error) from error

    def _add(self, rows: list[Keyed]) -> None:
        rows.sort(key=_key)
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        self._file.write(data)
        self._spans.append((self._end, self._end + len(data)))
        self._end += len(data)

    async def merged(self, most: int | None = None) -> AsyncIterator[Sequence[Sequence[Cell]]]:
        """All rows by their keys, some at a time; at most so many of them."""
        await asyncio.to_thread(self._file.flush)
        rows = islice(merge(*(self._read(*span) for span in self._spans), key=_key), most)
        while part := await asyncio.to_thread(_taken, rows):
            yield part

    def _read(self, begin: int, end: int) -> Iterator[Keyed]:
        rest = b""
        while begin < end:
            block = os.pread(self._file.fileno(), min(BLOCK_OCTETS, end - begin), begin)
            if not block:
                raise StoreError("a temporary file is shorter than what was written to it")
            begin += len(block)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                key, row = _decoder.decode(line)
                yield key, row


def _taken(rows: Iterator[Keyed]) -> list[Sequence[Cell]]:
    return [row for _, row in islice(rows, PART_ROWS)]


def _full(error: OSError) -> StoreError:
    return StoreError(f"a table cannot be kept for being sorted: {error.strerror}")
