"""Idempotency keys: what was answered to a request that may be sent again."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from netd.store.database import Connection
from netd.store.rows import updated

KEPT = timedelta(hours=24)
"""How long a key is remembered."""


class Known(NamedTuple):
    """A request of before. ``status`` is None while it is in work, or if its answer was lost; ``age_seconds`` tells which."""

    fingerprint: bytes
    status: int | None
    headers: dict[str, str]
    body: bytes
    age_seconds: float


async def find(conn: Connection, tenant_id: int, token_id: int, key: str) -> Known | None:
    """The request that this token sent with this key; older than KEPT counts as never."""
    record = await conn.fetchrow(
        """select fingerprint, status, headers, body, extract(epoch from now() - created_at)::float8 as age from idempotency_keys
           where tenant_id = $1 and token_id = $2 and key = $3 and created_at > now() - $4::interval""", tenant_id, token_id, key, KEPT,
    )  # fmt: skip
    return None if record is None else Known(record["fingerprint"], record["status"], record["headers"] or {}, record["body"] or b"", record["age"])


async def answered(
    conn: Connection, tenant_id: int, token_id: int, key: str, request_id: str, *, status: int, headers: Mapping[str, Any], body: bytes,
) -> bool:  # fmt: skip
    """Keep the answer, ``body`` sealed; False if the request has written nothing that could be repeated."""
    return updated(await conn.execute(
        """update idempotency_keys set status = $5, headers = $6, body = $7 where tenant_id = $1 and token_id = $2 and key = $3 and request_id = $4""",
        tenant_id, token_id, key, request_id, status, dict(headers), body,
    )) > 0  # fmt: skip


async def forget(conn: Connection, tenant_id: int, token_id: int, key: str, request_id: str) -> None:
    """The request did not do its work: it may be sent again with the same key."""
    await conn.execute(
        "delete from idempotency_keys where tenant_id = $1 and token_id = $2 and key = $3 and request_id = $4 and status is null",
        tenant_id, token_id, key, request_id,
    )  # fmt: skip
