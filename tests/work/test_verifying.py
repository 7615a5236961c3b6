"""Devices that nobody logs in to: verified by SNMP, by what their ACS heard, or because an operator said that it is enough that they answer."""

import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from netd.config import GenieacsConfig, Secret
from netd.device.http import Client
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.domain import expected, finishing, identity, verification
from netd.domain.expected import NewExpected, Retry
from netd.domain.recognition import Recogniser
from netd.errors import PeerError
from netd.model.boot import ExpectedDevice
from netd.model.device import Facts
from netd.model.job import Job
from netd.model.target import Credential, SnmpCommunity, SshLogin
from netd.store import boot as boot_store
from netd.store.boot import Advance
from netd.store.database import Database
from netd.work.genieacs import GenieAcs
from netd.work.looks import Looks
from tests.device.conftest import running
from tests.ports import free_port
from tests.work.labs import ACTOR, Lab, laboratory

ENTITY = "1.3.6.1.2.1.47.1.1.1.1"
PARTS = f"""
override {ENTITY}.5.1 integer 10
override {ENTITY}.11.1 octet_str "0"
override {ENTITY}.5.7 integer 3
override {ENTITY}.11.7 octet_str "CHASSIS7"
override {ENTITY}.13.7 octet_str "CX-7"
"""
"""A port without a serial number before the chassis that has one."""


@pytest.fixture(scope="module")
def agents(require_peer: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of two agents of net-snmp: one whose ENTITY-MIB has a chassis, one without any."""
    program = require_peer("/usr/sbin/snmpd")
    ports = free_port(), free_port()
    folder = tmp_path_factory.mktemp("agents")
    environment = {"SNMP_PERSISTENT_DIR": str(folder / "kept"), "MIBS": "", "PATH": "/usr/bin:/bin"}

    def command(port: int, more: str) -> tuple[str | Path, ...]:
        settings = folder / f"{port}.conf"
        settings.write_text(f"agentaddress udp:127.0.0.1:{port}\nrocommunity canarysnmp 127.0.0.1\nsysName cpe\n{more}")
        return program, "-f", "-Ln", "-C", "-c", settings, "-I", "-smux", "-p", folder / f"{port}.pid"

    with running(command(ports[0], PARTS), env=environment), running(command(ports[1], ""), env=environment):
        until = time.monotonic() + 60
        for port in ports:
            while subprocess.run(("snmpget", "-v2c", "-ccanarysnmp", "-m", "", f"127.0.0.1:{port}", "1.3.6.1.2.1.1.3.0"), capture_output=True).returncode:
                assert time.monotonic() < until, "snmpd does not answer"
        yield ports


class Acs:
    """GenieACS' north-bound interface, as its nbi.ts answers: a list of what fits the query."""

    def __init__(self) -> None:
        self.devices: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 200
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.query["query"])
        return web.json_response(self.devices, status=self.status)


@pytest.fixture
async def acs() -> AsyncIterator[Acs]:
    made = Acs()
    app = web.Application()
    app.router.add_get("/devices/", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


class Here:
    """Whether the device answers a ping."""

    answers = False

    async def ping(self, address: object) -> bool:
        return self.answers


@pytest.fixture
async def lab(database: Database, tmp_path: Path, acs: Acs) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made, Client() as client:
        here = Here()
        snmp = SnmpTransport(SnmpLimits(attempts=3, timeout_seconds=20))
        looks = Looks(snmp, Recogniser(made.extensions.platforms), made.extensions.guard, here.ping, GenieAcs(client, GenieacsConfig(url=acs.url)))
        for name, value in (("looks", looks), ("boot_retry_seconds", 0.05), ("managed", lambda profile: profile == "tr069_cpe")):
            object.__setattr__(made.tools, name, value)
        object.__setattr__(made, "here", here)
        yield made


async def booted(lab: Lab, port: int | None = None, **members: Any) -> ExpectedDevice:
    """A device that has booted, and its agent's port."""
    if port is not None:
        await lab.credential("watch", type="snmp_community", community="canarysnmp", port=port)
    profiles = [profile.shown() for profile in lab.extensions.profiles.values()]
    new = NewExpected(**{"hostname": "cpe1", "profile": "plain", "serial": "CHASSIS7", **members})
    device = await expected.create(lab.database, ACTOR, lab.keyring, new, profiles, lab.catalogue, datetime.now(UTC), 30)
    async with lab.database.transaction() as conn:
        await boot_store.advance(conn, [Advance(device.id, 1, "configured", "configured", datetime.now(UTC), {}, "127.0.0.1")])
    return device


async def after(lab: Lab, device: ExpectedDevice, state: str = "succeeded", **args: Any) -> tuple[ExpectedDevice, Job]:
    job = await lab.done("ztp.finish", state=state, ztp_device_id=device.id, **args)
    return await expected.get(lab.database, ACTOR, device.id), job


async def test_by_snmp(lab: Lab, agents: tuple[int, int]) -> None:
    device = await booted(lab, agents[0], platform="generic_linux", credential="watch")
    found, job = await after(lab, device)
    assert (found.state, found.reason) == ("verified", None)
    (step,) = await lab.rows("select evidence from ztp_steps where step = 'verified'")
    assert step["evidence"] == {name: value for name, value in job.result.items() if name != "state"}
    assert job.result["serial"] == "CHASSIS7" and job.result["compared"] == "serial, platform" and job.result["by"].startswith("SNMP (watch): 1.3.6.1.4.1.8072")
    (record,) = await lab.rows("select observed -> 'serial' ->> 'source' as source, observed -> 'platform' ->> 'value' as platform from devices")
    assert record == {"source": "snmp", "platform": "generic_linux"}
    assert [row["protocol"] for row in await lab.rows("select protocol from device_credentials")] == ["snmp"]
    for table in ("jobs", "job_log", "audit_log", "events", "ztp_steps", "ztp_devices"):
        assert "canarysnmp" not in str(await lab.rows(f"select to_jsonb(t)::text as text from {table} t")), table


async def test_another_device_is_quarantined(lab: Lab, agents: tuple[int, int]) -> None:
    found, _ = await after(lab, await booted(lab, agents[0], serial="OTHER", platform="cisco_ios", credential="watch"), "failed")
    assert (found.state, found.reason) == ("failed", "its serial number is CHASSIS7, not OTHER; it is recognised as generic_linux, not cisco_ios")


async def test_without_a_serial_number_only_where_that_is_allowed(lab: Lab, agents: tuple[int, int]) -> None:
    device = await booted(lab, agents[1], serial=None, mac="02:00:00:00:00:01")
    found, _ = await after(lab, device, "failed")
    assert found.state == "failed" and "its serial number cannot be read" in (found.reason or "")
    async with lab.database.acquire() as conn:
        await conn.execute("update ztp_devices set verify = 'reach', state = 'configured', serial = 'CHASSIS7'")
    found, job = await after(lab, device)
    assert found.state == "verified" and (job.result["compared"], job.result["not_read"]) == ("nothing", "serial")


async def test_what_nobody_can_look_at_waits(lab: Lab) -> None:
    device = await booted(lab)
    found, job = await after(lab, device, "failed")
    assert (found.state, found.reason) == ("configured", verification.NOTHING) and job.error == verification.NOTHING
    assert [row["data"] for row in await lab.rows("select data from events where type = 'ztp.waiting'")] == [{"reason": verification.NOTHING}]
    async with lab.database.acquire() as conn:
        assert await boot_store.unfinished(conn) == []  # nobody tries it over and over
        await conn.execute("update ztp_devices set verify = 'reach'")
    lab.here.answers = True  # type: ignore[attr-defined]
    again = await expected.retry(lab.database, ACTOR, lab.kinds, lab.keyring, device.id, Retry(), datetime.now(UTC))
    assert again.reason is None
    await lab.eventually(lambda: _verified(lab, device))
    (step,) = await lab.rows("select evidence from ztp_steps where step = 'verified'")
    assert step["evidence"] == {"by": "it answers, which was allowed to be enough", "compared": "nothing", "address": "127.0.0.1"}


async def _verified(lab: Lab, device: ExpectedDevice) -> bool:
    return (await expected.get(lab.database, ACTOR, device.id)).state == "verified"


async def test_by_its_acs(lab: Lab, acs: Acs) -> None:
    device = await booted(lab, profile="tr069_cpe", target_version="2.1")
    cpe = {"_id": "00D09E-CX-CHASSIS7", "_deviceId": {"_SerialNumber": "CHASSIS7", "_ProductClass": "CX", "_OUI": "00D09E"}}
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    acs.devices = [{**cpe, "_lastInform": long_ago}]
    job = await lab.submit("ztp.finish", ztp_device_id=device.id)

    async def waits() -> bool:
        return (await lab.job(job)).attempt >= 2

    await lab.eventually(waits)
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "configured"
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    acs.devices = [{**cpe, "_lastInform": now, "InternetGatewayDevice": {"DeviceInfo": {"SoftwareVersion": {"_value": "2.1", "_type": "xsd:string"}}}}]
    (ended,) = await lab.until([job])
    assert ended.state == "succeeded", ended.error
    assert (ended.result["compared"], ended.result["model"]) == ("serial, software_version", "CX") and "00D09E-CX-CHASSIS7" in ended.result["by"]
    assert set(acs.asked) == {'{"_deviceId._SerialNumber":"CHASSIS7"}'}


@pytest.mark.parametrize("said", [{"_deviceId": {"_SerialNumber": 7}}, {"_deviceId": "7"}, {"_lastInform": "2026-11-26T08:00:00"}, {"_lastInform": "now"}])
async def test_what_an_acs_says_in_another_form_is_told(acs: Acs, said: dict[str, Any]) -> None:
    acs.devices = [{"_id": "1", **said}]
    async with Client() as client:
        with pytest.raises(PeerError, match="what netd cannot read"):
            await GenieAcs(client, GenieacsConfig(url=acs.url)).find("7")


async def test_without_an_acs_it_waits(lab: Lab) -> None:
    assert lab.tools.looks is not None
    lab.tools.looks.acs = None
    found, _ = await after(lab, await booted(lab, profile="tr069_cpe"), "failed")
    assert found.state == "configured" and "with [genieacs] configured" in (found.reason or "")


async def test_a_verified_one_stays_so_whatever_comes_of_its_being_configured_anew(lab: Lab, agents: tuple[int, int]) -> None:
    device = await booted(lab, agents[0], credential="watch")
    await after(lab, device)
    async with lab.database.acquire() as conn:
        await conn.execute("update ztp_devices set serial = 'OTHER'")
    found, _ = await after(lab, device, "failed", again=True)
    assert (found.state, found.reason) == ("verified", "its serial number is CHASSIS7, not OTHER")
    async with lab.database.acquire() as conn:
        await conn.execute("update ztp_devices set serial = 'CHASSIS7'")
    found, _ = await after(lab, device, again=True)
    assert (found.state, found.reason) == ("verified", None)
    steps = [row["step"] for row in await lab.rows("select step from ztp_steps order by id")]
    assert steps == ["expected", "configured", "verified", "not_configured_anew", "configured_anew"]
    assert await finishing.serves(lab.database, found)


SSH = Credential(id=1, name="ops", login=SshLogin(username="ops", password=Secret("x")))
SNMP = Credential(id=2, name="watch", login=SnmpCommunity(version="2c", community=Secret("x")))


@pytest.mark.parametrize(
    ("credentials", "driver", "lines", "managed", "chosen", "way"),
    [
        ((SSH, SNMP), True, False, False, None, "login"),
        ((SSH, SNMP), True, False, False, 2, "snmp"),
        ((SSH, SNMP), True, True, False, 2, "login"),
        ((SSH, SNMP), False, False, False, None, "snmp"),
        ((SSH, SNMP), False, False, True, None, "acs"),
        ((SSH,), True, False, True, None, "login"),
        ((), True, False, False, None, "login"),
        ((SSH,), False, False, False, None, "none"),
    ],
)
def test_which_way(credentials: Any, driver: bool, lines: bool, managed: bool, chosen: int | None, way: str) -> None:
    device = _expected("facts")
    assert verification.way(device, credentials, driver=driver, lines=lines, managed=managed, chosen=chosen) == way
    if way == "none":
        assert verification.way(_expected("reach"), credentials, driver=driver, lines=lines, managed=managed, chosen=chosen) == "reach"


def _expected(verify: str, **members: Any) -> ExpectedDevice:
    empty = dict.fromkeys(ExpectedDevice.__struct_fields__)
    return ExpectedDevice(**{**empty, "verify": verify, "serial": "S1", **members})


def test_what_is_proved() -> None:
    told, silent = Facts(serial="s1"), Facts()
    assert verification.compare(_expected("facts"), told).same == ("serial",)
    assert verification.unproved(_expected("facts"), told, logged_in=False) is None
    assert verification.unproved(_expected("facts"), silent, logged_in=True) is not None  # a serial number is expected, and nobody read one
    assert verification.unproved(_expected("facts", serial=None), silent, logged_in=True) is None
    assert verification.unproved(_expected("facts", serial=None), silent, logged_in=False) is not None
    assert verification.unproved(_expected("reach"), silent, logged_in=False) is None
    assert verification.compare(_expected("reach", target_version="2"), silent).wrong == ("it runs an unknown version, not 2",)


def test_the_part_that_is_the_device_itself() -> None:
    serials: dict[tuple[int, ...], str] = {(1,): "S1", (2,): "S2", (3,): "n/a", (4,): "S4"}
    assert identity.whole({(1,): 9, (2,): 11, (3,): 3, (4,): 3}, serials) == (4,)
    assert identity.whole({(1,): 9, (2,): 11}, serials) == (2,)
    assert identity.whole({(1,): 9, (3,): 3}, serials) is None
