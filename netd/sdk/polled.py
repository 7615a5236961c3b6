"""How a platform is read by SNMP, from its data file: ``[snmp]`` says what CPU, memory, temperature and optics are called and in what they are counted.

A figure that the vendor calls unknown is None, never 0; so is what the agent does not have.
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from netd.model.device import DeviceSample, Facts, OpticsSample, Reading
from netd.sdk import ifmib
from netd.sdk.device import Oid, SnmpGroup, Varbind
from netd.sdk.ifmib import Columns
from netd.sdk.shell import Family

SHORTEST_SECONDS = 10
"""The shortest period that can be configured. How often a device is really asked ``[poll]`` says: once a minute unless an operator wants it otherwise."""

_FIGURE = re.compile(r"[-+]?\d+(?:\.\d+)?")


def oid(dotted: str) -> Oid:
    """``1.3.6.1`` as numbers."""
    return tuple(int(part) for part in dotted.split("."))


class Gauge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column, or a scalar if the OID ends with 0, whose value is ``raw * scale + offset``. ``unknown`` are raw values that say that there is none.

    ``of`` is another column of the same table that must have one of ``values`` in a row for it to count. Text (``-9.36 dBm``) is read as its figure.
    """

    oid: str
    scale: float = 1.0
    offset: float = 0.0
    unknown: tuple[int, ...] = ()
    above: int | None = None  # raw values greater than this say that there is none
    signed16: bool = False  # raw values above 32767 are negative ones
    milliwatts: bool = False  # that is what the figure is in, and it is told in dBm; no power at all has none
    of: str | None = None
    values: tuple[int | str, ...] = ()

    @property
    def name(self) -> Oid:
        return oid(self.oid)

    def value(self, raw: Varbind) -> float | None:
        if isinstance(raw, bytes):
            found = _FIGURE.match(ifmib.text(raw))
            return float(found.group()) * self.scale + self.offset if found else None
        if not isinstance(raw, int) or raw in self.unknown or (self.above is not None and raw > self.above):
            return None
        if self.signed16 and raw > 32767:
            raw -= 65536
        figure = raw * self.scale + self.offset
        if self.milliwatts:
            return round(10 * math.log10(figure), 2) if figure > 0 else None
        return round(figure, 6)

    def all(self, scalars: Mapping[Oid, Varbind], tables: Columns) -> list[float]:
        """Every figure that there is."""
        if self.name[-1] == 0:
            values = [self.value(scalars.get(self.name))]
        else:
            kinds = tables.get(oid(self.of), {}) if self.of else {}
            values = [self.value(raw) for index, raw in tables.get(self.name, {}).items() if not self.of or _plain(kinds.get(index)) in self.values]
        return [value for value in values if value is not None]


def _plain(value: Varbind) -> int | str | None:
    return ifmib.text(value) if isinstance(value, bytes) else value if isinstance(value, int) else None


class Optics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of transceivers or ONUs: gauges by the members of :class:`netd.model.device.OpticsSample`; whose a row is says the driver's ``place``."""

    table: str
    rx_dbm: Gauge | None = None
    tx_dbm: Gauge | None = None
    olt_rx_dbm: Gauge | None = None
    temperature_celsius: Gauge | None = None
    voltage_volts: Gauge | None = None
    bias_milliamperes: Gauge | None = None
    distance_metres: Gauge | None = None
    name: str | None = None  # the column that has the interface's name, where the index does not tell
    keys: int = 0  # so many numbers of an index name the row, what follows differs between the columns; 0: all of it

    def gauges(self) -> dict[str, Gauge]:
        found = {field: getattr(self, field) for field in self.__struct_fields__ if field not in {"table", "name", "keys"}}
        return {field: gauge for field, gauge in found.items() if gauge is not None}


class Snmp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[snmp]``. Of several gauges of one thing the greatest figure counts, of CPUs the mean of the first gauge that has any."""

    bulk: bool = True
    engine_time: bool = True
    counters: Literal[32, 64] = 64
    host: bool = False  # CPU and memory as RFC 2790 has them
    cpu_percent: tuple[Gauge, ...] = ()
    temperature_celsius: tuple[Gauge, ...] = ()
    voltage_volts: tuple[Gauge, ...] = ()
    power_watts: tuple[Gauge, ...] = ()
    optics: tuple[Optics, ...] = ()
    optics_seconds: int = 3600  # an OLT asks each of its ONUs: hourly at the most
    optics_opt_in: bool = True
    names: bool = False  # ``place`` needs the interfaces' names


class Polled:
    """Telemetry by the data file; mixed into a :class:`netd.sdk.shell.Shell`, or alone for what has no command line."""

    family: Family
    data: Mapping[str, Any]

    @cached_property
    def snmp(self) -> Snmp:
        return msgspec.convert(self.data.get("snmp", {}), Snmp)

    def groups(self) -> Sequence[SnmpGroup]:
        data = self.snmp
        gauges = [*data.cpu_percent, *data.temperature_celsius, *data.voltage_volts, *data.power_watts]
        scalars = {gauge.name for gauge in gauges if gauge.name[-1] == 0}
        tables = {gauge.name for gauge in gauges if gauge.name[-1] != 0} | {oid(gauge.of) for gauge in gauges if gauge.of}
        if data.host:
            tables |= {ifmib.HR_PROCESSOR_LOAD, *ifmib.HR_STORAGE_COLUMNS}
        found = [
            SnmpGroup(
                name="system",
                period_seconds=SHORTEST_SECONDS,
                scalars=(ifmib.SYS_UPTIME, *((ifmib.ENGINE_TIME,) if data.engine_time else ()), *sorted(scalars)),
                tables=tuple(sorted(tables)),
                bulk=data.bulk,
            ),
            SnmpGroup(name="interfaces", period_seconds=SHORTEST_SECONDS, tables=ifmib.columns(data.counters), bulk=data.bulk),
        ]
        if data.optics:
            wanted = [gauge.name for table in data.optics for gauge in table.gauges().values()]
            wanted += [oid(table.name) for table in data.optics if table.name]
            wanted += [ifmib.IF_NAME, ifmib.IF_DESCR] if data.names else []
            found.append(
                SnmpGroup(name="optics", period_seconds=data.optics_seconds, tables=tuple(dict.fromkeys(wanted)), bulk=data.bulk, opt_in=data.optics_opt_in)
            )
        return found

    def read(self, group: str, scalars: Mapping[Oid, Varbind], tables: Columns) -> Reading:
        if group == "system":
            return Reading(device=self.device(scalars, tables))
        if group == "interfaces":
            return Reading(interfaces=ifmib.interfaces(tables, self.snmp.counters))
        return Reading(optics=tuple(sample for table in self.snmp.optics for sample in self.optics(table, tables)))

    def device(self, scalars: Mapping[Oid, Varbind], tables: Columns) -> DeviceSample:
        """How the device does."""
        data = self.snmp
        loads = next((found for gauge in data.cpu_percent if (found := gauge.all(scalars, tables))), [])
        used, total = ifmib.memory_octets(tables) if data.host else (None, None)
        return DeviceSample(
            uptime_seconds=ifmib.uptime_seconds(scalars, engine_time=data.engine_time),
            cpu_percent=sum(loads) / len(loads) if loads else ifmib.cpu_percent(tables) if data.host else None,
            memory_used_octets=used,
            memory_total_octets=total,
            temperature_celsius=_greatest(data.temperature_celsius, scalars, tables),
            voltage_volts=_greatest(data.voltage_volts, scalars, tables),
            power_watts=_greatest(data.power_watts, scalars, tables),
        )

    def optics(self, table: Optics, tables: Columns) -> list[OpticsSample]:
        """A sample for each row that has a figure."""
        gauges, keys = table.gauges(), table.keys or None
        columns = {field: {index[:keys]: raw for index, raw in tables.get(gauge.name, {}).items()} for field, gauge in gauges.items()}
        found = []
        for index in sorted({index for column in columns.values() for index in column}):
            figures = {field: gauge.value(columns[field].get(index)) for field, gauge in gauges.items()}
            if all(figure is None for figure in figures.values()):
                continue
            interface, onu = self.place(table, index, tables)
            metres = figures.pop("distance_metres", None)
            found.append(OpticsSample(interface=interface, onu=onu, distance_metres=None if metres is None else round(metres), **figures))
        return found

    def place(self, table: Optics, index: Oid, tables: Columns) -> tuple[str, str | None]:
        """The interface and, of an ONU, its place, as the vendor names them. By default the table's own column of names, else ifName of the index."""
        names = [oid(table.name)] if table.name else [ifmib.IF_NAME, ifmib.IF_DESCR]
        for column in names:
            if name := ifmib.text(tables.get(column, {}).get(index)):
                return name, None
        return ".".join(map(str, index)), None

    def fact_oids(self) -> Sequence[Oid]:
        return [oid(source.oid) for source in self.family.snmp_facts if source.oid]

    def snmp_facts(self, scalars: Mapping[Oid, Varbind]) -> Facts:
        known: dict[str, str | int] = {}
        for source in self.family.snmp_facts:
            if source.oid:
                known = source.facts(ifmib.text(scalars.get(oid(source.oid)))) | known
        return msgspec.convert(known, Facts)


def _greatest(gauges: Sequence[Gauge], scalars: Mapping[Oid, Varbind], tables: Columns) -> float | None:
    return max((figure for gauge in gauges for figure in gauge.all(scalars, tables)), default=None)
