"""The peer: FreeRADIUS 3 with a users file, as small a configuration as it runs with, on a loopback port of its own."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.bench import packets
from tests.bench.processes import free_port

START_SECONDS: Final = 40.0
_REPLY: Final = '\tMikrotik-Rate-Limit := "20M/100M",\n\tAcct-Interim-Interval := 300\n'
_CONFIGURATION: Final = """
name = bench
prefix = /usr
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = {library}
pidfile = {folder}/pid
max_request_time = 30
cleanup_delay = 5
max_requests = 16384
hostname_lookups = no
log {{
    destination = files
    file = {folder}/radius.log
    auth = no
}}
security {{
    max_attributes = 200
    reject_delay = 1
    status_server = yes
}}
thread pool {{
    start_servers = 2
    max_servers = 8
    min_spare_servers = 1
    max_spare_servers = 8
    max_requests_per_server = 0
}}
modules {{
    pap {{
        normalise = no
    }}
    files {{
        usersfile = {folder}/users
    }}
}}
client bench {{
    ipaddr = 127.0.0.1
    secret = {secret}
    require_message_authenticator = yes
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
    }}
    post-auth {{
        update reply {{
            Message-Authenticator := 0x00
        }}
    }}
}}
"""


def installed() -> str | None:
    """Its program, None if there is none."""
    return shutil.which("freeradius") or shutil.which("radiusd")


class FreeRadius:
    """A running FreeRADIUS that knows the same subscribers as the daemon, and answers with as many attributes but Class."""

    def __init__(self, program: str, folder: Path, subscribers: int) -> None:
        folder.mkdir()
        library = next((str(place) for place in map(Path, ("/usr/lib/freeradius", "/usr/lib64/freeradius")) if place.is_dir()), "/usr/lib/freeradius")
        self.port = free_port()
        self.version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout.partition(",")[0].rpartition(" ")[2]
        users = (f'{packets.username(n)} Cleartext-Password := "{packets.password(n)}"\n{_REPLY}' for n in range(subscribers))
        (folder / "users").write_text("".join(users))
        (folder / "dictionary").write_text("")
        (folder / "radiusd.conf").write_text(_CONFIGURATION.format(folder=folder, library=library, port=self.port, secret=packets.SECRET.decode()))
        self.log = folder / "output"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen([program, "-f", "-d", str(folder), "-n", "radiusd"], stdout=output, stderr=output, cwd=folder)
        self.pid = self.process.pid

    def wait(self) -> None:
        """Until it listens."""
        until = time.monotonic() + START_SECONDS
        wanted = f":{self.port:04X} "
        while not any(wanted in line.split(" 00000000:")[0] + " " for line in Path("/proc/net/udp").read_text().splitlines()):
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"FreeRADIUS did not start: {self.log.read_text()[-400:]}")
            time.sleep(0.1)
