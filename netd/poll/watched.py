"""What a node remembers of the devices that it polls: how each is reached, what it said last, and what its counters are compared with."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from netd.device.snmp import Snmp
from netd.domain.facts import named
from netd.extensions import DevicePlatform
from netd.model.device import DeviceSample, InterfaceSample, OpticsSample
from netd.model.target import Target
from netd.model.telemetry import Aspect, CurrentDevice, CurrentInterface, Rates
from netd.poll import counters
from netd.poll.counters import Look, Uptime
from netd.sdk.device import SnmpGroup, Telemetry
from netd.store.devices import Polled


class Port:
    """An interface. ``id`` is the inventory's, None until that knows it; one that is not ``monitored`` is read, but not kept."""

    __slots__ = ("at", "id", "look", "monitored", "rates")

    def __init__(self, look: Look, at: datetime) -> None:
        self.id: int | None = None
        self.monitored = True
        self.look = look
        self.at = at
        self.rates: Rates | None = None


class Wrong(NamedTuple):
    """A group whose answers are of no use: how often in a row, in how many looks it is left out from now on, and what was wrong."""

    times: int
    spared: int
    error: str


class Watched:
    """A device that this node polls. ``groups`` are what its driver reads, by name, without the costly ones that nobody asked for."""

    __slots__ = (
        "device", "driver", "full_in", "groups", "interfaces_at", "last_error", "optics", "optics_at", "platform", "ports", "rtt_ms",
        "seen", "session", "snmp_at", "system", "system_at", "target", "up", "up_at", "uptime", "wrong",
    )  # fmt: skip

    def __init__(self, device: Polled) -> None:
        self.device = device
        self.target: Target | None = None
        self.platform: DevicePlatform | None = None
        self.driver: Telemetry | None = None
        self.groups: dict[str, SnmpGroup] = {}
        self.session: Snmp | None = None
        self.ports: dict[str, Port] = {}
        self.full_in = 0  # quick looks at the interfaces until the next whole one
        self.seen = 0  # hash of what the inventory was told
        self.uptime: Uptime | None = None
        self.up: bool | None = None
        self.up_at: datetime | None = None
        self.rtt_ms: float | None = None
        self.snmp_at: float | None = None  # when it last answered SNMP, monotonic
        self.system: DeviceSample | None = None
        self.system_at: datetime | None = None
        self.interfaces_at: datetime | None = None
        self.optics: tuple[OpticsSample, ...] = ()
        self.optics_at: datetime | None = None
        self.last_error = ""
        self.wrong: dict[str, Wrong] = {}

    def use(self, device: Polled, platforms: Mapping[str, DevicePlatform]) -> None:
        """Take what the inventory says of it now."""
        self.device = device
        before, self.platform = self.platform, platforms.get(device.platform or "")
        if self.platform is not before:
            self.wrong.clear()  # it was said of what another driver reads
        driver = None if self.platform is None else self.platform.driver
        self.driver = driver if isinstance(driver, Telemetry) else None

    def take_interfaces(self, samples: tuple[InterfaceSample, ...], at: float, wall: datetime, uptime: Uptime | None, most_seconds: float) -> None:
        """Compare with the look before; what is not shown any more is forgotten."""
        ports: dict[str, Port] = {}
        for name, sample in named(samples).items():
            look = Look(at, uptime, sample)
            port = self.ports.get(name)
            if port is None:
                port = Port(look, wall)
            else:
                port.rates = counters.rates(port.look, look, most_seconds)
                port.look, port.at = look, wall
            ports[name] = port
        self.ports = ports
        self.interfaces_at = wall

    def news(self) -> bool:
        """Whether its interfaces are other than the inventory was told, apart from counters; from now on it counts as told."""
        said = hash(tuple(
            (name, each.if_index, each.alias, each.type, each.mtu, each.speed_bps, each.mac, each.admin_up, each.oper_up)
            for name, each in ((name, port.look.sample) for name, port in self.ports.items())
        ))  # fmt: skip
        told, self.seen = self.seen, said
        return told != said

    def current(self, missed: int, stale: tuple[Aspect, ...] = ()) -> CurrentDevice:
        """As the API shows it."""
        return CurrentDevice(
            device_id=self.device.id, up=self.up, up_at=self.up_at, rtt_ms=self.rtt_ms, system_at=self.system_at, system=self.system,
            interfaces_at=self.interfaces_at, interfaces=tuple(_current(port) for port in self.ports.values()), optics_at=self.optics_at,
            optics=self.optics, missed_slots=missed, last_error=self.last_error, stale=stale,
        )  # fmt: skip


def _current(port: Port) -> CurrentInterface:
    rates, sample = port.rates, port.look.sample
    used = None if rates is None else counters.utilisation_percent(rates.in_bps, rates.out_bps, sample.speed_bps)
    return CurrentInterface(id=port.id, at=port.at, counters=sample, rates=rates, utilisation_percent=used)
