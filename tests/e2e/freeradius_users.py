"""Users, groups and NAS as FreeRADIUS databases in the field have them: every operator and password form, several groups, fall-through, and old mistakes.

Seeded: the same number of users is always the same users. For each kind it is said what must come of it.
"""

import hashlib
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.e2e import mschap

Table = Literal["radcheck", "radreply", "radgroupcheck", "radgroupreply", "radusergroup", "nas"]
Fate = Literal["carried", "kept_out", "left_out"]

RowText = tuple[str, str, str]

STATION = "00-11-22-33-44-55"

GROUPS: dict[str, tuple[list[RowText], list[RowText]]] = {
    "home": ([], [("Mikrotik-Rate-Limit", ":=", "10M/50M"), ("Acct-Interim-Interval", ":=", "300"), ("Framed-Protocol", "=", "PPP")]),
    "fiber": ([("Simultaneous-Use", ":=", "1")], [
        ("Mikrotik-Rate-Limit", "=", "100M/1000M"), ("Framed-Pool", ":=", "fiber"), ("Session-Timeout", ":=", "86400"), ("Idle-Timeout", ":=", "900"),
        ("Framed-MTU", ":=", "1492"), ("Service-Type", ":=", "Framed-User"),
    ]),
    "burst": ([], [("Mikrotik-Rate-Limit", ":=", "10M/50M 20M/100M 8M/40M 8/8 5"), ("Mikrotik-Address-List", ":=", "customers")]),
    "odd": ([], [("Mikrotik-Rate-Limit", ":=", "512k/2m"), ("Mikrotik-Group", "=", "hotspot")]),
    "wispr": ([], [("WISPr-Bandwidth-Max-Up", ":=", "2000000"), ("WISPr-Bandwidth-Max-Down", ":=", "8000000"), ("Acct-Interim-Interval", "=", "600")]),
    "bras": ([], [("Huawei-Input-Average-Rate", ":=", "10240000"), ("Huawei-Output-Average-Rate", ":=", "51200000"), ("Huawei-Domain-Name", "=", "isp")]),
    "leased": ([], [("Framed-Route", "+=", "10.9.0.0/24 0.0.0.0 1"), ("Framed-Route", "+=", "10.9.1.0/24 0.0.0.0 1"), ("Cisco-AVPair", "+=", "ip:addr-pool=a"),
                    ("Cisco-AVPair", "+=", "lcp:interface-config#1=mtu 1492")]),
    "base": ([], [("Framed-Protocol", "=", "PPP"), ("Session-Timeout", "=", "43200"), ("Reply-Message", "+=", "welcome"), ("Fall-Through", "=", "Yes")]),
    "night": ([], [("Session-Timeout", ":=", "21600"), ("Reply-Message", "+=", "night rate"), ("Mikrotik-Rate-Limit", "=", "2M/20M")]),
    "trimmed": ([], [("Reply-Message", "-=", "welcome"), ("Framed-Protocol", "!*", ""), ("Idle-Timeout", "=", "300"), ("Fall-Through", "=", "No")]),
    "disabled": ([("Auth-Type", ":=", "Reject")], [("Reply-Message", "=", "your account is disabled")]),
    "empty": ([], []),
    "never": ([("Simultaneous-Use", "==", "1")], [("Session-Timeout", ":=", "60")]),
    "ethernet": ([("NAS-Port-Type", "==", "Ethernet")], [("Mikrotik-Rate-Limit", ":=", "1M/1M")]),
    "shared": ([("Cleartext-Password", ":=", "for-all-of-us")], [("Session-Timeout", ":=", "7200")]),
}  # fmt: skip


_LOTTERY: dict[str, list[str]] = {
    "Reply-Message": ["a", "b", "c"], "Session-Timeout": ["600", "1200"], "Framed-Route": ["10.1.0.0/16 0.0.0.0 1", "10.2.0.0/16 0.0.0.0 1"],
    "Mikrotik-Rate-Limit": ["1M/2M", "2M/4M"], "Framed-Protocol": ["PPP", "SLIP"], "Cisco-AVPair": ["x=1", "x=2"], "Acct-Interim-Interval": ["300", "600"],
}  # fmt: skip
_LOTTERY_GROUPS = 60


def _draw(chance: random.Random, most: int) -> list[RowText]:
    """Reply rows of any attribute, operator and number, with a Fall-Through now and then."""
    rows: list[RowText] = []
    for _ in range(chance.randint(0, most)):
        attribute = chance.choice(list(_LOTTERY))
        rows.append((attribute, chance.choice((":=", ":=", "=", "=", "+=", "+=", "-=", "==", "!*")), chance.choice(_LOTTERY[attribute])))
    through = chance.choice(("Yes", "Yes", "No", ""))
    return [*rows, ("Fall-Through", "=", through)] if through else rows


for _number in range(_LOTTERY_GROUPS):
    GROUPS[f"lottery{_number}"] = ([], _draw(random.Random(_number), 4))


@dataclass
class Account:
    """A user: rows, groups by priority, the password to log in with, attributes for the request, and what must become of it."""

    name: str
    password: str
    kind: str
    fate: Fate = "carried"
    checks: list[RowText] = field(default_factory=list)
    replies: list[RowText] = field(default_factory=list)
    groups: list[tuple[str, int]] = field(default_factory=list)
    request: dict[str, str] = field(default_factory=dict)
    hashed: bool = False
    explained: str = ""
    """What differs between the two answers, and is to: a substring of the difference's text."""


Kind = Callable[[Account, random.Random], None]


def _plain(group: str) -> Kind:
    def make(account: Account, chance: random.Random) -> None:
        account.groups = [(group, 1)]

    return make


def _hashed(attribute: str, digest: Callable[[str, random.Random], str]) -> Kind:
    def make(account: Account, chance: random.Random) -> None:
        account.checks = [(attribute, ":=", digest(account.password, chance))]
        account.groups = [("home", 1)]
        account.hashed = True

    return make


def _salted(name: str) -> Callable[[str, random.Random], str]:
    def digest(password: str, chance: random.Random) -> str:
        salt = chance.randbytes(8)
        return b64encode(hashlib.new(name, password.encode() + salt).digest() + salt).decode()

    return digest


def _rows(
    *, checks: list[RowText] | None = None, replies: list[RowText] | None = None, groups: list[tuple[str, int]] | None = None, fate: Fate = "carried",
    request: dict[str, str] | None = None, explained: str = "", password: bool = True,
) -> Kind:  # fmt: skip
    def make(account: Account, chance: random.Random) -> None:
        account.checks = [*(account.checks if password else []), *(checks or [])]
        account.replies = list(replies or [])
        account.groups = list(groups or [])
        account.fate = fate
        account.request = dict(request or {})
        account.explained = explained

    return make


def _address(account: Account, chance: random.Random) -> None:
    number = int(account.name.rpartition("-")[2])
    account.replies = [
        ("Framed-IP-Address", ":=", f"10.{40 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"),
        ("Framed-IP-Netmask", "=", "255.255.255.255"),
    ]
    account.groups = [("home", 1)]


def _lottery(account: Account, chance: random.Random) -> None:
    account.replies = _draw(chance, 3)
    drawn = chance.sample(range(_LOTTERY_GROUPS), chance.randint(0, 3))
    account.groups = [(f"lottery{number}", place) for place, number in enumerate(drawn)]


def _both(account: Account, chance: random.Random) -> None:
    account.checks = [("NT-Password", ":=", mschap.nt_hash(account.password).hex()), *account.checks]
    account.groups = [("home", 1)]


KINDS: dict[str, Kind] = {
    **{group: _plain(group) for group in ("home", "fiber", "burst", "odd", "wispr", "bras", "leased", "empty")},
    "alone": _rows(),
    "own-rate-loses": _rows(replies=[("Mikrotik-Rate-Limit", ":=", "1M/2M")], groups=[("home", 1)]),
    "own-rate-wins": _rows(replies=[("Mikrotik-Rate-Limit", ":=", "3M/4M")], groups=[("fiber", 1)]),
    "own-route": _rows(replies=[("Framed-Route", "=", "10.77.0.0/16 0.0.0.0 1")], groups=[("leased", 5)]),
    "own-reply": _rows(replies=[("Reply-Message", "=", "hello"), ("Reply-Message", "=", "again"), ("Class", ":=", "0x626c7565")], groups=[("home", 1)]),
    "quoted": _rows(replies=[("Reply-Message", ":=", '"in quotes"'), ("Filter-Id", "=", "'single'")], groups=[("home", 1)]),
    "stops": _rows(replies=[("Session-Timeout", ":=", "1800"), ("Fall-Through", "=", "No")], groups=[("home", 1)]),
    "two-groups": _rows(groups=[("base", 1), ("night", 2)]),
    "two-groups-reversed": _rows(groups=[("base", 2), ("night", 1)]),
    "three-groups": _rows(groups=[("base", 1), ("trimmed", 2), ("home", 3)]),
    "never-then-home": _rows(groups=[("never", 1), ("home", 2)]),
    "address": _address,
    "shared-address": _rows(replies=[("Framed-IP-Address", ":=", "10.200.0.1")], groups=[("home", 1)]),
    "chosen-by-nas": _rows(replies=[("Framed-IP-Address", ":=", "255.255.255.254")], groups=[("home", 1)]),
    "prefixes": _rows(replies=[("Framed-IPv6-Prefix", ":=", "2001:db8:1:2::/64"), ("Framed-Interface-Id", "=", "0:0:0:1")], groups=[("home", 1)]),
    "station": _rows(checks=[("Calling-Station-Id", "==", STATION)], groups=[("home", 1)], request={"Calling-Station-Id": STATION}),
    "wrong-station": _rows(checks=[("Calling-Station-Id", "==", STATION)], groups=[("home", 1)], request={"Calling-Station-Id": "66-77"}),
    "pattern": _rows(checks=[("NAS-Identifier", "=~", "^bras[0-9]+$")], groups=[("home", 1)], request={"NAS-Identifier": "bras7"}),
    "wrong-pattern": _rows(checks=[("NAS-Identifier", "=~", "^bras[0-9]+$")], groups=[("home", 1)], request={"NAS-Identifier": "olt"}),
    "unlike": _rows(checks=[("NAS-Identifier", "!~", "^olt")], groups=[("home", 1)], request={"NAS-Identifier": "bras7"}),
    "not-that-port": _rows(checks=[("NAS-Port-Type", "!=", "Ethernet")], groups=[("home", 1)], request={"NAS-Port-Type": "Virtual"}),
    "that-port": _rows(checks=[("NAS-Port-Type", "!=", "Ethernet")], groups=[("home", 1)], request={"NAS-Port-Type": "Ethernet"}),
    "high-port": _rows(checks=[("NAS-Port", ">=", "100")], groups=[("home", 1)], request={"NAS-Port": "100"}),
    "low-port": _rows(checks=[("NAS-Port", "<=", "99")], groups=[("home", 1)], request={"NAS-Port": "100"}),
    "has-any-port": _rows(checks=[("NAS-Port", "=*", "ANY")], groups=[("home", 1)], request={"NAS-Port": "5"}, fate="kept_out"),
    "has-port": _rows(checks=[("NAS-Port", "=*", "0")], groups=[("home", 1)], request={"NAS-Port": "5"}),
    "lacks-port": _rows(checks=[("NAS-Port", "!*", "0")], groups=[("home", 1)]),
    "lacks-id": _rows(checks=[("NAS-Port-Id", "!*", "ANY")], groups=[("home", 1)]),
    "single-equals": _rows(checks=[("Service-Type", "=", "Framed-User")], groups=[("home", 1)], request={"Service-Type": "Framed-User"}),
    "two-sessions": _rows(checks=[("Simultaneous-Use", ":=", "2")], groups=[("home", 1)]),
    "fibre-two": _rows(checks=[("Simultaneous-Use", ":=", "2")], groups=[("fiber", 1)]),
    "expires": _rows(checks=[("Expiration", ":=", "Jan 01 2037 00:00:00")], groups=[("home", 1)]),
    "expired": _rows(checks=[("Expiration", ":=", "Jan 01 2020 12:00:00")], groups=[("home", 1)]),
    "disabled": _rows(groups=[("disabled", 0), ("home", 1)], explained="Reply-Message = your account is disabled"),
    "rejected": _rows(checks=[("Auth-Type", ":=", "Reject")], groups=[("home", 1)]),
    "nt": _hashed("NT-Password", lambda password, _: mschap.nt_hash(password).hex().upper()),
    "md5": _hashed("MD5-Password", lambda password, _: hashlib.md5(password.encode()).hexdigest()),
    "sha": _hashed("SHA-Password", lambda password, _: hashlib.sha1(password.encode()).hexdigest()),
    "ssha": _hashed("SSHA-Password", _salted("sha1")),
    "smd5": _hashed("SMD5-Password", _salted("md5")),
    "sha2": _hashed("SHA2-Password", lambda password, _: hashlib.sha256(password.encode()).hexdigest()),
    "ssha512": _hashed("SSHA2-512-Password", _salted("sha512")),
    "header": _hashed("Password-With-Header", lambda password, _: "{md5}" + hashlib.md5(password.encode()).hexdigest()),
    "clear-header": _hashed("Password-With-Header", lambda password, _: "{clear}" + password),
    "tunnel": _rows(
        replies=[
            ("Tunnel-Type:1", ":=", "VLAN"),
            ("Tunnel-Medium-Type:1", ":=", "IEEE-802"),
            ("Tunnel-Private-Group-Id:1", ":=", "100"),
            ("Tunnel-Type:2", "+=", "VLAN"),
        ],
        groups=[("home", 1)],
    ),
    "escaped": _rows(replies=[("Reply-Message", ":=", "a\\nb"), ("Filter-Id", "=", "x\\\\y"), ("session-timeout", ":=", "77")], groups=[("home", 1)]),
    "both-passwords": _both,
    **{f"lottery-{ticket}": _lottery for ticket in range(8)},
    "all-day": _rows(checks=[("Login-Time", ":=", "Al0000-2400")], groups=[("home", 1)]),
    # What FreeRADIUS never lets in, so that nothing need be brought in.
    "compared": _rows(password=False, checks=[("Cleartext-Password", "==", "compared")], groups=[("home", 1)], fate="left_out"),
    "old-style": _rows(password=False, checks=[("User-Password", "==", "compared")], groups=[("home", 1)], fate="left_out"),
    "only-reply": _rows(password=False, replies=[("Session-Timeout", ":=", "60")], groups=[("home", 1)], fate="left_out"),
    "limit-compared": _rows(checks=[("Simultaneous-Use", "==", "1")], groups=[("home", 1)], fate="left_out"),
    # What FreeRADIUS lets in and netd cannot, or not as faithfully: said, and kept out.
    "local": _rows(checks=[("Auth-Type", ":=", "Local")], groups=[("home", 1)], fate="kept_out"),
    "cable": _rows(groups=[("ethernet", 1), ("home", 2)], fate="kept_out", explained="Access-Reject"),
    "accepted": _rows(password=False, checks=[("Auth-Type", ":=", "Accept")], groups=[("home", 1)], fate="kept_out", explained="Access-Reject"),
    "expanded": _rows(replies=[("Reply-Message", ":=", '"hello %{User-Name}"')], groups=[("home", 1)], fate="kept_out", explained="hello %{User-Name}"),
    "group-password": _rows(password=False, groups=[("shared", 1)]),
}


@dataclass
class Tables:
    """All rows, by table."""

    accounts: list[Account]
    secret: str

    def each(self) -> Iterator[tuple[Table, list[str], list[tuple[object, ...]]]]:
        """(table, columns, rows)."""
        attributes = ["attribute", "op", "value"]
        yield "radcheck", ["username", *attributes], [(a.name, *row) for a in self.accounts for row in a.checks]
        yield "radreply", ["username", *attributes], [(a.name, *row) for a in self.accounts for row in a.replies]
        yield "radgroupcheck", ["groupname", *attributes], [(name, *row) for name, (checks, _) in GROUPS.items() for row in checks]
        yield "radgroupreply", ["groupname", *attributes], [(name, *row) for name, (_, replies) in GROUPS.items() for row in replies]
        yield "radusergroup", ["username", "groupname", "priority"], [(a.name, *group) for a in self.accounts for group in a.groups]
        yield (
            "nas",
            ["nasname", "shortname", "type", "secret"],
            [("127.0.0.1", "lab", "mikrotik", self.secret), ("10.255.0.0/16", "lab", "MikroTik", "other-secret")],
        )


def accounts(count: int, seed: int = 3) -> list[Account]:
    """``count`` users, of every kind in turn if there are enough."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        password = chance.choice(("wonder", "Grüße ", "pass word", "x" * 20)) + f"{chance.getrandbits(40):x}"
        account = Account(f"{kind}-{number}", password, kind)
        account.checks = [("Cleartext-Password", ":=", password)]
        KINDS[kind](account, chance)
        if kind == "group-password":
            account.password = "for-all-of-us"
        made.append(account)
    return made
