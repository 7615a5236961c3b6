"""Lets the demonstration run: simulated devices, the daemon, the set-up by its API, subscribers, and what happens later. All of it in one loop.

Order of start: devices listen, the daemon runs, netd is told of everything, the NAS come up. Order of stop: the NAS log everybody off and are
acknowledged, the daemon ends, the devices go.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import msgspec

from netd import daemon
from netd.config import Config
from netd.daemon import ADMIN_TOKEN, Running, Stop
from netd.demo import folder, setup
from netd.demo.api import Api
from netd.demo.configurations import BEHIND
from netd.demo.devices import DemoDevice
from netd.demo.nas import At, Nas
from netd.demo.scenario import ROUTERS, SCENARIO, Scenario
from netd.demo.sockets import NasSockets
from netd.demo.traffic import Octets
from netd.device.http import Client
from netd.errors import NetdError
from netd.extensions import Extensions, load_simulator

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.2
HURRY_SECONDS: Final = (1.0, 3.0)
"""The first looks at the devices: when netd knows them, and once more for rates."""

LOOK_SECONDS: Final = 15.0
STOP_LOOKS: Final = 50
"""How often it is looked, when all is to end, whether netd has acknowledged that: ten seconds on a machine that is busy with other things."""

KEPT: Final = "demo"
"""What the devices keep while they are off, within the data folder."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may say of a demonstration. ``change_seconds`` after all is there a router is changed behind netd's back."""

    seed: int | None = None
    change_seconds: float = 120.0


Told = Callable[[Running], None]


async def play(config: Config, options: Options, told: Told, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. ``told`` is called once all is there; ``say`` gets a line whenever something happens. Raises NetdError."""
    stop = Stop()
    stop.listen()
    try:
        await _play(config, options, stop.wanted, told, say)
    except BaseExceptionGroup as group:
        faults, other = group.split(NetdError)
        if faults is None or other is not None:
            raise
        raise daemon.first(faults) from None


async def _play(config: Config, options: Options, wanted: asyncio.Event, told: Told, say: Callable[[str], None]) -> None:
    state = folder.enter(config.data_dir, options.seed)
    async with AsyncExitStack() as stack:
        stack.enter_context(folder.alone(config.data_dir))
        stage = Stage(config, state, options, say)
        stack.push_async_callback(stage.close)
        await stage.build()
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        end = asyncio.Event()
        serving = asyncio.create_task(daemon.serve_until(config, end, ready.set_result), name="daemon")
        playing = asyncio.create_task(stage.run(ready, wanted, told), name="demonstration")
        try:
            await asyncio.wait({serving, playing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if serving.done():
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
            end.set()
            await asyncio.gather(serving, return_exceptions=True)
    for task in (serving, playing):  # whose error it was: without a daemon there was nothing to play with
        if not task.cancelled():
            task.result()


class Stage:
    """The simulated provider. :meth:`build` and :meth:`close` it round :meth:`run`."""

    def __init__(self, config: Config, state: folder.State, options: Options, say: Callable[[str], None], scenario: Scenario = SCENARIO) -> None:
        self._config = config
        self._state = state
        self._options = options
        self._say = say
        self._scenario = scenario
        self._begun = time.monotonic()
        self._devices: list[DemoDevice] = []
        self._nas: dict[str, NasSockets] = {}

    def clock(self) -> At:
        """This moment."""
        return At(time.monotonic() - self._begun, time.time())

    async def build(self) -> None:
        """Make the devices and let them listen. Raises ConfigError, ExtensionError."""
        extensions = Extensions.discover(packages=())
        kept = self._config.data_dir / KEPT
        kept.mkdir(mode=0o700, exist_ok=True)
        for machine in self._scenario.machines:
            behaviour = load_simulator(extensions.platforms[machine.platform])
            device = DemoDevice(machine, behaviour, self._scenario.subscribers, kept)
            self._devices.append(device)
            await device.start()
            if not machine.access:
                continue
            subscribers = [each for each in self._scenario.subscribers if each.router == machine.name]
            nas = Nas(
                machine.name, IPv4Address(machine.address), subscribers, self._state.nas_secret.encode(), extensions.dictionary, behaviour.granted,
                seed=self._state.seed, entropy=os.urandom,
            )  # fmt: skip
            sockets = self._nas[machine.name] = NasSockets(nas, machine.address, self.clock)
            await sockets.open(self._state.coa_ports.get(machine.name, 0))
        self._state.coa_ports = self._coa_ports
        folder.keep(self._config.data_dir, self._state)

    @property
    def _coa_ports(self) -> dict[str, int]:
        return {name: sockets.coa_port for name, sockets in self._nas.items()}

    async def close(self) -> None:
        """Switch everything off."""
        for sockets in self._nas.values():
            sockets.close()
        for device in self._devices:
            await device.close()

    async def run(self, ready: asyncio.Future[Running], wanted: asyncio.Event, told: Told) -> None:
        """Play on the daemon that will be ``ready``, until ``wanted`` is set."""
        async with Client() as client, asyncio.TaskGroup() as group:
            living = group.create_task(self._live(), name="simulated devices")
            acting = group.create_task(self._act(client, ready, told), name="demonstration's events")
            await wanted.wait()
            acting.cancel()
            await self._log_off()
            living.cancel()

    async def _live(self) -> None:
        """Let time pass for subscribers and devices."""
        while True:
            at = self.clock()
            carried: dict[str, Octets] = {}
            for sockets in self._nas.values():
                if sockets.server_ports:
                    sockets.send(sockets.nas.tick(at))
                carried |= sockets.nas.carried
            for device in self._devices:
                device.live(at.now, carried)
            await asyncio.sleep(TICK_SECONDS)

    async def _log_off(self) -> None:
        """Let the NAS tell that all sessions have ended, and wait a while for the answers."""
        begun = [sockets.nas for sockets in self._nas.values() if sockets.server_ports]
        for nas in begun:
            nas.stop(self.clock())
        for _ in range(STOP_LOOKS):
            if all(nas.quiet for nas in begun):
                return
            await asyncio.sleep(TICK_SECONDS)
        log.warning("some sessions' ends were not acknowledged")

    # -- what happens ----------------------------------------------------------------------------------------------------

    async def _act(self, client: Client, ready: asyncio.Future[Running], told: Told) -> None:
        running = await ready
        api = Api(client, running.api.url, (running.data_dir / ADMIN_TOKEN).read_text().strip())
        if self._state.furnished:
            await setup.follow(api, self._devices, self._coa_ports)
        else:
            await setup.furnish(api, self._scenario, self._devices, self._coa_ports, self._state.nas_secret)
        for sockets in self._nas.values():
            sockets.server_ports = {"auth": running.auth_port, "acct": running.acct_port}
            sockets.nas.start(self.clock())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(running), name="looks at simulated devices")
            await setup.back_up(api)
            if not self._state.furnished:
                await setup.approve(api, self._devices)
                self._state.furnished = True
                folder.keep(self._config.data_dir, self._state)
            told(running)
            await self._later(self._options.change_seconds, lambda: self._change(api))

    async def _look(self, running: Running) -> None:
        """netd looks at its devices once a minute; who watches a demonstration should not wait for that."""
        running.polling.hurry()
        for seconds in HURRY_SECONDS:
            await asyncio.sleep(seconds)
            running.polling.hurry()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            running.polling.hurry()

    async def _later(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await work()

    async def _change(self, api: Api) -> None:
        """Somebody changes a router at its console; netd finds it with its next backup, which is made at once."""
        router = next(device for device in self._devices if device.machine.name == ROUTERS[1])
        router.type(BEHIND)
        await setup.back_up(api)
        self._say(f"simulated: somebody changed {router.machine.name} at its console, behind netd's back; see `netd device drift {router.machine.name}`")


def configuration(data_dir: Path, port: int, level: str) -> Config:
    """The daemon's: an embedded database of its own, loopback only, nothing of the configuration or the environment of a real one."""
    return msgspec.convert(
        {
            "data_dir": str(data_dir),
            "log": {"level": level},
            "radius": {"addresses": ["127.0.0.1"], "auth_port": 0, "acct_port": 0, "user_failures_per_minute": 30, "source_failures_per_minute": 30},
            "relay": {"port": 0},
            "web": {"address": "127.0.0.1", "port": port},
            "poll": {"reach_seconds": 15, "down_seconds": 30, "optics_seconds": 60, "raw_days": 2, "optics_days": 2},
            "extensions": {"folders": []},
        },
        Config,
        dec_hook=lambda kind, value: kind(value),
    )  # fmt: skip
