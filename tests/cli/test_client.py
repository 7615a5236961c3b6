"""Finding the daemon, and what is told when that or the network fails."""

import asyncio
import sys

import pytest

from netd.cli import client
from netd.cli.client import CliError
from tests.cli.conftest import run_netd


def left(folder, url="http://127.0.0.1:9", token="netd_x"):
    folder.mkdir(exist_ok=True)
    (folder / "api.url").write_text(url + "\n")
    (folder / "admin.token").write_text(token + "\n")
    return folder


def test_the_environment_goes_before_the_data_folder(tmp_path):
    folder = str(left(tmp_path / "data"))
    found = client.find({"NETD_DATA_DIR": folder})
    assert (found.url, found._token) == ("http://127.0.0.1:9", "netd_x")
    found = client.find({"NETD_DATA_DIR": folder, "NETD_URL": "https://netd.example:1", "NETD_TOKEN": "netd_y"})
    assert (found.url, found._token) == ("https://netd.example:1", "netd_y")
    found = client.find({"NETD_DATA_DIR": folder, "NETD_TOKEN": "netd_y"})
    assert (found.url, found._token) == ("http://127.0.0.1:9", "netd_y")


def test_the_local_token_is_not_sent_to_another_daemon(tmp_path):
    with pytest.raises(CliError, match="NETD_TOKEN"):
        client.find({"NETD_DATA_DIR": str(left(tmp_path / "data")), "NETD_URL": "http://elsewhere.example"})


def test_a_checkout_has_its_data_in_dot_netd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left(tmp_path / ".netd", token="netd_checkout")
    assert client.find({})._token == "netd_checkout"
    (tmp_path / "netd.toml").write_text(f'data_dir = "{left(tmp_path / "other", token="netd_other")}"\n')
    assert client.find({"NETD_CONFIG": str(tmp_path / "netd.toml")})._token == "netd_other"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://[::1", "http://a:b"])
def test_what_is_no_url_is_told(url):
    with pytest.raises(CliError) as caught:
        client.find({"NETD_URL": url, "NETD_TOKEN": "x"})
    assert caught.value.code == 2


async def test_without_a_daemon_it_is_3(tmp_path):
    for environ in ({"NETD_DATA_DIR": str(left(tmp_path / "data"))}, {"NETD_DATA_DIR": str(tmp_path / "empty")}):
        ended = await run_netd("plan", "list", environ=environ, folder=tmp_path)
        assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
        assert ended.err.startswith("netd: no daemon")


async def test_a_bad_token_is_1_and_told(api, tmp_path):
    ended = await run_netd("plan", "list", environ={"NETD_URL": api.url, "NETD_TOKEN": "netd_no"}, folder=tmp_path)
    assert (ended.code, ended.out, ended.err) == (1, "", "netd: the token is unknown, expired or revoked\n")


async def test_something_else_at_the_port_is_told(tmp_path):
    async def nonsense(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ended = await run_netd("plan", "list", environ={"NETD_URL": f"http://127.0.0.1:{port}", "NETD_TOKEN": "x"}, folder=tmp_path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "not a netd daemon" in ended.err


async def test_the_client_is_light(tmp_path):
    """What a command of a thin client imports decides how long an operator waits."""
    code = """
import sys
from netd.cli import main

main(["plan", "list"])
print(sorted({"aiohttp", "msgspec", "asyncio", "asyncpg"} & set(sys.modules)))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={"NETD_URL": "http://127.0.0.1:9", "NETD_TOKEN": "x"}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"[]\n"


async def test_a_token_that_no_header_can_carry_is_told(tmp_path):
    for token in ("a\nb", "schlüssel\u20ac"):
        ended = await run_netd("plan", "list", environ={"NETD_URL": "http://127.0.0.1:9", "NETD_TOKEN": token}, folder=tmp_path)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert token not in ended.err
