"""FreeRADIUS's rows in netd's terms: what is carried, what is said of the rest, and that nobody gets more than before."""

import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any

import pytest

from netd.cli.freeradius import translation
from netd.freeradius.rows import Groups, Membership, NasEntry, Row, Table, User, key
from netd.freeradius.translate import Options, Translation
from netd.model.hours import canonical

CLEAR = ("Cleartext-Password", ":=", "wonderland")
GOLD = [("Mikrotik-Rate-Limit", ":=", "10M/50M"), ("Acct-Interim-Interval", ":=", "600"), ("Framed-Pool", ":=", "gold")]


class Tables:
    """A source made of lists."""

    def __init__(self, *, fold_case: bool = False, nas: tuple[tuple[str, ...], ...] = (("10.0.0.1", "bras1", "mikrotik"),)) -> None:
        self.fold_case = fold_case
        self._nas = nas
        self._users: dict[str, dict[str, list[Any]]] = {}
        self._groups: dict[str, dict[str, list[Row]]] = {"radgroupcheck": {}, "radgroupreply": {}}
        self._ids = iter(range(1, 10_000))

    def user(self, name: str, *checks: tuple[str, str, str], replies: tuple[tuple[str, str, str], ...] = (), groups: tuple[str, ...] = ()) -> "Tables":
        self._users[name] = {
            "checks": [self._row("radcheck", name, row) for row in checks],
            "replies": [self._row("radreply", name, row) for row in replies],
            "groups": [Membership(next(self._ids), name, group, place) for place, group in enumerate(groups)],
        }
        return self

    def group(self, name: str, *replies: tuple[str, str, str], checks: tuple[tuple[str, str, str], ...] = ()) -> "Tables":
        self._groups["radgroupcheck"][key(name, self.fold_case)] = [self._row("radgroupcheck", name, row) for row in checks]
        self._groups["radgroupreply"][key(name, self.fold_case)] = [self._row("radgroupreply", name, row) for row in replies]
        return self

    def _row(self, table: Table, owner: str, row: tuple[str, str, str]) -> Row:
        return Row(table, next(self._ids), owner, *row)

    def groups(self) -> Groups:
        return Groups(self._groups["radgroupcheck"], self._groups["radgroupreply"])

    def nas(self) -> list[NasEntry]:
        return [NasEntry(number, address, name, kind, "testing123", "", "") for number, (address, name, kind) in enumerate(self._nas, 1)]

    def users(self) -> Iterator[User]:
        for name, rows in self._users.items():
            yield User(name, rows["checks"], rows["replies"], rows["groups"])

    def close(self) -> None:
        """Nothing is open."""


class Outcome:
    def __init__(self, translation: Translation) -> None:
        lines = list(translation.lines())
        self.plans = {line.members["name"]: line.members for line in lines if line.kind == "plan"}
        self.users = {line.members["username"]: line.members for line in lines if line.kind == "subscriber"}
        self.nas = {line.members["name"]: line.members for line in lines if line.kind == "nas"}
        self.errors = [issue.text for issue in translation.issues if issue.severity == "error"]
        self.notes = [issue.text for issue in translation.issues if issue.severity == "note"]


@pytest.fixture
def translate(extensions):
    def go(tables: Tables, **options: Any) -> Outcome:
        given = {
            "vendor_map": {}, "ignored": frozenset(), "default_plan": "freeradius", "zone": timezone(timedelta(hours=2)), "raw_plans": False,
            "resolve": {"bras.example": "192.0.2.9"}.get, **options,
        }  # fmt: skip
        return Outcome(Translation(tables, extensions, Options(**given)))

    return go


def rows(*wanted: str) -> list[dict[str, str]]:
    found = []
    for text in wanted:
        attribute, op, value = (*text.split(" ", 2), "")[:3]
        found.append({"attribute": attribute, "op": op, "value": value})
    return found


def test_a_group_of_rates_becomes_a_plan_that_netd_manages(translate):
    found = translate(Tables().group("gold", *GOLD, ("Framed-MTU", "=", "1492")).user("alice", CLEAR, groups=("gold",)))
    assert found.errors == found.notes == []
    assert found.plans["gold"] == {
        "name": "gold", "down_bps": 50_000_000, "up_bps": 10_000_000, "interim_seconds": 600, "ipv4_pool": "gold", "max_sessions": 0, "raw": False,
        "replies": rows("Framed-MTU := 1492"),
    }  # fmt: skip
    alice = found.users["alice"]
    assert (alice["plan"], alice["password"], alice["replies"], alice["checks"], alice["max_sessions"], alice["state"]) == (
        "gold", "wonderland", [], [], None, "active",
    )  # fmt: skip


def test_an_interval_that_freeradius_does_not_send_is_taken_away(translate):
    found = translate(Tables().group("gold", GOLD[0]).user("alice", CLEAR, groups=("gold",)))
    assert found.plans["gold"]["replies"] == rows("Acct-Interim-Interval !*")
    assert found.plans["gold"]["interim_seconds"] == 86_400, "a NAS that reports by its own clock, or never, must not be reaped"


@pytest.mark.parametrize("nas", [(), (("10.0.0.1", "a", "mikrotik"), ("10.0.0.2", "b", "huawei")), (("10.0.0.1", "a", "other"),)])
def test_where_the_drivers_would_say_something_else_the_plan_is_raw(translate, nas):
    found = translate(Tables(nas=nas).group("gold", *GOLD).user("alice", CLEAR, groups=("gold",)))
    plan = found.plans["gold"]
    assert (plan["raw"], plan["down_bps"], plan["interim_seconds"]) == (True, 50_000_000, 600)
    assert plan["replies"] == rows("Mikrotik-Rate-Limit := 10M/50M", "Acct-Interim-Interval := 600", "Framed-Pool := gold")
    assert found.notes


def test_bursts_and_wispr_and_huawei_rates_are_known(translate):
    tables = Tables().group("burst", ("Mikrotik-Rate-Limit", "=", "10M/50M 20M/100M 8M/40M 8/8 5"), GOLD[1]).user("alice", CLEAR, groups=("burst",))
    plan = translate(tables).plans["burst"]
    assert (plan["burst_down_bps"], plan["burst_threshold_up_bps"], plan["burst_seconds"], plan["priority"], plan["raw"]) == (
        100_000_000, 8_000_000, 8, 5, False,
    )  # fmt: skip
    wispr = [("WISPr-Bandwidth-Max-Up", ":=", "2000000"), ("WISPr-Bandwidth-Max-Down", ":=", "8000000"), GOLD[1]]
    tables = Tables(nas=(("10.0.0.1", "a", "other"),)).group("wispr", *wispr).user("alice", CLEAR, groups=("wispr",))
    plan = translate(tables).plans["wispr"]
    assert (plan["down_bps"], plan["up_bps"], plan["raw"], plan["replies"]) == (8_000_000, 2_000_000, False, [])


def test_what_a_user_has_besides_is_told_as_the_difference_to_the_plan(translate):
    tables = Tables().group("gold", ("Mikrotik-Rate-Limit", "=", "10M/50M"), GOLD[1], ("Framed-Route", "+=", "10.1.0.0/16"), ("Idle-Timeout", ":=", "300"))
    tables.user(
        "own", CLEAR, replies=(("Mikrotik-Rate-Limit", ":=", "1M/2M"), ("Framed-Route", "=", "10.2.0.0/16"), ("Idle-Timeout", ":=", "60")), groups=("gold",)
    )
    tables.user("fixed", CLEAR, replies=(("Framed-IP-Address", "=", "10.9.0.1"),), groups=("gold",))
    tables.user("same", CLEAR, replies=(("Framed-IP-Address", "=", "10.9.0.1"),), groups=("gold",))
    found = translate(tables)
    assert found.users["own"]["replies"] == rows("Mikrotik-Rate-Limit := 1M/2M", "Framed-Route += 10.2.0.0/16")
    assert (found.users["fixed"]["ipv4"], found.users["fixed"]["replies"]) == ("10.9.0.1", [])
    assert (found.users["same"]["ipv4"], found.users["same"]["replies"]) == (None, rows("Framed-IP-Address := 10.9.0.1"))
    assert found.errors == []
    assert "user fixed's already" in found.notes[0]


def test_several_groups_make_a_plan_of_their_own(translate):
    tables = Tables().group("base", ("Reply-Message", "+=", "hi"), ("Fall-Through", "=", "Yes")).group("gold", *GOLD).group("more", GOLD[2])
    tables.user("alice", CLEAR, groups=("base", "gold", "more")).user("bob", CLEAR, groups=("base", "gold")).user("carol", CLEAR, groups=("gold", "base"))
    found = translate(tables)
    assert set(found.plans) == {"base+gold", "gold"}
    assert found.users["alice"]["plan"] == found.users["bob"]["plan"] == "base+gold"


def test_passwords(translate):
    tables = Tables()
    tables.user("nt", ("NT-Password", ":=", "0x44EBBA8D5312B8D611474411F56989AE")).user("md5", ("Password-With-Header", ":=", "{MD5}" + "0" * 32))
    tables.user("plain", ("Password-With-Header", ":=", "{clear}pw")).user("crypt", ("Crypt-Password", ":=", "$1$abc$secrethash"))
    tables.user("both", ("MD5-Password", ":=", "0" * 32), CLEAR).user("long", ("Cleartext-Password", ":=", "x" * 129))
    found = translate(tables)
    assert found.users["nt"]["password_hash"].startswith("{nt}")
    assert found.users["md5"]["password_hash"].startswith("{md5}")
    assert found.users["plain"]["password"] == "pw"
    assert set(found.users) == {"nt", "md5", "plain"}
    assert len(found.errors) == 3
    assert not any(secret in text for text in found.errors for secret in ("secrethash", "wonderland", "xxx", "000")), "values of passwords are not told"


def test_who_is_always_rejected_is_left_out_or_suspended(translate):
    tables = Tables().group("disabled", checks=(("Auth-Type", ":=", "Reject"),)).group("gold", *GOLD)
    tables.user("compared", ("Cleartext-Password", "==", "x")).user("none", ("Session-Timeout", ":=", "60")).user(
        "zero", CLEAR, ("Simultaneous-Use", ":=", "0")
    )
    tables.user("off", CLEAR, groups=("disabled", "gold"))
    found = translate(tables)
    assert list(found.users) == ["off"]
    assert found.users["off"]["state"] == "suspended"
    assert found.errors == []
    assert len([note for note in found.notes if "left out" in note]) == 3


def test_what_restricts_and_cannot_be_carried_keeps_the_user_out_unless_it_is_ignored(translate):
    tables = Tables().group("night", *GOLD, checks=(("Login-Time", ":=", "whenever"),)).group("ether", *GOLD, checks=(("NAS-Port-Type", "==", "Ethernet"),))
    tables.user("alice", CLEAR, groups=("night",)).user("bob", CLEAR, groups=("ether",)).user("carol", CLEAR, ("Huntgroup-Name", "==", "x"))
    tables.user("dave", ("Auth-Type", ":=", "Accept")).user("erin", CLEAR, replies=(("Tunnel-Password:1", ":=", "hush"),))
    found = translate(tables)
    assert found.users == {}
    assert len(found.errors) == 5
    assert all(text.split(":")[0].split()[0].startswith("rad") for text in found.errors), "each names its table and row"
    assert "hush" not in " ".join(found.errors)
    found = translate(tables, ignored={"login-time", "nas-port-type", "huntgroup-name", "auth-type", "tunnel-password"})
    assert set(found.users) == {"alice", "bob", "carol", "erin"}
    assert found.errors == []


def test_login_time_becomes_access_hours(translate):
    tables = Tables().group("night", *GOLD, checks=(("Login-Time", ":=", "Al0100-0600"),)).user("alice", CLEAR, groups=("night",))
    tables.user("bob", CLEAR, ("Login-Time", ":=", "Wk0855-1705,Sa")).user("carol", CLEAR)
    found = translate(tables)
    assert found.errors == []
    assert found.users["bob"]["access_hours"] == canonical("Wk0855-1705,Sa")
    assert found.users["alice"]["access_hours"] == canonical("Al0100-0600"), "a group's holds for its users"
    assert found.users["carol"]["access_hours"] is None


def test_session_limits_and_expiry(translate):
    tables = Tables().group("one", *GOLD, checks=(("Simultaneous-Use", "=", "1"),)).group("set", *GOLD, checks=(("Simultaneous-Use", ":=", "1"),))
    tables.user("alice", CLEAR, ("Simultaneous-Use", ":=", "3"), groups=("set",)).user("bob", CLEAR, ("Simultaneous-Use", ":=", "3"))
    tables.user("carol", CLEAR, ("Expiration", ":=", "Jan 02 2037 01:00:00")).user("dave", CLEAR, ("Expiration", ":=", "whenever"))
    found = translate(tables)
    assert found.plans["set"]["max_sessions"] == 1
    assert found.users["alice"]["max_sessions"] is None, "the group's := comes after the user's"
    assert found.users["bob"]["max_sessions"] == 3
    assert found.users["carol"]["expires_at"] == "2037-01-01T23:00:00+00:00", "in the zone of the FreeRADIUS server"
    assert len(found.errors) == 1


def test_names(translate):
    tables = Tables().user("Alice", CLEAR).user("alice", CLEAR).user("o=27brien", CLEAR).user("back\\slash", CLEAR)
    found = translate(tables)
    assert set(found.users) == {"Alice", "o'brien", "back\\slash"}
    assert "differs from user Alice in case only" in found.errors[0]
    assert "safe_characters" in found.notes[0]
    folded = Tables(fold_case=True).group("GOLD", *GOLD).user("bob", CLEAR, groups=("gold ",))
    assert translate(folded).plans["gold"]["down_bps"] == 50_000_000


def test_nas(translate):
    nas = (("10.0.0.0/24", "edge", "MikroTik"), ("10.0.1.1", "edge", "other"), ("bras.example", "", "cisco"), ("gone.example", "x", "cisco"))
    found = translate(Tables(nas=nas), vendor_map={"other": "huawei"})
    assert {name: (each["address"], each["vendor"]) for name, each in found.nas.items()} == {
        "edge": ("10.0.0.0/24", "mikrotik"), "edge 10.0.1.1": ("10.0.1.1", "huawei"), "192.0.2.9": ("192.0.2.9", "cisco"),
    }  # fmt: skip
    assert {each["require_message_authenticator"] for each in found.nas.values()} == {"auto"}
    assert "gone.example" in found.errors[0]


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock shows the time of Berlin."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_expiry_by_this_machines_clock_in_summer_as_in_winter(extensions):
    """Whichever of them it is while the users are brought in."""
    tables = Tables().user("ann", CLEAR, ("Expiration", ":=", "Jan 02 2037 01:00:00")).user("bob", CLEAR, ("Expiration", ":=", "Jul 02 2037 01:00:00"))
    arguments = Namespace(time_zone=None, vendor_map=(), ignore=())
    found = Outcome(translation(arguments, tables, extensions))
    assert [found.users[name]["expires_at"] for name in ("ann", "bob")] == ["2037-01-02T00:00:00+00:00", "2037-07-01T23:00:00+00:00"]
