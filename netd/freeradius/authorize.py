"""What rlm_sql of FreeRADIUS 3.2 makes of a user's rows, as far as that does not depend on the request.

Its order: radcheck is compared and its assignments become configuration; radreply joins the reply; then the groups by priority, each compared, configured and
joined in turn; after a group only ``Fall-Through = Yes`` among its replies leads on to the next, while a group that does not match is passed over. Without any
radcheck row radreply is not read. Checked against the real server by ``tests/e2e/test_freeradius.py``.
"""

from collections.abc import Collection, Sequence
from typing import Final, Literal, NamedTuple

from netd.freeradius.pairs import ASSIGNMENTS, Pair, Unreadable, merge, read
from netd.freeradius.rows import Groups, Membership, Row, User, key
from netd.wire.dictionary import Dictionary

_NOT_COMPARED: Final = frozenset(("crypt-password", "auth-type", "autz-type", "acct-type", "session-type", "strip-user-name"))
_OF_OTHER_MODULES: Final = frozenset((
    "current-time", "time-of-day", "sql-group", "group", "group-name", "huntgroup-name", "hint", "prefix", "suffix", "user-category", "realm",
    "client-ip-address", "packet-src-ip-address", "packet-dst-ip-address", "stripped-user-name", "sql-user-name", "virtual-server", "login-time",
    "max-daily-session", "max-all-session", "max-monthly-session", "max-weekly-session",
))  # fmt: skip
_SECRET: Final = ("password", "digest-ha1")

Severity = Literal["error", "note"]


class Issue(NamedTuple):
    """Something that is not carried over as it stands. An ``error`` keeps whoever it concerns out; a ``note`` is for the operator to know.

    ``row`` None: it is about the user as a whole. ``group`` is set where the row is a group's.
    """

    severity: Severity
    user: str
    group: str
    row: Row | None
    reason: str

    @property
    def text(self) -> str:
        """One line, secrets left out."""
        who = f"user {self.user}" if self.user else f"group {self.group}"
        if self.row is None:
            return f"{who}: {self.reason}"
        hidden = any(word in self.row.attribute.casefold() for word in _SECRET)
        return f"{self.row.table} {self.row.id}: {who}: {self.row.attribute} {self.row.op} {'***' if hidden else self.row.value}: {self.reason}"


class Rules(NamedTuple):
    """What one query's rows come to. ``never`` says why the comparison fails whatever the request."""

    conditions: list[Pair]
    config: list[Pair]
    never: str
    issues: list[Issue]


class Group(NamedTuple):
    """A group as read."""

    name: str
    rules: Rules
    replies: list[Pair]
    falls_through: bool
    issues: list[Issue]


class Decision(NamedTuple):
    """What FreeRADIUS does with a user: ``conditions`` on the request, the configuration, the reply, and the groups that took part, in order."""

    conditions: list[Pair]
    config: list[Pair]
    replies: list[Pair]
    groups: tuple[Group, ...]
    issues: list[Issue]
    unmatched: str  # why radcheck never matches

    def first(self, *names: str) -> Pair | None:
        """The first configuration item of one of these names."""
        return find(self.config, *names)


def find(pairs: Sequence[Pair], *names: str) -> Pair | None:
    """The first pair of one of these names."""
    return next((pair for pair in pairs if pair.name in names), None)


class Authorizer:
    """Knows all groups. ``ignored`` are attributes, in lower case, whose rows count as not there."""

    def __init__(self, dictionary: Dictionary, groups: Groups, fold_case: bool, ignored: Collection[str] = ()) -> None:
        self._dictionary = dictionary
        self._rows = groups
        self._fold_case = fold_case
        self._ignored = frozenset(name.casefold() for name in ignored)
        self._groups: dict[str, Group] = {}

    def group(self, name: str) -> Group:
        """The group of this name; one without rows has no rules and no replies."""
        own = key(name, self._fold_case)
        found = self._groups.get(own)
        if found is None:
            issues: list[Issue] = []
            rules = self._rules(self._rows.checks.get(own, ()), "", name)
            replies = self._read(self._rows.replies.get(own, ()), "", name, issues)
            found = self._groups[own] = Group(name, rules, replies, _falls_through(replies) is True, rules.issues + issues)
        return found

    def decide(self, user: User) -> Decision:
        """Put a user together."""
        rules = self._rules(user.checks, user.name, "")
        issues = list(rules.issues)
        config: list[Pair] = []
        replies: list[Pair] = []
        on = True
        if user.checks and not rules.never:
            config = merge(config, rules.config)
            own = self._read(user.replies, user.name, "", issues)
            replies = merge(replies, own)
            on = _falls_through(own) is not False
        elif user.replies:
            why = "radcheck never matches" if rules.never else "there is no radcheck row of this user"
            issues.append(Issue("note", user.name, "", user.replies[0], f"FreeRADIUS does not read radreply where {why}"))
        taken: list[Group] = []
        for member in _in_order(user.groups) if on else ():
            group = self.group(member.group)
            if group.rules.never:
                continue
            if group.rules.conditions:
                pair = group.rules.conditions[0]
                issues.append(Issue("error", user.name, group.name, pair.row, "the group applies to some requests only; a plan applies to all"))
                break
            issues += [issue._replace(user=user.name) for issue in group.issues if issue.severity == "error"]
            taken.append(group)
            config = merge(config, group.rules.config)
            replies = merge(replies, group.replies)
            if not group.falls_through:
                break
        return Decision(rules.conditions, config, replies, tuple(taken), issues, rules.never)

    def _read(self, rows: Sequence[Row], user: str, group: str, issues: list[Issue]) -> list[Pair]:
        pairs = []
        for row in rows:
            if row.attribute.strip().partition(":")[0].casefold() in self._ignored:
                continue
            try:
                pairs.append(read(self._dictionary, row))
            except Unreadable as error:
                issues.append(Issue("error", user, group, row, str(error)))
        return pairs

    def _rules(self, rows: Sequence[Row], user: str, group: str) -> Rules:
        issues: list[Issue] = []
        conditions: list[Pair] = []
        config: list[Pair] = []
        never = ""
        for pair in self._read(rows, user, group, issues):
            name = pair.name.casefold()
            if pair.op in ASSIGNMENTS or (name in _NOT_COMPARED and pair.op == "="):
                config.append(pair)
            elif name in _NOT_COMPARED or name == "fall-through":
                continue
            elif name == "expiration":
                config.append(pair._replace(op=":="))
                issues.append(Issue("note", user, group, pair.row, "with this operator FreeRADIUS does not cut Session-Timeout to the end; netd does"))
            elif name == "user-password":
                issues.append(Issue("note", user, group, pair.row, "compares with the request and sets no password; Cleartext-Password := does"))
                never = never or "User-Password is compared, not set, so no password is known"
            elif pair.attribute is not None:
                conditions.append(pair._replace(op="==") if pair.op == "=" else pair)
            elif name in _OF_OTHER_MODULES:
                issues.append(Issue("error", user, group, pair.row, "depends on what other modules of FreeRADIUS know"))
            elif pair.op != "!*":
                never = never or f"{pair.name} {pair.op} compares with the request, which never has it ({pair.name} := would set it)"
        return Rules(conditions, config, never, issues)


def _in_order(groups: Sequence[Membership]) -> list[Membership]:
    return sorted(groups, key=lambda member: (member.priority, member.id))


def _falls_through(pairs: Sequence[Pair]) -> bool | None:
    found = find(pairs, "Fall-Through")
    return None if found is None else found.text.strip().casefold() in ("yes", "1")
