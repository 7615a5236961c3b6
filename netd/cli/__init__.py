"""The command ``netd``: serves, looks after the installation, and is a thin client of the daemon's API.

Exit codes: 0 done, 1 refused or failed, 2 bad input or configuration, 3 no daemon to be reached.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from netd import __version__
from netd.cli.arguments import Parser
from netd.cli.client import REFUSED, USAGE, CliError
from netd.errors import ConfigError, NetdError

EPILOG = (
    "The daemon is found by NETD_URL and NETD_TOKEN, else by the files api.url and admin.token in its data folder "
    "(NETD_DATA_DIR, ./.netd, or what the configuration says)."
)


MODULES = {
    "demo": "demo",
    "serve": "installation", "check": "installation", "migrate": "installation", "secret": "installation", "token": "tokens", "nas": "nas",
    "plan": "plans", "subscriber": "subscribers", "import": "tables", "export": "tables", "report": "reports", "session": "sessions", "audit": "audit",
    "tenant": "tenants", "organization": "sites", "site": "sites", "role": "roles", "whoami": "roles", "pool": "pools", "route": "pools", "user": "users",
    "dhcp": "dhcp", "ztp": "ztp",
    "enforcement": "enforcement", "coa-client": "coa_clients",
    "shadow": "shadow", "record": "record",
    "device": "devices", "device-group": "devices", "credential": "credentials", "discovery": "discovery",
    "job": "jobs", "schedule": "schedules",
    "config": "configurations", "template": "configurations", "software": "software",
    "accounting": "accounting",
    "alarm": "alarms", "threshold": "alarms",
    "webhook": "webhooks", "billing-hook": "webhooks", "health": "health",
}  # fmt: skip
"""Which module of this package has a command. Only that one is imported: an operator waits for every import."""


def parser(command: str = "") -> Parser:
    """The command line, of ``command`` only if that is one."""
    top = Parser(prog="netd", description="One daemon that runs an Internet provider's access network.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"netd {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    names = [MODULES[command]] if command in MODULES else dict.fromkeys(MODULES.values())
    for name in names:
        import_module(f"netd.cli.{name}").register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is told in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's character set lacks must not stop a list
    given = sys.argv[1:] if argv is None else list(argv)
    if not all(map(_is_text, given)):
        return _fault("an argument is not UTF-8", USAGE)
    try:
        arguments, unknown = parser(given[0] if given else "").parse_known_args(given)  # reads files, where an option names one
        if unknown:
            return _fault(f"unrecognized arguments: {' '.join(unknown)} (see `{arguments.called} --help`)", USAGE)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except CliError as error:
        return _fault(str(error), error.code)
    except ConfigError as error:
        return _fault(str(error), USAGE)
    except NetdError as error:
        return _fault(str(error), REFUSED)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None:  # not about a file of the operator's: a defect, to be seen in full
            raise
        return _fault(f"{error.filename}: {error.strerror}", REFUSED)
    except KeyboardInterrupt:
        return 130


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # octets that are not UTF-8 come as surrogates
        return False
    return True


def _fault(text: str, code: int) -> int:
    sys.stdout.flush()
    print("netd: " + " ".join(text.split()), file=sys.stderr)
    return code
