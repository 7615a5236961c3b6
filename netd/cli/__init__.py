"""The command ``netd``: serves, looks after the installation, and is a thin client of the daemon's API.

Exit codes: 0 done, 1 refused or failed, 2 bad input or configuration, 3 no daemon to be reached.
"""

import logging
import os
import sys
from collections.abc import Sequence

from netd import __version__
from netd.cli import installation, nas, plans, sessions, subscribers, tokens
from netd.cli.arguments import Parser
from netd.cli.client import REFUSED, USAGE, CliError
from netd.errors import ConfigError, NetdError

EPILOG = (
    "The daemon is found by NETD_URL and NETD_TOKEN, else by the files api.url and admin.token in its data folder "
    "(NETD_DATA_DIR, ./.netd, or what the configuration says)."
)


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="netd", description="One daemon that runs an Internet provider's access network.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"netd {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (installation, tokens, nas, plans, subscribers, sessions):
        module.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is told in one line."""
    arguments = parser().parse_args(argv)
    logging.getLogger("netd").addHandler(logging.NullHandler())  # what matters to the operator is told by exceptions; the daemon sets up its own
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except CliError as error:
        return _fault(str(error), error.code)
    except ConfigError as error:
        return _fault(str(error), USAGE)
    except NetdError as error:
        return _fault(str(error), REFUSED)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _fault(text: str, code: int) -> int:
    sys.stdout.flush()
    print("netd: " + " ".join(text.split()), file=sys.stderr)
    return code
