"""A boot server on loopback, with devices that are expected and told where their files are."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import msgspec

from netd.config import BootConfig
from netd.domain import expected as operations
from netd.domain.actor import system
from netd.domain.bootfiles import BootFiles
from netd.domain.devices import Catalogue
from netd.domain.expected import NewExpected
from netd.domain.kinds import Kinds
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.model.boot import ExpectedDevice, Purpose
from netd.model.ztp import ClientIdentity, Granted
from netd.store.database import Database
from netd.web import boot
from netd.work.kinds import bundled
from netd.work.kinds.tools import Tools
from netd.ztp import tftp
from netd.ztp.expected import Expected
from netd.ztp.tftp import TftpService
from tests.ports import free_port

ACTOR = system(1, "ann")
WAIT_SECONDS = 90.0
STEPS: tuple[Literal["offered", "leased"], ...] = ("offered", "leased")
TEMPLATE = "hostname {{ hostname }}\nuser {{ boot_user }} {{ boot_password }}\n"


class Booting:
    """The parts, put together as the daemon does; ``ahead`` is how far its clock is. Its monotonic one stands at ``later`` (seconds)."""

    def __init__(self, database: Database, dsn: str, folder: Path, extensions: Extensions, config: BootConfig) -> None:
        self.database = database
        self.config = config
        self.folder = folder
        self.extensions = extensions
        self.ahead = timedelta()
        self.later = 1000.0
        self.keyring = Keyring.load_or_create(folder / "secret.key")
        self.profiles = {name: profile.shown() for name, profile in extensions.profiles.items()}
        self.catalogue = Catalogue(frozenset(extensions.vendors), extensions.platforms)
        self.images = folder / "images"
        self.images.mkdir(exist_ok=True)
        self.kinds = Kinds(bundled(Tools(database=database, owner=database, keyring=self.keyring)))
        self.files = BootFiles(database, self.keyring, self.profiles, config, self.images, self.kinds, self.now, lambda: self.later)
        self.expected = Expected(database, dsn, self.keyring, self.profiles, config, self.kinds, self.now, lambda: self.later)
        self.tftp = TftpService(self.files, config)
        self.http_port = 0
        self.tftp_port = 0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def device(self, hostname: str = "r1", **members: Any) -> ExpectedDevice:
        new = NewExpected(**{"hostname": hostname, "profile": "generic_boot", "serial": hostname.upper(), "boot_template": TEMPLATE, **members})
        made = await operations.create(
            self.database, ACTOR, self.keyring, new, list(self.profiles.values()), self.catalogue, self.now(), 30
        )  # fmt: skip
        await self.expected.load()
        return made

    async def image(self, body: bytes, name: str = "new.cc", version: str = "9.1") -> None:
        """An image in the library, of generic_linux."""
        sha256 = hashlib.sha256(body).hexdigest()
        (self.images / sha256).write_bytes(body)
        async with self.database.acquire() as conn:
            await conn.execute(
                """insert into software_images (tenant_id, platform, software_version, file_name, octets, sha256, md5, created_by)
                   values (1, 'generic_linux', $1, $2, $3, $4, $5, 'ann')""", version, name, len(body), sha256, hashlib.md5(body).hexdigest(),
            )  # fmt: skip

    async def state(self, device: ExpectedDevice) -> ExpectedDevice:
        return await operations.get(self.database, ACTOR, device.id)

    async def reached(self, device: ExpectedDevice, state: str) -> ExpectedDevice:
        """The device once it is in this state: what was sent is written a moment after the client has it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := await self.state(device)).state != state:
            assert time.monotonic() < deadline, f"{found.state}, not {state}: {found.reason}"
            await asyncio.sleep(0.005)
        return found

    async def last_step(self, device: ExpectedDevice, step: str) -> None:
        """Wait for its last step to be this one."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (steps := await self.steps(device))[-1] != step:
            assert time.monotonic() < deadline, f"{steps}: not yet {step}"
            await asyncio.sleep(0.005)

    async def steps(self, device: ExpectedDevice) -> list[str]:
        async with self.database.acquire() as conn:
            return [row["step"] for row in await conn.fetch("select step from ztp_steps where ztp_device_id = $1 order by id", device.id)]

    async def told(self, seen: ClientIdentity, address: str = "127.0.0.1") -> str:
        """What DHCP tells it: the path of its first file on the server."""
        await self.expected.load()
        answer = self.expected.resolve(seen)
        assert answer is not None
        where = ip_address(address)
        url = self.expected.boot_url(seen, answer, where)
        for step in STEPS:
            async with self.database.transaction() as conn:
                await self.expected.granted(conn, [Granted(step=step, seen=seen, answer=answer, address=where, boot_url=url)])
        await self.expected.load()
        return url.split("/", 3)[3] if url else ""

    def url(self, seen: ClientIdentity, purpose: Purpose, image: str, address: str = "127.0.0.1") -> str:
        """Where a file of a device is that has been told at this address."""
        known = self.expected._index.find(seen)
        assert known is not None
        where = ip_address(address)
        path = self.files.places.path(known.row.profile, known.secret, self.expected._generation(known, where), purpose, where, image)
        return f"{self.files.places.server('http', 4)}/{path}"

    async def audited(self) -> list[tuple[str, dict[str, Any]]]:
        await self.files.flush(all_of_them=True)
        async with self.database.acquire() as conn:
            rows = await conn.fetch("select result, after from audit_log where action = 'ztp.fetch' order by id")
        return [(row["result"], row["after"]) for row in rows]


def client(serial: str = "R1", **members: Any) -> ClientIdentity:
    return ClientIdentity(**{
        "family": 4, "tenant_id": 1, "subnet_id": 1, "site_id": None, "mac": "02:00:00:00:00:01", "client_id": b"", "relay": None, "serial": serial, **members
    })  # fmt: skip


@asynccontextmanager
async def serving(database: Database, dsn: str, folder: Path, extensions: Extensions, **config: Any) -> AsyncIterator[Booting]:
    """HTTP and TFTP on free ports of 127.0.0.1."""
    settings = msgspec.structs.replace(
        BootConfig(
            enabled=True, host="127.0.0.1", addresses=("127.0.0.1",), http_port=free_port(), https_port=free_port(), tftp_port=69, requests_per_second=0
        ),
        **config,
    )
    booting = Booting(database, dsn, folder, extensions, settings)
    sockets = tftp.bind(settings.addresses, 0)
    context = boot.encryption(settings.certificate, settings.key)
    async with contextlib.AsyncExitStack() as stack:
        for sock in sockets:
            stack.callback(sock.close)
        booting.tftp_port = sockets[0].getsockname()[1]
        booting.tftp.start(sockets)
        stack.push_async_callback(booting.tftp.stop)
        (listening,) = await stack.enter_async_context(boot.serve(booting.files, settings, settings.https_port if context else settings.http_port, context))
        booting.http_port = listening.port
        yield booting
