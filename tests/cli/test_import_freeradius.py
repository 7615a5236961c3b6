"""``netd import freeradius`` against the running API: several batches, faults that the daemon finds, and what is said of them."""

import asyncio
import json
from typing import Any

import pytest

from netd.cli import freeradius, main
from tests.freeradius.test_translate import CLEAR, GOLD, Tables


@pytest.fixture
def bring_in(api, monkeypatch, capfd):
    monkeypatch.setenv("NETD_URL", api.url)
    monkeypatch.setenv("NETD_TOKEN", api.tokens["operator"])

    async def run(tables: Tables, *options: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(freeradius, "open_source", lambda arguments: tables)
        capfd.readouterr()
        code = await asyncio.to_thread(main, ["import", "freeradius", "postgresql://db/radius", *options])
        out, err = capfd.readouterr()
        return code, json.loads(out) if "--json" in options else out, err

    return run


async def usernames(api) -> list[str]:
    return [each["username"] for each in (await api.get("/subscribers")).value["items"]]


def people(count: int) -> Tables:
    tables = Tables().group("gold", *GOLD).group("silver", ("Framed-Route", "=", "10.0.0.0/8"))
    for number in range(count):
        tables.user(f"u{number}", CLEAR, groups=("gold" if number % 2 else "silver",))
    return tables


@pytest.mark.parametrize("octets", [48 << 20, 2000])
async def test_one_batch_or_many_come_to_the_same(api, bring_in, monkeypatch, octets):
    monkeypatch.setattr(freeradius, "BATCH_OCTETS", octets)
    code, told, _ = await bring_in(people(30), "--json")
    assert (code, told["stored"], told["faults"]) == (0, True, [])
    assert told["done"]["subscribers"] == {"created": 30, "updated": 0, "unchanged": 0}
    assert len(await usernames(api)) == 30
    code, out, err = await bring_in(people(30))
    assert (code, err) == (0, "note: group silver: becomes the raw plan silver, which sends these attributes: no vendor's driver says just this\n")
    assert "subscribers: 0 created, 0 updated, 30 unchanged" in out


@pytest.mark.parametrize("octets", [48 << 20, 2000])
async def test_what_the_daemon_finds_wrong_is_told_by_row_and_keeps_all_out(api, bring_in, monkeypatch, octets):
    monkeypatch.setattr(freeradius, "BATCH_OCTETS", octets)
    tables = people(20).user("odd", CLEAR, replies=(("Framed-Route", "=", "10.7.0.0/16"), ("Filter-Id", "=", "x")), groups=("gold",))
    tables.user("picky", CLEAR, ("Calling-Station-Id", "=~", "^00"), ("NAS-Port", "==", "1"), groups=("gold",))
    code, out, err = await bring_in(tables)
    assert code == 2
    assert "nothing was stored" in out
    assert await usernames(api) == []
    faults = [line for line in err.splitlines() if line.startswith("error")]
    assert len(faults) == 2
    odd, picky = (list(tables.users())[number] for number in (20, 21))
    assert faults[0].startswith(f"error: radreply {odd.replies[1].id}: user odd: replies: Filter-Id")
    assert faults[1].startswith(f"error: radcheck {picky.checks[2].id}: user picky: checks: NAS-Port")
    assert "wonderland" not in out + err
    code, out, err = await bring_in(tables, "--skip-bad")
    assert code == 0
    assert len(await usernames(api)) == 20


async def test_a_row_that_cannot_be_carried_keeps_all_out_too_and_a_dry_run_stores_nothing(api, bring_in):
    tables = people(2).user("night", CLEAR, ("Pool-Name", ":=", "dynamic"))
    for options in ((), ("--dry-run",), ("--dry-run", "--skip-bad")):
        code, _, err = await bring_in(tables, *options)
        assert code == (0 if "--skip-bad" in options else 2)
        assert "radcheck" in err and "user night: Pool-Name := dynamic: has no counterpart" in err
        assert await usernames(api) == []
    code, _, _ = await bring_in(tables, "--ignore", "pool-name")
    assert code == 0
    assert "night" in await usernames(api)


async def test_a_body_of_another_kind_and_a_reader_are_refused(api):
    assert (await api.post("/import", {})).status == 415
    answer = await api.post("/import", {}, role="read_only")
    assert answer.status == 403
