"""Software images and upgrades, against simulators over SSH: one that takes, one that does not, one without room, one that arrives damaged."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.domain import jobs, software
from netd.domain.software import NewImage, NewSoftwareTarget
from netd.errors import InvalidInput, PeerUnreachable
from netd.model.configuration import SoftwareImage
from netd.sdk.dialogue import Pause
from netd.store.database import Database
from tests.work.labs import ACTOR, Lab, laboratory
from tests.work.test_configurations import leaks, router

CONTENT = b"npk" * 100_000


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65536):
        yield content[start : start + 65536]


async def image(lab: Lab, version: str = "7.17", content: bytes = CONTENT, sha256: str | None = None, packed: str | None = None) -> SoftwareImage:
    digest = sha256 or hashlib.sha256(content).hexdigest()
    new = NewImage(platform="mikrotik_routeros", software_version=version, file_name=f"routeros-{packed or version}.npk", sha256=digest)
    assert lab.tools.images is not None
    return await software.add_image(lab.database, ACTOR, lab.tools.images, lab.catalogue, new, chunks(content))


async def test_images_are_kept_by_what_they_are(lab: Lab) -> None:
    made = await image(lab)
    folder = lab.tools.images
    assert folder is not None and software.path_of(folder, made).read_bytes() == CONTENT
    assert (made.octets, made.md5) == (len(CONTENT), hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    other = await image(lab, "7.18")
    with pytest.raises(InvalidInput, match="/sha256: the file has"):
        await image(lab, "7.19", sha256="0" * 64)
    assert [path.name for path in folder.iterdir()] == [made.sha256], "what was refused leaves nothing"
    await software.delete_image(lab.database, lab.database, ACTOR, folder, made.id)
    assert software.path_of(folder, other).is_file()
    await software.delete_image(lab.database, lab.database, ACTOR, folder, other.id)
    assert list(folder.iterdir()) == []


async def test_an_upgrade_and_who_should_make_one(lab: Lab) -> None:
    devices = [router("edge1"), router("edge2", "7.17")]
    made = await image(lab)
    await software.create_target(
        lab.database, ACTOR, lab.catalogue, NewSoftwareTarget(platform="mikrotik_routeros", software_version="7.17", reason="CVE-2026-1")
    )  # fmt: skip
    async with lab.simulated("mikrotik_routeros", *devices):
        await lab.done("config.backup", selector={})  # from which netd learns what they run
        page = await software.compliance(lab.database, ACTOR, software.ComplianceQuery(compliant=False))
        assert [(each.device, each.software_version, each.wanted_version, each.reason, each.image_id) for each in page.items] == [
            ("edge1", "7.16.2", "7.17", "CVE-2026-1", made.id)
        ]
        job = await lab.done("device.upgrade", selector={}, image_id=made.id)
        assert {target.name: target.outcome for target in await lab.targets(job)} == {"edge1": "ok", "edge2": "already"}
        assert devices[0].version == "7.17" and job.result["version"] == "7.17"
        assert "7.16.2 -> 7.17: it restarts" in await lab.said(job)
        page = await software.compliance(lab.database, ACTOR, software.ComplianceQuery(compliant=False))
        assert page.items == ()
    assert await leaks(lab) == []


async def test_an_upgrade_that_comes_back_with_the_old_version(lab: Lab) -> None:
    made = await image(lab)
    async with lab.simulated("mikrotik_routeros", router("edge1", upgrade_fails=True), router("edge2")):
        job = await lab.done("device.upgrade", state="failed", selector={}, image_id=made.id)
        assert job.targets == {"failed": 1, "skipped": 1}
        target = (await lab.targets(job))[0]
        assert target.outcome == "failed" and target.said == "it came back with 7.16.2, not with 7.17"
        assert target.result == {"before": "7.16.2", "wanted": "7.17", "after": "7.16.2"}


async def test_an_upgrade_that_comes_back_with_neither_version(lab: Lab) -> None:
    """The image is not what somebody said it is: the device is brought back to what it ran, if there is an image of that."""
    made = await image(lab, packed="7.17.1")
    device = router("edge1")
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("device.upgrade", state="failed", devices=["edge1"], image_id=made.id)
        (target,) = await lab.targets(job)
        assert target.said == "it came back with 7.17.1, not with 7.17; the library has no image of 7.16.2 to go back to" and device.version == "7.17.1"
        old = await image(lab, "7.17.1")
        await lab.rows("update software_images set software_version = '7.19', file_name = 'routeros-7.18.npk' where id = $1", made.id)
        job = await lab.done("device.upgrade", state="failed", devices=["edge1"], image_id=made.id)
        (target,) = await lab.targets(job)
        assert target.said == "it came back with 7.18, not with 7.19; went back to 7.17.1" and device.version == "7.17.1", old


async def test_an_upgrade_without_room(lab: Lab) -> None:
    made = await image(lab)
    device = router("edge1")
    device.files["flash/full"] = bytes(64 << 20)
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("device.upgrade", state="failed", devices=["edge1"], image_id=made.id)
        (target,) = await lab.targets(job)
        assert target.outcome == "capacity" and "nothing was changed" in (target.said or "")
        assert list(device.files) == ["flash/full"] and device.version == "7.16.2" and device.generation == 0
        device.files |= {"flash/full": bytes((64 << 20) - len(CONTENT)), made.file_name: CONTENT}  # which an earlier try brought
        job = await lab.done("device.upgrade", devices=["edge1"], image_id=made.id)
        assert device.version == "7.17" and "the image is there already, as it is here" in await lab.said(job)


async def test_an_image_for_another_platform(lab: Lab) -> None:
    made = await image(lab)
    await lab.rows("update software_images set platform = 'cisco_ios'")
    device = router("edge1")
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("device.upgrade", state="failed", devices=["edge1"], image_id=made.id)
        (target,) = await lab.targets(job)
        assert "the image is for cisco_ios" in (target.said or "") and not device.files


@pytest.mark.parametrize("lost", [True, False])
async def test_what_an_upgrade_leaves_that_is_stopped_before_the_restart(lab: Lab, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    """The next start, whoever makes it, is with the new image: that is told."""
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    there = asyncio.Event()

    def reboot(self: Any) -> Any:
        there.set()
        if lost:
            raise PeerUnreachable("device-1 has not come back within 600 s", "timeout")
        yield Pause(seconds=60)

    monkeypatch.setattr(driver, "reboot", reboot)
    monkeypatch.setattr("netd.work.sessions.Opened.run", lambda self, dialogue: self.session.run(dialogue))
    made = await image(lab)
    async with lab.simulated("mikrotik_routeros", router("edge1")):
        job = await lab.submit("device.upgrade", devices=["edge1"], image_id=made.id)
        await there.wait()
        if not lost:
            await jobs.cancel(lab.database, ACTOR, lab.kinds, job.id, datetime.now(UTC))
        (ended,) = await lab.until([job])
        (target,) = await lab.targets(ended)
        why = "device-1 has not come back within 600 s" if lost else "it was stopped in the middle"
        assert (ended.state, target.state) == ("failed" if lost else "cancelled", "failed")
        assert target.said == f"{why}; routeros-7.17.npk was activated: what it runs is not known, and the next start may be with 7.17"
        assert target.result == {"before": "7.16.2", "wanted": "7.17", "after": None}


async def test_an_upgrade_whose_configuration_is_not_read_afterwards(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it runs is known, and it is not brought back."""
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    whole, lost = driver.configuration, [False, True]

    def configuration(self: Any, which: Any) -> Any:
        if which == "running" and lost.pop(0):
            raise PeerUnreachable("device-1: the connection was lost", "lost")
        return (yield from whole(self, which))

    monkeypatch.setattr(driver, "configuration", configuration)
    made, device = await image(lab), router("edge1")
    await image(lab, "7.16.2")
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("device.upgrade", state="failed", devices=["edge1"], image_id=made.id)
        (target,) = await lab.targets(job)
        assert target.said == "device-1: the connection was lost; it runs 7.17" and device.version == "7.17"
        assert target.result == {"before": "7.16.2", "wanted": "7.17", "after": "7.17"}
