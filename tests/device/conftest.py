"""Peers that nobody here wrote: OpenSSH's server, FRRouting's shell behind it, Debian's Telnet server. On loopback ports, gone with the run."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import pytest
import uvloop

from netd.config import Secret
from netd.model.target import Credential, Login, SshLogin, Target
from netd.sdk.dialogue import Command, Dialogue
from netd.sdk.terminal import Terminal
from tests.ports import free_port

USER = pwd.getpwuid(os.geteuid()).pw_name


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Where the order matters in which a loop sees to its timers and sockets: also the one that the daemon runs on."""
    loops = {"asyncio": asyncio.new_event_loop}
    return loops | {"uvloop": uvloop.new_event_loop} if item.path.name == "test_held_up.py" else loops


class Peer(NamedTuple):
    """Where a server listens, its keys as OpenSSH writes them, and a private key that opens it."""

    port: int
    host_key: str = ""
    private_key: str = ""

    def login(self) -> SshLogin:
        """As who runs the tests."""
        return SshLogin(username=USER, private_key=Secret(self.private_key))


class Shell:
    """The driver of a command line without quirks."""

    def __init__(self, terminal: Terminal, prepare: Sequence[str] = (), leave: str = "exit") -> None:
        self.terminal = terminal
        self._prepare = prepare
        self._leave = leave

    def prepare(self) -> Dialogue[None]:
        for text in self._prepare:
            yield Command(text=text)

    def leave(self) -> Dialogue[None]:
        yield Command(text=self._leave, drops=True)


def target(*logins: tuple[Login, int], **more: Any) -> Target:
    """A device at 127.0.0.1 with these logins and ports."""
    credentials = tuple(Credential(id=number, name=f"c{number}", login=login, port=port) for number, (login, port) in enumerate(logins, 1))
    return Target(**{"key": "lab", "address": ip_address("127.0.0.1"), "credentials": credentials, "timeout_seconds": 60.0, **more})


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something listens there."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.fail(f"nothing listens on port {port}")


def listens(path: Path) -> bool:
    """Whether somebody does at a socket in a folder: it is there a little earlier."""
    with socket.socket(socket.AF_UNIX) as made, contextlib.suppress(OSError):
        made.connect(str(path))
        return True
    return False


@contextlib.contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


Sshd = Callable[..., Peer]


@pytest.fixture(scope="session")
def sshd(require_peer: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """``sshd("ForceCommand …", …)`` -> a server with those lines in its configuration."""
    program = require_peer("/usr/sbin/sshd")
    folder = tmp_path_factory.mktemp("sshd")
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    host, user = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    host.write_private_key(folder / "host")
    (folder / "host").chmod(0o600)
    user.write_public_key(folder / "authorized")
    with contextlib.ExitStack() as stack:

        def start(*lines: str, sftp: str = "/usr/lib/openssh/sftp-server", host_key: Path = folder / "host", shown: asyncssh.SSHKey = host) -> Peer:
            port = free_port()
            config = folder / f"config-{port}"
            config.write_text("\n".join((
                f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {host_key}", f"AuthorizedKeysFile {folder / 'authorized'}",
                f"PidFile {folder / f'pid-{port}'}", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes",
                "PrintMotd no", "MaxStartups 1000", f"Subsystem sftp {sftp}", *lines, "",
            )))  # fmt: skip
            process = stack.enter_context(running((program, "-D", "-f", config)))
            wait_for_port(port, process)
            public = " ".join(shown.export_public_key("openssh").decode().split()[:2])
            return Peer(port, public, user.export_private_key("openssh").decode())

        yield start


FORCED = 'ForceCommand if [ -n "$SSH_ORIGINAL_COMMAND" ]; then exec sh -c "$SSH_ORIGINAL_COMMAND"; fi; PS1="lab# " exec sh -i'


@pytest.fixture(scope="session")
def bourne(sshd: Sshd) -> Peer:
    """A shell with the prompt ``lab# ``; commands by themselves run, and SFTP."""
    return sshd(FORCED)


SH = Terminal(prompt=r"^lab# ", errors=())


@pytest.fixture(scope="session")
def frr(sshd: Sshd, require_peer: Callable[[str], str]) -> Iterator[Peer]:
    """FRRouting's zebra in a network namespace of its own, and its vtysh as the shell behind OpenSSH."""
    zebra, vtysh = require_peer("/usr/lib/frr/zebra"), require_peer("vtysh")
    if os.geteuid() != 0:
        pytest.skip("zebra needs root")
    folder = Path(tempfile.mkdtemp(prefix="netd-frr-", dir="/tmp"))  # short: it becomes the path of a socket
    folder.chmod(0o755)
    try:
        (folder / "zebra.conf").write_text("hostname lab\ninterface dummy0\n description uplink\n")
        (folder / "vtysh.conf").write_text("no service integrated-vtysh-config\n")
        shutil.chown(folder, "frr", "frr")
        shutil.chown(folder / "zebra.conf", "frr", "frr")
        command = ("unshare", "-n", zebra, "-f", folder / "zebra.conf", "-z", folder / "zserv.api", "-i", folder / "pid", "--vty_socket", folder, "-P", "0")
        with running(command) as process:
            until = time.monotonic() + 60
            while not listens(folder / "zebra.vty"):
                assert process.poll() is None and time.monotonic() < until, "zebra did not start"
                time.sleep(0.02)
            yield sshd(f"ForceCommand {vtysh} --vty_socket {folder} --config_dir {folder}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
