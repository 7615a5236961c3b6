"""Compiles the engine's hot modules with mypyc: ``python hatch_build.py FOLDER`` (``make compiled``), and hatchling's hook for ``make wheel-compiled``.

Which modules is said in pyproject.toml, ``[tool.netd] compiled``. The folder gets a library, a small file per module, and a manifest with the
fingerprint of every source that the compiler looked at, so that netd can tell that the build fits what lies beside it (``netd/compiled.py``).
"""

import ast
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
OPTIMIZE = "COMPILED_OPTIMIZE"
"""The C compiler's -O level, 3 unless set: tests of what the code does, not how fast, are happy with 0."""

_SUFFIX = f".{sysconfig.get_config_var('SOABI')}.so"


def hot_modules(root: Path = ROOT) -> list[str]:
    """The modules to compile, e.g. ``netd.wire.radius``."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    names: list[str] = project["tool"]["netd"]["compiled"]
    return names


def path_of(module: str) -> str:
    """The source of a module, relative to the root."""
    file = module.replace(".", "/")
    return f"{file}.py" if (ROOT / f"{file}.py").is_file() else f"{file}/__init__.py"


def unsuited(source: str) -> list[str]:
    """What mypyc would compile into something else than what it says: it drops the keywords of a class (msgspec's ``frozen``, ``gc``)."""
    classes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    return [
        f"line {node.lineno}: class {node.name}: mypyc ignores class keywords; define it in a module that is not compiled" for node in classes if node.keywords
    ]


def sources_of(modules: list[str]) -> list[str]:
    """The paths of ``modules`` and of every module of netd that they import, however indirectly: mypyc uses their types and constants."""
    import grimp

    graph = grimp.build_graph("netd", cache_dir=None)
    seen = {"netd", *modules}.union(*(graph.find_upstream_modules(module) for module in modules))
    return sorted(path_of(module) for module in seen)


def compile_engine(folder: Path, optimize: str = "3") -> None:
    """Fill ``folder`` anew. Raises SystemExit if something cannot be compiled."""
    from mypy.version import __version__ as mypy_version
    from mypyc.build import mypycify
    from setuptools import setup

    modules = hot_modules()
    faults = [f"{path_of(module)}: {fault}" for module in modules for fault in unsuited((ROOT / path_of(module)).read_text(encoding="utf-8"))]
    if faults:
        raise SystemExit("\n".join(faults))
    before = {path: _fingerprint(path) for path in sources_of(modules)}
    with tempfile.TemporaryDirectory() as work:
        os.chdir(ROOT)
        options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / "build" / "mypyc-cache")]
        extensions = mypycify([*options, *map(path_of, modules)], opt_level=optimize, group_name="netd_engine", target_dir=f"{work}/c")
        setup(
            name="netd", packages=[], py_modules=[], ext_modules=extensions, script_args=["-q", "build_ext", "--build-lib", f"{work}/lib", "--build-temp", work]
        )
        if {path: _fingerprint(path) for path in before} != before:
            raise SystemExit("a source changed while it was being compiled; begin again")
        built = {str(file.relative_to(f"{work}/lib")).removesuffix(_SUFFIX).replace("/", "."): file for file in Path(work, "lib").rglob(f"*{_SUFFIX}")}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, file in built.items():
            shutil.copy(file, folder / f"{name}{_SUFFIX}")
    manifest = {
        "soabi": sysconfig.get_config_var("SOABI"), "mypy": mypy_version, "files": {name: f"{name}{_SUFFIX}" for name in sorted(built)}, "sources": before,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _fingerprint(path: str) -> str:
    from netd.compiled import fingerprint

    return fingerprint(ROOT / path)


class CompiledWheel(BuildHookInterface[Any]):
    """Makes the wheel one for this Python and platform, with the compiled engine in ``netd/_compiled``. Off unless HATCH_BUILD_HOOK_ENABLE_CUSTOM=1."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds a wheel."""
        if version == "editable":
            return
        folder = Path(self.root) / "build" / "compiled-wheel"
        compile_engine(folder, os.environ.get(OPTIMIZE, "3"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"][str(folder)] = "netd/_compiled"


if __name__ == "__main__":
    compile_engine(Path(sys.argv[1]).resolve(), os.environ.get(OPTIMIZE, "3"))
