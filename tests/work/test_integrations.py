"""How integrations are, as far as netd can see."""

import time

from aiohttp import web

from netd.config import Config, load
from netd.device.http import Client
from netd.work.integrations import Reachability, targets, unconfigured
from tests.device.test_http import server
from tests.ports import free_port


def configured(**environ: str) -> Config:
    return load(None, {"HOME": "/home/op", **environ})


def test_who_is_asked_what():
    config = configured(
        NETBOX_URL="https://netbox.example/", NETBOX_API_TOKEN="n-secret", AWX_URL="http://awx", AWX_USERNAME="u", AWX_PASSWORD="p-secret",
        GENIEACS_URL="http://acs:7557", VOLTHA_URL="http://voltha:8881", VAULT_ADDR="https://vault", VAULT_TOKEN="v-secret",
    )  # fmt: skip
    found = targets(config)
    assert [each.name for each in found] == ["netbox", "awx", "genieacs", "voltha", "vault"]
    provider = configured(NETD_OIDC__ISSUER="https://id.example/realm/", NETD_OIDC__CLIENT_ID="netd")
    assert [(each.name, each.url) for each in targets(provider)] == [("oidc", "https://id.example/realm/.well-known/openid-configuration")]
    assert (found[0].url, found[0].headers) == ("https://netbox.example/api/status/", {"Authorization": "Token n-secret"})
    assert found[1].headers == {"Authorization": "Basic dTpwLXNlY3JldA=="}
    assert "secret" not in repr(found)
    assert (unconfigured(config), targets(configured())) == ([], [])
    assert unconfigured(configured(VOLTHA_URL="http://voltha")) == ["netbox.url", "awx.url", "genieacs.url", "vault.url"]


async def test_states():
    status = 200

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t-secret" and request.path == "/api/v2/me/"
        return web.Response(status=status)

    now = 1000.0
    async with server(answer) as port, Client() as client:
        config = configured(AWX_URL=f"http://127.0.0.1:{port}", AWX_TOKEN="t-secret")
        check = Reachability(client, targets(config), lambda: now)
        assert check.parts()[0].detail == "not looked at yet"
        for status, state in ((200, "ok"), (404, "ok"), (403, "degraded"), (500, "degraded"), (302, "degraded"), (200, "ok")):  # noqa: B007 - the server answers it
            now += 60
            begun = time.perf_counter()
            await check.check()
            (part,) = check.parts()
            assert (part.name, part.state, part.critical) == ("awx", state, False)
            assert part.latency_seconds is not None and 0 < part.latency_seconds <= time.perf_counter() - begun
            assert "secret" not in part.detail
        last = check.parts()[0]
        assert last.since == now and "302" in last.last_error
    away = configured(AWX_URL=f"http://127.0.0.1:{free_port()}", AWX_TOKEN="t-secret")
    async with Client() as client:
        check = Reachability(client, targets(away), lambda: now)
        await check.check()
        since = check.parts()[0].since
        now += 60
        await check.check()
        assert (check.parts()[0].state, check.parts()[0].since, check.parts()[0].latency_seconds) == ("down", since, None)
