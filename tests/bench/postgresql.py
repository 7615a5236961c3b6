"""A PostgreSQL of the benchmark's own, the same for netd and for its peer: the distribution's, fsync on, reached over one unix socket.

It runs under an unprivileged account in a temporary folder, lets in whoever can enter its socket's folder (0700), and ends with this process.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from netd.errors import StoreUnavailable
from netd.store.database import Connection, connect
from tests.bench.processes import end

T = TypeVar("T")

PROGRAMS: Final = Path("/usr/lib/postgresql")
OLDEST: Final = 15
PORT: Final = 5432
START_SECONDS: Final = 30.0
SETTINGS: Final = {
    "listen_addresses": "", "port": str(PORT), "unix_socket_permissions": "0700", "max_connections": "100", "shared_buffers": "512MB",
    "max_wal_size": "2GB", "checkpoint_timeout": "15min", "jit": "off", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
    "log_checkpoints": "off", "log_min_error_statement": "panic",
}  # fmt: skip
"""What its manual recommends for a small machine, and a checkpoint that falls into nobody's round. Durability is not touched."""


def installed() -> Path | None:
    """The folder of the oldest programs that netd works with, None if there are none."""
    found = sorted((int(path.name), path / "bin") for path in PROGRAMS.glob("[0-9]*") if path.name.isdecimal())
    return next((folder for major, folder in found if major >= OLDEST and (folder / "postgres").exists()), None)


class PostgreSQL:
    """A running server. ``url`` and ``socket_folder`` say where; the superuser is ``bench``."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder = folder
        self.socket_folder = folder / "socket"
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        drop = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"] if os.geteuid() == 0 else []
        self._prefix: list[str | Path] = ["setpriv", *drop, "--pdeathsig=INT"]
        for place in (folder, folder / "data", self.socket_folder):
            place.mkdir(mode=0o700)
            os.chown(place, account.pw_uid, account.pw_gid)
        folder.chmod(0o711)
        make: list[str | Path] = [
            *self._prefix,
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "bench",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=trust",
        ]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.version = subprocess.run([programs / "postgres", "-V"], check=True, capture_output=True, text=True).stdout.split()[2]
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [*self._prefix, programs / "postgres", "-D", folder / "data", "-k", self.socket_folder, *options]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        self.pid = self.process.pid
        self._wait()

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://bench@/{database}?host={self.socket_folder}&port={PORT}&sslmode=disable"

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("postgres", "select 1")
            except StoreUnavailable:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-400:]}") from None
                time.sleep(0.05)
            else:
                return

    def execute(self, database: str, *statements: str) -> None:
        """Run statements, each by itself."""

        async def work(conn: Connection) -> None:
            for statement in statements:
                await conn.execute(statement)

        self.run(database, work)

    def row(self, database: str, query: str) -> dict[str, Any]:
        """The one row of a query."""

        async def work(conn: Connection) -> dict[str, Any]:
            return dict(await conn.fetchrow(query))

        return self.run(database, work)

    def run(self, database: str, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Do ``work`` (a function of a connection) over a connection of its own."""

        async def connected() -> T:
            conn = await connect(self.url(database))
            try:
                return await work(conn)
            finally:
                await conn.close()

        return asyncio.run(connected())

    def settle(self, database: str, *tables: str) -> None:
        """Vacuum and analyse what was filled by COPY, and checkpoint, so that no round pays for what was done before it.

        Tables that are empty yet are left alone, as autovacuum leaves them: the planner would believe that they stay so.
        """
        for table in tables:
            self.execute(database, f"vacuum (analyze) {table}")
        self.execute("postgres", "checkpoint")

    def stop(self) -> None:
        """End it by its id, and remove its folder."""
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
