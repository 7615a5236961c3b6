"""What is shipped: built here as a release would be, without a network."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

import netd

ROOT = Path(__file__).parents[1]
DATA = ("ansible", "config", "plugins", "sql", "systemd", "vendors")
HATCHLING = [sys.executable, "-m", "hatchling", "build"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def build(root: Path, kind: str, folder: Path) -> Path:
    subprocess.run([*HATCHLING, "-t", kind, "-d", str(folder)], cwd=root, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def in_checkout(folder: str) -> set[str]:
    files = (ROOT / folder).rglob("*")
    return {str(file.relative_to(ROOT)) for file in files if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"}


def test_version_is_said_once_and_the_same_everywhere(wheel):
    assert PROJECT["project"]["version"] == netd.__version__
    assert wheel.name == f"netd-{netd.__version__}-py3-none-any.whl"


def test_wheel_has_the_whole_package(contents):
    assert in_checkout("netd") <= contents
    assert [name for name in contents if name.startswith("netd/wire/dictionaries/") and name.endswith(".dictionary")]


@pytest.mark.parametrize("folder", DATA)
def test_wheel_has_the_data_folder(contents, folder):
    expected = {f"netd/_share/{name}" for name in in_checkout(folder)}
    assert expected
    assert {name for name in contents if name.startswith(f"netd/_share/{folder}/")} == expected


def test_wheel_has_what_the_daemon_cannot_do_without(contents):
    assert "netd/_share/sql/0001_foundation.sql" in contents
    assert "netd/_share/config/netd.toml" in contents
    assert {"netd/_share/systemd/netd.service", "netd/_share/systemd/netd.sysusers.conf"} <= contents
    for vendor in ("generic", "mikrotik", "huawei", "zte", "nokia", "cisco", "juniper"):
        assert {f"netd/_share/vendors/{vendor}/manifest.toml", f"netd/_share/vendors/{vendor}/driver.py"} <= contents
    for folder in (ROOT / "vendors").iterdir():
        if (folder / "driver.py").exists():
            assert f"netd/_share/vendors/{folder.name}/manifest.toml" in contents


def test_wheel_puts_nothing_else_into_site_packages(contents):
    assert {name.split("/")[0] for name in contents} == {"netd", f"netd-{netd.__version__}.dist-info"}
    assert not [name for name in contents if name.endswith(".pyc") or "__pycache__" in name or "/tests/" in name or "/." in name]
    assert {name.split("/")[2] for name in contents if name.startswith("netd/_share/")} == set(DATA)
    assert not [name for name in contents if name.startswith("netd/_share/") and name.endswith("__init__.py")]


def test_wheel_carries_licence_and_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folder = f"netd-{netd.__version__}.dist-info"
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert archive.read(f"{folder}/entry_points.txt").decode().split() == ["[console_scripts]", "netd", "=", "netd.cli:main"]
        assert "License-Expression: Apache-2.0" in archive.read(f"{folder}/METADATA").decode()


def test_an_installed_wheel_finds_its_data(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import netd; from netd.share import share; print(netd.__file__); print(*(p.name for p in share('sql').glob('0001*')), share('vendors', 'generic'))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    where, found = done.stdout.splitlines()
    assert where == str(tmp_path / "netd" / "__init__.py")
    assert found == f"0001_foundation.sql {tmp_path / 'netd/_share/vendors/generic'}"


def test_source_archive_builds_the_same_wheel(contents, tmp_path):
    archive = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)  # tarfile's safe way is not in Debian 12's Python 3.11.2
    unpacked = tmp_path / f"netd-{netd.__version__}"
    assert {"LICENSE", "README.md", "Makefile", "requirements.lock", "pyproject.toml", "tests/test_packaging.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".netd", ".git/")) or "__pycache__" in name]
    with zipfile.ZipFile(build(unpacked, "wheel", tmp_path / "wheel")) as built:
        assert set(built.namelist()) == contents


def test_editable_install_points_at_the_checkout(tmp_path):
    code = "from hatchling.build import build_editable; print(build_editable(__import__('sys').argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.iterdir()
    with zipfile.ZipFile(built) as archive:
        (path_file,) = [name for name in archive.namelist() if name.endswith(".pth")]
        assert archive.read(path_file).decode().split() == [str(ROOT)]
        assert not [name for name in archive.namelist() if name.startswith("netd/")]


def test_the_lock_pins_everything_with_hashes():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = {line.split("==")[0].lower() for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))}
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["embedded"], *PROJECT["dependency-groups"]["dev"]]
    for requirement in wanted:
        name = requirement.split(">=")[0].split("==")[0].split("[")[0]
        assert name in pinned, name
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line and line.endswith("\\") for line in requirements)
    assert lock.count("--hash=sha256:") >= len(requirements)


def test_licence_is_the_apache_licence_unchanged():
    assert sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
