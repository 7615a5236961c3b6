"""RouterOS' REST API against a server that answers as its documentation says, over TLS with a certificate of its own."""

import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from netd.config import Secret
from netd.device.http import Client
from netd.device.rest import RestTransport
from netd.errors import PeerError, PeerUnreachable
from netd.model.target import HttpLogin
from tests.device.conftest import target
from tests.device.rest_router import own_certificate
from tests.ports import free_port


class Router:
    """``/interface`` and ``/system/resource`` behind Basic authentication."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.interfaces = {"*1": {".id": "*1", "name": "ether1", "mtu": "1500"}}
        self.asked: list[tuple[str, str, Any]] = []
        self._context = context
        self.port = 0

    async def __aenter__(self) -> "Router":
        app = web.Application()
        app.router.add_route("*", "/rest/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        body: Any = await request.json() if request.can_read_body else {}
        self.asked.append((request.method, path, body))
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"netd:right").decode():
            return web.json_response({"error": 401, "message": "Unauthorized"}, status=401)
        kind, _, number = path.partition("/")
        match request.method, path:
            case "GET", "system/resource":
                return web.json_response({"version": "7.16.2 (stable)", "uptime": "1d2h", "cpu-load": 3})
            case "GET", "interface":
                return web.json_response(list(self.interfaces.values()))
            case "POST", "interface/print":
                return web.json_response([{name: each[name] for name in body[".proplist"]} for each in self.interfaces.values()])
            case "PUT", "interface":
                self.interfaces["*2"] = {".id": "*2", **body}
                return web.json_response(self.interfaces["*2"], status=201)
            case "POST", "system/reboot":
                return web.json_response([])
            case "POST", "broken":
                return web.Response(text="<html>")
            case _ if kind == "interface" and number in self.interfaces:
                if request.method == "PATCH":
                    self.interfaces[number].update(body)
                if request.method == "DELETE":
                    del self.interfaces[number]
                    return web.Response(status=204)
                return web.json_response(self.interfaces[number])
            case _ if kind == "interface":
                return web.json_response({"error": 400, "message": "Bad Request", "detail": "no such item"}, status=400)
        return web.json_response({"error": 404, "message": "Not Found"}, status=404)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client() as made:
        yield made


def _login(word: str = "right", *, tls: bool = False) -> HttpLogin:
    return HttpLogin(username="netd", password=Secret(word), tls=tls)


async def test_records(client: Client) -> None:
    async with Router(None) as router:
        rest = await RestTransport(client).connect(target((_login("wrong"), router.port), (_login(), router.port)))
        assert rest.credential.name == "c2" and rest.certificate == ""
        assert await rest.one("/system/resource") == {"version": "7.16.2 (stable)", "uptime": "1d2h", "cpu-load": "3"}
        assert await rest.all("/interface") == [{".id": "*1", "name": "ether1", "mtu": "1500"}]
        assert await rest.all("/interface", properties=("name",), query=("type=ether",)) == [{"name": "ether1"}]
        assert router.asked[-1] == ("POST", "interface/print", {".proplist": ["name"], ".query": ["type=ether"]})
        assert (await rest.create("/interface", {"name": "vlan7"}))[".id"] == "*2"
        assert (await rest.change("/interface/*1", {"mtu": "9000"}))["mtu"] == "9000"
        await rest.remove("/interface/*1")
        assert await rest.command("/system/reboot") == []
        with pytest.raises(PeerError, match="no such item") as failure:
            await rest.remove("/interface/*9")
        assert failure.value.said == "no such item"
        with pytest.raises(PeerError, match="Not Found"):
            await rest.all("/nothing")
        with pytest.raises(PeerError, match="no JSON"):
            await rest.command("/broken")


async def test_nobody_is_let_in(client: Client) -> None:
    async with Router(None) as router:
        with pytest.raises(PeerUnreachable, match="refuses c1") as failure:
            await RestTransport(client).connect(target((_login("wrong"), router.port)))
    assert failure.value.reason == "credentials" and "wrong" not in str(failure.value)
    with pytest.raises(PeerUnreachable) as failure:
        await RestTransport(client).connect(target((_login(), free_port())))
    assert failure.value.reason == "connect"


async def test_certificates_are_pinned(client: Client, tmp_path: Path) -> None:
    context, fingerprint = own_certificate(tmp_path)
    async with Router(context) as router:
        rest = await RestTransport(client).connect(target((_login(tls=True), router.port)))
        assert rest.certificate == fingerprint and len(await rest.all("/interface")) == 1
        pinned = target((_login(tls=True), router.port), certificates=(fingerprint,))
        assert (await RestTransport(client).connect(pinned)).certificate == fingerprint
        for pinned_here in ({"certificates": (fingerprint,)}, {"host_keys": ("ssh-ed25519 AAAA",)}):
            with pytest.raises(PeerUnreachable, match="without TLS") as failure:
                await RestTransport(client).connect(target((_login(), router.port), **pinned_here))
            assert failure.value.reason == "host_key"
        before = len(router.asked)
        with pytest.raises(PeerUnreachable, match=fingerprint) as failure:
            await RestTransport(client).connect(target((_login(tls=True), router.port), certificates=("00" * 32,)))
        assert failure.value.reason == "host_key" and len(router.asked) == before
        rest.certificate = "11" * 32  # another one behind the same address, after the first look
        with pytest.raises(PeerUnreachable) as failure:
            await rest.all("/interface")
        assert failure.value.reason == "host_key" and len(router.asked) == before


async def test_routers_of_the_same_name_are_told_apart(client: Client) -> None:
    """A hostname is a tenant's own."""
    async with Router(None) as router:
        for _ in range(6):
            with pytest.raises(PeerUnreachable):
                await RestTransport(client).connect(target((_login(), 9), key="device-1", name="core1"))
        with pytest.raises(PeerUnreachable, match=r"^core1 failed ") as failure:
            await RestTransport(client).connect(target((_login(), 9), key="device-1", name="core1"))
        assert failure.value.reason == "breaker_open"
        assert await (await RestTransport(client).connect(target((_login(), router.port), key="device-2", name="core1"))).one("/system/resource")


async def test_one_router_that_is_away_is_not_all_of_them(client: Client) -> None:
    async with Router(None) as router:
        rest = await RestTransport(client).connect(target((_login(), router.port)))
        for _ in range(6):
            with pytest.raises(PeerUnreachable):
                await RestTransport(client).connect(target((_login(), 9), key="dead"))
        with pytest.raises(PeerUnreachable) as failure:
            await RestTransport(client).connect(target((_login(), 9), key="dead"))
        assert failure.value.reason == "breaker_open" and await rest.one("/system/resource")
