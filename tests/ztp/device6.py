"""The device of :mod:`tests.ztp.device` on a network that has IPv6 only: its address by dhclient or dhcpcd, its router by advertisements. Run in a namespace.

``python -m tests.ztp.device6 FOLDER VENDOR_CLASS SERIAL CLIENT`` writes what happened to FOLDER/device.log, as that one does.
"""

import asyncio
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from tests.ztp.device import main

ENTERPRISE = 30065
SECONDS = 120.0
SCRIPT = """#!/bin/sh
address="$new_ip6_address$new_dhcp6_ia_na1_ia_addr1"
[ -n "$address" ] || exit 0
[ -z "$new_ip6_address" ] || ip -6 addr replace $new_ip6_address/128 dev $interface
env > {told}.new && mv {told}.new {told}
"""


def commands(folder: Path, vendor_class: str) -> dict[str, list[str]]:
    """How each client is run; their configuration is written."""
    text = vendor_class.encode()
    option = struct.pack("!IH", ENTERPRISE, len(text)) + text
    (folder / "dhclient6.conf").write_text(
        f"option dhcp6.vendor-class code 16 = string;\nsend dhcp6.vendor-class {option.hex(':')};\nalso request dhcp6.bootfile-url;\n"
    )
    (folder / "dhcpcd6.conf").write_text(f'duid\nia_na\nvendclass {ENTERPRISE} "{vendor_class}"\noption dhcp6_bootfile_url\n')
    script = str(folder / "six.sh")
    return {
        "dhclient": ["dhclient", "-6", "-1", "-d", "-cf", f"{folder}/dhclient6.conf", "-lf", f"{folder}/{sys.argv[3]}.leases6", "-pf", f"{folder}/pid6",
                     "-sf", script, "eth0"],
        "dhcpcd": ["dhcpcd", "-6", "-1", "-B", "--nodelay", "-f", f"{folder}/dhcpcd6.conf", "-c", script, "eth0"],
    }  # fmt: skip


def boot(folder: Path, vendor_class: str) -> dict[str, str]:
    """What a client is told; the interface has its address then. Raises CalledProcessError if nobody answers."""
    told, script = folder / "six.env", folder / "six.sh"
    told.unlink(missing_ok=True)
    script.write_text(SCRIPT.format(told=told))
    script.chmod(0o755)
    subprocess.run(["ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global"], check=True)  # of the device that was here before
    command = ["setpriv", "--pdeathsig=TERM", *commands(folder, vendor_class)[sys.argv[4]]]
    process = subprocess.Popen(command)  # it stays, and renews, as long as this device
    deadline = time.monotonic() + SECONDS
    while not told.exists():
        if process.poll() not in (None, 0) or time.monotonic() > deadline:
            process.kill()
            raise subprocess.CalledProcessError(process.wait() or 1, command)
        time.sleep(0.05)
    found = dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)
    return {"ip": found.get("new_ip6_address") or found["new_dhcp6_ia_na1_ia_addr1"], "bootfile": found["new_dhcp6_bootfile_url"]}


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], boot, "::"))
