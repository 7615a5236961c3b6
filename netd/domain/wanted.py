"""Many subscribers at once: the row that brings one of them to what is wanted of it, for ``store.provision``."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from netd.domain.inputs import Faults
from netd.domain.ports import AttributeRules
from netd.domain.subscribers import PASSWORD_CONTEXT, NewCheck, NewReply, sealed
from netd.keyring import Keyring
from netd.store import provision as store
from netd.store.subscribers import Stored

KEPT: Final = 100_000

Lists = Mapping[str, list[Any] | None]
"""What hangs on a subscriber by the name of its column, as the store takes it; None: not given."""


def row(keyring: Keyring, line: int, key: str, before: Stored | None, columns: Mapping[str, Any], lists: Lists) -> tuple[Any, ...] | None:
    """The row for the temporary table; None if the subscriber is as wanted already. ``password`` among ``columns`` is in plain."""
    changed = {name: rows for name, rows in lists.items() if rows is not None and (before is None or _shown(name, rows) != _kept(name, before))}
    if before is not None and not changed and _as_wanted(keyring, before, columns):
        return None
    stored: dict[str, Any] = {"state": "active", "password_hashed": False, "line_mode": "ignore", "line_learn": False}
    if before is not None:
        stored = {**msgspec.structs.asdict(before.subscriber), "password": before.password, "password_hashed": before.password_hashed}
        stored |= dict.fromkeys(("checks", "replies", "lines", "mac_addresses", "circuit_ids"))
    final = {**stored, **columns, **changed, "username_key": key, "line": line, "subscriber_id": None if before is None else before.subscriber.id}
    password = columns.get("password", UNSET)
    if password is not UNSET and password is not None:
        final["password"] = sealed(keyring, password)
    return tuple(final.get(name) for name in store.COLUMNS)


def _as_wanted(keyring: Keyring, before: Stored, columns: Mapping[str, Any]) -> bool:
    for name, value in columns.items():
        if name == "password":
            old = None if before.password is None else keyring.open(before.password, PASSWORD_CONTEXT)
            if old != (None if value is None else value.encode()) or before.password_hashed != columns["password_hashed"]:
                return False
        elif name != "password_hashed" and getattr(before.subscriber, name) != value:  # that one is compared with the password
            return False
    return True


def _kept(name: str, before: Stored) -> list[Any]:
    values = getattr(before.subscriber, name)
    if name in ("checks", "replies"):
        return [[each.attribute, each.op, each.value] for each in values]
    return [msgspec.to_builtins(each) for each in values] if name == "lines" else sorted(values)


def _shown(name: str, rows: list[Any]) -> list[Any]:
    """Rows as ``_kept`` has them: lines by their NAS's name, for its id is not known there; devices in no order."""
    if name == "lines":
        return [{member: value for member, value in each.items() if member != "nas_id"} for each in rows]
    return sorted(rows) if name in ("mac_addresses", "circuit_ids") else rows


class Tried:
    """Rows of check and reply attributes, each tried with the engine's rules; few differ among many subscribers, so what was found is kept."""

    def __init__(self, rules: AttributeRules) -> None:
        self._rules = rules
        self._wrong: dict[tuple[str, str, str, str], str] = {}

    def rows(self, faults: Faults, where: str, given: Sequence[NewCheck | NewReply]) -> list[list[str]]:
        """Rows as ``store.provision`` takes them; ``where`` is checks or replies."""
        rows = []
        for place, each in enumerate(given):
            tried = (where, each.attribute, each.op, each.value)
            wrong = self._wrong.get(tried)
            if wrong is None:
                wrong = self._look(*tried)
                if len(self._wrong) < KEPT:
                    self._wrong[tried] = wrong
            if wrong:
                faults.add(f"/{where}/{place}", wrong)
            rows.append([each.attribute, each.op, each.value])
        return rows

    def _look(self, where: str, attribute: str, op: str, value: str) -> str:
        try:
            (self._rules.validate_check if where == "checks" else self._rules.validate_reply)(attribute, op, value)
        except ValueError as error:
            return str(error)
        return ""
