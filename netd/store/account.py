"""The operating system account that PostgreSQL runs as, and what that account can reach.

PostgreSQL refuses to run as root. If netd is root (containers, a first try), the server is given an unprivileged account through setpriv(1).
"""

import asyncio
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from netd.errors import ConfigError

HERE = "the embedded database"  # the source that a ConfigError names
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}  # nothing of ours: PG* variables would be obeyed


class Account(msgspec.Struct, frozen=True):
    """Who runs PostgreSQL. ``owner`` is the name of the account that netd itself has: the only one let in."""

    name: str
    uid: int
    gid: int
    owner: str

    @property
    def dropped(self) -> bool:
        """Whether netd is root and the server is not."""
        return os.geteuid() == 0

    def command(self, *arguments: str | Path, die_with_parent: bool = False) -> list[str]:
        """``arguments`` as a command line that runs under this account, without capabilities or new privileges."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ConfigError(HERE, "", "needs setpriv (package util-linux); or set database.url")
        drop = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"] if self.dropped else []
        follow = ["--pdeathsig=INT"] if die_with_parent else []
        return [setpriv, *drop, *follow, "--inh-caps=-all", "--no-new-privs", *(str(argument) for argument in arguments)]

    async def run(self, *arguments: str | Path) -> tuple[int, str]:
        """Run a program to its end under this account; returns its exit status and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*arguments, die_with_parent=True),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        return process.returncode or 0, output.decode(errors="replace")

    async def can_enter(self, folder: Path) -> bool:
        """Whether ``folder`` exists and this account can reach and enter it."""
        status, _ = await self.run("test", "-d", folder, "-a", "-x", folder)
        return status == 0


def choose(preferred: Sequence[str] = ("netd", "nobody"), cluster_owner: int | None = None) -> Account:
    """The account for the server: netd's own, or for root the owner of an existing cluster, else the first of ``preferred`` that exists."""
    uid = os.geteuid()
    try:
        own = pwd.getpwuid(uid)
    except KeyError:
        raise ConfigError(HERE, "", f"user id {uid} has no name in the user database, which initdb needs; create a user or set database.url") from None
    if uid != 0:
        return Account(own.pw_name, uid, own.pw_gid, own.pw_name)
    if cluster_owner is not None and cluster_owner != 0:
        entry = pwd.getpwuid(cluster_owner)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, own.pw_name)
    for name in preferred:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, own.pw_name)
    raise ConfigError(HERE, "", f"never runs as root, and no user named {' or '.join(preferred)} exists; create user netd or set database.url")
