"""A customer's device that nobody logs in to: it asks for an address until it gets one, fetches its file, and is read by SNMP. Run in a namespace.

``python -m tests.ztp.polled FOLDER VENDOR_CLASS SERIAL`` writes what happened to FOLDER/device.log, one JSON value per line.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.ztp.device import boot, fetch

SETTINGS = """
agentaddress udp:161
rocommunity factory
sysName {hostname}
override 1.3.6.1.2.1.47.1.1.1.1.11.1 octet_str "{serial}"
"""


def main(folder: Path, vendor_class: str, serial: str) -> None:
    """Boot, and serve until killed."""
    with (folder / "device.log").open("a", buffering=1) as log:

        def say(**what: Any) -> None:
            log.write(json.dumps(what) + "\n")

        told: dict[str, str] = {}
        while not told:
            try:
                told = boot(folder, vendor_class)
            except subprocess.CalledProcessError as error:
                say(step="no lease", code=error.returncode)
        url = told.get("bootfile", "") or told.get("boot_file", "")
        say(step="leased", address=told["ip"], url=url)
        first = fetch(url).decode()
        words = dict(line.split(" ", 1) for line in first.splitlines() if " " in line)
        (folder / "snmpd.conf").write_text(SETTINGS.format(hostname=words["hostname"], serial=serial))
        say(step="configured", first=first)
    environment = {"SNMP_PERSISTENT_DIR": str(folder / "kept"), "MIBS": "", "PATH": "/usr/sbin:/usr/bin:/bin"}
    command = ("snmpd", "-f", "-Ln", "-C", "-c", str(folder / "snmpd.conf"), "-I", "-smux", "-p", str(folder / "pid"))
    subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
