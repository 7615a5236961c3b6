"""An exception that is raised from a local name lives as long as its traceback's frame, and the frame as long as the exception."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHORT_LIVED = ("netd/cli/", "netd/demo/")
DAEMON = [
    path for folder in ("netd", "vendors", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(SHORT_LIVED)
]  # fmt: skip
NAMED = re.compile(r"^ +raise [a-z_]+(?: from|$)", re.MULTILINE)


def kept(function: ast.AST) -> Iterator[int]:
    """Lines that raise what a name of the function keeps: neither a handler's, which Python forgets, nor one that is deleted."""
    nodes = list(ast.walk(function))
    forgotten = {node.name for node in nodes if isinstance(node, ast.ExceptHandler)}
    forgotten |= {name.id for node in nodes if isinstance(node, ast.Delete) for name in node.targets if isinstance(name, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id.islower() and node.exc.id not in forgotten:
            yield node.lineno


def faults(source: str) -> list[int]:
    if not NAMED.search(source):  # as nearly everywhere, and a parse takes its time
        return []
    return sorted({line for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for line in kept(node)})


def test_no_error_keeps_itself_alive() -> None:
    assert len(DAEMON) > 300
    found = [f"{path.relative_to(ROOT)}:{line}" for path in DAEMON for line in faults(path.read_text(encoding="utf-8"))]
    assert not found, "try: raise …; finally: del …"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f(x):\n error = made(x)\n raise error", [3]),
        ("def f(error):\n raise error from None", [2]),
        ("def f(error):\n try:\n  raise error\n finally:\n  del error", []),
        ("def f():\n try:\n  g()\n except OSError as error:\n  raise error", []),
        ("def f():\n raise Trouble", []),
    ],
)
def test_what_counts_as_kept(source: str, lines: list[int]) -> None:
    assert faults(source) == lines
