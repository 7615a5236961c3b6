"""What devices say of their neighbours and addresses by SNMP, whatever they are: by the MIBs that all have in common. For those that nobody logs in to."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from netd.device.snmp import Snmp, Table
from netd.errors import PeerError, PeerUnreachable
from netd.sdk import addressmib, ifmib, lldpmib
from netd.sdk.device import Oid

Say = Callable[[str], Awaitable[None]]

_NAMES: Final = (ifmib.IF_NAME, ifmib.IF_DESCR)


class Question(NamedTuple):
    """Of the ``choices`` one is walked, that whose first column has rows; with it ``columns``. Where none has, ``present`` says whether that is an answer."""

    present: Oid | None
    columns: tuple[Oid, ...]
    choices: tuple[tuple[Oid, ...], ...]
    read: Callable[[Mapping[Oid, Table]], list[Any]]


QUESTIONS: Final[dict[str, Question]] = {
    "neighbours": Question(lldpmib.PRESENT, (), (lldpmib.COLUMNS,), lldpmib.neighbours),
    "macs": Question(
        addressmib.BRIDGE_PRESENT, (*_NAMES, addressmib.PORT_IF_INDEX), (addressmib.VLAN_COLUMNS, addressmib.BRIDGE_COLUMNS), addressmib.macs
    ),
    "arps": Question(None, _NAMES, (addressmib.NEIGHBOUR_COLUMNS, addressmib.ARP_COLUMNS), addressmib.arps),
}  # fmt: skip


async def read(session: Snmp, wanted: Collection[str], say: Say, *, bulk: bool = True) -> tuple[dict[str, Any], PeerError | None]:
    """Members of an observation, and why one of them is missing (the last reason), which is told. What the agent does not have is no fault."""
    found: dict[str, Any] = {}
    walked: dict[Oid, Table] = {}
    failure: PeerError | None = None
    for what in wanted:
        try:
            said = await _asked(session, QUESTIONS[what], walked, bulk)
        except PeerError as error:
            failure = error
            await say(f"it does not say its {what} by SNMP: {error}")
            if isinstance(error, PeerUnreachable):
                break  # whoever is silent is not asked for hours
            continue
        if said is not None:
            found[what] = said
    return found, failure


async def _asked(session: Snmp, question: Question, walked: dict[Oid, Table], bulk: bool) -> list[Any] | None:
    """What the agent says, None if it has nothing of it. Raises PeerError."""
    for columns in question.choices:
        if await _walked(session, columns[0], walked, bulk):
            break
    else:
        present = question.present
        return [] if present is not None and (await session.get((present,)))[present] is not None else None
    for column in (*columns, *question.columns):
        await _walked(session, column, walked, bulk)
    return await asyncio.to_thread(question.read, walked)  # a bridge's hundred thousand rows would hold the loop


async def _walked(session: Snmp, column: Oid, walked: dict[Oid, Table], bulk: bool) -> Table:
    """A column, walked once."""
    if column not in walked:
        walked[column] = await session.walk(column, bulk=bulk)
    return walked[column]
