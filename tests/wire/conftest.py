"""The dictionary that the codecs are tested with: all of netd's, and one with every odd form there is."""

from importlib.resources import files
from pathlib import Path

import pytest

from netd.wire.dictionary import Dictionary, parse

HERE = Path(__file__).parent


def standard_sources() -> list[tuple[str, str]]:
    """The files that come with ``netd.wire``."""
    folder = files("netd.wire") / "dictionaries"
    return sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".dictionary"))


def all_sources() -> list[tuple[str, str]]:
    """Those, every bundled vendor's, and the odd forms."""
    others = [*sorted((HERE.parents[1] / "vendors").glob("*/dictionary*")), HERE / "odd.dictionary"]
    return [*standard_sources(), *((str(path), path.read_text("utf-8")) for path in others)]


@pytest.fixture(scope="session")
def sources() -> list[tuple[str, str]]:
    return all_sources()


@pytest.fixture(scope="session")
def dictionary(sources: list[tuple[str, str]]) -> Dictionary:
    return parse(sources)
