"""What devices run, in a git repository for people and programs that look there: made by the real git, one commit a run. What netd keeps is not in it.

The repository lies in the data folder, one for each tenant; secrets are left out unless the configuration says otherwise.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from netd import __version__
from netd.config import ConfigurationsConfig
from netd.domain import configurations
from netd.domain.actor import system
from netd.domain.configurations import Platforms
from netd.errors import ConfigError, Conflict, NetdError, NotFound
from netd.keyring import Keyring
from netd.store import configurations as store
from netd.store.database import Database

GIT_SECONDS: Final = 120.0
GC_COMMITS: Final = 50
"""After so many commits git is let tidy up: without it the repository grows without end."""

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class ExportFailed(NetdError):
    """Git did not do as asked; the text has what it said."""


class GitExport:
    """Exports into repositories below ``folder``."""

    def __init__(self, folder: Path, *, secrets: bool, git: str, remote: str = "") -> None:
        self._folder = folder
        self._secrets = secrets
        self._git = git
        self._remote = remote
        self._one = asyncio.Lock()  # one run at a time: they share an index

    async def run(self, db: Database, keyring: Keyring, platforms: Platforms, tenant_id: int, why: str, now: datetime) -> str | None:
        """Write what every device of the tenant runs and commit it; returns the commit, None where nothing differs. Raises ExportFailed, StoreError."""
        async with self._one:
            folder = self._folder / f"tenant-{tenant_id}"
            try:
                names = await self._written(db, keyring, platforms, tenant_id, folder)
                await asyncio.to_thread(_remove_others, folder, names)
            except OSError as error:
                raise ExportFailed(f"the export to git cannot be written: {error.strerror}") from error
            return await self._commit(folder, f"{len(names)} devices, {why}", now)

    async def _written(self, db: Database, keyring: Keyring, platforms: Platforms, tenant_id: int, folder: Path) -> Mapping[str, int]:
        """Write a file for each device that runs another version than the file has, one after the other; returns the versions by the files' names."""
        async with db.transaction() as conn:
            current = await store.current_of_all(conn, tenant_id)
        note = self._folder / f"tenant-{tenant_id}.json"
        made_by = f"netd {__version__}, {'with' if self._secrets else 'without'} secrets"  # another release may know more secrets
        before = await asyncio.to_thread(_noted, note, folder, made_by)
        files: dict[str, int] = {}
        for device_id, hostname, version_id in current:
            name = f"{_NAME.sub('_', hostname).strip('.') or 'device'}-{device_id}.cfg"
            if before.get(name) != version_id:
                try:
                    async with db.transaction() as conn:
                        found, text = await configurations.read(conn, system(tenant_id), keyring, version_id)
                    masked = None if self._secrets else configurations.reader(platforms, found.platform).masked
                except (Conflict, NotFound):
                    continue  # nobody knows what is secret in it, or the device is gone
                await asyncio.to_thread(_write, folder, name, text, masked)
            files[name] = version_id
        await asyncio.to_thread(_note, note, _Note(made_by=made_by, files=files))
        return files

    async def _commit(self, folder: Path, message: str, now: datetime) -> str | None:
        if not await asyncio.to_thread((folder / ".git").is_dir):
            await self._do(folder, now, "init", "--quiet", "--initial-branch=main")
        await self._do(folder, now, "add", "--all")
        if not await self._do(folder, now, "status", "--porcelain"):
            return None
        await self._do(folder, now, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", message)
        commit = await self._do(folder, now, "rev-parse", "HEAD")
        if int(await self._do(folder, now, "rev-list", "--count", "HEAD")) % GC_COMMITS == 0:
            await self._do(folder, now, "gc", "--quiet")
        if self._remote:
            await self._do(folder, now, "push", "--quiet", self._remote, "HEAD:main")
        return commit

    async def _do(self, folder: Path, now: datetime, *arguments: str) -> str:
        """Run git; returns what it printed. Raises ExportFailed."""
        who = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in (
            ("NAME", "netd"), ("EMAIL", "netd@localhost"), ("DATE", now.isoformat()))}  # fmt: skip
        environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **who,
            **{name: os.environ[name] for name in ("SSH_AUTH_SOCK", "GIT_SSH_COMMAND") if name in os.environ},
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            self._git, "-C", str(folder), *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(GIT_SECONDS):
                out, _ = await process.communicate()
        except TimeoutError:
            raise ExportFailed(f"git {arguments[0]} was not done in {GIT_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = out.decode("utf-8", "replace").strip()
        if process.returncode:
            raise ExportFailed(f"git {arguments[0]} failed: {said[-500:]}")
        return said


def exporter(config: ConfigurationsConfig, folder: Path) -> GitExport | None:
    """As the configuration wants it; None: it does not. Raises ConfigError if it wants it and there is no git."""
    if config.export == "off":
        return None
    git = shutil.which("git")
    if git is None:
        raise ConfigError("configuration", "configurations.export", "needs git, which is not in PATH")
    return GitExport(folder, secrets=config.export == "secrets", git=git, remote=config.export_remote)


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions the files of a repository have, and what wrote them."""

    made_by: str
    files: dict[str, int]


def _noted(path: Path, folder: Path, made_by: str) -> Mapping[str, int]:
    """What the files have, as far as it is known and they are there."""
    try:
        note = msgspec.json.decode(path.read_bytes(), type=_Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}  # the first export, or one that was broken off: all is written anew
    if note.made_by != made_by:
        return {}
    return {name: version_id for name, version_id in note.files.items() if (folder / name).exists()}


def _note(path: Path, note: _Note) -> None:
    path.write_bytes(msgspec.json.encode(note))


def _write(folder: Path, name: str, text: str, masked: Callable[[str], str] | None) -> None:
    text = text if masked is None else masked(text)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        path.chmod(0o600)


def _remove_others(folder: Path, names: Collection[str]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob("*.cfg"):
        if path.name not in names:
            path.unlink()
