"""The child: ``python -m netd.sheets read PARENT`` (an XLSX file on standard input, its rows on standard output) and ``xlsx`` or ``pdf``, the other way round.

Exit codes: 0 done; 3 the file is refused, the reason stands on standard error. Everything else is a defect, or a limit that was reached.
"""

import errno
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from netd.sheets.limits import Refused, confine

REFUSED = 3


def main(what: str, parent: int | None = None) -> int:
    """Do one thing with one file, for the process ``parent``."""
    confine(parent)
    try:
        if what == "read":
            _read(sys.stdin.buffer, sys.stdout.buffer)
        else:
            _write(what, sys.stdin.buffer, sys.stdout.buffer)
    except Refused as error:
        sys.stderr.write(str(error))
        return REFUSED
    except MemoryError:
        sys.stderr.write("needs more memory than a table may; take CSV")
        return REFUSED
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        sys.stderr.write("is larger than a table may be; split it")
        return REFUSED
    return 0


def _read(file: Any, to: BinaryIO) -> None:
    from netd.sheets.xlsx import read

    for number, texts, faults in read(file):
        to.write(json.dumps((number, texts, faults)).encode() + b"\n")
    to.write(b"null\n")  # the end: whatever stops before it is not the whole file
    to.flush()


def _write(what: str, source: BinaryIO, to: BinaryIO) -> None:
    head = json.loads(source.readline())
    if what == "pdf":
        from netd.sheets import pdf

        pdf.write(to, head["title"], head["subtitle"], head["columns"], _rows(source), datetime.fromisoformat(head["made_at"]))
    else:
        from netd.sheets import xlsx

        with tempfile.TemporaryFile() as file:  # whole before it is given away, and zip files are not written in order
            xlsx.write(file, head["title"], head["columns"], _rows(source))
            file.seek(0)
            while chunk := file.read(1 << 16):
                to.write(chunk)
    to.flush()


def _rows(source: BinaryIO) -> Iterator[list[str | int | float | None]]:
    """Up to the end mark: if it is missing, who sends them failed, and nothing is to be made of a part."""
    for line in source:
        row = json.loads(line)
        if row is None:
            return
        yield row
    raise EOFError("the rows end too early")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
