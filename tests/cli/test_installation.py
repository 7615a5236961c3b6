"""``check``, ``migrate`` and ``token create`` where no daemon can be asked."""

import json
import re

import pytest

from netd.domain.ports import Part
from netd.radius.journal import Entry, Journal
from netd.radius.record import AccountingSwitch
from netd.store.embedded import EmbeddedServer
from tests.cli.conftest import run_netd


@pytest.fixture
def bare(tmp_path):
    """``await bare("check", NAME="value")``: the command in an empty folder, with its data in a fresh one."""

    async def call(*arguments, data_dir=tmp_path / "data", **environ):
        return await run_netd(*arguments, environ={"NETD_DATA_DIR": str(data_dir), **environ}, folder=tmp_path)

    return call


async def test_check_on_nothing_yet(bare, tmp_path):
    ended = await bare("check", "--json")
    assert ended.code == 0, ended.out + ended.err
    levels = {finding["subject"]: finding["level"] for finding in json.loads(ended.out)}
    assert levels == {"configuration": "ok", "keys": "note", "extensions": "ok", "engine": "ok", "database": "note", "daemon": "note"}
    assert not (tmp_path / "data").exists()


async def test_check_of_a_database(bare, dsn, empty_dsn):
    ended = await bare("check", NETD_DATABASE__URL=dsn)
    assert (ended.code, ended.err) == (0, "")
    assert "ok     database: the schema is up to date" in ended.out
    ended = await bare("check", NETD_DATABASE__URL=empty_dsn)
    assert ended.code == 0
    assert "to apply" in ended.out


async def test_check_finds_what_is_wrong(bare, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret.key").write_text("not a key\n")
    (tmp_path / "data" / "secret.key").chmod(0o600)
    (tmp_path / "vendors" / "acme").mkdir(parents=True)
    (tmp_path / "vendors" / "acme" / "manifest.toml").write_text("name = 5\n")
    ended = await bare("check", NETD_DATABASE__URL="postgresql://netd@127.0.0.1:9/netd", NETD_EXTENSIONS__FOLDERS=str(tmp_path / "vendors"))
    assert (ended.code, ended.err) == (1, "")
    faults = [line.split()[1] for line in ended.out.splitlines() if line.startswith("fault")]
    assert faults == ["keys:", "extensions:", "database:"]


async def test_check_asks_the_daemon_how_it_is(bare, api, dsn, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api.url").write_text(api.url + "\n")
    well = await bare("check", NETD_DATABASE__URL=dsn)
    assert (well.code, f"ok     daemon: answers at {api.url}" in well.out) == (0, True)
    api.health.listed = [Part(name="radius", state="ok", critical=True), Part(name="database", state="down", detail="connection refused")]
    ill = await bare("check", NETD_DATABASE__URL=dsn)
    assert (ill.code, "fault  daemon: database is down (connection refused)" in ill.out) == (1, True)
    (tmp_path / "data" / "api.url").write_text("http://127.0.0.1:9\n")
    stopped = await bare("check", NETD_DATABASE__URL=dsn)
    assert (stopped.code, "note   daemon: does not run" in stopped.out) == (0, True)


async def test_check_tells_of_a_journal_that_waits(bare, tmp_path):
    folder = tmp_path / "data" / "journal"
    journal = Journal(folder, 1 << 20, "node")
    journal.open("3f2a")
    switch = AccountingSwitch(1, "192.0.2.1", None, None, 1.5e9, "NAS-Reboot")
    journal.append([switch])
    journal.close()
    ended = await bare("check")
    assert ended.code == 0
    assert re.search(r"^note   journal: \d+ octets of accounting wait since \S+ for the database 3f2a in \S+/journal$", ended.out, re.MULTILINE)
    journal.set_aside(Entry("j", 1, switch, b""), "no such tenant")
    ended = await bare("check")
    assert (ended.code, "fault  journal: records that the database refused are kept in" in ended.out) == (1, True)


async def test_what_was_refused_is_handed_to_the_daemon_once(bare, tmp_path):
    folder = tmp_path / "data" / "journal"
    nothing = await bare("accounting", "retry-refused")
    assert (nothing.code, nothing.out) == (0, "nothing to try again\n")
    journal = Journal(folder, 1 << 20, "node")
    journal.open("3f2a")
    for number in (1, 2):
        journal.set_aside(Entry("j", number, AccountingSwitch(1, "192.0.2.1", None, None, 1.5e9, "NAS-Reboot"), b""), "no such tenant")
    asked = await bare("accounting", "retry-refused")
    assert (asked.code, "2 records are tried again" in asked.out) == (0, True)
    assert len(journal.asked_again()) == 2
    journal.set_aside(Entry("j", 3, None, b"?"), "no such tenant")
    twice = await bare("accounting", "retry-refused", "--json")
    assert (twice.code, json.loads(twice.out)) == (1, {"records": 0, "busy": [str(folder / "3f2a")]})
    kept = journal.asked_again()[:1]
    journal.tried_again(kept)
    assert (folder / "3f2a" / "refused.json").read_bytes().splitlines()[1:] == kept, "behind what was refused meanwhile"
    assert (journal.kept_aside, journal.asked_again()) == (2, [])
    journal.close()


async def test_a_folder_that_cannot_be_is_one_line(bare, tmp_path):
    (tmp_path / "file").write_text("")
    ports = {"NETD_RADIUS__AUTH_PORT": "0", "NETD_RADIUS__ACCT_PORT": "0", "NETD_RELAY__PORT": "0", "NETD_WEB__PORT": "0"}
    ended = await bare("serve", data_dir=tmp_path / "file", **ports)
    assert (ended.code in (1, 2), ended.out, ended.err.count("\n")) == (True, "", 1)
    assert f"{tmp_path}/file" in ended.err


async def test_a_wrong_key_is_2_and_named(bare, tmp_path):
    file = tmp_path / "netd.toml"
    file.write_text("[radius]\nauth_prot = 1812\n")
    for command in ("check", "serve", "migrate"):
        ended = await bare(command, "--config", str(file))
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert "radius.auth_prot" in ended.err
    ended = await bare("check", NETD_RADIUS__AUTH_PORT="many")
    assert (ended.code, "NETD_RADIUS__AUTH_PORT" in ended.err) == (2, True)


async def test_migrate(bare, empty_dsn):
    ended = await bare("migrate", "--json", NETD_DATABASE__URL=empty_dsn)
    assert ended.code == 0, ended.err
    assert ended.value["applied"][0] == "0001_foundation"
    assert (await bare("migrate", NETD_DATABASE__URL=empty_dsn)).out == "nothing to apply\n"
    ended = await bare("migrate", NETD_DATABASE__URL="postgresql://netd@127.0.0.1:9/netd", NETD_DATABASE__START_TIMEOUT_SECONDS="2")
    assert (ended.code, ended.err.count("\n")) == (1, 1)


async def test_a_token_is_made_in_the_database(bare, api, dsn):
    made = await bare("token", "create", "--role", "operator", "--name", "portal", NETD_DATABASE__URL=dsn)
    assert made.code == 0, made.err
    answer = await api.get("/plans", role=None, headers={"Authorization": f"Bearer {made.out.strip()}"})
    assert answer.status == 200
    row = (await api.get("/audit?object_type=token")).value["items"][0]
    assert (row["actor"], row["action"], row["after"]["role"]) == ("netd token create", "token.create", "operator")
    ended = await bare("token", "create", "--name", "x" * 65, NETD_DATABASE__URL=dsn)
    assert (ended.code, ended.err) == (2, "netd: name: has more than 64 characters\n")


async def test_a_token_is_made_in_the_embedded_database_running_or_not(bare, data_dir):
    made = await bare("token", "create", data_dir=data_dir)
    assert made.code == 0, made.err
    assert made.out.startswith("netd_")
    async with EmbeddedServer(data_dir):
        again = await bare("token", "create", "--json", data_dir=data_dir)
        assert again.code == 0, again.err
        assert again.value["token"]["id"] == 2
        checked = await bare("check", data_dir=data_dir)
        assert "the schema is up to date" in checked.out
        assert re.search(r"PostgreSQL 1\d\.[1-9]\d* is reachable", checked.out)
