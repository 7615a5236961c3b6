"""PostgreSQL's stderr, line by line, into netd's own log."""

import logging
import re
import time
from collections import deque

LINE_PREFIX = "%b[%p] "  # what netd.store.embedded sets as log_line_prefix: backend type and process
_LINE = re.compile(r"(?P<backend>[\w ]+)\[(?P<pid>\d+)\] (?P<severity>[A-Z]+\d?):  (?P<text>.*)")
_LONGEST_LINE = 8192
_LEVELS = {
    "LOG": logging.INFO,
    "INFO": logging.INFO,
    "NOTICE": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.ERROR,
    "PANIC": logging.CRITICAL,
}


class ServerLog:
    """Takes stderr as it comes; writes whole lines to ``log`` and remembers the last ones for an error message.

    ``progress_at`` is the monotonic time of the last line that a server at work wrote: recovery that goes on is not a hang.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._rest = b""
        self._level = logging.INFO
        self.last: deque[str] = deque(maxlen=8)
        self.progress_at = time.monotonic()

    def feed(self, chunk: bytes) -> None:
        """Take a piece of stderr."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._line(line[:_LONGEST_LINE].decode(errors="replace").rstrip())

    def _line(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            # A continuation, or the loader speaking before the server does.
            if line:
                self.last.append(line.strip())
                self._log.log(self._level, "%s", line.strip())
            return
        self._level = level_of(match["severity"], match["backend"])
        if self._level >= logging.INFO:
            self.progress_at = time.monotonic()
        self.last.append(f"{match['severity']}: {match['text']}")
        self._log.log(self._level, "%s: %s", match["backend"], match["text"])


def level_of(severity: str, backend: str) -> int:
    """logging's level for PostgreSQL's severity. What a client is told anyway is debug: whoever sent the statement reports it."""
    if backend == "client backend" and severity in ("ERROR", "FATAL"):
        return logging.DEBUG
    if severity.startswith("DEBUG"):
        return logging.DEBUG
    return _LEVELS.get(severity, logging.INFO)
