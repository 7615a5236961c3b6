"""Where the files are that are not Python: vendors/ plugins/ sql/ ansible/ config/ systemd/. No other module knows."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def share(*parts: str, package: Path = _PACKAGE) -> Path:
    """The path of a data folder or file, e.g. ``share("vendors", "mikrotik")``; it is not said that it exists.

    A wheel carries them in ``netd/_share/``; a checkout (and an editable install of it) has them beside ``netd/``.
    """
    installed = package / "_share"
    root = installed if installed.is_dir() else package.parent
    return root.joinpath(*parts)
