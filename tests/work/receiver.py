"""A webhook receiver on the loopback: keeps what comes, answers as it is told, can be away and come back on the same port."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.ports import free_port


@dataclass
class Got:
    """One delivery as it came."""

    delivery_id: str
    type: str
    signature: str
    body: bytes
    path: str

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def signed_by(self, secret: str) -> bool:
        """Whether one of the signatures is of this secret: written down apart from netd's own code."""
        parts = [part.split("=", 1) for part in self.signature.split(",")]
        at = next(value for name, value in parts if name == "t")
        expected = hmac.new(secret.encode(), f"{at}.".encode() + self.body, "sha256").hexdigest()
        return any(hmac.compare_digest(expected, value) for name, value in parts if name == "v1")


class Receiver:
    """``status`` is what it answers; ``hold`` is awaited before it does."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hold: Callable[[], Awaitable[object]] | None = None
        self.port = free_port()  # where it is found again after it was stopped
        self.busy = 0
        self.most_busy = 0
        self._runner: web.AppRunner | None = None
        self._came = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> "Receiver":
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            body = await request.read()
            if self.hold is not None:
                await self.hold()
            headers = request.headers
            if 200 <= self.status < 300:
                self.got.append(Got(headers["X-Netd-Delivery"], headers["X-Netd-Event"], headers["X-Netd-Signature"], body, request.path))
            self._came.set()
            return web.Response(status=self.status, headers=self.headers)
        finally:
            self.busy -= 1

    async def until(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until ``what`` holds; fails with what came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not what():
                    self._came.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.02):
                            await self._came.wait()
        assert what(), f"{len(self.got)} came: {[each.delivery_id for each in self.got][-5:]}"
