"""The compiled engine as an operator gets it: a wheel built here, unpacked, and served. Without a C compiler this says so and skips; in CI it fails."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, daemon, furnish
from tests.radius.engine import access_request, check_answer

ROOT = Path(__file__).parents[2]
SECRET = b"testing123"

pytestmark = pytest.mark.timeout(600)  # mypyc and the C compiler take their time where others work, too


@pytest.fixture(scope="module")
def installed(require_peer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a compiled netd to import from."""
    require_peer((sysconfig.get_config_var("CC") or "cc").split()[0])
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        require_peer("Python.h (the headers of this Python)")
    folder = tmp_path_factory.mktemp("compiled")
    environ = {**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1", "COMPILED_OPTIMIZE": "0"}
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    assert "-none-any" not in wheel.name, "a wheel for one Python and platform"
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so") and not name.startswith("netd/_compiled/")], "no library beside a source"
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def changed(installed: Path, tmp_path: Path) -> Path:
    """The same with a source edited afterwards."""
    copy = tmp_path / "site"
    shutil.copytree(installed, copy)
    source = copy / "netd" / "radius" / "access.py"
    source.write_text(source.read_text() + "\n# edited\n")
    return copy


@pytest.fixture
def served(installed: Path, ready_data_dir: Path) -> Iterator[Daemon]:
    with daemon(ready_data_dir, PYTHONPATH=str(installed), NETD_COMPILED="require") as running:
        furnish(running)
        yield running
        assert running.stop() == 0


def python(site: Path, code: str, **environ: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env={"PYTHONPATH": str(site), **environ}, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_compiled_engine_answers(served: Daemon) -> None:
    assert [line["compiled"] for line in served.log() if line["message"] == "ready"] == [True]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.settimeout(60.0)
        nas.connect(("127.0.0.1", served.auth_port))
        for password, code in ((b"wrong", 3), (b"wonderland", 2)):
            request = access_request(password=password, identifier=code, secret=SECRET)
            nas.send(request)
            answer = nas.recv(4096)
            check_answer(answer, request, SECRET)
            assert (answer[0], b"20M/100M" in answer) == (code, code == 2)
            nas.send(request)
            assert nas.recv(4096) == answer, "a repeated request, the same octets"
    status, body = served.api("GET", "/health/ready")
    (part,) = [part for part in json.loads(body)["parts"] if part["name"] == "compiled_engine"]
    assert (status, part["state"]) == (200, "ok")
    assert "modules compiled by mypyc" in part["detail"]
    (finding,) = [finding for finding in served.json("check") if finding["subject"] == "engine"]
    assert (finding["level"], finding["detail"]) == ("ok", part["detail"])


def test_what_fails_in_compiled_code_names_the_line_of_the_source(installed: Path) -> None:
    code = """
import traceback
from netd.wire import radius
try:
    radius.parse(b"short")
except Exception as error:
    print(type(error).__name__, radius.__file__.endswith(".so"))
    print(traceback.format_exc())
"""
    said = python(installed, code)
    assert said.startswith("WireError True\n")
    lines = (installed / "netd" / "wire" / "radius.py").read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if '"packet_too_short"' in line)
    assert f'netd/wire/radius.py", line {number}, in parse' in said


def test_a_source_edited_afterwards_is_what_runs(changed: Path, tmp_path: Path) -> None:
    code = "import netd.radius.server as s, netd.wire.radius as r; from netd import compiled; print(s.__file__, r.__file__, compiled.status().detail)"
    said = python(changed, code)
    assert said.startswith(f"{changed}/netd/radius/server.py {changed}/netd/wire/radius.py ")
    assert "netd/radius/access.py changed since it was built" in said
    refused = subprocess.run(
        [sys.executable, "-m", "netd", "serve"], cwd="/", capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(changed), "NETD_COMPILED": "require", "NETD_DATA_DIR": str(tmp_path / "data")},
    )  # fmt: skip
    assert (refused.returncode, refused.stderr.splitlines()) == (
        2,
        ["netd: environment: NETD_COMPILED: the compiled engine cannot be used: netd/radius/access.py changed since it was built"],
    )
