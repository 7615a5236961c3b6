"""What kinds that work with devices share: a session for one of a job's devices, with its notes in the job's log."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from netd.domain import configurations
from netd.domain.choice import Chosen
from netd.domain.kinds import JobContext
from netd.errors import PeerUnreachable
from netd.store import devices as device_store
from netd.work.kinds.tools import Tools
from netd.work.sessions import DeviceSessions, Opened

T = TypeVar("T")


class Devices:
    """Devices as kinds reach them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @property
    def sessions(self) -> DeviceSessions:
        """Raises PeerUnreachable where this netd has no way to devices."""
        if self._tools.sessions is None:
            raise PeerUnreachable("this netd has no way to devices", "invalid")
        return self._tools.sessions

    async def at(
        self, job: JobContext, chosen: Chosen, work: Callable[[Opened], Awaitable[T]], *, image: Path | None = None, deadline_seconds: float | None = None
    ) -> T:
        """Do ``work`` in a session with the device; what its driver notes stands in the job's log. Raises as ``DeviceSessions.run``."""
        noting: set[asyncio.Task[None]] = set()

        def note(text: str) -> None:
            task = asyncio.get_running_loop().create_task(job.log(text, "info", chosen.subject.key))
            noting.add(task)
            task.add_done_callback(noting.discard)

        try:
            return await self.sessions.run(
                job.job.tenant_id, chosen.id, work, image=image, note=note, hide=job.hide, deadline_seconds=deadline_seconds
            )  # fmt: skip
        finally:
            if noting:
                await asyncio.gather(*noting)

    async def failed(self, job: JobContext, chosen: Chosen, error: str) -> None:
        """Remember that the device's configuration could not be read."""
        async with self._tools.owner.transaction() as conn:
            found = await device_store.by_ids(conn, job.job.tenant_id, [chosen.id])
        if found:
            await configurations.failed(self._tools.owner, found[0], error, self._tools.now())
