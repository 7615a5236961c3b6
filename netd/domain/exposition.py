"""Devices' values in Prometheus' text format (0.0.4): for scrapes, and for stores that take it (VictoriaMetrics' /api/v1/import/prometheus).

Labels are bounded by what the inventory holds: device and interface, for optics the ONU. Descriptions and addresses, which change, are none.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

from netd.domain.imports import Slices
from netd.model.telemetry import Aspect, CurrentDevice

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["gauge", "counter"]
Sample = tuple[str, tuple[tuple[str, str], ...], float, datetime | None]
"""Name, labels beside the device's, value, and when it was read."""

FAMILIES: Final[dict[str, tuple[Kind, str]]] = {
    "netd_device_polled": ("gauge", "Whether the node that answers polls the device"),
    "netd_device_up": ("gauge", "Whether the device answers"),
    "netd_device_rtt_seconds": ("gauge", "Round trip of the last ping that was answered"),
    "netd_device_missed_slots_total": ("counter", "Slots in which the device was not looked at"),
    "netd_device_uptime_seconds": ("gauge", "How long its agent runs"),
    "netd_device_cpu_percent": ("gauge", "CPU in use"),
    "netd_device_memory_used_octets": ("gauge", "Memory in use"),
    "netd_device_memory_total_octets": ("gauge", "Memory there is"),
    "netd_device_temperature_celsius": ("gauge", "The hottest sensor"),
    "netd_device_voltage_volts": ("gauge", "Supply voltage"),
    "netd_device_power_watts": ("gauge", "Power drawn"),
    "netd_interface_up": ("gauge", "Whether the interface is up"),
    "netd_interface_speed_bps": ("gauge", "Its speed in bit/s"),
    "netd_interface_in_octets_total": ("counter", "Octets received"),
    "netd_interface_out_octets_total": ("counter", "Octets sent"),
    "netd_interface_in_packets_total": ("counter", "Packets received"),
    "netd_interface_out_packets_total": ("counter", "Packets sent"),
    "netd_interface_in_errors_total": ("counter", "Packets received with errors"),
    "netd_interface_out_errors_total": ("counter", "Packets not sent for errors"),
    "netd_interface_in_discards_total": ("counter", "Packets received and discarded"),
    "netd_interface_out_discards_total": ("counter", "Packets not sent, discarded"),
    "netd_optics_rx_dbm": ("gauge", "Light received"),
    "netd_optics_tx_dbm": ("gauge", "Light sent"),
    "netd_optics_olt_rx_dbm": ("gauge", "Light that the OLT receives from the ONU"),
}
ASPECTS: Final[tuple[Aspect, ...]] = ("reach", "system", "interfaces", "optics")
_SYSTEM = ("uptime_seconds", "cpu_percent", "memory_used_octets", "memory_total_octets", "temperature_celsius", "voltage_volts", "power_watts")
_COUNTERS = ("in_octets", "out_octets", "in_packets", "out_packets", "in_errors", "out_errors", "in_discards", "out_discards")


def samples(current: CurrentDevice, aspects: Collection[Aspect] = ASPECTS) -> Iterator[Sample]:
    """All that is known of these aspects of a device; what is not known, or is not known any more, is not there: a gap stays a gap."""
    known = frozenset(aspects).difference(current.stale)
    if "reach" in aspects:
        yield "netd_device_missed_slots_total", (), float(current.missed_slots), current.up_at
    if current.up is not None and "reach" in known:
        yield "netd_device_up", (), float(current.up), current.up_at
    if current.rtt_ms is not None and "reach" in known:
        yield "netd_device_rtt_seconds", (), current.rtt_ms / 1000, current.up_at
    for name in _SYSTEM if current.system is not None and "system" in known else ():
        value = getattr(current.system, name)
        if value is not None:
            yield f"netd_device_{name}", (), value, current.system_at
    for each in current.interfaces if "interfaces" in known else ():
        labels: tuple[tuple[str, str], ...] = (("interface", each.counters.name),)
        if each.counters.oper_up is not None:
            yield "netd_interface_up", labels, float(each.counters.oper_up), each.at
        if each.counters.speed_bps is not None:
            yield "netd_interface_speed_bps", labels, each.counters.speed_bps, each.at
        for name in _COUNTERS:
            value = getattr(each.counters, name)
            if value is not None:
                yield f"netd_interface_{name}_total", labels, value, each.at
    for optics in current.optics if "optics" in known else ():
        labels = (("interface", optics.interface), ("onu", optics.onu or ""))
        for name in ("rx_dbm", "tx_dbm", "olt_rx_dbm"):
            value = getattr(optics, name)
            if value is not None:
                yield f"netd_optics_{name}", labels, value, current.optics_at


def line(sample: Sample, own: Mapping[str, str], *, timed: bool = False) -> str:
    """One series with the device's labels; ``timed``: with the time at which it was read, as an import wants it and a scrape does not."""
    name, labels, value, at = sample
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in (*own.items(), *labels) if text)
    figure = str(value) if isinstance(value, int) else repr(float(value))
    return f"{name}{{{shown}}} {figure}" + (f" {int(at.timestamp() * 1000)}" if timed and at is not None else "")


async def page(devices: Iterable[tuple[Mapping[str, str], CurrentDevice | None]]) -> str:
    """A scrape's answer: of each device its labels and what is known, None where another node polls it. Families stand together, as the format demands,
    and no series twice. A device may have twenty thousand interfaces: others have their turn meanwhile."""
    found: dict[str, dict[str, str]] = {}
    slices = Slices()
    for own, current in devices:
        here = ("netd_device_polled", (), float(current is not None), None)
        for sample in (here, *(() if current is None else samples(current))):
            series, _, figure = line(sample, own).rpartition(" ")
            found.setdefault(sample[0], {}).setdefault(series, figure)
            await slices.breathe()
    parts = []
    for name, (kind, text) in FAMILIES.items():
        if name in found:
            parts += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *(f"{series} {figure}" for series, figure in found[name].items())]
            await slices.breathe()
    return "\n".join([*parts, ""])


def _escaped(text: str) -> str:
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
