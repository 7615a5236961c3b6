"""The move from FreeRADIUS: a real one on its own schema, its users brought into a running netd, and both asked the same."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import public_folder
from tests.e2e.daemon import NETD, Daemon, daemon, eventually
from tests.e2e.freeradius import SECRET, FreeRadius, MariaDb, fill_postgresql, queries
from tests.e2e.freeradius_users import KINDS, Account, Tables, accounts
from tests.e2e.radclient import radclient

USERS = int(os.environ.get("FREERADIUS_USERS", str(3 * len(KINDS))))
SLACK_SECONDS = "30"
"""By which times that are left may differ: one of the two may be asked, or answer, later."""

REQUESTED = ("Calling-Station-Id", "NAS-Identifier", "NAS-Port-Type", "NAS-Port", "Service-Type")


class Move:
    """Both servers, the source's DSN without its password, and who stands in it."""

    def __init__(self, netd: Daemon, peer: FreeRadius, dsn: str, password: str, people: list[Account], folder: Path) -> None:
        self.netd = netd
        self.peer = peer
        self.dsn = dsn
        self.people = people
        self.folder = folder
        (folder / "source.password").write_text(password + "\n")
        (folder / "radius.secret").write_text(SECRET + "\n")
        self.seconds: dict[str, float] = {}

    def bring_in(self, *options: str) -> tuple[int, dict[str, Any]]:
        """``netd import freeradius``: exit code and answer."""
        began = time.monotonic()
        line = ["import", "freeradius", self.dsn, "--password-file", str(self.folder / "source.password"), "--time-zone", "UTC", "--json", *options]
        done = self.netd.command(*line, seconds=900)
        self.seconds["import"] = time.monotonic() - began
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def shadow(self, people: list[Account], methods: str, *options: str) -> tuple[int, dict[str, int], dict[str, str]]:
        """``netd shadow``: exit code, summary, and the differences' texts by user and method."""
        path = self.folder / "users.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["username", "password", *REQUESTED])
            writer.writerows([account.name, account.password, *[account.request.get(name, "") for name in REQUESTED]] for account in people)
        began = time.monotonic()
        line = ["shadow", "--peer", f"127.0.0.1:{self.peer.port}", "--netd", f"127.0.0.1:{self.netd.auth_port}", "--users", str(path)]
        line += ["--secret-file", str(self.folder / "radius.secret"), "--methods", methods, "--slack", SLACK_SECONDS, "--json", *options]
        done = self.netd.command(*line, seconds=900)
        self.seconds[f"shadow {methods}"] = time.monotonic() - began
        *differences, summary = [json.loads(text) for text in done.stdout.splitlines()] or [{}]
        assert summary, done.stderr
        return done.returncode, summary, {f"{d['username']} {d['method']}": json.dumps(d) for d in differences}


def anywhere(program: str) -> str:
    """Its path, also where only root's shells look; its name if it is not there."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin") or program


@pytest.fixture(scope="module")
def people() -> list[Account]:
    return accounts(USERS)


@pytest.fixture(params=["postgresql", "mysql"], scope="module")
def move(request: pytest.FixtureRequest, made_cluster: Path, require_peer: Callable[[str], str], people: list[Account]) -> Iterator[Move]:
    """Everything running; nothing brought in yet."""
    program = require_peer(anywhere("freeradius"))
    if queries(request.param) is None:
        require_peer(f"/etc/freeradius/3.0/mods-config/sql/main/{request.param}/queries.conf")
    tables = Tables(people, SECRET)
    with ExitStack() as stack:
        folder = stack.enter_context(public_folder())
        if request.param == "postgresql":
            url = fill_postgresql(request.getfixturevalue("external_postgres15"), tables)
        else:
            maria = MariaDb(stack, folder, require_peer(anywhere("mariadbd")), require_peer("mariadb-install-db"))
            maria.fill(tables)
            url = maria.url
        peer = FreeRadius(stack, folder, program, request.param, url)
        if (made_cluster / "postgres").exists():
            shutil.copytree(made_cluster / "postgres", folder / "postgres", symlinks=True, copy_function=shutil.copy2)
            _own_like(made_cluster / "postgres", folder / "postgres")
        settings = {"NETD_RADIUS__USER_FAILURES_PER_MINUTE": "100000", "NETD_RADIUS__SOURCE_FAILURES_PER_MINUTE": "1000000"}
        running = stack.enter_context(daemon(folder, NETD_RADIUS__REJECT_DELAY_SECONDS="0", **settings))
        password = url.partition("://")[2].partition("@")[0].partition(":")[2]
        yield Move(running, peer, url.replace(f":{password}@", "@"), password, people, folder)


def _own_like(source: Path, copy: Path) -> None:
    for place in (source, *source.rglob("*")):
        owner = place.lstat()
        os.chown(copy / place.relative_to(source), owner.st_uid, owner.st_gid, follow_symlinks=False)


def by_fate(people: list[Account], *fates: str) -> list[Account]:
    return [account for account in people if account.fate in fates]


@pytest.mark.timeout(1800)
def test_everybody_gets_the_same_answer_as_before(move: Move) -> None:
    code, told = move.bring_in("--dry-run")
    assert code == 2, "some cannot be carried over, and it says so"
    assert not told["stored"]
    assert move.netd.json("subscriber", "list")["items"] == []

    code, told = move.bring_in()
    assert (code, told["stored"]) == (2, False), "all or nothing"
    assert move.netd.json("nas", "list")["items"] == []

    code, told = move.bring_in("--skip-bad")
    assert told["faults"] == []
    assert (code, told["stored"]) == (0, True)
    counts = told["source"]
    assert counts["brought"] == len(by_fate(move.people, "carried")) == told["done"]["subscribers"]["created"]
    assert counts["kept_out"] == len(by_fate(move.people, "kept_out"))
    assert counts["left_out"] == len(by_fate(move.people, "left_out"))
    kept_out = {issue["user"] for issue in told["issues"] if issue["severity"] == "error"}
    assert kept_out == {account.name for account in by_fate(move.people, "kept_out")}
    assert all(account.password not in json.dumps(told) for account in move.people if account.kind != "group-password")

    compare(move, move.people, "pap")
    compare(move, [account for account in move.people if not account.hashed], "chap")
    compare(move, [account for account in move.people if not account.hashed or account.kind == "nt"], "mschapv2")
    print(f"\n{len(move.people)} users: {move.seconds}")

    code, told = move.bring_in("--skip-bad")
    assert code == 0
    assert told["done"]["subscribers"] == {"created": 0, "updated": 0, "unchanged": counts["brought"]}, "again: nothing"
    assert told["done"]["plans"]["unchanged"] and not told["done"]["plans"]["updated"] and not told["done"]["nas"]["updated"]


def compare(move: Move, people: list[Account], method: str) -> None:
    """Every difference is one that was explained beforehand, and every one of these shows."""
    code, summary, differences = move.shadow(people, method)
    expected = {f"{account.name} {method}": account for account in people if account.explained}
    unexplained = {who: text for who, text in differences.items() if who not in expected or expected[who].explained not in text}
    assert not unexplained, list(unexplained.items())[:10]
    assert set(differences) == set(expected)
    assert code == (1 if expected else 0)
    assert summary["compared"] == len(people)
    assert summary["unanswered"] == 0
    assert summary["accepted_by_both"] > len(people) // 2


def test_a_nas_served_by_the_mirror_gets_freeradius_s_answer(move: Move, radclient_program: str) -> None:
    """The move as an operator makes it, after the import: real NAS are pointed at the mirror, and what differs is printed."""
    carried = next(account for account in move.people if account.kind == "burst")
    kept_out = next(account for account in move.people if account.kind == "cable")
    line = ["shadow", "--listen", "127.0.0.1:0", "--allow", "127.0.0.0/8", "--peer", f"127.0.0.1:{move.peer.port}", "--json"]
    line += ["--netd", f"127.0.0.1:{move.netd.auth_port}", "--secret-file", str(move.folder / "radius.secret")]
    with (move.folder / "mirror.out").open("wb") as out, (move.folder / "mirror.err").open("wb") as err:
        mirror = subprocess.Popen([NETD, *line], stdout=out, stderr=err, env=move.netd.environment, cwd="/")
    try:
        told = eventually(lambda: re.search(r"port (\d+)", (move.folder / "mirror.err").read_text()))
        for account in (carried, kept_out):
            request = f'User-Name = "{account.name}", User-Password = "{account.password}", Message-Authenticator = 0x00'
            reply = radclient(radclient_program, int(told[1]), "auth", request, SECRET)
            assert reply.name == "Access-Accept", reply.printed
            assert reply.all("Class") == [], "the peer's answer, not netd's"
        (difference,) = eventually(lambda: [line for line in (move.folder / "mirror.out").read_text().splitlines(keepends=True) if line.endswith("\n")])
        assert json.loads(difference)["username"] == kept_out.name
        mirror.send_signal(signal.SIGTERM)
        assert mirror.wait(120) == 1
    finally:
        mirror.kill()
        mirror.wait()
    summary = json.loads((move.folder / "mirror.out").read_text().splitlines()[-1])
    assert (summary["compared"], summary["identical"]) == (2, 1)


def test_a_plan_that_came_from_a_group_can_be_changed_and_the_import_says_what_the_source_has(move: Move, radclient_program: str) -> None:
    account = next(account for account in move.people if account.kind == "fiber")
    assert move.netd.json("plan", "show", "fiber")["raw"] is False
    move.netd.netd("plan", "update", "fiber", "--down", "2G", "--up", "200M")

    def rate() -> list[str]:
        request = f'User-Name = "{account.name}", User-Password = "{account.password}", Message-Authenticator = 0x00, Calling-Station-Id = "netd-shadow"'
        return radclient(radclient_program, move.netd.auth_port, "auth", request, SECRET).all("Mikrotik-Rate-Limit")

    assert rate() == ["200M/2000M"]
    move.bring_in("--skip-bad")
    assert rate() == ["100M/1000M"], "until the switch the source's word counts"


def test_log_ins_can_be_taken_from_the_tables(move: Move) -> None:
    """Nobody has to make a list: passwords in clear, and requests that fulfil the conditions, come from where FreeRADIUS has them."""
    line = ["shadow", "--peer", f"127.0.0.1:{move.peer.port}", "--netd", f"127.0.0.1:{move.netd.auth_port}", "--slack", SLACK_SECONDS, "--json"]
    line += ["--secret-file", str(move.folder / "radius.secret"), "--from", move.dsn, "--password-file", str(move.folder / "source.password")]
    done = move.netd.command(*line, seconds=900)
    *differences, summary = [json.loads(text) for text in done.stdout.splitlines()]
    explained = {account.name for account in move.people if account.explained}
    assert {difference["username"] for difference in differences} <= explained
    assert summary["identical"] > summary["compared"] * 0.9
    assert summary["compared"] > len(move.people) * 0.6
    assert done.returncode == 1
