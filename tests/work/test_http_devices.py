"""RouterOS routers with an HTTP credential: asked by their REST API first, by their command line for what that does not say."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from netd.store.database import Database
from tests.device.rest_router import RestRouter
from tests.work.labs import Lab, laboratory
from tests.work.test_configurations import router

ALL = {"/system/resource", "/system/routerboard", "/system/identity", "/ip/neighbor", "/interface/bridge/host", "/ip/arp"}


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


async def known(lab: Lab) -> dict[str, Any]:
    """What is known of the router, and by which sources."""
    (row,) = await lab.rows(
        """select d.observed - 'platform' as observed, d.certificates, d.host_keys <> '{}' as host_key,
               (select jsonb_agg(l order by 1) from (select local_interface, protocol, remote_name, host(remote_address), remote_mac from links) l) as links,
               (select jsonb_agg(e) from (select source, mac, vlan, host(address), interface from endpoints order by 1, 2) e) as endpoints,
               (select array_agg(protocol order by protocol) from device_credentials) as opened
           from devices d"""
    )
    found = dict(row)
    found["facts"] = {name: each["value"] for name, each in found["observed"].items()}
    found["sources"] = {each["source"] for each in found.pop("observed").values()}
    return found


async def test_the_same_is_known_by_either_way(lab: Lab, tmp_path: Path) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device), RestRouter(device, tmp_path) as rest:
        await lab.done("device.inspect", devices=["edge1"])
        typed = await known(lab)
        assert (typed["sources"], typed["opened"], rest.knocked) == ({"cli"}, ["ssh"], 0)
        await lab.rows("update devices set observed = '{}', said = '{}', host_keys = '{}'")
        for table in ("links", "endpoints", "device_credentials"):
            await lab.rows(f"delete from {table}")
        await lab.credential("web", type="http", username=device.username, password=device.password, port=rest.port)
        job = await lab.done("device.inspect", devices=["edge1"])
        asked = await known(lab)
        assert (asked["sources"], asked["opened"], asked["host_key"]) == ({"http"}, ["http"], False), "nobody logged in to its console"
        assert asked["certificates"] == [rest.fingerprint] and set(rest.asked) == ALL
        assert {name: asked[name] for name in ("facts", "links", "endpoints")} == {name: typed[name] for name in ("facts", "links", "endpoints")}
        (target,) = await lab.targets(job)
        assert target.said == "1 neighbours, 1 macs, 1 arps" and target.result == {"neighbours": 1, "macs": 1, "arps": 1}
        assert [row["action"] for row in await lab.rows("select action from audit_log where action like 'device.pin%' order by id")][
            -1
        ] == "device.pin_certificate"


async def test_what_it_does_not_say_is_typed(lab: Lab, tmp_path: Path) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device), RestRouter(device, tmp_path) as rest:
        rest.refused |= {"/ip/arp", "/system/routerboard"}  # a CHR has no board
        await lab.credential("web", type="http", username=device.username, password=device.password, port=rest.port)
        job = await lab.done("device.inspect", devices=["edge1"])
        found = await known(lab)
        assert found["opened"] == ["http", "ssh"] and found["facts"]["model"] == "hEX" and "serial" not in found["facts"]
        assert [each["source"] for each in found["endpoints"]] == ["arp", "mac"]
        assert any("it does not say its arps over HTTP: " in text and "no such command" in text for text in await lab.said(job))


async def test_a_driver_that_does_not_understand_it(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver: Any = lab.extensions.platforms["mikrotik_routeros"].driver
    real = driver.recorded
    monkeypatch.setattr(driver, "recorded", lambda what, records: [][1] if what == "arps" else real(what, records), raising=False)
    device = router()
    async with lab.simulated("mikrotik_routeros", device), RestRouter(device, tmp_path) as rest:
        await lab.credential("web", type="http", username=device.username, password=device.password, port=rest.port)
        job = await lab.done("device.inspect", devices=["edge1"])
        assert len((await known(lab))["endpoints"]) == 2, "it was typed"
        assert any("its driver does not understand it: IndexError" in text for text in await lab.said(job))


async def test_a_backup_asks_it_as_well(lab: Lab, tmp_path: Path) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device), RestRouter(device, tmp_path) as rest:
        await lab.credential("web", type="http", username=device.username, password=device.password, port=rest.port)
        await lab.done("config.backup", devices=["edge1"])
        found = await known(lab)
        assert found["sources"] == {"http"} and found["opened"] == ["http", "ssh"] and found["links"] and len(found["endpoints"]) == 2
        assert (await lab.state("edge1")).running_id is not None


async def test_another_certificate_is_told_and_gets_no_password(lab: Lab, tmp_path: Path) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device), RestRouter(device, tmp_path) as rest:
        await lab.credential("web", type="http", username=device.username, password=device.password, port=rest.port)
        await lab.rows("update devices set certificates = array[$1]", "ab" * 32)
        job = await lab.done("device.inspect", devices=["edge1"])
        found = await known(lab)
        assert (rest.knocked, found["certificates"], found["sources"], found["opened"]) == (0, ["ab" * 32], {"cli"}, ["ssh"])
        assert any(f"shows the certificate {rest.fingerprint}" in text for text in await lab.said(job))
        (told,) = await lab.rows("select after, result from audit_log where action = 'device.refuse_certificate'")
        assert (told["after"]["shown"], told["result"]) == (rest.fingerprint, "refused")


async def test_where_ssh_does_not_open_it_is_asked_all_the_same(lab: Lab, tmp_path: Path) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device) as (server,), RestRouter(device, tmp_path) as rest:
        await lab.credential("web", type="http", username=device.username, password=device.password, port=rest.port)
        await server.close()
        await lab.done("device.inspect", devices=["edge1"])
        assert (await known(lab))["sources"] == {"http"}
        job = await lab.done("config.backup", state="failed", devices=["edge1"])
        assert not any(device.password in text for text in await lab.said(job))


async def test_a_wrong_password_there_keeps_nothing_from_being_known(lab: Lab, tmp_path: Path) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device), RestRouter(device, tmp_path) as rest:
        await lab.credential("web", type="http", username=device.username, password="not this one", port=rest.port)
        job = await lab.done("device.inspect", devices=["edge1"])
        assert (await known(lab))["sources"] == {"cli"} and rest.asked == []
        assert any("refuses web" in text for text in await lab.said(job)) and not any("not this one" in text for text in await lab.said(job))
