import asyncio
import io
import json
import logging
import os
import threading
import time
import warnings
from ipaddress import ip_address
from typing import Literal

import pytest
from aiohttp import web

from netd.config import LogConfig, Secret
from netd.logs import JsonFormatter, Output, TextFormatter, setup

log = logging.getLogger("netd.test")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """What the run's own database still has to say of an earlier test is not in a test's lines, and a thread is waited for however busy the machine is."""
    monkeypatch.setattr(logging.getLogger("netd.postgres"), "propagate", False)
    monkeypatch.setattr("netd.logs.CLOSE_SECONDS", 60.0)


@pytest.fixture(autouse=True)
def levels():
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)
    assert not [handler for handler in root.handlers if isinstance(handler, Output)]


def written(form: Literal["console", "json"], say, level: Literal["info", "debug"] = "info") -> str:
    stream = io.StringIO()
    with setup(LogConfig(level=level, format=form), stream, {}):
        say()
    return stream.getvalue()


def test_console_line():
    def say():
        log.warning("session %s ended", "abc", extra={"nas": "bras 1", "cause": "idle", "octets": 12, "mac": b"\x01\xff", "empty": "", "quote": 'a"b'})

    time, rest = written("console", say).split(" ", 1)
    assert time.endswith("Z") and len(time) == len("2026-01-01T00:00:00.000Z")
    assert rest == 'WARNING netd.test session abc ended nas="bras 1" cause=idle octets=12 mac=01ff empty="" quote="a\\"b"\n'


def test_json_line():
    line = json.loads(written("json", lambda: log.error("x %d", 1, extra={"nas": "bras1", "address": ip_address("::1"), "level": 3})))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "error", "logger": "netd.test", "message": "x 1", "nas": "bras1", "address": "::1", "level_": 3}


def test_a_peers_text_stays_on_its_line_and_is_harmless():
    text = written("console", lambda: log.info("user %s", "a\nFAKE\x1b[2J\u2028\udcff", extra={"name_": "b\r\n"}))
    assert text.endswith("netd.test user a\\nFAKE\\x1b[2J\\u2028\\udcff name_=b\\r\\n\n")
    assert text.count("\n") == 1
    line = json.loads(written("json", lambda: log.info("a\n\udcff", extra={"who": "\udcff", "odd": {1j: {2}}})))
    assert (line["message"], line["who"]) == ("a\n\\udcff", "\\udcff")
    assert "1j" in line["odd"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_show_no_locals_and_no_secret(form):
    def fail():
        password = "hunter2"
        secret = Secret(password)
        try:
            raise ValueError("went\nwrong")
        except ValueError:
            log.exception("failed", extra={"secret": secret})

    text = written(form, fail)
    assert "hunter2" not in text.replace('password = "hunter2"', "")
    assert "ValueError: went" in text and "in fail" in text and "***" in text
    assert len(text.splitlines()) == 1 or all(line.startswith("    ") for line in text.splitlines()[1:])


def test_levels():
    def say():
        log.debug("hidden")
        log.info("shown")
        logging.getLogger("aiohttp.access").info("hidden")
        logging.getLogger("asyncio").info("hidden")
        warnings.warn("shown", UserWarning, stacklevel=1)

    text = written("console", say)
    assert text.count("shown") >= 2 and "hidden" not in text
    assert "py.warnings" in text

    def debug():
        log.debug("shown")
        logging.getLogger("aiohttp.access").info("shown")
        logging.getLogger("asyncio").debug("hidden")

    text = written("console", debug, "debug")
    assert text.count("shown") == 2 and "hidden" not in text


def formatter_for(stream, environ) -> logging.Formatter | None:
    with setup(LogConfig(), stream, environ) as output:
        return output.formatter


def test_auto_form(tmp_path):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        assert isinstance(formatter_for(terminal, {}), TextFormatter)
    os.close(master)
    with (tmp_path / "log").open("w") as file:
        about = os.fstat(file.fileno())
        journal = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
        assert isinstance(formatter_for(file, {}), JsonFormatter)
        assert isinstance(formatter_for(file, {"JOURNAL_STREAM": "1:2"}), JsonFormatter)
        with setup(LogConfig(), file, journal):
            try:
                raise ValueError("x")
            except ValueError:
                log.exception("failed")
            log.info("fine")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "<3>netd.test failed" and lines[-1] == "<6>netd.test fine"
    assert all(line.startswith("<3>    ") for line in lines[1:-1]) and len(lines) >= 4
    assert isinstance(formatter_for(io.StringIO(), journal), JsonFormatter)


class Stuck(io.StringIO):
    """A terminal that takes nothing until it is released."""

    def __init__(self):
        super().__init__()
        self.reached, self.released = threading.Event(), threading.Event()

    def write(self, text):
        self.reached.set()
        self.released.wait()
        return super().write(text)


def test_a_stuck_stream_delays_nobody_and_what_is_lost_is_counted():
    stream = Stuck()
    output = Output(stream, TextFormatter(journal=True), queue_records=10)
    record = logging.makeLogRecord({"name": "x", "msg": "m", "levelno": logging.INFO, "levelname": "INFO"})
    output.handle(record)
    assert stream.reached.wait(60)
    for _ in range(99):  # for ever, if the stream were waited for
        output.handle(record)
    assert output.dropped == 89  # ten are in the queue, one is in the thread's hands
    stream.released.set()
    while "dropped" not in stream.getvalue():
        time.sleep(0.001)
    output.handle(record)
    output.close()
    assert stream.getvalue().splitlines() == [*["<6>x m"] * 11, "<4>netd.logs log records were dropped records=89", "<6>x m"]


def test_closing_gives_up_on_a_stuck_stream(monkeypatch):
    monkeypatch.setattr("netd.logs.CLOSE_SECONDS", 0.05)
    stream = Stuck()
    output = Output(stream, TextFormatter(), queue_records=1)
    for _ in range(5):
        output.handle(logging.makeLogRecord({"name": "x", "msg": "m"}))
    output.close()
    assert stream.getvalue() == ""
    stream.released.set()


class Gone(io.StringIO):
    """A pipe whose reader went away, for a while."""

    gone = True

    def write(self, text):
        if self.gone:
            raise BrokenPipeError
        return super().write(text)


def test_a_reader_that_went_away_ends_nothing():
    stream = Gone()
    with setup(LogConfig(format="console"), stream, {}) as output:
        log.info("one")
        while not output.dropped:
            time.sleep(0.001)
        stream.gone = False
        log.info("two")
    assert output.dropped == 1
    first, second = stream.getvalue().splitlines()
    assert first.endswith("netd.test two") and second.endswith("records=1")


def test_a_bad_call_is_reported_and_breaks_nothing(capsys):
    stream = io.StringIO()
    with Output(stream, TextFormatter()) as output:
        output.handle(logging.makeLogRecord({"name": "x", "msg": "%d", "args": ("x",)}))
        output.handle(logging.makeLogRecord({"name": "x", "msg": "after"}))
    assert "after" in stream.getvalue()
    assert "Logging error" in capsys.readouterr().err


def test_setup_replaces_what_was_set_up():
    first, second = io.StringIO(), io.StringIO()
    setup(LogConfig(format="console"), first, {})
    with setup(LogConfig(format="console"), second, {}):
        log.info("x")
    assert first.getvalue() == "" and second.getvalue().count("x") == 1


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
async def test_a_malformed_request_fills_no_log_and_shows_no_secret(level: Literal["info", "debug"], lines: int):
    """aiohttp would log each with a traceback, and the line of the header at fault in it."""
    stream = io.StringIO()
    with setup(LogConfig(level=level, format="console"), stream, {}):
        runner = web.AppRunner(web.Application(), access_log=None, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\x01\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await runner.cleanup()
    written = stream.getvalue()
    assert "canary" not in written and "Traceback" not in written
    assert written.count("Error handling request") == lines == written.count("DEBUG   aiohttp.server")
