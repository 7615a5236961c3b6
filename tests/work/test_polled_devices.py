"""Devices that nobody logs in to: whom they hear and where addresses are, by SNMP, whatever their platform is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.device.simulated import SimulatedServer
from netd.device.snmp import SnmpLimits
from netd.domain import devices, targets
from netd.domain.devices import NewDevice, Ports
from netd.errors import PeerError
from netd.simulate import Agent, Behaviour, Simulated, objects
from netd.simulate.agent import GET_BULK
from netd.store.database import Database
from tests.ports import free_port
from tests.test_standard_mibs import BRIDGE, HEARD, INTERFACES, NEW, VLANS, local
from tests.work.labs import ACTOR, Lab, laboratory
from tests.work.test_inspection import kept, refuses, switch

COMMUNITY = "canarysnmp"
PRESENT = "1.0.8802.1.1.2.1.3.1.0|2|4\n1.3.6.1.2.1.17.1.2.0|2|2\n"
SYSTEM = "1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.99999.1\n1.3.6.1.2.1.1.3.0|67|4711\n"
ALL = SYSTEM + INTERFACES + PRESENT + HEARD + local(5, "4|gi1") + BRIDGE + VLANS + NEW


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


@asynccontextmanager
async def polled(lab: Lab, said: str, **members: Any) -> AsyncIterator[SimulatedServer]:
    """A device with an agent and no log-in."""
    server = SimulatedServer(Simulated("sw1", version="1"), Behaviour, agent=Agent(objects(said), COMMUNITY))
    await server.start()
    await lab.credential("watch", type="snmp_community", community=COMMUNITY, port=server.snmp_port)
    new = NewDevice(**{"hostname": "sw1", "mgmt_address": "127.0.0.1", "vendor": "generic", **members})
    await devices.create(lab.database, ACTOR, new, lab.catalogue)
    try:
        yield server
    finally:
        await server.close()


def silent(lab: Lab, server: SimulatedServer) -> None:
    """Its agent does not answer any more, and is not waited for long."""
    server.agent = Agent({}, "another")
    assert lab.tools.sessions is not None
    lab.tools.sessions._snmp.limits = SnmpLimits(attempts=2, timeout_seconds=0.1)


@pytest.mark.parametrize("platform", [None, "generic_frr"], ids=["nobody knows its platform", "its driver has no such commands"])
async def test_all_of_it_is_kept(lab: Lab, platform: str | None) -> None:
    async with polled(lab, ALL, **({} if platform is None else {"platform": platform})):
        job = await lab.done("device.inspect", devices=["sw1"])
        (target,) = await lab.targets(job)
        assert (target.said, target.result) == ("1 neighbours, 2 macs, 2 arps", {"neighbours": 1, "macs": 2, "arps": 2})
        found = await kept(lab)
        assert (found["links"], found["macs"], found["arps"], found["heard"]) == (["gi1 lldp core1"], 2, 2, True)
        where = await lab.rows("select mac, vlan, interface, source from endpoints where source = 'mac' order by vlan nulls last")
        assert [tuple(row.values()) for row in where] == [("52:54:00:aa:bb:05", 30, "gi1", "mac"), ("52:54:00:aa:bb:05", None, "gi2", "mac")]
        assert (await lab.rows("select count(*) from device_credentials where protocol = 'snmp'"))[0]["count"] == 1
        await lab.done("device.inspect", devices=["sw1"])
        assert await kept(lab) == found


async def test_an_agent_that_has_the_tables_alone(lab: Lab) -> None:
    async with polled(lab, ALL.replace(PRESENT, "")):
        job = await lab.done("device.inspect", devices=["sw1"])
        (target,) = await lab.targets(job)
        assert target.result == {"neighbours": 1, "macs": 2, "arps": 2}


async def test_an_agent_without_any_of_it(lab: Lab) -> None:
    async with polled(lab, SYSTEM + INTERFACES):
        job = await lab.done("device.inspect", state="failed", devices=["sw1"])
        (target,) = await lab.targets(job)
        assert target.said == "sw1: its agent has neither neighbours nor addresses"
        assert not (await kept(lab))["heard"]


async def test_a_bridge_that_has_learned_nothing(lab: Lab) -> None:
    """To hear nobody is an answer."""
    async with polled(lab, SYSTEM + INTERFACES + PRESENT):
        job = await lab.done("device.inspect", devices=["sw1"])
        (target,) = await lab.targets(job)
        assert target.result == {"neighbours": 0, "macs": 0} and (await kept(lab))["heard"]


async def test_an_agent_that_does_not_answer(lab: Lab) -> None:
    async with polled(lab, ALL) as server:
        silent(lab, server)
        job = await lab.done("device.inspect", state="failed", devices=["sw1"])
        (target,) = await lab.targets(job)
        assert target.said is not None and "does not answer SNMP" in target.said
        assert any("it is not asked by SNMP" in text for text in await lab.said(job)) and COMMUNITY not in str(await lab.said(job))


async def test_nothing_to_ask_it_with(lab: Lab) -> None:
    new = NewDevice(hostname="sw1", mgmt_address="127.0.0.1", vendor="generic", ports=Ports())
    await devices.create(lab.database, ACTOR, new, lab.catalogue)
    job = await lab.done("device.inspect", state="failed", devices=["sw1"])
    (target,) = await lab.targets(job)
    assert target.said == "sw1: its platform is not known, or has no driver, and there is no SNMP credential for it"


async def test_who_is_logged_in_to_is_asked_in_one_way(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its command line, also where that has refused today: its agent would say the same in other words."""
    refuses(PeerError("neighbours: refused"), lab.extensions.platforms["cisco_ios"].driver, "neighbours", monkeypatch)
    async with lab.simulated("cisco_ios", switch("core1")), polled(lab, ALL) as server:
        await lab.done("device.inspect", devices=["core1"])
        found = await kept(lab)
        assert found["links"] is None and found["macs"] and server.agent is not None and server.agent.asked == 0


async def test_a_credential_that_is_everybodys(lab: Lab) -> None:
    """Who never let anybody in is only polled, though there is a credential for its command line; who once did is asked by that."""
    await lab.credential("noc", type="ssh", username="netd", password="hunter2hunter2", port=free_port())
    async with polled(lab, ALL, platform="generic_linux") as server:
        job = await lab.done("device.inspect", devices=["sw1"])
        (target,) = await lab.targets(job)
        assert target.result == {"neighbours": 1, "macs": 2, "arps": 2} and "not all was said: " in (target.said or "")
        device = (await lab.rows("select id from devices"))[0]["id"]
        ssh = (await lab.rows("select id from credentials where name = 'noc'"))[0]["id"]
        await targets.worked(lab.database, 1, [(device, "ssh", ssh, datetime.now(UTC))])
        assert server.agent is not None
        server.agent.asked = 0
        job = await lab.done("device.inspect", state="failed", devices=["sw1"])
        assert server.agent.asked == 0


async def test_a_backup_asks_as_well(lab: Lab) -> None:
    """What the command line that gave the configuration could not say; an agent that says nothing makes no backup fail."""
    router = Simulated("core1", version="8.4.4", configuration="interface eth7\n description up\n")
    async with lab.simulated("generic_frr", router), polled(lab, ALL) as server:
        await lab.done("config.backup", devices=["core1"])
        found = await kept(lab)
        assert (found["links"], found["macs"], found["arps"]) == (["gi1 lldp core1"], 2, 2)
        silent(lab, server)
        job = await lab.done("config.backup", devices=["core1"])
        (target,) = await lab.targets(job)
        assert target.said == "version 1, as before" and any("it is not asked by SNMP" in text for text in await lab.said(job))


async def test_an_agent_without_getbulk(lab: Lab) -> None:
    async with polled(lab, ALL, platform="huawei_mdu", vendor="huawei") as server:
        asked: list[int] = []
        assert server.agent is not None
        answer = server.agent.answer

        def watched(datagram: bytes) -> bytes | None:
            asked.append(datagram[datagram.index(COMMUNITY.encode()) + len(COMMUNITY)])
            return answer(datagram)

        server.agent.answer = watched  # type: ignore[method-assign]
        await lab.done("device.inspect", devices=["sw1"])
        assert (await kept(lab))["macs"] == 2 and asked and GET_BULK not in asked
