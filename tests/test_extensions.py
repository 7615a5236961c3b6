import ast
import logging
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from netd.errors import ExtensionError
from netd.extensions import ENTRY_POINT_GROUPS, Extensions, load_simulator
from netd.sdk import AccessRequest, Service
from netd.share import share

DRIVER = """
class Driver:
    def grant(self, service):
        return [("Filter-Id", "{mark}")]
    def change(self, before, after):
        return None
    def identify(self, session):
        return []
"""
POLICY = """
from netd.model.access import Reason

class Driver:
    def review(self, request, reason):
        return Reason.POLICY
"""
DICTIONARY = "VENDOR Acme 32473\nBEGIN-VENDOR Acme\nATTRIBUTE Acme-Speed 1 integer\nEND-VENDOR Acme\n"
SERVICE = Service(down_bps=1, up_bps=1)


def write(root: Path, name: str, driver: str | None = DRIVER, manifest: str = "", capabilities: str = '["access"]', **files: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    head = f'name = "{name}"\ntitle = "T"\nversion = "1"\napi = 1\ncapabilities = {capabilities}\n'
    (folder / "manifest.toml").write_text(manifest if manifest.startswith("!") else head + manifest)
    if driver is not None:
        (folder / "driver.py").write_text(driver.replace("{mark}", str(folder)))
    for file, text in files.items():
        (folder / file).write_text(text)
    return folder


def discover(*folders: Path, bundled: Path | None = None, **more) -> Extensions:
    return Extensions.discover(folders, (bundled,) if bundled else (), more.pop("disabled", ()), packages=more.pop("packages", ()), standard=(), **more)


def granted(extensions: Extensions, name: str) -> str:
    access = extensions.vendors[name].access
    assert access is not None
    return str(dict(access.grant(SERVICE))["Filter-Id"])


def test_the_bundled_ones_are_sound() -> None:
    extensions = Extensions.discover(packages=())
    assert extensions.broken == ()
    assert {"mikrotik", "huawei", "zte", "nokia", "cisco", "juniper", "generic"} <= set(extensions.vendors)
    assert all(vendor.access is not None or vendor.profiles for vendor in extensions.vendors.values())
    assert {name: vendor.manifest.coa_port for name, vendor in extensions.vendors.items() if vendor.manifest.coa_port != 3799} == {"cisco": 1700}
    assert extensions.dictionary.attribute("Mikrotik-Rate-Limit").vendor == 14988


def test_missing_folders_are_no_fault(tmp_path: Path) -> None:
    extensions = discover(tmp_path / "nowhere", bundled=tmp_path / "neither")
    assert (dict(extensions.vendors), dict(extensions.plugins), extensions.broken) == ({}, {}, ())


def test_vendors_plugins_and_bare_dictionaries(tmp_path: Path) -> None:
    write(tmp_path, "one", manifest='dictionaries = ["words"]\ncoa_port = 1700\n', words=DICTIONARY)
    write(tmp_path, "rule", POLICY, capabilities='["policy"]')
    write(tmp_path, "words-only", None, 'dictionaries = ["words"]\n', capabilities="[]", words=DICTIONARY.replace("Acme", "Other").replace("32473", "32474"))
    extensions = discover(tmp_path)
    assert extensions.broken == ()
    assert set(extensions.vendors) == {"one", "words-only"}
    assert extensions.vendors["one"].manifest.coa_port == 1700
    assert extensions.vendors["words-only"].access is None
    request = AccessRequest(tenant_id=1, username="u", nas="n", nas_port_id=None, calling_station_id=None, called_station_id=None)
    assert extensions.plugins["rule"].policy.review(request, "ok") == "policy"  # type: ignore[arg-type]
    assert [text for _, text in extensions.vendors["one"].dictionaries] == [DICTIONARY]
    assert extensions.dictionary.attribute("Other-Speed").vendor == 32474
    assert "_netd_ext_vendor_one" in sys.modules


BROKEN = {
    "no manifest": (None, {}, "manifest.toml"),
    "not toml": (DRIVER, {"manifest": "!= ="}, "manifest.toml"),
    "not utf-8": (DRIVER, {"manifest": "title2 = 1\n"}, "title2"),
    "unknown key": (DRIVER, {"manifest": "colour = 1\n"}, "colour"),
    "missing key": (DRIVER, {"manifest": "!"}, "manifest.toml"),
    "wrong type": (DRIVER, {"manifest": 'coa_port = "x"\n'}, "$.coa_port"),
    "no port": (DRIVER, {"manifest": "coa_port = 65536\n"}, "coa_port"),
    "unknown capability": (DRIVER, {"capabilities": '["fly"]'}, "$.capabilities"),
    "both kinds": (DRIVER, {"capabilities": '["access", "policy"]'}, "do not go together"),
    "no driver": (None, {"manifest": "\n"}, "driver.py does not exist"),
    "syntax error": ("def (", {}, "SyntaxError"),
    "no class": ("x = 1", {}, "AttributeError"),
    "fails on import": ("1 / 0", {}, "ZeroDivisionError"),
    "exits on import": ("raise SystemExit(3)", {}, "SystemExit"),
    "unknown import": ("import no_such_module_here", {}, "ModuleNotFoundError"),
    "fails when made": ("class Driver:\n    def __init__(self): raise OSError('no')", {}, "OSError: no"),
    "incapable": ("class Driver:\n    def grant(self, service): return []", {}, "lacks change, identify of Access"),
    "policy without review": (DRIVER, {"capabilities": '["policy"]'}, "lacks review of Policy"),
    "no dictionary": (DRIVER, {"manifest": 'dictionaries = ["words"]\n'}, "words"),
    "bad dictionary": (DRIVER, {"manifest": 'dictionaries = ["words"]\n', "words": "ATTRIBUTE what"}, "words"),
    "dictionary elsewhere": (DRIVER, {"manifest": 'dictionaries = ["../good/words"]\n'}, "outside"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_disables_only_itself(case: str, tmp_path: Path) -> None:
    driver, files, reason = BROKEN[case]
    write(tmp_path, "good", manifest='dictionaries = ["words"]\n', words=DICTIONARY)
    folder = write(tmp_path, "bad", driver, **files)
    if case == "no manifest":
        (folder / "manifest.toml").unlink()
    if case == "not utf-8":
        (folder / "manifest.toml").write_bytes(b'title = "\xff"')
        reason = "utf-8"
    sys.modules.pop("_netd_ext_vendor_bad", None)
    extensions = discover(tmp_path)
    assert set(extensions.vendors) == {"good"}
    assert granted(extensions, "good")
    (error,) = extensions.broken
    assert error.extension == "bad"
    assert reason in error.reason
    assert "_netd_ext_vendor_bad" not in sys.modules


def test_another_api_is_named_first(tmp_path: Path) -> None:
    folder = write(tmp_path, "bad")
    (folder / "manifest.toml").write_text('name = "bad"\napi = 2\nnew_key = 1\n')
    (error,) = discover(tmp_path).broken
    assert "api: is for version 2 of the SDK, this is 1" in error.reason


@pytest.mark.parametrize("name", ["Big", "a b", "", "../x", "a/b"])
def test_names_are_plain(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path, "bad")
    (folder / "manifest.toml").write_text(f'name = "{name}"\ntitle = "T"\nversion = "1"\napi = 1\ncapabilities = ["access"]\n')
    (error,) = discover(tmp_path).broken
    assert "lower case" in error.reason


def test_a_manifest_is_read_without_importing_code(tmp_path: Path) -> None:
    write(tmp_path, "bad", f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n" + DRIVER, "unknown = 1\n")
    assert discover(tmp_path).broken
    assert not (tmp_path / "ran").exists()


def test_later_hides_earlier_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    hidden = write(tmp_path / "bundled", "acme", touch + DRIVER)
    write(tmp_path / "one", "acme", touch + DRIVER)
    last = write(tmp_path / "two", "acme")
    with caplog.at_level(logging.WARNING):
        extensions = discover(tmp_path / "one", tmp_path / "two", bundled=tmp_path / "bundled")
    assert extensions.vendors["acme"].folder == last
    assert granted(extensions, "acme") == str(last)
    assert f"in {last} hides the one in {hidden}" in caplog.text
    assert not (tmp_path / "ran").exists(), "what is hidden is not imported"


def test_a_broken_later_one_hides_nothing(tmp_path: Path) -> None:
    sound = write(tmp_path / "bundled", "acme")
    write(tmp_path / "drop-in", "acme", "def (")
    extensions = discover(tmp_path / "drop-in", bundled=tmp_path / "bundled")
    assert granted(extensions, "acme") == str(sound)
    assert [error.extension for error in extensions.broken] == ["acme"]


def test_disabled_by_name(tmp_path: Path) -> None:
    write(tmp_path, "one", "1 / 0")
    write(tmp_path, "two")
    extensions = discover(tmp_path, disabled={"one"})
    assert (set(extensions.vendors), extensions.broken) == ({"two"}, ())


def test_dictionaries_that_contradict_each_other(tmp_path: Path) -> None:
    write(tmp_path, "a", manifest='dictionaries = ["words"]\n', words=DICTIONARY)
    write(tmp_path, "b", manifest='dictionaries = ["words"]\n', words=DICTIONARY.replace("Acme-Speed 1", "Acme-Speed 2"))
    write(tmp_path, "c")
    extensions = discover(tmp_path)
    assert set(extensions.vendors) == {"a", "c"}
    assert [error.extension for error in extensions.broken] == ["b"]
    assert extensions.dictionary.attribute("Acme-Speed").path[-1] == 1


def test_packages_are_found_by_their_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "netd_acme_outer")
    inner = write(tmp_path / "netd_acme_outer", "inner")
    (tmp_path / "netd_acme_outer" / "__init__.py").write_text("raise RuntimeError('not to be imported')")
    (tmp_path / "netd_acme_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    group = ENTRY_POINT_GROUPS[0]
    extensions = discover(
        packages=[
            EntryPoint("top", "netd_acme_outer", group),
            EntryPoint("inner", "netd_acme_outer.inner", group),
            EntryPoint("gone", "netd_acme_gone", group),
            EntryPoint("module", "netd_acme_module", group),
        ]
    )
    assert {vendor.folder for vendor in extensions.vendors.values()} == {inner, tmp_path / "netd_acme_outer"}
    assert [error.extension for error in extensions.broken] == ["gone", "module"]
    assert "netd_acme_outer" not in sys.modules


def test_guard_turns_what_a_driver_raises_into_one_error_and_counts_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "acme")
    extensions = discover(tmp_path)
    with extensions.guard("acme"):
        assert granted(extensions, "acme")
    with pytest.raises(ExtensionError, match=r"^acme: too fast$"), extensions.guard("acme"):
        raise ValueError("too fast")
    assert not caplog.records, "a refusal is an answer, not a fault"
    for _ in range(2):
        with pytest.raises(ExtensionError, match=r"^acme: KeyError: 'x'$"), extensions.guard("acme"):
            raise KeyError("x")
    assert "extension acme failed" in caplog.text
    assert extensions.calls == {("acme", "refused"): 1, ("acme", "failed"): 2}
    with pytest.raises(KeyboardInterrupt), extensions.guard("acme"):
        raise KeyboardInterrupt
    with pytest.raises(LookupError):
        extensions.guard("nobody")


PLATFORM = """
[[platforms]]
name = "one_os"
title = "One"
kind = "router"
driver = "os.py"
data = "os.toml"

[[platforms]]
name = "one_relative"
title = "Relative"
kind = "router"
driver = "os.py"
data = "os.toml"
simulator = "os_simulator.py"
settings = { snmp = { bulk = false }, more = { a = 1 } }
"""


def platforms(root: Path, simulator: str) -> Extensions:
    folder = write(root, "one", None, PLATFORM, capabilities="[]")
    (folder / "os.py").write_text("class Driver:\n    def __init__(self, data): self.data = data\n")
    (folder / "os.toml").write_text("[snmp]\nbulk = true\nhost = true\n")
    (folder / "os_simulator.py").write_text(simulator)
    return discover(root)


def test_a_platform_whose_pattern_would_hold_up_the_daemon_is_not_used(tmp_path: Path) -> None:
    for number, (pattern, used) in enumerate(((r"^\s*% Error", False), (r"^[ \t]*% Error", True))):
        root = tmp_path / str(number)
        folder = write(root, "one", None, PLATFORM, capabilities="[]")
        (folder / "os.py").write_text("from netd.sdk.shell import Shell\n\nclass Driver(Shell): ...\n")
        (folder / "os.toml").write_text(f"[terminal]\nprompt = '>'\nerrors = [{{ pattern = '{pattern}', outcome = \"failed\" }}]\n[snmp]\n[more]\n")
        found = discover(root)
        assert ("one_os" in found.platforms) is used
        told = [str(error) for error in found.broken]
        assert len(told) == (not used) and all("platform one_os" in each and "% Error'" in each and "takes line ends" in each for each in told)


def test_platforms_and_their_relatives(tmp_path: Path) -> None:
    found = platforms(tmp_path, "from netd.simulate import Behaviour\n\nclass Simulator(Behaviour):\n    pager = 'more'\n")
    assert found.broken == ()
    plain, relative = found.platforms["one_os"], found.platforms["one_relative"]
    assert plain.driver.data == {"snmp": {"bulk": True, "host": True}}  # type: ignore[attr-defined]
    assert relative.driver.data == {"snmp": {"bulk": False, "host": True}, "more": {"a": 1}}  # type: ignore[attr-defined]
    assert load_simulator(relative).pager == "more"
    with pytest.raises(LookupError, match="one_os"):
        load_simulator(plain)


@pytest.mark.parametrize("code", ["1 / 0", "x = 1", "class Simulator: pass", "raise SystemExit(3)"])
def test_a_simulator_that_is_none_breaks_nothing_else(code: str, tmp_path: Path) -> None:
    found = platforms(tmp_path, code)
    assert found.broken == () and set(found.platforms) == {"one_os", "one_relative"}  # it is not imported before it is wanted
    with pytest.raises(ExtensionError, match="os_simulator"):
        load_simulator(found.platforms["one_relative"])


NOT_SANS_IO = {
    "asyncio",
    "datetime",
    "http",
    "io",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib",
}


@pytest.mark.parametrize("path", sorted(share("vendors").glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_vendor_imports_the_sdk_the_model_codecs_and_the_standard_library(path: Path) -> None:
    more = ("netd.simulate",) if path.stem.endswith("_simulator") else ()
    assert foreign_imports(path.read_text(), more) == set()


def foreign_imports(code: str, more: tuple[str, ...] = ()) -> set[str]:
    """Imported modules that a driver may not import; relative imports count as such, for another vendor could be reached by one."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            modules.update([prefix] if prefix != "netd" else [f"netd.{alias.name}" for alias in node.names])
        elif isinstance(node, ast.Name) and node.id in {"__import__", "open", "exec", "eval"}:
            modules.add(node.id)
    allowed = ("netd.sdk", "netd.model", "netd.wire", "netd.errors", *more)
    return {
        name
        for name in modules
        if not any(name == root or name.startswith(root + ".") for root in allowed)
        and (name.split(".")[0] not in sys.stdlib_module_names or name.split(".")[0] in NOT_SANS_IO)
    }


@pytest.mark.parametrize(
    "code",
    [
        "import netd.store",
        "import netd.simulate",
        "from netd import store",
        "from netd.radius import server",
        "import aiohttp",
        "from vendors.huawei import driver",
        "from . import x",
        "import socket",
        "from os import path",
        "open('x')",
        "def f():\n    import asyncpg",
    ],
)
def test_and_that_check_sees(code: str) -> None:
    assert foreign_imports(code)
