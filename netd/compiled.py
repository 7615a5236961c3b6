"""The compiled engine: modules that mypyc turned into machine code, loaded in place of their sources while they fit these sources.

``make compiled`` puts them into ``build/compiled`` of a checkout, ``make wheel-compiled`` into ``netd/_compiled`` of a wheel; never beside the sources, where
they would hide an edited file without a word. It is all or nothing: built for another Python or for other sources, or not loadable here, nothing of it is
used, and ``status`` says why. ``NETD_COMPILED=no`` leaves it alone; with ``NETD_COMPILED=require`` netd does not start without it.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

VARIABLE: Final = "NETD_COMPILED"
MANIFEST: Final = "manifest.json"
GROUP: Final = "netd_engine__mypyc"
"""The library that holds the code of all modules; each has a small file of its own that finds it by this name."""

_PACKAGE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = _PACKAGE.parent / "build" / "compiled"
"""Where ``make compiled`` puts it."""


class Status(NamedTuple):
    """Whether the compiled engine runs, and what it is or why it does not run."""

    active: bool
    detail: str
    stale: bool = False
    """There is one, and it should have run: made for other sources or another Python, or damaged."""


def fingerprint(path: Path) -> str:
    """What stands in a manifest for a source file."""
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


class Finder:
    """An import hook for the modules of one build, whose manifest says what it was made from."""

    def __init__(self, folder: Path, package: Path = _PACKAGE) -> None:
        self._folder = folder
        self._package = package
        self._status: Status | None = None
        self._manifest: dict[str, Any] = {}
        self._files: dict[str, str] = {}
        try:
            self._manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            self._files = self._manifest["files"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            self._status = Status(False, f"{folder / MANIFEST} cannot be read: {error}", True)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """importlib's question: where is this module?"""
        if name not in self._files or not self.status().active:
            return None
        return self._spec(name)

    def status(self) -> Status:
        """Whether this build is used; found out at the first question, for all of it."""
        if self._status is None:
            unfit = self._unfit()
            modules = len(self._files) - 1
            self._status = Status(False, unfit, True) if unfit else Status(True, f"{modules} modules compiled by mypyc {self._manifest['mypy']}")
        return self._status

    def _spec(self, name: str) -> ModuleSpec | None:
        file = str(self._folder / self._files[name])
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))

    def _unfit(self) -> str:
        manifest, mine = self._manifest, sysconfig.get_config_var("SOABI")
        if manifest["soabi"] != mine:
            return f"built for {manifest['soabi']}, this is {mine}"
        for name, made_from in manifest["sources"].items():
            source = self._package.parent / name
            try:
                changed = fingerprint(source) != made_from
            except OSError as error:
                return f"{name} cannot be compared: {error.strerror}"
            if changed:
                return f"{name} changed since it was built"
        try:
            spec = self._spec(GROUP)
            assert spec is not None
            assert spec.loader is not None
            library = module_from_spec(spec)
            spec.loader.exec_module(library)
        except ImportError as error:
            return f"cannot be loaded: {error}"
        sys.modules[GROUP] = library
        return ""


_finder: Finder | None = None
_absent = Status(False, "not built")


def install(environ: Mapping[str, str] = os.environ, package: Path = _PACKAGE) -> None:
    """Let imports find the compiled engine, if there is one and ``NETD_COMPILED`` does not say no. Called before any module is imported."""
    global _finder, _absent
    if environ.get(VARIABLE) == "no":
        _absent = Status(False, f"{VARIABLE}=no")
        return
    for folder in (package / "_compiled", package.parent / "build" / "compiled"):
        if (folder / MANIFEST).is_file():
            _finder = Finder(folder, package)
            sys.meta_path.insert(0, _finder)
            return


def status() -> Status:
    """Whether the compiled engine runs in this process."""
    return _absent if _finder is None else _finder.status()


def missing(environ: Mapping[str, str] = os.environ) -> str:
    """Why the demand of ``NETD_COMPILED`` is not met, "" if it is."""
    wanted = environ.get(VARIABLE, "auto")
    if wanted not in ("auto", "no", "require"):
        return f"expected auto, no or require, not {wanted!r}"
    found = status()
    return f"the compiled engine cannot be used: {found.detail}" if wanted == "require" and not found.active else ""
