"""One device that is changed: read and keep what it runs, type the lines, see that it is then what was wanted, let it save that.

What does not go to its end is taken back, where the driver can; also what is cancelled, or runs out of time, in the middle.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from netd.domain import choice, configurations
from netd.domain.differences import absent, difference
from netd.domain.kinds import Done, JobContext, Stopped
from netd.errors import NetdError, PeerError, PeerUnreachable, StoreError
from netd.model.configuration import Which
from netd.model.device import Outcome
from netd.sdk.device import Backup, Checkpoint, Configure, Confirms, Restore, TakeBack
from netd.sdk.shell import FINE
from netd.sdk.terminal import Refused
from netd.work.kinds.commands import Line
from netd.work.kinds.configurations import snapshot
from netd.work.kinds.devices import Batches, Devices
from netd.work.kinds.tools import Tools
from netd.work.sessions import Opened

log = logging.getLogger(__name__)

DEADLINE_SECONDS: Final = 1800.0
TAKE_BACK_SECONDS: Final = 240.0
"""For taking back what was stopped in the middle: a router that restarts for it needs most of it. Where the session breaks, as long in another one."""

CLEAN_UP_SECONDS: Final = 2 * TAKE_BACK_SECONDS + 60.0
PAUSES_SECONDS: Final = (15.0, 30.0, 60.0)
"""Before a device that was lost in the middle is tried again."""


_MOVES: Final = frozenset(("exit", "quit", "end", "return", "commit", "exit all"))
"""Lines that go somewhere and leave nothing in a configuration."""

Lines = Annotated[tuple[Line, ...], Meta(min_length=1, max_length=2000)]


class ChangeOrder(Batches, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``lines`` as they are typed in configuration mode; a secret in one is ``${name}``, with ``secrets`` having lines ``name=value``.

    ``expected`` must stand in the configuration afterwards, ``unexpected`` must not, else the change is taken back. Without ``expected`` every line should
    be found there; where it is not (devices write some in another way), the change stays and is *unverified*. Behind the heading of a section a line is
    looked for in that section.
    """

    lines: Lines
    expected: Annotated[tuple[Line, ...], Meta(max_length=2000)] = ()
    unexpected: Annotated[tuple[Line, ...], Meta(max_length=2000)] = ()
    save: bool = True
    secrets: Annotated[str, Meta(max_length=20_000)] = ""


class Broken(PeerError):
    """The session broke in the middle of a change: it is taken back in another one. ``before`` is what the device ran, with its secrets; ``marked`` says that
    the device keeps that itself, ``saved`` that the change may be there after a restart; so long after (``wait_seconds``) the device may have taken the change
    back by itself. ``lines`` is what was typed."""

    def __init__(
        self, before: str, why: str, *, marked: bool, saved: bool, wait_seconds: float, outcome: Outcome, lines: Sequence[dict[str, Any]]
    ) -> None:  # fmt: skip
        super().__init__(why)
        self.before = before
        self.marked = marked
        self.saved = saved
        self.wait_seconds = wait_seconds
        self.outcome = outcome
        self.lines = lines

    def lost(self, why: str) -> Done:
        """What is known of the device, if it is not reached any more."""
        said = f"{self}; not taken back: {why}; what it runs is not known"
        return Done(outcome=self.outcome, said=said, result={"lines": list(self.lines), "rolled_back": False})


class Change:
    """One device that is changed, in one session. ``stopped`` is told what became of it where the work is cancelled in the middle."""

    def __init__(self, tools: Tools, job: JobContext, opened: Opened, stopped: Callable[[Done | Broken], None]) -> None:
        self._tools = tools
        self._job = job
        self._opened = opened
        self._stopped = stopped
        self._reads: Backup = opened.able(Backup)
        self._key = f"device:{opened.device.id}"
        self._marked = False  # the device keeps what it ran
        self._saved = False  # the change may be there after a restart
        self._lines: Sequence[dict[str, Any]] = ()  # what was typed, as far as it is known
        self._unkept = ""  # why it is not kept what the device runs afterwards

    async def snapshot(self, source: Any) -> str:
        """What it runs, which is kept."""
        kept, texts = await snapshot(self._tools, self._job, self._opened, source)
        running: Which = "running"
        await self._job.log(f"{source} the change: version {kept.number}", "info", self._key)
        return texts[running]

    async def after(self) -> str:
        """The same once it was changed: that it cannot be kept is told, and no reason to leave off in the middle."""
        try:
            return await self.snapshot("after")
        except StoreError as error:
            self._unkept = f"what it runs then is not kept: {error}"
            return await self._opened.run(self._reads.configuration("running"))

    def _done(self, outcome: Outcome, said: str, result: Any) -> Done:
        """What became of it, which is not known to be good where it could not be kept."""
        if self._unkept and outcome in FINE:
            outcome = Outcome.UNVERIFIED
        return Done(outcome=outcome, said="; ".join(filter(None, (said, self._unkept))), result=result)

    async def differs(self, before: str, after: str) -> dict[str, Any]:
        """How one text became the other, without secrets. In a thread: a large one takes its time."""
        return await asyncio.to_thread(_differs, self._reads, before, after)

    def of_platform(self, platform: str) -> None:
        """Raises PeerError for a device of another one."""
        if platform != self._opened.platform.platform.name:
            raise PeerError(f"the version is of {platform}, the device is {self._opened.platform.platform.name} now")

    async def preview(self, text: str) -> Done:
        """How what it runs differs from a text that it could be given. Raises PeerError."""
        self._opened.able(Restore)
        differs = await self.differs(await self._opened.run(self._reads.configuration("running")), text)
        return Done(said=f"{differs['added']} lines come, {differs['removed']} go", result=differs)

    async def type(self, order: ChangeOrder, lines: Sequence[str]) -> Done:
        """The whole change. Raises PeerError where nothing was changed, or it is not known."""
        self._opened.able(Configure)
        before = await self.snapshot("before")
        return await self._or_back(before, self._typed(before, order, lines))

    async def restore(self, text: str) -> Done:
        """Let it run another text. Raises PeerError where nothing was changed."""
        self._opened.able(Restore)
        before = await self.snapshot("before")
        if await asyncio.to_thread(_same, self._reads, before, text):
            return Done(outcome=Outcome.ALREADY, said="it runs this already")
        return await self._or_back(before, self._restored(before, text))

    async def resume(self, broken: Broken) -> Done:
        """Take back, in another session, what the broken one left."""
        self._marked, self._saved, self._lines = broken.marked, broken.saved, broken.lines
        return await self.back(broken.before, str(broken), broken.outcome)

    async def _typed(self, before: str, order: ChangeOrder, lines: Sequence[str]) -> Done:
        driver: Configure = self._opened.driver
        if isinstance(driver, Checkpoint):
            self._marked = await self._opened.run(driver.checkpoint())
        try:
            typed = await self._opened.run(driver.configure(lines))
        except Refused as error:
            if error.outcome is not Outcome.BUSY:
                raise
            return Done(outcome=Outcome.BUSY, said=f"{error}; nothing was changed", result={"lines": []})  # what differs since is what somebody else does
        self._lines = said = [{"line": line, "outcome": outcome.value, "said": text} for line, outcome, text in typed]
        refused = next((each for each in typed if each[1] not in FINE), None)
        if refused is not None:
            return await self.back(before, f"{refused[0]}: {refused[2]}", refused[1])
        running = await self._opened.run(self._reads.configuration("running"))
        if wrong := await asyncio.to_thread(self._wrong, running, order.expected, order.unexpected):
            return await self.back(before, f"afterwards {wrong}", Outcome.FAILED)
        wrong = "" if order.expected else await asyncio.to_thread(self._wrong, running, _kept(lines))
        if order.save:
            self._saved = True
            await self._opened.run(driver.save())
        after = await self.after()
        outcome = Outcome.UNVERIFIED if wrong else Outcome.OK
        return self._done(outcome, wrong, {"lines": said, **await self.differs(before, after)})

    def _wrong(self, running: str, expected: Sequence[str], unexpected: Sequence[str] = ()) -> str:
        """What of the wanted is not so, "" if all is; masked before it is quoted, for patterns of secrets look at whole lines."""
        there = {line.strip() for line in running.splitlines()}
        for line in unexpected:
            if line.strip() in there:
                return f"{self._reads.masked(line.strip())!r} is still there"
        missing = absent(running, expected)
        return "" if missing is None else f"{self._reads.masked(missing.strip())!r} is not there"

    async def _restored(self, before: str, text: str) -> Done:
        driver: Restore = self._opened.driver
        self._saved = True  # it saves what it restores, so what takes that back must be saved, too
        outcome = await self._opened.run(driver.restore(text))
        after = await self.after()
        left = await self.differs(text, after)
        if outcome not in FINE or left["added"] or left["removed"]:
            said = f"what it runs then differs from the version in {left['added'] + left['removed']} lines"
            return self._done(Outcome.UNVERIFIED, said, {**await self.differs(before, after), "left": left})
        return self._done(outcome, "", await self.differs(before, after))

    def _broken(self, before: str, why: str, outcome: Outcome = Outcome.FAILED) -> Broken:
        driver = self._opened.driver
        wait = driver.confirm_seconds if isinstance(driver, Confirms) else 0.0
        return Broken(before, why, marked=self._marked, saved=self._saved, wait_seconds=wait, outcome=outcome, lines=self._lines)

    async def back(self, before: str, why: str, outcome: Outcome) -> Done:
        """Take back what was done, and say whether that went well, and what stays if not. Raises Broken."""
        await self._job.log(f"{why}; taking the change back", "warning", self._key)
        result: dict[str, Any] = {"lines": list(self._lines), "rolled_back": False}
        try:
            left = await self.differs(before, await self._opened.run(self._reads.configuration("running")))
            if not left["added"] and not left["removed"]:
                return Done(outcome=outcome, said=f"{why}; nothing of it stayed", result={**result, "rolled_back": True, "left": left})
            result["left"] = left
            if not self._marked and not isinstance(self._opened.driver, Restore | TakeBack):
                return Done(outcome=outcome, said=f"{why}; not taken back: the driver cannot restore, {_stays(left)}", result=result)
            back = await self._back(before)
            result["left"] = left = await self.differs(before, await self.after())
        except PeerUnreachable as error:
            raise self._broken(before, f"{why}; {error}", outcome) from error
        except Exception as error:  # barrier: whatever its driver brings up, what stays on the device has to be told
            if isinstance(error, NetdError) and not isinstance(error, PeerError):
                raise
            stays = _stays(result["left"]) if "left" in result else "what it runs is not known"
            return Done(outcome=outcome, said=f"{why}; not taken back: {self._told(error)}; {stays}", result=result)
        result["rolled_back"] = back in FINE and not left["added"] and not left["removed"]
        how = "taken back" if result["rolled_back"] else "taken back, but not all of it"
        return self._done(outcome, f"{why}; {how}", result)

    def _told(self, error: Exception) -> str:
        if isinstance(error, NetdError):
            return str(error)
        # Without what the error says, in which there may be anything that the device said.
        log.error(
            "a driver failed in the middle of a change\n%s", "".join(traceback.format_tb(error.__traceback__)), extra={"device": self._opened.device.hostname}
        )
        return f"a defect of its driver, see netd's log: {type(error).__name__}"

    async def _back(self, before: str) -> Outcome:
        """To the device's own checkpoint, else to the text."""
        driver = self._opened.driver
        if not self._marked:
            try:
                back = driver.take_back if isinstance(driver, TakeBack) else driver.restore
                restored: Outcome = await self._opened.run(back(before, save=self._saved))  # else what others left unsaved before stays unsaved
            except PeerUnreachable:
                raise
            except PeerError as error:
                if not isinstance(driver, Confirms) or _outcome(error) is Outcome.SYNTAX:
                    raise
                return await self._by_itself(before, error, driver.confirm_seconds)
            return restored
        await self._opened.run(driver.revert())
        if self._saved:
            await self._opened.run(driver.save())
        return Outcome.OK

    async def _by_itself(self, before: str, error: PeerError, seconds: float) -> Outcome:
        """What is not confirmed yet may be why nothing else is taken: wait until the device has taken that back. Raises the error if it has not."""
        await self._job.log(f"{error}; waiting {seconds:g} s for the device to take back what was not confirmed", "warning", self._key)
        await asyncio.sleep(seconds)
        left = await self.differs(before, await self._opened.run(self._reads.configuration("running")))
        if left["added"] or left["removed"]:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return Outcome.OK

    async def _or_back(self, before: str, work: Awaitable[Done]) -> Done:
        """Do the work, and take back what does not go to its end; what is cancelled within bounds, before the cancellation goes on. Raises Broken."""
        try:
            try:
                return await work
            except Broken:
                raise
            except PeerUnreachable as error:
                raise self._broken(before, str(error)) from error
            except PeerError as error:
                return await self.back(before, error.whole, _outcome(error))
            except NetdError:
                raise
            except Exception as error:  # barrier: a driver that stumbles over an answer must not leave half a change
                return await self.back(before, self._told(error), Outcome.FAILED)
        except asyncio.CancelledError:
            self._stopped(await self._stopped_in_the_middle(before))
            raise

    async def _stopped_in_the_middle(self, before: str) -> Done | Broken:
        why = "it was stopped in the middle"
        try:
            async with asyncio.timeout(TAKE_BACK_SECONDS):
                return await self.back(before, why, Outcome.FAILED)
        except Broken as error:
            return error
        except TimeoutError:
            how = f"taking it back was not done within {TAKE_BACK_SECONDS:g} s"
        except asyncio.CancelledError:
            how = "so was taking it back"
        except NetdError as error:
            how = f"taking it back failed: {error}"
        return Done(outcome=Outcome.FAILED, said=f"{why}, and {how}: what it runs is not known", result={"lines": list(self._lines), "rolled_back": False})


class Changing:
    """One device that is changed: in one session, and where that breaks in the middle, what it left is taken back in another one."""

    def __init__(self, tools: Tools, devices: Devices, job: JobContext, chosen: choice.Chosen) -> None:
        self._tools = tools
        self._devices = devices
        self._job = job
        self._chosen = chosen
        self._unsettled: Done | Broken | None = None  # something may have been changed, and it was stopped since

    async def run(self, work: Callable[[Change], Awaitable[Done]]) -> Done:
        """Do the work. Raises PeerError where nothing was changed, Stopped where it was cancelled after something may have been."""
        try:
            return await self._whole(work)
        except asyncio.CancelledError:
            if self._unsettled is None:
                raise
            raise Stopped(await self._settled(self._unsettled)) from None

    async def _whole(self, work: Callable[[Change], Awaitable[Done]]) -> Done:
        try:
            return await self._at(work)
        except Broken as error:
            broken = error
        except PeerError:
            if self._unsettled is None:
                raise
            if isinstance(self._unsettled, Done):  # the device's time was over
                return self._unsettled
            broken = self._unsettled
        return await self._resumed(broken)

    async def _resumed(self, broken: Broken) -> Done:
        """Take back what a session left; the device may need some time to be there again."""
        self._unsettled = broken
        why = ""
        for pause in (broken.wait_seconds, *PAUSES_SECONDS):
            known = ", when the device has taken back what was not confirmed" if pause and pause == broken.wait_seconds else ""
            await self._job.log(f"{why or broken}; connecting again in {pause:g} s{known}", "warning", self._chosen.subject.key)
            await asyncio.sleep(pause)
            try:
                done = await self._at(lambda change: change.resume(broken))
            except (Broken, PeerUnreachable) as error:
                why = str(error)
            except PeerError as error:
                why = str(error)
                break
            else:
                self._unsettled = None
                return done
        return broken.lost(why)

    async def _settled(self, left: Done | Broken) -> Done:
        """What became of a device where the work was cancelled."""
        if isinstance(left, Done):
            return left
        try:
            async with asyncio.timeout(TAKE_BACK_SECONDS):
                return await self._resumed(left)
        except TimeoutError:
            return left.lost(f"that was not done within {TAKE_BACK_SECONDS:g} s")
        except asyncio.CancelledError:
            return left.lost("that was stopped, too")

    async def _at(self, what: Callable[[Change], Awaitable[Done]]) -> Done:
        tools, job = self._tools, self._job
        return await self._devices.at(job, self._chosen, lambda opened: what(Change(tools, job, opened, self._keep)), deadline_seconds=DEADLINE_SECONDS)

    def _keep(self, left: Done | Broken) -> None:
        self._unsettled = left


def _outcome(error: PeerError) -> Outcome:
    """Of a change that failed so: what is taken back is not unverified, whatever the device said before that."""
    if isinstance(error, Refused) and error.outcome not in (*FINE, Outcome.UNVERIFIED):
        return error.outcome
    return Outcome.FAILED


def _stays(left: dict[str, Any]) -> str:
    """What a change that was not taken back leaves behind."""
    return f"{left['added']} lines more and {left['removed']} less than before stay"


def _same(reads: Backup, one: str, other: str) -> bool:
    return configurations.compared(reads, one) == configurations.compared(reads, other)


def _differs(reads: Backup, before: str, after: str) -> dict[str, Any]:
    found = difference(configurations.compared(reads, before), configurations.compared(reads, after), reads.masked)
    return {"added": found.added, "removed": found.removed, "diff": found.text}


def _kept(lines: Sequence[str]) -> list[str]:
    """Those lines that should be found in the configuration afterwards: no comments, and nothing that goes."""
    return [line for line in lines if line.strip() not in _MOVES and not line.strip().startswith(("no ", "undo ", "!", "#"))]
