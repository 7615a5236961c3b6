"""Vendors and plugins: found, verified, imported, and their code fenced off.

An extension is a folder with a ``manifest.toml`` (:class:`netd.sdk.Manifest`), a ``driver.py`` with a class ``Driver`` if it declares
capabilities, a module and a data file for each platform of devices, and dictionaries. Extensions are looked for in the bundled folders, then
among installed packages (entry point groups ``netd.vendors`` and ``netd.plugins``; the package's folder is the extension), then in the drop-in
folders. A later one hides an earlier one of the same name, but only if it works. A driver may import ``netd.sdk``, ``netd.model``, ``netd.wire``
and the standard library.

A broken extension disables itself and nothing else; why stands in :attr:`Extensions.broken`.
"""

import importlib.util
import logging
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType, TracebackType
from typing import Any, Literal, NamedTuple

import msgspec

from netd import sdk
from netd.errors import ConfigError, ExtensionError
from netd.sdk import Access, Manifest, Policy
from netd.sdk.bootstrap import Bootstrap, Profile
from netd.sdk.device import Platform
from netd.share import share
from netd.simulate import Behaviour
from netd.wire import dictionary

log = logging.getLogger(__name__)

Kind = Literal["vendor", "plugin"]
Source = tuple[str, str]
"""A dictionary: file name and text."""

ENTRY_POINT_GROUPS = ("netd.vendors", "netd.plugins")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_OID = re.compile(r"[0-9]+(\.[0-9]+)*")
_STANDARD = Path(dictionary.__file__).parent / "dictionaries"


class DevicePlatform(msgspec.Struct, frozen=True, kw_only=True):
    """A family of devices and its driver, which has the methods of the capabilities of :mod:`netd.sdk.device` that it can do."""

    platform: Platform
    vendor: str
    driver: object
    simulator: Path | None = None


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """A maker of devices; ``access`` is None if none of them speaks RADIUS."""

    manifest: Manifest
    folder: Path
    access: Access | None
    dictionaries: tuple[Source, ...]
    platforms: tuple[DevicePlatform, ...] = ()
    profiles: tuple[Profile, ...] = ()


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A business rule or another system."""

    manifest: Manifest
    folder: Path
    policy: Policy
    dictionaries: tuple[Source, ...]


class Candidate(NamedTuple):
    """A folder that has, or should have, a manifest; ``name`` is the folder's until the manifest is read."""

    name: str
    folder: Path


class Guard:
    """The barrier round calls into one extension's code: whatever it raises becomes ExtensionError, and is counted.

    A ValueError is an answer («this service cannot be expressed»), so its text alone is the reason; anything else is a fault of the driver.
    """

    __slots__ = ("_counts", "_name")

    def __init__(self, name: str, counts: Counter[tuple[str, str]]) -> None:
        self._name = name
        self._counts = counts

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(raised, Exception):
            return
        if isinstance(raised, ValueError):
            self._counts[self._name, "refused"] += 1
            raise ExtensionError(self._name, str(raised)) from raised
        self._counts[self._name, "failed"] += 1
        log.error("extension %s failed", self._name, exc_info=raised)
        raise ExtensionError(self._name, f"{type(raised).__name__}: {raised}") from raised


class Extensions:
    """The extensions in use, by name, and those that are not and why; ``platforms`` and boot ``profiles`` of all vendors by their names.

    ``dictionary`` is the standard one with all of theirs. ``calls`` counts what went wrong behind :meth:`guard`, by name and
    ``refused`` (the driver said no) or ``failed`` (it broke).
    """

    def __init__(
        self,
        vendors: Mapping[str, Vendor],
        plugins: Mapping[str, Plugin],
        broken: Iterable[ExtensionError],
        merged: dictionary.Dictionary,
    ) -> None:
        self.vendors = MappingProxyType(dict(vendors))
        self.plugins = MappingProxyType(dict(plugins))
        self.platforms = MappingProxyType({item.platform.name: item for vendor in vendors.values() for item in vendor.platforms})
        self.profiles = MappingProxyType({profile.name: profile for vendor in vendors.values() for profile in vendor.profiles})
        self.broken = tuple(broken)
        self.dictionary = merged
        self.calls: Counter[tuple[str, str]] = Counter()
        self._guards = {name: Guard(name, self.calls) for name in (*vendors, *plugins)}

    @classmethod
    def discover(
        cls,
        folders: Iterable[Path] = (),
        bundled: Iterable[Path] | None = None,
        disabled: Collection[str] = (),
        *,
        packages: Iterable[EntryPoint] | None = None,
        standard: Iterable[Source] | None = None,
    ) -> "Extensions":
        """Find and load extensions; raises for none of them.

        ``bundled`` and ``folders`` hold extensions as sub-folders; those that do not exist are skipped. ``disabled`` are names that are not
        loaded. ``packages`` and ``standard`` default to the installed entry points and netd's own dictionaries; it is a ConfigError if
        the latter do not parse.
        """
        if bundled is None:
            bundled = (share("vendors"), share("plugins"))
        if packages is None:
            packages = [point for group in ENTRY_POINT_GROUPS for point in entry_points(group=group)]
        base = tuple(standard_dictionaries() if standard is None else standard)
        broken: list[ExtensionError] = []
        found = [*_subfolders(bundled, broken), *_package_folders(packages, broken), *_subfolders(folders, broken)]
        loaded = _load_latest(_manifests(found, disabled, broken), base, broken)
        merged, sound = _merge_dictionaries(base, loaded, broken)
        for error in broken:
            log.error("extension disabled: %s", error)
        vendors = {item.manifest.name: item for item in sound if isinstance(item, Vendor)}
        plugins = {item.manifest.name: item for item in sound if isinstance(item, Plugin)}
        return cls(vendors, plugins, broken, merged)

    def guard(self, name: str) -> Guard:
        """A context manager for calls into the code of extension ``name``; LookupError if there is none such."""
        return self._guards[name]


def load_simulator(item: DevicePlatform) -> type[Behaviour]:
    """The class that plays a platform's devices, imported only where it is wanted. LookupError if it has none, ExtensionError if it is broken."""
    if item.simulator is None:
        raise LookupError(f"{item.platform.name} has no simulator")
    module_name = f"_netd_ext_vendor_{item.vendor.replace('-', '_')}__{item.platform.name.replace('-', '_')}_simulator"
    try:
        found: object = _import_file(module_name, item.simulator).Simulator
    except (Exception, SystemExit) as error:  # barrier: code that is not ours runs here for the first time
        sys.modules.pop(module_name, None)
        raise ExtensionError(item.vendor, f"{item.simulator}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Behaviour)):
        raise ExtensionError(item.vendor, f"{item.simulator}: Simulator is no Behaviour")
    return found


def standard_dictionaries() -> list[Source]:
    """netd's own dictionaries, as (file name, text), in order of their names."""
    return [(str(path), path.read_text("utf-8")) for path in sorted(_STANDARD.glob("*.dictionary"))]


def _subfolders(folders: Iterable[Path], broken: list[ExtensionError]) -> Iterator[Candidate]:
    for folder in folders:
        if not folder.is_dir():
            continue
        try:
            children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith((".", "_")))
        except OSError as error:
            broken.append(ExtensionError(str(folder), str(error)))
            continue
        yield from (Candidate(child.name, child) for child in children)


def _package_folders(packages: Iterable[EntryPoint], broken: list[ExtensionError]) -> Iterator[Candidate]:
    for point in packages:
        top, *inner = point.module.split(".")
        try:
            spec = importlib.util.find_spec(top)  # of the top-level package only: for an inner one it would import the outer
        except (ImportError, ValueError) as error:
            broken.append(ExtensionError(point.name, f"entry point {point.value}: {error}"))
            continue
        if spec is None or not spec.submodule_search_locations:
            broken.append(ExtensionError(point.name, f"entry point {point.value}: there is no such package"))
            continue
        yield Candidate(point.name, Path(next(iter(spec.submodule_search_locations)), *inner))


def _manifests(found: Iterable[Candidate], disabled: Collection[str], broken: list[ExtensionError]) -> Iterator[tuple[Candidate, Manifest]]:
    for candidate in found:
        if candidate.name in disabled:
            log.info("extension %s is disabled (%s)", candidate.name, candidate.folder)
            continue
        try:
            manifest = _read_manifest(candidate)
        except ExtensionError as error:
            broken.append(error)
            continue
        if manifest.name in disabled:
            log.info("extension %s is disabled (%s)", manifest.name, candidate.folder)
            continue
        yield candidate._replace(name=manifest.name), manifest


def _read_manifest(candidate: Candidate) -> Manifest:
    path = candidate.folder / "manifest.toml"
    try:
        table = msgspec.toml.decode(path.read_bytes().decode("utf-8"), type=dict[str, Any])
        # First of all: a manifest of another version may have other keys, which then are not what is wrong with it.
        if "api" in table and table["api"] != sdk.SDK_API:
            raise ExtensionError(candidate.name, f"{path}: api: is for version {table['api']!r} of the SDK, this is {sdk.SDK_API}")
        manifest = msgspec.convert(table, Manifest)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise ExtensionError(candidate.name, f"{path}: {error}") from error
    if not _NAME.fullmatch(manifest.name):
        raise ExtensionError(candidate.name, f"{path}: name: {manifest.name!r} is not of lower case letters, digits, - and _")
    if set(manifest.capabilities) == {"access", "policy"}:
        raise ExtensionError(manifest.name, f"{path}: capabilities: access and policy do not go together")
    if not 0 < manifest.coa_port < 65536:
        raise ExtensionError(manifest.name, f"{path}: coa_port: {manifest.coa_port} is not a port")
    return manifest


def _load_latest(
    manifests: Iterable[tuple[Candidate, Manifest]],
    base: tuple[Source, ...],
    broken: list[ExtensionError],
) -> list[Vendor | Plugin]:
    """Of each name the last one that loads, in order of first appearance. What it hides is not imported."""
    by_name: dict[tuple[Kind, str], list[tuple[Candidate, Manifest]]] = {}
    for candidate, manifest in manifests:
        by_name.setdefault((_kind(manifest), manifest.name), []).append((candidate, manifest))
    loaded: list[Vendor | Plugin] = []
    for (kind, name), rivals in by_name.items():
        while rivals:
            candidate, manifest = rivals.pop()
            try:
                item = _load(kind, candidate, manifest, base)
            except ExtensionError as error:
                broken.append(error)
                continue
            for hidden, _ in rivals:
                log.warning("%s %s in %s hides the one in %s", kind, name, candidate.folder, hidden.folder)
            loaded.append(item)
            break
    return loaded


def _kind(manifest: Manifest) -> Kind:
    return "plugin" if "policy" in manifest.capabilities else "vendor"


def _load(kind: Kind, candidate: Candidate, manifest: Manifest, base: tuple[Source, ...]) -> Vendor | Plugin:
    dictionaries = tuple(_read_dictionary(candidate, name, base) for name in manifest.dictionaries)
    platforms = tuple(_platform(candidate, manifest, platform) for platform in manifest.platforms)
    profiles = tuple(_profile(candidate, manifest, data) for data in manifest.bootstrap)
    if not manifest.capabilities:
        return Vendor(manifest=manifest, folder=candidate.folder, access=None, dictionaries=dictionaries, platforms=platforms, profiles=profiles)
    driver = _instantiate(kind, candidate)
    if kind == "plugin" and isinstance(driver, Policy):
        return Plugin(manifest=manifest, folder=candidate.folder, policy=driver, dictionaries=dictionaries)
    if kind == "vendor" and isinstance(driver, Access):
        return Vendor(manifest=manifest, folder=candidate.folder, access=driver, dictionaries=dictionaries, platforms=platforms, profiles=profiles)
    del sys.modules[_module_name(kind, candidate)]
    protocol = Policy if kind == "plugin" else Access
    wanted = sorted(name for name in vars(protocol) if not name.startswith("_"))
    lacking = ", ".join(name for name in wanted if not callable(getattr(driver, name, None)))
    raise ExtensionError(candidate.name, f"{candidate.folder}/driver.py: Driver lacks {lacking} of {protocol.__name__}")


def _profile(candidate: Candidate, manifest: Manifest, data: Bootstrap) -> Profile:
    try:
        if not _NAME.fullmatch(data.name):
            raise ValueError(f"{data.name!r} is not of lower case letters, digits, - and _")
        return Profile(data, manifest.name)
    except ValueError as error:
        raise ExtensionError(manifest.name, f"{candidate.folder}/manifest.toml: bootstrap: {error}") from error


def _platform(candidate: Candidate, manifest: Manifest, platform: Platform) -> DevicePlatform:
    if not _NAME.fullmatch(platform.name):
        raise ExtensionError(manifest.name, f"{candidate.folder}/manifest.toml: platforms: {platform.name!r} is not of lower case letters, digits, - and _")
    for pattern in (*platform.match.sys_descr, *platform.match.banner):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ExtensionError(manifest.name, f"platform {platform.name}: match: {pattern!r} is no regular expression: {error}") from error
    for prefix in platform.match.sys_object_id:
        if not _OID.fullmatch(prefix):
            raise ExtensionError(manifest.name, f"platform {platform.name}: match: {prefix!r} is no object identifier such as 1.3.6.1.4.1.14988.1")
    module, data = _inside(candidate, platform.driver), _inside(candidate, platform.data)
    module_name = f"{_module_name('vendor', candidate)}__{platform.name.replace('-', '_')}"
    try:
        table = msgspec.toml.decode(data.read_bytes().decode("utf-8"), type=dict[str, Any])
        for name, settings in platform.settings.items():
            table[name] = {**table.get(name, {}), **settings}
        driver: object = _import_file(module_name, module).Driver(table)
    except (Exception, SystemExit) as error:  # barrier: code that is not ours runs here for the first time
        sys.modules.pop(module_name, None)
        raise ExtensionError(manifest.name, f"platform {platform.name}: {module}: {type(error).__name__}: {error}") from error
    simulator = None if platform.simulator is None else _inside(candidate, platform.simulator)
    return DevicePlatform(platform=platform, vendor=manifest.name, driver=driver, simulator=simulator)


def _inside(candidate: Candidate, name: str) -> Path:
    path = candidate.folder / name
    if not path.resolve().is_relative_to(candidate.folder.resolve()):
        raise ExtensionError(candidate.name, f"{path} is outside the extension's folder")
    return path


def _read_dictionary(candidate: Candidate, name: str, base: tuple[Source, ...]) -> Source:
    path = _inside(candidate, name)
    try:
        text = path.read_text("utf-8")
        dictionary.parse([*base, (str(path), text)])
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ExtensionError(candidate.name, str(error)) from error
    return str(path), text


def _module_name(kind: Kind, candidate: Candidate) -> str:
    return f"_netd_ext_{kind}_{candidate.name.replace('-', '_')}"


def _instantiate(kind: Kind, candidate: Candidate) -> object:
    path = candidate.folder / "driver.py"
    module_name = _module_name(kind, candidate)
    if not path.is_file():
        raise ExtensionError(candidate.name, f"{path} does not exist")
    try:
        driver: object = _import_file(module_name, path).Driver()
    except (Exception, SystemExit) as error:  # barrier: code that is not ours runs here for the first time
        sys.modules.pop(module_name, None)
        raise ExtensionError(candidate.name, f"{path}: {type(error).__name__}: {error}") from error
    return driver


def _import_file(module_name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError("is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs, as the import statement does: dataclasses and typing look their module up
    spec.loader.exec_module(module)
    return module


def _merge_dictionaries(
    base: tuple[Source, ...],
    loaded: list[Vendor | Plugin],
    broken: list[ExtensionError],
) -> tuple[dictionary.Dictionary, list[Vendor | Plugin]]:
    """The dictionary of all, and the extensions whose dictionaries agree with those before them."""
    try:
        return dictionary.parse([*base, *(source for item in loaded for source in item.dictionaries)]), loaded
    except ConfigError:
        log.debug("dictionaries of the extensions contradict each other; looking for which")
    sources = list(base)
    merged = dictionary.parse(sources)
    sound: list[Vendor | Plugin] = []
    for item in loaded:
        try:
            merged = dictionary.parse([*sources, *item.dictionaries])
        except ConfigError as error:
            broken.append(ExtensionError(item.manifest.name, str(error)))
            continue
        sources += item.dictionaries
        sound.append(item)
    return merged, sound
