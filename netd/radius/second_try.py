"""Takes up again what the database refused, once an operator asked for it: ``netd accounting retry-refused`` names the file anew, this looks for it.

What goes in is acknowledged and kept as if its NAS had sent it just now. A crash in the middle tries some of it a third time; the ledger sees that it
tells nothing new.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from netd.model.accounting import Record
from netd.radius.accounting import Accounting, Pending
from netd.radius.record import AccountingSwitch
from netd.radius.segment import Item

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
AT_ONCE: Final = 500
_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


class SecondTry:
    """Looks for records to be tried again, and sees to them through the accounting's own queue."""

    def __init__(self, accounting: Accounting) -> None:
        self.accounting = accounting
        self.spool = accounting.spool
        self._told = False

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.once()
                self._told = False
            except OSError as error:
                if not self._told:
                    log.error("records that were refused cannot be tried again yet", extra={"error": str(error)})
                    self._told = True

    async def once(self) -> tuple[int, int]:
        """How many records were taken now, and how many are set aside again. Raises OSError."""
        lines = await self.spool.asked_again()
        if not lines:
            return 0, 0
        kept: list[bytes] = []
        for start in range(0, len(lines), AT_ONCE):
            part = lines[start : start + AT_ONCE]
            taken = await asyncio.gather(*[self._try(line) for line in part])
            kept += [line for line, good in zip(part, taken, strict=True) if not good]
        await self.spool.tried_again(kept)
        log.info("records that the database had refused were tried again", extra={"taken": len(lines) - len(kept), "kept": len(kept)})
        return len(lines) - len(kept), len(kept)

    async def _try(self, line: bytes) -> bool:
        item = read(line)
        nas = None if item is None or item.nas_id is None else self.accounting.directory.nas.get(item.nas_id)
        if item is None or nas is None:
            return False
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(committed: bool) -> None:
            if not settled.done():
                settled.set_result(committed)

        return self.accounting.offer(Pending(item, nas, done)) and await settled


def read(line: bytes) -> Item | None:
    """The record in a line of the file, None if it cannot be used."""
    try:
        record = _decode(line)["record"]
        if isinstance(record, Sequence):
            return AccountingSwitch(*record)
        return msgspec.convert(record, Record)
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError):
        return None
