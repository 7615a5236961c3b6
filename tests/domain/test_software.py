"""Files of the library of software images."""

import os
import time
from pathlib import Path

from netd.domain import software


def test_what_a_killed_netd_left_of_an_image_is_removed(tmp_path: Path) -> None:
    """Gigabytes that nobody would ever remove; what another node receives in a shared folder is left alone."""
    folder = tmp_path / "images"
    folder.mkdir()
    old, under_way, kept = folder / f".{'a' * 16}.part", folder / f".{'b' * 16}.part", folder / ("c" * 64)
    for path in (old, under_way, kept):
        path.write_bytes(b"x")
    long_since = time.time() - software.LEFT_SECONDS - 60
    for path in (old, kept):
        os.utime(path, (long_since, long_since))
    file = software._File(folder)
    file.write(b"y")
    assert not old.exists() and under_way.exists() and kept.exists()
    file.close()
    assert sorted(path.name for path in folder.iterdir()) == sorted((under_way.name, kept.name))
