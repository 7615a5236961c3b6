"""Rendering Jinja2 templates that people wrote: in a process of its own, which has little memory and time and can be ended.

Jinja's sandbox keeps a template from reaching Python; nothing in one process keeps it from looping for ever, so a template never runs in the daemon's. Few
such processes run at a time, and they yield to all else: devices that boot have some that nobody else can take, and those who only look have one at the most.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from netd.errors import Conflict, StoreError, TooOften

MEMORY_OCTETS: Final = 512 << 20
TEXT_CPU_SECONDS: Final = 5.0
"""Of one text, after which the process itself gives it up and goes on with the next one."""

KILLED_CPU_SECONDS: Final = 7.0
"""Of one text, after which the kernel ends the process: one long operation in C (a sum of big numbers) hears nothing of a signal before its end."""

CPU_SECONDS: Final = 600
"""Of a whole process."""

TEXT_MOST: Final = 4 << 20
"""Characters of one rendered text."""

ERROR_MOST: Final = 1000
"""Characters of what is said of one that does not render: templates may name what does not exist as they like."""

ORDER_MOST: Final = 64 << 20
LINE_MOST: Final = 32 << 20
"""Octets of a text's line from the process: JSON may write a character with six."""

GIVEN_UP: Final = 3
TOO_MUCH: Final = "the template uses too much time or memory"
WAITS_SECONDS: Final = 30.0
"""So long somebody who only looks, and a device that boots, waits for a turn."""

AGAIN_SECONDS: Final = 10
"""After so long a device that waited in vain may ask again."""

_COMMAND: Final = (
    sys.executable, "-I", "-c", "import os, sys; os.nice({nice}); sys.path[:0] = {path!r}; from netd.domain.rendering import main; main({cpu})",
)  # fmt: skip

Purpose = Literal["boot", "work", "look"]
"""For whom: a device that waits for its file, a job, a person who looks."""


class Patience(NamedTuple):
    """For one text, until it is there, and for all texts that are wanted together, from the first turn on; ``nice`` is the processes' priority.

    It is so long for busy machines, on which a process begins late: what a text may cost is counted in processor time.
    """

    text_seconds: float
    all_seconds: float
    nice: int


PATIENCE: Final[Mapping[Purpose, Patience]] = {"boot": Patience(30.0, 30.0, 5), "work": Patience(30.0, 600.0, 19), "look": Patience(25.0, 60.0, 19)}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One text that is wanted: of the template of that name, with these variables. It can name none of the ``hidden`` templates."""

    template: str
    variables: dict[str, Any]
    hidden: tuple[str, ...] = ()


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """The text, or why there is none: with the template and line at fault. ``late``: it was not done in time, which may be the machine's fault alone.
    ``spent``: it used up all its processor time."""

    text: str | None = None
    error: str | None = None
    late: bool = False
    spent: bool = False


_TOO_MUCH: Final = Rendered(error=TOO_MUCH)


class _Order(msgspec.Struct, frozen=True):
    sources: dict[str, str]
    wanted: list[Wanted]


class Renderer:
    """Renders for the whole daemon."""

    def __init__(self) -> None:
        self._boot = asyncio.Semaphore(2)
        self._others = asyncio.Semaphore(2)
        self._looks = asyncio.Semaphore(1)

    async def render(self, purpose: Purpose, sources: Mapping[str, str], wanted: Sequence[Wanted]) -> list[Rendered]:
        """Render each of ``wanted``; ``sources`` are all templates by name, which may include, import and extend each other.

        What takes too much time or memory has an error; so have, after ``GIVEN_UP`` of them, all others of that template. Raises StoreError if no process can
        be started, Conflict if somebody who looks must wait too long, TooOften if a device must.
        """
        found: dict[int, Rendered] = {}
        lost: defaultdict[str, list[Rendered]] = defaultdict(list)
        left = list(range(len(wanted)))
        until = None
        while left:
            async with self._turn(purpose):
                until = until or asyncio.get_running_loop().time() + PATIENCE[purpose].all_seconds
                made, lost_for = await _process(sources, [wanted[place] for place in left], PATIENCE[purpose], until)
            for place, each in zip(left, [*made, lost_for], strict=False):
                found[place] = each
                if each.spent or each is lost_for:
                    lost[wanted[place].template].append(each)
            left = [place for place in left if place not in found]
            found.update({place: lost[wanted[place].template][-1] for place in left if len(lost[wanted[place].template]) >= GIVEN_UP})
            left = [place for place in left if place not in found]
        return [found[place] for place in range(len(wanted))]

    @contextlib.asynccontextmanager
    async def _turn(self, purpose: Purpose) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if purpose == "boot":
                try:
                    async with asyncio.timeout(WAITS_SECONDS):
                        await stack.enter_async_context(self._boot)
                except TimeoutError:
                    raise TooOften("too many devices want their files rendered at a time", AGAIN_SECONDS) from None
            elif purpose == "work":
                await stack.enter_async_context(self._others)
            else:
                try:
                    async with asyncio.timeout(WAITS_SECONDS):
                        await stack.enter_async_context(self._looks)
                        await stack.enter_async_context(self._others)
                except TimeoutError:
                    raise Conflict("others have templates rendered, which takes its time: try again") from None
            yield


async def _process(sources: Mapping[str, str], wanted: Sequence[Wanted], patience: Patience, until: float) -> tuple[list[Rendered], Rendered]:
    """Render in one process; returns what it made, and for the next text why it made no more. Raises StoreError."""
    order = msgspec.json.encode(_Order(dict(sources), list(wanted)))
    if len(order) > ORDER_MOST:
        return [Rendered(error=f"templates and variables are longer than {ORDER_MOST >> 20} MiB together")] * len(wanted), _TOO_MUCH
    cpu = f"{TEXT_CPU_SECONDS}, {KILLED_CPU_SECONDS}"
    command = _COMMAND[-1].format(path=[each for each in sys.path if each], nice=patience.nice, cpu=cpu)
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND[:-1], command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=LINE_MOST,
            env={"PATH": os.environ.get("PATH", "")},
        )  # fmt: skip
    except OSError as error:
        raise StoreError(f"templates cannot be rendered: {error}") from error
    assert process.stdin is not None and process.stdout is not None  # they are pipes
    found: list[Rendered] = []
    try:
        process.stdin.write(order)
        process.stdin.write_eof()
        while len(found) < len(wanted):
            async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + patience.text_seconds)):
                line = await process.stdout.readline()
            if not line:
                break
            found.append(msgspec.json.decode(line, type=Rendered))
    except TimeoutError:
        return found, Rendered(error=_late(patience, until), late=True)
    except (ValueError, msgspec.DecodeError):  # a line too long for the reader, or one that the process could not end
        return found, _TOO_MUCH
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                process.kill()
        await process.wait()
    if process.returncode == -signal.SIGVTALRM and len(found) < len(wanted):
        return found, _spent(wanted[len(found)].template, TEXT_CPU_SECONDS)
    return found, _TOO_MUCH


def _late(patience: Patience, until: float) -> str:
    if asyncio.get_running_loop().time() >= until:
        return f"all that was to be rendered with it was not done in {patience.all_seconds:g} s"
    return f"the template was not done in {patience.text_seconds:g} s"


def _spent(template: str, cpu_seconds: float) -> Rendered:
    return Rendered(error=f"{template}: uses more than {cpu_seconds:g} s of processor time", spent=True)


class _TooLong(BaseException):
    """Raised in the midst of a template."""


def main(cpu_seconds: float, killed_cpu_seconds: float) -> None:
    """The process: reads an order, writes a line for each text. Both are for a text: after the first it is given up, after the second the process ends."""
    import jinja2.sandbox  # noqa: F401 - at no text's cost

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGPROF, _give_up)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # which ends the process at once, and leaves no core
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    spent: Counter[str] = Counter()
    for wanted in order.wanted:
        given_up = spent[wanted.template] >= GIVEN_UP
        signal.setitimer(signal.ITIMER_VIRTUAL, killed_cpu_seconds)
        made = _spent(wanted.template, cpu_seconds) if given_up else _limited(order.sources, wanted, cpu_seconds)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        spent[wanted.template] += made.spent
        sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
        sys.stdout.buffer.flush()


def _give_up(number: int, frame: object) -> None:
    raise _TooLong


def _limited(sources: Mapping[str, str], wanted: Wanted, cpu_seconds: float) -> Rendered:
    try:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds, 0.5)
        try:
            made = rendered({name: body for name, body in sources.items() if name not in wanted.hidden}, wanted)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except _TooLong:
        return _spent(wanted.template, cpu_seconds)
    return made if made.error is None or len(made.error) <= ERROR_MOST else Rendered(error=f"{made.error[:ERROR_MOST]}…")


def rendered(sources: Mapping[str, str], wanted: Wanted) -> Rendered:
    """Render one text, here: only for a process that may be lost."""
    from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateSyntaxError
    from jinja2.exceptions import SecurityError, TemplateNotFound
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=DictLoader(sources), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )  # fmt: skip
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    try:
        text = environment.get_template(wanted.template).render(wanted.variables)
    except TemplateSyntaxError as error:
        return Rendered(error=f"{error.name or wanted.template}, line {error.lineno}: {error.message}")
    except SecurityError as error:
        return Rendered(error=f"{wanted.template}: not allowed: {error}")
    except TemplateNotFound as error:
        return Rendered(error=f"{wanted.template}{_line(error, sources)}: there is no template {error.message}, or not for this device")
    except TemplateError as error:
        return Rendered(error=f"{wanted.template}{_line(error, sources)}: {error.message or type(error).__name__}")
    except MemoryError:
        return Rendered(error=f"{wanted.template}: uses too much memory")
    except Exception as error:  # barrier: filters and operators raise whatever Python has
        return Rendered(error=f"{wanted.template}{_line(error, sources)}: {type(error).__name__}: {error}")
    if len(text) > TEXT_MOST:
        return Rendered(error=f"{wanted.template}: renders more than {TEXT_MOST >> 20} MiB")
    return Rendered(text=text)


def _line(error: BaseException, sources: Mapping[str, str]) -> str:
    """Where in a template it was: Jinja puts templates' own lines into the traceback."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in {"<template>", *sources}:
            found = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return found
