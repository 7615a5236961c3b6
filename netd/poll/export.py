"""Handing devices' values to a store that takes Prometheus' text (VictoriaMetrics /api/v1/import/prometheus, and what speaks like it). Off by default.

It is a copy: what cannot be delivered is counted and let go, for netd's own store has it.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from netd.config import Secret
from netd.device.http import Client
from netd.domain import exposition
from netd.domain.imports import Slices
from netd.errors import PeerUnreachable
from netd.metrics import Counts, Metrics
from netd.poll.watched import Watched

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 30.0
MOST_OCTETS: Final = 2 << 20
NAME: Final = "metrics_export"


class Export:
    """Sends what is new of ``devices`` since the last time."""

    def __init__(self, client: Client, url: str, token: Secret, devices: Mapping[int, Watched]) -> None:
        self.sent = Counts()  # lines by outcome
        self._client = client
        self._url = url
        self._headers = {"Content-Type": "text/plain", **({"Authorization": f"Bearer {token.reveal()}"} if token else {})}
        self._devices = devices
        self._last: dict[int, datetime | None] = {}

    async def run_once(self) -> None:
        """Send the devices that were looked at since."""
        lines: list[str] = []
        octets = 0
        slices = Slices()
        for device_id, watched in list(self._devices.items()):
            if watched.interfaces_at is None or self._last.get(device_id) == watched.interfaces_at:
                continue
            self._last[device_id] = watched.interfaces_at
            own = {"device": watched.device.hostname, "tenant": str(watched.device.tenant_id)}
            for sample in exposition.samples(watched.current(0)):
                text = exposition.line(sample, own, timed=True)
                lines.append(text)
                octets += len(text) + 1
            if octets > MOST_OCTETS:
                await self._send(lines)
                lines, octets = [], 0
            await slices.breathe()
        if lines:
            await self._send(lines)
        self._last = {device_id: at for device_id, at in self._last.items() if device_id in self._devices}

    async def _send(self, lines: Iterable[str]) -> None:
        body = list(lines)
        try:
            reply = await self._client.call(NAME, "POST", self._url, headers=self._headers, body=("\n".join(body) + "\n").encode())
        except PeerUnreachable as error:
            self.sent["failed"] += len(body)
            log.warning("values of devices not exported", extra={"error": str(error)})
            return
        ok = 200 <= reply.status < 300
        self.sent["ok" if ok else "refused"] += len(body)
        if not ok:
            log.warning("values of devices not taken by the metrics store", extra={"status": reply.status})

    def register(self, metrics: Metrics) -> None:
        """Add the export's series."""
        metrics.counter_of("netd_metrics_export_lines", "Values handed to the metrics store by outcome", lambda: self.sent, ("outcome",))
