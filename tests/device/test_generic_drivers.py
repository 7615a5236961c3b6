"""The generic drivers against what nobody here wrote: FRRouting's vtysh behind OpenSSH, and a Linux host."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from netd.config import Secret
from netd.device.cli import CliSession, CliTransport
from netd.device.snmp import SnmpTransport
from netd.extensions import Extensions
from netd.model.device import Outcome
from netd.model.target import SnmpCommunity
from netd.sdk.dialogue import say
from netd.sdk.terminal import Refused
from tests.device.conftest import Peer, target
from tests.device.test_snmp import snmpd  # noqa: F401 - a fixture


@asynccontextmanager
async def speaking(platform: str, peer: Peer) -> AsyncIterator[tuple[CliSession, Any]]:
    driver: Any = Extensions.discover(packages=()).platforms[platform].driver
    async with CliTransport().session(target((peer.login(), peer.port)), driver) as session:
        yield session, driver


async def test_frr_is_backed_up_changed_and_restored(frr: Peer) -> None:
    async with speaking("generic_frr", frr) as (session, driver):
        facts = await session.run(driver.facts())
        assert facts.software_version and facts.software_version[0].isdigit() and facts.hostname
        before = await session.run(driver.configuration("running"))
        assert before.endswith("end\n") and "interface dummy0" in before and "Building" not in before
        done = await session.run(
            driver.configure(
                [
                    "interface dummy0",
                    "description behind our back",
                    "exit",
                    "ip prefix-list p seq 5 permit 192.0.2.0/24",
                    "password canaryvty",
                    "no such line",
                    "exit",
                ]
            )
        )
        assert [outcome for _, outcome, _ in done] == [Outcome.OK] * 5 + [Outcome.SYNTAX]
        assert done[4][0] == "password <secret>"
        changed = await session.run(driver.configuration("running"))
        assert "description behind our back" in changed and driver.normal(changed) != driver.normal(before)
        assert await session.run(driver.restore(before)) is Outcome.OK
        assert driver.normal(await session.run(driver.configuration("running"))) == driver.normal(before)
        with pytest.raises(LookupError):
            await session.run(driver.configuration("startup"))


async def test_a_linux_host(bourne: Peer) -> None:
    async with speaking("generic_linux", bourne) as (session, driver):
        facts = await session.run(driver.facts())
        assert facts.hostname == os.uname().nodename
        assert facts.software_version and facts.model and facts.uptime_seconds
        for entry in await session.run(driver.arps()):
            assert len(entry.mac) == 17


ENDINGS = {
    "echo half of it; exit 3": "[exit status 3]", "exit 1": "[exit status 1]", "echo half of it; kill -9 $$": "[killed by KILL]",
    "seq 20000; exit 4": "[exit status 4]",
}  # fmt: skip


async def test_a_command_that_fails_without_a_word(bourne: Peer) -> None:
    """It has not done what it should, whatever it wrote. What it left running is not waited for."""
    async with speaking("generic_linux", bourne) as (session, driver):
        for line, said in ENDINGS.items():
            with pytest.raises(Refused) as refusal:
                await session.run(say(line))
            assert (refusal.value.outcome, refusal.value.said) == (Outcome.FAILED, said)
            text = await session.run(say(line, check=False))
            assert text.endswith(said) and driver.terminal.classify(text) == (Outcome.FAILED, said)
        assert await session.run(say("echo well; exit 0")) == "well"
        with pytest.raises(Refused) as refusal:
            await session.run(say("cat /nowhere"))
        assert refusal.value.outcome is Outcome.NOT_FOUND
        assert await session.run(say("sleep 30 > /dev/null 2>&1 & echo begun")) == "begun"


def installed_octets() -> int:
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))


def received_octets() -> int:
    return int(Path("/sys/class/net/lo/statistics/rx_bytes").read_text())


async def test_telemetry_of_a_real_agent(snmpd: int) -> None:  # noqa: F811 - the fixture
    """Values equal what the kernel counts; the group's walk is what the driver asked for."""
    driver: Any = Extensions.discover(packages=()).platforms["generic_linux"].driver
    login = SnmpCommunity(version="2c", community=Secret("c0mmunity"))
    agent = await SnmpTransport().connect(target((login, snmpd)))
    facts = driver.snmp_facts(await agent.get(driver.fact_oids()))
    assert facts.software_version == os.uname().release and facts.model == os.uname().machine
    readings = {group.name: driver.read(group.name, *await agent.read(group)) for group in driver.groups()}
    sample = readings["system"].device
    assert sample.uptime_seconds is not None
    assert sample.cpu_percent is None or 0 <= sample.cpu_percent <= 100  # the agent knows it a minute after its start
    assert sample.memory_total_octets == installed_octets()
    (lo,) = [item for item in readings["interfaces"].interfaces if item.name == "lo"]
    assert lo.counter_bits == 64 and lo.oper_up and 0 < lo.in_octets <= received_octets()
