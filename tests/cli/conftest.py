import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from netd.store.database import Database
from tests.web.running import Api, running


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """The API on a fresh database."""
    async with running(database, tmp_path) as started:
        yield started


@dataclass
class Ended:
    """How a command ended."""

    code: int | None
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


Netd = Callable[..., Awaitable[Ended]]


async def run_netd(*arguments: str, environ: dict[str, str], stdin: str = "", folder: Path) -> Ended:
    """The real command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NETD_") or name == "NETD_COMPILED"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "netd", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**clean, **environ}, cwd=folder,
    )  # fmt: skip
    out, err = await process.communicate(stdin.encode())
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def netd(api: Api, tmp_path: Path) -> Netd:
    """``await netd("plan", "list")`` against the running API, as admin."""

    async def call(*arguments: str, stdin: str = "") -> Ended:
        environ = {"NETD_URL": api.url, "NETD_TOKEN": api.tokens["admin"]}
        return await run_netd(*arguments, environ=environ, stdin=stdin, folder=tmp_path)

    return call
