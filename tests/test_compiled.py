"""When the compiled engine is used and when not, on a build that is made up: a manifest, and a library that cannot be loaded."""

import json
import sysconfig
from pathlib import Path

import pytest

from hatch_build import hot_modules, path_of, sources_of, unsuited
from netd import compiled
from netd.compiled import GROUP, MANIFEST, Finder, fingerprint

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """An installation whose ``netd/_compiled`` was made from its one module."""
    folder = tmp_path / "netd" / "_compiled"
    folder.mkdir(parents=True)
    source = tmp_path / "netd" / "hot.py"
    source.write_text("ANSWER = 42\n")
    manifest = {
        "soabi": sysconfig.get_config_var("SOABI"), "mypy": "2.4", "files": {"netd.hot": "hot.so", GROUP: "group.so"},
        "sources": {"netd/hot.py": fingerprint(source)},
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / "group.so").write_text("not a library")
    return folder


def why_not(build: Path) -> str:
    finder = Finder(build, build.parent)
    found = finder.status()
    assert (found.active, found.stale) == (False, True)
    assert finder.find_spec("netd.hot") is None
    assert finder.find_spec("json") is None
    return found.detail


def test_a_source_that_changed_turns_all_of_it_off(build: Path) -> None:
    (build.parent / "hot.py").write_text("ANSWER = 43\n")
    assert why_not(build) == "netd/hot.py changed since it was built"


def test_a_source_that_is_gone_turns_all_of_it_off(build: Path) -> None:
    (build.parent / "hot.py").unlink()
    assert why_not(build) == "netd/hot.py cannot be compared: No such file or directory"


def test_a_build_for_another_python_is_left_alone(build: Path) -> None:
    text = (build / MANIFEST).read_text()
    (build / MANIFEST).write_text(text.replace(sysconfig.get_config_var("SOABI"), "cpython-27-vax"))
    assert why_not(build).startswith("built for cpython-27-vax, this is ")


def test_a_library_that_cannot_be_loaded_is_left_alone(build: Path) -> None:
    assert why_not(build).startswith("cannot be loaded: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_manifest_says_so(build: Path, text: str) -> None:
    (build / MANIFEST).write_text(text)
    assert "cannot be read" in why_not(build)


def test_no_means_no(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_absent", compiled._absent)
    monkeypatch.setattr(compiled, "_finder", None)
    compiled.install({"NETD_COMPILED": "no"}, build.parent)
    assert compiled.status() == (False, "NETD_COMPILED=no", False)
    assert compiled.missing({"NETD_COMPILED": "no"}) == ""
    assert compiled.missing({}) == ""
    assert compiled.missing({"NETD_COMPILED": "require"}) == "the compiled engine cannot be used: NETD_COMPILED=no"
    assert compiled.missing({"NETD_COMPILED": "perhaps"}) == "expected auto, no or require, not 'perhaps'"


def test_the_fingerprints_cover_what_the_compiler_looked_at() -> None:
    sources = sources_of(hot_modules())
    assert set(map(path_of, hot_modules())) < set(sources)
    assert {"netd/wire/packet.py", "netd/radius/verdict.py", "netd/model/access.py", "netd/config/tables.py", "netd/errors.py"} < set(sources)


def test_the_hot_modules_hold_nothing_that_compiles_into_something_else() -> None:
    for module in hot_modules():
        assert unsuited((ROOT / path_of(module)).read_text(encoding="utf-8")) == []
    (said,) = unsuited("import msgspec\n\n\nclass Row(msgspec.Struct, frozen=True):\n    id: int\n")
    assert said.startswith("line 4: class Row: ")
