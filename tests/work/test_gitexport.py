"""The repository that configurations are exported to: mended after a crash, pushed until it is there, by several nodes and for several tenants."""

import asyncio
import os
import stat
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.config import ConfigurationsConfig
from netd.errors import ConfigError
from netd.work import gitexport
from netd.work.gitexport import ExportFailed, GitExport, exporter

NOW = datetime(2026, 11, 26, 5, tzinfo=UTC)


class Exported(GitExport):
    """Exports what ``texts`` has by name."""

    texts: Mapping[str, str] = {}

    async def _written(self, db: Any, keyring: Any, platforms: Any, tenant_id: int, folder: Path) -> Mapping[str, int]:
        for name, text in self.texts.items():
            gitexport._write(folder, name, text, None)
        return dict.fromkeys(self.texts, 1)

    async def export(self, tenant_id: int = 1, **texts: str) -> str | None:
        self.texts = {f"{name}.cfg": text for name, text in texts.items()}
        none: Any = None
        return await self.run(none, none, none, tenant_id, "job 1", NOW)


def made(folder: Path, remote: Path | str = "") -> Exported:
    return Exported(folder, secrets=False, git="git", remote=str(remote))


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout.strip()


async def test_a_lock_that_a_killed_git_left_does_not_end_the_export(tmp_path: Path) -> None:
    node = made(tmp_path / "export")
    await node.export(core1="one\n")
    folder = tmp_path / "export" / "tenant-1"
    lock = folder / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(ExportFailed, match=r"index\.lock"):  # a git may be at work
        await node.export(core1="two\n")
    os.utime(lock, (1.0, 1.0))
    commit = await node.export(core1="two\n")
    assert commit == git(folder, "rev-parse", "HEAD") and not lock.exists()


async def test_a_repository_whose_making_was_broken_off(tmp_path: Path) -> None:
    """Nor is anything committed into a repository above it."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    folder = tmp_path / "export" / "tenant-1"
    (folder / ".git").mkdir(parents=True)
    assert await made(tmp_path / "export").export(core1="one\n") == git(folder, "rev-parse", "HEAD")
    assert git(tmp_path, "for-each-ref") == "" and git(folder, "ls-files") == "core1.cfg"


async def test_only_configurations_are_committed(tmp_path: Path) -> None:
    node = made(tmp_path / "export")
    assert await node.export() is None
    folder = tmp_path / "export" / "tenant-1"
    (folder / ".netrc").write_text("password canary")
    await node.export(core1="one\n", core2="two\n")
    assert git(folder, "ls-files").split() == ["core1.cfg", "core2.cfg"]
    await node.export()  # the last devices are gone
    assert git(folder, "ls-files") == ""


async def test_what_was_not_pushed_is_pushed_with_the_next_export(tmp_path: Path) -> None:
    remote, node = tmp_path / "remote.git", made(tmp_path / "export", tmp_path / "remote.git")
    with pytest.raises(ExportFailed, match="git push failed"):
        await node.export(core1="one\n")
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    assert await node.export(core1="one\n") is None  # nothing differs
    assert git(remote, "rev-parse", "main") == git(tmp_path / "export" / "tenant-1", "rev-parse", "HEAD")


async def test_several_nodes_and_tenants_push_to_one_place(tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    one, two = made(tmp_path / "one", remote), made(tmp_path / "two", remote)
    await one.export(core1="one\n")
    await two.export(core1="one\n", core2="new\n")
    await one.export(core1="changed\n", core2="new\n")
    await two.export(core1="changed again\n")
    await two.export(2, other="another tenant's\n")
    assert git(remote, "log", "--format=%s", "main").split("\n") == [f"{n} devices, job 1" for n in (1, 2, 2, 1)]
    assert git(remote, "show", "main:core1.cfg") == "changed again" and git(remote, "ls-tree", "--name-only", "main") == "core1.cfg"
    assert git(remote, "ls-tree", "--name-only", "tenant-2") == "other.cfg"


async def test_a_git_that_is_stopped_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that exports may be cancelled, or netd stop."""
    node = made(tmp_path / "export")
    await node.export(core1="one\n")
    folder = tmp_path / "export" / "tenant-1"
    hook = folder / ".git" / "hooks" / "reference-transaction"  # git calls it while it has the lock of the branch
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\n[ "$1" = prepared ] || exit 0\necho > {tmp_path}/there\nexec sleep 600\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    task = asyncio.create_task(node.export(core1="two\n"))
    while not (tmp_path / "there").exists():  # noqa: ASYNC110 - another process says it
        await asyncio.sleep(0.02)
    assert (folder / ".git" / "refs" / "heads" / "main.lock").exists()
    task.cancel()
    await asyncio.wait([task])
    hook.unlink()
    assert await node.export(core1="two\n") is not None


def test_a_password_in_the_remote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a password") as caught:
        exporter(ConfigurationsConfig(export="masked", export_remote="https://netd:hunter2@git.example.net/configs.git"), tmp_path)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="or a token"):
        exporter(ConfigurationsConfig(export="masked", export_remote=f"https://{'t0ken' * 8}@git.example.net/configs.git"), tmp_path)
    for remote in ("git@git.example.net:configs.git", "ssh://git@git.example.net/configs.git", "https://netd@git.example.net/c.git", "/srv/[x"):
        assert exporter(ConfigurationsConfig(export="masked", export_remote=remote), tmp_path) is not None
