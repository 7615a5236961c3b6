"""Files of the operator's: those that the API gives are written as a whole or not at all."""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from netd.cli import client


def text(path: str | Path) -> str:
    """What a file holds that a command is given; ``-`` is standard input. Raises CliError (2)."""
    try:
        return sys.stdin.read() if str(path) == "-" else Path(path).read_text("utf-8")
    except OSError as error:
        raise client.CliError(f"{path} cannot be read: {error.strerror}", client.USAGE) from None
    except UnicodeDecodeError:
        raise client.CliError(f"{path} cannot be read: it is not UTF-8", client.USAGE) from None


def argument(parser: argparse.ArgumentParser, endings: str) -> None:
    """FILE, whose name says what is wanted."""
    parser.add_argument("file", metavar="FILE", help=f"the file, whose name says of what kind it is ({endings}); - for CSV on standard output")


def download(file: str, path: str, query: Mapping[str, object], forms: tuple[str, ...]) -> int:
    """Write the file in the form that its name says."""
    if file == "-":
        client.find().download(path, {**query, "format": "csv"}, sys.stdout.buffer)
        return 0
    target = Path(file)
    form = target.suffix.lower().lstrip(".")
    if form not in forms:
        raise client.CliError(f"{target}: its name must end in {' or '.join('.' + each for each in forms)}", client.USAGE)
    return save(target, path, {**query, "format": form})


def save(target: Path, path: str, query: Mapping[str, object]) -> int:
    """Write the file: all of it, or none. Only its owner may read it, for customers stand in it."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise client.CliError(f"{target} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            client.find().download(path, query, file)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise
    return 0
