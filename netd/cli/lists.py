"""Listing: one page, or all of them."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from netd.cli import output
from netd.cli.client import Client

PAGE_ROWS = 1000


def show_list(
    client: Client, path: str, arguments: argparse.Namespace, header: Sequence[str], row: Callable[[dict[str, Any]], Sequence[object]], **query: object
) -> int:
    """Print a list; says on standard error if there is more of it."""
    if not arguments.all:
        page = client.get(path, limit=arguments.limit, **query)
        if arguments.json:
            output.print_json(page.raw)
            return 0
        items = page.value["items"]
        output.print_table([row(item) for item in items], header)
        if page.value["next"]:
            print(f"netd: only the first {len(items)} are shown: --all or --limit shows more", file=sys.stderr)
        return 0
    items = [item for page in client.pages(path, limit=PAGE_ROWS, **query) for item in page.value["items"]]
    if arguments.json:
        output.print_json(json.dumps({"items": items, "next": None}, separators=(",", ":"), ensure_ascii=False).encode())
    else:
        output.print_table([row(item) for item in items], header)
    return 0
