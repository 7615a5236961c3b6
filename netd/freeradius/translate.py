"""FreeRADIUS's users, groups and NAS in netd's terms: lines for ``POST /import``, and what could not be carried over, by row.

The principle: whoever gets something from FreeRADIUS gets the same from netd or is not brought in. A row that restricts and cannot be carried keeps its user
out, unless the operator says that the attribute is to be ignored.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from ipaddress import IPv4Address, IPv6Network, ip_network
from typing import Any, Final, NamedTuple

from netd.extensions import Extensions
from netd.freeradius import plans
from netd.freeradius.authorize import Authorizer, Decision, Group, Issue, find
from netd.freeradius.pairs import Pair, merge
from netd.freeradius.rows import NasEntry, Row, Source, User
from netd.model.hours import canonical
from netd.model.subscriber import username_key
from netd.wire.attributes import Avp
from netd.wire.hashes import make_hash
from netd.wire.values import DATA_TYPES

VENDORS: Final = {
    "accel": "accel", "accel-ppp": "accel", "alcatel": "nokia", "chillispot": "coova", "cisco": "cisco", "coova": "coova", "huawei": "huawei",
    "juniper": "juniper", "mikrotik": "mikrotik", "nokia": "nokia", "routeros": "mikrotik", "zte": "zte",
}  # fmt: skip
"""Vendor by nas.type in lower case; anything else is generic."""

_HASHES: Final = {
    "NT-Password": "nt", "MD5-Password": "md5", "SMD5-Password": "smd5", "SHA-Password": "sha", "SHA1-Password": "sha", "SSHA-Password": "ssha",
    "SSHA1-Password": "ssha", "SSHA2-224-Password": "ssha224", "SSHA2-256-Password": "ssha256", "SSHA2-384-Password": "ssha384",
    "SSHA2-512-Password": "ssha512",
}  # fmt: skip
_HEADERS: Final = {"clear": "", "cleartext": "", "nthash": "nt", "x-nthash": "nt", "base64_md5": "md5"}
_OTHER_PASSWORDS: Final = ("Crypt-Password", "LM-Password", "NS-MTA-MD5-Password", "PBKDF2-Password", "Digest-HA1")
_PASSWORDS: Final = ("Cleartext-Password", *_HASHES, "SHA2-Password", "Password-With-Header", *_OTHER_PASSWORDS)
_HARMLESS: Final = frozenset(("Fall-Through", "Strip-User-Name", "Acct-Type", "SMB-Account-CTRL-TEXT", "SMB-Account-CTRL", "User-Password"))
_RESERVED: Final = frozenset(("State", "Proxy-State", "EAP-Message", "Message-Authenticator"))
_CARRIED: Final = frozenset((*_PASSWORDS, "Auth-Type", "Simultaneous-Use", "Expiration", "Login-Time"))

_FOUND: Final = re.compile(r"[-@a-zA-Z0-9._: /\u0080-\U0010ffff]+")


class Line(NamedTuple):
    """One line for the API and where it comes from. ``rows`` are the source rows of ``checks`` and ``replies``, one by one."""

    kind: str
    members: dict[str, Any]
    origin: str
    rows: Mapping[str, Sequence[Row | None]]


class Options(NamedTuple):
    """What the operator wants: see ``netd import freeradius --help``. ``zone`` None: as this machine's clock has it, summer time and all."""

    vendor_map: Mapping[str, str]
    ignored: Collection[str]
    default_plan: str
    zone: tzinfo | None
    raw_plans: bool
    resolve: Callable[[str], str | None]


class Left(Exception):
    """The user is not brought in; FreeRADIUS would not let it in either."""


class Translation:
    """One reading of a source. ``lines`` yields plans before who has them; ``issues`` grows meanwhile."""

    def __init__(self, source: Source, extensions: Extensions, options: Options) -> None:
        self.issues: list[Issue] = []
        self.counts = {"users": 0, "brought": 0, "kept_out": 0, "left_out": 0, "groups": 0, "nas": 0}
        self._source = source
        self._extensions = extensions
        self._options = options
        rows = source.groups()
        self.counts["groups"] = len(rows.checks.keys() | rows.replies.keys())
        self._authorizer = Authorizer(extensions.dictionary, rows, source.fold_case, options.ignored)
        self._vendors: set[str] = set()
        self._plans: dict[tuple[str, ...], tuple[str, list[Pair], int | None]] = {}  # name, replies, session limit
        self._plan_names: set[str] = set()
        self._told: set[tuple[str, int, str]] = set()
        self._users: dict[str, str] = {}  # username_key to the name that has it
        self._addresses: dict[str, str] = {}

    def decide(self, user: User) -> Decision:
        """What FreeRADIUS does with a user."""
        return self._authorizer.decide(user)

    def lines(self) -> Iterator[Line]:
        """Everything, NAS first."""
        yield from self._nas()
        for user in self._source.users():
            self.counts["users"] += 1
            yield from self._user(user)

    def _tell(self, issue: Issue) -> None:
        """Keep an issue; one of a group's rows that is a note is told once."""
        row = issue.row
        if issue.severity == "note" and issue.group and row is not None:
            issue = issue._replace(user="")
            told = (row.table, row.id, issue.reason)
            if told in self._told:
                return
            self._told.add(told)
        self.issues.append(issue)

    # -- NAS -----------------------------------------------------------------------------------------------------------

    def _nas(self) -> Iterator[Line]:
        names: set[str] = set()
        for entry in self._source.nas():
            self.counts["nas"] += 1
            row = Row("nas", entry.id, entry.nasname, "nasname", "", entry.nasname)
            address = entry.nasname.strip()
            try:
                ip_network(address, strict=False)
            except ValueError:
                found = self._options.resolve(address)
                if found is None:
                    self._tell(Issue("error", "", "-", row, "is no address and no name that resolves here"))
                    continue
                self._tell(Issue("note", "", "-", row, f"is a name; brought in as {found}, which it resolves to now"))
                address = found
            if entry.server:
                self._tell(Issue("note", "", "-", row, f"virtual server {entry.server!r}: netd has one set of rules for all NAS"))
            vendor = self._vendor(entry)
            self._vendors.add(vendor)
            name = (entry.shortname.strip() or address)[:64]
            if name.lower() in names:
                name = f"{name[: 60 - len(address)]} {address}"[:64]
            names.add(name.lower())
            members = {
                "name": name, "address": address, "secret": entry.secret, "vendor": vendor, "require_message_authenticator": "auto",
                "limit_proxy_state": "auto", "description": entry.description.strip()[:1000] or None,
            }  # fmt: skip
            yield Line("nas", members, f"nas {entry.id}: {entry.nasname}", {})

    def _vendor(self, entry: NasEntry) -> str:
        kind = entry.type.strip().lower()
        for wanted in (kind, "*"):
            if wanted in self._options.vendor_map:
                return self._options.vendor_map[wanted]
        return VENDORS.get(kind, "generic")

    # -- users ---------------------------------------------------------------------------------------------------------

    def _user(self, user: User) -> Iterator[Line]:
        decision = self._authorizer.decide(user)
        issues = list(decision.issues)
        for group in decision.groups:
            for issue in group.issues:
                if issue.severity == "note":
                    self._tell(issue)
        try:
            members = self._members(user, decision, issues)
        except Left as reason:
            self.counts["left_out"] += 1
            self._tell(Issue("note", user.name, "", None, f"left out, FreeRADIUS rejects it too: {reason}"))
            return
        for issue in issues:
            self._tell(issue)
        if any(issue.severity == "error" for issue in issues):
            self.counts["kept_out"] += 1
            return
        groups = tuple(group.name for group in decision.groups)
        if groups not in self._plans:
            yield self._plan(decision.groups)
        name, granted, limit = self._plans[groups]
        wanted = [pair for pair in decision.replies if pair.attribute is not None]
        self._addresses_of(user, members, wanted, granted)
        members["plan"] = name
        members["replies"] = plans.difference(wanted, granted)
        sessions = self._limit(decision.config)
        members["max_sessions"] = None if sessions == limit else sessions if sessions is not None else 0
        self.counts["brought"] += 1
        rows: dict[str, Sequence[Row | None]] = {
            "checks": [pair.row for pair in decision.conditions],
            "replies": _sources(members["replies"], decision.replies),
        }
        yield Line("subscriber", members, f"user {user.name}", rows)

    def _members(self, user: User, decision: Decision, issues: list[Issue]) -> dict[str, Any]:
        """What concerns the user alone, but plan, replies and session limit. Adds to ``issues``; raises Left."""
        members: dict[str, Any] = {"username": _login(user.name), "expires_at": None}
        auth_type = decision.first("Auth-Type")
        how = auth_type.text.casefold() if auth_type is not None else ""
        members |= {"state": "suspended"} if how == "reject" else {"state": "active"}
        password = self._password(user, decision, issues)
        if how not in ("", "reject") and auth_type is not None:
            what = "lets in without a password" if how == "accept" else "allows one method only"
            issues.append(Issue("error", user.name, "", auth_type.row, f"{what}, which no subscriber of netd does"))
        elif not password and how != "reject" and not any(issue.severity == "error" for issue in issues):
            raise Left(decision.unmatched or "no password is known")
        members |= password or {"password": None}
        if (limit := self._limit(decision.config)) == 0:
            raise Left("Simultaneous-Use is 0")
        if limit is not None and limit < 0:
            pair = decision.first("Simultaneous-Use")
            issues.append(Issue("error", user.name, "", pair.row if pair else None, "is no number of sessions"))
        self._expiry(user, decision, members, issues)
        self._hours(user, decision, members, issues)
        self._others(user, decision, issues)
        if members["username"] == user.name and not _FOUND.fullmatch(user.name):
            issues.append(Issue("note", user.name, "", None, "with its default safe_characters FreeRADIUS does not find this name; netd does"))
        same = self._users.setdefault(username_key(members["username"]), user.name)
        if same != user.name:
            issues.append(Issue("error", user.name, "", None, f"differs from user {same} in case only; netd takes them for one"))
        members["checks"] = [{"attribute": pair.name, "op": pair.op, "value": "" if pair.op in ("=*", "!*") else pair.text} for pair in decision.conditions]
        if decision.conditions and any(find(group.rules.config, *_PASSWORDS) for group in decision.groups):
            issues.append(Issue("error", user.name, "", decision.conditions[0].row, "if it fails, a group's password still lets the user in"))
        return members

    def _password(self, user: User, decision: Decision, issues: list[Issue]) -> dict[str, Any] | None:
        """``password`` or ``password_hash``; None if there is none."""
        found = decision.first("Cleartext-Password") or decision.first(*_PASSWORDS)
        if found is None:
            return None
        try:
            scheme, text = _scheme(found)
            if scheme is None:
                raise ValueError("cannot be checked here: only a hash is known, of a kind that netd does not have")
            if not scheme:
                _fit_password(text)
                self._check_first(decision, text)
                return {"password": text}
            return {"password_hash": str(make_hash(scheme, text))}
        except ValueError as error:
            issues.append(Issue("error", user.name, "", found.row, str(error)))
            return None

    @staticmethod
    def _check_first(decision: Decision, clear: str) -> None:
        """Of several passwords PAP is checked against the first, CHAP against the one in clear. Raises ValueError if they are not the same."""
        first = decision.first(*_PASSWORDS)
        if first is None or first.name == "Cleartext-Password":
            return
        scheme, text = _scheme(first)
        if (text != clear) if scheme == "" else (scheme is None or not make_hash(scheme, text).verify(clear.encode())):
            raise ValueError(f"is not, or not known to be, the password that {first.name} before it stands for")

    @staticmethod
    def _limit(config: Sequence[Pair]) -> int | None:
        pair = find(config, "Simultaneous-Use")
        if pair is None:
            return None
        return int(pair.text) if pair.text.strip().isdecimal() and int(pair.text) <= 1_000_000 else -1

    def _expiry(self, user: User, decision: Decision, members: dict[str, Any], issues: list[Issue]) -> None:
        pair = decision.first("Expiration")
        if pair is None:
            return
        try:
            seconds = DATA_TYPES["date"].parse(pair.text)
        except ValueError as error:
            issues.append(Issue("error", user.name, "", pair.row, f"is no time: {error}"))
            return
        assert isinstance(seconds, int)
        wall = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        numeric = pair.text.strip().isdecimal()
        at = datetime.fromtimestamp(seconds, UTC) if numeric else wall.replace(tzinfo=self._options.zone).astimezone(UTC)  # without one: local time
        members["expires_at"] = at.isoformat()

    def _hours(self, user: User, decision: Decision, members: dict[str, Any], issues: list[Issue]) -> None:
        """Login-Time as the subscriber's access hours, in the server's time zone."""
        pair = decision.first("Login-Time")
        members |= {"access_hours": None, "time_zone": None}
        if pair is None:
            return
        try:
            members["access_hours"] = canonical(pair.text)
        except ValueError as error:
            issues.append(Issue("error", user.name, _group(pair), pair.row, str(error)))
            return
        members["time_zone"] = getattr(self._options.zone, "key", None)
        if members["time_zone"] is None:
            issues.append(Issue("note", user.name, _group(pair), pair.row, "is taken in netd's radius.time_zone; --time-zone names another"))

    def _others(self, user: User, decision: Decision, issues: list[Issue]) -> None:
        """What else the configuration and the reply hold."""
        for pair in decision.config:
            if pair.attribute is not None:
                issues.append(Issue("note", user.name, _group(pair), pair.row, "sets something that FreeRADIUS does not use"))
            elif pair.name not in _CARRIED and pair.name not in _HARMLESS:
                issues.append(Issue("error", user.name, _group(pair), pair.row, "has no counterpart in netd"))
        for pair in decision.replies:
            if pair.attribute is None:
                if pair.name not in _HARMLESS:
                    issues.append(Issue("note", user.name, _group(pair), pair.row, "is not sent by FreeRADIUS"))
            elif pair.attribute.name in _RESERVED:
                issues.append(Issue("error", user.name, _group(pair), pair.row, "is netd's own to send"))
            elif pair.attribute.encrypt or pair.attribute.secret:
                issues.append(Issue("error", user.name, _group(pair), pair.row, "is sent encrypted, which netd does with no reply attribute"))
        for row in user.replies:
            if row.op.strip() in ("<=", ">=", "<", ">", "=~", "!~", "=*", "!="):
                issues.append(Issue("error", user.name, "", row, "is no operator of a reply"))

    def _addresses_of(self, user: User, members: dict[str, Any], wanted: list[Pair], granted: Sequence[Pair]) -> None:
        """Fixed addresses become the subscriber's own, where nobody else has them; else they stay replies."""
        for attribute, member in (("Framed-IP-Address", "ipv4"), ("Framed-IPv6-Prefix", "ipv6_prefix"), ("Delegated-IPv6-Prefix", "delegated_ipv6_prefix")):
            members[member] = None
            found = [pair for pair in wanted if pair.name == attribute]
            if len(found) != 1 or any(pair.name == attribute for pair in granted):
                continue
            value = found[0].value
            if isinstance(value, IPv4Address):
                if value.is_multicast or value.is_unspecified or int(value) >= 0xFFFFFFFE:  # 255.255.255.254: the NAS chooses
                    continue
            elif not isinstance(value, IPv6Network):
                continue
            owner = self._addresses.setdefault(f"{member} {value}", user.name)
            if owner != user.name and member != "ipv6_prefix":
                self._tell(Issue("note", user.name, "", found[0].row, f"is user {owner}'s already; kept as a reply attribute"))
                continue
            members[member] = str(value)
            wanted.remove(found[0])

    # -- plans ---------------------------------------------------------------------------------------------------------

    def _plan(self, groups: Sequence[Group]) -> Line:
        replies: list[Pair] = []
        config: list[Pair] = []
        for group in groups:
            config = merge(config, group.rules.config)
            replies = merge(replies, group.replies)
        granted = [pair for pair in replies if pair.attribute is not None]
        limit = self._limit(config)
        name = self._plan_name("+".join(group.name for group in groups) or self._options.default_plan)
        self._plans[tuple(group.name for group in groups)] = (name, granted, limit if limit is not None and limit > 0 else None)
        members = plans.members(granted, sorted(self._vendors), self._extensions, raw=self._options.raw_plans)
        if members["raw"] and groups and not self._options.raw_plans:
            why = "no vendor's driver says just this" if self._vendors else "no NAS says which vendors there are"
            self._tell(Issue("note", "", "+".join(group.name for group in groups), None, f"becomes the raw plan {name}, which sends these attributes: {why}"))
        rows = {"replies": _sources(members["replies"], granted)}
        return Line("plan", {"name": name, "max_sessions": max(limit or 0, 0), **members}, f"group {name}", rows)

    def _plan_name(self, wanted: str) -> str:
        base = " ".join(wanted.split())[:64] or "unnamed"
        name, number = base, 2
        while name.lower() in self._plan_names:
            name = f"{base[:58]} ({number})"
            number += 1
        self._plan_names.add(name.lower())
        return name


def logins(reading: Translation, source: Source) -> Iterator[tuple[str, str, Sequence[Avp]]]:
    """(user name, password, attributes that fulfil its ``==`` conditions) of everybody whose password is known in clear."""
    for user in source.users():
        decision = reading.decide(user)
        found = decision.first("Cleartext-Password")
        if found is not None and found.text:
            own = [(pair.name, pair.value) for pair in decision.conditions if pair.op == "==" and pair.value is not None]
            yield _login(user.name), found.text, own


def _sources(replies: Sequence[Mapping[str, str]], pairs: Sequence[Pair]) -> list[Row | None]:
    """Which row each reply comes from; None for one that takes away what a driver or a plan would grant."""
    known = {(pair.name, pair.text): pair.row for pair in pairs}
    return [known.get((reply["attribute"], reply["value"])) for reply in replies]


def _group(pair: Pair) -> str:
    return pair.row.owner if pair.row.table in ("radgroupcheck", "radgroupreply") else ""


def _scheme(pair: Pair) -> tuple[str | None, str]:
    """The scheme ("": in clear, None: none of netd's) and what stands behind it."""
    if pair.name == "Cleartext-Password":
        return "", pair.text
    if pair.name == "Password-With-Header":
        header, brace, rest = pair.text.removeprefix("{").partition("}")
        if not (pair.text.startswith("{") and brace):
            return "", pair.text
        scheme = _HEADERS.get(header.lower(), header.lower())
        return (scheme, rest) if not scheme or scheme in _HASHES.values() or scheme in ("sha224", "sha256", "sha384", "sha512") else (None, "")
    if pair.name == "SHA2-Password":
        text = pair.text
        octets = len(text) // 2 if len(text) in (56, 64, 96, 128) else len(text) * 3 // 4
        return next((f"sha{size * 8}" for size in (28, 32, 48, 64) if size <= octets < size + 3), None), text
    return _HASHES.get(pair.name), pair.text.removeprefix("0x")


def _fit_password(text: str) -> None:
    if not text:
        raise ValueError("is empty")
    if len(text.encode()) > 128:
        raise ValueError("is longer than the 128 octets that a User-Password holds")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("has a control character in it")


def _login(name: str) -> str:
    """The user name as it comes in a request: rlm_sql looks names up with all but a few characters written as =XX."""
    if "=" not in name:
        return name
    octets = bytearray()
    at = 0
    while at < len(name):
        code = name[at + 1 : at + 3]
        if name[at] == "=" and len(code) == 2 and all(character in "0123456789ABCDEF" for character in code):
            octets.append(int(code, 16))
            at += 3
        else:
            octets += name[at].encode()
            at += 1
    return octets.decode("utf-8", "replace")
