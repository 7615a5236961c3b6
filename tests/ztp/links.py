"""Links between network namespaces, made and removed by the tests: a server, a relay and clients that nobody here wrote. Needs root."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def run(*command: str, timeout: float = 120.0) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def permitted() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"netd-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return made


class Namespace:
    """A network namespace; ``name`` is its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, timeout: float = 120.0) -> str:
        """Run a command in it that must succeed."""
        return run("ip", "netns", "exec", self.name, *command, timeout=timeout)

    def start(self, *command: str, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command in it, which ends with the test."""
        out = log.open("wb") if log is not None else subprocess.DEVNULL
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *command], stdout=out, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def addresses(self, interface: str, family: int = 4) -> list[str]:
        """The addresses of an interface, with their prefix lengths."""
        printed = self.run("ip", f"-{family}", "-o", "addr", "show", "dev", interface)
        return [line.split()[3] for line in printed.splitlines()]


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[list[Namespace]]:
    """Namespaces of these names (made unique), with loopback up."""
    made = [Namespace(f"netd{os.getpid()}-{name}") for name in names]
    try:
        for each in made:
            run("ip", "netns", "add", each.name)
            each.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        for each in made:
            for process in each.processes:
                process.kill()
                process.wait()
            subprocess.run(["ip", "netns", "delete", each.name], capture_output=True, check=False)


def wire(one: Namespace, name: str, other: Namespace, other_name: str) -> None:
    """A cable between two namespaces, both ends up."""
    run("ip", "link", "add", name, "netns", one.name, "type", "veth", "peer", "name", other_name, "netns", other.name)
    for space, end in ((one, name), (other, other_name)):
        space.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{end}/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/{end}/dad_transmits")
        space.run("ip", "link", "set", end, "up")  # link-local addresses are good at once


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short name, for sockets and pid files."""
    folder = Path(tempfile.mkdtemp(prefix="netd-ztp-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
