"""The HTTP client for the OpenID provider: no redirects, bounded in time and size."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import msgspec

from netd.errors import PeerError

SECONDS: Final = 10.0
MOST_OCTETS: Final = 1 << 20


class HttpFetch:
    """Each call is a connection of its own: log-ins are rare."""

    async def get_json(self, url: str) -> Any:
        """What a GET answers with 200. Raises PeerError."""
        status, value = await self._call("GET", url, {})
        if status != 200:
            raise PeerError(f"{url} answered {status}")
        return value

    async def post_form(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> tuple[int, Any]:
        """Status and body of the answer to a form. Raises PeerError."""
        # RFC 6749 section 2.3.1: both parts are form-encoded before they become Basic's
        headers = {} if basic is None else {"Authorization": aiohttp.encode_basic_auth(quote_plus(basic[0]), quote_plus(basic[1]))}
        return await self._call("POST", url, headers, data=dict(form))

    async def _call(self, method: str, url: str, headers: Mapping[str, str], **more: Any) -> tuple[int, Any]:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        headers = {"Accept": "application/json", **headers}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.request(method, url, headers=headers, allow_redirects=False, **more) as response,
            ):
                body = bytearray()
                async for chunk in response.content.iter_chunked(65536):
                    body += chunk
                    if len(body) > MOST_OCTETS:
                        raise PeerError(f"{url} answered more than {MOST_OCTETS >> 20} MiB")
                return response.status, msgspec.json.decode(bytes(body)) if body else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise PeerError(f"{url} did not answer as it should: {type(error).__name__}") from error
