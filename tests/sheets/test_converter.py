"""XLSX and PDF through the child process: what comes out, what is refused, and that no child outlives its work."""

import asyncio
import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from netd.errors import ConversionFailed, InvalidInput, TooOften
from netd.sheets import converter as module
from netd.sheets.converter import Cell, Converter
from tests.clock import skipping
from tests.sheets.pdf import text_of

NOW = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


async def parts(*rows: Sequence[Cell]) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    yield rows


async def rows_of(data: bytes, converter: Converter | None = None) -> list[tuple[int, list[str], dict[str, str]]]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        async with (converter or Converter()).reading(file) as rows:
            return list(rows)


async def refusal(data: bytes, converter: Converter | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        await rows_of(data, converter)
    (fault,) = caught.value.faults
    return fault.what


def workbook(fill: Callable[[Any], object]) -> bytes:
    book = Workbook()
    fill(book.active)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def changed(data: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with one of its parts replaced."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == part else old.read(name))
    return file.getvalue()


async def test_what_is_written_is_read_again():
    texts: list[str] = ["=1+1", "#N/A", "a\rb\n\tc", "_x000D_ _x00e9_ _", "\uffff\x01\x1f", " x ", "007", "1e5", "é\U0001f600", "x" * 32_767]
    rows: list[list[Cell]] = [[text, 5] for text in texts]
    converter = Converter()
    file = await converter.write("xlsx", ["name", "=b"], parts(*rows, [None, 1 << 60], ["", None]), title="T", made_at=NOW)
    data = file.read()
    found = await rows_of(data, converter)
    assert found == [(1, ["name", "=b"], {}), *((place, [text, "5"], {}) for place, text in enumerate(texts, 2)), (12, ["", str(1 << 60)], {})]
    sheet = load_workbook(io.BytesIO(data)).worksheets[0]
    assert (sheet.title, sheet.freeze_panes, sheet["B2"].value, sheet["A2"].data_type) == ("T", "A2", 5, "s")


def shared_strings(prefix: bytes = b"") -> bytes:
    """A workbook with its texts apart, as Excel writes it."""
    kind = b'<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
    data = workbook(lambda sheet: sheet.append(["here"]))
    data = changed(data, "[Content_Types].xml", lambda xml: xml.replace(b"</Types>", kind))
    row = b'<row r="1"><c r="A1" t="s"><v>1</v></c><c r="C1" t="s"><v>0</v></c></row>'
    data = changed(data, "xl/worksheets/sheet1.xml", lambda xml: re.sub(rb"<row .*</row>", row, xml))
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        space = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        archive.writestr(
            "xl/sharedStrings.xml", prefix + b"<sst " + space + b"><si><t>one</t></si><si><r><t>tw</t></r><r><t>o_x000D__xD800_</t></r></si></sst>"
        )
    return file.getvalue()


async def test_texts_that_stand_apart():
    assert await rows_of(shared_strings()) == [(1, ["two\r_xD800_", "", "one"], {})]


async def test_cells_of_every_kind_are_read_as_text():
    def fill(sheet: Any) -> None:
        sheet.append(["a", "b", "c", "d", "e", "f", None, None])
        sheet.append([1, 2.0, 2.5, True, datetime(2027, 1, 31), datetime(2027, 1, 31, 10, 30)])
        sheet.append([None, None, "x", None, None, None])
        sheet["A6"] = "=1+1"
        sheet["B6"] = "#REF!"
        sheet["I6"] = "too far"

    assert await rows_of(workbook(fill)) == [
        (1, ["a", "b", "c", "d", "e", "f"], {}), (2, ["1", "2", "2.5", "yes", "2027-01-31", "2027-01-31T10:30:00Z"], {}), (3, ["", "", "x", "", "", ""], {}),
        (6, ["=1+1", "#REF!", "", "", "", "", "", "", "too far"],
         {"0": "is a formula; put the value itself there (copy, paste as values)", "1": "is the error #REF! of a formula"}),
    ]  # fmt: skip


def bomb() -> bytes:
    """A workbook whose worksheet unpacks to 600 MiB, as its directory says."""
    data = bytearray(workbook(lambda sheet: None))
    name = b"xl/worksheets/sheet1.xml"
    local = data.index(name) - 30
    central = data.rindex(b"PK\1\2", 0, data.rindex(name))
    for at in (local + 22, central + 24):
        data[at : at + 4] = (600 << 20).to_bytes(4, "little")
    return bytes(data)


ENTITIES = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(("data", "told"), [
    (b"", "not an XLSX file, or a broken one"), (b"PK\x03\x04 but no more", "not an XLSX file, or a broken one"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, "is an .xls file or has a password"),
    (workbook(lambda sheet: None)[:-30], "not an XLSX file, or a broken one"), (bomb(), "unpacks to 600 MiB"),
    (changed(workbook(lambda sheet: None), "xl/worksheets/sheet1.xml", lambda xml: ENTITIES + xml), "declares XML entities"),
    (changed(workbook(lambda sheet: sheet.append(["x"])), "xl/worksheets/sheet1.xml", lambda xml: xml[:-40]), "not an XLSX file, or a broken one"),
    (changed(workbook(lambda sheet: None), "xl/workbook.xml", lambda xml: ENTITIES + xml), "declares XML entities"),
    (shared_strings(ENTITIES), "declares XML entities"),
    (workbook(lambda sheet: sheet.cell(1, 300, "x")), "256 columns"),
], ids=["empty", "broken", "xls", "truncated", "bomb", "entities", "xml", "book", "strings", "wide"])  # fmt: skip
async def test_files_that_are_refused(data, told):
    assert told in await refusal(data)


async def test_a_zip_archive_of_something_else():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert await refusal(file.getvalue()) == "is a zip archive, but not an XLSX file"


async def test_what_a_cell_does_not_hold_is_said():
    with pytest.raises(InvalidInput, match="row 2, column b: longer than the 32767 characters"):
        await Converter().write("xlsx", ["a", "b"], parts(["x", "y" * 32_768]), title="T", made_at=NOW)


async def test_time_is_limited():
    converter = Converter(seconds=0.0)
    assert await refusal(workbook(lambda sheet: None), converter) == "takes longer than 0 s; split it, or take CSV"


async def test_waiting_for_rows_is_not_in_that_time():
    """They wait for the database, or for their turn, which is no fault of the table's."""
    with skipping() as clock:

        async def slow() -> AsyncIterator[Sequence[Sequence[Cell]]]:
            yield [["one"]]
            clock.skip(1000)
            await asyncio.sleep(0.1)
            yield [["two"]]

        (await Converter(seconds=100).write("xlsx", ["a"], slow(), title="T", made_at=NOW)).close()

        async def quick() -> AsyncIterator[Sequence[Sequence[Cell]]]:
            yield [["one"]]
            asyncio.get_running_loop().call_soon(clock.skip, 1000)  # once the child has it
            yield [["two"]] * 100_000

        with pytest.raises(InvalidInput, match="takes longer than 100 s"):
            await Converter(seconds=100).write("xlsx", ["a"], quick(), title="T", made_at=NOW)


async def test_rows_that_fail_leave_no_file_and_no_child():
    async def failing() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield [["x"]]
        raise KeyError("the database went away")

    before = children()
    with pytest.raises(KeyError):
        await Converter().write("xlsx", ["a"], failing(), title="T", made_at=NOW)
    assert not children() - before


async def test_a_child_that_dies_is_no_end_of_the_file(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(ConversionFailed, match="before the file did"):
        await rows_of(b"PK")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConversionFailed, match="ended with 1"):
        await rows_of(b"PK")


async def test_only_so_many_wait(monkeypatch):
    monkeypatch.setattr(module, "WAITING", 1)
    converter = Converter(at_once=1)
    started, go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        started.set()
        await go.wait()
        yield [["x"]]

    async def write(rows: AsyncIterator[Sequence[Sequence[Cell]]]) -> bytes:
        with await converter.write("xlsx", ["a"], rows, title="T", made_at=NOW) as file:
            return file.read()

    first = asyncio.create_task(write(slow()))
    await started.wait()
    second = asyncio.create_task(write(parts(["y"])))
    while not converter._waiting:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    with pytest.raises(TooOften):
        await write(parts(["z"]))
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second
    go.set()
    assert (await first).startswith(b"PK")


def test_memory_is_limited():
    text = b"<row r='1'><c r='A1' t='inlineStr'><is><t>" + b"x" * (64 << 20) + b"</t></is></c></row>"
    data = changed(workbook(lambda sheet: sheet.append(["x"])), "xl/worksheets/sheet1.xml", lambda xml: re.sub(rb"<row .*</row>", lambda _: text, xml))
    code = "import sys; from netd.sheets import limits, __main__; limits.MEMORY_OCTETS = 120 << 20; sys.exit(__main__.main('read'))"
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        ended = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (3, b"needs more memory than a table may; split it, or save it as CSV")


def test_processor_time_is_limited():
    code = "from netd.sheets import limits; limits.CPU_SECONDS = 1; limits.confine()\nwhile True: pass"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGXCPU


async def test_a_child_that_takes_too_long_is_told_from_one_that_fails(monkeypatch, tmp_path):
    for number, told in ((signal.SIGXCPU, "takes longer than a spreadsheet may"), (signal.SIGKILL, "ended with -9")):
        program = tmp_path / number.name
        program.write_text(f"#!/bin/sh\nkill -{number.value} $$\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        with pytest.raises((InvalidInput, ConversionFailed), match=told):
            await rows_of(b"PK")


def test_a_child_does_not_outlive_its_parent():
    """Its parent is killed while it waits for rows, with a writing end of the pipe still open elsewhere."""
    kept, given = os.pipe()
    code = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-m', 'netd.sheets', 'xlsx'], stdin={kept}).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=(kept, given)) as parent:
        assert parent.stdout is not None
        death = os.pidfd_open(int(parent.stdout.readline()))
        with open(given, "wb", closefd=False) as rows:
            rows.write(b'{"title": "T", "columns": ["a"]}\n' + b'["x"]\n' * 50_000)  # more than a pipe holds: it is read
        parent.kill()
    assert select.select([death], [], [], 60)[0]
    for each in (kept, given, death):
        os.close(each)


def test_a_child_whose_parent_died_before_it_began():
    child = subprocess.run([sys.executable, "-m", "netd.sheets", "read", str(os.getppid())], stdin=subprocess.DEVNULL, check=False)
    assert child.returncode == -signal.SIGKILL


async def test_the_child_knows_no_secret_of_the_daemons():
    passed = module._environment({"PATH": "/bin", "NETD_DATABASE__URL": "postgresql://x:secret@y/", "LANG": "C.UTF-8", "AWX_TOKEN": "t"})
    assert passed == {"PATH": "/bin", "LANG": "C.UTF-8"}


async def test_pdf():
    rows: list[list[Cell]] = [["Glasfaser Größe é", 5, number] for number in range(150)]
    with await Converter().write("pdf", ["plan", "count", "n"], parts(*rows), title="Subscribers", subtitle="today", made_at=NOW) as file:
        data = file.read()
    assert data.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b(?!s)", data)) == 4
    text = text_of(data)
    assert text.count("(Subscribers)") == 4
    assert text.count("(Glasfaser Größe é)") == 150
    assert text.count("(149)") == 1


async def test_a_pdf_has_an_end():
    with pytest.raises(InvalidInput, match="too many for paper"):
        await Converter().write("pdf", ["n"], parts(*([number] for number in range(20_001))), title="T", made_at=NOW)


def children() -> set[str]:
    """Processes whose parent this one is."""
    own = os.getpid()
    return set(Path(f"/proc/{own}/task/{own}/children").read_text().split())
