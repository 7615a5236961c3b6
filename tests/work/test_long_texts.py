"""Long texts are looked at where they hold up nobody: in threads, and only those that are new."""

import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.config import ConfigurationsConfig
from netd.domain import configurations
from netd.extensions import Extensions
from netd.simulate import Simulated
from netd.store.database import Database
from netd.work import gitexport
from netd.work.gitexport import exporter
from netd.work.kinds.masking import secret_lines
from tests.work.labs import ACTOR, Lab, laboratory
from tests.work.test_configurations import ios

LONG = 500


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


def spied(driver: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """What of long texts is looked at in the loop, and what in other threads."""
    here, elsewhere = list[str](), list[str]()
    for name in ("masked", "normal"):
        real: Callable[[str], str] = getattr(driver, name)

        def looks(text: str, name: str = name, real: Callable[[str], str] = real) -> str:
            if len(text) > LONG:
                (here if threading.current_thread() is threading.main_thread() else elsewhere).append(name)
            return real(text)

        monkeypatch.setattr(driver, name, looks)
    return here, elsewhere


def long(name: str) -> Simulated:
    device = ios(name)
    for number in range(100):
        device.running.put((), f"ip route 198.51.100.{number} 255.255.255.255 192.0.2.1")
    return device


async def test_the_loop_looks_at_none(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = spied(lab.extensions.platforms["cisco_ios"].driver, monkeypatch)
    lines = [f"ntp server 192.0.2.{number}" for number in range(40)]
    async with lab.simulated("cisco_ios", long("core1")):
        await lab.done("config.backup", devices=["core1"])
        await lab.done("device.show", devices=["core1"], commands=["show running-config"])
        await lab.done("config.change.preview", devices=["core1"], lines=lines)
        await lab.done("config.change", devices=["core1"], lines=lines[:1])
        unsealed, unseal = list[bool](), configurations.unseal

        def unsealing(*given: Any) -> str:
            unsealed.append(threading.current_thread() is threading.main_thread())
            return unseal(*given)

        monkeypatch.setattr(configurations, "unseal", unsealing)
        await lab.drift("core1")
    assert not here and {"masked", "normal"} <= set(elsewhere) and unsealed and not any(unsealed)


async def test_the_export_reads_only_what_is_new(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [long(name) for name in ("core1", "core2", "core3")]
    git = exporter(ConfigurationsConfig(export="masked"), tmp_path / "export")
    assert git is not None
    read: list[int] = []
    real = configurations.read

    async def counted(*arguments: Any) -> Any:
        read.append(arguments[-1])
        return await real(*arguments)

    async with lab.simulated("cisco_ios", *devices):
        here, _ = spied(lab.extensions.platforms["cisco_ios"].driver, monkeypatch)
        await lab.done("config.backup", selector={})
        monkeypatch.setattr(configurations, "read", counted)

        async def export() -> int:
            read.clear()
            await git.run(lab.database, lab.keyring, lab.extensions.platforms, ACTOR.tenant_id, "job", datetime(2026, 11, 26, tzinfo=UTC))
            return len(read)

        assert [await export(), await export()] == [3, 0]
        devices[1].running.put((), "ip domain lookup")
        await lab.done("config.backup", devices=["core2"])
        assert await export() == 1
        (file,) = (tmp_path / "export" / "tenant-1").glob("core3-*.cfg")
        file.unlink()
        (tmp_path / "export" / "tenant-1.json").write_text("half a no")
        assert await export() == 3 and file.exists()
        file.unlink()
        assert await export() == 1 and file.exists()
        monkeypatch.setattr(gitexport, "__version__", "another, which may know more secrets")
        assert await export() == 3
    assert not here


@pytest.mark.parametrize(("platform", "line", "secret"), [
    ("cisco_ios", "username ${u} secret hunter2x", True), ("cisco_ios", "username ${u} secret ${p}", False), ("cisco_ios", "username u secret hunter2x", True),
    ("cisco_ios", "snmp-server community ${ro} RO", False), ("cisco_ios", "description ${x}", False),
    ("cisco_ios", "description to ${x} secret hunter2x", True),
    ("cisco_ios", "enable secret pre${x}", True), ("cisco_ios", "no shutdown", False),
    ("mikrotik_routeros", '/ppp secret add name=u password="${p}"', False), ("mikrotik_routeros", '/ppp secret add name=${u} password="hunter 2x"', True),
    ("mikrotik_routeros", "/snmp community add name=${c}", False), ("mikrotik_routeros", "/snmp community add name=hunter2x comment=${c}", True),
    ("huawei_vrp", "local-user ${u} password cipher hunter2x", True), ("huawei_vrp", "local-user ${u} password irreversible-cipher ${p}", False),
    ("nokia_isam", "configure system security operator ${u} password plain:hunter2x", True),
    ("nokia_isam", "configure system security operator ${u} password plain:${p}", False), ("nokia_isam", "configure system id ${x}", False),
])  # fmt: skip
def test_a_secret_beside_a_variable(platform: str, line: str, secret: bool) -> None:
    driver: Any = EXTENSIONS.platforms[platform].driver
    assert secret_lines(driver, ["interface x", line, "exit"]) == ([1] if secret else [])


EXTENSIONS = Extensions.discover(packages=())
