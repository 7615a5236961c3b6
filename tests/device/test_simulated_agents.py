"""Each platform's telemetry over a real socket: its recording served by the simulated agent, walked by netd's own transport and by net-snmp's tools."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from netd.config import Secret
from netd.device.simulated import SimulatedServer
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.errors import PeerError
from netd.extensions import Extensions, load_simulator
from netd.model.target import SnmpCommunity
from netd.sdk.recording import select, varbinds
from netd.simulate import Agent, Simulated, objects
from tests.device.conftest import target
from tests.vendors.recorded import FOLDERS, Recorded

AGENTS = [f"{folder.parent.name}/{folder.name}" for folder in FOLDERS if (folder / "agent.snmprec").exists()]
LOGIN = SnmpCommunity(version="2c", community=Secret("c0mmunity"))


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def text_of(name: str) -> str:
    return next(folder for folder in FOLDERS if name.endswith(folder.name)).joinpath("agent.snmprec").read_text("utf-8")


def served(extensions: Extensions, platform: str, text: str) -> SimulatedServer:
    behaviour = load_simulator(extensions.platforms[platform])
    return SimulatedServer(Simulated("edge1", version="1"), behaviour, agent=Agent(objects(text), "c0mmunity"))


@pytest.mark.parametrize("name", AGENTS)
async def test_what_is_read_is_what_was_recorded(name: str, extensions: Extensions) -> None:
    recorded = Recorded(extensions, name)
    driver: Any = recorded.driver
    text = text_of(name)
    server = served(extensions, recorded.recording.platform, text)
    await server.start()
    try:
        agent = await SnmpTransport().connect(target((LOGIN, server.snmp_port)))
        for group in driver.groups():
            direct = driver.read(group.name, *select(varbinds(text), group.scalars, group.tables))
            assert driver.read(group.name, *await agent.read(group)) == direct
        assert driver.snmp_facts(await agent.get(driver.fact_oids())) == recorded.snmp_facts()
    finally:
        await server.close()


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_net_snmp_reads_it(version: str, extensions: Extensions, require_peer: Callable[[str], str]) -> None:
    program = require_peer("snmpwalk")
    server = served(extensions, "mikrotik_routeros", text_of("mikrotik/RB4011_7.16.2"))
    await server.start()
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, "-v", version, "-c", "c0mmunity", "-On", "-Oe", "-t", "5", f"127.0.0.1:{server.snmp_port}", "1.3.6.1"), stdout=asyncio.subprocess.PIPE
        )
        said = (await process.communicate())[0].decode()
    finally:
        await server.close()
    assert said.count("\n") >= len(objects(text_of("mikrotik/RB4011_7.16.2"))) - 1
    assert ".1.3.6.1.2.1.31.1.1.1.6.1 = Counter64: 10000000000" in said and ".1.3.6.1.4.1.14988.1.1.19.1.1.9.2 = INTEGER: -2350" in said


async def test_another_community_is_not_answered(extensions: Extensions) -> None:
    server = served(extensions, "mikrotik_routeros", text_of("mikrotik/RB4011_7.16.2"))
    await server.start()
    try:
        wrong = SnmpCommunity(version="2c", community=Secret("another"))
        transport = SnmpTransport(SnmpLimits(attempts=1, timeout_seconds=0.1))
        with pytest.raises(PeerError):
            await transport.connect(target((wrong, server.snmp_port)))
        assert server.agent is not None and server.agent.asked == 0
    finally:
        await server.close()
