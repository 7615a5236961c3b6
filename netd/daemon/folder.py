"""What the daemon keeps in its data folder besides keys and databases, by name."""

from pathlib import Path
from typing import Final

from netd.errors import ConfigError

ADMIN_TOKEN: Final = "admin.token"
API_URL: Final = "api.url"
IMAGES: Final = "images"
EXPORT: Final = "configurations.git"
DEMO: Final = "demo.json"
"""Stands in the data folder of a demonstration (netd.demo), whoever runs on it."""


def make(folder: Path) -> None:
    """Make it, for its owner only, if it is not there. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("configuration", "data_dir", f"cannot make {folder}: {error.strerror}") from error
