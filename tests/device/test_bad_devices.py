"""What the others feel of devices that say nothing, flood, break off, go in circles or are late: nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from netd.device.cli import CliLimits, CliTransport
from netd.device.queue import DeviceQueues, QueueLimits
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.errors import NetdError
from netd.sdk.device import Oid
from netd.sdk.dialogue import say
from tests.device.agent import Agent, Response, integer, table
from tests.device.conftest import Shell, target
from tests.device.fake import SshDevice, password
from tests.device.test_cli import OLT, olt
from tests.device.test_snmp import COMMUNITY

COLUMN: Oid = (1, 3, 6, 1, 4, 1, 99999, 1)
ROWS = [((*COLUMN, number), integer(number)) for number in range(1, 41)]
DEVICES, ROUNDS = 200, 2


@contextlib.asynccontextmanager
async def silent_port() -> AsyncIterator[int]:
    """Takes connections and says nothing."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in held:
            writer.transport.abort()


async def test_two_hundred_devices_keep_their_rounds() -> None:
    """Each bad device is worked with again and again; every well one gets all its rounds, and each bad one ends as what it is."""
    queues = DeviceQueues(QueueLimits(sessions=40, open_after=1_000_000, deadline_seconds=200))
    cli = CliTransport(CliLimits(cleanup_seconds=0.2, settle_seconds=0.02, most_output=1 << 20))
    quick, patient, slow = (
        SnmpTransport(SnmpLimits(timeout_seconds=60)),
        SnmpTransport(SnmpLimits(timeout_seconds=60)),
        SnmpTransport(SnmpLimits(attempts=2, timeout_seconds=0.05)),
    )
    ended: dict[str, set[str]] = {}
    over = asyncio.Event()

    async def walk(transport: SnmpTransport, port: int) -> int:
        made = target((COMMUNITY, port))
        return len(await transport.session(made, made.credentials[0]).walk(COLUMN))

    async def command(port: int, text: str, *, connect_seconds: float = 60.0, silence_seconds: float = 60.0) -> int:
        async with cli.session(target((password(), port), timeout_seconds=connect_seconds), Shell(OLT, leave="quit")) as session:
            return len(await session.run(say(text, timeout_seconds=silence_seconds)))

    async def again_and_again(name: str, work: Callable[[], Awaitable[int]]) -> None:
        while not over.is_set():
            try:
                await queues.run(name, work)
                ended.setdefault(name, set()).add("ok")
            except NetdError as error:
                ended.setdefault(name, set()).add(getattr(error, "reason", "") or str(error).partition(": ")[2][:40])

    async with (
        Agent(table(ROWS)) as well,
        Agent(lambda request: Response([((*COLUMN, 1), integer(1))] * 3)) as circle,
        Agent(lambda request: table(ROWS)(request)._replace(late_seconds=60)) as late,
        silent_port() as silent,
        SshDevice(olt) as device,
    ):
        bad: dict[str, Callable[[], Awaitable[int]]] = {
            "silent": lambda: command(silent, "x", connect_seconds=0.3), "flood": lambda: command(device.port, "flood"),
            "reset": lambda: command(device.port, "reset"),
            "hangs": lambda: command(device.port, "hang", silence_seconds=0.2),
            "circle": lambda: walk(patient, circle.port), "late": lambda: walk(slow, late.port),
        }  # fmt: skip
        tasks = [asyncio.create_task(again_and_again(name, work)) for name, work in bad.items() for _ in range(3)]
        for _ in range(ROUNDS):
            walks = [queues.run(f"well{number}", lambda: walk(quick, well.port)) for number in range(DEVICES)]
            assert await asyncio.gather(*walks) == [40] * DEVICES
        while len(ended) < len(bad):
            await asyncio.wait(tasks, timeout=0.05)
        over.set()
        await asyncio.gather(*tasks)
    assert ended == {
        "silent": {"timeout"}, "flood": {"too_large"}, "reset": {"lost"}, "hangs": {"timeout"}, "late": {"timeout"},
        "circle": {"the OIDs below 1.3.6.1.4.1.99999.1 do no"},
    }  # fmt: skip
    assert quick.requests == {"ok": DEVICES * ROUNDS * 4} and not queues._lines.keys() & {f"well{number}" for number in range(DEVICES)}
