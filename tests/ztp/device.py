"""A device that is unpacked: it asks for an address with udhcpc until it gets one, fetches its file and image with curl, and serves SSH with what it got.
Run in a namespace.

``python -m tests.ztp.device FOLDER VENDOR_CLASS SERIAL`` writes what happened to FOLDER/device.log, one JSON value per line.
"""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netd.device.simulated import SimulatedServer
from netd.extensions import Extensions, load_simulator
from tests.ztp.newcomer import Newcomer

SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/24 dev $interface
ip route replace default via $router
env > {told}
"""


def boot(folder: Path, vendor_class: str) -> dict[str, str]:
    """What udhcpc is told; the interface has its address then."""
    told, script = folder / "udhcpc.env", folder / "udhcpc.sh"
    told.unlink(missing_ok=True)
    script.write_text(SCRIPT.format(told=told))
    script.chmod(0o755)
    subprocess.run(
        ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "4", "-T", "1", "-O", "bootfile", "-V", vendor_class, "-s", str(script)], check=True, timeout=120
    )
    return dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)


def fetch(url: str) -> bytes:
    """By curl, as it stands."""
    return subprocess.run(["curl", "-sS", "--fail", "--path-as-is", "--globoff", "--retry", "8", "--retry-delay", "1", "--retry-all-errors", url],
                          check=True, timeout=240, capture_output=True).stdout  # fmt: skip


async def main(folder: Path, vendor_class: str, serial: str, boot: Callable[[Path, str], dict[str, str]] = boot, host: str = "0.0.0.0") -> None:
    """Boot, and serve until killed; ``host`` is where it listens."""
    with (folder / "device.log").open("a", buffering=1) as log:

        def say(**what: Any) -> None:
            log.write(json.dumps(what) + "\n")

        device = Newcomer("router", version="15.7", username="nobody", password=serial, facts={"serial": serial, "model": "DCS-7050"})
        server = SimulatedServer(device, load_simulator(Extensions.discover(packages=()).platforms["cisco_ios"]))
        await server.start(host, ssh_port=22)
        told: dict[str, str] = {}
        while not told:
            try:
                told = await asyncio.to_thread(boot, folder, vendor_class)
            except subprocess.CalledProcessError as error:
                say(step="no lease", code=error.returncode)
        url = told.get("bootfile", "") or told.get("boot_file", "")
        say(step="leased", address=told["ip"], url=url)
        first = (await asyncio.to_thread(fetch, url)).decode()
        words = dict(line.split(" ", 1) for line in first.splitlines() if " " in line)
        image = b""
        if "image" in words:
            where, sha256 = words["image"].split()
            image = await asyncio.to_thread(fetch, where)
            if hashlib.sha256(image).hexdigest() != sha256:
                say(step="bad image")
                return
        account = words["user"].split()
        device.username, device.password = account[0], account[1]
        say(step="configured", octets=len(image), first=first)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
