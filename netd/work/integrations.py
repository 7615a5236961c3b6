"""Looks every minute whether the integrations that are configured can be reached. What is done with them is elsewhere; here is only how they are."""

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from netd.config import Config
from netd.device.http import Client
from netd.domain.ports import Part
from netd.errors import PeerUnreachable

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 60.0
DEADLINE_SECONDS: Final = 10.0
REFUSALS: Final = (401, 403)


State = Literal["ok", "degraded", "down"]


class Target(msgspec.Struct, frozen=True):
    """What is asked of an integration, and how it is told who asks. Headers hold secrets, so a target never prints them."""

    name: str
    url: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Target({self.name})"


class _Seen(msgspec.Struct):
    state: State
    since: float
    detail: str = ""
    latency_seconds: float | None = None
    last_error: str = ""


def targets(config: Config) -> list[Target]:
    """The integrations that are configured. The paths cost the other side little, and need the credentials where there are any."""
    found = []
    if config.netbox.url:
        found.append(Target("netbox", _under(config.netbox.url, "/api/status/"), {"Authorization": f"Token {config.netbox.token.reveal()}"}))
    if config.awx.url:
        awx = config.awx
        who = f"Bearer {awx.token.reveal()}" if awx.token else basic(awx.username, awx.password.reveal())
        found.append(Target("awx", _under(awx.url, "/api/v2/me/"), {"Authorization": who}))
    if config.genieacs.url:
        acs = config.genieacs
        headers = {"Authorization": basic(acs.username, acs.password.reveal())} if acs.username else {}
        found.append(Target("genieacs", _under(acs.url, "/devices/?limit=1&projection=_id"), headers))
    if config.voltha.url:
        found.append(Target("voltha", _under(config.voltha.url, "/"), {}))
    if config.vault.url:
        headers = {"X-Vault-Token": config.vault.token.reveal()} if config.vault.token else {}
        found.append(Target("vault", _under(config.vault.url, "/v1/sys/health?standbyok=true&perfstandbyok=true"), headers))
    if config.oidc.issuer:
        found.append(Target("oidc", _under(config.oidc.issuer, "/.well-known/openid-configuration"), {}))
    return found


def unconfigured(config: Config) -> list[str]:
    """Integrations without a URL, with the key that would set it."""
    return [f"{name}.url" for name in ("netbox", "awx", "genieacs", "voltha", "vault") if not getattr(config, name).url]


def _under(url: str, path: str) -> str:
    return url.rstrip("/") + path


def basic(username: str, password: str) -> str:
    """The Authorization header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Reachability:
    """Checks ``targets`` until it is cancelled; an unreachable one never makes the daemon unready."""

    def __init__(self, client: Client, targets: list[Target], now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._targets = targets
        self._now = now
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> None:
        """Check every minute, for ever."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Ask all of them, at the same time."""
        await asyncio.gather(*(self._check(target) for target in self._targets))

    async def _check(self, target: Target) -> None:
        latency: float | None = None
        state: State
        try:
            reply = await self._client.call(target.name, "GET", target.url, headers=target.headers, deadline_seconds=DEADLINE_SECONDS)
        except PeerUnreachable as error:
            state, detail = "down", str(error)
        else:
            latency = reply.seconds
            state, detail = "ok", ""
            if reply.status in REFUSALS:
                state, detail = "degraded", f"it is there, but refuses netd's credentials ({reply.status})"
            elif reply.status >= 500:
                state, detail = "degraded", f"it is there, but answers {reply.status}"
            elif reply.status >= 300 and reply.status != 404:
                state, detail = "degraded", f"it answers {reply.status}: is {target.name}.url the right one?"
        self._note(target.name, state, detail, latency)

    def _note(self, name: str, state: State, detail: str, latency: float | None) -> None:
        before = self._seen.get(name)
        changed = before is None or before.state != state
        seen = _Seen(
            state=state, since=self._now() if changed or before is None else before.since, detail=detail, latency_seconds=latency,
            last_error=detail or ("" if before is None else before.last_error),
        )  # fmt: skip
        self._seen[name] = seen
        if changed:
            log.log(logging.INFO if state == "ok" else logging.WARNING, "%s is %s", name, state, extra={"integration": name, "detail": detail})

    def parts(self) -> list[Part]:
        """For /health: a part for each that is configured."""
        return [
            Part(name=target.name, state=seen.state, since=seen.since, detail=seen.detail, latency_seconds=seen.latency_seconds, last_error=seen.last_error)
            if (seen := self._seen.get(target.name)) is not None
            else Part(name=target.name, state="ok", detail="not looked at yet")
            for target in self._targets
        ]
