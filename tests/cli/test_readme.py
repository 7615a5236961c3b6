"""Every command that README.md shows is one, with the options that it shows."""

import io
import re
import shlex
from pathlib import Path

import pytest

from netd.cli import MODULES, files, parser

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
INLINE = [text.replace("\n", " ") for text in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))]
PLACES = {"ID": "1", "N": "1"}


def commands(lines: list[str]) -> list[list[str]]:
    """What is typed after ``netd``, up to what the shell takes."""
    found: list[list[str]] = []
    for line in lines:
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        words.commenters = "#"
        given: list[str] | None = None
        begins = True
        for word in words:
            if begins and word in ("netd", ".venv/bin/netd"):
                found.append(given := [])
            elif begins := bool(word) and set(word) <= set(";|&<>()"):
                given = None
            elif given is not None:
                given.append(PLACES.get(word, word))
            begins = begins and word not in ("netd", ".venv/bin/netd")
    return found


SHOWN = commands([line for line in BLOCKS.splitlines() if "$(netd" not in line])
SAID = commands([text for text in INLINE if text.startswith("netd ") and "…" not in text])


def test_the_readme_shows_commands():
    assert len(SHOWN) > 150 and len(SAID) > 40


def test_each_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(files, "text", lambda path: "{}")
    known = {name: parser(name) for name in ("", *MODULES)}
    wrong = []
    for given in (*SHOWN, *SAID):
        monkeypatch.setattr("sys.stdin", io.StringIO("secret\n" * 5))
        if given in SAID and len(given) <= 2:
            given = [*given, "--help"]  # its name stands for it, without what it is given
        try:
            _, unknown = known[given[0] if given and given[0] in MODULES else ""].parse_known_args(given)
        except SystemExit as end:
            unknown = [capsys.readouterr().err] if end.code else []
        if unknown:
            wrong.append((given, unknown))
    assert not wrong
