"""When something is wrong, and when it is over. Pure.

A value beyond ``raise_level`` for ``hold_seconds`` raises; it is over once a value is back at ``clear_level``. No value (a gap) changes nothing. Whether a
device is there is a rule like others, but one whose parent cannot be reached either is silent: it is not what is wrong.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

from netd.model.telemetry import Severity

Key = tuple[int, int, str]
"""Device, threshold (0: whether it is there), and subject ("": the device, else an interface)."""

UNREACHABLE: Final = 0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What is not to happen. ``id`` 0 is :data:`UNREACHABLE`."""

    id: int
    name: str
    metric: str
    raise_level: float
    clear_level: float
    above: bool = True
    hold_seconds: float = 0.0
    severity: Severity = "warning"
    interfaces: str | None = None

    def wrong(self, value: float) -> bool:
        """Whether a value is beyond what is borne."""
        return value > self.raise_level if self.above else value < self.raise_level

    def over(self, value: float) -> bool:
        """Whether a value is well again."""
        return value <= self.clear_level if self.above else value >= self.clear_level


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that is raised or over."""

    what: Literal["raised", "cleared"]
    key: Key
    rule: Rule
    at: datetime
    value: float | None = None


class _Mark:
    __slots__ = ("raised", "rule", "since")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.since: float | None = None  # when it began to be wrong
        self.raised = False


class Alarming:
    """What is wrong with which devices. ``silenced`` says of a device that it is behind one that cannot be reached."""

    def __init__(self, silenced: Callable[[int], bool]) -> None:
        self._silenced = silenced
        self._marks: dict[int, dict[int, dict[str, _Mark]]] = {}  # by device, rule, subject: what is well has none

    def __len__(self) -> int:
        """Alarms that are raised."""
        return len(self.raised())

    def raised(self) -> list[Key]:
        """All of them."""
        return [
            (device_id, rule_id, subject)
            for device_id, rules in self._marks.items() for rule_id, marks in rules.items() for subject, mark in marks.items() if mark.raised
        ]  # fmt: skip

    def is_raised(self, key: Key) -> bool:
        """Whether it is."""
        mark = self._marks.get(key[0], {}).get(key[1], {}).get(key[2])
        return mark is not None and mark.raised

    def open(self, key: Key, rule: Rule) -> None:
        """It was raised before this process began, or by another node."""
        mark = self._made(key, rule)
        mark.raised, mark.since = True, None

    def close(self, key: Key) -> None:
        """Somebody else ended it."""
        self._marks.get(key[0], {}).get(key[1], {}).pop(key[2], None)

    def retain(self, rules: Mapping[int, Collection[int]], at: datetime) -> Iterator[Change]:
        """End what was raised by thresholds that are none any more, or not of that device. ``rules``: those in force, by device; others stay as they are."""
        for device_id, of_device in self._marks.items():
            for rule_id in [each for each in of_device if each != UNREACHABLE and each not in rules.get(device_id, of_device)]:
                yield from _ended(device_id, rule_id, of_device.pop(rule_id), at)

    def forget(self, device_id: int) -> None:
        """Another node's from now on, or nobody's."""
        self._marks.pop(device_id, None)

    def observe(self, device_id: int, rule: Rule, values: Iterable[tuple[str, float | None]], now: float, at: datetime) -> Iterator[Change]:
        """Take the values of a rule's subjects at a device; subjects that are not there any more have nothing wrong."""
        seen = set()
        for subject, value in values:
            seen.add(subject)
            change = self._step((device_id, rule.id, subject), rule, value, now, at)
            if change is not None:
                yield change
        marks = self._marks.get(device_id, {}).get(rule.id, {})
        yield from _ended(device_id, rule.id, {subject: marks.pop(subject) for subject in marks.keys() - seen}, at)

    def _made(self, key: Key, rule: Rule) -> _Mark:
        return self._marks.setdefault(key[0], {}).setdefault(key[1], {}).setdefault(key[2], _Mark(rule))

    def _step(self, key: Key, rule: Rule, value: float | None, now: float, at: datetime) -> Change | None:
        mark = self._marks.get(key[0], {}).get(key[1], {}).get(key[2])
        if value is None or (mark is None and not rule.wrong(value)):
            return None
        if mark is None:
            mark = self._made(key, rule)
        if mark.raised:
            if not rule.over(value):
                return None
            self.close(key)
            return Change(what="cleared", key=key, rule=rule, at=at, value=value)
        if not rule.wrong(value):
            self.close(key)
            return None
        mark.since = now if mark.since is None else mark.since
        if now - mark.since < rule.hold_seconds or self._silenced(key[0]):
            return None
        mark.raised = True
        return Change(what="raised", key=key, rule=rule, at=at, value=value)


def _ended(device_id: int, rule_id: int, marks: Mapping[str, _Mark], at: datetime) -> Iterator[Change]:
    for subject, mark in marks.items():
        if mark.raised:
            yield Change(what="cleared", key=(device_id, rule_id, subject), rule=mark.rule, at=at)
