"""What devices run, in a git repository for people and programs that look there: made by the real git, one commit a run. What netd keeps is not in it.

The repository lies in the data folder, one for each tenant; secrets are left out unless the configuration says otherwise. Where it is pushed to the first
tenant is the branch ``main``, each other one a branch of its own; several nodes may push there.
"""

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from netd import __version__
from netd.config import ConfigurationsConfig
from netd.domain import configurations
from netd.domain.actor import system
from netd.domain.configurations import Platforms
from netd.domain.tokens import DEFAULT_TENANT
from netd.errors import ConfigError, Conflict, NetdError, NotFound
from netd.keyring import Keyring
from netd.store import configurations as store
from netd.store.database import Database

log = logging.getLogger(__name__)

GIT_SECONDS: Final = 120.0
TOKEN_CHARACTERS: Final = 20
"""So long a user name in an URL is a token."""

GC_SECONDS: Final = 1800.0
ENDS_SECONDS: Final = 5.0
"""So long git has to tidy up behind itself when it is told to end."""

GC_COMMITS: Final = 50
"""After so many commits git is let tidy up: without it the repository grows without end."""

_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_LOCKS: Final = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads/main.lock", "refs/netd/pushed.lock")
_PUSHED: Final = "refs/netd/pushed"
"""The commit that was pushed last."""

_PASSED_ON: Final = ("SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_ASKPASS")


class ExportFailed(NetdError):
    """Git did not do as asked; the text has what it said."""


class GitExport:
    """Exports into repositories below ``folder``."""

    def __init__(self, folder: Path, *, secrets: bool, git: str, remote: str = "") -> None:
        self._folder = folder.absolute()
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
            commit = await self._commit(folder, f"{len(names)} devices, {why}", now)
            if self._remote:
                await self._pushed(folder, "main" if tenant_id == DEFAULT_TENANT else f"tenant-{tenant_id}", f"{len(names)} devices, {why}", now)
            return commit

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
        """The commit, None where nothing differs. Raises ExportFailed."""
        await asyncio.to_thread(_unlocked, folder)
        await self._do(folder, now, "init", "--quiet", "--initial-branch=main")  # makes what is not there, also where that was broken off
        if await asyncio.to_thread(_has_files, folder) or await self._do(folder, now, "ls-files"):
            await self._do(folder, now, "add", "--all", "--", "*.cfg")
        if not await self._do(folder, now, "diff", "--cached", "--name-only"):
            return None
        await self._do(folder, now, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", message)
        commit = await self._at(folder, now, "refs/heads/main")
        if int(await self._do(folder, now, "rev-list", "--count", "HEAD")) % GC_COMMITS == 0:
            await self._do(folder, now, "gc", "--quiet", seconds=GC_SECONDS)
        return commit

    async def _pushed(self, folder: Path, branch: str, message: str, now: datetime) -> None:
        """Push what was not pushed yet; where somebody else pushed meanwhile, as another node does, on top of that. Raises ExportFailed."""
        head = await self._at(folder, now, "refs/heads/main")
        if not head or head == await self._at(folder, now, _PUSHED):
            return
        push = ("push", "--quiet", "--", self._remote, f"HEAD:refs/heads/{branch}")
        try:
            await self._do(folder, now, *push)
        except ExportFailed as refused:
            try:
                await self._do(folder, now, "fetch", "--quiet", "--", self._remote, f"refs/heads/{branch}")
            except ExportFailed:
                raise refused from None
            await self._do(folder, now, "reset", "--quiet", "FETCH_HEAD")  # the files stay as they are: they are what all devices run
            await self._commit(folder, message, now)
            await self._do(folder, now, *push)
        await self._do(folder, now, "update-ref", _PUSHED, "HEAD")

    async def _at(self, folder: Path, now: datetime, reference: str) -> str:
        """The commit that it names, "" if there is no such name."""
        return await self._do(folder, now, "for-each-ref", "--format=%(objectname)", reference)

    async def _do(self, folder: Path, now: datetime, *arguments: str, seconds: float = GIT_SECONDS) -> str:
        """Run git; returns what it printed. Raises ExportFailed."""
        who = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in (
            ("NAME", "netd"), ("EMAIL", "netd@localhost"), ("DATE", now.isoformat()))}  # fmt: skip
        environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **who,
            "GIT_DIR": str(folder / ".git"), "GIT_WORK_TREE": str(folder),  # never one of a folder above
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            self._git, "-C", str(folder), *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                out, _ = await process.communicate()
        except TimeoutError:
            raise ExportFailed(f"git {arguments[0]} was not done in {seconds:g} s") from None
        finally:
            if process.returncode is None:
                await _end(process)
        said = out.decode("utf-8", "replace").strip()
        if process.returncode:
            raise ExportFailed(f"git {arguments[0]} failed: {said[-500:]}")
        return said


def exporter(config: ConfigurationsConfig, folder: Path) -> GitExport | None:
    """As the configuration wants it; None: it does not. Raises ConfigError if it wants it and there is no git."""
    if config.export == "off":
        return None
    with contextlib.suppress(ValueError):  # git has forms that are no URLs
        remote = urlsplit(config.export_remote)
        if remote.password or (remote.scheme in ("http", "https") and len(remote.username or "") >= TOKEN_CHARACTERS):
            said = "has a password or a token, which lists of processes show: use a key, or GIT_ASKPASS"
            raise ConfigError("configuration", "configurations.export_remote", said)
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


def _has_files(folder: Path) -> bool:
    return any(folder.glob("*.cfg"))


def _unlocked(folder: Path) -> None:
    """Remove what a git that was killed left: with it no other ever does anything here again. Nobody else writes here, and netd's own git ends before."""
    for name in _LOCKS:
        path = folder / ".git" / name
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > GIT_SECONDS:
                path.unlink()
                log.warning("a lock that a killed git left was removed", extra={"path": str(path)})


async def _end(process: asyncio.subprocess.Process) -> None:
    """End git, with what it started: told so it takes its locks away; killed it does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDS_SECONDS):
                await process.wait()
                return
    await process.wait()


def _remove_others(folder: Path, names: Collection[str]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob("*.cfg"):
        if path.name not in names:
            path.unlink()
