"""Bringing plans, NAS and subscribers to a wanted state in one step: all or nothing in one transaction, or on request all that is good.

The input is JSON objects, one a line, each with one member: ``plan``, ``nas`` or ``subscriber``. What does not exist is made; what exists gets the members that
are given and keeps the others, so the same file again changes nothing. Nothing is ever removed: what the file does not name stays as it is.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Collection, Iterator
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from netd.domain import audit, conversion, sites, wanted
from netd.domain import nas as nas_domain
from netd.domain import plans as plan_domain
from netd.domain import subscribers as subscriber_domain
from netd.domain.actor import Actor
from netd.domain.imports import Slices, look_anew, received
from netd.domain.inputs import Faults, Label, given
from netd.domain.nas import SECRET_CONTEXT, NasPatch, NewNas, Prefix
from netd.domain.plans import NewPlan, PlanPatch
from netd.domain.ports import AttributeRules
from netd.domain.rowwise import same
from netd.domain.subscribers import PlanReference, SubscriberPatch, Username
from netd.errors import InvalidInput, StoreError
from netd.keyring import Keyring
from netd.model.subscriber import State, username_key
from netd.store import nas as nas_store
from netd.store import plans as plan_store
from netd.store import provision as store
from netd.store import subscribers as subscriber_store
from netd.store.database import Connection, Database
from netd.store.subscribers import Stored

MAX_ERRORS = 1000
BATCH_ROWS = 500
LINE_OCTETS = 256 * 1024

Outcome = Literal["created", "updated", "unchanged"]


class PlanLine(PlanPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan, known by its name in any case of letters."""

    name: Label


class NasLine(NasPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A NAS, known by its address."""

    name: Label
    address: Prefix


NOT_TAKEN = ("site", "lines", "mac_addresses", "circuit_ids")
"""Members of a subscriber that are not set by the thousand."""


class SubscriberLine(SubscriberPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscriber, known by the user name. ``checks`` and ``replies`` replace the whole list."""

    username: Username
    plan: PlanReference
    state: State | UnsetType = UNSET


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line: exactly one member is given."""

    plan: PlanLine | UnsetType = UNSET
    nas: NasLine | UnsetType = UNSET
    subscriber: SubscriberLine | UnsetType = UNSET


class LineError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a line; ``pointer`` is a JSON pointer within it."""

    line: int
    pointer: str
    detail: str


class Tally(msgspec.Struct, kw_only=True):
    """How many of a kind."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0


class ProvisionReport(msgspec.Struct, frozen=True, kw_only=True):
    """How it went. The tallies say what was done, or would be: ``stored`` is false in a dry run, and if a bad line kept all out.
    ``errors`` are the first thousand of ``error_count``."""

    lines: int
    bad: int
    plans: Tally
    nas: Tally
    subscribers: Tally
    errors: tuple[LineError, ...]
    error_count: int
    dry_run: bool
    stored: bool


_DECODER = msgspec.json.Decoder(Line)


async def bring_in(
    db: Database, actor: Actor, keyring: Keyring, rules: AttributeRules, vendors: Collection[str], source: bytes | AsyncIterable[bytes], *,
    dry_run: bool = False, skip_bad: bool = False,
) -> ProvisionReport:  # fmt: skip
    """Bring in a file. A bad line keeps all others out too, unless ``skip_bad``. A dry run finds the same faults and stores nothing.

    Raises InvalidInput for a file that is too large; Conflict if somebody made one of the objects at the same time, then nothing was stored.
    """
    data = await received(source)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    run = _Run(actor, keyring, rules, vendors)
    try:
        async with db.transaction(actor.scope) as conn:
            await store.begin(conn)
            with audit.held(conn) as recorded:
                await run.read(conn, data)
            stored = not dry_run and (skip_bad or not run.error_count)
            if not stored:
                raise _RolledBack
            await store.store(conn, actor.tenant_id)
            await audit.add(conn, actor.tenant_id, recorded)
            told = {"lines": run.lines, "bad": len(run.bad), "sha256": digest, **{kind: msgspec.to_builtins(run.tallies[kind]) for kind in run.tallies}}
            await audit.record(conn, actor, "import.store", "import", digest[:16], after=told)
    except _RolledBack:
        stored = False
    else:
        await look_anew(db, actor, run.tallies["subscribers"].created + run.tallies["subscribers"].updated)
    return ProvisionReport(
        lines=run.lines, bad=len(run.bad), plans=run.tallies["plans"], nas=run.tallies["nas"], subscribers=run.tallies["subscribers"],
        errors=tuple(sorted(run.errors, key=lambda error: error.line)), error_count=run.error_count, dry_run=dry_run, stored=stored,
    )  # fmt: skip


class _RolledBack(Exception):
    """Nothing is to be kept."""


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = number = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        number += 1
        if data[start:end].strip():
            yield number, data[start:end]
        start = end + 1


class _Run:
    """One reading of a file."""

    def __init__(self, actor: Actor, keyring: Keyring, rules: AttributeRules, vendors: Collection[str]) -> None:
        self.actor = actor
        self.lines = 0
        self.bad: set[int] = set()
        self.errors: list[LineError] = []
        self.error_count = 0
        self.tallies = {"plans": Tally(), "nas": Tally(), "subscribers": Tally()}
        self._keyring = keyring
        self._rules = rules
        self._vendors = vendors
        self._plans: dict[str, tuple[int, str]] = {}  # by lower-case name
        self._plan_ids: dict[int, str] = {}
        self._seen: dict[str | tuple[str, str], int] = {}  # what earlier lines had, and where
        self._tried = wanted.Tried(rules)

    def _fault(self, line: int, pointer: str, detail: str) -> None:
        self.bad.add(line)
        self.error_count += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(LineError(line=line, pointer=pointer, detail=detail))

    def _faults(self, line: int, kind: str, faults: Faults) -> bool:
        for fault in faults.found:
            self._fault(line, f"/{kind}{fault.where}", fault.what)
        return bool(faults.found)

    def _count(self, kind: str, outcome: str, by: int = 1) -> None:
        tally = self.tallies[kind]
        setattr(tally, outcome, getattr(tally, outcome) + by)

    def _first(self, line: int, pointer: str, key: str | tuple[str, str]) -> bool:
        """Whether no earlier line has the same key."""
        first = self._seen.setdefault(key, line)
        if first != line:
            self._fault(line, pointer, f"stands on line {first} already")
        return first == line

    async def read(self, conn: Connection, data: bytes) -> None:
        """Store plans and NAS, and copy subscribers into the temporary table."""
        slices = Slices()
        for plan in await plan_store.every(conn, self.actor.tenant_id):
            self._plans[plan.name.lower()] = (plan.id, plan.name)
            self._plan_ids[plan.id] = plan.name
        batch: list[tuple[int, SubscriberLine]] = []
        for number, text in _lines(data):
            await slices.breathe()
            self.lines += 1
            line = self._decoded(number, text)
            if line is None:
                continue
            if line.plan is not UNSET:
                await self._plan(conn, number, line.plan)
            elif line.nas is not UNSET:
                await self._nas(conn, number, line.nas)
            elif line.subscriber is not UNSET:
                batch.append((number, line.subscriber))
            if len(batch) == BATCH_ROWS:
                await self._subscribers(conn, batch, slices)
                batch = []
        await self._subscribers(conn, batch, slices)
        clashes, removed = await store.take_out_clashes(conn, self.actor.tenant_id)
        for clash in clashes:
            self._fault(clash.line, f"/subscriber/{clash.column}", f"belongs to {clash.owner} ({clash.owner_state})")
        for outcome, count in removed.items():
            self._count("subscribers", outcome, -count)

    def _decoded(self, number: int, text: bytes) -> Line | None:
        if len(text) > LINE_OCTETS:
            self._fault(number, "", f"is longer than {LINE_OCTETS} octets")
            return None
        try:
            line = conversion.bounded(_DECODER.decode(text))
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$.")
            self._fault(number, "/" + where.rstrip("`").replace(".", "/") if where else "", what)
            return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fault(number, "", "is not JSON")
            return None
        if sum(member is not UNSET for member in (line.plan, line.nas, line.subscriber)) != 1:
            self._fault(number, "", "exactly one of plan, nas and subscriber is needed")
            return None
        return line

    async def _plan(self, conn: Connection, number: int, line: PlanLine) -> None:
        faults = Faults()
        tenant_id = self.actor.tenant_id
        before = await plan_store.by_name(conn, tenant_id, line.name)
        members = given(line)
        if before is None:
            try:
                members = msgspec.structs.asdict(msgspec.convert(msgspec.to_builtins(members), NewPlan))
            except msgspec.ValidationError as error:
                self._fault(number, "/plan", str(error).partition(" - at ")[0])
                return
        else:
            members["name"] = before.name
        columns = plan_domain.parsed(faults, members, self._rules)
        whole = {**(msgspec.structs.asdict(before) if before else {}), **columns}
        plan_domain.check_whole(faults, whole)
        if self._faults(number, "plan", faults) or not self._first(number, "/plan/name", ("plan", line.name.lower())):
            return
        if before is None:
            after = await plan_store.insert(conn, tenant_id, columns)
            await audit.record(conn, self.actor, "plan.create", "plan", after.id, after=audit.values(after))
            self._count("plans", "created")
        elif same(before, columns):
            after = before
            self._count("plans", "unchanged")
        else:
            found = await plan_store.update(conn, tenant_id, before.id, columns)
            if found is None:
                raise StoreError(f"plan {before.name} is gone")
            after = found
            old, new = audit.changes(before, after)
            await audit.record(conn, self.actor, "plan.update", "plan", after.id, before=old, after=new)
            self._count("plans", "updated")
        self._plans[after.name.lower()] = (after.id, after.name)
        self._plan_ids[after.id] = after.name

    async def _nas(self, conn: Connection, number: int, line: NasLine) -> None:
        members = given(line)
        tenant_id = self.actor.tenant_id
        try:
            columns = nas_domain.parsed(members, self._keyring, self._vendors)
            before = await nas_store.by_address(conn, tenant_id, columns["address"])
            if before is None:
                whole = msgspec.convert(msgspec.to_builtins(members), NewNas)
                columns = nas_domain.parsed(msgspec.structs.asdict(whole), self._keyring, self._vendors)
        except InvalidInput as error:
            for fault in error.faults:
                self._fault(number, f"/nas{fault.where}", fault.what)
            return
        except msgspec.ValidationError as error:
            self._fault(number, "/nas", str(error).partition(" - at ")[0])
            return
        if before is None and await nas_store.is_taken(conn, columns["address"]):
            self._fault(number, "/nas/address", "belongs to another tenant")
            return
        named = await nas_store.by_name(conn, tenant_id, line.name)
        if named is not None and (before is None or named.id != before.id):
            self._fault(number, "/nas/name", f"is that of the NAS at {named.address}")
            return
        if not self._first(number, "/nas/address", ("nas", str(columns["address"]))):
            return
        if before is None:
            faults = Faults()
            await sites.place(conn, self.actor, faults, columns, new=True)
            if self._faults(number, "nas", faults):
                return
            after = await nas_store.insert(conn, tenant_id, columns)
            await audit.record(conn, self.actor, "nas.create", "nas", after.id, after={**audit.values(after), "secret": audit.MASK})
            self._count("nas", "created")
            return
        if "secret" in members and self._keyring.open(await nas_store.sealed_secret(conn, tenant_id, before.id), SECRET_CONTEXT) == members["secret"].encode():
            del columns["secret"]
        if "secret" not in columns and same(before, columns):
            self._count("nas", "unchanged")
            return
        changed = await nas_store.update(conn, tenant_id, before.id, columns)
        if changed is None:
            raise StoreError(f"NAS {before.name} is gone")
        old, new = audit.changes(before, changed)
        if "secret" in columns:
            old["secret"] = new["secret"] = audit.MASK
        await audit.record(conn, self.actor, "nas.update", "nas", before.id, before=old, after=new)
        self._count("nas", "updated")

    async def _subscribers(self, conn: Connection, batch: list[tuple[int, SubscriberLine]], slices: Slices) -> None:
        if not batch:
            return
        known = await subscriber_store.by_keys(conn, self.actor.tenant_id, [username_key(line.username) for _, line in batch])
        rows = []
        for number, line in batch:
            await slices.breathe()
            row = self._subscriber(number, line, known.get(username_key(line.username)))
            if row is not None:
                rows.append(row)
        if rows:
            await store.add(conn, rows)

    def _subscriber(self, number: int, line: SubscriberLine, before: Stored | None) -> tuple[Any, ...] | None:
        """The row for the temporary table; None if it is bad, or already as wanted."""
        faults = Faults()
        members = given(line)
        for name in NOT_TAKEN:
            if members.pop(name, None) is not None:
                faults.add(f"/{name}", "is not taken here: change the subscriber afterwards")
        columns = subscriber_domain.parsed(faults, members)
        if before is None and self.actor.sites is not None:
            sites.settle(self.actor, faults, columns)
        lists = {
            "checks": self._attributes(faults, "checks", members), "replies": self._attributes(faults, "replies", members),
        }  # fmt: skip
        plan = self._plan_of(line.plan)
        if plan is None:
            faults.add("/plan", f"there is no plan {line.plan}")
        key = username_key(line.username)
        if before is not None and before.subscriber.state == "terminated" and columns.get("state", "terminated") != "terminated":
            faults.add("/username", "is that of a terminated subscriber; reactivate or delete it first")
        if self._faults(number, "subscriber", faults) or plan is None or not self._unique(number, key, columns):
            return None
        columns["plan_id"] = plan
        row = wanted.row(self._keyring, number, key, before, columns, lists)
        self._count("subscribers", "unchanged" if row is None else "created" if before is None else "updated")
        return row

    def _unique(self, number: int, key: str, columns: dict[str, Any]) -> bool:
        good = self._first(number, "/subscriber/username", key)
        if columns.get("state") != "terminated":
            for name in ("ipv4", "delegated_ipv6_prefix"):
                if columns.get(name) is not None:
                    good = self._first(number, f"/subscriber/{name}", (name, str(columns[name]))) and good
        return good

    def _plan_of(self, reference: str | int) -> int | None:
        if isinstance(reference, int):
            return reference if reference in self._plan_ids else None
        found = self._plans.get(reference.lower())
        return None if found is None else found[0]

    def _attributes(self, faults: Faults, where: str, members: dict[str, Any]) -> list[list[str]] | None:
        """Rows as the temporary table takes them; None: not given."""
        return self._tried.rows(faults, where, members[where]) if where in members else None
