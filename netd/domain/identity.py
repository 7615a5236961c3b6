"""What an SNMP agent says that its device is: SNMPv2-MIB, ENTITY-MIB (RFC 6933), and what the recognised platform's driver reads better."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import msgspec

from netd.device.snmp import Snmp, Table
from netd.domain.recognition import NO_SERIAL, Recogniser
from netd.errors import ExtensionError, PeerError
from netd.extensions import DevicePlatform
from netd.model.device import Facts
from netd.sdk import ifmib
from netd.sdk.device import Oid, SnmpFacts

CHASSIS_SERIAL: Final[Oid] = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 11, 1)
"""entPhysicalSerialNum of the first entity: mostly the chassis. A driver that knows better is asked."""

FIRST: Final[tuple[Oid, ...]] = (ifmib.SYS_OBJECT_ID, ifmib.SYS_DESCR, ifmib.SYS_NAME, CHASSIS_SERIAL)
"""What is asked for before anything else."""

CLASS: Final[Oid] = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 5)
SERIAL: Final[Oid] = CHASSIS_SERIAL[:-1]
SOFTWARE: Final[Oid] = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 10)
MODEL: Final[Oid] = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 13)
WHOLE: Final = {3: 0, 11: 1}
"""entPhysicalClass of what is the device itself: a chassis, else a stack of them."""

Guard = Callable[[str], AbstractContextManager[None]]


class Identity(NamedTuple):
    """What a device is by SNMP. ``platform`` is the recognised one."""

    sys_object_id: str | None
    sys_descr: str | None
    platform: DevicePlatform | None
    facts: Facts


async def read(session: Snmp, said: Table, recogniser: Recogniser, guard: Guard, *, thorough: bool = False) -> Identity:
    """Read it; ``said`` are the objects of ``FIRST``. ``thorough``: where that tells no serial number, all of the device's parts are looked at for it.
    Raises PeerError, with ``thorough`` only."""
    object_id = said[ifmib.SYS_OBJECT_ID]
    dotted = ".".join(map(str, object_id)) if isinstance(object_id, tuple) else None
    descr = ifmib.text(said[ifmib.SYS_DESCR]) or None
    platform = recogniser.recognise(dotted, descr)
    facts = await _told(session, platform, guard)
    hostname, serial = facts.hostname or ifmib.text(said[ifmib.SYS_NAME]) or None, _real(facts.serial) or _real(ifmib.text(said[CHASSIS_SERIAL]))
    facts = msgspec.structs.replace(facts, hostname=hostname, serial=serial)
    return Identity(dotted, descr, platform, await _searched(session, facts) if thorough and facts.serial is None else facts)


async def _told(session: Snmp, platform: DevicePlatform | None, guard: Guard) -> Facts:
    """What the platform's driver reads; nothing where it cannot say."""
    if platform is None or not isinstance(platform.driver, SnmpFacts):
        return Facts()
    try:
        with guard(platform.vendor):
            wanted = tuple(platform.driver.fact_oids())
        said = await session.get(wanted)
        with guard(platform.vendor):
            return platform.driver.snmp_facts(said)
    except (PeerError, ExtensionError):  # counted where it happened; the device is what the rest says, too
        return Facts()


async def _searched(session: Snmp, facts: Facts) -> Facts:
    classes, serials = await session.walk(CLASS), await session.walk(SERIAL)
    place = whole(classes, {index: ifmib.text(value) for index, value in serials.items()})
    if place is None:
        return facts
    more = await session.get((SOFTWARE + place, MODEL + place))
    return msgspec.structs.replace(
        facts, serial=_real(ifmib.text(serials[place])), software_version=facts.software_version or ifmib.text(more[SOFTWARE + place]) or None,
        model=facts.model or ifmib.text(more[MODEL + place]) or None,
    )  # fmt: skip


def whole(classes: Mapping[Oid, object], serials: Mapping[Oid, str]) -> Oid | None:
    """The index of the part that is the device itself and has a serial number: a chassis before a stack, then the first one. Pure."""
    able = [(WHOLE[kind], index) for index, kind in classes.items() if isinstance(kind, int) and kind in WHOLE and _real(serials.get(index))]
    return min(able)[1] if able else None


def _real(serial: str | None) -> str | None:
    text = (serial or "").strip()
    return None if text.lower() in NO_SERIAL else text
