"""Debian's prometheus-snmp-exporter as a yardstick: what a scrape that walks the same agent costs its process."""

import contextlib
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.processes import cpu
from tests.ports import free_port

PROGRAM: Final = "prometheus-snmp-exporter"
SCRAPES: Final = 5
"""Between two looks at the process's time, which the kernel tells in hundredths of a second."""

MODULE: Final = """\
bench:
  walk: [1.3.6.1.2.1]
  version: 2
  max_repetitions: 25
  retries: 0
  timeout: 20s
  auth:
    community: bench
  metrics:
    - name: ifHCInOctets
      oid: 1.3.6.1.2.1.31.1.1.1.6
      type: counter
      help: octets
      indexes:
        - labelname: ifIndex
          type: gauge
"""
"""Version 0.21's form. One metric is exported of what is walked: the cost of a scrape is then the walk's, as netd's and snmpbulkwalk's is."""


class Exporter:
    """A running exporter; ``agent`` is the port of what it scrapes on 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, agent: int) -> None:
        self._process = process
        self._url = f"http://127.0.0.1:{port}/snmp?module=bench&target=127.0.0.1:{agent}"

    def varbinds(self) -> int:
        """Scrape; how many variables it read. Raises OSError."""
        with urllib.request.urlopen(self._url, timeout=60) as answer:
            found = re.search(r"^snmp_scrape_pdus_returned (\S+)$", answer.read().decode(), re.M)
        if found is None:
            raise OSError("the exporter does not say how much it read")
        return int(float(found[1]))

    def microseconds(self) -> float:
        """CPU of the exporter per varbind, of several scrapes."""
        before, count = cpu(self._process.pid).own, 0
        for _ in range(SCRAPES):
            count += self.varbinds()
        return 1e6 * (cpu(self._process.pid).own - before) / count


@contextlib.contextmanager
def exporter(folder: Path, agent: int) -> Iterator[Exporter | None]:
    """An exporter that has answered; None where it is not installed."""
    program = shutil.which(PROGRAM)
    if program is None:
        yield None
        return
    config, port = folder / "snmp.yml", free_port()
    config.write_text(MODULE)
    command = (program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        made = Exporter(process, port, agent)
        try:
            _wait(made, process)
            yield made
        finally:
            process.terminate()


def _wait(made: Exporter, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        try:
            made.varbinds()
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{PROGRAM} ended with {process.returncode}") from None
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{PROGRAM} does not answer")
