"""The fuzzer itself: it runs through every codec, and a codec that misbehaves makes it fail."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("FUZZ_SECONDS", "0")
    monkeypatch.setenv("FUZZ_ROUNDS", "200")
    monkeypatch.setenv("FUZZ_SEED", "1")
    spec = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).with_name("run.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_accepts_some_of_everything(run: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main() == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 12
    assert all(int(line.split()[-2]) > 0 for line in lines)


def test_it_fails_on_the_wrong_error(run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "feed_password", lambda call: int("x"))
    assert run.main() == 1
    assert "passwords: a fault with FUZZ_SEED=1" in capsys.readouterr().out
