"""The HTTP client against servers of the tests: deadlines, retries, the breaker, the guard, and what errors tell."""

import asyncio
import logging
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from netd.device import http
from netd.device.addresses import LOOPBACK
from netd.device.http import OPEN_AFTER, OPEN_SECONDS, Breaker, Client
from netd.errors import PeerUnreachable
from netd.metrics import Metrics
from tests.ports import free_port

SECRET = "hunter2"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that answers everything alike; its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener, ssl_context=tls).start()
    try:
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


def answers(*addresses: str):
    """A resolver that gives these addresses in turn, the last one from then on."""
    left = list(addresses)

    async def names(host: str, port: int, family: int) -> list[ResolveResult]:
        address = left.pop(0) if len(left) > 1 else left[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)]

    return names


async def refused(call: Awaitable[object]) -> PeerUnreachable:
    with pytest.raises(PeerUnreachable) as caught:
        await call
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(http, "RETRY_SECONDS", 0.01)


async def test_what_can_be_repeated_is_and_nothing_else():
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(status=503 if len(asked) < 3 else 200, text="ok")

    async with server(answer) as port, Client() as client:
        reply = await client.call("netbox", "GET", f"http://127.0.0.1:{port}/")
        assert (reply.status, reply.body, asked) == (200, b"ok", ["GET"] * 3)
        asked.clear()
        assert (await client.call("netbox", "POST", f"http://127.0.0.1:{port}/", body=b"{}")).status == 503
        assert asked == ["POST"]
        error = await refused(client.call("netbox", "GET", f"http://u:{SECRET}@127.0.0.1:{free_port()}/?token={SECRET}"))
        assert error.reason == "connect"
        metrics = Metrics("1")
        client.register(metrics)
        page = metrics.render()[0].decode()
        assert 'netd_http_client_requests_total{integration="netbox",outcome="2xx"} 1.0' in page
        assert 'netd_http_client_requests_total{integration="netbox",outcome="connect"} 1.0' in page
        assert 'netd_http_client_breaker{integration="netbox"} 0.0' in page


async def test_one_deadline_over_everything():
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:  # a byte now and then keeps the connection alive for ever
            await response.write(b".")
            await asyncio.sleep(0.02)

    async with server(slow) as port, Client() as client:
        begun = asyncio.get_running_loop().time()
        error = await refused(client.call("awx", "GET", f"http://127.0.0.1:{port}/{SECRET}", deadline_seconds=0.3))
        assert error.reason == "timeout"
        assert asyncio.get_running_loop().time() - begun < 20


async def test_an_answer_is_bounded_and_redirects_stay_where_they_are():
    async def big(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://127.0.0.1/{SECRET}"}, body=b"x" * 200_000)

    async with server(big) as port, Client(allowed=LOOPBACK) as client:
        error = await refused(client.call("awx", "GET", f"http://127.0.0.1:{port}/", most_octets=1000))
        assert error.reason == "too_large"
        reply = await client.post(f"http://127.0.0.1:{port}/", b"{}", {})
        assert (reply.status, len(reply.body)) == (302, http.WEBHOOK_OCTETS)


async def test_the_breaker_opens_and_lets_one_probe_through():
    now = 100.0
    status = 500
    asked = 0
    gate, arrived = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        arrived.set()
        await gate.wait()
        return web.Response(status=status)

    async with server(answer) as port, Client(clock=lambda: now) as client:
        url = f"http://127.0.0.1:{port}/"
        gate.set()
        for _ in range(OPEN_AFTER):
            assert (await client.call("netbox", "POST", url)).status == 500
        assert client.state("netbox") == "open"
        assert (await refused(client.call("netbox", "POST", url))).reason == "breaker_open"
        assert asked == OPEN_AFTER
        assert client.state("awx") == "closed"  # each its own
        now += OPEN_SECONDS
        gate.clear()
        arrived.clear()
        probe = asyncio.create_task(client.call("netbox", "POST", url))
        await asyncio.wait_for(arrived.wait(), 60)
        assert (await refused(client.call("netbox", "POST", url))).reason == "breaker_open"
        gate.set()
        assert (await probe).status == 500
        assert client.state("netbox") == "open"
        now += OPEN_SECONDS
        status = 200
        assert (await client.call("netbox", "POST", url)).status == 200
        assert client.state("netbox") == "closed"


def test_a_cancelled_probe_says_nothing():
    breaker = Breaker()
    for _ in range(OPEN_AFTER):
        assert breaker.enter(0)
        breaker.done(False, 0)
    assert not breaker.enter(OPEN_SECONDS - 1)
    assert breaker.enter(OPEN_SECONDS)
    breaker.done(None, OPEN_SECONDS)
    assert breaker.enter(OPEN_SECONDS)


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0", "127.1", "0x7f.1", "017700000001"])
async def test_webhooks_do_not_reach_the_loopback(host):
    """However it is written; and integrations, which the operator configured, do."""
    async with server(hello) as port, Client() as client:
        for scheme in ("http", "https"):
            error = await refused(client.post(f"{scheme}://{host}:{port}/{SECRET}", b"{}", {"X-Secret": SECRET}))
            assert error.reason in ("not_allowed", "connect", "invalid", "dns"), error
        assert (await client.call("netbox", "GET", f"http://127.0.0.1:{port}/")).status == 200


async def test_a_connection_of_an_integration_is_not_taken_over():
    async with server(hello) as port, Client() as client:
        url = f"http://127.0.0.1:{port}/"
        assert (await client.call("netbox", "GET", url)).status == 200  # its connection is kept alive
        assert (await refused(client.post(url, b"{}", {}))).reason == "not_allowed"


async def test_the_address_that_is_connected_to_counts():
    """A name that is public when it is looked at first, and leads inside when it is connected to."""
    async with server(hello) as port, Client(names=answers("127.0.0.1")) as client:
        assert (await refused(client.post(f"https://rebind.example:{port}/", b"{}", {}))).reason == "not_allowed"
        error = await refused(client.post(f"http://rebind.example:{port}/", b"{}", {}))
        assert (error.reason, "127.0.0.1 is a loopback address" in str(error)) == ("not_allowed", True)
    async with server(hello) as port, Client(names=answers("64:ff9b::7f00:1")) as client:
        assert (await refused(client.post(f"https://nat.example:{port}/", b"{}", {}))).reason == "not_allowed"


async def test_what_is_allowed_by_configuration():
    async with server(hello) as port, Client(allowed=[ip_network("127.0.0.0/8")], names=answers("127.0.0.1")) as client:
        assert (await client.post(f"http://inside.example:{port}/", b"{}", {})).status == 200


async def test_plain_http_stays_inside(monkeypatch):
    monkeypatch.setattr(http, "refusal", lambda text, allowed: "")  # as if 127.0.0.1 were public
    async with server(hello) as port, Client() as client:
        error = await refused(client.post(f"http://127.0.0.1:{port}/", b"{}", {}))
        assert error.reason == "not_allowed" and "plain http" in str(error)


@pytest.fixture
def own_certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's, for 127.0.0.1, signed by nobody but itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    return tls


async def test_certificates_are_verified(own_certificate: ssl.SSLContext):
    async with server(hello, own_certificate) as port, Client(allowed=LOOPBACK) as client:
        for call in (client.post(f"https://127.0.0.1:{port}/", b"", {}), client.call("vault", "GET", f"https://127.0.0.1:{port}/")):
            assert (await refused(call)).reason == "tls"


async def test_nonsense_and_names_that_do_not_exist(caplog):
    caplog.set_level(logging.DEBUG)

    async def nowhere(host: str, port: int, family: int) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # who closes with something unread resets the connection
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await writer.drain()
        writer.close()

    odd = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with odd, Client(allowed=LOOPBACK, names=nowhere) as client:
        port = odd.sockets[0].getsockname()[1]
        assert (await refused(client.post(f"https://{SECRET}.invalid/".replace(SECRET, "nobody"), b"", {}))).reason == "dns"
        assert (await refused(client.post(f"http://127.0.0.1:{port}/{SECRET}", b"", {}))).reason == "protocol"
        assert (await refused(client.post(f"http://[::1/{SECRET}", b"", {}))).reason == "invalid"
    assert SECRET not in caplog.text


async def test_a_name_that_nobody_answers_for_takes_one_thread():
    asked = 0
    never = asyncio.Event()

    async def silent(host: str, port: int, family: int) -> list[ResolveResult]:
        nonlocal asked
        asked += 1
        await never.wait()
        return []

    async with Client(names=silent) as client:
        calls = [client.post("https://silent.example/", b"", {}, deadline_seconds=0.1) for _ in range(5)]
        errors = await asyncio.gather(*map(refused, calls))
        assert {error.reason for error in errors} == {"timeout"}
        assert (await refused(client.post("https://silent.example/", b"", {}, deadline_seconds=0.05))).reason == "timeout"
        assert asked == 1
