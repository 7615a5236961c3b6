import pytest

from netd.extensions import Extensions


@pytest.fixture(scope="session")
def extensions() -> Extensions:
    """The bundled vendors and dictionaries."""
    return Extensions.discover(packages=[])
