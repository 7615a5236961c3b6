"""The generic drivers against what nobody here wrote: FRRouting's vtysh behind OpenSSH, and a Linux host."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from netd.device.cli import CliSession, CliTransport
from netd.extensions import Extensions
from netd.model.device import Outcome
from tests.device.conftest import Peer, target


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
        assert facts.hostname == subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
        assert facts.software_version and facts.model and facts.uptime_seconds
        for entry in await session.run(driver.arps()):
            assert len(entry.mac) == 17
