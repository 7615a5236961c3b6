"""tests/bench/load.c: compiled where there is a compiler, driven by tests/bench/load.py, which builds the packets and checks the answers."""

import hashlib
import json
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

SOURCE: Final = Path(__file__).with_name("load.c")
FOLDER: Final = SOURCE.parents[2] / "build" / "bench"


def program() -> Path | None:
    """The compiled program, made at the first call; None without a compiler or if it does not compile."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    made = FOLDER / f"load-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    if not made.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        staging = made.with_suffix(".new")
        if subprocess.run([compiler, "-O2", "-o", staging, SOURCE], capture_output=True, check=False).returncode:
            return None
        staging.rename(made)
    return made


class Rounds:
    """Rounds of the compiled generator over a list of packets; ``close`` removes what it wrote."""

    def __init__(self, made: Path, requests: Sequence[bytes]) -> None:
        self._made = made
        self._requests = requests
        self._folder = Path(tempfile.mkdtemp(prefix="netd-load-"))
        with (self._folder / "packets").open("wb") as file:
            for request in requests:
                file.write(struct.pack("=H", len(request)) + request)

    def run(self, order: dict[str, Any], expected: int, fault: Callable[[bytes, bytes], str]) -> dict[str, Any]:
        """One round, reported as ``load.Round.result`` does. ``fault`` says what is wrong with an answer, given the request."""
        kept = self._folder / "kept"
        tail = [order["rate"], order["seconds"]] if "rate" in order else [order["window"], order.get("count", len(self._requests)), order["seconds"]]
        arguments = [
            "pace" if "rate" in order else "flood", self._folder / "packets", order["port"], order["ports"], expected, kept, order["check_every"], *tail,
        ]  # fmt: skip
        done = subprocess.run([self._made, *map(str, arguments)], capture_output=True, text=True, check=True)
        result: dict[str, Any] = json.loads(done.stdout)
        checked, first = 0, ""
        for number, answer in _kept(kept.read_bytes()):
            checked += 1
            first = first or fault(self._requests[number % len(self._requests)], answer)
        return {**result, "checked": checked, "fault": first}

    def close(self) -> None:
        """Remove the packets."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _kept(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        number, size = struct.unpack_from("=IH", data, at)
        yield number, data[at + 6 : at + 6 + size]
        at += 6 + size
