"""What one spreadsheet may cost, and what is looked at before it is opened."""

import ctypes
import os
import resource
import signal
import zipfile
from typing import BinaryIO, Final

MEMORY_OCTETS: Final = 1 << 30
CPU_SECONDS: Final = 300
FILE_OCTETS: Final = 2 << 30  # of what is written
UNPACKED_OCTETS: Final = 512 << 20
PARTS: Final = 1000
ROWS: Final = 1_048_576  # what a spreadsheet holds
COLUMNS: Final = 256
CELL_CHARACTERS: Final = 32_767  # what a cell of Excel's holds
PRINTED_ROWS: Final = 20_000

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 5
_OLD = b"\xd0\xcf\x11\xe0"


class Refused(Exception):
    """The file is not taken; the text says why, for whoever sent it."""


def confine(parent: int | None = None) -> None:
    """Limit this process: what it may use of memory, processor and disk, no core with somebody's data in it, and no life without its parent, which may have
    died before this."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_OCTETS), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_FSIZE, FILE_OCTETS), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        _, hard = resource.getrlimit(what)
        # The hard limit of processor time a little later: there the kernel kills, before it sends SIGXCPU, which says why.
        later = most + _GRACE_SECONDS if what == resource.RLIMIT_CPU else most
        highest = later if hard == resource.RLIM_INFINITY else min(later, hard)
        resource.setrlimit(what, (min(most, highest), highest))


def look_inside(file: BinaryIO) -> None:
    """Raise Refused for what is no XLSX file, and for one that unpacks to more than anybody's table is.

    A part never unpacks to more than the directory says, which is what is added up here: zipfile reads no further.
    """
    if file.read(4) == _OLD:
        raise Refused("is an .xls file or has a password; save it as .xlsx without one")
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, OSError) as error:
        raise Refused(f"is not an XLSX file, or a broken one ({_first(error)})") from None
    unpacked = sum(part.file_size for part in parts)
    if unpacked > UNPACKED_OCTETS or len(parts) > PARTS:
        raise Refused(f"unpacks to {unpacked >> 20} MiB in {len(parts)} parts; {UNPACKED_OCTETS >> 20} MiB and {PARTS} parts are the most")
    if any(part.flag_bits & 1 for part in parts):
        raise Refused("has a password; save it without one")
    if "[Content_Types].xml" not in {part.filename for part in parts}:
        raise Refused("is a zip archive, but not an XLSX file")
    file.seek(0)


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
