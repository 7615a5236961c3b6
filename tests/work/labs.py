"""Simulated and real devices in the inventory, and jobs that work with them."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from netd.device.cli import CliTransport
from netd.device.http import Client
from netd.device.queue import DeviceQueues
from netd.device.rest import RestTransport
from netd.device.simulated import SimulatedServer
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.domain import configurations, credentials, devices
from netd.domain.actor import Actor, system
from netd.domain.configurations import ConfigurationText, DriftView
from netd.domain.credentials import NewCredential
from netd.domain.devices import Catalogue, NewDevice, Ports
from netd.domain.kinds import Kinds
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.model.configuration import ConfigurationState
from netd.model.inventory import Device
from netd.model.job import Job
from netd.simulate import Simulated
from netd.store.database import TENANT_ROLE, Database
from netd.work.kinds import bundled
from netd.work.kinds.tools import Tools
from netd.work.sessions import DeviceSessions
from tests.device.simulators import LIMITS, hasty, served
from tests.work.jobs import Stage, World, serving

ACTOR = system(1, "ann")


@dataclass
class Lab(World):
    """A world whose kinds reach devices."""

    extensions: Extensions = None  # type: ignore[assignment]
    tools: Tools = None  # type: ignore[assignment]

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(frozenset(self.extensions.vendors), self.extensions.platforms)

    async def credential(self, name: str = "lab", actor: Actor = ACTOR, **members: Any) -> None:
        await credentials.create(self.database, actor, self.keyring, NewCredential(name=name, **members))

    async def device(self, hostname: str, platform: str, port: int, **members: Any) -> Device:
        """A device at 127.0.0.1."""
        new = NewDevice(
            hostname=hostname, mgmt_address="127.0.0.1", vendor=platform.partition("_")[0], platform=platform, ports=Ports(ssh=port), **members
        )  # fmt: skip
        return await devices.create(self.database, ACTOR, new, self.catalogue)

    @asynccontextmanager
    async def simulated(self, platform: str, *simulations: Simulated, executes: bool = False, **members: Any) -> AsyncIterator[list[SimulatedServer]]:
        """Serve them and have them in the inventory, with a credential that opens them."""
        driver: Any = self.extensions.platforms[platform].driver
        patient = driver.terminal
        driver.terminal = msgspec.structs.replace(patient, idle_timeout_seconds=30.0, login=msgspec.structs.replace(patient.login, busy_seconds=0.05))
        first = simulations[0]
        await self.credential(f"for {first.hostname}", type="ssh", username=first.username, password=first.password, enable="enable-secret")
        try:
            async with contextlib.AsyncExitStack() as stack:
                servers = []
                for each in simulations:
                    server = await stack.enter_async_context(served(self.extensions, platform, each, executes=executes))
                    await self.device(each.hostname, platform, server.ssh_port, **members)
                    servers.append(server)
                yield servers
        finally:
            driver.terminal = patient

    async def done(self, kind: str, *, state: str = "succeeded", actor: Actor = ACTOR, **args: Any) -> Job:
        """Do a job to its end, which must be ``state``."""
        job = await self.submit(kind, actor=actor, **args)
        (ended,) = await self.until([job])
        assert ended.state == state, (ended.error, await self.said(ended), await self.targets(ended))
        return ended

    async def state(self, hostname: str) -> ConfigurationState:
        page = await configurations.states(self.database, ACTOR, configurations.StateQuery(device=hostname))
        return page.items[0]

    async def drift(self, hostname: str) -> DriftView:
        state = await self.state(hostname)
        return await configurations.drift(self.database, ACTOR, self.keyring, self.extensions.platforms, state.id)

    async def shown(self, configuration_id: int) -> ConfigurationText:
        return await configurations.show(self.database, ACTOR, self.keyring, self.extensions.platforms, configuration_id)

    async def events(self, *types: str) -> list[dict[str, Any]]:
        return [row["data"] for row in await self.rows("select data from events where type = any($1::text[]) order by id", list(types))]


@asynccontextmanager
async def laboratory(database: Database, folder: Path) -> AsyncIterator[Lab]:
    """A lab whose jobs are done."""
    extensions = Extensions.discover(packages=())
    keyring = Keyring.load_or_create(folder / "secret.key")
    client = await Client().__aenter__()  # for as long as the lab is there
    confined = await Database.open(database.target, size=4, role=TENANT_ROLE, acquire_timeout_seconds=60)
    began = datetime.now(UTC)
    sessions = DeviceSessions(
        database, keyring, extensions.platforms, CliTransport(LIMITS), DeviceQueues(), now=lambda: datetime.now(UTC), pace=hasty, rest=RestTransport(client),
        snmp=SnmpTransport(SnmpLimits(attempts=2, timeout_seconds=30)),
    )  # fmt: skip
    tools = Tools(database=confined, owner=database, keyring=keyring, sessions=sessions, images=folder / "images")
    lab = Lab(database, keyring, Stage(), Kinds(bundled(tools)), extensions=extensions, tools=tools)
    try:
        async with serving(lab.service(now=lambda: began)):  # no schedule is due in the middle of a test, whatever the time of day is
            yield lab
    finally:
        await confined.close()
        await client.__aexit__(None, None, None)
