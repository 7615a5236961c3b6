import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import public_folder
from tests.e2e.daemon import Daemon, daemon, furnish


@pytest.fixture(scope="module")
def lab(made_cluster: Path) -> Iterator[Daemon]:
    """A running daemon for a whole module, with the NAS lab (127.0.0.0/8), the plan home and the subscriber alice."""
    with public_folder() as folder:
        if (made_cluster / "postgres").exists():
            subprocess.run(["cp", "-a", made_cluster / "postgres", folder], check=True)
        settings = {"NETD_COA__TIMEOUT_SECONDS": "30"}  # its NAS all answer, and are told nothing twice
        with daemon(folder, NETD_LOG__LEVEL="debug", NETD_RADIUS__USER_FAILURES_PER_MINUTE="1000", **settings) as running:
            furnish(running)
            yield running
            assert running.stop() == 0


@pytest.fixture
def fresh(ready_data_dir: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet, on a cluster that is made already."""
    made = Daemon(ready_data_dir)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def radclient_program(require_peer) -> str:
    """FreeRADIUS's client."""
    found: str = require_peer("radclient")
    return found


@pytest.fixture(scope="session")
def smbencrypt_program() -> str | None:
    """FreeRADIUS's own NT hash, where it is installed (with radclient)."""
    return shutil.which("smbencrypt")
