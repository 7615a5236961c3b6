"""Rendering Jinja2 templates that people wrote: in a process of its own, which has little memory and time and can be ended.

Jinja's sandbox keeps a template from reaching Python; nothing in one process keeps it from looping for ever, so a template never runs in the daemon's.
"""

import asyncio
import contextlib
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from netd.errors import StoreError

MEMORY_OCTETS: Final = 512 << 20
CPU_SECONDS: Final = 20
SECONDS: Final = 30.0
TEXT_MOST: Final = 4 << 20
"""Characters of one rendered text."""

ORDER_MOST: Final = 64 << 20
LINE_MOST: Final = 32 << 20
"""Octets of a text's line from the process: JSON may write a character with six."""

_COMMAND: Final = (sys.executable, "-I", "-c", "import sys; sys.path[:0] = {path!r}; from netd.domain.rendering import main; main()")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One text that is wanted: of the template of that name, with these variables."""

    template: str
    variables: dict[str, Any]


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """The text, or why there is none: with the template and line at fault."""

    text: str | None = None
    error: str | None = None


class _Order(msgspec.Struct, frozen=True):
    sources: dict[str, str]
    wanted: list[Wanted]


async def render(sources: Mapping[str, str], wanted: Sequence[Wanted]) -> list[Rendered]:
    """Render each of ``wanted``; ``sources`` are all templates by name, which may include, import and extend each other.

    What takes too much time or memory has an error, as has what stands behind it. Raises StoreError if no process can be started.
    """
    if not wanted:
        return []
    order = msgspec.json.encode(_Order(dict(sources), list(wanted)))
    if len(order) > ORDER_MOST:
        return [Rendered(error=f"templates and variables are longer than {ORDER_MOST >> 20} MiB together")] * len(wanted)
    command = [*_COMMAND[:-1], _COMMAND[-1].format(path=[each for each in sys.path if each])]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=LINE_MOST,
            env={"PATH": os.environ.get("PATH", "")},
        )  # fmt: skip
    except OSError as error:
        raise StoreError(f"templates cannot be rendered: {error}") from error
    assert process.stdin is not None and process.stdout is not None  # they are pipes
    found: list[Rendered] = []
    why = "the template uses too much time or memory"
    try:
        async with asyncio.timeout(SECONDS):
            process.stdin.write(order)
            process.stdin.write_eof()
            while line := await process.stdout.readline():
                found.append(msgspec.json.decode(line, type=Rendered))
    except TimeoutError:
        why = f"the template was not done in {SECONDS:g} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                process.kill()
        await process.wait()
    return [*found, *[Rendered(error=why)] * (len(wanted) - len(found))]


def main() -> None:
    """The process: reads an order, writes a line for each text."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    for wanted in order.wanted:
        sys.stdout.buffer.write(msgspec.json.encode(rendered(order.sources, wanted)) + b"\n")
        sys.stdout.buffer.flush()


def rendered(sources: Mapping[str, str], wanted: Wanted) -> Rendered:
    """Render one text, here: only for processes that may be lost."""
    from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateSyntaxError
    from jinja2.exceptions import SecurityError
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
