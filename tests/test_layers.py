"""Each contract of import-linter goes red when it is broken: in a copy of the project with one import too many."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = Path(sys.executable).with_name("lint-imports")

FOUNDATION = (
    "errors",
    "compiled",
    "config",
    "logs",
    "metrics",
    "notify",
    "share",
    "simulate",
    "sdk",
    "extensions",
    "daemon",
    "demo",
    "cli",
    "web",
    "radius",
    "poll",
    "work",
    "ztp",
    "domain",
    "store",
    "model",
    "wire",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package with netd's layers and nothing in them, under the project's own contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in FOUNDATION:
        folder = tmp_path / "netd" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    (tmp_path / "netd" / "__init__.py").touch()
    return tmp_path


def lint(project: Path) -> tuple[int, str]:
    done = subprocess.run(
        [LINT, "--no-cache", "--no-logo"],
        cwd=project,
        env={"PYTHONPATH": str(project), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_empty_project_keeps_them_all(project):
    code, said = lint(project)
    assert code == 0, said
    assert "7 kept, 0 broken" in said


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("radius/server.py", "import netd.web", "A layer imports only"),
        ("web/app.py", "from netd import radius", "A layer imports only"),
        ("store/rows.py", "import netd.domain", "A layer imports only"),
        ("store/rows.py", "import netd.extensions", "A layer imports only"),
        ("errors/more.py", "import netd.wire", "A layer imports only"),
        ("simulate/console.py", "import netd.sdk", "A layer imports only"),
        ("helpers.py", "", "A layer imports only"),
        ("wire/radius.py", "import socket", "Codecs know no I/O"),
        ("wire/radius.py", "from time import monotonic", "Codecs know no I/O"),
        ("wire/radius.py", "import logging", "Codecs know no I/O"),
        ("wire/radius.py", "from os import urandom", "Codecs know no I/O"),
        ("wire/radius.py", "import secrets", "Codecs know no I/O"),
        ("wire/eap/tls.py", "import asyncio", "Codecs know no I/O"),
        ("domain/plans.py", "import asyncpg", "Only the store speaks"),
        ("daemon/__init__.py", "from asyncpg import connect", "Only the store speaks"),
        ("freeradius/translate.py", "import asyncpg", "Only the store speaks"),
        ("store/rows.py", "import pymysql", "Only the store speaks"),
        ("freeradius/source.py", "import netd.radius", "A layer imports only"),
        ("radius/server.py", "import aiohttp", "aiohttp's server is web's"),
        ("cli/client.py", "from aiohttp import ClientSession", "aiohttp's server is web's"),
        ("domain/exports.py", "import openpyxl", "Spreadsheets and PDF"),
        ("sheets/xlsx.py", "import fpdf", "Spreadsheets and PDF"),
        ("sheets/converter.py", "import netd.store", "A layer imports only"),
        ("web/app.py", "import asyncssh", "Only device uses SSH"),
        ("domain/backup.py", "import aiosnmp", "Only device uses SSH"),
        ("demo/setup.py", "import netd.store", "The demonstration uses"),
        ("demo/setup.py", "from netd import cli", "A layer imports only"),
        ("daemon/__init__.py", "import netd.demo", "A layer imports only"),
    ],
)
def test_a_broken_contract_goes_red(project, module, statement, broken):
    file = project / "netd" / module
    file.parent.mkdir(exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(statement + "\n")
    code, said = lint(project)
    assert code == 1, said
    red = [line for line in said.splitlines() if line.endswith("BROKEN")]
    assert len(red) == 1 and red[0].startswith(broken), said


def test_what_is_allowed(project):
    (project / "netd/store/database.py").write_text("import asyncpg\n")
    (project / "netd/web/app.py").write_text("import aiohttp\n")
    (project / "netd/freeradius").mkdir(exist_ok=True)
    (project / "netd/freeradius/__init__.py").touch()
    (project / "netd/freeradius/source.py").write_text("import asyncpg, pymysql\n")
    (project / "netd/sheets").mkdir()
    (project / "netd/sheets/__init__.py").touch()
    (project / "netd/sheets/xlsx.py").write_text("import openpyxl, defusedxml\n")
    (project / "netd/domain/exports.py").write_text("import netd.sheets\n")
    (project / "netd/device").mkdir()
    (project / "netd/device/__init__.py").touch()
    (project / "netd/device/ssh.py").write_text("import asyncssh\n")
    (project / "netd/device/http.py").write_text("import aiohttp\n")
    (project / "netd/daemon/__init__.py").write_text("import netd.radius, netd.web, netd.store.database, netd.config\n")
    (project / "netd/logs/__init__.py").write_text("import netd.config\n")
    code, said = lint(project)
    assert code == 0, said


def test_the_server_of_aiohttp_is_webs_and_its_client_the_devices():
    """The two are one package, so import-linter cannot tell them apart."""
    client = re.compile(r"\b(ClientSession|ClientTimeout|TCPConnector)\b|aiohttp\.(client|connector|request)\b")
    web = re.compile(r"from aiohttp import [^\n]*\bweb\b|aiohttp\.web\b")
    for file in (ROOT / "netd").rglob("*.py"):
        text = file.read_text()
        if "aiohttp" not in text:
            continue
        in_web = "web" in file.relative_to(ROOT / "netd").parts
        assert not (client if in_web else web).search(text), file
