"""The processes of a benchmark: started here, measured through /proc, ended by their own ids only."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench import packets
from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
START_SECONDS: Final = 60.0


class Cpu(NamedTuple):
    """CPU seconds (user and system) of a process, and of everything it started, the dead included."""

    own: float
    children: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.own - other.own, self.children - other.children)


def _stat(pid: int) -> list[int] | None:
    """ppid, utime, stime, cutime, cstime; None if the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return [int(fields[at]) for at in (1, 11, 12, 13, 14)]


def cpu(pid: int) -> Cpu:
    """What ``pid`` and its descendants have used."""
    stats = {int(entry.name): found for entry in Path("/proc").iterdir() if entry.name.isdecimal() and (found := _stat(int(entry.name)))}
    family, grown = {pid}, True
    while grown:
        more = {child for child, stat in stats.items() if stat[0] in family} - family
        family |= more
        grown = bool(more)
    own = stats[pid]
    total = sum(sum(stats[member][1:]) for member in family)
    return Cpu((own[1] + own[2]) * TICK_SECONDS, (total - own[1] - own[2]) * TICK_SECONDS)


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process in MB; ``VmHWM`` is its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(what)


def end(process: subprocess.Popen[Any], seconds: float = 20.0) -> None:
    """End a process that was started here, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Echo:
    """The yardstick's process: in Python, or ``made``, the compiled program of tests/bench/native.py."""

    def __init__(self, made: Path | None = None) -> None:
        command = [sys.executable, "-m", "tests.bench.echo"] if made is None else [str(made), "echo"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.pid = self.process.pid


class Worker:
    """A process that is told what to do, and tells what came of it, by lines of JSON."""

    def __init__(self, module: str, **spec: Any) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._write(spec)
        self.built = self._read()

    def run(self, **order: Any) -> dict[str, Any]:
        """One round."""
        self._write(order)
        return self._read()

    def end(self) -> None:
        """End it: its input ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        end(self.process)

    def _write(self, value: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a load generator ended")
        value: dict[str, Any] = json.loads(line)
        return value


class Generator(Worker):
    """A process of tests/bench/load.py."""

    def __init__(self, **spec: Any) -> None:
        super().__init__("tests.bench.load", **spec)


class Started(NamedTuple):
    """How a start of the daemon went: seconds from the start of its process."""

    ready_seconds: float
    first_answer_seconds: float


class Daemon:
    """``netd serve`` on a data folder, on loopback ports of its own."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        self.folder = folder
        self.database_url = database_url  # "": its embedded server
        self.arguments = ["-m", "netd", "serve"]  # of the Python that runs it
        self.engine = "no"  # NETD_COMPILED: "no" runs the sources, "require" what mypyc made of them
        self.auth_port = self.acct_port = self.web_port = 0  # new at every start: a port that was free may be somebody's now
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, first_user: int | None = None) -> Started:
        """Start it and wait until it says READY and, if ``first_user`` is given, has accepted that subscriber's first log-in."""
        self.auth_port, self.acct_port, self.web_port = free_port(), free_port(), free_port()
        notify = self.folder / "notify"
        notify.unlink(missing_ok=True)
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("NETD_")},
            "PYTHONPATH": str(ROOT), "NETD_DATA_DIR": str(self.folder / "data"), "NETD_COMPILED": self.engine, "NETD_RADIUS__ADDRESSES": "127.0.0.1",
            "NETD_RADIUS__AUTH_PORT": str(self.auth_port),
            "NETD_RADIUS__ACCT_PORT": str(self.acct_port), "NETD_RELAY__PORT": "0", "NETD_WEB__PORT": str(self.web_port),
            "NETD_LOG__FORMAT": "json", "NOTIFY_SOCKET": str(notify),
        }  # fmt: skip
        if self.database_url:
            environ["NETD_DATABASE__URL"] = self.database_url
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, (self.folder / "netd.log").open("ab") as log:
            told.bind(str(notify))
            told.setblocking(False)
            started = time.monotonic()
            self.process = subprocess.Popen([sys.executable, *self.arguments], cwd=self.folder, env=environ, stdout=log, stderr=log)
            return self._wait(told, started, first_user)

    def _wait(self, told: socket.socket, started: float, first_user: int | None) -> Started:
        assert self.process is not None
        ready = answered = 0.0
        requests = [] if first_user is None else [packets.access_request(first_user, i) for i in range(256)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.02)
            sock.connect(("127.0.0.1", self.auth_port))
            sent = 0
            while not ready or (requests and not answered):
                elapsed = time.monotonic() - started
                if elapsed > START_SECONDS or self.process.poll() is not None:
                    raise RuntimeError(f"netd did not start: {(self.folder / 'netd.log').read_text()[-800:]}")
                with suppress(BlockingIOError):
                    ready = ready or (elapsed if b"READY=1" in told.recv(4096) else 0.0)
                if not requests or answered:
                    time.sleep(0.005)
                    continue
                try:
                    if sent < len(requests) and elapsed > 0.02 * sent:
                        sock.send(requests[sent])
                        sent += 1
                    answer = sock.recv(4096)
                except (TimeoutError, ConnectionRefusedError):
                    continue
                if not packets.answer_fault(requests[answer[1]], answer):
                    answered = time.monotonic() - started
        return Started(ready, answered)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """Ask the control API."""
        token = (self.folder / "data" / "admin.token").read_text().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}{path}", body, method=method)
        request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def metric(self, name: str) -> float:
        """The sum of a series on /metrics."""
        text: str = self.call("GET", "/metrics")
        found = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{", f"{name}_total"))]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def fill(self, subscribers: int) -> float:
        """A plan, a NAS and ``subscribers`` through the API; returns how long the import took."""
        self.call("POST", "/api/v1/plans", json.dumps({"name": "home", "down_bps": 100_000_000, "up_bps": 20_000_000}).encode())
        nas = {"name": "bench", "address": "127.0.0.1/32", "secret": packets.SECRET.decode(), "vendor": "mikrotik"}
        self.call("POST", "/api/v1/radius/nas", json.dumps(nas).encode())
        rows = "".join(f"{packets.username(n)},{packets.password(n)},home\n" for n in range(subscribers))
        started = time.monotonic()
        self.call("POST", "/api/v1/subscribers/import", ("username,password,plan\n" + rows).encode(), "text/csv")
        seconds = time.monotonic() - started
        until = time.monotonic() + 60
        while self.metric("netd_radius_subscribers") < subscribers and time.monotonic() < until:
            time.sleep(0.1)
        return seconds


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Let SIGTERM, and the end of ``seconds``, unwind the stack, so that what was started is ended."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit("the benchmark took too long and was ended" if number == signal.SIGALRM else 128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGALRM)}
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def pin(pid: int, cpu_number: int) -> None:
    """Keep a process, all threads that it has now, on one CPU: else the kernel moves client and server together at every answer."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {cpu_number})
