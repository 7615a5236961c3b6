"""``device.show`` and ``device.run``: type commands at devices, and keep what they say, without secrets."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from netd.domain import choice, commands
from netd.domain.actor import Actor
from netd.domain.choice import DeviceChoice
from netd.domain.commands import ShowRules
from netd.domain.inputs import NO_CONTROL, Faults
from netd.domain.kinds import Done, JobContext, Kind, Reach, Subject
from netd.model.device import Outcome
from netd.sdk.device import Backup
from netd.sdk.dialogue import Command, Dialogue
from netd.sdk.shell import FINE
from netd.store.database import Connection
from netd.work.kinds.devices import Devices, known_secrets, told_secrets
from netd.work.kinds.masking import unmasked
from netd.work.kinds.tools import Tools
from netd.work.sessions import Opened

OUTPUT_MOST: Final = 200_000
"""Characters that are kept of what one device says."""

Line = Annotated[str, Meta(min_length=1, max_length=2000, pattern=NO_CONTROL)]
Lines = Annotated[tuple[Line, ...], Meta(min_length=1, max_length=200)]


class ShowOrder(DeviceChoice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commands that only show something."""

    commands: Lines
    timeout_seconds: Annotated[float, Meta(gt=0, le=600)] = 60.0


class RunOrder(ShowOrder, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any commands. A secret in one is ``${name}``, with ``secrets`` having lines ``name=value``: those are kept sealed, and never shown."""

    secrets: Annotated[str, Meta(max_length=20_000)] = ""


def typed(lines: Sequence[str], shown: Sequence[str], timeout_seconds: float) -> Dialogue[list[tuple[str, str]]]:
    """Type lines one after the other, whatever each says."""
    said = []
    for line, name in zip(lines, shown, strict=True):
        text = yield Command(text=line, check=False, timeout_seconds=timeout_seconds, secret=line != name)
        said.append((name, text))
    return said


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    devices = Devices(tools)
    rules: ShowRules = tools.rules

    async def show_reach(conn: Connection, actor: Actor, order: ShowOrder) -> Reach:
        faults = Faults()
        for place, line in enumerate(order.commands):
            if reason := rules.refuses(line):
                faults.add(f"/args/commands/{place}", reason)
        faults.check()
        return await choice.reach(conn, actor, order)

    async def run_reach(conn: Connection, actor: Actor, order: RunOrder) -> Reach:
        told_secrets(order.commands, order.secrets, "commands")
        found = await choice.within(conn, actor, order)
        await asyncio.to_thread(unmasked, tools, {each.platform for each in found}, order.commands, "commands")
        return choice.reach_of(actor, found)

    async def run(job: JobContext, order: ShowOrder) -> dict[str, Any]:
        secrets = known_secrets(job, order.secrets if isinstance(order, RunOrder) else "")
        lines = commands.filled(order.commands, secrets) if secrets else list(order.commands)
        found = {each.subject.key: each for each in await choice.chosen(tools.database, job, order)}

        async def one(subject: Subject) -> Done:
            async def work(opened: Opened) -> Done:
                said = await opened.run(typed(lines, order.commands, order.timeout_seconds))
                return await asyncio.to_thread(_judged, opened, said)

            return await devices.at(job, found[subject.key], work)

        return {"devices": len(found), **await job.each([each.subject for each in found.values()], one, at_once=order.at_once)}

    common: dict[str, Any] = {"run": run, "timeout_seconds": 3600, "max_attempts": 1}
    return (
        Kind(name="device.show", title="Type commands that only show something", args=ShowOrder, permission="commands:show", idempotent=True,
             reach=show_reach, **common),
        Kind(name="device.run", title="Type any commands", args=RunOrder, permission="commands:run", idempotent=False, approval=True, reach=run_reach,
             secrets=("secrets",), **common),
    )  # fmt: skip


def _judged(opened: Opened, said: Sequence[tuple[str, str]]) -> Done:
    """What the commands said; the first that the device refused is the outcome."""
    masked: Callable[[str], str] = opened.driver.masked if isinstance(opened.driver, Backup) else str
    outcome, why, outputs, room = Outcome.OK, "", [], OUTPUT_MOST
    for name, text in said:
        found, reason = opened.driver.terminal.classify(text)
        if found not in FINE and outcome is Outcome.OK:
            outcome, why = found, f"{name}: {masked(reason)}"
        shown = commands.without_tables(masked(text))
        outputs.append({"command": name, "outcome": found.value, "output": shown[:room], "cut": len(shown) > room})
        room -= min(room, len(shown))
    return Done(outcome=outcome, said=why, result={"outputs": outputs})
