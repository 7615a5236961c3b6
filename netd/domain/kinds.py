"""What a kind of job is: a declaration that says what it is given, who may start it, how it is done, and what holds for it meanwhile.

Handlers stand in ``netd/work/kinds``, the device's and the network's in modules of their own there. One is written as::

    class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        site: Label

    async def run(job: JobContext, arguments: Arguments) -> Summary: ...

    Kind(name="site.survey", title="…", args=Arguments, run=run, permission="sites:read", idempotent=True, timeout_seconds=600)
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import IO, Any, Final, NamedTuple, Protocol

import msgspec

from netd.domain.actor import Actor
from netd.errors import Fault, InvalidInput, OutsideScope
from netd.model.device import Outcome
from netd.model.job import Job, Level, TargetState
from netd.model.permission import PERMISSIONS
from netd.sdk.shell import FINE
from netd.store.database import Connection

FILE_OCTETS: Final = 64 << 20
"""What a file that a job keeps may have."""


class NoArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a kind that needs to be told nothing."""


class Subject(NamedTuple):
    """One of the things that a job is about: ``key`` is also what it is locked by (``device:17``), ``name`` is for people."""

    key: str
    name: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one subject. ``said`` is its own text, ``result`` is made of JSON's own types."""

    outcome: Outcome = Outcome.OK
    said: str = ""
    result: Any = None

    @property
    def state(self) -> TargetState:
        """The state that it is in for good."""
        if self.outcome in FINE:
            return "succeeded"
        return "unverified" if self.outcome is Outcome.UNVERIFIED else "failed"


class Stopped(asyncio.CancelledError):
    """Work on a subject that was cancelled, and knows what became of the subject: it is kept, and the cancellation goes on."""

    def __init__(self, done: Done) -> None:
        super().__init__(done.said)
        self.done = done


class JobContext(Protocol):
    """What a handler has of its job. Secrets that are known (the kind's own and those of ``hide``) are taken out of everything that is said here.

    A handler that is cancelled, by a person, its timeout, or because netd stops, gets CancelledError at its next await and has the kind's
    ``clean_up_seconds`` to leave things in order.
    """

    @property
    def job(self) -> Job:
        """The job as it was when this attempt began: ``attempt`` is 1 for the first."""
        ...

    @property
    def actor(self) -> Actor:
        """Who wanted it, confined to where the job may reach."""
        ...

    @property
    def devices(self) -> Sequence[int] | None:
        """Ids of the devices that it was made for, if that is settled: names and groups in its arguments may mean others by now. See ``choice.chosen``."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop, for work between two awaits."""
        ...

    def hide(self, *secrets: str) -> None:
        """Never let these out, in whatever form."""
        ...

    async def log(self, text: str, level: Level = "info", target: str | None = None) -> None:
        """Add a line to the log; returns once it is in the database."""
        ...

    def progress(self, share: float | None, text: str = "") -> None:
        """How far it is, from 0 to 1; None: nobody knows. Written a few times a second."""
        ...

    async def keep_file(self, name: str, media_type: str, permission: str, file: IO[bytes]) -> int:
        """Keep ``file`` as what the job made, for who may see the job and has ``permission`` where it reaches; returns how many octets it has, FILE_OCTETS
        at the most. An attempt that keeps another takes the place of those before."""
        ...

    async def expect(self, subjects: Sequence[Subject]) -> None:
        """Say at once with which subjects :meth:`each` will be called, some at a time: they are listed, and it is told how far the job is with all of them."""
        ...

    def alone(self, subject: Subject) -> AbstractAsyncContextManager[None]:
        """Have a subject that is no target for this job alone meanwhile: other jobs at it are waited for, and wait."""
        ...

    async def each(
        self, subjects: Sequence[Subject], work: Callable[[Subject], Awaitable[Done]], *, at_once: int = 10, most_failed: float = 1.0, locked: bool = True,
    ) -> Mapping[str, int]:  # fmt: skip
        """Do ``work`` for every subject, ``at_once`` at a time, and keep what became of each; returns how many there are by state.

        A subject that another job has locked is waited for (not with ``locked`` False; a job with lock keys of its own should lock nothing more here, else two
        may wait for each other until their time is over). One whose work raises a NetdError has failed, with the error's text
        and what the peer said; one whose work was cancelled and raises Stopped is as that says. Once more than ``most_failed`` of all (a share) have failed
        the rest is skipped. Of an attempt after the first, those that succeeded are not done again. A job of which a subject did not succeed has failed,
        whatever its handler returns.
        """
        ...


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is about, as found out when it is submitted. ``sites`` None: the whole tenant. ``devices`` are names by id, of kinds that take a choice of
    them (members ``devices``, ``group`` and ``selector``): what is approved is done with these."""

    sites: frozenset[int] | None = None
    devices: Mapping[int, str] | None = None
    lock_keys: tuple[str, ...] = ()
    unique_key: str | None = None


async def whole_tenant(conn: Connection, actor: Actor, arguments: Any) -> Reach:
    """The reach of kinds that concern the tenant as a whole. Raises OutsideScope."""
    if actor.sites is not None:
        raise OutsideScope("this is about the whole tenant, and you may do it in a part of it")
    return Reach()


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of job.

    ``idempotent``: it may be begun again when it is not known how far it came (a worker was lost, netd stops); else such a job has failed.
    ``at_once`` is how many of the kind one node works on at the same time. ``approval``: who has not the permission ``jobs:direct`` needs a second
    person's. ``reach`` looks at the arguments, in the caller's scope, and says what the job is about: it raises InvalidInput for what there is not, with
    pointers into the arguments; without it a job is about all that the caller's permission reaches. ``secrets`` are members of the arguments, texts, that
    are kept sealed and shown to nobody.
    """

    name: str
    title: str
    args: type[msgspec.Struct]
    run: Callable[[JobContext, Any], Awaitable[Any]]
    permission: str
    idempotent: bool
    timeout_seconds: float
    at_once: int = 10
    max_attempts: int = 3
    approval: bool = False
    clean_up_seconds: float = 10.0
    reach: Callable[[Connection, Actor, Any], Awaitable[Reach]] | None = None
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.permission not in PERMISSIONS:
            raise ValueError(f"{self.name}: there is no permission {self.permission}")
        members = {field.name: field for field in msgspec.structs.fields(self.args)}
        if not self.args.__struct_config__.forbid_unknown_fields or not set(self.secrets) <= members.keys():
            raise ValueError(f"{self.name}: its arguments must forbid unknown fields, and have the secret ones")


class Kinds:
    """The kinds that there are, by name."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[str, Kind] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"there is a kind {kind.name} already")
            self._kinds[kind.name] = kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def find(self, name: str) -> Kind | None:
        """The kind of that name."""
        return self._kinds.get(name)

    def get(self, name: str) -> Kind:
        """The same; raises InvalidInput if there is none."""
        found = self._kinds.get(name)
        if found is None:
            raise InvalidInput([Fault("/kind", f"there is no kind {name[:64]}; there are {', '.join(sorted(self._kinds)) or 'none'}")])
        return found
