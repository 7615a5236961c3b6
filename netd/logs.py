"""Logging: one line a record, written by a thread of its own, so that a slow terminal or a full pipe never holds up the loop.

Facts go into ``extra``: ``log.info("session ended", extra={"nas": nas.name, "cause": cause})`` becomes ``session ended nas=bras1 cause=idle`` or,
as JSON, members beside ``message``. Tracebacks show code and the exception's text, never the values of variables.
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self, TextIO

import msgspec

from netd.config import LogConfig

QUEUE_RECORDS = 10_000
CLOSE_SECONDS = 2.0
"""How long closing waits for a stream that takes nothing any more."""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Members of a record that are not somebody's ``extra``."""

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
"""A record must stay one line, and text from a peer must not steer the terminal."""

JOURNAL_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (RFC 3339, UTC), level, logger, message, the extras, and exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _encodable(record.getMessage()),
        }
        for name, value in _extras(record):
            line[f"{name}_" if name in line or name == "exception" else name] = _encodable(_plain(value))
        if record.exc_info:
            line["exception"] = _encodable(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = record.stack_info
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except (TypeError, ValueError, RecursionError):  # something nested that JSON has no form for
            return msgspec.json.encode({name: value if isinstance(value, str) else _encodable(repr(value)) for name, value in line.items()}).decode()


class TextFormatter(logging.Formatter):
    """Time, level, logger, message and key=value; a traceback follows, indented. In the journal, which adds the time, each line carries its priority."""

    def __init__(self, *, journal: bool = False) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        words = [] if self._journal else [_time(record), f"{record.levelname:<7}"]
        words += [record.name, _one_line(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in _extras(record)]
        lines = [" ".join(words)]
        if record.exc_info:
            lines += ["    " + _one_line(line) for line in self.formatException(record.exc_info).splitlines()]
        if record.stack_info:
            lines += ["    " + _one_line(line) for line in record.stack_info.splitlines()]
        if self._journal:
            priority = JOURNAL_PRIORITY.get(record.levelno, 6)
            lines = [f"<{priority}>{line}" for line in lines]
        return "\n".join(lines)


class Output(logging.Handler):
    """Formats where the record is made and lets a thread write; records that find the queue full are dropped and counted.

    A context manager; closing it writes what is queued.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter, queue_records: int = QUEUE_RECORDS) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(queue_records)
        self._refused = self._unwritten = self._announced = 0  # each has one writer: the handler's lock, the thread, the thread
        self._thread: threading.Thread | None = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # barrier: a bad log call must not break what it reports on
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._refused += 1

    @property
    def dropped(self) -> int:
        """Records lost since the start: the stream was too slow, or is gone."""
        return self._refused + self._unwritten

    def close(self) -> None:
        """Write what is queued, then end the thread; gives up on a stream that takes nothing for two seconds."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(queue.Full):  # the stream is stuck: the thread dies with the process
                self._lines.put(None, timeout=CLOSE_SECONDS)
                thread.join(CLOSE_SECONDS)
            logging.captureWarnings(False)
        logging.getLogger().removeHandler(self)
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self) -> None:
        for lines in self._batches():
            try:
                self._stream.write("".join(line + "\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # the reader of a pipe went away, or the stream was closed
                self._unwritten += len(lines)

    def _batches(self) -> Iterator[list[str]]:
        """Yield what is queued, as it comes, until closing."""
        last = False
        while not last:
            batch = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while batch[-1] is not None:
                    batch.append(self._lines.get_nowait())
            last = batch[-1] is None
            lines = [line for line in batch if line is not None]
            lost = self.dropped - self._announced
            if lost:
                self._announced += lost
                lines.append(self.format(logging.makeLogRecord(DROPPED | {"records": lost})))
            if lines:
                yield lines


DROPPED = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log records were dropped"}


def setup(config: LogConfig, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Output:
    """Send every logger's records to ``stream``; replaces what an earlier call set up. Close what it returns at the end."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Output)]:
        handler.close()
    output = Output(stream, FORMATTERS[_form(config, stream, environ)]())
    root.addHandler(output)
    root.setLevel(config.level.upper())
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))  # at debug it reports every selector it makes
    logging.getLogger("aiohttp.access").setLevel(root.level if config.level == "debug" else logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(_malformed)
    logging.captureWarnings(True)
    return output


def _malformed(record: logging.LogRecord) -> bool:
    """Whether a record of aiohttp's server is kept, and without what. A request that is no HTTP is told at debug only, for anybody can send them, and never
    with its own text, in which a header's secret may stand (a token with a stray control character)."""
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__module__ != "aiohttp.http_exceptions":
        return True
    record.exc_info, record.exc_text = None, None
    record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}", None
    return logging.getLogger().level <= logging.DEBUG


Form = Literal["console", "journal", "json"]

FORMATTERS: dict[Form, Callable[[], logging.Formatter]] = {
    "console": TextFormatter,
    "journal": lambda: TextFormatter(journal=True),
    "json": JsonFormatter,
}


def _form(config: LogConfig, stream: TextIO, environ: Mapping[str, str]) -> Form:
    if config.format != "auto":
        return config.format
    if stream.isatty():
        return "console"
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):  # not a file at all
        return "json"
    # systemd.exec(5): set by systemd to what it connected; a stream that was redirected since does not match.
    return "journal" if environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}" else "json"


def _extras(record: logging.LogRecord) -> list[tuple[str, object]]:
    return [(name, value) for name, value in vars(record).items() if name not in STANDARD]


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else value


def _encodable(value: object) -> object:
    """Replace lone surrogates (bytes of a peer that were no UTF-8), which no encoder takes."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _one_line(text: str) -> str:
    return str(_encodable(text.translate(CONTROLS)))


def _quoted(value: object) -> str:
    text = _one_line(str(_plain(value)))
    return '"' + text.replace('"', '\\"') + '"' if not text or " " in text or '"' in text or "=" in text else text
