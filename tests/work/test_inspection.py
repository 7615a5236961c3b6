"""What devices say of themselves, kept: facts, neighbours and tables, asked for by itself and with every backup."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from netd.errors import PeerError, PeerUnreachable
from netd.sdk.device import OnuOptics
from netd.simulate import Simulated
from netd.store.database import Database
from netd.work.kinds import configurations, inspection
from tests.work.labs import Lab, laboratory


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


def switch(name: str) -> Simulated:
    return Simulated(name, version="15.2(4)", configuration="interface GigabitEthernet0/1\n description up\n")


async def kept(lab: Lab) -> dict[str, Any]:
    """How much is known of whom, and which links."""
    (row,) = await lab.rows(
        """select (select count(*) from endpoints where source = 'mac') as macs, (select count(*) from endpoints where source = 'arp') as arps,
           (select array_agg(local_interface || ' ' || protocol || ' ' || remote_name order by local_interface) from links) as links,
           (select bool_and(neighbours_at is not null) from devices) as heard,
           (select array_agg(observed -> 'software_version' ->> 'value') from devices) as versions"""
    )
    return dict(row)


async def test_who_is_heard_is_kept(lab: Lab) -> None:
    async with lab.simulated("cisco_ios", switch("core1")):
        assert await kept(lab) == {"macs": 0, "arps": 0, "links": None, "heard": False, "versions": [None]}
        job = await lab.done("device.inspect", devices=["core1"])
        (target,) = await lab.targets(job)
        found = await kept(lab)
        assert found["links"] and found["macs"] and found["arps"] and found["heard"] and found["versions"] == ["15.2(4)"]
        assert target.result == {"neighbours": len(found["links"]), "macs": found["macs"], "arps": found["arps"]}
        assert target.said == f"{len(found['links'])} neighbours, {found['macs']} macs, {found['arps']} arps"
        await lab.done("device.inspect", selector={})
        assert await kept(lab) == found, "heard again is no other link"


async def test_a_backup_asks_as_well(lab: Lab) -> None:
    async with lab.simulated("cisco_ios", switch("core1")):
        await lab.done("config.backup", devices=["core1"])
        found = await kept(lab)
        assert found["links"] and found["macs"] and found["arps"] and found["versions"] == ["15.2(4)"]


async def test_a_host_among_routers_fails_no_backup(lab: Lab) -> None:
    """It has no configuration that is read: asked for by name that is an error, as one of a group it is what it is."""
    async with lab.simulated("generic_linux", Simulated("host1", version="6.1"), executes=True):
        job = await lab.done("config.backup", selector={})
        (target,) = await lab.targets(job)
        assert (target.state, target.outcome, target.said) == ("succeeded", "empty", "its platform has no configuration that is read")
        assert (await kept(lab))["heard"]
        async with lab.database.acquire() as conn:
            await conn.execute("insert into configuration_states (tenant_id, device_id, error) select 1, id, 'of another platform' from devices")
        job = await lab.done("config.backup", state="failed", devices=["host1"])
        (target,) = await lab.targets(job)
        assert target.said == "its platform has no configuration that is read"
        async with lab.database.acquire() as conn:
            assert not await conn.fetch("select from configuration_states"), "that is no failure that somebody could mend"


def refuses(error: Exception, driver: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Any:
        raise error
        yield

    monkeypatch.setattr(driver, method, refused, raising=False)


@pytest.mark.parametrize("error", [PeerError("neighbours: refused"), PeerUnreachable("it took too long", "timeout")])
async def test_what_is_not_said_keeps_nothing_else_from_being_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch, error: PeerError) -> None:
    refuses(error, lab.extensions.platforms["cisco_ios"].driver, "neighbours", monkeypatch)
    async with lab.simulated("cisco_ios", switch("core1")):
        job = await lab.done("device.inspect", devices=["core1"])
        (target,) = await lab.targets(job)
        assert target.said is not None and f"not all was said: {error}" in target.said and "neighbours" not in target.result
        assert any("it does not say whom it hears" in text for text in await lab.said(job))
        found = await kept(lab)
        assert found["links"] is None and found["macs"] and found["versions"] == ["15.2(4)"] and not found["heard"]
        job = await lab.done("config.backup", devices=["core1"])
        assert (await lab.state("core1")).running_id is not None


async def test_a_session_that_is_lost_is_asked_nothing_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = lab.extensions.platforms["cisco_ios"].driver
    refuses(PeerUnreachable("the connection was lost", "lost"), driver, "facts", monkeypatch)
    async with lab.simulated("cisco_ios", switch("core1")):
        job = await lab.done("device.inspect", state="failed", devices=["core1"])
        (target,) = await lab.targets(job)
        assert target.said == "the connection was lost" and (await kept(lab))["macs"] == 0


async def test_a_platform_that_cannot_be_asked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "ASKED", {"onu_optics": (OnuOptics, "what light its ONUs have")})
    async with lab.simulated("cisco_ios", switch("core1")):
        job = await lab.done("device.inspect", state="failed", devices=["core1"])
        (target,) = await lab.targets(job)
        assert target.said is not None and "its driver cannot ask it anything of this, and none for SNMP" in target.said


async def test_a_text_that_its_driver_does_not_understand(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device may say anything: that is no defect of netd, and keeps nothing else from being kept."""
    refuses(ValueError("'-' is no address"), lab.extensions.platforms["cisco_ios"].driver, "arps", monkeypatch)
    async with lab.simulated("cisco_ios", switch("core1")):
        job = await lab.done("config.backup", devices=["core1"])
        assert any("it does not say which MAC addresses IP addresses have: its driver does not understand" in text for text in await lab.said(job))
        found = await kept(lab)
        assert found["macs"] and not found["arps"] and (await lab.state("core1")).error is None


async def test_what_takes_too_long_after_a_backup_does_not_undo_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inspection.inspected

    async def slow(opened: Any, job: Any, *members: str) -> Any:
        if "macs" in members:
            raise PeerUnreachable("work with device-1 was not done within 600 s", "timeout")
        return await whole(opened, job, *members)

    monkeypatch.setattr(configurations, "inspected", slow)
    async with lab.simulated("cisco_ios", switch("core1")):
        job = await lab.done("config.backup", devices=["core1"])
        (target,) = await lab.targets(job)
        assert target.said is not None and target.said.startswith("version 1, new") and (await lab.state("core1")).error is None
        assert any("its configuration is kept; the rest was not said: work with" in text for text in await lab.said(job))
