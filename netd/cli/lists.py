"""Listing: one page, or as many as it takes."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netd.cli import output
from netd.cli.client import Client

PAGE_ROWS = 1000


def show_list(
    client: Client, path: str, arguments: argparse.Namespace, header: Sequence[str], row: Callable[[dict[str, Any]], Sequence[object]],
    none: str = "there are none", usual: Mapping[str, object] | None = None, **query: object,
) -> int:  # fmt: skip
    """Print a list; says on standard error if there is more of it, or ``none`` if there is nothing. ``usual`` conditions hold when nobody asks otherwise."""
    narrowed = any(value is not None for name, value in query.items() if name != "sort")
    query = {**(usual or {}), **query}
    if not arguments.all and arguments.limit <= PAGE_ROWS:
        page = client.get(path, limit=arguments.limit, **query)
        items, more = page.value["items"], page.value["next"]
        raw = page.raw
    else:
        items, more = _gathered(client, path, None if arguments.all else arguments.limit, query)
        raw = json.dumps({"items": items, "next": more}, separators=(",", ":"), ensure_ascii=False).encode()
    if arguments.json:
        output.print_json(raw)
        return 0
    if not items:
        print("netd: " + ("nothing fits what was asked for" if narrowed else none), file=sys.stderr)
        return 0
    output.print_table([row(item) for item in items], header)
    if more:
        print(f"netd: only the first {len(items)} are shown: --all or --limit shows more", file=sys.stderr)
    return 0


def _gathered(client: Client, path: str, wanted: int | None, query: Mapping[str, object]) -> tuple[list[dict[str, Any]], str | None]:
    """Rows page by page, ``wanted`` of them or all, and where the next ones begin."""
    items: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        limit = PAGE_ROWS if wanted is None else min(PAGE_ROWS, wanted - len(items))
        page = client.get(path, **query, limit=limit, after=after).value
        items += page["items"]
        after = page["next"]
        if after is None or len(items) == wanted:
            return items, after
