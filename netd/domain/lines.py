"""Lines that a subscriber may come from, and what its devices log in by where they have no user name."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from netd.domain import audit
from netd.domain.actor import Actor, system
from netd.domain.inputs import Faults, Label
from netd.model import line as model
from netd.model.line import Line
from netd.store import lines as store
from netd.store import nas as nas_store
from netd.store.database import Connection, Database
from netd.store.lines import Kept

MEMBERS = ("lines", "mac_addresses", "circuit_ids")

IdText = Annotated[str, Meta(min_length=1, max_length=512, description="printable ASCII, or 0x and hex for octets that are not")]
Identities = Annotated[tuple[IdText, ...], Meta(max_length=64)]


class NewLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that a subscriber may come from: what is given must all be so, at least one. ``nas`` is a NAS's name; a MAC address in any notation.

    ``learned_at`` is taken and not looked at, so that a line that was read can be sent back.
    """

    nas: Label | None = None
    circuit_id: IdText | None = None
    remote_id: IdText | None = None
    nas_port_id: IdText | None = None
    mac: IdText | None = None
    learned_at: datetime | None = None


NewLines = Annotated[tuple[NewLine, ...], Meta(max_length=64)]

_PARSERS = {"circuit_id": model.circuit_typed, "remote_id": model.circuit_typed, "nas_port_id": model.circuit_typed, "mac": model.mac}


async def parsed(conn: Connection, actor: Actor, faults: Faults, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of ``MEMBERS`` that are there, as ``keep`` takes them."""
    found: dict[str, Any] = {}
    if "lines" in members:
        found["lines"] = [await _line(conn, actor, faults, f"/lines/{place}", each) for place, each in enumerate(members["lines"])]
    for name, parse in (("mac_addresses", model.mac), ("circuit_ids", model.circuit_typed)):
        if name in members:
            values = [faults.attempt(f"/{name}/{place}", parse, text) for place, text in enumerate(members[name])]
            found[name] = list(dict.fromkeys(value for value in values if value is not None))
    return found


async def _line(conn: Connection, actor: Actor, faults: Faults, where: str, new: NewLine) -> Kept:
    told = values(faults, where, new)
    told["nas_id"] = None
    if new.nas is not None:
        nas = await nas_store.by_name(conn, actor.tenant_id, new.nas)
        if nas is None:
            faults.add(f"{where}/nas", f"there is no NAS {new.nas}")
        else:
            told["nas_id"] = nas.id
    return Kept(learned_at=None, **told)


def values(faults: Faults, where: str, new: NewLine) -> dict[str, Any]:
    """What a line is known by besides its NAS, as it is kept."""
    if new.nas is None and all(getattr(new, name) is None for name in _PARSERS):
        faults.add(where, "names nothing that a line is known by")
    return {name: faults.attempt(f"{where}/{name}", parse, getattr(new, name)) for name, parse in _PARSERS.items()}


def check(faults: Faults, members: Mapping[str, Any]) -> None:
    """What holds between mode and lines of the whole subscriber: nobody is locked out by a mode that no line can fulfil."""
    if members["line_mode"] == "enforce" and not members["lines"] and not members["line_learn"]:
        faults.add("/line_mode", "enforce needs lines to be enforced, or line_learn to bind the first one")


async def keep(conn: Connection, actor: Actor, subscriber_id: int, found: Mapping[str, Any]) -> None:
    """Make what ``parsed`` found the subscriber's. Raises Conflict through the transaction if a device is another subscriber's."""
    if "lines" in found:
        await store.replace_lines(conn, actor.tenant_id, subscriber_id, found["lines"])
    if "mac_addresses" in found:
        await store.replace_identities(conn, actor.tenant_id, subscriber_id, "mac", found["mac_addresses"])
    if "circuit_ids" in found:
        await store.replace_identities(conn, actor.tenant_id, subscriber_id, "circuit_id", found["circuit_ids"])


async def learn(db: Database, tenant_id: int, subscriber_id: int, line: Kept) -> bool:
    """Bind a subscriber to the line of its first log-in. False if it has one meanwhile, learns no more or is gone."""
    async with db.transaction() as conn:
        learned: Line | None = await store.learn(conn, tenant_id, subscriber_id, line)
        if learned is not None:
            after = {"lines": [audit.values(learned)]}
            await audit.record(conn, system(tenant_id, "netd"), "subscriber.learn_line", "subscriber", subscriber_id, before={"lines": []}, after=after)
    return learned is not None
