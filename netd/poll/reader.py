"""One look at a device by SNMP: its groups, and of its interfaces as little as will do.

Names, types and speeds of interfaces rarely change, so they are read with every tenth look only, and at once when the agent restarted or shows other
interfaces; in between only state and counters are, of the width that the device was found to have.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import msgspec

from netd.device.snmp import Snmp, Table
from netd.model.device import DeviceSample, Facts, InterfaceSample, OpticsSample, Reading
from netd.poll import counters
from netd.poll.counters import Uptime
from netd.poll.watched import Watched
from netd.sdk import ifmib
from netd.sdk.device import Oid, SnmpFacts, SnmpGroup, Telemetry

STATIC: Final = frozenset((
    ifmib.IF_DESCR, ifmib.IF_NAME, ifmib.IF_ALIAS, ifmib.IF_TYPE, ifmib.IF_MTU, ifmib.IF_SPEED, ifmib.IF_HIGH_SPEED, ifmib.IF_PHYS_ADDRESS,
))  # fmt: skip
NARROW: Final = frozenset((ifmib.IF_IN_OCTETS, ifmib.IF_OUT_OCTETS))
FULL_EVERY: Final = 10
MOST_INTERFACES: Final = 20_000

Guard = Callable[[str], AbstractContextManager[None]]


class Interfaces(NamedTuple):
    """All of a device's interfaces, when they were read (monotonic seconds), and how long its agent had run by then."""

    samples: tuple[InterfaceSample, ...]
    at: float
    uptime: Uptime | None


class Identity(NamedTuple):
    """What a device is by SNMP, for recognising it."""

    sys_object_id: str | None
    sys_descr: str | None
    facts: Facts


class Reader:
    """Reads with a session. ``guard`` is the barrier round the drivers' code, ``clock`` monotonic. Everything raises PeerError and ExtensionError."""

    def __init__(self, guard: Guard, clock: Callable[[], float]) -> None:
        self.guard = guard
        self._clock = clock

    async def identity(self, watched: Watched, session: Snmp) -> Identity:
        """What it is; what the driver knows better than SNMPv2-MIB counts."""
        driver = None if watched.platform is None else watched.platform.driver
        more: tuple[Oid, ...] = ()
        if isinstance(driver, SnmpFacts) and watched.platform is not None:
            with self.guard(watched.platform.vendor):
                more = tuple(driver.fact_oids())
        said = await session.get(tuple(dict.fromkeys((ifmib.SYS_OBJECT_ID, ifmib.SYS_DESCR, ifmib.SYS_NAME, *more))))
        facts = Facts()
        if isinstance(driver, SnmpFacts) and watched.platform is not None:
            with self.guard(watched.platform.vendor):
                facts = driver.snmp_facts(said)
        if facts.hostname is None:
            facts = msgspec.structs.replace(facts, hostname=ifmib.text(said[ifmib.SYS_NAME]) or None)
        object_id = said[ifmib.SYS_OBJECT_ID]
        dotted = ".".join(map(str, object_id)) if isinstance(object_id, tuple) else None
        return Identity(dotted, ifmib.text(said[ifmib.SYS_DESCR]) or None, facts)

    async def system(self, watched: Watched, session: Snmp, driver: Telemetry) -> DeviceSample | None:
        """How it does."""
        group = watched.groups["system"]
        scalars, tables = await session.read(group)
        watched.uptime = _uptime(scalars, group)
        return self._read(watched, driver, "system", scalars, tables).device

    async def optics(self, watched: Watched, session: Snmp, driver: Telemetry) -> tuple[OpticsSample, ...]:
        """The light of its transceivers and ONUs."""
        return self._read(watched, driver, "optics", *await session.read(watched.groups["optics"])).optics

    async def interfaces(self, watched: Watched, session: Snmp, driver: Telemetry) -> Interfaces:
        """Its interfaces, each with all that is known of it."""
        group = watched.groups["interfaces"]
        begun = self._clock()
        uptime = _uptime(await session.get((ifmib.SYS_UPTIME, ifmib.ENGINE_TIME)), watched.groups.get("system", group))
        last = next(iter(watched.ports.values()), None)
        again = last is not None and not counters.restarted(last.look.uptime, uptime, begun - last.look.at)
        if again and watched.full_in > 0 and ifmib.IF_OPER in group.tables:
            quick = await self._quick(watched, session, driver, group)
            if quick is not None:
                watched.full_in -= 1
                return Interfaces(quick, begun, uptime)
        # What counts comes first, as in a quick look: rates are by the time at which looks begin, and a slow device takes seconds for its names.
        last_read = STATIC | NARROW
        scalars, tables = await session.read(msgspec.structs.replace(group, tables=tuple(sorted(group.tables, key=last_read.__contains__))))
        watched.full_in = FULL_EVERY - 1
        return Interfaces(self._read(watched, driver, "interfaces", scalars, tables).interfaces[:MOST_INTERFACES], begun, uptime)

    async def _quick(self, watched: Watched, session: Snmp, driver: Telemetry, group: SnmpGroup) -> tuple[InterfaceSample, ...] | None:
        """State and counters only, the rest as it was; None if the device shows other interfaces than before."""
        known = {port.look.sample.if_index: port.look.sample for port in watched.ports.values()}
        wide = all(sample.counter_bits == 64 for sample in known.values())
        wanted = tuple(column for column in group.tables if column not in STATIC and not (wide and column in NARROW))
        scalars, fresh = await session.read(msgspec.structs.replace(group, tables=wanted), expected=len(known))
        shown = {index[0] for index in fresh.get(ifmib.IF_OPER, {}) if len(index) == 1}
        if not shown >= known.keys():
            return None
        names: Table = {(number,): sample.name.encode() for number, sample in known.items()}
        tables = {**fresh, ifmib.IF_NAME: names}
        samples = self._read(watched, driver, "interfaces", scalars, tables).interfaces
        if len(samples) != len(known):
            return None
        return tuple(_completed(sample, known[sample.if_index]) for sample in samples)

    def _read(self, watched: Watched, driver: Telemetry, group: str, scalars: Table, tables: Mapping[Oid, Table]) -> Reading:
        assert watched.platform is not None
        with self.guard(watched.platform.vendor):
            return driver.read(group, scalars, tables)


def _completed(sample: InterfaceSample, known: InterfaceSample) -> InterfaceSample:
    return msgspec.structs.replace(
        sample, name=known.name, alias=known.alias, type=known.type, mac=known.mac, mtu=known.mtu, speed_bps=known.speed_bps
    )  # fmt: skip


def _uptime(scalars: Table, group: SnmpGroup) -> Uptime | None:
    """By snmpEngineTime, which does not wrap, where the driver believes it."""
    engine, ticks = scalars.get(ifmib.ENGINE_TIME), scalars.get(ifmib.SYS_UPTIME)
    if ifmib.ENGINE_TIME in group.scalars and isinstance(engine, int) and engine > 0:
        return Uptime(float(engine), wraps=False)
    return Uptime(ticks / 100, wraps=True) if isinstance(ticks, int) else None
