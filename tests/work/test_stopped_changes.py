"""Changes that are cancelled, run out of time or cut netd off in the middle: taken back, or what stays is told."""

import asyncio
import dataclasses
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from netd.device.cli import CliSession
from netd.domain import configurations, jobs
from netd.domain.kinds import Kinds
from netd.errors import PeerError, PeerUnreachable, StoreError
from netd.model.job import Job, JobTarget
from netd.sdk.dialogue import Note, Step
from netd.simulate import Simulated
from netd.store.database import Database
from netd.store.work import LEASE_SECONDS
from netd.work.kinds import changing
from tests.device.conftest import USER, Peer, frr, sshd  # noqa: F401 - fixtures
from tests.device.test_simulated_platforms import CASES
from tests.work.labs import ACTOR, Lab, laboratory
from tests.work.test_configurations import ios, leaks, router
from tests.work.test_job_leases import Gone

LINES = ("/ip address add address=192.0.2.1/24 interface=ether1", "/ip address add address=192.0.2.2/24 interface=ether2")
STOPPED = "it was stopped in the middle"


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


class Held:
    """Holds a session where its driver notes ``hold``: until it is let go, or cancelled."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.go = asyncio.Event()

    async def act(self, session: CliSession, step: Step) -> str:
        if step == Note(text="hold"):
            self.there.set()
            await self.go.wait()
        return await ACT(session, step)


ACT = CliSession._act


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    monkeypatch.setattr(CliSession, "_act", lambda session, step: made.act(session, step))
    return made


def stalls(lab: Lab, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines but the last are typed, then the driver is held."""
    driver: Any = type(lab.extensions.platforms[platform].driver)
    whole = driver.configure

    def half(self: Any, lines: Sequence[str]) -> Any:
        yield from whole(self, lines[:-1])
        yield Note(text="hold")
        return (yield from whole(self, lines[-1:]))

    monkeypatch.setattr(driver, "configure", half)


async def cancelled(lab: Lab, job: Job) -> JobTarget:
    """Cancel it; what became of its only target."""
    await jobs.cancel(lab.database, ACTOR, lab.kinds, job.id, datetime.now(UTC))
    (ended,) = await lab.until([job])
    assert ended.state == "cancelled", (ended.error, await lab.said(ended))
    (target,) = await lab.targets(ended)
    return target


async def test_a_cancelled_change_is_taken_back(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    stalls(lab, "mikrotik_routeros", monkeypatch)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.submit("config.change", devices=["edge1"], lines=LINES)
        await held.there.wait()
        assert "192.0.2.1" in device.running.render()
        target = await cancelled(lab, job)
        assert (target.state, target.said) == ("failed", f"{STOPPED}; taken back")
        assert target.result["rolled_back"] is True and "192.0.2" not in device.running.render() and "canaryppp" in device.running.render()
        held.go.set()
        await lab.done("config.change", devices=["edge1"], lines=LINES, expected=["add address=192.0.2.2/24 interface=ether2"])  # the device is free again
    assert await leaks(lab) == []


async def test_a_cancelled_restore_is_taken_back_for_the_next_start_too(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a driver restores it saves: to run what was there before is not enough."""
    driver: Any = type(lab.extensions.platforms["cisco_ios"].driver)
    whole, calls = driver.restore, []

    def restore(self: Any, text: str, *, save: bool = True) -> Any:
        calls.append(save)
        outcome = yield from whole(self, text, save=save)
        if len(calls) == 1:
            yield Note(text="hold")
        return outcome

    monkeypatch.setattr(driver, "restore", restore)
    device = ios("core1")
    async with lab.simulated("cisco_ios", device):
        await lab.done("config.backup", devices=["core1"])
        first = (await lab.state("core1")).running_id
        await lab.done("config.change", devices=["core1"], lines=["interface GigabitEthernet0/1", "description uplink"])
        before = device.running.render()
        job = await lab.submit("config.restore", device="core1", configuration_id=first)
        await held.there.wait()
        assert "description uplink" not in device.startup.render()
        target = await cancelled(lab, job)
        assert target.said == f"{STOPPED}; taken back" and calls == [True, True]
        assert device.running.render() == before == device.startup.render()


@pytest.mark.parametrize("whose", ["job", "device"])
async def test_a_change_that_runs_out_of_time_is_taken_back(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    stalls(lab, "mikrotik_routeros", monkeypatch)
    device, kinds = router(), lab.kinds
    async with lab.simulated("mikrotik_routeros", device):
        targets: list[JobTarget] = []
        seconds, generation = 1.0, 0
        while not held.there.is_set():  # a busy machine may need more to come so far
            generation = device.generation
            if whose == "job":
                lab.kinds = Kinds(dataclasses.replace(kind, timeout_seconds=seconds) for kind in kinds)
            else:
                monkeypatch.setattr(changing, "DEADLINE_SECONDS", seconds)
            job = await lab.done("config.change", state="timed_out" if whose == "job" else "failed", devices=["edge1"], lines=LINES)
            targets, seconds = await lab.targets(job), seconds * 4
        (target,) = targets
        assert (target.state, target.said) == ("failed", f"{STOPPED}; taken back")
        assert device.generation == generation + 1 and "192.0.2" not in device.running.render()


async def test_what_stays_of_a_cancelled_change_is_told(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    stalls(lab, "nokia_isam", monkeypatch)
    case = CASES["nokia_isam"]
    device = Simulated("olt1", version=case.version, configuration=case.configuration)
    async with lab.simulated("nokia_isam", device):
        job = await lab.submit("config.change", devices=["olt1"], lines=[*case.good, "configure vlan id 4000"])
        await held.there.wait()
        target = await cancelled(lab, job)
        assert target.said == f"{STOPPED}; not taken back: the driver cannot restore, 1 lines more and 0 less than before stay"
        assert target.result["rolled_back"] is False and f"+{case.good[0]}" in target.result["left"]["diff"]
        assert case.good[0] in device.running.lines and "configure vlan id 4000" not in device.running.lines
    assert await leaks(lab) == []


async def test_a_cancelled_change_that_cannot_be_taken_back(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    stalls(lab, "mikrotik_routeros", monkeypatch)
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    notes = iter(("no", "hold"))

    def restore(self: Any, text: str, *, save: bool) -> Any:
        yield Note(text=next(notes))
        raise PeerError("it was reset by somebody else")

    monkeypatch.setattr(driver, "restore", restore)
    devices = [router("edge1"), router("edge2")]
    said = []
    async with lab.simulated("mikrotik_routeros", *devices):
        for device in devices:
            held.there.clear()
            job = await lab.submit("config.change", devices=[device.hostname], lines=LINES)
            await held.there.wait()
            target = await cancelled(lab, job)
            assert target.state == "failed" and target.result["rolled_back"] is False
            said.append(target.said)
            monkeypatch.setattr(changing, "TAKE_BACK_SECONDS", 1.0)
    assert said == [
        f"{STOPPED}; not taken back: it was reset by somebody else; 2 lines more and 0 less than before stay",
        f"{STOPPED}, and taking it back was not done within 1 s: what it runs is not known",
    ]


async def test_a_device_that_is_lost_while_a_change_is_taken_back(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again in another session, also of a job that was cancelled; and if it does not come back, that is told."""
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    restore, lost = driver.restore, [True, True, False, True, False, True, True, True]

    def once(self: Any, text: str, *, save: bool) -> Any:
        if lost.pop(0):
            raise PeerUnreachable("edge1: the connection was lost", "lost")
        return (yield from restore(self, text, save=save))

    monkeypatch.setattr(driver, "restore", once)
    monkeypatch.setattr(changing, "PAUSES_SECONDS", (0.0,))
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        wrong = [LINES[0], "nonsense"]
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=wrong)
        (target,) = await lab.targets(job)
        assert target.outcome == "syntax" and (target.said or "").endswith("; edge1: the connection was lost; taken back"), target.said  # the second time
        assert [line["line"] for line in target.result["lines"]] == wrong and "192.0.2" not in device.running.render()
        with monkeypatch.context() as patched:
            stalls(lab, "mikrotik_routeros", patched)
            job = await lab.submit("config.change", devices=["edge1"], lines=LINES)
            await held.there.wait()
            target = await cancelled(lab, job)
        assert target.said == f"{STOPPED}; edge1: the connection was lost; taken back" and "192.0.2" not in device.running.render()
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=wrong)
        (target,) = await lab.targets(job)
        assert (target.said or "").endswith("; edge1: the connection was lost; what it runs is not known") and target.result["rolled_back"] is False
    assert lost == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PeerError("it did not save", "the flash is full"), "it did not save: the flash is full"),
        (PeerUnreachable("edge1: the connection was lost", "lost"), "edge1: the connection was lost"),
    ],
    ids=["refused", "lost"],
)
async def test_a_change_that_is_not_saved_is_taken_back(lab: Lab, monkeypatch: pytest.MonkeyPatch, error: PeerError, why: str) -> None:
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)

    def save(self: Any) -> Any:
        raise error
        yield

    monkeypatch.setattr(driver, "save", save)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=LINES)
        (target,) = await lab.targets(job)
        assert target.said == f"{why}; taken back" and [line["line"] for line in target.result["lines"]] == list(LINES)
        assert target.result["rolled_back"] is True and "192.0.2" not in device.running.render()


async def test_a_change_that_is_cancelled_before_anything_was_typed(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    whole = driver.configuration

    def slow(self: Any, which: Any) -> Any:
        yield Note(text="hold")
        return (yield from whole(self, which))

    monkeypatch.setattr(driver, "configuration", slow)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.submit("config.change", devices=["edge1"], lines=LINES)
        await held.there.wait()
        target = await cancelled(lab, job)
        assert (target.state, target.outcome) == ("cancelled", None) and device.generation == 0 and "192.0.2" not in device.running.render()


async def test_a_cancelled_change_of_frr_is_taken_back(lab: Lab, held: Held, frr: Peer, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 - the fixture
    stalls(lab, "generic_frr", monkeypatch)
    await lab.credential(type="ssh", username=USER, private_key=frr.private_key)
    await lab.device("frr1", "generic_frr", frr.port)
    lines = ["interface dummy0", "description half done", "exit", "ip prefix-list stopped seq 5 permit 192.0.2.0/24"]
    job = await lab.submit("config.change", devices=["frr1"], lines=lines)
    await held.there.wait()
    assert "half done" in await shown(frr)
    target = await cancelled(lab, job)
    assert target.said == f"{STOPPED}; taken back" and target.result["left"]["diff"] == ""
    assert "half done" not in await shown(frr) and "description uplink" in await shown(frr)


async def shown(frr: Peer) -> str:  # noqa: F811 - the fixture's value
    """What its own shell says that it runs."""
    key = asyncssh.import_private_key(frr.private_key)
    async with asyncssh.connect("127.0.0.1", frr.port, username=USER, client_keys=[key], known_hosts=None, config=None) as connection:
        found = await connection.run("", input="terminal length 0\nshow running-config\nexit\n", stderr=subprocess.STDOUT)
        return str(found.stdout)


@asynccontextmanager
async def sros(lab: Lab, **facts: str) -> AsyncIterator[Simulated]:
    case = CASES["nokia_sros"]
    device = Simulated("pe1", version=case.version, configuration=case.configuration, facts=facts)
    async with lab.simulated("nokia_sros", device):
        yield device


async def test_a_device_goes_back_to_its_own_checkpoint(lab: Lab) -> None:
    async with sros(lab, rollbacks="cf3:/rollbacks/config") as device:
        before = device.running.render()
        job = await lab.done("config.change", state="failed", devices=["pe1"], lines=['/configure system location "x"', "/configure nonsense"])
        (target,) = await lab.targets(job)
        assert target.outcome == "syntax" and (target.said or "").endswith("; taken back") and device.running.render() == before
        job = await lab.done("config.change", state="failed", devices=["pe1"], lines=['/configure system location "x"'], expected=["never there"])
        assert "taken back" in ((await lab.targets(job))[0].said or "") and device.running.render() == before
        del device.facts["rollbacks"]
        job = await lab.done("config.change", state="failed", devices=["pe1"], lines=['/configure system location "x"', "/configure nonsense"])
        (target,) = await lab.targets(job)
        assert "classic command line" in (target.said or "") and "1 lines more and 0 less than before stay" in (target.said or "")


@pytest.mark.parametrize("platform", ["nokia_sros", "nokia_srlinux"])
async def test_a_change_that_cuts_netd_off_is_taken_back_by_the_device(lab: Lab, monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    case, driver = CASES[platform], lab.extensions.platforms[platform].driver
    monkeypatch.setattr(driver, "confirm_seconds", 0.1)
    facts = {"model_driven": "yes", "cuts": case.good[0].split()[-1]}
    device = Simulated("pe1", version=case.version, configuration=case.configuration, facts=facts)
    before = device.running.render()
    async with lab.simulated(platform, device):
        job = await lab.done("config.change", state="failed", devices=["pe1"], lines=list(case.good))
        (target,) = await lab.targets(job)
        assert (target.said or "").endswith("; nothing of it stayed") and target.result["rolled_back"] is True and device.running.render() == before
        assert "when the device has taken back what was not confirmed" in "\n".join(await lab.said(job))
        del device.facts["cuts"]
        await lab.until([await lab.submit("config.change", devices=["pe1"], lines=list(case.good))])
        assert device.running.render() != before, "confirmed, it stays"


async def test_what_is_gone_back_to_in_another_session_is_saved(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that was saved would be there again after the next restart."""
    driver: Any = type(lab.extensions.platforms["nokia_sros"].driver)
    whole, lost = driver.save, [True, False]

    def save(self: Any) -> Any:
        yield from whole(self)
        if lost.pop(0):
            raise PeerUnreachable("pe1: the connection was lost", "lost")

    monkeypatch.setattr(driver, "save", save)
    monkeypatch.setattr(driver, "confirm_seconds", 0.0, raising=False)
    monkeypatch.setattr(lab.extensions.platforms["nokia_sros"].driver, "confirm_seconds", 0.0)
    async with sros(lab, rollbacks="cf3:/rollbacks/config") as device:
        before = device.running.render()
        job = await lab.done("config.change", state="failed", devices=["pe1"], lines=['/configure system location "x"'])
        (target,) = await lab.targets(job)
        assert (target.said or "").endswith("the connection was lost; taken back") and device.running.render() == before
        assert device.startup.render() == before and lost == []


@pytest.mark.parametrize("goes", [True, False])
async def test_what_is_not_confirmed_shuts_a_device_until_it_goes_by_itself(lab: Lab, monkeypatch: pytest.MonkeyPatch, goes: bool) -> None:
    driver: Any = lab.extensions.platforms["nokia_srlinux"].driver
    case = CASES["nokia_srlinux"]
    device = Simulated("pe1", version=case.version, configuration=case.configuration)
    before = device.running.copy()

    def configure(lines: Sequence[str]) -> Any:
        yield from type(driver).configure(driver, lines)
        raise PeerError("it does not take the confirmation")

    def restore(text: str, *, save: bool) -> Any:
        yield Note(text="refused")
        if goes:
            device.running = before
        raise PeerError("a commit is to be confirmed")

    for name, value in {"configure": configure, "restore": restore, "confirm_seconds": 0.0}.items():
        monkeypatch.setattr(driver, name, value)
    async with lab.simulated("nokia_srlinux", device):
        job = await lab.done("config.change", state="failed", devices=["pe1"], lines=list(case.good))
        (target,) = await lab.targets(job)
        how = "taken back" if goes else "not taken back: a commit is to be confirmed; 2 lines more and 1 less than before stay"
        assert target.result["rolled_back"] is goes and (target.said or "").startswith(f"it does not take the confirmation; {how}"), target.said


async def test_a_driver_that_stumbles_leaves_no_half_change(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    whole, restored = driver.configure, driver.restore

    def half(self: Any, lines: Sequence[str]) -> Any:
        yield from whole(self, lines[:1])
        raise IndexError("canaryppp")

    def not_restored(self: Any, text: str, *, save: bool) -> Any:
        raise KeyError("canaryppp")
        yield

    monkeypatch.setattr(driver, "configure", half)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=LINES)
        (target,) = await lab.targets(job)
        assert target.said == "a defect of its driver, see netd's log: IndexError; taken back"
        assert device.generation == 1 and "192.0.2" not in device.running.render()
        monkeypatch.setattr(driver, "restore", not_restored)
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=LINES)
        (target,) = await lab.targets(job)
        assert target.said == (
            "a defect of its driver, see netd's log: IndexError; not taken back: a defect of its driver, see netd's log: KeyError; "
            "2 lines more and 0 less than before stay"
        )
        monkeypatch.setattr(driver, "restore", restored)
    assert await leaks(lab) == []


async def test_a_change_whose_end_cannot_be_kept_is_judged_all_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = configurations.keep

    async def kept(*arguments: Any, **more: Any) -> Any:
        if more["source"] == "after":
            raise StoreError("no room")
        return await keep(*arguments, **more)

    monkeypatch.setattr(configurations, "keep", kept)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        order: dict[str, Any] = {"devices": ["edge1"], "lines": LINES[:1]}
        job = await lab.done("config.change", state="failed", **order, expected=["add address=192.0.2.1/24 interface=ether1"])
        (target,) = await lab.targets(job)
        assert (target.state, target.said) == ("unverified", "what it runs then is not kept: no room") and "+add address=192.0.2.1" in target.result["diff"]
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=LINES[1:], expected=["never there"])
        (target,) = await lab.targets(job)
        assert target.said == "afterwards 'never there' is not there; taken back; what it runs then is not kept: no room"
        assert target.result["rolled_back"] is True and "192.0.2.2" not in device.running.render()


async def test_a_change_is_taken_back_when_the_database_is_there_again(lab: Lab, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was away for longer than the job's lease, and no other node was there to find that out."""
    stalls(lab, "mikrotik_routeros", monkeypatch)
    device, service = router(), lab.services[0]
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.submit("config.change", devices=["edge1"], lines=LINES)
        await held.there.wait()
        ((run, _),) = service._runs.values()
        service._writer._database = Gone(lab.database)  # type: ignore[assignment]
        service._monotonic = service._writer._monotonic = lambda: time.monotonic() + LEASE_SECONDS  # time goes by
        await run.lease.changed.wait()
        await lab.rows("update jobs set lease_until = now() - interval '1 second'")
        await service.upkeep()
        service._writer._database = lab.database
        (ended,) = await lab.until([job])
        (target,) = await lab.targets(ended)
        assert (ended.state, ended.error) == ("failed", "the database was away for longer than its lease")
        assert (target.state, target.said) == ("failed", f"{STOPPED}; taken back") and "192.0.2" not in device.running.render()
