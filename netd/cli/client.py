"""A thin client of the daemon's API: standard library only, because an operator waits for every import."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

SECONDS = 120.0
BULK_SECONDS = 1800.0  # a hundred thousand subscribers take a minute
DOWNLOAD_OCTETS = 1 << 16
REFUSED = 1
USAGE = 2
UNREACHABLE = 3
BAD_INPUT = (400, 413, 415, 422)


class CliError(Exception):
    """What the operator is told in one line, and the exit code: 1 refused or failed, 2 bad input, 3 no daemon."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code


class ApiError(CliError):
    """The API's problem document."""

    def __init__(self, status: int, problem: Mapping[str, Any], raw: bytes) -> None:
        super().__init__(_problem_text(status, problem), USAGE if status in BAD_INPUT else REFUSED)
        self.status = status
        self.problem = problem
        self.raw = raw

    def told(self, options: Mapping[str, str]) -> str:
        """The same with members called as the command's options that they come from."""
        return _problem_text(self.status, self.problem, options)


def _problem_text(status: int, problem: Mapping[str, Any], options: Mapping[str, str] = MappingProxyType({})) -> str:
    faults = []
    for fault in problem.get("errors", ()):
        where = fault["pointer"].lstrip("/")
        faults.append(f"{options.get(where, where) or 'body'}: {fault['detail']}")
    text = "; ".join(faults) or str(problem.get("detail") or problem.get("title") or f"the daemon answered {status}")
    return f"{text} (request {problem['request_id']})" if status >= 500 and "request_id" in problem else text


class Reply(NamedTuple):
    """What the API said: the decoded value and its very octets."""

    value: Any
    raw: bytes


class Client:
    """Calls one daemon. ``url`` has no path; ``token`` is sent as bearer token."""

    def __init__(self, url: str, token: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            if not host or parts.scheme not in ("http", "https"):
                raise ValueError(url)
        except ValueError:
            raise CliError(f"{url} is not the URL of a netd daemon (http://HOST:PORT)", USAGE) from None
        if not (token.isascii() and token.isprintable()):
            raise CliError("the token has characters that no token has", USAGE)
        import http.client  # takes longer than all the rest, and not every command asks the daemon

        self.url = url
        self._token = token
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=SECONDS)
        self._prefix = parts.path.rstrip("/") + "/api/v1"

    def get(self, path: str, **query: object) -> Reply:
        """GET; query values None are left out."""
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """POST a JSON body."""
        return self.call("POST", path, body=body or {})

    def patch(self, path: str, body: Mapping[str, Any]) -> Reply:
        """PATCH a JSON body."""
        return self.call("PATCH", path, body=body)

    def delete(self, path: str) -> Reply:
        """DELETE."""
        return self.call("DELETE", path)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        upload: tuple[str, IO[bytes]] | None = None,
    ) -> Reply:
        """One request; ``upload`` is a file and its media type. Raises ApiError for an answer of 400 and above, CliError (3) if there is no answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        data: bytes | IO[bytes] | None = None
        if upload is not None:
            headers["Content-Type"], data = upload
            self._connection.timeout = BULK_SECONDS
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        target = self._target(path, query or {})
        import http.client

        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: the answer says why
                self._connection.request(method, target, body=data, headers=headers)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._silent(error) from None
        return self._reply(response.status, raw)

    def download(self, path: str, query: Mapping[str, object], file: IO[bytes]) -> None:
        """GET a file into ``file``, as it comes. Raises as ``call`` does; also if it breaks off, with a part of it written."""
        import http.client

        self._connection.timeout = BULK_SECONDS
        try:
            self._connection.request("GET", self._target(path, query), headers={"Authorization": f"Bearer {self._token}"})
            response = self._connection.getresponse()
            if response.status >= 400:
                self._reply(response.status, response.read())
            while chunk := response.read(DOWNLOAD_OCTETS):
                file.write(chunk)
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._silent(error) from None

    def _target(self, path: str, query: Mapping[str, object]) -> str:
        texts = _query_texts(query)
        try:
            return self._prefix + path + ("?" + urlencode(texts) if texts else "")
        except UnicodeError:
            raise CliError("an argument is not UTF-8", USAGE) from None

    def _silent(self, error: Exception) -> CliError:
        return CliError(f"no daemon answers at {self.url}: {str(error) or type(error).__name__}", UNREACHABLE)

    def _reply(self, status: int, raw: bytes) -> Reply:
        value = _decoded(raw)
        if not isinstance(value, dict) and status != 204:
            raise CliError(f"what answers at {self.url} is not a netd daemon (status {status})", UNREACHABLE)
        if status >= 400:
            raise ApiError(status, value, raw)
        return Reply(value, raw)

    def pages(self, path: str, **query: object) -> Iterator[Reply]:
        """Every page of a list."""
        while True:
            page = self.get(path, **query)
            yield page
            if not page.value["next"]:
                return
            query["after"] = page.value["next"]

    def one(self, path: str, kind: str, **query: object) -> dict[str, Any]:
        """The only object that an exact filter finds; raises CliError if there is none."""
        items = self.get(path, **query).value["items"]
        if not items:
            raise CliError(f"{kind} {next(iter(query.values()))} does not exist")
        found: dict[str, Any] = items[0]
        return found


def _query_texts(query: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items() if value is not None}


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def find(environ: Mapping[str, str] = os.environ) -> Client:
    """The daemon: NETD_URL with NETD_TOKEN, else what the daemon left in its data folder. Raises CliError."""
    url, token = environ.get("NETD_URL", ""), environ.get("NETD_TOKEN", "")
    if url and not token:
        raise CliError("NETD_URL is set, so NETD_TOKEN must be, too", USAGE)
    if not (url and token):
        folder = data_folder(environ)
        url = url or _left(folder / "api.url")
        token = token or _left(folder / "admin.token")
    return Client(url, token)


def _left(path: Path) -> str:
    try:
        return path.read_text().strip()
    except PermissionError:
        raise CliError(f"{path} may not be read: run this as the daemon's user, or set NETD_URL and NETD_TOKEN") from None
    except OSError:
        raise CliError(f"no daemon found: {path} does not exist; start one with `netd serve`, or set NETD_URL and NETD_TOKEN", UNREACHABLE) from None


def environment(config: Path | None) -> dict[str, str]:
    """The environment; without a configuration file with the data folder that clients look into, so that both speak of one installation."""
    return dict(os.environ) if config else {**os.environ, "NETD_DATA_DIR": str(data_folder())}


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """NETD_DATA_DIR, else ./.netd of a checkout where `make run` was used (unless NETD_CONFIG is set), else what the configuration says."""
    if environ.get("NETD_DATA_DIR"):
        return Path(environ["NETD_DATA_DIR"])
    checkout = Path(".netd")
    if not environ.get("NETD_CONFIG") and checkout.is_dir():
        return checkout
    from netd.config import load  # takes its time to import: only when nothing else tells

    return load(None, environ).data_dir
