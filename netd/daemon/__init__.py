"""netd as a process: from a configuration to an exit code, with the signals that end it. What runs in between is put together in ``serving``."""

import asyncio
import logging
import os
import shlex
import signal
import sys
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import uvloop

from netd import __version__
from netd.config import Config, LogConfig
from netd.daemon.folder import ADMIN_TOKEN, DEMO
from netd.daemon.serving import Running, serve_until
from netd.domain.kinds import Kind
from netd.errors import ConfigError, NetdError, StoreUnavailable
from netd.logs import setup as setup_logs

__all__ = ["ADMIN_TOKEN", "DEMO", "Running", "Stop", "first", "guarded", "run", "serve_until"]

log = logging.getLogger(__name__)


class Stop:
    """The wish to stop: set by SIGTERM or SIGINT. The second signal ends the process at once."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()

    def listen(self) -> None:
        """Take the signals of this process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number.name)

    def _signalled(self, name: str) -> None:
        if self.wanted.is_set():
            log.warning("%s again: ending at once", name)
            os._exit(1)
        log.info("%s: stopping", name)
        self.wanted.set()


def run(config: Config, kinds: Iterable[Kind] = ()) -> int:
    """Run the daemon until it is told to stop, with further ``kinds`` of jobs; returns the exit code. Raises ConfigError for what only shows at run time,
    and for a folder whose subscribers and devices are simulated: nobody shall take them for real ones."""
    if (config.data_dir / DEMO).exists():
        raise ConfigError("configuration", "data_dir", f"{config.data_dir} is of `netd demo`: what is in it is simulated, and only that command runs it")
    return guarded(config.log, _until_told(config, kinds))


def guarded(logs: LogConfig, work: Coroutine[Any, Any, None]) -> int:
    """Run a daemon's ``work`` to its end; returns the exit code. Raises ConfigError."""
    with setup_logs(logs, sys.stderr):
        try:
            uvloop.run(work)
        except ConfigError:
            raise
        except NetdError as error:
            log.critical("netd cannot run: %s", error)
            return 1
        except BaseExceptionGroup as group:
            refused = group.subgroup(ConfigError)
            if refused is not None:
                raise first(refused) from None
            log.critical("a service failed, so netd ends", exc_info=group)
            return 1
    return 0


def first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first error within a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_told(config: Config, kinds: Iterable[Kind]) -> None:
    stop = Stop()
    stop.listen()
    try:
        await serve_until(config, stop.wanted, _announce, kinds)
    except StoreUnavailable:
        if not stop.wanted.is_set():
            raise
        log.info("stopped before the database answered")


def _announce(running: Running) -> None:
    """Tell the person who started netd by hand how to go on. Under a service manager the log is enough."""
    if "NOTIFY_SOCKET" in os.environ:
        return
    first = running.addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)
    command, folder = shlex.quote(str(Path(sys.argv[0]).absolute())), shlex.quote(str(running.data_dir))
    print(
        f"""
netd {__version__} is ready.

  control API   {running.api.url}/api/v1     (described at {running.api.url}/api/openapi.json)
  admin token   {running.data_dir / ADMIN_TOKEN}
  RADIUS        authentication {running.auth_port}/udp, accounting {running.acct_port}/udp

A first subscriber online, from another terminal (radclient is in the package freeradius-utils):

  export NETD_DATA_DIR={folder}
  {command} nas add lab --address {host} --secret testing123 --vendor mikrotik
  {command} plan add home --down 100M --up 20M
  {command} subscriber add alice --password wonderland --plan home
  echo 'User-Name=alice,User-Password=wonderland,Message-Authenticator=0x00' | radclient -x {host}:{running.auth_port} auth testing123
  echo 'User-Name=alice,Acct-Session-Id=one,Acct-Status-Type=Start' | radclient -x {host}:{running.acct_port} acct testing123
  {command} session list
""",
        flush=True,
    )
