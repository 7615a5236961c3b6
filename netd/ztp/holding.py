"""Whose an address is: what a client asks to keep, gives back or declines is its own, on the line that it was given on. Within the transaction of a batch.

A lease is found by its holder's name (``client4.on_line``). What is not found so is looked for by its address: the lease may be of this client on another
line, which is refused and counted, or from before its line was told, which it keeps.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from netd.config import DhcpConfig
from netd.metrics import Counts
from netd.store import dhcp as store
from netd.store.database import Connection
from netd.store.dhcp import Holder
from netd.ztp.asks import Ask
from netd.ztp.client4 import off_line
from netd.ztp.limits import Limits
from netd.ztp.subnets import dotted

FOUND_IN_USE: Final = "a client found it in use"


async def bind(conn: Connection, asks: Sequence[Ask]) -> dict[Ask, str]:
    """Put what these name in force: "" or why not, of each. An ask by unicast learns its holder's name."""
    outcomes = {ask: "not_its_address" for ask in asks}
    await _bind(conn, [ask for ask in asks if ask.subnet.may_have(ask.address, ask.reserved)], outcomes)
    missing = [ask for ask, why in outcomes.items() if why]
    if not missing:
        return outcomes
    there = await _at(conn, missing)
    again: list[Ask] = []
    takers: dict[int, list[Ask]] = {}  # of a lease from before its line was told
    for ask in missing:
        holder = there.get(ask.address)
        if holder is None or holder.subnet_id != ask.subnet.row.id or holder.state == "declined":
            continue
        client, line = off_line(holder.client_id)
        if client != ask.base or line == ask.line:
            continue
        if ask.unicast:
            ask.client, ask.line = holder.client_id, line
            again.append(ask)
        elif not line and (first := takers.setdefault(holder.id, [ask])[0]).client == ask.client:
            takers[holder.id] += [ask] if first is not ask else []
        elif holder.left > 0:
            outcomes[ask] = "other_line"
    if takers:
        done = await store.rename(conn, [(number, ask.base, ask.client) for number, (ask, *_) in takers.items()])
        again += [ask for number, asks_of in takers.items() if number in done for ask in asks_of]
    await _bind(conn, [ask for ask in again if ask.subnet.may_have(ask.address, ask.reserved)], outcomes)
    return outcomes


async def _bind(conn: Connection, asks: Sequence[Ask], outcomes: dict[Ask, str]) -> None:
    rows = {
        (ask.subnet.row.id, ask.client, ask.address): store.Binding(
            ask.subnet.row.id, ask.client, dotted(ask.address), ask.seconds, ask.subnet.pool.grace_seconds if ask.subnet.pool else 0, ask.mac,
            ask.profile, ask.hostname, ask.relay_info.hex(),
        )
        for ask in asks
    }  # fmt: skip
    bound = await store.bind(conn, sorted(rows.values(), key=lambda row: (row.n, row.c))) if rows else set()
    for ask in asks:
        if (ask.subnet.row.id, ask.client, ask.address) in bound:
            outcomes[ask] = ""


async def _at(conn: Connection, asks: Sequence[Ask]) -> Mapping[int, Holder]:
    return await store.at(conn, sorted({(ask.subnet.pool.scope, dotted(ask.address)) for ask in asks if ask.subnet.pool is not None}))


async def end(conn: Connection, asks: Sequence[Ask], limits: Limits, config: DhcpConfig, given: Counts) -> dict[Ask, str]:
    """Take back what is released and set aside what is declined: "" or why not, of each. Only what is in force can be declined, and only so much of it."""
    there = await _at(conn, asks)
    outcomes: dict[Ask, str] = {}
    released: dict[int, tuple[Ask, str]] = {}
    declined: dict[int, tuple[Ask, str]] = {}
    for ask in asks:
        holder = there.get(ask.address)
        client, line = off_line(holder.client_id) if holder is not None else ("", "")
        if holder is None or holder.subnet_id != ask.subnet.row.id or client != ask.base or holder.state not in ("bound", "offered"):
            outcomes[ask] = "not_its_address"
        elif line and line != ask.line and not ask.unicast:
            outcomes[ask] = "other_line"
        elif ask.kind == "release":
            released[holder.id] = ask, holder.client_id
        elif holder.state != "bound":
            outcomes[ask] = "not_bound"
        else:
            outcomes[ask] = _decline(ask, line, limits, config)
            if not outcomes[ask]:
                declined[holder.id] = ask, holder.client_id
    done = await store.release(conn, _names(released)) if released else set()
    given["released"] += len(done)
    aside = await store.decline(conn, _names(declined), config.decline_seconds, FOUND_IN_USE) if declined else set()
    given["declined"] += len(aside)
    for number, (ask, name) in (released | declined).items():
        ask.line = off_line(name)[1]
        outcomes[ask] = "" if number in done | aside else "not_its_address"
    return {ask: outcomes.get(ask, "") for ask in asks}  # of two that say the same, one is written


def _names(ended: Mapping[int, tuple[Ask, str]]) -> list[tuple[int, str]]:
    return [(number, name) for number, (_, name) in sorted(ended.items())]


def _decline(ask: Ask, line: str, limits: Limits, config: DhcpConfig) -> str:
    pool = ask.subnet.pool
    if pool is None:
        return "no_pool"
    return limits.decline(ask.subnet.row.id, line, pool.id, pool.total, ask.address, config.decline_seconds, time.monotonic())
