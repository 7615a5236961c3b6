"""Two hundred thousand subscribers out and in again, as CSV and as XLSX: how long, how much memory, and how long the loop was ever kept.

``python -m tests.bench.tables [--rows N]``: on a private server of its own. Every row is compared; what is read back must be what was written.
"""

import argparse
import asyncio
import contextlib
import resource
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from netd.domain import exports, imports, lists, plans
from netd.domain.actor import Actor, system
from netd.domain.table import Means, Order
from netd.domain.tables import TABLES
from netd.keyring import Keyring
from netd.sheets.converter import Converter
from netd.store.database import Database, connect
from netd.store.embedded import EmbeddedServer
from netd.store.migrate import migrate

SQL = Path(__file__).resolve().parents[2] / "sql"
SUBSCRIBERS = TABLES["subscribers"]


class AnyAttribute:
    """Rules that find nothing wrong."""

    def validate_check(self, attribute: str, op: str, value: str) -> None:
        """Accept it."""

    validate_reply = validate_check


class Watch:
    """How long the loop worked until its next turn, at worst and 99 times of a hundred; work and not time, for others may have the processor."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            self.waits.append(time.thread_time() - began)

    def told(self) -> str:
        """In milliseconds."""
        waits = sorted(self.waits)
        return f"loop kept p99 {waits[len(waits) * 99 // 100] * 1000:.0f} ms, most {waits[-1] * 1000:.0f} ms"


@contextlib.asynccontextmanager
async def measured(what: str, rows: int) -> AsyncIterator[None]:
    """Print what a step cost."""
    watch = Watch()
    watching = asyncio.create_task(watch.run())
    began, used, helped = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    yield
    watching.cancel()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    helped = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - helped
    most, child = (resource.getrusage(who).ru_maxrss >> 10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    told = f"{seconds:6.1f} s, {cpu:5.1f} s of CPU here, {helped:4.1f} s in the child, {rows / seconds:8,.0f} rows/s"
    print(f"{what:12} {told}; {watch.told()}; peak so far {most} MiB, child {child} MiB", flush=True)


def rows_of(number: int) -> bytes:
    """A file of so many subscribers."""
    lines = ["username,password,plan,ipv4,full_name,note,replies"]
    lines += [
        f'user{n:06}@isp.example,pass{n:06},Home 100,10.{n >> 16}.{n >> 8 & 255}.{n & 255},Customer {n},"Street {n}, City","Filter-Id := group{n % 50}"'
        for n in range(number)
    ]  # fmt: skip
    return "\n".join(lines).encode()


async def export(db: Database, actor: Actor, means: Means, form: str) -> bytes:
    """All subscribers with their passwords."""
    query = msgspec.convert({"secrets": True, "format": form}, lists.query_type(SUBSCRIBERS.listing, lists.ExportQuery))
    names, rows = await exports.rows(db, actor, means, SUBSCRIBERS, query)
    if form == "csv":
        chunks = exports.as_csv(names, rows)
    else:
        chunks = await exports.as_file(means.converter, "xlsx", names, rows, title="subscribers", made_at=datetime.now(UTC))
    return b"".join([chunk async for chunk in chunks])


async def run(folder: Path, number: int) -> None:
    """Everything, in order, on a server in ``folder``."""
    server = EmbeddedServer(folder)
    await server.start()
    try:
        connection = await connect(server.connect_kwargs())
        await migrate(connection, SQL)
        await connection.execute("insert into tenants (name) values ('other'), ('third')")
        await connection.close()
        db = await Database.open(server.connect_kwargs(), 3)
        means = Means(keyring=Keyring.load_or_create(folder / "secret.key"), rules=AnyAttribute(), vendors=(), converter=Converter())
        await both_ways(db, means, number)
        await db.close()
    finally:
        await server.stop()


async def both_ways(db: Database, means: Means, number: int) -> None:
    """In, out, in elsewhere, out again: the same."""
    actors = [system(tenant) for tenant in (1, 2, 3)]
    for actor in actors:
        await plans.create(db, actor, plans.NewPlan(name="Home 100", down_bps=100_000_000, up_bps=20_000_000))
    async with measured("CSV in", number):
        assert (await imports.bring_in(db, actors[0], means, SUBSCRIBERS, rows_of(number))).created == number
    async with measured("CSV out", number):
        written = await export(db, actors[0], means, "csv")
    print(f"             {len(written) >> 20} MiB")
    async with measured("CSV in again", number):
        assert (await imports.bring_in(db, actors[0], means, SUBSCRIBERS, written, Order(mode="upsert"))).unchanged == number
    async with measured("XLSX out", number):
        sheet = await export(db, actors[0], means, "xlsx")
    print(f"             {len(sheet) >> 20} MiB")
    async with measured("XLSX in", number):
        assert (await imports.bring_in(db, actors[1], means, SUBSCRIBERS, sheet)).created == number
    async with measured("CSV in", number):
        assert (await imports.bring_in(db, actors[2], means, SUBSCRIBERS, written)).created == number
    for actor in actors[1:]:
        assert await export(db, actor, means, "csv") == written


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    with tempfile.TemporaryDirectory(prefix="netd-bench-") as name:
        Path(name).chmod(0o755)  # root's server runs as another user
        asyncio.run(run(Path(name), parser.parse_args().rows))
