"""What every agent has: IF-MIB with ifXTable (RFC 2863), the host's resources (RFC 2790), how long it has been up. Tables are column -> index -> value."""

from collections.abc import Mapping
from typing import Literal

from netd.model.device import InterfaceSample
from netd.sdk.device import Oid, Varbind

Columns = Mapping[Oid, Mapping[Oid, Varbind]]

SYS_DESCR: Oid = (1, 3, 6, 1, 2, 1, 1, 1, 0)
SYS_OBJECT_ID: Oid = (1, 3, 6, 1, 2, 1, 1, 2, 0)
SYS_UPTIME: Oid = (1, 3, 6, 1, 2, 1, 1, 3, 0)
SYS_NAME: Oid = (1, 3, 6, 1, 2, 1, 1, 5, 0)
ENGINE_TIME: Oid = (1, 3, 6, 1, 6, 3, 10, 2, 1, 3, 0)
"""snmpEngineTime, seconds: does not wrap after 497 days as sysUpTime does."""

HR_PROCESSOR_LOAD: Oid = (1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2)
_HR_STORAGE: Oid = (1, 3, 6, 1, 2, 1, 25, 2, 3, 1)
HR_STORAGE_TYPE, HR_STORAGE_UNITS, HR_STORAGE_SIZE, HR_STORAGE_USED = ((*_HR_STORAGE, column) for column in (2, 4, 5, 6))
HR_STORAGE_COLUMNS: tuple[Oid, ...] = (HR_STORAGE_TYPE, HR_STORAGE_UNITS, HR_STORAGE_SIZE, HR_STORAGE_USED)
_HR_STORAGE_RAM: Oid = (1, 3, 6, 1, 2, 1, 25, 2, 1, 2)

_IF: Oid = (1, 3, 6, 1, 2, 1, 2, 2, 1)
_IFX: Oid = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)
IF_DESCR, IF_TYPE, IF_MTU, IF_SPEED, IF_PHYS_ADDRESS, IF_ADMIN, IF_OPER = ((*_IF, column) for column in (2, 3, 4, 5, 6, 7, 8))
IF_IN_OCTETS, IF_IN_UCAST, IF_IN_NUCAST, IF_IN_DISCARDS, IF_IN_ERRORS = ((*_IF, column) for column in (10, 11, 12, 13, 14))
IF_OUT_OCTETS, IF_OUT_UCAST, IF_OUT_NUCAST, IF_OUT_DISCARDS, IF_OUT_ERRORS = ((*_IF, column) for column in (16, 17, 18, 19, 20))
IF_NAME, IF_HC_IN_OCTETS, IF_HC_IN_UCAST, IF_HC_IN_MCAST, IF_HC_IN_BCAST = ((*_IFX, column) for column in (1, 6, 7, 8, 9))
IF_HC_OUT_OCTETS, IF_HC_OUT_UCAST, IF_HC_OUT_MCAST, IF_HC_OUT_BCAST = ((*_IFX, column) for column in (10, 11, 12, 13))
IF_HIGH_SPEED, IF_ALIAS, IF_DISCONTINUITY = ((*_IFX, column) for column in (15, 18, 19))

_NAMES = (IF_DESCR, IF_NAME, IF_ALIAS, IF_TYPE, IF_MTU, IF_SPEED, IF_HIGH_SPEED, IF_PHYS_ADDRESS, IF_ADMIN, IF_OPER)
_SMALL = (IF_IN_OCTETS, IF_IN_UCAST, IF_IN_NUCAST, IF_OUT_OCTETS, IF_OUT_UCAST, IF_OUT_NUCAST)
_ERRORS = (IF_IN_DISCARDS, IF_IN_ERRORS, IF_OUT_DISCARDS, IF_OUT_ERRORS)
_LARGE = (
    *(IF_HC_IN_OCTETS, IF_HC_IN_UCAST, IF_HC_IN_MCAST, IF_HC_IN_BCAST, IF_HC_OUT_OCTETS, IF_HC_OUT_UCAST, IF_HC_OUT_MCAST, IF_HC_OUT_BCAST),
    IF_DISCONTINUITY,
)


def columns(counters: Literal[32, 64] = 64) -> tuple[Oid, ...]:
    """What to walk for :func:`interfaces`. 32: for agents whose ifXTable counters are not to be believed; with 64 only the octets are read in both widths."""
    if counters == 32:
        return (*_NAMES, *_SMALL, *_ERRORS)
    return (*_NAMES, IF_IN_OCTETS, IF_OUT_OCTETS, *_ERRORS, *_LARGE)


def interfaces(tables: Columns, counters: Literal[32, 64] = 64) -> tuple[InterfaceSample, ...]:
    """A sample for each ifIndex that has a name, in the order of the indexes."""
    known = tables.get(IF_DESCR, {}).keys() | tables.get(IF_NAME, {}).keys()
    return tuple(_interface(tables, index, counters) for index in sorted(known) if len(index) == 1)


def names(tables: Columns) -> dict[int, str]:
    """What interfaces are called, by ifIndex: ifName, of an agent without it ifDescr."""
    found = dict(tables.get(IF_DESCR, {}).items()) | {index: value for index, value in tables.get(IF_NAME, {}).items() if text(value)}
    return {index[0]: name for index, value in found.items() if len(index) == 1 and (name := text(value))}


def _interface(tables: Columns, index: Oid, counters: Literal[32, 64]) -> InterfaceSample:
    def whole(column: Oid) -> int | None:
        value = tables.get(column, {}).get(index)
        return value if isinstance(value, int) else None

    def words(column: Oid) -> str | None:
        value = tables.get(column, {}).get(index)
        return text(value) or None

    def total(*of: Oid) -> int | None:
        parts = [whole(column) for column in of]
        return None if None in parts else sum(part for part in parts if part is not None)

    large = counters == 64 and (whole(IF_HC_IN_OCTETS) is not None or whole(IF_HC_OUT_OCTETS) is not None)
    address = tables.get(IF_PHYS_ADDRESS, {}).get(index)
    fast, slow = whole(IF_HIGH_SPEED), whole(IF_SPEED)
    admin, oper = whole(IF_ADMIN), whole(IF_OPER)
    return InterfaceSample(
        if_index=index[0],
        name=words(IF_NAME) or words(IF_DESCR) or str(index[0]),
        alias=words(IF_ALIAS),
        type=whole(IF_TYPE),
        mac=address.hex(":") if isinstance(address, bytes) and len(address) == 6 else None,
        mtu=whole(IF_MTU),
        speed_bps=fast * 1_000_000 if fast else slow,
        admin_up=None if admin is None else admin == 1,
        oper_up=None if oper is None else oper == 1,
        in_octets=whole(IF_HC_IN_OCTETS if large else IF_IN_OCTETS),
        out_octets=whole(IF_HC_OUT_OCTETS if large else IF_OUT_OCTETS),
        in_packets=total(IF_HC_IN_UCAST, IF_HC_IN_MCAST, IF_HC_IN_BCAST) if large else total(IF_IN_UCAST, IF_IN_NUCAST),
        out_packets=total(IF_HC_OUT_UCAST, IF_HC_OUT_MCAST, IF_HC_OUT_BCAST) if large else total(IF_OUT_UCAST, IF_OUT_NUCAST),
        in_errors=whole(IF_IN_ERRORS),
        out_errors=whole(IF_OUT_ERRORS),
        in_discards=whole(IF_IN_DISCARDS),
        out_discards=whole(IF_OUT_DISCARDS),
        counter_bits=64 if large else 32,
        discontinuity_ticks=whole(IF_DISCONTINUITY),
    )


def text(value: Varbind) -> str:
    """An OCTET STRING as text: UTF-8 where it is that, never NULs; empty for everything else."""
    return value.decode("utf-8", "replace").strip("\0 \r\n") if isinstance(value, bytes) else ""


def uptime_seconds(scalars: Mapping[Oid, Varbind], *, engine_time: bool = True) -> int | None:
    """How long the agent runs; ``engine_time`` False where snmpEngineTime is wrong."""
    engine, ticks = scalars.get(ENGINE_TIME), scalars.get(SYS_UPTIME)
    if engine_time and isinstance(engine, int) and engine > 0:
        return engine
    return ticks // 100 if isinstance(ticks, int) else None


def cpu_percent(tables: Columns, column: Oid = HR_PROCESSOR_LOAD) -> float | None:
    """The mean over all processors."""
    loads = [value for value in tables.get(column, {}).values() if isinstance(value, int) and 0 <= value <= 100]
    return sum(loads) / len(loads) if loads else None


def memory_octets(tables: Columns) -> tuple[int | None, int | None]:
    """Used and total of the first store of the type RAM, as the agent counts: on Linux used holds the caches, too."""
    for index, kind in sorted(tables.get(HR_STORAGE_TYPE, {}).items()):
        unit, size, used = (tables.get(column, {}).get(index) for column in (HR_STORAGE_UNITS, HR_STORAGE_SIZE, HR_STORAGE_USED))
        if kind == _HR_STORAGE_RAM and isinstance(unit, int) and isinstance(size, int) and isinstance(used, int) and size > 0:
            return used * unit, size * unit
    return None, None
