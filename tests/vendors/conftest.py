import pytest

from netd.extensions import Extensions


@pytest.fixture(scope="session")
def extensions() -> Extensions:
    """The bundled ones, as the daemon has them."""
    return Extensions.discover(packages=())
