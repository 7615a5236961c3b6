"""Drivers against the simulators of their platforms, over real sockets, without the pauses that devices need."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from netd.config import Secret
from netd.device.cli import CliLimits, CliSession, CliTransport
from netd.device.simulated import SimulatedServer
from netd.extensions import Extensions, load_simulator
from netd.model.target import Credential, Login, SshLogin, Target, TelnetLogin
from netd.sdk.dialogue import Dialogue, Pause, Reconnect, Step
from netd.simulate import Simulated

LIMITS = CliLimits(settle_seconds=0.03, poll_seconds=0.05, busy_attempts=2, cleanup_seconds=10)


class Lab(NamedTuple):
    """A session with a simulated device, and the device; ``notes`` are what a job's log would have."""

    session: CliSession
    server: SimulatedServer
    driver: Any
    notes: list[str]

    async def run(self, dialogue: Dialogue[Any]) -> Any:
        return await self.session.run(hasty(dialogue))


def hasty(dialogue: Dialogue[Any]) -> Dialogue[Any]:
    """The same, without the patience that a real device needs."""
    try:
        step: Step = next(dialogue)
    except StopIteration as done:
        return done.value
    while True:
        if isinstance(step, Pause):
            step = Pause(seconds=0)
        elif isinstance(step, Reconnect):
            step = Reconnect(within_seconds=60, settle_seconds=0.05)
        try:
            reply = yield step
        except Exception as error:  # barrier: it is the driver's
            try:
                step = dialogue.throw(error)
            except StopIteration as done:
                return done.value
        else:
            try:
                step = dialogue.send(reply)
            except StopIteration as done:
                return done.value


@asynccontextmanager
async def served(extensions: Extensions, platform: str, device: Simulated, *, executes: bool = False) -> AsyncIterator[SimulatedServer]:
    server = SimulatedServer(device, load_simulator(extensions.platforms[platform]), executes=executes, down_seconds=0.15)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def target(server: SimulatedServer, *, telnet: bool = False) -> Target:
    device = server.device
    login: Login = (TelnetLogin if telnet else SshLogin)(username=device.username, password=Secret(device.password), enable=Secret("enable-secret"))
    port = server.telnet_port if telnet else server.ssh_port
    return Target(key=device.hostname, address=ip_address("127.0.0.1"), credentials=(Credential(id=1, name="lab", login=login, port=port),), timeout_seconds=60)


@asynccontextmanager
async def lab(
    extensions: Extensions, platform: str, device: Simulated, *, telnet: bool = False, executes: bool = False, image: Path | None = None
) -> AsyncIterator[Lab]:
    """A prepared session; a terminal that is busy is tried again soon."""
    driver: Any = extensions.platforms[platform].driver
    notes: list[str] = []
    patient = driver.terminal
    driver.terminal = msgspec.structs.replace(patient, idle_timeout_seconds=60.0, login=msgspec.structs.replace(patient.login, busy_seconds=0.05))
    try:
        async with (
            served(extensions, platform, device, executes=executes) as server,
            CliTransport(LIMITS).session(target(server, telnet=telnet), driver, image=image, note=notes.append) as session,
        ):
            yield Lab(session, server, driver, notes)
    finally:
        driver.terminal = patient
