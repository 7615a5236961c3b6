"""Handing devices' values to a store that takes Prometheus' text (VictoriaMetrics /api/v1/import/prometheus, and what speaks like it). Off by default.

It is a copy: while the other store is away values wait, packed, within ``most_octets``; then the oldest go and are counted. Netd's own store has them.
"""

import asyncio
import gzip
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from netd.config import Secret
from netd.device.http import Client
from netd.domain import exposition
from netd.domain.imports import Slices
from netd.domain.ports import Part
from netd.errors import PeerUnreachable
from netd.metrics import Counts, Metrics
from netd.model.telemetry import Aspect, CurrentDevice
from netd.poll.watched import Watched

log = logging.getLogger(__name__)

GATHER_SECONDS: Final = 5.0
"""As often as a device may be asked for anything, so that no value is passed over."""

SEND_SECONDS: Final = 5.0
BODY_OCTETS: Final = 1 << 20
NAME: Final = "metrics_export"
LATER: Final = frozenset((408, 429))


class _Body(NamedTuple):
    lines: int
    packed: bytes


class Export:
    """Gathers what is new of ``devices``, whose values ``current`` knows, and sends it in the order in which it came."""

    def __init__(
        self, client: Client, url: str, token: Secret, devices: Mapping[int, Watched], current: Callable[[int], CurrentDevice | None], *, most_octets: int,
    ) -> None:  # fmt: skip
        self.lines = Counts({"ok": 0, "refused": 0, "dropped": 0})  # all from the start: a series that begins with what was lost shows no increase
        self.failing = False
        self.last_error = ""
        self._client = client
        self._url = url
        self._headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip", **({"Authorization": f"Bearer {token.reveal()}"} if token else {})}
        self._devices = devices
        self._current = current
        self._most_octets = most_octets
        self._told: dict[int, dict[Aspect, datetime]] = {}  # when that was read which is gathered already
        self._bodies: deque[_Body] = deque()

    @property
    def waiting_octets(self) -> int:
        """What is not sent yet, packed."""
        return sum(len(each.packed) for each in self._bodies)

    async def gather(self) -> None:
        """Take what was read since the last time."""
        lines: list[str] = []
        octets = 0
        slices = Slices()
        for device_id, watched in list(self._devices.items()):
            await slices.breathe()
            news = self._news(device_id, watched)
            current = self._current(device_id) if news else None
            if current is None:
                continue
            own = {"device": watched.device.hostname, "tenant": str(watched.device.tenant_id)}
            for sample in exposition.samples(current, news):
                text = exposition.line(sample, own, timed=True)
                lines.append(text)
                octets += len(text) + 1
                await slices.breathe()
            if octets > BODY_OCTETS:
                await self._put(lines)
                lines, octets = [], 0
        if lines:
            await self._put(lines)
        self._told = {device_id: told for device_id, told in self._told.items() if device_id in self._devices}

    def _news(self, device_id: int, watched: Watched) -> tuple[Aspect, ...]:
        """What was read of a device since it was asked here last. One that is away has news, too: that it is."""
        told = self._told.setdefault(device_id, {})
        at: tuple[tuple[Aspect, datetime | None], ...] = (
            ("reach", watched.up_at), ("system", watched.system_at), ("interfaces", watched.interfaces_at), ("optics", watched.optics_at),
        )  # fmt: skip
        news = {aspect: when for aspect, when in at if when is not None and told.get(aspect) != when}
        told |= news
        return tuple(news)

    async def _put(self, lines: list[str]) -> None:
        """Keep values until they are sent; the oldest go where there is no room."""
        packed = await asyncio.to_thread(gzip.compress, ("\n".join(lines) + "\n").encode(), 1)
        self._bodies.append(_Body(len(lines), packed))
        while self.waiting_octets > self._most_octets:
            self.lines["dropped"] += self._bodies.popleft().lines

    async def send(self) -> None:
        """Send what waits; what cannot be delivered now stays."""
        while self._bodies:
            body = self._bodies[0]
            outcome = await self._delivered(body)
            if outcome is None:
                return
            if self._bodies and self._bodies[0] is body:  # it may have been dropped meanwhile for want of room, and counted
                self._bodies.popleft()
                self.lines[outcome] += body.lines

    async def _delivered(self, body: _Body) -> str | None:
        """How it ended; None: it is to be tried again."""
        try:
            reply = await self._client.call(NAME, "POST", self._url, headers=self._headers, body=body.packed)
        except PeerUnreachable as error:
            self._is(str(error))
            return None
        if 200 <= reply.status < 300:
            self._is("")
            return "ok"
        self._is(f"the metrics store answered {reply.status}")
        return None if reply.status >= 500 or reply.status in LATER else "refused"

    def _is(self, error: str) -> None:
        """Say once that it goes wrong, and once that it goes well again."""
        if error and not self.failing:
            log.warning("values of devices not taken by the metrics store", extra={"error": error})
        elif self.failing and not error:
            log.info("the metrics store takes values of devices again")
        self.failing = bool(error)
        self.last_error = error or self.last_error

    def parts(self) -> list[Part]:
        """For the health page."""
        waiting = self.waiting_octets
        detail = f"{waiting} octets wait" if waiting else ""
        return [Part(name=NAME, state="degraded" if self.failing else "ok", detail=detail, last_error=self.last_error)]

    def register(self, metrics: Metrics) -> None:
        """Add the export's series."""
        metrics.counter_of(
            "netd_metrics_export_lines", "Values for the metrics store by outcome: taken, refused, dropped for want of room while it was away",
            lambda: self.lines, ("outcome",),
        )  # fmt: skip
        metrics.gauge("netd_metrics_export_waiting_octets", "Values that the metrics store has not taken yet, packed", lambda: self.waiting_octets)
