"""Who is expected, as the DHCP responder asks it; who came unexpected, by hand and by rules."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from netd.config import BootConfig
from netd.domain import adoption, expected
from netd.domain.adoption import Adoption, CandidateQuery, Disregard, NewRule
from netd.domain.expected import Retry
from netd.errors import Conflict, InvalidInput
from netd.model.boot import BootCandidate
from netd.model.ztp import Granted
from netd.store import boot as boot_store
from netd.ztp import expected as expected_module
from netd.ztp.known import Known
from tests.ztp.booting import ACTOR, Booting, client, serving
from tests.ztp.conftest import until


@pytest.fixture
async def booting(database, dsn, tmp_path, extensions) -> AsyncIterator[Booting]:
    made = Booting(database, dsn, tmp_path, extensions, BootConfig(enabled=True, host="192.0.2.5"))
    async with database.acquire() as conn:
        await conn.execute("insert into sites (tenant_id, name) values (1, 'oslo')")
        await conn.execute("insert into dhcp_subnets (tenant_id, name, prefix, site_id) select 1, 'access', '10.1.0.0/24', id from sites")
    yield made
    await made.expected.close()


async def candidates(booting: Booting) -> list[BootCandidate]:
    return list((await adoption.candidates(booting.database, ACTOR, CandidateQuery())).items)


async def test_all_that_is_known_must_fit(booting):
    await booting.device("a", serial="S1", mac="02:00:00:00:00:01", circuit_id="olt1 eth 1/.*")
    await booting.device("b", serial=None, mac="02-00-00-00-00-02")
    await booting.device("c", serial=None, circuit_id="olt9 .*", variables={"name": "line"})
    resolve = booting.expected.resolve
    line = {"circuit_id": b"olt1 eth 1/7"}
    assert resolve(client("s1", **line)) is not None
    assert resolve(client("S1", circuit_id=b"olt1 eth 2/7")) is None
    assert resolve(client("S1", mac="02:00:00:00:00:09", **line)) is None
    assert resolve(client("", **line)) is None  # the MAC address alone is not enough
    assert resolve(client("S1", tenant_id=2, **line)) is None
    assert resolve(client("", mac="02:00:00:00:00:02")) is not None
    answer = resolve(client("", mac="", circuit_id=b"olt9 x"))
    assert answer is not None and answer.variables == {"name": "line", "tftp_address": "192.0.2.5"}
    assert resolve(client("", mac="", circuit_id=b"olt10 x")) is None


async def test_of_many_that_are_known_by_their_line_a_few_are_tried(booting, monkeypatch):
    """Each packet asks, in the loop that decides log-ins."""
    await booting.device("first", serial=None, circuit_id="olt0 eth 1/1/1(:.*)?")
    await booting.device("any", serial=None, circuit_id=".*eth 9")
    async with booting.database.acquire() as conn:
        await conn.execute(
            """insert into ztp_devices (tenant_id, hostname, circuit_id, profile, vendor, transport, opens_at, closes_at, secret)
               select tenant_id, 'cpe' || n, 'olt1 eth 1/' || n || '/1(:.*)?', profile, vendor, transport, opens_at, closes_at, secret
               from ztp_devices, generate_series(1, 2000) n where hostname = 'first'"""
        )
    await booting.expected.load()
    tried: list[str] = []
    fits = Known.fits

    def counted(known: Any, seen: Any) -> bool:
        tried.append(known.row.hostname)
        return fits(known, seen)

    monkeypatch.setattr(Known, "fits", counted)
    for line, found in ((b"olt1 eth 1/1234/1:100", "cpe1234"), (b"olt0 eth 1/1/1", "first"), (b"olt7 eth 9", "any"), (b"olt1 eth 1/12/12", None)):
        known = booting.expected._index.find(client("", circuit_id=line))
        assert (known and known.row.hostname) == found
        assert len(tried) <= 2, tried
        tried.clear()
    async with booting.database.acquire() as conn:
        gone = await conn.fetchval("delete from ztp_devices where hostname = 'cpe1234' returning id")
    await booting.expected._read_anew([gone])
    assert booting.expected._index.find(client("", circuit_id=b"olt1 eth 1/1234/1:100")) is None and tried == ["any"]


async def test_outside_its_window_nobody_is_expected(booting):
    await booting.device("a")
    assert booting.expected.resolve(client("A")) is not None
    booting.ahead = timedelta(days=31)
    assert booting.expected.resolve(client("A")) is None
    assert booting.expected.strange["outside_window"] == 1


async def test_the_url_is_the_same_until_it_is_no_longer_good(booting):
    await booting.device("a")
    seen, address = client("A"), ip_address("10.1.0.9")
    answer = booting.expected.resolve(seen)
    urls = {booting.expected.boot_url(seen, answer, address) for _ in range(3)}
    other = Booting(booting.database, "", booting.folder, booting.extensions, booting.config)  # another node, or this one after a restart
    await other.expected.load()
    urls.add(other.expected.boot_url(seen, answer, address))
    assert len(urls) == 1 and urls.pop().startswith("http://192.0.2.5:8081/")
    assert booting.expected.boot_url(seen, answer, ip_address("10.1.0.10")) != booting.expected.boot_url(seen, answer, address)


async def test_what_was_told_is_written_with_the_lease_or_not_at_all(booting):
    device = await booting.device("a")
    seen, address = client("A"), ip_address("10.1.0.9")
    answer = booting.expected.resolve(seen)
    grant = Granted(step="offered", seen=seen, answer=answer, address=address, boot_url=booting.expected.boot_url(seen, answer, address))
    with pytest.raises(RuntimeError):
        async with booting.database.transaction() as conn:
            await booting.expected.granted(conn, [grant])
            raise RuntimeError("the lease fails")
    assert (await booting.state(device)).state == "expected"
    async with booting.database.transaction() as conn:
        await booting.expected.granted(conn, [grant, grant])
    assert (await booting.state(device)).state == "offered"
    assert await booting.steps(device) == ["expected", "offered"]
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select count(*) from ztp_tokens") == 3


async def test_devices_that_fetch_nothing_are_finished_once_they_have_an_address(booting):
    device = await booting.device("a", profile="mikrotik_routeros", platform="mikrotik_routeros", boot_template=None)
    assert await booting.told(client("A"), "10.1.0.9") == ""
    after = await booting.state(device)
    assert (after.state, str(after.address_now)) == ("configured", "10.1.0.9")
    await booting.expected.sweep()
    await booting.expected.sweep()
    async with booting.database.acquire() as conn:
        assert [row["unique_key"] for row in await conn.fetch("select unique_key from jobs")] == [f"ztp:{device.id}"]


async def test_what_no_driver_logs_in_to_keeps_its_options(booting):
    device = await booting.device("a", profile="tr069_cpe", boot_template=None, variables={"acs_url": "http://acs.example.net/"})
    for state in ("configured", "failed", "verified"):  # the first one by itself: it has an address
        if state != "configured":
            async with booting.database.acquire() as conn:
                await conn.execute("update ztp_devices set state = $1", state)
        assert await booting.told(client("A"), "10.1.0.9") == ""
        answer = booting.expected.resolve(client("A"))
        assert answer is not None and (answer.profile, answer.variables["acs_url"]) == ("tr069_cpe", "http://acs.example.net/")
        assert (await booting.state(device)).state == state
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select count(*) from jobs") == 0


@pytest.mark.parametrize(
    ("host", "host6", "told4", "told6"),
    [
        ("192.0.2.5", "", "192.0.2.5:8081", ""), ("192.0.2.5", "2001:db8::5", "192.0.2.5:8081", "[2001:db8::5]:8081"),
        ("2001:db8::5", "", "", "[2001:db8::5]:8081"), ("boot.example.net", "", "boot.example.net:8081", "boot.example.net:8081"),
        ("boot.example.net", "boot6.example.net", "boot.example.net:8081", "boot6.example.net:8081"),
    ],
)  # fmt: skip
async def test_a_device_is_told_a_place_that_its_family_reaches(database, dsn, tmp_path, extensions, host, host6, told4, told6):
    booting = Booting(database, dsn, tmp_path, extensions, BootConfig(enabled=True, host=host, host6=host6))
    device = await booting.device("a")
    for address, told in (("10.1.0.9", told4), ("2001:db8:1::9", told6)):
        answer = booting.expected.resolve(client("A"))
        assert answer is not None
        assert booting.expected.boot_url(client("A"), answer, ip_address(address)).rpartition("/")[0].rpartition("/")[0] == (told and f"http://{told}")
        async with booting.database.transaction() as conn:
            granted = Granted(step="offered", seen=client("A"), answer=answer, address=ip_address(address), boot_url="")
            await booting.expected.granted(conn, [granted])
    assert (await booting.state(device)).state == "expected"  # it was told nothing so far
    shown = await expected.preview(database, ACTOR, booting.files, device.id)
    assert shown.fault is None
    await booting.expected.close()


async def test_the_feed_brings_what_changed(booting):
    await booting.expected.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(booting.expected.run())
        device = await expected.create(
            booting.database, ACTOR, booting.keyring, expected.NewExpected(hostname="a", profile="plain", serial="A"), list(booting.profiles.values()),
            booting.catalogue, booting.now(), 1,
        )  # fmt: skip
        assert await booting.expected.feed.settle(90)
        assert booting.expected.resolve(client("A")) is not None
        await booting.reached(device, "seen")  # written a moment later
        await expected.delete(booting.database, ACTOR, device.id)
        assert await booting.expected.feed.settle(90)
        assert booting.expected.resolve(client("A")) is None
        running.cancel()


async def test_a_candidate_is_kept_once_with_all_that_it_said(booting):
    for _ in range(5):
        booting.expected.unexpected(client("X9", vendor_class=b"Arista;x", circuit_id=b"\xff\x01", relay=ip_address("10.1.0.1"), hostname=b"new"))
    await booting.expected.flush()
    booting.expected.unexpected(client("X9", circuit_id=b"\xff\x01"))
    await booting.expected.flush()
    (found,) = await candidates(booting)
    assert (found.serial, found.packets, found.state, found.circuit_id, found.subnet) == ("X9", 6, "new", "ff01", "access")
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select count(*) from events where type = 'ztp.candidate'") == 1


async def test_who_says_nothing_of_itself_is_no_candidate(booting):
    booting.expected.unexpected(client("", family=6, mac=""))
    await booting.expected.flush()
    assert await candidates(booting) == [] and booting.expected.strange == {"nameless": 1}


async def test_a_client_that_invents_itself_fills_no_table(booting):
    for number in range(5000):
        booting.expected.unexpected(client("", mac=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"))
    await booting.expected.flush()
    assert booting.expected.strange == {"candidate": 200, "line_too_many": 4800}
    assert len((await adoption.candidates(booting.database, ACTOR, CandidateQuery(limit=1000))).items) == 200


async def test_one_line_fills_neither_the_list_nor_the_events(booting):
    line: dict[str, Any] = {"circuit_id": b"olt1 eth 1/1", "serial": ""}
    for number in range(100):
        booting.expected.unexpected(client(mac=f"02:00:00:00:00:{number:02x}", **line))
    booting.expected.unexpected(client(mac="02:00:00:00:01:00", **{**line, "circuit_id": b"olt1 eth 1/2"}))  # the neighbour
    await booting.expected.flush()
    assert booting.expected.strange == {"candidate": 17, "line_too_many": 84}
    booting.expected.unexpected(client(mac="02:00:00:00:00:00", **line))  # who is known may come again
    for number in range(2, 40):
        booting.expected.unexpected(client(mac="02:00:00:00:02:00", **{**line, "circuit_id": b"olt1 eth 1/%d" % number, "client_id": bytes((1, number))}))
    await booting.expected.flush()
    assert len(await candidates(booting)) == 17 + 38
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select count(*) from events where type = 'ztp.candidate'") == 20
        assert await conn.fetchval("select packets from ztp_candidates where mac = '02:00:00:00:00:00'") == 2
    booting.later += 61.0
    await booting.expected.sweep()
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select sum((data->>'count')::int) from events where type = 'ztp.candidates'") == 35


async def test_a_clock_that_is_set_back_keeps_nobody_from_the_list(booting):
    line: dict[str, Any] = {"circuit_id": b"olt1 eth 1/1", "serial": ""}
    for number in range(40):
        booting.expected.unexpected(client(mac=f"02:00:00:00:00:{number:02x}", **line))
    await booting.expected.flush()
    booting.ahead, booting.later = timedelta(days=-400), booting.later + 181.0
    for number in range(40):
        booting.expected.unexpected(client(mac=f"02:00:00:00:01:{number:02x}", **line))
    await booting.expected.flush()
    assert len(await candidates(booting)) == 16 + 3
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select count(*) from events where type = 'ztp.candidate'") == 19


async def listed(booting: Booting, count: int) -> None:
    for _ in range(2000):
        if len(await candidates(booting)) == count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{len(await candidates(booting))} candidates, not {count}")


async def test_a_defect_keeps_no_other_candidate_from_the_list_and_ends_nothing(booting, monkeypatch, caplog):
    arrived = adoption.arrived

    async def broken(conn: Any, tenant_id: int, found: Any, *more: Any) -> Any:
        if found.serial == "BAD":
            await conn.execute("insert into events (tenant_id) values (1)")  # and its part of the transaction is undone
        return await arrived(conn, tenant_id, found, *more)

    monkeypatch.setattr(adoption, "arrived", broken)
    monkeypatch.setattr(expected_module, "FLUSH_SECONDS", 0.01)
    await booting.expected.open()
    running = asyncio.create_task(booting.expected.run())
    try:
        for serial in ("ALSO", "BAD", "GOOD"):
            booting.expected.unexpected(client(serial, circuit_id=serial.encode()))
        await listed(booting, 3)
        monkeypatch.setattr(adoption, "arrived", None)
        monkeypatch.setattr(boot_store, "strangers", None)  # all of it is broken
        booting.expected.unexpected(client("LATE"))
        await until(lambda: "devices that were seen are not written" in caplog.text)
        monkeypatch.undo()
        booting.expected.unexpected(client("LAST"))
        await listed(booting, 4)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert caplog.text.count("a candidate is not looked at") == 1


async def test_at_the_end_of_its_window_the_url_stays_the_same(booting):
    """No other would be good for longer."""
    device = await booting.device("a")
    async with booting.database.acquire() as conn:
        await conn.execute("update ztp_devices set closes_at = now() + interval '5 minutes' where id = $1", device.id)
    paths = {await booting.told(client("A"), "10.1.0.9") for _ in range(3)}
    assert len(paths) == 1
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select count(*) from ztp_tokens where purpose = 'boot'") == 1
        await conn.execute("update ztp_devices set closes_at = now() + interval '5 days' where id = $1", device.id)
    assert await booting.told(client("A"), "10.1.0.9") not in paths


async def test_what_somebody_decided_on_does_not_give_way(database, dsn, tmp_path, extensions):
    async with serving(database, dsn, tmp_path, extensions, candidates=100) as booting:
        async with database.acquire() as conn:
            await conn.execute("insert into dhcp_subnets (tenant_id, name, prefix) values (1, 'access', '10.1.0.0/24')")
        booting.expected.unexpected(client("REAL"))
        await booting.expected.flush()
        await adoption.disregard(database, ACTOR, (await candidates(booting))[0].id, Disregard())
        for number in range(150):
            booting.expected.unexpected(client("", mac=f"02:00:00:00:01:{number:02x}"))
        await booting.expected.flush()
        async with database.acquire() as conn:
            kept = await conn.fetchrow("select count(*), count(*) filter (where state = 'ignored') from ztp_candidates")
        assert tuple(kept) == (100, 1)


async def test_a_rule_adopts_so_many_on_a_line(database, dsn, tmp_path, extensions):
    async with serving(database, dsn, tmp_path, extensions, rule_line_devices=2) as booting:
        async with database.acquire() as conn:
            await conn.execute("insert into dhcp_subnets (tenant_id, name, prefix) values (1, 'access', '10.1.0.0/24')")
        rule = NewRule(name="cpe", profiles=("arista_eos",), hostname="cpe-{mac_plain}", settings={"boot_template": "x"})
        await adoption.create_rule(database, ACTOR, rule, list(booting.profiles.values()))
        for number in range(5):
            for line in (b"olt1 1", b"olt1 2"):
                booting.expected.unexpected(client("", mac=f"02:00:00:00:0{line[-1] - 48}:{number:02x}", profile="arista_eos", circuit_id=line))
        await booting.expected.flush()
        found = [(each.circuit_id, each.state) for each in await candidates(booting)]
        assert [found.count((line, "adopted")) for line in ("olt1 1", "olt1 2")] == [2, 2]


async def test_adopted_by_hand(booting):
    booting.expected.unexpected(client("X9", profile="arista_eos", circuit_id=b"olt1 (7)"))
    await booting.expected.flush()
    (found,) = await candidates(booting)
    profiles = list(booting.profiles.values())

    async def adopt(**members):
        return await adoption.adopt(
            booting.database, ACTOR, booting.keyring, found.id, Adoption(**members), profiles, booting.catalogue, booting.now(), 30
        )  # fmt: skip

    with pytest.raises(InvalidInput) as raised:
        await adopt(hostname="leaf1", settings={"serial": "other", "boot_template": "x"})
    assert raised.value.faults[0].where == "/settings/serial"
    device = await adopt(hostname="leaf1", bind_line=True, settings={"boot_template": "hostname {{ hostname }}"})
    assert (device.serial, device.profile, device.vendor) == ("X9", "arista_eos", "arista")
    await booting.expected.load()
    assert booting.expected.resolve(client("X9", circuit_id=b"olt1 (7)")) is not None
    assert booting.expected.resolve(client("X9", circuit_id=b"olt1 7")) is None
    assert (await candidates(booting))[0].state == "adopted"
    with pytest.raises(Conflict):
        await adopt(hostname="leaf2")
    with pytest.raises(Conflict):
        await adoption.disregard(booting.database, ACTOR, found.id, Disregard())


async def test_adopted_by_a_rule(booting):
    rule = NewRule(name="leaves", profiles=("arista_eos",), hostname="leaf-{serial}", circuit_id="olt1 .*", model="DCS-.*", settings={"boot_template": "x"})
    with pytest.raises(InvalidInput):
        await adoption.create_rule(booting.database, ACTOR, NewRule(name="bad", profiles=("nothing",), hostname="x", model="("), [])
    await adoption.create_rule(booting.database, ACTOR, rule, list(booting.profiles.values()))
    leaf = {"profile": "arista_eos", "model": "DCS-7050", "circuit_id": b"olt1 7"}
    for seen in (client("X9", **leaf), client("X8", **{**leaf, "model": "7280"}), client("X7", **{**leaf, "circuit_id": b"olt2"}), client("", **leaf)):
        booting.expected.unexpected(seen)
    await booting.expected.flush()
    assert {(each.serial, each.state) for each in await candidates(booting)} == {("X9", "adopted"), ("X8", "new"), ("X7", "new"), ("", "new")}
    await booting.expected.load()
    answer = booting.expected.resolve(client("X9", **leaf))
    assert answer is not None and answer.profile == "arista_eos"
    booting.expected.unexpected(client("X9", subnet_id=1, client_id=b"other", **{**leaf, "circuit_id": b"olt1 8"}))
    await booting.expected.flush()  # its name is taken: it stays what it is, and harms nobody
    assert len(await candidates(booting)) == 4


async def test_a_device_is_let_go_on(booting):
    device = await booting.device("a")
    path = await booting.told(client("A"), "10.1.0.9")
    async with booting.database.acquire() as conn:
        await conn.execute("update ztp_devices set state = 'failed', reason = 'x'")
    await booting.expected.load()
    assert booting.expected.resolve(client("A")).profile == "plain"
    after = await expected.retry(booting.database, ACTOR, booting.kinds, booting.keyring, device.id, Retry(days=2), booting.now())
    assert (after.state, after.reason) == ("expected", None)
    assert await booting.told(client("A"), "10.1.0.9") != path


async def test_what_is_no_device(booting):
    for members in (
        {"serial": None}, {"profile": "nothing"}, {"mac": "x"}, {"circuit_id": "("}, {"variables": {"snmp_secret": "x"}}, {"platform": "nothing"},
        {"credential": "nobody"}, {"site": "nowhere"}, {"address": "x"},
        {"circuit_id": r"(\w+\s?)+:"}, {"address": "192.0.2.9"},
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            await booting.device("a", **members)
    await booting.device("a")
    with pytest.raises(Conflict):
        await booting.device("A", serial="other")
    with pytest.raises(Conflict):
        await booting.device("b", serial="a")


async def test_a_secret_that_does_not_open_disables_its_device_only(booting):
    await booting.device("a")
    bad = await booting.device("b")
    async with booting.database.acquire() as conn:
        await conn.execute("update ztp_devices set secret = $1 where id = $2", bytes(60), bad.id)
    await booting.expected.load()
    assert booting.expected.resolve(client("A")) is not None and booting.expected.resolve(client("B")) is None
    assert list(booting.expected.faults) == [bad.id]
