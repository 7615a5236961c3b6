"""``config.change`` and ``config.restore``, each with a ``.preview`` that only shows what would differ.

A change of a device: read and keep what it runs, type the lines, read and keep what it runs then, see that it is what was wanted, let the device save it. What
does not go to its end is taken back, where the driver can.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from netd.domain import choice, commands, configurations
from netd.domain.actor import Actor
from netd.domain.devices import Hostname
from netd.domain.differences import difference, foreseen
from netd.domain.inputs import Faults
from netd.domain.kinds import Done, JobContext, Kind, Reach, Subject
from netd.errors import Fault, InvalidInput, NotFound, PeerError, PeerUnreachable
from netd.model.configuration import Which
from netd.model.device import Outcome
from netd.sdk.device import Backup, Configure, Restore, TakeBack
from netd.store.database import Connection
from netd.work.kinds.commands import FINE, Line
from netd.work.kinds.configurations import snapshot
from netd.work.kinds.devices import Batches, Devices, in_batches, known_secrets, told_secrets
from netd.work.kinds.tools import Tools
from netd.work.sessions import Opened

DEADLINE_SECONDS: Final = 1800.0
_MOVES: Final = frozenset(("exit", "quit", "end", "return", "commit", "exit all", "!", "#"))
"""Lines that go somewhere and leave nothing in a configuration."""

Lines = Annotated[tuple[Line, ...], Meta(min_length=1, max_length=2000)]


class ChangeOrder(Batches, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``lines`` as they are typed in configuration mode; a secret in one is ``${name}``, with ``secrets`` having lines ``name=value``.

    ``expected`` must stand in the configuration afterwards, ``unexpected`` must not, else the change is taken back. Without ``expected`` every line should
    be found there; where it is not (devices write some in another way), the change stays and is *unverified*.
    """

    lines: Lines
    expected: Annotated[tuple[Line, ...], Meta(max_length=2000)] = ()
    unexpected: Annotated[tuple[Line, ...], Meta(max_length=2000)] = ()
    save: bool = True
    secrets: Annotated[str, Meta(max_length=20_000)] = ""


class RestoreOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version of the device's configuration that it is to run again."""

    device: Hostname
    configuration_id: Annotated[int, Meta(ge=1)]


class Broken(PeerError):
    """The session broke in the middle of a change: it is taken back in another one. ``before`` is what the device ran, with its secrets."""

    def __init__(self, before: str, why: str) -> None:
        super().__init__(why)
        self.before = before


class Change:
    """One device that is changed."""

    def __init__(self, tools: Tools, job: JobContext, opened: Opened) -> None:
        self._tools = tools
        self._job = job
        self._opened = opened
        self._reads: Backup = opened.able(Backup)
        self._key = f"device:{opened.device.id}"

    async def snapshot(self, source: Any) -> str:
        """What it runs, which is kept."""
        kept, texts = await snapshot(self._tools, self._job, self._opened, source)
        running: Which = "running"
        await self._job.log(f"{source} the change: version {kept.number}", "info", self._key)
        return texts[running]

    def differs(self, before: str, after: str) -> dict[str, Any]:
        """How one text became the other, without secrets."""
        read = self._reads
        found = difference(configurations.compared(read, before), configurations.compared(read, after), read.masked)
        return {"added": found.added, "removed": found.removed, "diff": found.text}

    async def type(self, order: ChangeOrder, lines: Sequence[str]) -> Done:
        """The whole change. Raises PeerError where nothing was changed, or it is not known."""
        driver: Configure = self._opened.able(Configure)
        before = await self.snapshot("before")
        try:
            typed = await self._opened.run(driver.configure(lines))
        except PeerUnreachable as error:
            raise Broken(before, str(error)) from error
        except PeerError as error:
            return await self.back(before, f"{error}", Outcome.FAILED)
        said = [{"line": line, "outcome": outcome.value, "said": text} for line, outcome, text in typed]
        refused = next((each for each in typed if each[1] not in FINE), None)
        if refused is not None:
            return await self.back(before, f"{refused[0]}: {refused[2]}", refused[1], said)
        wrong = _wrong(await self._opened.run(self._reads.configuration("running")), order, lines)
        if wrong and (order.expected or order.unexpected):
            return await self.back(before, f"afterwards {self._reads.masked(wrong)}", Outcome.FAILED, said)
        if order.save:
            await self._opened.run(driver.save())
        after = await self.snapshot("after")
        outcome = Outcome.UNVERIFIED if wrong else Outcome.OK
        return Done(outcome=outcome, said=self._reads.masked(wrong), result={"lines": said, **self.differs(before, after)})

    async def restore(self, text: str) -> Done:
        """Let it run another text. Raises PeerError where nothing was changed."""
        driver: Restore = self._opened.able(Restore)
        before = await self.snapshot("before")
        if configurations.compared(self._reads, before) == configurations.compared(self._reads, text):
            return Done(outcome=Outcome.ALREADY, said="it runs this already")
        try:
            outcome = await self._opened.run(driver.restore(text))
        except PeerUnreachable as error:
            raise Broken(before, str(error)) from error
        except PeerError as error:
            return await self.back(before, f"{error}", Outcome.FAILED)
        after = await self.snapshot("after")
        left = self.differs(text, after)
        if outcome not in FINE or left["added"] or left["removed"]:
            said = f"what it runs then differs from the version in {left['added'] + left['removed']} lines"
            return Done(outcome=Outcome.UNVERIFIED, said=said, result={**self.differs(before, after), "left": left})
        return Done(outcome=outcome, result=self.differs(before, after))

    async def _runs(self, text: str) -> bool:
        now = await self._opened.run(self._reads.configuration("running"))
        return configurations.compared(self._reads, now) == configurations.compared(self._reads, text)

    async def back(self, before: str, why: str, outcome: Outcome, said: Sequence[dict[str, Any]] = ()) -> Done:
        """Take back what was done, and say whether that went well."""
        await self._job.log(f"{why}; taking the change back", "warning", self._key)
        result: dict[str, Any] = {"lines": list(said), "rolled_back": False}
        driver = self._opened.driver
        try:
            if await self._runs(before):  # a restore may cost a restart
                return Done(outcome=outcome, said=f"{why}; nothing of it stayed", result={**result, "rolled_back": True})
            if not isinstance(driver, Restore | TakeBack):
                return Done(outcome=outcome, said=f"{why}; not taken back: the driver cannot restore", result=result)
            back = await self._opened.run(driver.take_back(before) if isinstance(driver, TakeBack) else driver.restore(before))
            after = await self.snapshot("after")
        except PeerError as error:
            return Done(outcome=outcome, said=f"{why}; not taken back: {error}", result=result)
        left = self.differs(before, after)
        result["rolled_back"] = back in FINE and not left["added"] and not left["removed"]
        how = "taken back" if result["rolled_back"] else "taken back, but not all of it"
        return Done(outcome=outcome, said=f"{why}; {how}", result={**result, "left": left})


async def changed(tools: Tools, devices: Devices, job: JobContext, chosen: choice.Chosen, work: Callable[[Opened], Awaitable[Done]]) -> Done:
    """Change a device; where the session breaks in the middle, take it back in another one. Raises PeerError where nothing was changed."""
    try:
        return await devices.at(job, chosen, work, deadline_seconds=DEADLINE_SECONDS)
    except Broken as error:
        broken = error
    await job.log(f"the session broke in the middle: {broken}; connecting again", "warning", chosen.subject.key)
    try:
        return await devices.at(
            job, chosen, lambda opened: Change(tools, job, opened).back(broken.before, str(broken), Outcome.FAILED), deadline_seconds=DEADLINE_SECONDS
        )  # fmt: skip
    except PeerError as error:
        return Done(outcome=Outcome.FAILED, said=f"{broken}; not taken back: {error}", result={"rolled_back": False})


def _wrong(running: str, order: ChangeOrder, lines: Sequence[str]) -> str:
    """What of the wanted is not so, "" if all is."""
    had = {line.strip() for line in running.splitlines()}
    for line in order.unexpected:
        if line.strip() in had:
            return f"{line.strip()!r} is still there"
    for line in order.expected or [each for each in lines if not each.strip().startswith(("no ", "undo ")) and each.strip() not in _MOVES]:
        if line.strip() not in had:
            return f"{line.strip()!r} is not there"
    return ""


class Changes:
    """The kinds' handlers, and what they reach."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._devices = Devices(tools)

    async def change_reach(self, conn: Connection, actor: Actor, order: ChangeOrder) -> Reach:
        """The sites of the devices. Raises InvalidInput, also for a secret that stands in a line."""
        told_secrets(order.lines, order.secrets, "lines")
        found = await choice.within(conn, actor, order)
        _unmasked(self._tools, {each.platform for each in found}, order.lines)
        return choice.reach_of(actor, found)

    async def restore_reach(self, conn: Connection, actor: Actor, order: RestoreOrder) -> Reach:
        """The site of the device. Raises InvalidInput, also for a version of another device."""
        reach = await choice.reach(conn, actor, choice.DeviceChoice(devices=(order.device,)))
        try:
            found = await configurations.held(conn, actor, order.configuration_id)
        except NotFound as error:
            raise InvalidInput([Fault("/args/configuration_id", str(error))]) from None
        if found.device.lower() != order.device.lower():
            raise InvalidInput([Fault("/args/configuration_id", f"is a version of {found.device}")])
        return reach

    async def change(self, job: JobContext, order: ChangeOrder) -> dict[str, Any]:
        """Type the lines at every device, batch by batch."""
        lines = commands.filled(order.lines, known_secrets(job, order.secrets))
        found = await self._found(job, order)

        async def one(subject: Subject) -> Done:
            return await changed(self._tools, self._devices, job, found[subject.key], lambda opened: Change(self._tools, job, opened).type(order, lines))

        return {"devices": len(found), **await in_batches(job, [each.subject for each in found.values()], one, order)}

    async def preview(self, job: JobContext, order: ChangeOrder) -> dict[str, Any]:
        """Show what the lines would change."""
        found = await self._found(job, order)

        async def one(subject: Subject) -> Done:
            return await self._devices.at(job, found[subject.key], lambda opened: _foreseen(opened, order.lines))

        return {"devices": len(found), **await job.each([each.subject for each in found.values()], one, at_once=order.at_once)}

    async def restore(self, job: JobContext, order: RestoreOrder) -> dict[str, Any]:
        """Let the device run the version."""
        return await self._restored(job, order, only_show=False)

    async def restore_preview(self, job: JobContext, order: RestoreOrder) -> dict[str, Any]:
        """Show what that would change."""
        return await self._restored(job, order, only_show=True)

    async def _found(self, job: JobContext, order: ChangeOrder) -> dict[str, choice.Chosen]:
        return {each.subject.key: each for each in await choice.chosen(self._tools.database, job.actor, order)}

    async def _restored(self, job: JobContext, order: RestoreOrder, *, only_show: bool) -> dict[str, Any]:
        tools = self._tools
        (target,) = await choice.chosen(tools.database, job.actor, choice.DeviceChoice(devices=(order.device,)))
        async with tools.database.transaction(job.actor.scope) as conn:
            version, text = await configurations.read(conn, job.actor, tools.keyring, order.configuration_id)

        async def work(opened: Opened) -> Done:
            if version.platform != opened.platform.platform.name:
                raise PeerError(f"the version is of {version.platform}, the device is {opened.platform.platform.name} now")
            made = Change(tools, job, opened)
            if not only_show:
                return await made.restore(text)
            opened.able(Restore)
            reads: Backup = opened.able(Backup)
            differs = made.differs(await opened.run(reads.configuration("running")), text)
            return Done(said=f"{differs['added']} lines come, {differs['removed']} go", result=differs)

        async def one(subject: Subject) -> Done:
            return await changed(tools, self._devices, job, target, work)

        return {"device": target.hostname, "number": version.number, **await job.each([target.subject], one)}


async def _foreseen(opened: Opened, lines: Sequence[str]) -> Done:
    reads: Backup = opened.able(Backup)
    opened.able(Configure)
    shown = foreseen(reads.masked(await opened.run(reads.configuration("running"))), lines)
    return Done(said=f"{shown.added} lines are new, {shown.removed} go", result={"added": shown.added, "removed": shown.removed, "diff": shown.text})


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""
    does = Changes(tools)
    common: dict[str, Any] = {"permission": "commands:run", "timeout_seconds": 4 * 3600, "max_attempts": 1, "clean_up_seconds": 30.0}
    changes: dict[str, Any] = {**common, "args": ChangeOrder, "reach": does.change_reach, "secrets": ("secrets",)}
    restores: dict[str, Any] = {**common, "args": RestoreOrder, "reach": does.restore_reach}
    risky: dict[str, Any] = {"idempotent": False, "approval": True}
    return (
        Kind(name="config.change", title="Type lines of configuration at devices, and see that they took", run=does.change, **risky, **changes),
        Kind(name="config.change.preview", title="Show what typing lines would change", run=does.preview, idempotent=True, **changes),
        Kind(name="config.restore", title="Let a device run a version of its configuration again", run=does.restore, **risky, **restores),
        Kind(name="config.restore.preview", title="Show what restoring a version would change", run=does.restore_preview, idempotent=True, **restores),
    )  # fmt: skip


def _unmasked(tools: Tools, platforms: Collection[str | None], lines: Sequence[str]) -> None:
    """Refuse a secret that stands in the lines themselves: they are shown with the job. Raises InvalidInput."""
    faults = Faults()
    for platform in tools.sessions.platforms.values() if tools.sessions is not None else ():
        if platform.platform.name not in platforms or not isinstance(platform.driver, Backup):
            continue
        shown = platform.driver.masked("\n".join(lines)).split("\n")
        for place, (line, masked) in enumerate(zip(lines, shown, strict=False)):
            if len(shown) == len(lines) and masked != line and "${" not in line:
                faults.add(f"/args/lines/{place}", "has a secret in it: write ${name} for it, and name=value in secrets")
    faults.check()
