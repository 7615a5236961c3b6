"""The control API of the daemon that this process runs, as a client over HTTP: what the demonstration does with netd, anybody could do."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from netd.device.http import Client
from netd.errors import PeerError

DEADLINE_SECONDS: Final = 60.0
BAD: Final = 400


class Api:
    """``url`` is without a path."""

    def __init__(self, client: Client, url: str, token: str) -> None:
        self._client = client
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request; what was answered. Raises PeerError with what the API says is wrong."""
        content = None if body is None else msgspec.json.encode(body)
        reply = await self._client.call(
            "demo", method, f"{self._url}/api/v1{path}", headers=self._headers, body=content, deadline_seconds=DEADLINE_SECONDS
        )  # fmt: skip
        said: Any = msgspec.json.decode(reply.body) if reply.body else {}
        if reply.status >= BAD:
            faults = "; ".join(f"{each['pointer']}: {each['detail']}" for each in said.get("errors", ()))
            raise PeerError(f"{method} {path}: {faults or said.get('detail') or reply.status}")
        return said

    async def get(self, path: str) -> Any:
        """GET."""
        return await self.call("GET", path)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST."""
        return await self.call("POST", path, body)

    async def find(self, path: str, **wanted: str) -> Any:
        """The only object of a list with these members; None if there is none."""
        items = (await self.get(f"{path}?{urlencode(wanted)}"))["items"]
        return items[0] if items else None

    async def ensure(self, path: str, body: Mapping[str, Any], key: str = "name") -> tuple[Any, bool]:
        """The object of that name, made if there is none; and whether it was made now. One that is there stays as it is."""
        found = await self.find(path, **{key: body[key]})
        return (found, False) if found is not None else (await self.post(path, body), True)
