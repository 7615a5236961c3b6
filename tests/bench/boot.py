"""Boot files beside the usual servers: ``make bench-boot``. An image by TFTP (30 MB, windowsize 16 and 1) beside tftpd-hpa, and by HTTP (300 MB) beside nginx.

The same client fetches from both, in turn within each round. tftpd-hpa knows no windowsize (RFC 7440), so there the client acknowledges every block. What is
measured is the client's time; the server's CPU stands beside it. Needs root, tftpd-hpa, nginx, curl and PostgreSQL from the distribution.
"""

import argparse
import asyncio
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from netd.extensions import Extensions
from netd.store.database import Connection, Database
from netd.store.migrate import migrate
from tests.bench import fetching
from tests.bench.download import by_tftp
from tests.bench.postgresql import PostgreSQL, installed
from tests.bench.processes import cpu, end
from tests.ports import free_port
from tests.ztp.booting import Booting, client, serving

REPOSITORY: Final = Path(__file__).resolve().parents[2]
TFTP_OCTETS: Final = 30_000_000
HTTP_OCTETS: Final = 300_000_000


class Run(NamedTuple):
    """One fetch."""

    megabytes_per_second: float
    cpu_ms: float  # of the server, user and system


async def timed(command: list[str], pid: int, octets: int) -> Run:
    """Run a client, which must get all of it from the server with this process id."""
    before, started = cpu(pid), time.monotonic()
    made = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    out, _ = await made.communicate()
    seconds = time.monotonic() - started
    if made.returncode or int(out.split()[0]) != octets:
        raise RuntimeError(f"{command}: {made.returncode}, {out!r}")
    if len(out.split()) > 1:
        seconds = float(out.split()[1])  # without the start of the interpreter
    used = cpu(pid) - before
    return Run(octets / seconds / 1e6, used.own * 1e3)


def tftp_command(port: int, path: str, window: int) -> list[str]:
    return [sys.executable, "-m", "tests.bench.boot", "--fetch", str(port), path, str(window)]


def curl_command(url: str) -> list[str]:
    return ["curl", "-s", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", url]


async def image(booting: Booting, name: str, octets: int) -> str:
    """An image in the library, and the path where a device of its own finds it."""
    body = os.urandom(1 << 20) * (octets // (1 << 20) + 1)
    await booting.image(body[:octets], f"{name}.cc", name)
    await booting.device(name, platform="generic_linux", target_version=name)
    await booting.told(client(name.upper()))
    return booting.url(client(name.upper()), "image", f"{name}.cc").split("/", 3)[3]


async def measured(folder: Path, url: str, rounds: int, tftp_octets: int, http_octets: int) -> dict[str, list[Run]]:
    """All rounds."""
    results: dict[str, list[Run]] = {"tftp netd, window 16": [], "tftp netd": [], "tftp tftpd-hpa": [], "http netd": [], "http nginx": []}
    database = await Database.open(url, 5)
    tftp_port, http_port = free_port(), free_port()
    static = folder / "static"
    static.mkdir()
    async with serving(database, url, folder, Extensions.discover(packages=()), retry_seconds=86_400) as booting:
        small, large = await image(booting, "small", tftp_octets), await image(booting, "large", http_octets)
        for name, path in (("small", small), ("large", large)):
            sha256 = next(each for each in booting.images.iterdir() if each.stat().st_size == (tftp_octets if name == "small" else http_octets))
            shutil.copy(sha256, static / name)
            print(f"{name}: {sha256.stat().st_size:,} octets, {hashlib.sha256(path.encode()).hexdigest()[:8]}")
        others = _others(folder, static, tftp_port, http_port)
        try:
            own = os.getpid()
            for number in range(rounds):
                print(f"round {number + 1}", flush=True)
                results["tftp netd, window 16"].append(await timed(tftp_command(booting.tftp_port, small, 16), own, tftp_octets))
                results["tftp netd"].append(await timed(tftp_command(booting.tftp_port, small, 1), own, tftp_octets))
                results["tftp tftpd-hpa"].append(await timed(tftp_command(tftp_port, "small", 16), others[0].pid, tftp_octets))
                results["http netd"].append(await timed(curl_command(f"http://127.0.0.1:{booting.http_port}/{large}"), own, http_octets))
                results["http nginx"].append(await timed(curl_command(f"http://127.0.0.1:{http_port}/large"), others[1].pid, http_octets))
        finally:
            for each in others:
                end(each)
    await database.close()
    return results


def _others(folder: Path, static: Path, tftp_port: int, http_port: int) -> list[subprocess.Popen[bytes]]:
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\n"
        f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{http_port}; root {static}; }} }}\n"
    )
    made = [
        subprocess.Popen(["in.tftpd", "--foreground", "--secure", "--user", "root", "--address", f"127.0.0.1:{tftp_port}", str(static)]),
        subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]),
    ]
    time.sleep(0.5)
    return made


def report(results: dict[str, list[Run]]) -> None:
    """Print medians with their ranges, and the ratios."""
    print(f"\n{'':24}{'MB/s, median (range)':>28}{'server CPU ms':>16}")
    medians = {}
    for name, runs in results.items():
        rates = [run.megabytes_per_second for run in runs]
        medians[name] = statistics.median(rates)
        told = "not seen" if "hpa" in name else f"{statistics.median(run.cpu_ms for run in runs):,.0f}"  # its children are nobody's
        print(f"{name:24}{f'{medians[name]:,.1f} ({min(rates):,.1f}-{max(rates):,.1f})':>28}{told:>16}")
    print(f"TFTP in times tftpd-hpa: {medians['tftp netd, window 16'] / medians['tftp tftpd-hpa']:.2f} with windowsize 16, "
          f"{medians['tftp netd'] / medians['tftp tftpd-hpa']:.2f} without")  # fmt: skip
    print(f"HTTP in times nginx: {medians['http netd'] / medians['http nginx']:.2f}")


async def _fill(conn: Connection) -> None:
    await migrate(conn, REPOSITORY / "sql")


def _log_ins(folder: Path, database: PostgreSQL, options: argparse.Namespace, octets: int) -> None:
    """Log-ins beside twenty devices, on a database of their own."""
    database.execute("postgres", "create database log_ins")
    database.run("log_ins", _fill)
    static, tftp_port, http_port = folder / "static", free_port(), free_port()
    static.mkdir(parents=True)
    others = _others(folder, static, tftp_port, http_port)
    try:
        work = fetching.measured(
            folder, database.url("log_ins"), (http_port, tftp_port), static, options.rounds, options.devices, octets, options.seconds
        )  # fmt: skip
        fetching.report(uvloop.run(work), options.devices, octets)
    finally:
        for each in others:
            end(each)


def main() -> int:
    """The benchmark, or one fetch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a tenth of the octets: a look")
    parser.add_argument("--devices", type=int, default=20, help="that fetch while log-ins are measured (20)")
    parser.add_argument("--seconds", type=float, default=20.0, help="that log-ins are measured for, each time (20)")
    parser.add_argument("--only-log-ins", action="store_true", help="nothing but log-ins beside devices that fetch")
    parser.add_argument("--fetch", nargs=3, metavar=("PORT", "PATH", "WINDOW"))
    options = parser.parse_args()
    if options.fetch:
        started = time.monotonic()
        print(by_tftp(int(options.fetch[0]), options.fetch[1], int(options.fetch[2])), time.monotonic() - started)
        return 0
    programs = installed()
    missing = [name for name in ("in.tftpd", "nginx", "curl") if shutil.which(name) is None]
    if programs is None or missing or os.geteuid() != 0:
        print(f"needs root, PostgreSQL, tftpd-hpa, nginx and curl; missing: {', '.join(missing) or 'root or PostgreSQL'}")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="netd-bench-boot-"))
    folder.chmod(0o711)
    database = PostgreSQL(programs, folder / "postgresql")
    part = 10 if options.small else 1
    try:
        database.execute("postgres", "create database netd")
        database.run("netd", _fill)
        if not options.only_log_ins:
            report(uvloop.run(measured(folder, database.url("netd"), options.rounds, TFTP_OCTETS // part, HTTP_OCTETS // part)))
        _log_ins(folder / "log-ins", database, options, TFTP_OCTETS // part)
    finally:
        database.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
