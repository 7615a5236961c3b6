"""``netd demo``: a small provider that is not there, to look around in."""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from netd import __version__
from netd.cli.arguments import Commands
from netd.cli.client import USAGE, CliError

if TYPE_CHECKING:
    from netd.daemon import Running

LEVELS = ("debug", "info", "warning", "error")
PORT_MOST = 65_535
CHANGE_SECONDS = 120.0


def register(commands: Commands) -> None:
    """Add the command."""
    text = "run netd with a simulated provider: two routers, an OLT, subscribers online; nothing else is needed, and nothing of yours is touched"
    demo = commands.add_parser("demo", help="run netd with a simulated provider, to look around in", description=text)
    demo.set_defaults(run=_demo)
    demo.add_argument("--data-dir", type=Path, metavar="DIR", help="its own folder, a new one or that of an earlier demonstration (netd-demo beside netd's)")
    demo.add_argument("--port", type=_port, default=0, metavar="N", help="of the control API, on 127.0.0.1 (a free one)")
    demo.add_argument("--seed", type=int, metavar="N", help="another one makes other traffic; of a new folder only (1)")
    demo.add_argument("--change-after", type=_seconds, default=CHANGE_SECONDS, metavar="S", help="seconds until a router is changed behind netd's back (120)")
    demo.add_argument("--log-level", choices=LEVELS, default="warning", metavar="LEVEL", help=f"{', '.join(LEVELS)} (warning)")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > PORT_MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _demo(arguments: argparse.Namespace) -> int:
    if os.environ.get("NETD_DATABASE__URL"):
        raise CliError("NETD_DATABASE__URL is set, but a demonstration has a database of its own and goes into no other: unset it", USAGE)
    from netd import daemon
    from netd.demo import stage
    from netd.demo.folder import default_folder

    folder = (arguments.data_dir or default_folder(os.environ)).absolute()
    config = stage.configuration(folder, arguments.port, arguments.log_level)
    options = stage.Options(seed=arguments.seed, change_seconds=arguments.change_after)
    _say(f"netd {__version__} demo, data in {folder}: ALL OF IT IS SIMULATED, no device, subscriber or octet is real. Starting ...")
    code: int = daemon.guarded(config.log, stage.play(config, options, _announce, _say))
    if code == 0:
        _say("stopped; the same command goes on with it")
    return code


def _say(line: str) -> None:
    print(line, flush=True)


def _announce(running: "Running") -> None:
    """How to look around."""
    program = Path(sys.argv[0]).absolute()
    command = [sys.executable, "-m", "netd"] if program.suffix == ".py" else [str(program)]
    alias = "" if shutil.which("netd") == str(program) else f"\n  alias netd={shlex.quote(shlex.join(command))}"
    _say(f"""
A simulated provider is online: routers sim-bng1 (RouterOS) and sim-bng2 (Huawei VRP), the OLT sim-olt1 (Huawei SmartAX), 16 subscribers.

  control API   {running.api.url}/api/v1     (to look through in a browser: {running.api.url}/api/docs)
  admin token   {running.data_dir / "admin.token"}

From another terminal:

  export NETD_DATA_DIR={shlex.quote(str(running.data_dir))}{alias}
  netd session list
  netd subscriber suspend anna@simulated.example       # her session ends, and she is not let in again
  netd subscriber restore anna@simulated.example
  netd subscriber update carla@simulated.example --plan simulated-business-500     # her live rate changes
  netd subscriber quota ben@simulated.example          # soon used up: his rate is lowered
  netd device list
  netd device now sim-bng1; netd device top
  netd alarm list                                      # an ONU's light fades now and then
  netd device backup --all; netd config status
  netd device drift sim-bng2                           # in a while somebody changes it behind netd's back
  netd health

Ctrl-C ends all of it.
""")
