"""The table of subscribers. There may be hundreds of thousands of rows, so they are kept as a set (``store.provision``), not one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from netd.domain import cells, inputs, lines, sites, subscribers, wanted
from netd.domain.actor import Actor
from netd.domain.imports import Slices, faults_of
from netd.domain.inputs import Faults
from netd.domain.subscribers import PASSWORD_CONTEXT, NewSubscriber
from netd.domain.table import Row, Run, Table, columns_of, missing
from netd.keyring import Keyring
from netd.model import line as line_model
from netd.model.subscriber import Subscriber, username_key
from netd.store import nas as nas_store
from netd.store import plans as plan_store
from netd.store import provision as provision_store
from netd.store import sites as site_store
from netd.store import subscribers as store
from netd.store.database import Connection
from netd.store.subscribers import Stored

NO_PASSWORD = "is empty; without a password nobody can log in"
_LISTS = ("checks", "replies", "lines", "mac_addresses", "circuit_ids")
_DEVICES = (("mac_addresses", line_model.mac), ("circuit_ids", line_model.circuit_typed))
_UNIQUE = ("ipv4", "delegated_ipv6_prefix")


async def items(conn: Connection, actor: Actor, records: Sequence[Mapping[str, Any]]) -> Sequence[Subscriber]:
    """Subscribers with all that hangs on them."""
    return await store.whole(conn, actor.tenant_id, records)


async def secrets(conn: Connection, actor: Actor, keyring: Keyring, found: Sequence[Subscriber]) -> Sequence[Mapping[str, str | None]]:
    """Passwords, or the hashes of which nobody knows the password."""
    sealed = await store.sealed_of(conn, actor.tenant_id, [each.id for each in found])
    return [
        {"password_hash" if sealed[each.id][1] else "password": keyring.open(sealed[each.id][0], PASSWORD_CONTEXT).decode()} if each.id in sealed else {}
        for each in found
    ]  # fmt: skip


class _Keeper:
    """Copies good rows into a temporary table, compares it with what is there, and stores it as a set."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tried = wanted.Tried(run.means.rules)
        self._plans: dict[str, int] = {}
        self._nas: dict[str, tuple[int, str]] = {}
        self._sites: dict[str, int] = {}
        # Plain texts as keys: the garbage collector passes such dictionaries over, however large.
        self._seen: dict[str, dict[str, int]] = {name: {} for name in (*_UNIQUE, "mac_addresses", "circuit_ids")}

    async def begin(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Read what rows may refer to."""
        run = self._run
        if run.order.mode == "create" and not run.order.allow_no_password and not {"password", "password_hash"} & set(names):
            return [("password", "is missing")]
        self._plans = await plan_store.ids_by_name(run.conn, run.actor.tenant_id)
        self._nas = await nas_store.names_by_key(run.conn, run.actor.tenant_id)
        self._sites = await site_store.ids_by_name(run.conn, run.actor.tenant_id)
        await provision_store.begin(run.conn)
        return []

    async def put(self, rows: Sequence[Row]) -> None:
        """Copy the good ones of some rows."""
        run = self._run
        known = await store.by_keys(run.conn, run.actor.tenant_id, [username_key(row.members["username"]) for row in rows if "username" in row.members])
        copied, slices = [], Slices()
        for row in rows:
            await slices.breathe()
            made = self._row(row, known.get(username_key(row.members.get("username", ""))))
            if made is not None:
                copied.append(made)
        if copied:
            await provision_store.add(run.conn, copied)

    async def end(self) -> None:
        """Take out what another subscriber has, and store the rest."""
        run = self._run
        while True:  # a row that goes out keeps what it would have let go, which another row may have counted on
            clashes, removed = await provision_store.take_out_clashes(run.conn, run.actor.tenant_id)
            for clash in clashes:
                run.fault(clash.line, clash.column, f"belongs to {clash.owner} ({clash.owner_state})")
            run.count("created", -removed["created"])
            run.count("updated", -removed["updated"])
            if not clashes:
                break
        if run.wanted:
            await provision_store.store(run.conn, run.actor.tenant_id)

    def _row(self, row: Row, before: Stored | None) -> tuple[Any, ...] | None:
        run = self._run
        found = Faults()
        wrong = self._of_mode(row, before) if row.good else []
        columns = subscribers.parsed(found, row.members)
        self._refer(found, columns, row.members, before)
        lists = self._lists(found, row.members)
        state = columns.get("state", "active" if before is None else before.subscriber.state)
        if before is not None and before.subscriber.state == "terminated" and state != "terminated":
            found.add("/username", "is that of a terminated subscriber; reactivate or delete it first")
        lines.check(found, {name: row.members.get(name, _now(before, name)) for name in ("line_mode", "line_learn", "lines")})
        wrong += faults_of(run.table, found.found) + self._repeated(row.line, columns, lists, state)
        for column, detail in wrong:
            run.fault(row.line, column, detail)
        if wrong or not row.good:
            return None
        made = wanted.row(run.means.keyring, row.line, username_key(row.members["username"]), before, columns, lists)
        run.count("unchanged" if made is None else "created" if before is None else "updated")
        return made

    def _of_mode(self, row: Row, before: Stored | None) -> list[tuple[str, str]]:
        run = self._run
        if before is not None:
            return [("username", f"exists already ({before.subscriber.state})")] if run.order.mode == "create" else []
        if run.order.mode == "update":
            return [("username", f"there is no subscriber {row.members['username']}")]
        lacks = missing(run.table, row.members)
        if not run.order.allow_no_password and not {"password", "password_hash"} & set(row.members):
            lacks.append(("password", NO_PASSWORD))
        return lacks

    def _refer(self, faults: Faults, columns: dict[str, Any], members: Mapping[str, Any], before: Stored | None) -> None:
        """Ids instead of names."""
        actor = self._run.actor
        if before is not None:
            columns.pop("username", None)  # as it was written first
        if "plan" in members:
            found = self._plans.get(members["plan"].lower())
            if found is None:
                faults.add("/plan", f"there is no plan {members['plan']!r}")
            columns["plan_id"] = found
        site = columns.pop("site", None)
        if site is not None:
            columns["site_id"] = self._sites.get(site.lower())
            if columns["site_id"] is None:
                faults.add("/site", f"there is no site {site!r}")
        elif before is None:
            sites.settle(actor, faults, columns)
        elif "site" in members:
            if actor.sites is not None:
                faults.add("/site", sites.NEEDED)
            columns["site_id"] = None

    def _lists(self, faults: Faults, members: Mapping[str, Any]) -> dict[str, list[Any] | None]:
        lists: dict[str, list[Any] | None] = dict.fromkeys(_LISTS)
        for name in ("checks", "replies"):
            if name in members:
                lists[name] = self._tried.rows(faults, name, members[name]) if members[name] else []
        if "lines" in members:
            lists["lines"] = [self._line(faults, place, each) for place, each in enumerate(members["lines"])]
        for name, parse in _DEVICES:
            if name in members:
                values = [faults.attempt(f"/{name}/{place}", parse, text) for place, text in enumerate(members[name])]
                lists[name] = sorted({value for value in values if value is not None})
        return lists

    def _line(self, faults: Faults, place: int, line: lines.NewLine) -> dict[str, Any]:
        told: dict[str, Any] = lines.values(faults, f"/lines/{place}", line)
        nas_id, nas = self._nas.get((line.nas or "").lower(), (None, None))
        if line.nas is not None and nas is None:
            faults.add(f"/lines/{place}/nas", f"there is no NAS {line.nas}")
        return {"nas": nas, **told, "learned_at": msgspec.to_builtins(line.learned_at), "nas_id": nas_id}

    def _repeated(self, line: int, columns: Mapping[str, Any], lists: Mapping[str, list[Any] | None], state: str) -> list[tuple[str, str]]:
        unique = [(name, str(columns[name])) for name in _UNIQUE if state != "terminated" and columns.get(name) is not None]
        unique += [(name, value) for name, _ in _DEVICES for value in lists[name] or ()]
        faults = []
        for name, value in unique:
            first = self._seen[name].setdefault(value, line)
            if first != line:
                faults.append((name, f"stands on line {first} already"))
        return faults


def _now(before: Stored | None, name: str) -> Any:
    """What a subscriber has where the file says nothing of it."""
    return getattr(before.subscriber, name) if before is not None else {"line_mode": "ignore", "line_learn": False, "lines": ()}[name]


TABLE = Table(
    name="subscribers", noun="subscriber", action="subscriber", path="/subscribers", key="username", reads="subscribers:read", writes="subscribers:write",
    columns=columns_of(
        NewSubscriber, secret=("password", "password_hash"),
        forms={
            "password": cells.TEXT, "full_name": cells.TEXT, "note": cells.TEXT, "checks": cells.ATTRIBUTES, "replies": cells.ATTRIBUTES,
            "lines": cells.pairs_of(*lines.NewLine.__struct_fields__), "mac_addresses": cells.WORDS, "circuit_ids": cells.LINES,
        },
    ),
    listing=store.LISTING, items=items, secrets=secrets, keeper=_Keeper, parse={"ipv4": inputs.ipv4},
)  # fmt: skip
