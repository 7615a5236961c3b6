"""JSON over the HTTP client, as the log-in through an OpenID provider needs it: no redirects, bounded in time and size."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import aiohttp
import msgspec

from netd.device.http import Client, Reply
from netd.errors import PeerError

SECONDS: Final = 10.0
MOST_OCTETS: Final = 1 << 20
NAME: Final = "oidc"
"""The provider's name among the integrations: its breaker, its metrics, its part of /health."""


class HttpFetch:
    """Asks the provider. Addresses come from its own description, so they are not guarded as webhooks' are."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get_json(self, url: str) -> Any:
        """What a GET answers with 200. Raises PeerError."""
        reply = await self._client.call(NAME, "GET", url, headers=_ACCEPT, deadline_seconds=SECONDS, most_octets=MOST_OCTETS)
        if reply.status != 200:
            raise PeerError(f"{url} answered {reply.status}")
        return _json(url, reply)

    async def post_form(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> tuple[int, Any]:
        """Status and body of the answer to a form. Raises PeerError."""
        headers = {**_ACCEPT, "Content-Type": "application/x-www-form-urlencoded"}
        if basic is not None:  # RFC 6749 section 2.3.1: both parts are form-encoded before they become Basic's
            headers["Authorization"] = aiohttp.encode_basic_auth(quote_plus(basic[0]), quote_plus(basic[1]))
        body = urlencode(form).encode()
        reply = await self._client.call(NAME, "POST", url, headers=headers, body=body, deadline_seconds=SECONDS, most_octets=MOST_OCTETS)
        return reply.status, _json(url, reply)


_ACCEPT: Final = {"Accept": "application/json"}


def _json(url: str, reply: Reply) -> Any:
    try:
        return msgspec.json.decode(reply.body) if reply.body else None
    except msgspec.DecodeError:
        raise PeerError(f"{url} did not answer in JSON") from None
