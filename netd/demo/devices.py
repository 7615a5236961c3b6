"""The simulated devices of the demonstration: served on loopback, their agents' counters fed with what the subscribers use."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from netd.demo.scenario import COMMUNITY, NOTE, OLT, PASSWORD, SITE, USERNAME, WEAK, Link, Machine, Subscriber, gpon_index
from netd.demo.traffic import Octets
from netd.device.simulated import SimulatedServer, made_host_key
from netd.errors import ConfigError
from netd.simulate import Agent, Behaviour, Console, Objects, OnuLight, Simulated, Vitals, mib
from netd.simulate.agent import Object, Oid
from netd.simulate.configuration import Tree

UPTIME_SECONDS: Final = 120.0
"""A device comes up some time before netd looks at it."""

FADE_SECONDS: Final = 240.0
BEFORE_OCTETS: Final = 4_000_000_000
"""What the counters show at the beginning: more than 32 bits hold, soon."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a device still has when its power comes back."""

    host_key: str
    hostname: str
    version: str
    startup: str
    ssh_port: int = 0
    telnet_port: int = 0
    snmp_port: int = 0


class DemoDevice:
    """One device, with what it kept in ``folder``."""

    def __init__(self, machine: Machine, behaviour: type[Behaviour], subscribers: Sequence[Subscriber], folder: Path) -> None:
        self.machine = machine
        self._behaviour = behaviour
        self._file = folder / f"{machine.name}.json"
        self._flows = {link.port.index: (link, [each.username for each in subscribers if link.carries(each)]) for link in machine.links}
        self._onus = subscribers if machine.name == OLT else ()
        kept = self._kept = self._read()
        self.device = Simulated(
            kept.hostname, version=kept.version, username=USERNAME, password=PASSWORD, facts=machine.facts, configuration=kept.startup,
        )  # fmt: skip
        self._up_at, self._generation = -UPTIME_SECONDS, self.device.generation
        self._said: Mapping[Oid, Object] = {}
        self._agent = Agent({}, COMMUNITY)
        self.server = SimulatedServer(self.device, behaviour, agent=self._agent, host_key=kept.host_key, down_seconds=5.0)
        self.live(0.0, {})

    async def start(self) -> None:
        """Listen, on the ports of before if they are free. Raises ConfigError if its address cannot be had."""
        kept = self._kept
        try:
            await self._listen(kept.ssh_port, kept.telnet_port, kept.snmp_port)
        except OSError:  # another program has one of them now
            await self.server.close()
            try:
                await self._listen(0, 0, 0)
            except OSError as error:
                raise ConfigError("demo", "", f"the simulated {self.machine.name} cannot listen on {self.machine.address}: {error.strerror}") from None
        self.keep()

    async def _listen(self, ssh: int, telnet: int, snmp: int) -> None:
        await self.server.start(self.machine.address, ssh_port=ssh, telnet_port=telnet, snmp_port=snmp)

    async def close(self) -> None:
        """Switch it off."""
        self.keep()
        await self.server.close()

    def keep(self) -> None:
        """Write down what it must still have after its power was off."""
        device, server = self.device, self.server
        self._kept = Kept(
            host_key=self._kept.host_key, hostname=device.hostname, version=device.version, startup=device.startup.render(""), ssh_port=server.ssh_port,
            telnet_port=server.telnet_port, snmp_port=server.snmp_port,
        )  # fmt: skip
        self._file.write_bytes(msgspec.json.encode(self._kept))
        self._file.chmod(0o600)

    def _read(self) -> Kept:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Kept)
        except FileNotFoundError:
            machine = self.machine
            return Kept(host_key=made_host_key(), hostname=machine.name, version=machine.version, startup=Tree.parse(machine.configuration).render(""))
        except msgspec.MsgspecError as error:
            raise ConfigError("demo", "", f"{self._file} is damaged: {error}; remove the demonstration's folder to begin anew") from None

    # -- what its agent says ---------------------------------------------------------------------------------------------

    def live(self, now: float, carried: Mapping[str, Octets]) -> None:
        """Be at the moment ``now`` of the demonstration; ``carried`` is what each subscriber has used by then."""
        device, behaviour = self.device, self._behaviour
        if device.generation != self._generation:  # somebody restarted it
            self._generation, self._up_at = device.generation, now
        device.uptime_seconds = int(now - self._up_at)
        said = mib.system(
            descr=behaviour.sys_descr(device), object_id=mib.oid(behaviour.sys_object_id), name=device.hostname, contact=NOTE, location=SITE,
            uptime_seconds=now - self._up_at,
        )  # fmt: skip
        used = 0.0
        for link, names in self._flows.values():
            through = sum((carried[name] for name in names if name in carried), Octets())
            used += through.down
            said |= mib.interface(link.port) | _counted(link, through)
        load = min(90, 4 + int(used / max(now, 1.0) * 8 / 40_000_000))
        said |= behaviour.managed(device, Vitals(cpu_percent=load, temperature_celsius=38 + load // 8, memory_percent=28 + load // 10))
        said |= behaviour.seen([light(each, now) for each in self._onus])
        for name, value in said.items():
            if self._said.get(name) != value:
                self._agent.put(name, value)
        self._said = said

    def type(self, lines: Sequence[str]) -> None:
        """Type at its console, as somebody who stands before it."""
        console = Console(self.device, self._behaviour)
        console.open()
        for line in lines:
            console.feed(line + "\r")
        console.close()


def _counted(link: Link, through: Octets) -> Objects:
    """What a link's counters show: at the side of the core what goes down to subscribers comes in."""
    base = BEFORE_OCTETS if link.routers else 0
    down, up = base + int(through.down), base // 4 + int(through.up)
    return mib.counters(link.port.index, *((down, up) if link.side == "core" else (up, down)))


def light(subscriber: Subscriber, now: float) -> OnuLight:
    """An ONU's light: weaker with distance. One has a bad splice, which lets less and less through, and then more again."""
    loss = subscriber.distance_metres / 1000 * 0.35 + 17
    if subscriber.username == WEAK:
        loss += 6.5 + 4 * math.sin(2 * math.pi * now / FADE_SECONDS)
    return OnuLight(
        port=subscriber.port, if_index=gpon_index(subscriber.pon), onu=subscriber.onu, rx_dbm=round(3.1 - loss, 2), tx_dbm=2.3,
        olt_rx_dbm=round(2.3 - loss - 1.4, 2), temperature_celsius=41, distance_metres=subscriber.distance_metres,
    )  # fmt: skip
