"""Where the embedded cluster and its socket live.

Normally under the data folder::

    DATA/postgres/data            the cluster, 0700, the server account's
    DATA/postgres/run             its socket, 0700, likewise
    DATA/postgres/lock            flock of the netd that runs it
    DATA/postgres/pg_hba.conf, pg_ident.conf   written at each start; not in the cluster, so that root never writes into another's folder

If netd is root and the server's account cannot enter DATA (a checkout under /root), the same tree is /var/lib/netd/clusters/HASH,
and DATA/postgres.location names it. Nobody's modes are changed.
"""

import errno
import fcntl
import hashlib
import logging
import os
import stat
import tempfile
import time
from pathlib import Path

from netd.errors import ConfigError, StoreError
from netd.store.account import HERE, Account, choose
from netd.store.binaries import trusted_root

log = logging.getLogger(__name__)

SOCKET_PATH_LIMIT = 107  # octets, sockaddr_un
SOCKET_NAME = ".s.PGSQL.5432"


class Placement:
    """The folders of one cluster. ``lock()`` first: everything else assumes that nobody else is at it."""

    def __init__(self, home: Path, account: Account) -> None:
        self.home = home
        self.data = home / "data"
        self.account = account
        self._lock: int | None = None

    def major(self) -> int | None:
        """The major version that made the cluster, None if there is no cluster yet."""
        try:
            return int((self.data / "PG_VERSION").read_text().strip())
        except FileNotFoundError:
            return None

    def lock(self) -> None:
        """Take the cluster for this process. Raises StoreError if another netd has it."""
        descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise StoreError(f"the database in {self.home} is in use by another netd (process {holder or 'unknown'})") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        """Let go of the cluster."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def owned_folder(self, path: Path) -> Path:
        """``path`` as an existing folder of the server's account with mode 0700. Raises StoreError if something else is there."""
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.account.uid or stat.S_IMODE(found.st_mode) & 0o077:
                raise StoreError(f"{path} is not a folder of user {self.account.name} with mode 0700") from None
        else:
            path.chmod(0o700)
            if self.account.dropped:
                os.chown(path, self.account.uid, self.account.gid)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the cluster, whole or not at all; the server's account can read it."""
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=self.home)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        path = self.home / name
        Path(temporary).replace(path)
        return path

    async def socket_folder(self) -> Path:
        """A 0700 folder whose socket path fits into a sockaddr_un: beside the cluster, else a short one under a run-time folder."""
        if _fits(self.home / "run"):
            return self.owned_folder(self.home / "run")
        uid, tag = os.geteuid(), hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        places = [Path("/run") / f"netd-{tag}", Path(f"/tmp/netd-{uid}-{tag}")]
        if "XDG_RUNTIME_DIR" in os.environ:
            places.insert(0, Path(os.environ["XDG_RUNTIME_DIR"]) / f"netd-{tag}")
        for outer in places:
            if _fits(outer / "run") and _ours(outer) and await self.account.can_enter(outer):
                return self.owned_folder(outer / "run")
        raise ConfigError(HERE, "", f"no folder for its socket: {self.home} is too long, and none of {', '.join(map(str, places))} can be used")


async def place(data_dir: Path) -> Placement:
    """Find or make the home of the cluster of ``data_dir`` (absolute). Raises ConfigError where an existing one cannot be reached."""
    recorded = _recorded(data_dir)
    if recorded is not None:
        return recorded
    usual = data_dir / "postgres"
    owner = _cluster_owner(usual)
    account = choose(cluster_owner=owner)
    if await account.can_enter(data_dir):
        if not _ours(usual) and (owner is None or usual.lstat().st_uid != account.uid):
            raise ConfigError(str(usual), "", "is not a folder of this user")
        return Placement(usual, account)
    if owner is not None:
        raise ConfigError(str(data_dir), "", f"user {account.name}, who runs the database in it, can no longer enter it")
    return _elsewhere(data_dir, account)


def _recorded(data_dir: Path) -> Placement | None:
    data_dir.mkdir(parents=True, exist_ok=True)
    location = data_dir / "postgres.location"
    try:
        home = Path(location.read_text().strip())
    except FileNotFoundError:
        return None
    owner = _cluster_owner(home)
    if owner is None:
        raise ConfigError(str(location), "", f"the database should be in {home}, but is not there; restore it, or remove this file to begin anew")
    return Placement(home, choose(cluster_owner=owner))


def _cluster_owner(home: Path) -> int | None:
    """User id of whom the cluster in ``home`` belongs to, None if there is none."""
    try:
        return (home / "data" / "PG_VERSION").stat().st_uid
    except FileNotFoundError:
        return None


def record_location(placement: Placement, data_dir: Path) -> None:
    """Leave a note in ``data_dir`` of where its cluster is, if that is elsewhere. After the cluster was made."""
    location = data_dir / "postgres.location"
    if placement.home == data_dir / "postgres" or location.exists():
        return
    location.write_text(f"{placement.home}\n")
    log.warning("user %s cannot enter %s: the database lives in %s (see %s)", placement.account.name, data_dir, placement.home, location)


def _elsewhere(data_dir: Path, account: Account) -> Placement:
    clusters = trusted_root() / "clusters"
    if not _ours(clusters, 0o755):
        raise ConfigError(str(clusters), "", "is not a folder of root's with mode 0755")
    home = clusters / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    if _cluster_owner(home) is not None:
        # A data folder of this name was here before and is gone, with its key: keep its database, begin anew.
        aside = home.with_name(f"{home.name}.old-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        probe = Placement(home, account)
        probe.lock()  # raises if somebody is running on it
        home.rename(aside)
        probe.unlock()
        log.warning("%s is new, but an earlier folder of that name left a database: it was set aside as %s", data_dir, aside)
    if not _ours(home, 0o755):
        raise ConfigError(str(home), "", "is not a folder of root's with mode 0755")
    return Placement(home, account)


def _ours(path: Path, mode: int | None = None) -> bool:
    """Make ``path`` if absent; whether it is now a folder of this process's user that nobody else can write."""
    mode = mode or (0o755 if os.geteuid() == 0 else 0o700)
    try:
        path.mkdir(mode=mode)
        path.chmod(mode)
    except FileExistsError:
        pass
    except OSError:
        return False
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_LIMIT
